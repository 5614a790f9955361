//! `tidemill escrow refund`: what is left of an escrow, after its collect window.

use tidemill_ledger::{escrow, escrow::Phase};

use super::which::Which;
use crate::{
    commands::bond,
    exit::{self, Code, Exit},
    ledger::{Acting, Purse, TREASURY, when},
    money::Payer,
    runtime,
};

/// Send what is left of an escrow back to whoever opened it, once its collect window is over. Anyone may.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// Which one: its id, or how that begins
    escrow: Which,
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let account = args.acting.account.unlock_or(TREASURY)?;
    let sent = runtime::block_on(async {
        let id = args.escrow.find(&args.acting).await?;
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let sending = async {
            let payer = Payer::new(purse.ledger.clone(), purse.account.clone()).await?;
            let view = payer.view(id).await?;
            let not_yet = |what: String, hint: &str| -> anyhow::Error {
                Exit::new(Code::Failed, format!("the escrow {id} {what}")).hint(hint.to_owned()).into()
            };
            match view.phase() {
                Phase::Refundable => {}
                Phase::Closed => {
                    return Err(not_yet("is closed: the rest was sent".to_owned(), "see your balance"));
                }
                Phase::Open => {
                    return Err(not_yet(
                        format!("is open for {}", when(view.ends_s, view.now_s)),
                        "`tidemill escrow end` ends it",
                    ));
                }
                Phase::Collecting => {
                    return Err(not_yet(
                        format!("pays vouchers for {} yet", when(view.collect_until_s, view.now_s)),
                        "try again after that",
                    ));
                }
            }
            let label = format!("refund the escrow {}", id.short());
            purse.call(&label, payer.escrows.address(), escrow::refund(id)).await
        };
        let sent = sending.await;
        purse.close().await;
        sent
    })?;
    bond::print(&[sent], args.acting.json);
    Ok(())
}
