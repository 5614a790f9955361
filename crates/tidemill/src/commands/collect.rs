//! `tidemill collect`: vouchers of this home's providers, cashed by hand.

use std::path::PathBuf;

use serde_json::json;
use tidemill_ledger::escrow::{self, Phase};
use tidemill_provider::pay::History;
use tidemill_types::{Amount, EscrowId, Signed, Voucher};

use super::earnings;
use crate::{
    exit::{self, Code, WithCode},
    ledger::{Acting, Purse, Sent},
    money::{as_of_now, escrows, rounded},
    runtime,
};

/// Cash the vouchers of this home's providers on the ledger.
///
/// Providers that run do that by themselves when a coordinator is gone. This does it now, for escrows that are open or
/// in their collect window, with any account that has coins for gas: the pay goes to the provider's account.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// Of this escrow alone
    #[arg(value_name = "ESCROW")]
    escrow: Option<EscrowId>,
    /// The state of one provider [default: all of this home]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    acting: Acting,
}

/// So many vouchers go into one transaction.
const MOST_AT_ONCE: usize = 50;

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut vouchers = Vec::new();
    for directory in earnings::directories(args.directory.as_deref())? {
        let history = History::read(&directory).code(Code::Host)?;
        let of_this = history.escrows.iter().filter(|(id, _)| args.escrow.is_none_or(|only| only == **id));
        vouchers.extend(of_this.filter(|(_, escrow)| !escrow.ended).filter_map(|(_, escrow)| escrow.voucher));
    }
    let account = args.acting.account.unlock()?;
    let (sent, amount) = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let collected = collect(&purse, &vouchers).await;
        purse.close().await;
        collected
    })?;
    if args.acting.json {
        let list: Vec<_> = sent.iter().map(Sent::json).collect();
        println!("{:#}", json!({ "transactions": list, "amount_wei": amount }));
    } else if sent.is_empty() {
        println!("nothing to collect: {} known, none of an escrow that still pays more", vouchers.len());
    } else {
        sent.iter().for_each(Sent::print);
        println!(
            "up to {} before fees; `tidemill withdraw` pays out what the accounts have earned",
            rounded(amount)
        );
    }
    Ok(())
}

async fn collect(purse: &Purse, vouchers: &[Signed<Voucher>]) -> anyhow::Result<(Vec<Sent>, Amount)> {
    let escrows = escrows(&purse.ledger).await?;
    let (mut due, mut amount) = (Vec::new(), Amount::ZERO);
    for signed in vouchers {
        let Voucher { escrow, provider, amount: promised, .. } = signed.body;
        let Some(view) = escrows.view(escrow, 1).await.code(Code::Host)?.map(as_of_now) else { continue };
        if !matches!(view.phase(), Phase::Open | Phase::Collecting) {
            continue;
        }
        let paid = escrows.payee(escrow, provider).await.code(Code::Host)?.paid;
        if let Some(more) = promised.checked_sub(paid).filter(|more| !more.is_zero()) {
            amount = amount.checked_add(more).unwrap_or(amount);
            due.push(*signed);
        }
    }
    let mut sent = Vec::new();
    for piece in due.chunks(MOST_AT_ONCE) {
        let label = match piece {
            [one] => format!("collect from the escrow {}", one.body.escrow.short()),
            several => format!("collect from {} escrows", several.len()),
        };
        sent.push(purse.call(&label, escrows.address(), escrow::collect(piece)).await?);
    }
    Ok((sent, amount))
}
