//! What jobs are paid by: holding money back for leases, owing it for accepted results, promising it by vouchers, and
//! settling escrows that no job uses any more.
//!
//! A lease is given only when the most that it may come to is left in its escrow, so nothing that is accepted goes
//! unpaid and no voucher promises what is not there. Whatever a step of the core earns for somebody is durable with
//! the result itself, and its voucher leaves after that.

mod escrow;
mod running;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use tidemill_job::JobSpec;
use tidemill_ledger::{EscrowView, escrow::Phase};
use tidemill_net::wire::{
    Decision, EscrowReport, HeldLease, JobCost, JobPay, Money as Terms, Refusal, Unpaid,
};
use tidemill_sched::{LeaseEnd, Micros};
use tidemill_store::{AttemptRecord, Change, EscrowStage, JobPayRecord, PayeeRecord};
use tidemill_types::{
    Address, Amount, Billable, EscrowId, Failure, JobId, LeaseId, Limits, Metered, Millis, NodeId,
    ProgramKind, RateCard, Stage, TaskId, Usage, Voucher,
};

use tidemill_verify::SlashOdds;

use self::escrow::MOST_NODES;
pub(crate) use self::escrow::report as escrow_report;
pub(super) use self::escrow::{Bill, Escrow, JobMoney};
pub use self::settle::Settled;
use self::settle::clock_s;
use super::{Core, Held, Provider, after, verdicts::owed_for_failure};
use crate::event::{Caller, Effect, Look, Now, SessionId};

/// How a coordinator pays.
#[derive(Clone, Debug)]
pub struct MoneyConfig {
    /// What peers are told of it.
    pub terms: Terms,
    /// How long releases are waited for before everybody is paid without them.
    pub release_patience: Millis,
    /// How likely it is that a provider whose result is found to be wrong is slashed, on a ledger where a
    /// contract may.
    pub slash_odds: SlashOdds,
}

/// What pays for a job that is submitted, with what the ledger showed of it a moment ago. The mandate is checked.
#[derive(Clone, Copy, Debug)]
pub struct Funding {
    /// What the requester says.
    pub pay: JobPay,
    /// What the ledger says.
    pub view: EscrowView,
}

/// All money of the core.
pub(super) struct Money {
    pub(super) config: MoneyConfig,
    pub(super) escrows: BTreeMap<EscrowId, Escrow>,
    /// What sessions are to be told of results.
    decisions: BTreeMap<SessionId, Vec<(LeaseId, Decision)>>,
    /// Nothing more is decided and promised before this, unless somebody waits for it.
    next_pay: Micros,
    /// A job has left its escrow, which may be due.
    was_left: bool,
}

/// Decisions and vouchers leave this often at most while results stream in: a signature takes as long as a short task, and
/// shared by the results of so long it is nothing.
const PAY_PAUSE_MS: u64 = 20;

impl Money {
    pub(super) fn new(
        config: MoneyConfig,
        escrows: Vec<(tidemill_store::EscrowRecord, Vec<PayeeRecord>)>,
    ) -> Self {
        let escrows = escrows.into_iter();
        let escrows = escrows.map(|(record, payees)| (record.id, Escrow::restored(record, payees))).collect();
        Self { config, escrows, decisions: BTreeMap::new(), next_pay: Micros(0), was_left: false }
    }
}

