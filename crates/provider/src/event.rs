//! What a provider tells its owner.

use std::{net::IpAddr, time::Duration};

use tidemill_ledger::B256;
use tidemill_net::wire::Unpaid;
use tidemill_types::{Amount, EscrowId, JobId, LeaseId, NodeId, Outcome, TaskNumber};

use crate::pay::{Loss, VoucherError};

/// An event, and whose it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Notice {
    /// The coordinator that it is about. None: it is about the machine, the ledger, or an escrow of a coordinator that
    /// there was no session with in this life.
    pub coordinator: Option<NodeId>,
    /// What happened.
    pub event: Event,
}

/// What happened. For people and logs: nothing depends on an event being heard.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A coordinator took it in.
    Joined {
        /// Its program and version, in its own words.
        software: String,
    },
    /// There is no session any more, or none came about. Tasks that run go on.
    Lost {
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The coordinator will not have it, and trying again would be of no use.
    Refused {
        /// Why.
        reason: String,
    },
    /// The coordinator has turned away a second process with this provider's key: its directory was copied, most likely.
    CopyRefused {
        /// Where that one dialed from, as far as the coordinator knows.
        from: Option<IpAddr>,
    },
    /// It has no work of any coordinator. Said of each of them.
    Idle {
        /// Why this one gives none, as far as it is known.
        reason: String,
        /// For how long now.
        since: Duration,
    },
    /// A sign of life, with every heartbeat of a coordinator while there is work of any.
    Working {
        /// Tasks that run.
        running: u32,
        /// Leases that wait for a slot or for blobs.
        waiting: u32,
        /// Results since the start.
        done: u64,
    },
    /// An attempt ended, and its result is on its way.
    TaskDone {
        /// The lease.
        lease: LeaseId,
        /// The job.
        job: JobId,
        /// The task.
        task: TaskNumber,
        /// How it ended.
        outcome: Outcome,
        /// How long it ran.
        wall: Duration,
    },
    /// Leases went back without having been run.
    Returned {
        /// How many.
        leases: usize,
        /// Why.
        reason: String,
    },
    /// There is no room for the blobs of a coordinator: none of its leases are taken for a while.
    NoRoom {
        /// What was tried and how it failed.
        reason: String,
        /// When leases are taken again.
        resume_in: Duration,
    },
    /// It takes no more leases, and ends when those that run have been reported.
    Draining {
        /// Tasks that run.
        running: u32,
        /// Results that their coordinators have not settled.
        unsettled: usize,
    },
    /// All is reported and settled, and all sessions are over.
    Drained,
    /// The network pays nothing, and this provider could be paid: it works for nothing.
    Free,
    /// The coordinator gave a voucher, and it is on the disk.
    Paid {
        /// The escrow that pays.
        escrow: EscrowId,
        /// How much more than before.
        amount: Amount,
        /// How much altogether, before fees.
        total: Amount,
    },
    /// A result is paid nothing.
    Unpaid {
        /// The lease.
        lease: LeaseId,
        /// The job.
        job: JobId,
        /// Why.
        reason: Unpaid,
        /// What it would have cost.
        amount: Amount,
    },
    /// A result is paid less than it costs by the rates that were agreed on.
    Underpaid {
        /// The lease.
        lease: LeaseId,
        /// The job.
        job: JobId,
        /// What is paid.
        paid: Amount,
        /// What it costs.
        price: Amount,
    },
    /// A voucher promises less than the coordinator said that it pays. It was kept: more comes later, or never.
    Short {
        /// The escrow.
        escrow: EscrowId,
        /// What the voucher promises.
        promised: Amount,
        /// What the coordinator said.
        earned: Amount,
    },
    /// A voucher is not good, and does not count.
    VoucherRefused {
        /// The escrow that it names.
        escrow: EscrowId,
        /// What is wrong with it.
        error: VoucherError,
    },
    /// The coordinator has promised more than an escrow holds. The voucher that proves it was kept, and nothing more is
    /// done for this coordinator.
    OverIssue {
        /// The escrow.
        escrow: EscrowId,
        /// By how much.
        error: VoucherError,
    },
    /// Work that vouchers do not cover has reached the limit: nothing new is begun.
    Exposed {
        /// What is not covered.
        amount: Amount,
        /// The limit.
        limit: Amount,
    },
    /// It is below the limit again: work goes on.
    Secure {
        /// What is not covered.
        amount: Amount,
    },
    /// The provider has signed that it wants no more than this from an escrow, so that it can close at once.
    Released {
        /// The escrow.
        escrow: EscrowId,
        /// How much altogether, before fees.
        amount: Amount,
    },
    /// A voucher is being collected by this provider itself.
    Collecting {
        /// The escrow.
        escrow: EscrowId,
        /// What it would bring at most, before fees.
        amount: Amount,
    },
    /// A voucher was collected.
    Collected {
        /// The escrow.
        escrow: EscrowId,
        /// What left the escrow.
        gross: Amount,
        /// What of that the provider has.
        net: Amount,
        /// The transaction.
        transaction: B256,
    },
    /// A voucher could not be collected. It is tried again, unless there is nobody to send it.
    CollectFailed {
        /// The escrow.
        escrow: EscrowId,
        /// Why.
        reason: String,
    },
    /// Pay that was earned will not come.
    Loss {
        /// The escrow.
        escrow: EscrowId,
        /// How much, and why.
        loss: Loss,
    },
    /// The ledger does not answer. Work goes on up to the limit.
    LedgerLost {
        /// Why.
        reason: String,
    },
    /// It answers again.
    LedgerBack,
    /// Vouchers cannot be written down, so they do not count. It is tried again.
    JournalFailed {
        /// Why.
        reason: String,
    },
}

/// How a provider ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// As asked, with all its work reported.
    Drained,
    /// As asked, at once.
    Stopped,
    /// No coordinator will have it.
    Refused {
        /// Why the last one will not.
        reason: String,
    },
    /// Another process with its key lives and has the session: its directory is a copy, or was copied.
    Copied {
        /// Where that one is, in the coordinator's words.
        reason: String,
    },
    /// It broke, which is a mistake of this program.
    Broke,
}
