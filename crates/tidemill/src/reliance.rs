//! Refusing a job whose results nobody could decide, before it is submitted.

use tidemill_job::JobSpec;
use tidemill_net::wire::NetworkTerms;
pub use tidemill_web::reliance::lines;
use tidemill_web::reliance::{WAYS, undecidable};

use crate::exit::{Code, Exit};

/// Refuses a job of which it is known that none of its results would be accepted with the providers that are here:
/// they would be paid for nothing.
///
/// # Errors
/// With [`Code::Usage`], unless it is wanted `anyway`.
pub fn check(spec: &JobSpec, terms: &NetworkTerms, anyway: bool) -> anyhow::Result<()> {
    let reason = if anyway { None } else { undecidable(spec, terms) };
    let Some(reason) = reason else { return Ok(()) };
    Err(Exit::new(Code::Usage, reason).hint(format!("{WAYS}; `--anyway` waits for more of them")).into())
}