impl Core {
    /// Whether a job may come in with what pays for it; takes the escrow on where it is new.
    pub(super) fn fund(
        &mut self,
        caller: Caller,
        job: JobId,
        spec: &JobSpec,
        funding: Option<&Funding>,
        look: &Look,
    ) -> Result<Option<JobMoney>, Refusal> {
        let unpaid = |reason: &str| Refusal::Unpaid { reason: reason.to_owned() };
        let (money, Funding { pay, view }) = match (&mut self.money, funding) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(unpaid("this network is free, and takes no money")),
            (Some(_), None) => {
                return Err(unpaid(
                    "this network pays its providers: lock a budget in an escrow and name it",
                ));
            }
            (Some(money), Some(funding)) => (money, funding),
        };
        // What the ledger showed of an escrow may reach the core after its end.
        let is_closed = look.is_escrow_closed || self.past.has_closed(pay.escrow);
        if is_closed || view.phase() != Phase::Open {
            return Err(unpaid("the escrow is closed: open another one"));
        }
        let record = JobPayRecord { escrow: pay.escrow, ceiling: pay.ceiling, max_price: pay.max_price };
        let limits = spec.limits(Stage::Map).copied().unwrap_or_default();
        let of_job = JobMoney::new(record, spec);
        let least = of_job.least(spec, Stage::Map, &limits);
        let earned = money.escrows.get(&pay.escrow).map_or(Amount::ZERO, Escrow::earned);
        let left = view.deposited.saturating_sub(earned);
        if left < least {
            let (id, short) = (pay.escrow, least.saturating_sub(left));
            return Err(unpaid(&format!(
                "the escrow has {left} left, and a task may cost up to {least}: `tidemill escrow top-up {id} \"{short}\"` \
                 adds what is missing"
            )));
        }
        if !money.escrows.contains_key(&pay.escrow) {
            self.step.effects.push(Effect::WatchEscrow(pay.escrow));
        }
        let contract = money.config.terms.contract;
        let escrow = money.escrows.entry(pay.escrow).or_insert_with(|| Escrow::new(view, contract));
        if escrow.record.stage != EscrowStage::Open {
            return Err(unpaid("the escrow is being settled already: open another one"));
        }
        // A job may be long on its way: its view can be older than what was seen since.
        if view.now_s >= escrow.seen_s {
            escrow.seen(view);
        }
        if !escrow.record.nodes.contains(&caller.node) {
            if escrow.record.nodes.len() >= MOST_NODES {
                return Err(unpaid("too many nodes spend this escrow: open another one"));
            }
            escrow.record.nodes.push(caller.node);
            escrow.changed = true;
        }
        if pay.close && !escrow.record.close {
            escrow.record.close = true;
            escrow.changed = true;
        }
        escrow.jobs.insert(job);
        // Before the job that it pays for.
        if std::mem::take(&mut escrow.changed) {
            let record = escrow.record.clone();
            self.step.changes.push(Change::Escrow(record));
        }
        Ok(Some(of_job))
    }

    /// How many leases of each paid job its money holds, for the scheduler. Called before tasks are placed.
    pub(super) fn tell_budgets(&mut self, now: Now) {
        let Some(money) = &self.money else { return };
        for (id, job) in &self.jobs {
            let Some(pay) = &job.money else { continue };
            let Some(escrow) = money.escrows.get(&pay.record.escrow) else { continue };
            let stage = if job.frontier.is_map_done() { Stage::Reduce } else { Stage::Map };
            let Some(limits) = job.spec.limits(stage) else { continue };
            let left =
                if leases_out(escrow, limits, now) { escrow.left().min(pay.left()) } else { Amount::ZERO };
            let each = pay.least(&job.spec, stage, limits);
            let budget = left.wei().checked_div(each.wei());
            self.sched.set_budget(*id, budget.map(|leases| u64::try_from(leases).unwrap_or(u64::MAX)));
        }
    }

    /// Holds back what a lease of a task may come to at a provider's rates. `Err`: there is not so much; `Ok(None)`: it
    /// costs nothing.
    pub(super) fn reserve(
        &mut self,
        task: TaskId,
        stage: Stage,
        rates: RateCard,
        input_bytes: u64,
        now: Now,
    ) -> Result<Option<Bill>, NoMoney> {
        let Some(money) = &mut self.money else { return Ok(None) };
        let Some(job) = self.jobs.get_mut(&task.job) else { return Ok(None) };
        let Some(pay) = &mut job.money else { return Ok(None) };
        let limits = job.spec.limits(stage).copied().unwrap_or_default();
        let kind = kind_of(&job.spec, stage);
        let reserve = rates.most(kind, &limits, input_bytes);
        let escrow = money.escrows.get_mut(&pay.record.escrow).ok_or(NoMoney)?;
        if reserve > pay.left() || !leases_out(escrow, &limits, now) || !escrow.reserve(reserve) {
            return Err(NoMoney);
        }
        pay.reserved = pay.reserved.saturating_add(reserve);
        Ok(Some(Bill { escrow: pay.record.escrow, rates, input_bytes, reserve }))
    }

    /// What was held back for a lease or a result is free.
    pub(super) fn free_bill(&mut self, job: JobId, bill: &Bill) {
        let Some(money) = &mut self.money else { return };
        if let Some(escrow) = money.escrows.get_mut(&bill.escrow) {
            escrow.free(bill.reserve);
        }
        if let Some(pay) = self.jobs.get_mut(&job).and_then(|job| job.money.as_mut()) {
            pay.reserved = pay.reserved.saturating_sub(bill.reserve);
        }
    }

    /// What an attempt costs, at most what was held back for it.
    pub(super) fn price(&self, held: &Held, usage: &Usage, output_len: u64) -> Amount {
        let Some(bill) = &held.bill else { return Amount::ZERO };
        self.price_of(held.task, bill, Metered::of(held.work.kind, usage), output_len)
    }

    /// What so much work at a task costs, at most what is held back for it.
    pub(super) fn price_of(&self, task: TaskId, bill: &Bill, work: Metered, output_len: u64) -> Amount {
        let Some(job) = self.jobs.get(&task.job) else { return Amount::ZERO };
        let limits = job.spec.limits(job.node(task.task).stage()).copied().unwrap_or_default();
        let work = Billable::new(&limits, bill.input_bytes, work, output_len);
        bill.rates.price(&work).min(bill.reserve)
    }

    /// An account has earned something for a job. What was held back for it is free already.
    pub(super) fn earn(
        &mut self,
        escrow: EscrowId,
        job: JobId,
        (operator, node): (Address, NodeId),
        price: Amount,
    ) {
        let Some(money) = &mut self.money else { return };
        if let Some(escrow) = money.escrows.get_mut(&escrow) {
            escrow.earn(operator, node, price);
        }
        if let Some(job) = self.jobs.get_mut(&job) {
            if let Some(pay) = &mut job.money {
                pay.spent = pay.spent.saturating_add(price);
            }
            let tally = job.tallies.entry(node).or_default();
            tally.earned = tally.earned.saturating_add(price);
        }
    }

    /// What a failure may be owed is held back until there is a verdict on its task, or its job ends.
    pub(super) fn hold_for_failure(&mut self, id: TaskId, price: Amount) {
        let Some(money) = &mut self.money else { return };
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let (Some(pay), Some(open)) = (&mut job.money, job.open.get_mut(&id.task)) else { return };
        let Some(escrow) = money.escrows.get_mut(&pay.record.escrow) else { return };
        pay.reserved = pay.reserved.saturating_add(price);
        escrow.reserved = escrow.reserved.saturating_add(price);
        open.held_for_failures = open.held_for_failures.saturating_add(price);
    }

    /// What was held back for failures of a task is free.
    pub(super) fn free_failures(&mut self, job: JobId, amount: Amount) {
        let Some(money) = &mut self.money else { return };
        let Some(pay) = self.jobs.get_mut(&job).and_then(|job| job.money.as_mut()) else { return };
        pay.reserved = pay.reserved.saturating_sub(amount);
        if let Some(escrow) = money.escrows.get_mut(&pay.record.escrow) {
            escrow.free(amount);
        }
    }

    /// The failures of a task that would fail so everywhere are as much work as a result would have been, and their logs are
    /// as much of one: who could have them for nothing would never let a program end well.
    /// Gives the leases that are paid.
    pub(super) fn owe_for_failure(
        &mut self,
        job: JobId,
        attempts: &[AttemptRecord],
        failure: &Failure,
    ) -> Vec<LeaseId> {
        let Some(pay) = self.jobs.get(&job).and_then(|job| job.money) else { return Vec::new() };
        let mut left = self
            .money
            .as_ref()
            .and_then(|money| money.escrows.get(&pay.record.escrow))
            .map_or(Amount::ZERO, Escrow::left)
            .min(pay.left());
        let owed = if is_billed(failure) { owed_for_failure(attempts, failure) } else { Vec::new() };
        let paid = owed.iter().map(|(failed, _)| failed.lease).collect();
        for (AttemptRecord { operator, provider, lease, .. }, price) in owed {
            let (operator, provider, lease) = (*operator, *provider, *lease);
            let price = price.min(left);
            left = left.saturating_sub(price);
            self.earn(pay.record.escrow, job, (operator, provider), price);
            self.decide(provider, lease, Decision::Paid(price));
        }
        paid
    }

    /// Tells those whose failures would be evidence, and are not owed, that somebody else's answer stands.
    pub(super) fn decide_unconfirmed(&mut self, attempts: &[AttemptRecord], paid: &BTreeSet<LeaseId>) {
        for failed in
            attempts.iter().filter(|failed| is_billed(&failed.failure) && !paid.contains(&failed.lease))
        {
            self.decide(failed.provider, failed.lease, Decision::Unpaid(Unpaid::Unconfirmed));
        }
    }

    /// Whether an escrow is there and has not ended.
    pub(super) fn is_open(&self, escrow: EscrowId, now: Now) -> bool {
        let escrow = self.money.as_ref().and_then(|money| money.escrows.get(&escrow));
        escrow.is_some_and(|escrow| escrow.is_there && escrow.phase(clock_s(escrow, now)) == Phase::Open)
    }

    /// A job does not use its escrow any more.
    pub(super) fn leave_escrow(&mut self, job: JobId, pay: Option<&JobMoney>) {
        let (Some(money), Some(pay)) = (&mut self.money, pay) else { return };
        if let Some(escrow) = money.escrows.get_mut(&pay.record.escrow) {
            escrow.jobs.remove(&job);
            money.was_left = true;
        }
    }

    /// A job that the store remembers uses its escrow again.
    pub(super) fn use_escrow(&mut self, job: JobId, pay: Option<&JobMoney>) {
        let (Some(money), Some(pay)) = (&mut self.money, pay) else { return };
        if let Some(escrow) = money.escrows.get_mut(&pay.record.escrow) {
            escrow.jobs.insert(job);
        }
    }

    /// What a lease that the store remembers may come to is held back again.
    pub(super) fn hold_again(&mut self, job: JobId, bill: Option<&Bill>) {
        let (Some(money), Some(bill)) = (&mut self.money, bill) else { return };
        if let Some(escrow) = money.escrows.get_mut(&bill.escrow) {
            escrow.reserved = escrow.reserved.saturating_add(bill.reserve);
        }
        if let Some(pay) = self.jobs.get_mut(&job).and_then(|job| job.money.as_mut()) {
            pay.reserved = pay.reserved.saturating_add(bill.reserve);
        }
    }

    /// Tells a provider what its result is paid, in a network that pays.
    pub(super) fn decide(&mut self, node: NodeId, lease: LeaseId, decision: Decision) {
        let Some(money) = &mut self.money else { return };
        if let Some(session) = self.providers.get(&node).and_then(|provider| provider.session) {
            money.decisions.entry(session).or_default().push((lease, decision));
        }
    }

    /// The same for a result that is not paid because its lease ended in some way.
    pub(super) fn decide_unpaid(&mut self, held: &Held, lease: LeaseId, end: LeaseEnd) {
        if held.bill.is_none() {
            return;
        }
        let reason = match end {
            LeaseEnd::Superseded if self.jobs.contains_key(&held.task.job) => Unpaid::Superseded,
            LeaseEnd::Superseded => Unpaid::JobEnded,
            LeaseEnd::Expired | LeaseEnd::Returned => Unpaid::Late,
            LeaseEnd::Failed => Unpaid::NoOutput,
            LeaseEnd::Unclear => Unpaid::Circumstance,
            LeaseEnd::Evidence => Unpaid::Unconfirmed,
            LeaseEnd::Done { .. } => return,
        };
        self.decide(held.node, lease, Decision::Unpaid(reason));
    }

    /// A provider is back: it gets the newest vouchers of its account, and is told what became of the leases that it
    /// holds and that are not its own any more.
    pub(super) fn catch_up(
        &mut self,
        session: SessionId,
        node: NodeId,
        operator: Address,
        stale: &[HeldLease],
    ) {
        let Some(money) = &mut self.money else { return };
        let of_it = money.escrows.values_mut().filter(|escrow| escrow.payees.contains_key(&operator));
        for escrow in of_it {
            escrow.owe_voucher(operator, node);
            // It is asked for its release at once, should that be all that is missing.
            escrow.asked = None;
        }
        if let Some(provider) = self.providers.get_mut(&node) {
            provider.reconciled = stale.iter().map(|held| held.lease).collect();
        }
        if !stale.is_empty() {
            self.step.effects.push(Effect::Reconcile { session, node, stale: stale.to_vec() });
        }
    }

    /// What the events of a step have earned, promised and decided: into the step, at its end. What is earned is on disk
    /// with the result that earned it; its decision and its voucher may come a little later.
    pub(super) fn close_books(&mut self, now: Now) {
        if self.money.as_mut().is_some_and(|money| std::mem::take(&mut money.was_left)) {
            self.tick_money(now);
        }
        let Some(money) = &mut self.money else { return };
        let is_waited_for = money.escrows.values().any(Escrow::awaits_releases);
        let (mut decisions, mut vouchers) = (BTreeMap::new(), BTreeMap::new());
        if now.mono >= money.next_pay || is_waited_for {
            decisions = std::mem::take(&mut money.decisions);
            for escrow in money.escrows.values_mut() {
                promise(escrow, &self.providers, &mut vouchers);
            }
        }
        for (id, escrow) in &mut money.escrows {
            for operator in std::mem::take(&mut escrow.touched) {
                if let Some(payee) = escrow.payees.get(&operator) {
                    self.step.changes.push(Change::Payee { escrow: *id, record: payee.clone() });
                }
            }
            if std::mem::take(&mut escrow.changed) {
                self.step.changes.push(Change::Escrow(escrow.record.clone()));
            }
        }
        let sessions: BTreeSet<SessionId> = decisions.keys().chain(vouchers.keys()).copied().collect();
        if !sessions.is_empty() {
            money.next_pay = after(now, PAY_PAUSE_MS);
        }
        for session in sessions {
            let decisions = decisions.remove(&session).unwrap_or_default();
            let vouchers = vouchers.remove(&session).unwrap_or_default();
            self.step.effects.push(Effect::Pay { session, decisions, vouchers });
        }
        money.escrows.retain(|id, escrow| {
            let is_closed = escrow.record.stage == EscrowStage::Closed;
            if is_closed {
                self.past.escrow_is_closed(*id);
            }
            !is_closed
        });
    }

    /// What a job costs, for its requester.
    pub(super) fn job_cost(&self, pay: &JobMoney) -> JobCost {
        let money = self.money.as_ref();
        let escrow = money.and_then(|money| money.escrows.get(&pay.record.escrow));
        JobCost {
            escrow: pay.record.escrow,
            earned: pay.spent,
            reserved: pay.reserved,
            left: escrow.map_or(Amount::ZERO, Escrow::left),
        }
    }

    /// Why a job gets no leases for want of money, and what to do about it.
    pub(super) fn why_unfunded(&self, id: JobId, now: Now) -> Option<String> {
        let job = self.jobs.get(&id)?;
        let pay = job.money.as_ref()?;
        let escrow = self.money.as_ref()?.escrows.get(&pay.record.escrow)?;
        let stage = if job.frontier.is_map_done() { Stage::Reduce } else { Stage::Map };
        let limits = job.spec.limits(stage)?;
        let name = pay.record.escrow;
        if !escrow.is_there {
            return Some(format!("the ledger does not show the escrow {name} any more"));
        }
        if !leases_out(escrow, limits, now) {
            return Some(format!(
                "the escrow {name} has ended, or ends before a task could: open another one"
            ));
        }
        let waiting = if job.frontier.ready_count() == 0 { job.least_input_of_waiting() } else { None };
        let most = match waiting {
            Some(input_bytes) => pay.record.ceiling.most(kind_of(&job.spec, stage), limits, input_bytes),
            None => pay.least(&job.spec, stage, limits),
        };
        if pay.left() < most {
            return Some(format!(
                "a task may cost up to {most}, and {} is left of the job's max_price: submit it anew with a higher one",
                pay.left()
            ));
        }
        let short = most.checked_sub(escrow.left()).filter(|short| !short.is_zero())?;
        Some(format!(
            "the budget is used up: a task may cost up to {most} and the escrow has {} left; \
             `tidemill escrow top-up {name} \"{short}\"` is enough for one more, and what it does not use comes back",
            escrow.left()
        ))
    }

    /// An escrow of this node's, for its requester.
    pub(super) fn escrow_report(
        &self,
        caller: Caller,
        id: EscrowId,
    ) -> Option<Result<EscrowReport, Refusal>> {
        let escrow = self.money.as_ref()?.escrows.get(&id)?;
        if !escrow.record.nodes.contains(&caller.node) {
            return Some(Err(Refusal::NoSuchEscrow));
        }
        Some(Ok(escrow.report()))
    }
}

