//! What a provider tells its owner.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

use crate::{Unpaid, wei::Wei};

/// What a provider tells, and which coordinator it is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProvideNotice {
    /// What happened.
    #[serde(flatten)]
    pub event: ProvideEvent,
    /// The node of the coordinator; left out where it is about the machine or the ledger, or about an escrow of a
    /// coordinator that the provider has not joined since it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
}

/// What happened to a provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ProvideEvent {
    /// How the operating system confines the programs of strangers.
    Confinement {
        /// The measures that hold.
        holds: Vec<String>,
        /// The measures that this machine lacks.
        lacks: Vec<Lack>,
    },
    /// It needs coins for gas before it can begin.
    WaitsForCoins {
        /// The account that needs them.
        account: String,
    },
    /// What it lends.
    Offer {
        /// Its node.
        node: String,
        /// The account that results are for.
        address: String,
        /// Its name.
        name: String,
        /// The slots of all its engines.
        cpus: u32,
        /// The memory of all its engines.
        memory_bytes: u64,
        /// Its room for blobs.
        disk_bytes: u64,
        /// Fuel a second of one slot of its first engine while the others rest.
        single_fuel_per_s: u64,
        /// Fuel a second of all slots of its first engine together.
        all_fuel_per_s: u64,
        /// The directory of its state.
        directory: String,
    },
    /// A coordinator took it in.
    Joined {
        /// The coordinator's program and version, in its own words.
        software: String,
    },
    /// It has no connection to a coordinator. Tasks that run go on.
    Lost {
        /// Why.
        reason: String,
        /// When it dials again, in milliseconds from now.
        retry_in_ms: u64,
    },
    /// The coordinator does not take it in, and dialing again is of no use.
    Refused {
        /// Why.
        reason: String,
    },
    /// The coordinator turned a second process with the same key away.
    CopyRefused {
        /// The address that it dialed from; null where that is not known.
        from: Option<String>,
    },
    /// It has no work of any coordinator; told for each of them.
    Idle {
        /// Why this one gives none, as far as it is known.
        reason: String,
        /// For how long, in milliseconds.
        since_ms: u64,
    },
    /// It has work; told with every heartbeat of a coordinator.
    Working {
        /// Tasks that run.
        running: u32,
        /// Leases that wait for a slot or for blobs.
        waiting: u32,
        /// Results since the start.
        done: u64,
        /// Failures among them.
        failed: u64,
    },
    /// An attempt at a task ended.
    Task {
        /// The job's id.
        job_id: String,
        /// The task's number.
        task: u64,
        /// How it ended.
        outcome: TaskEnd,
        /// How it failed; null where it did not.
        failure: Option<String>,
        /// How long it ran, in milliseconds.
        wall_ms: u64,
    },
    /// Leases went back without having been run.
    Returned {
        /// How many.
        leases: u64,
        /// Why.
        reason: String,
    },
    /// There is no room for the blobs of a coordinator.
    NoRoom {
        /// Why.
        reason: String,
        /// When it takes leases of that one again, in milliseconds from now.
        resume_in_ms: u64,
    },
    /// The person asked for the end.
    AskedToDrain,
    /// It takes no more leases, and ends when those that run are reported.
    Draining {
        /// Tasks that run.
        running: u32,
        /// Results that their coordinators have not confirmed.
        unsettled: u64,
    },
    /// It has ended, and all work is reported.
    Drained,
    /// It has ended at once, with work left.
    Stopped,
    /// Events came faster than they could be told.
    Missed {
        /// How many were left out.
        events: u64,
    },
    /// The network pays nothing.
    Free,
    /// The coordinator gave a voucher, and it is on the disk.
    Paid {
        /// The escrow that pays.
        escrow: String,
        /// How much more than before.
        #[schemars(with = "Wei")]
        amount_wei: Amount,
        /// How much altogether, before fees.
        #[schemars(with = "Wei")]
        total_wei: Amount,
    },
    /// A result is not paid.
    Unpaid {
        /// The lease.
        lease: u64,
        /// The job's id.
        job_id: String,
        /// Why.
        reason: Unpaid,
        /// What it would have cost.
        #[schemars(with = "Wei")]
        amount_wei: Amount,
    },
    /// A result is paid less than it costs by the rates that were agreed on.
    Underpaid {
        /// The lease.
        lease: u64,
        /// The job's id.
        job_id: String,
        /// What is paid.
        #[schemars(with = "Wei")]
        paid_wei: Amount,
        /// What it costs.
        #[schemars(with = "Wei")]
        price_wei: Amount,
    },
    /// A voucher promises less than the coordinator said that it pays.
    Short {
        /// The escrow.
        escrow: String,
        /// What the voucher promises.
        #[schemars(with = "Wei")]
        promised_wei: Amount,
        /// What the coordinator said.
        #[schemars(with = "Wei")]
        earned_wei: Amount,
    },
    /// A voucher is not good, and does not count.
    VoucherRefused {
        /// The escrow that it names.
        escrow: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The coordinator has promised more than an escrow holds.
    OverIssue {
        /// The escrow.
        escrow: String,
        /// By how much.
        reason: String,
    },
    /// Work that vouchers do not cover has reached the limit, and nothing new is begun.
    Exposed {
        /// What is not covered.
        #[schemars(with = "Wei")]
        amount_wei: Amount,
        /// The limit.
        #[schemars(with = "Wei")]
        limit_wei: Amount,
    },
    /// It is below the limit again, and work goes on.
    Secure {
        /// What is not covered.
        #[schemars(with = "Wei")]
        amount_wei: Amount,
    },
    /// The provider has signed that it wants no more than this from an escrow.
    Released {
        /// The escrow.
        escrow: String,
        /// How much altogether, before fees.
        #[schemars(with = "Wei")]
        amount_wei: Amount,
    },
    /// The provider collects a voucher itself.
    Collecting {
        /// The escrow.
        escrow: String,
        /// What it brings at most, before fees.
        #[schemars(with = "Wei")]
        amount_wei: Amount,
    },
    /// A voucher was collected.
    Collected {
        /// The escrow.
        escrow: String,
        /// What left the escrow.
        #[schemars(with = "Wei")]
        gross_wei: Amount,
        /// What of that the provider received.
        #[schemars(with = "Wei")]
        net_wei: Amount,
        /// The hash of the transaction.
        transaction: String,
    },
    /// A voucher could not be collected.
    CollectFailed {
        /// The escrow.
        escrow: String,
        /// Why.
        reason: String,
    },
    /// Pay that was earned will not come.
    Loss {
        /// The escrow.
        escrow: String,
        /// How much.
        #[schemars(with = "Wei")]
        amount_wei: Amount,
        /// Why.
        reason: String,
    },
    /// The ledger does not answer. Work goes on up to the limit.
    LedgerLost {
        /// Why.
        reason: String,
    },
    /// The ledger answers again.
    LedgerBack,
    /// Vouchers cannot be written down, and nothing new is begun until they can.
    JournalFailed {
        /// Why.
        reason: String,
    },
}

