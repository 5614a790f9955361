//! The least gas with which a call succeeds.

use jsonrpsee::types::ErrorObjectOwned;
use revm::context::result::ExecutionResult;

use super::super::error::{Answer, halted, reverted, server};
use super::run::Call;

/// Searches by halves. With more gas a call may do something else, so the answer is the least that was tried.
pub(in crate::rpc) fn estimate(call: &Call<'_>) -> Answer<u64> {
    // A plain transfer is the most frequent question, and has one answer.
    if call.is_transfer()
        && let Ok(ran) = call.run(21_000)
        && ran.result.is_success()
    {
        return Ok(21_000);
    }
    let mut enough = call.gas_limit();
    let ran = call.run(enough)?;
    let used = match &ran.result {
        ExecutionResult::Success { gas, .. } => gas.tx_gas_used(),
        failed => return Err(failure(failed, enough)),
    };
    // One gas less than was used in the end is never enough.
    let mut too_little = used.saturating_sub(1);
    // What refunds and the 64th part that every call keeps back ask for beyond what is used: mostly a hit.
    let likely = (used + ran.result.gas().inner_refunded() + 2_300).saturating_mul(64) / 63;
    let mut next = if likely < enough { likely } else { too_little + (enough - too_little) / 2 };
    while too_little + 1 < enough {
        let next_result = call.run(next);
        match next_result {
            Ok(ran) if ran.result.is_success() => enough = next,
            // Too little to begin with is too little.
            Ok(_) => too_little = next,
            Err(error) if error.message().starts_with("intrinsic gas too low") => too_little = next,
            Err(error) => return Err(error),
        }
        next = too_little + (enough - too_little) / 2;
    }
    Ok(enough)
}

fn failure(result: &ExecutionResult, gas: u64) -> ErrorObjectOwned {
    match result {
        ExecutionResult::Revert { output, .. } => reverted(output.clone()),
        ExecutionResult::Halt { reason: revm::context::result::HaltReason::OutOfGas(_), .. } => {
            server(format!("gas required exceeds allowance ({gas})"))
        }
        ExecutionResult::Halt { reason, .. } => halted(reason),
        ExecutionResult::Success { .. } => server("the call succeeded"),
    }
}