/// The kind of a stage's programs.
fn kind_of(spec: &JobSpec, stage: Stage) -> ProgramKind {
    spec.needs(stage).map_or(ProgramKind::Wasm, |needs| needs.kind)
}

/// Makes the vouchers that an escrow owes, for those sessions that get them.
fn promise(
    escrow: &mut Escrow,
    providers: &BTreeMap<NodeId, Provider>,
    vouchers: &mut BTreeMap<SessionId, Vec<Voucher>>,
) {
    for (operator, nodes) in std::mem::take(&mut escrow.owed) {
        let Some(payee) = escrow.payees.get(&operator).filter(|payee| payee.release.is_none()) else {
            continue;
        };
        let owes = payee.earned > payee.vouched;
        let session = |node: &NodeId| providers.get(node).and_then(|provider| provider.session);
        let sessions: BTreeSet<SessionId> = nodes.iter().filter_map(session).collect();
        if !owes && sessions.is_empty() {
            continue;
        }
        let Some(voucher) = escrow.vouch(operator) else {
            tracing::error!(escrow = %escrow.record.id, "more is earned than the ledger shows: no voucher");
            continue;
        };
        for session in sessions {
            vouchers.entry(session).or_default().push(voucher);
        }
    }
}

/// There is not enough money left for a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoMoney;

/// Whether a failure says something about the program, so that it can be confirmed.
fn is_billed(failure: &Failure) -> bool {
    failure.weight() == tidemill_types::Weight::Evidence
}

/// Whether leases of such tasks may be given out of an escrow now: it is open, and stays so while they may take.
fn leases_out(escrow: &Escrow, limits: &Limits, now: Now) -> bool {
    let until_s = clock_s(escrow, now).saturating_add(limits.wall_time.0 / 1000);
    escrow.is_there && escrow.record.stage == EscrowStage::Open && until_s < escrow.record.ends_s
}
