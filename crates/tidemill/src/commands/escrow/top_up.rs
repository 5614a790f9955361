//! `tidemill escrow top-up`: more money for an escrow.

use tidemill_ledger::escrow::Phase;
use tidemill_types::{Amount, Coin};

use super::which::Which;
use crate::{
    commands::bond,
    exit::{self, Code, Exit, WithCode},
    ledger::{Acting, Purse, TREASURY},
    money::Payer,
    runtime,
};

/// Add to an escrow, so that jobs go on whose budget is used up.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// Which one: its id, or how that begins
    escrow: Which,
    /// How much, like "2.5 TIDE"
    amount: Amount,
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.amount.is_zero() {
        return Err(Exit::new(Code::Usage, "nothing would be added").into());
    }
    let account = args.acting.account.unlock_or(TREASURY)?;
    let sent = runtime::block_on(async {
        let escrow = args.escrow.find(&args.acting).await?;
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let sending = async {
            let payer = Payer::new(purse.ledger.clone(), purse.account.clone()).await?;
            if payer.view(escrow).await?.phase() != Phase::Open {
                let message =
                    format!("the escrow {escrow} has ended: nothing more is paid out of it for new work");
                return Err(Exit::new(Code::Usage, message)
                    .hint("`tidemill escrow open` opens another one")
                    .into());
            }
            let has = payer.free().await?;
            if has < args.amount {
                let message =
                    format!("the account {} has {has}, and {} are to be added", purse.address(), args.amount);
                return Err(Exit::new(Code::Failed, message).into());
            }
            let call =
                payer.escrows.deposit(purse.account.signer(), escrow, args.amount).await.code(Code::Host)?;
            let label = format!("add {} to the escrow {}", args.amount, escrow.short());
            purse.send(&label, payer.escrows.address(), Coin::ZERO, call).await
        };
        let sent = sending.await;
        purse.close().await;
        sent
    })?;
    bond::print(&[sent], args.acting.json);
    Ok(())
}