/// A measure of confinement that a machine lacks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Lack {
    /// The measure.
    pub measure: String,
    /// What the system said.
    pub reason: String,
}

/// How an attempt at a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskEnd {
    /// The program succeeded.
    Done,
    /// It did not.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_its_name_and_fields() {
        let unpaid = ProvideEvent::Unpaid {
            lease: 3,
            job_id: "ab".to_owned(),
            reason: Unpaid::JobEnded,
            amount_wei: Amount::from_wei(5),
        };
        let text = serde_json::to_string(&unpaid).expect("it is plain data");
        assert_eq!(
            text,
            r#"{"event":"unpaid","lease":3,"job_id":"ab","reason":"JobEnded","amount_wei":"5"}"#
        );
        assert_eq!(serde_json::from_str::<ProvideEvent>(&text).expect("it reads back"), unpaid);
        let asked = serde_json::to_string(&ProvideEvent::AskedToDrain).expect("it is plain data");
        assert_eq!(asked, r#"{"event":"asked_to_drain"}"#);
    }

    #[test]
    fn the_coordinator_stands_beside_what_the_event_says() {
        let reads = |text: &str| serde_json::from_str::<ProvideNotice>(text).expect("it reads back");
        let amount_wei = Amount::from_wei(u128::MAX);
        let joined = ProvideEvent::Joined { software: "tidemill 1".to_owned() };
        let notice = ProvideNotice { event: joined, coordinator: Some("ab".to_owned()) };
        let text = serde_json::to_string(&notice).expect("it is plain data");
        assert_eq!(text, r#"{"event":"joined","software":"tidemill 1","coordinator":"ab"}"#);
        assert_eq!(reads(&text), notice);
        for event in [ProvideEvent::Drained, ProvideEvent::Secure { amount_wei }] {
            let bare = serde_json::to_string(&event).expect("it is plain data");
            let notice = ProvideNotice { event, coordinator: None };
            assert_eq!(serde_json::to_string(&notice).expect("it is plain data"), bare, "nothing is added");
            assert_eq!(reads(&bare), notice);
        }
    }
}
