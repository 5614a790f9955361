//! `tidemill delegate`: stake behind somebody else.

use tidemill_ledger::staking::Staking;
use tidemill_types::Amount;

use super::bond;
use crate::{
    exit::{self, Code, WithCode},
    ledger::{Acting, Purse, address_of},
    runtime,
};

/// Stake TIDE behind a provider, and earn with it.
///
/// Delegated TIDE earns its part of what the provider is paid, less the provider's commission, streamed over a week. It
/// is at risk when the provider's own bond does not cover a proven fault. `tidemill undelegate` gets it back after the
/// thaw period.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// How much, like "500 TIDE"
    amount: Amount,
    /// The provider: an address, or the name of an account of this home
    provider: String,
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let provider = address_of(&args.provider)?;
    let account = args.acting.account.unlock()?;
    let sent = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let delegating = async {
            let staking = Staking::new(purse.ledger.chain.clone(), &purse.ledger.book).code(Code::Usage)?;
            let call =
                staking.delegate(purse.account.signer(), provider, args.amount).await.code(Code::Host)?;
            purse.call(&format!("delegate {} to {provider}", args.amount), staking.address(), call).await
        };
        let sent = delegating.await;
        purse.close().await;
        sent
    })?;
    bond::print(&[sent], args.acting.json);
    Ok(())
}
