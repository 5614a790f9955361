//! `tidemill collect`: vouchers of this home's providers, cashed by hand.

use std::{collections::VecDeque, fmt, path::PathBuf};

use anyhow::anyhow;
use tidemill_api as api;
use tidemill_ledger::escrow::{self, Phase};
use tidemill_provider::pay::History;
use tidemill_types::{Amount, EscrowId, Signed, Voucher};

use super::earnings;
use crate::{
    exit::{self, Code, Exit, WithCode},
    json,
    ledger::{Acting, Purse, Sent},
    money::{as_of_now, escrows, shown},
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
    if let Some(escrow) = args.escrow.filter(|_| vouchers.is_empty()) {
        let message =
            format!("no provider of this home has a voucher of the escrow {escrow} that still pays");
        return Err(Exit::new(Code::Usage, message).hint("`tidemill earnings` shows what they have").into());
    }
    let account = args.acting.account.unlock()?;
    let Collected { sent, amount, refused } = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let collected = collect(&purse, &vouchers).await;
        purse.close().await;
        collected
    })?;
    if args.acting.json {
        json::print(&api::Collected {
            transactions: sent.iter().map(Sent::summary).collect(),
            amount_wei: amount,
            refused: refused.iter().map(Refused::summary).collect(),
        });
    } else if sent.is_empty() && refused.is_empty() {
        println!(
            "nothing to collect: of {} vouchers none is of an escrow that still pays more",
            vouchers.len()
        );
    } else {
        sent.iter().for_each(Sent::print);
        println!(
            "up to {} before fees; `tidemill withdraw` pays out what the accounts have earned",
            shown(amount)
        );
    }
    let Some(first) = refused.first() else { return Ok(()) };
    let of = vouchers.len();
    let problem = anyhow!("{} of {of} vouchers could not be collected, of them {first}", refused.len());
    Err(problem).code(Code::Failed)
}

/// What collecting came to.
struct Collected {
    sent: Vec<Sent>,
    /// What the vouchers that were sent still promised, before fees.
    amount: Amount,
    refused: Vec<Refused>,
}

/// A voucher that could not be collected.
struct Refused {
    escrow: EscrowId,
    reason: String,
}

impl Refused {
    fn summary(&self) -> api::RefusedVoucher {
        api::RefusedVoucher { escrow: self.escrow.to_string(), reason: self.reason.clone() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "that of the escrow {}: {}", self.escrow.short(), self.reason)
    }
}

async fn collect(purse: &Purse, vouchers: &[Signed<Voucher>]) -> anyhow::Result<Collected> {
    let escrows = escrows(&purse.ledger).await?;
    let mut due = Vec::new();
    for signed in vouchers {
        let Voucher { escrow, provider, amount: promised, .. } = signed.body;
        let Some(view) = escrows.view(escrow, 1).await.code(Code::Host)?.map(as_of_now) else { continue };
        if !matches!(view.phase(), Phase::Open | Phase::Collecting) {
            continue;
        }
        let paid = escrows.payee(escrow, provider).await.code(Code::Host)?.paid;
        if let Some(more) = promised.checked_sub(paid).filter(|more| !more.is_zero()) {
            due.push((*signed, more));
        }
    }
    let mut collected = Collected { sent: Vec::new(), amount: Amount::ZERO, refused: Vec::new() };
    let mut pieces: VecDeque<&[(Signed<Voucher>, Amount)]> = due.chunks(MOST_AT_ONCE).collect();
    while let Some(piece) = pieces.pop_front() {
        let label = match piece {
            [(one, _)] => format!("collect from the escrow {}", one.body.escrow.short()),
            several => format!("collect from {} escrows", several.len()),
        };
        let signed: Vec<_> = piece.iter().map(|(signed, _)| *signed).collect();
        match (purse.call(&label, escrows.address(), escrow::collect(&signed)).await, piece) {
            (Ok(sent), _) => {
                collected.sent.push(sent);
                collected.amount =
                    piece.iter().fold(collected.amount, |sum, (_, more)| sum.saturating_add(*more));
            }
            (Err(error), [(one, _)]) if exit::code_of(&error) == Code::Failed => {
                collected.refused.push(Refused { escrow: one.body.escrow, reason: format!("{error:#}") });
            }
            // One that is refused takes the others of its transaction with it: it is found by halving.
            (Err(error), several) if exit::code_of(&error) == Code::Failed => {
                let (one, other) = several.split_at(several.len() / 2);
                pieces.push_front(other);
                pieces.push_front(one);
            }
            (Err(error), _) => return Err(error),
        }
    }
    Ok(collected)
}
