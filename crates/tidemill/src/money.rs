//! Money in the commands: which ledger pays and in whose name, what a job would cost, and what became of it.

mod earners;
mod payer;
mod settlement;
mod spent;

use std::time::{SystemTime, UNIX_EPOCH};

use tidemill_ledger::{EscrowView, Escrows, keystore::Account};
use tidemill_net::wire::Money;
pub use tidemill_web::quote::{Quote, shown, tide};

pub use self::{
    earners::{COORDINATOR_COINS, coordinator, fund, no_coins, poll, provider_sender, register},
    payer::{Payer, forget_escrow, has_escrow},
    settlement::{is_closed, print_payment, settlement},
    spent::{PaidJob, jobs_by_escrow, note_job},
};
use crate::{
    exit::{Code, Exit, WithCode},
    ledger::{AccountArgs, Ledger, LedgerArgs, TREASURY},
};

/// The options of every command that may pay for work.
#[derive(clap::Args)]
pub struct PayArgs {
    #[command(flatten)]
    pub account: AccountArgs,
    #[command(flatten)]
    pub ledger: LedgerArgs,
}

impl PayArgs {
    /// The account that pays: the one that is named, the only one there is, or the treasury of this home's own ledger.
    ///
    /// # Errors
    /// As those of [`AccountArgs::unlock`].
    pub fn payer(&self) -> anyhow::Result<Account> {
        self.account.unlock_or(TREASURY)
    }
}

/// The escrows of a ledger.
///
/// # Errors
/// With a code when its address book names none or it does not answer.
pub async fn escrows(ledger: &Ledger) -> anyhow::Result<Escrows> {
    Escrows::new(ledger.chain.clone(), &ledger.book).await.code(Code::Host)
}

/// An escrow as of now: where blocks come only with transactions, the newest is an old one, and the next will be of now.
pub fn as_of_now(view: EscrowView) -> EscrowView {
    EscrowView { now_s: view.now_s.max(unix_s()), ..view }
}

/// Seconds since 1970.
pub fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Checks that a network pays on this ledger.
///
/// # Errors
/// With [`Code::Usage`] when it pays on another one.
pub fn same_ledger(money: &Money, escrows: &Escrows) -> anyhow::Result<()> {
    let (theirs, ours) = (money.contract, escrows.contract());
    if theirs == ours {
        return Ok(());
    }
    let message = format!(
        "the network pays on the ledger {} (escrows at {}), and this home is set to the ledger {} (escrows at {})",
        theirs.chain_id, theirs.address, ours.chain_id, ours.address
    );
    Err(Exit::new(Code::Usage, message)
        .hint("`tidemill ledger use URL` with a node of the network's ledger; ask whoever runs the coordinator for it")
        .into())
}
