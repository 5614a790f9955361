//! `tidemill escrow top-up`: more money for an escrow.

use tidemill_types::{Amount, Coin, EscrowId};

use crate::{
    commands::bond,
    exit::{self, Code, WithCode},
    ledger::{Acting, Purse},
    money::escrows,
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
    let account = args.acting.account.unlock()?;
    let sent = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let sending = async {
            let escrows = escrows(&purse.ledger).await?;
            let call =
                escrows.deposit(purse.account.signer(), args.escrow, args.amount).await.code(Code::Host)?;
            let label = format!("add {} to the escrow {}", args.amount, args.escrow.short());
            purse.send(&label, escrows.address(), Coin::ZERO, call).await
        };
        let sent = sending.await;
        purse.close().await;
        sent
    })?;
    bond::print(&[sent], args.acting.json);
    Ok(())
}
