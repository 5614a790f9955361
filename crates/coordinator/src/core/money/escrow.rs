//! One escrow's accounts: what is in it, earned, promised and held back. Plain arithmetic, without a clock.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_job::JobSpec;
use tidemill_ledger::{
    EscrowView,
    escrow::{Phase, net},
    settlement::{Closing, Payee},
};
use tidemill_net::wire::{self, EscrowReport, PayeeReport, SettlementReport};
use tidemill_sched::Micros;
use tidemill_store::{EscrowRecord, EscrowStage, PayeeRecord, SettlementRecord};
use tidemill_types::{
    Address, Amount, EscrowContract, EscrowId, JobId, Limits, NodeId, RateCard, Release, Signed, Stage,
    Voucher,
};

/// Nodes that may spend one escrow.
pub const MOST_NODES: usize = 64;

/// An escrow as the core has it.
#[derive(Clone, Debug)]
pub struct Escrow {
    /// What is on disk of it.
    pub record: EscrowRecord,
    /// Everyone who has earned something.
    pub payees: BTreeMap<Address, PayeeRecord>,
    /// The jobs that use it.
    pub jobs: BTreeSet<JobId>,
    /// What leases that have not ended may come to.
    pub reserved: Amount,
    /// What everybody has earned together.
    earned: Amount,
    /// The last time that the ledger told, in its seconds.
    pub seen_s: u64,
    /// Whether the ledger shows it. One that a reorg took back is not spent from.
    pub is_there: bool,
    /// Since when it is to be settled.
    pub settling_since: Option<Micros>,
    /// When releases were asked for last.
    pub asked: Option<Micros>,
    /// Whether transactions about it are on their way.
    pub in_flight: bool,
    /// How often in a row that came to nothing.
    pub failures: u32,
    /// When to try next.
    pub next_try: Micros,
    /// What it waits for, in words.
    pub waits_for: Option<String>,
    /// Whether its record has changed since it was handed to the store.
    pub changed: bool,
    /// Whose records have changed since they were handed to the store.
    pub touched: BTreeSet<Address>,
    /// The nodes that are to get a voucher of their account.
    pub owed: BTreeMap<Address, BTreeSet<NodeId>>,
}

/// Why a release is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReleaseError {
    /// It was not asked for.
    #[error("no release of it is wanted")]
    NotWanted,
    /// It speaks of another amount.
    #[error("it releases {found}, where {expected} was earned")]
    OtherAmount {
        /// What it says.
        found: Amount,
        /// What the provider has earned.
        expected: Amount,
    },
}

impl Escrow {
    /// One that no job has used yet.
    pub fn new(view: &EscrowView, contract: EscrowContract) -> Self {
        let record = EscrowRecord {
            id: view.id,
            contract,
            requester: view.requester,
            coordinator: view.voucher_key,
            nodes: Vec::new(),
            deposited: view.deposited,
            ends_s: view.ends_s,
            collect_until_s: view.collect_until_s,
            fee_ppm: view.fee_ppm,
            protocol_fee_ppm: view.protocol_fee_ppm,
            next_sequence: 1,
            total: Amount::ZERO,
            close: false,
            stage: EscrowStage::Open,
            settlements: Vec::new(),
        };
        let mut escrow = Self::restored(record, Vec::new());
        escrow.seen_s = view.now_s;
        escrow.is_there = true;
        escrow.changed = true;
        escrow
    }

    /// One that the store remembers. Nothing comes out of it before the ledger has shown it anew: a reorg may have taken
    /// it back.
    pub fn restored(record: EscrowRecord, payees: Vec<PayeeRecord>) -> Self {
        Self {
            earned: sum(payees.iter().map(|payee| payee.earned)),
            record,
            payees: payees.into_iter().map(|payee| (payee.operator, payee)).collect(),
            jobs: BTreeSet::new(),
            reserved: Amount::ZERO,
            seen_s: 0,
            is_there: false,
            settling_since: None,
            asked: None,
            in_flight: false,
            failures: 0,
            next_try: Micros(0),
            waits_for: None,
            changed: false,
            touched: BTreeSet::new(),
            owed: BTreeMap::new(),
        }
    }

    /// What everybody has earned together.
    pub fn earned(&self) -> Amount {
        self.earned
    }

    /// What is neither earned nor held back.
    pub fn left(&self) -> Amount {
        let taken = self.earned.saturating_add(self.reserved);
        match self.is_there {
            true => self.record.deposited.saturating_sub(taken),
            false => Amount::ZERO,
        }
    }

