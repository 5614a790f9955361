//! How a provider sees to it that it is paid.
//!
//! It works only for what an escrow on the ledger holds, and only so far ahead of the coordinator's promises as its
//! owner allows. Each voucher is checked and written down before it counts. When a coordinator goes silent, or closes a
//! window without paying, the provider collects its vouchers by itself.
//!
//! What is decided, `book` decides, without I/O; `journal` keeps what may not be forgotten; `asking` talks to the
//! ledger. The owner of all state carries it out between them.

pub(crate) mod asking;
pub(crate) mod book;
mod history;
pub(crate) mod journal;
mod refusal;
mod voucher;

use std::time::Duration;

use tidemill_ledger::{Escrows, sender::Sender};
use tidemill_types::{Address, Amount};

pub use self::{
    history::{EscrowHistory, History, JobHistory, WithheldHistory},
    journal::{JournalError, Loss, LossReason, Tally},
    voucher::VoucherError,
};
pub(crate) use self::{refusal::NotPaid, voucher::Promise};

/// How a provider is paid.
#[derive(Clone, Debug)]
pub struct Config {
    /// The escrows of the ledger that it is paid on.
    pub escrows: Escrows,
    /// The account that is paid. It must be registered there, and the result key bound to it.
    pub operator: Address,
    /// Work is done ahead of vouchers up to so much. Tasks that run when it is reached go on, and come on top.
    pub max_exposure: Amount,
    /// The coordinator must have bonded at least so much. Nothing: it need not.
    pub min_bond: Amount,
    /// An escrow is believed as of the block that has so many on top of it, itself included.
    pub confirmations: u64,
    /// How often escrows are looked at that something is at stake in.
    pub poll: Duration,
    /// When the coordinator was not heard of for so long, what it promised in escrows that have ended is collected. One
    /// that is there is left half of the window for paying by itself.
    pub collect_after: Duration,
    /// Who sends collections. Without it none are sent: the owner does that.
    pub sender: Option<Sender>,
}
