//! `tidemill redelegate`: stake from one provider to another.

use tidemill_ledger::staking::{Staking, StakingError};

use super::bond;
use crate::{
    exit::{self, Code, Exit, WithCode},
    ledger::{Acting, Part, Purse, address_of},
    runtime,
};

/// Move stake from behind one provider to another at once, without waiting for a thaw.
///
/// It earns with the new provider from now on. Until a thaw period is over it answers for both: a slash of the provider
/// that it left takes of it too. `tidemill withdraw` makes it stake like any other after that.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// How much, like "500 TIDE", or `all`
    amount: Part,
    /// The provider that it leaves: an address, or the name of an account of this home
    from: String,
    /// The provider that it goes to
    to: String,
    #[command(flatten)]
    acting: Acting,
}

fn after_help() -> String {
    format!("Examples:\n  tidemill redelegate \"500 TIDE\" ann bob\n\n{}", exit::HELP)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (from, to) = (address_of(&args.from)?, address_of(&args.to)?);
    let account = args.acting.account.unlock()?;
    let sent = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let moving = async {
            let staking = Staking::new(purse.ledger.chain.clone(), &purse.ledger.book).code(Code::Usage)?;
            let (wanted, words) = match args.amount {
                Part::All => (None, "all".to_owned()),
                Part::Amount(amount) => (Some(amount), amount.to_string()),
            };
            let call = staking.redelegate(purse.address(), from, to, wanted).await.map_err(|error| {
                let code = if matches!(error, StakingError::Read { .. }) { Code::Host } else { Code::Usage };
                Exit::new(code, tidemill_types::causes(&error))
            })?;
            purse.call(&format!("move {words} from {from} to {to}"), staking.address(), call).await
        };
        let sent = moving.await;
        purse.close().await;
        sent
    })?;
    bond::print(&[sent], args.acting.json);
    Ok(())
}