    /// Holds back what a lease may come to. False where there is not so much left.
    pub fn reserve(&mut self, amount: Amount) -> bool {
        if self.record.stage != EscrowStage::Open || amount > self.left() {
            return false;
        }
        self.reserved = self.reserved.saturating_add(amount);
        true
    }

    /// Gives back what was held back for a lease.
    pub fn free(&mut self, amount: Amount) {
        self.reserved = self.reserved.saturating_sub(amount);
    }

    /// Somebody has earned so much more. It is within what was held back, or within what is left.
    pub fn earn(&mut self, operator: Address, node: NodeId, amount: Amount) {
        let payee = self.payees.entry(operator).or_insert_with(|| PayeeRecord {
            operator,
            node,
            earned: Amount::ZERO,
            vouched: Amount::ZERO,
            sequence: 0,
            release: None,
            paid: Amount::ZERO,
            acknowledged: false,
        });
        payee.earned = payee.earned.saturating_add(amount);
        self.earned = self.earned.saturating_add(amount);
        payee.node = node;
        self.touched.insert(operator);
        self.owe_voucher(operator, node);
    }

    /// A node is to get the newest voucher of its account, if that has earned anything.
    pub fn owe_voucher(&mut self, operator: Address, node: NodeId) {
        if self.payees.contains_key(&operator) {
            self.owed.entry(operator).or_default().insert(node);
        }
    }

    /// The next voucher of a payee, over all that it has earned. None where more is earned than the ledger shows, as
    /// after a reorg that took a deposit back: nothing is promised that is not there.
    pub fn vouch(&mut self, operator: Address) -> Option<Voucher> {
        let deposited = self.record.deposited;
        let payee = self.payees.get_mut(&operator)?;
        let more = payee.earned.saturating_sub(payee.vouched);
        let total = self.record.total.saturating_add(more);
        if total > deposited || !self.is_there {
            return None;
        }
        let sequence = self.record.next_sequence;
        self.record.next_sequence += 1;
        self.record.total = total;
        payee.vouched = payee.earned;
        payee.sequence = sequence;
        self.touched.insert(operator);
        self.changed = true;
        Some(Voucher { escrow: self.record.id, provider: operator, amount: payee.earned, sequence, total })
    }

    /// Takes in what the ledger shows.
    pub fn seen(&mut self, view: &EscrowView) {
        self.is_there = true;
        self.seen_s = self.seen_s.max(view.now_s);
        let record = &mut self.record;
        let known = (record.deposited, record.ends_s, record.collect_until_s);
        if known != (view.deposited, view.ends_s, view.collect_until_s) {
            record.deposited = view.deposited;
            record.ends_s = view.ends_s;
            record.collect_until_s = view.collect_until_s;
            self.changed = true;
        }
        // What could not be promised before may be there now.
        for payee in self.payees.values().filter(|payee| payee.earned > payee.vouched) {
            self.owed.entry(payee.operator).or_default().insert(payee.node);
        }
    }

    /// How far the ledger is with it at some time of its clock.
    pub fn phase(&self, now_s: u64) -> Phase {
        if self.record.stage == EscrowStage::Closed {
            Phase::Closed
        } else {
            self.view(now_s).phase_at(now_s)
        }
    }

    /// As the ledger had it when it was last looked at.
    fn view(&self, now_s: u64) -> EscrowView {
        let record = &self.record;
        EscrowView {
            id: record.id,
            requester: record.requester,
            coordinator: record.coordinator,
            voucher_key: record.coordinator,
            deposited: record.deposited,
            paid: sum(self.payees.values().map(|payee| payee.paid)),
            fee_ppm: record.fee_ppm,
            protocol_fee_ppm: record.protocol_fee_ppm,
            ends_s: record.ends_s,
            collect_until_s: record.collect_until_s,
            closed: record.stage == EscrowStage::Closed,
            now_s,
        }
    }

    /// Those who have earned something and have not said that it is all.
    pub fn unreleased(&self) -> impl Iterator<Item = &PayeeRecord> {
        self.payees.values().filter(|payee| payee.release.is_none())
    }

    /// Whether it is to be closed as soon as everybody releases it, which nobody does before everything is decided and
    /// promised.
    pub fn awaits_releases(&self) -> bool {
        let settles = match self.record.stage {
            EscrowStage::Open => self.record.close,
            EscrowStage::Settling => true,
            EscrowStage::Paid | EscrowStage::Closed => false,
        };
        settles && self.jobs.is_empty()
    }

