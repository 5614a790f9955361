//! `tidemill wallet pending`: transactions of an account that are on their way, and taking them back.

use tidemill_api as api;
use tidemill_ledger::sender::{Outcome, Phase, Status};

use crate::{
    exit::{self, WithCode},
    json,
    ledger::{Acting, Purse},
    runtime,
};

/// List the transactions of an account that are on their way.
///
/// A transaction waits where the account has not enough coins for it and its fees, or while the chain is dear. Those
/// behind it wait too, since a chain takes an account's transactions in their order.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// Take them back, as far as none is in a block: one that a node may have is replaced by a transfer of nothing
    #[arg(long, alias = "drop")]
    cancel: bool,
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let account = args.acting.account.unlock()?;
    let (pending, ended) = runtime::block_on(async {
        let purse = Purse::unsettled(args.acting.ledger.connect().await?, account).await?;
        let pending = purse.pending().await?;
        let ended = if args.cancel { purse.drop_all(&pending).await? } else { Vec::new() };
        purse.close().await;
        anyhow::Ok((pending, ended))
    })
    .code(exit::Code::Host)?;
    if args.acting.json {
        let on_its_way =
            |status: &Status| api::PendingTransaction { label: status.label.clone(), phase: phase(status) };
        let taken_back = |(label, outcome): &(String, Outcome)| api::EndedTransaction {
            label: label.clone(),
            end: end(outcome),
        };
        json::print(&api::PendingTransactions {
            pending: pending.iter().map(on_its_way).collect(),
            ended: ended.iter().map(taken_back).collect(),
        });
        return Ok(());
    }
    if pending.is_empty() {
        println!("nothing is on its way");
    }
    if args.cancel {
        ended.iter().for_each(|(label, outcome)| println!("{label}: {}", end(outcome)));
    } else {
        pending.iter().for_each(|status| println!("{}: {}", status.label, phase(status)));
    }
    Ok(())
}

fn phase(status: &Status) -> String {
    match &status.phase {
        Phase::Queued => "waits for its turn".to_owned(),
        Phase::Sent { nonce, variants, .. } => match variants {
            1 => format!("signed, with nonce {nonce}"),
            _ => format!("signed {variants} times with rising fees, with nonce {nonce}"),
        },
        Phase::Mined(receipt) => format!("in block {}", receipt.block_number),
        Phase::Ended(outcome) => end(outcome),
    }
}

fn end(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded(receipt) => format!("it went through, in block {}", receipt.block_number),
        Outcome::Reverted { reason, .. } => format!("the contract refused: {reason}"),
        Outcome::Dropped(_) => "taken back".to_owned(),
    }
}
