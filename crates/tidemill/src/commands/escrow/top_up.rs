//! `tidemill escrow top-up`: more money for an escrow.

use tidemill_ledger::escrow::Phase;
use tidemill_types::{Amount, Coin, EscrowId};

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
    /// Which one
    escrow: EscrowId,
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
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let sending = async {
            let payer = Payer::new(purse.ledger.clone(), purse.account.clone()).await?;
            if payer.view(args.escrow).await?.phase() != Phase::Open {
                let message = format!(
                    "the escrow {} has ended: nothing more is paid out of it for new work",
                    args.escrow
                );
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
            let call = payer
                .escrows
                .deposit(purse.account.signer(), args.escrow, args.amount)
                .await
                .code(Code::Host)?;
            let label = format!("add {} to the escrow {}", args.amount, args.escrow.short());
            purse.send(&label, payer.escrows.address(), Coin::ZERO, call).await
        };
        let sent = sending.await;
        purse.close().await;
        sent
    })?;
    bond::print(&[sent], args.acting.json);
    Ok(())
}