    /// Takes a release in.
    ///
    /// # Errors
    /// [`ReleaseError`]; its signature is checked by whoever knows who may sign.
    pub fn release(&mut self, signed: Signed<Release>) -> Result<(), ReleaseError> {
        let settles = matches!(self.record.stage, EscrowStage::Settling | EscrowStage::Paid);
        let payee = self.payees.get_mut(&signed.body.provider).filter(|_| settles);
        let payee = payee.ok_or(ReleaseError::NotWanted)?;
        if signed.body.amount != payee.earned {
            return Err(ReleaseError::OtherAmount { found: signed.body.amount, expected: payee.earned });
        }
        payee.release = Some(signed);
        self.touched.insert(signed.body.provider);
        Ok(())
    }

    /// What a settlement is planned from.
    pub fn closing(&self, now_s: u64, impatient: bool) -> Closing {
        let payees = self.payees.values().map(|payee| Payee {
            provider: payee.operator,
            amount: payee.earned,
            release: payee.release,
            paid: payee.paid,
            acknowledged: payee.acknowledged,
        });
        Closing { view: self.view(now_s), payees: payees.collect(), impatient }
    }

    /// For its requester.
    pub fn report(&self) -> EscrowReport {
        let (jobs, reserved) = (self.jobs.len() as u64, self.reserved);
        EscrowReport {
            jobs,
            reserved,
            waits_for: self.waits_for.clone(),
            ..report(&self.record, self.payees.values())
        }
    }
}

/// An escrow as its record and its payees' have it, for its requester.
pub fn report<'a>(record: &EscrowRecord, payees: impl Iterator<Item = &'a PayeeRecord>) -> EscrowReport {
    let net = |gross| net(gross, record.fee_ppm, record.protocol_fee_ppm);
    let payees: Vec<PayeeReport> = payees
        .map(|payee| PayeeReport {
            operator: payee.operator,
            node: payee.node,
            earned: payee.earned,
            paid: payee.paid,
            net: net(payee.paid),
            released: payee.release.is_some(),
        })
        .collect();
    EscrowReport {
        escrow: record.id,
        stage: match record.stage {
            EscrowStage::Open => wire::EscrowStage::Open,
            EscrowStage::Settling => wire::EscrowStage::Settling,
            EscrowStage::Paid => wire::EscrowStage::Paid,
            EscrowStage::Closed => wire::EscrowStage::Closed,
        },
        deposited: record.deposited,
        earned: sum(payees.iter().map(|payee| payee.earned)),
        reserved: Amount::ZERO,
        jobs: 0,
        payees,
        settlements: record.settlements.iter().map(settlement).collect(),
        waits_for: None,
    }
}

fn settlement(record: &SettlementRecord) -> SettlementReport {
    let SettlementRecord { transaction, block, gas_used, gas_price_wei, escrows, refunded } = *record;
    SettlementReport { transaction, block, gas_used, gas_price_wei, escrows, refunded }
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::ZERO, Amount::saturating_add)
}

/// What a job is paid by, as the core has it.
#[derive(Clone, Copy, Debug)]
pub struct JobMoney {
    /// What is on disk of it.
    pub record: tidemill_store::JobPayRecord,
    /// What its accepted results come to.
    pub spent: Amount,
    /// What its leases may come to.
    pub reserved: Amount,
    /// The fewest bytes that a map task of it reads.
    least_map_input: u64,
}

impl JobMoney {
    /// Of a job of which nothing was done yet.
    pub fn new(record: tidemill_store::JobPayRecord, spec: &JobSpec) -> Self {
        let (least_map_input, _) = spec.map_input_bytes();
        Self { record, spent: Amount::ZERO, reserved: Amount::ZERO, least_map_input }
    }

    /// The least that must be left for any lease of a stage to be given. A particular one may need more.
    pub fn least(&self, spec: &JobSpec, stage: Stage, limits: &Limits) -> Amount {
        let input_bytes = match stage {
            Stage::Map => self.least_map_input,
            Stage::Reduce => spec.common_input_bytes(stage),
        };
        self.record.ceiling.most(super::kind_of(spec, stage), limits, input_bytes)
    }

    /// What it may still hold back of its own ceiling.
    pub fn left(&self) -> Amount {
        let most = self.record.max_price.unwrap_or(Amount::from_wei(u128::MAX));
        most.saturating_sub(self.spent.saturating_add(self.reserved))
    }
}

/// What a lease is billed by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Bill {
    /// Which escrow pays.
    pub escrow: EscrowId,
    /// By which rates.
    pub rates: RateCard,
    /// The bytes of the task's inputs.
    pub input_bytes: u64,
    /// The most that it may come to, which is held back.
    pub reserve: Amount,
}
