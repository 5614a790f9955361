//! Settling escrows: asking for releases, handing over what is to be paid, and taking in what came of it.

use std::collections::BTreeMap;

use tidemill_ledger::{EscrowView, escrow::Phase, settlement::Closing};
use tidemill_net::wire::{MAX_VOUCHERS, Refusal, ReleaseAsked, Reply, ToProvider};
use tidemill_sched::Micros;
use tidemill_store::{EscrowStage, JobEnd, SettlementRecord};
use tidemill_types::{Address, Amount, EscrowId, JobId, NodeId, Release, Signed};

use super::Escrow;
use crate::{
    core::{Core, after},
    event::{Caller, Effect, Now, SessionId},
};

/// What transactions did to an escrow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Those that are in blocks, oldest first.
    pub settlements: Vec<SettlementRecord>,
    /// As the ledger has it afterwards.
    pub view: EscrowView,
    /// Who was paid by them, before fees.
    pub payments: Vec<(Address, Amount)>,
    /// Whose releases stand in the ledger now.
    pub acknowledged: Vec<Address>,
}

/// After this time a provider is asked again for its release.
const ASK_AGAIN: Micros = Micros(2_000_000);

/// The same once everybody was paid, and only the rest waits.
const ASK_SELDOM: Micros = Micros(60_000_000);

/// A settlement that could not be made is tried again after this time, and after twice as long each time up to the
/// second.
const TRY_AGAIN_MS: u64 = 3_000;
const TRY_SELDOM_MS: u64 = 600_000;

impl Core {
    /// What the ledger shows of an escrow: nothing where a reorg took it back.
    pub(in crate::core) fn escrow_seen(&mut self, id: EscrowId, view: Option<EscrowView>, now: Now) {
        let Some(escrow) = self.money.as_mut().and_then(|money| money.escrows.get_mut(&id)) else { return };
        match view {
            Some(view) => escrow.seen(&view),
            None => {
                if std::mem::take(&mut escrow.is_there) {
                    tracing::warn!(escrow = %id, "the ledger does not show an escrow any more: nothing is leased");
                }
            }
        }
        self.tick_money(now);
    }

    /// Takes releases in. One that nobody asked for, or that is not the provider's, is no use and no harm.
    pub(in crate::core) fn released(
        &mut self,
        node: NodeId,
        session: SessionId,
        releases: &[Signed<Release>],
        now: Now,
    ) {
        let Some(provider) = self.providers.get(&node) else { return };
        let (operator, Some(signer)) = (provider.operator, provider.signer()) else { return };
        let Some(money) = &mut self.money else { return };
        let contract = money.config.terms.contract;
        for signed in releases {
            let release = signed.body;
            if release.provider != operator {
                let reason = format!("it released {} for another account", release.escrow);
                return self.cut_off(session, &reason, now);
            }
            if let Err(error) = signed.verify(&contract, signer) {
                let reason =
                    format!("its release of {} is not signed by its result key: {error}", release.escrow);
                return self.cut_off(session, &reason, now);
            }
            let Some(escrow) = money.escrows.get_mut(&release.escrow) else { continue };
            if let Err(error) = escrow.release(*signed) {
                tracing::info!(node = %node.short(), escrow = %release.escrow, %error, "a release is not taken");
            }
        }
        self.tick_money(now);
    }

    /// Settles an escrow at its owner's word.
    pub(in crate::core) fn close_escrow(&mut self, caller: Caller, id: EscrowId, now: Now) {
        let Some(escrow) = self.money.as_mut().and_then(|money| money.escrows.get_mut(&id)) else {
            return self.effect(Effect::EscrowFromStore(caller, id));
        };
        if !escrow.record.nodes.contains(&caller.node) {
            return self.reply(caller, Err(Refusal::NoSuchEscrow));
        }
        if !escrow.jobs.is_empty() {
            return self.reply(caller, Err(Refusal::NotEnded));
        }
        escrow.record.close = true;
        escrow.changed = true;
        self.tick_money(now);
        if let Some(report) = self.escrow_report(caller, id) {
            self.reply(caller, report.map(|report| Reply::Escrow(Box::new(report))));
        }
    }

    /// Does what is due for escrows.
    pub(in crate::core) fn tick_money(&mut self, now: Now) {
        self.end_unpaid_jobs(now);
        let Some(money) = &mut self.money else { return };
        let patience = Micros(money.config.release_patience.0.saturating_mul(1000));
        let mut ask: BTreeMap<(Address, NodeId), Vec<ReleaseAsked>> = BTreeMap::new();
        let mut due: Vec<Closing> = Vec::new();
        for escrow in money.escrows.values_mut() {
            let clock_s = clock_s(escrow, now);
            if escrow.record.stage == EscrowStage::Open && is_to_settle(escrow, clock_s) {
                escrow.record.stage = EscrowStage::Settling;
                escrow.changed = true;
            }
            if !matches!(escrow.record.stage, EscrowStage::Settling | EscrowStage::Paid) {
                continue;
            }
            let since = *escrow.settling_since.get_or_insert(now.mono);
            let pause = if escrow.record.stage == EscrowStage::Paid { ASK_SELDOM } else { ASK_AGAIN };
            if escrow.asked.is_none_or(|asked| now.mono.since(asked) >= pause) {
                escrow.asked = Some(now.mono);
                for payee in escrow.unreleased() {
                    let asked = ReleaseAsked { escrow: escrow.record.id, amount: payee.earned };
                    // Any node of the account will do; the one that earned last is the likeliest to be there.
                    ask.entry((payee.operator, payee.node)).or_default().push(asked);
                }
            }
            let all = escrow.unreleased().next().is_none();
            let impatient = now.mono.since(since) >= patience;
            let refunds = escrow.phase(clock_s) == Phase::Refundable;
            let is_due = match escrow.record.stage {
                EscrowStage::Paid => all || refunds,
                _ => all || impatient || refunds,
            };
            if is_due && !escrow.in_flight && now.mono >= escrow.next_try {
                escrow.in_flight = true;
                due.push(escrow.closing(clock_s, impatient));
            }
        }
        if !due.is_empty() {
            self.step.effects.push(Effect::Settle(due));
        }
        for ((operator, node), asked) in ask {
            self.ask_for_releases(operator, node, &asked);
        }
    }

    fn ask_for_releases(&mut self, operator: Address, node: NodeId, asked: &[ReleaseAsked]) {
        let session = self.providers.get(&node).and_then(|provider| provider.session);
        // Or another node of the same account.
        let others = self.providers.values().filter(|other| other.operator == operator);
        let session = session.or_else(|| others.into_iter().find_map(|other| other.session));
        let Some(session) = session else { return };
        for asked in asked.chunks(MAX_VOUCHERS) {
            self.effect(Effect::ToProvider(session, ToProvider::ReleaseWanted(asked.to_vec())));
        }
    }

    /// Jobs whose escrow has ended, by its requester's word or by time, end with their last lease.
    fn end_unpaid_jobs(&mut self, now: Now) {
        let Some(money) = &self.money else { return };
        let over = money.escrows.values().filter(|escrow| {
            let is_worked_for = |job: &JobId| {
                self.jobs.get(job).is_some_and(|job| job.open.values().any(|open| !open.leases.is_empty()))
            };
            !escrow.jobs.is_empty()
                && !escrow.jobs.iter().any(is_worked_for)
                && escrow.is_there
                && escrow.phase(clock_s(escrow, now)) != Phase::Open
        });
        let jobs: Vec<JobId> = over.flat_map(|escrow| escrow.jobs.iter().copied()).collect();
        for job in jobs {
            tracing::warn!(job = %job.short(), "the escrow of a job has ended: so does the job");
            self.end(job, JobEnd::EscrowEnded, now);
        }
    }

    /// What came of a settlement.
    pub(in crate::core) fn settled_escrow(
        &mut self,
        id: EscrowId,
        result: Result<Settled, String>,
        now: Now,
    ) {
        let Some(escrow) = self.money.as_mut().and_then(|money| money.escrows.get_mut(&id)) else { return };
        escrow.in_flight = false;
        escrow.next_try = after(now, TRY_AGAIN_MS);
        let settled = match result {
            Ok(settled) => settled,
            Err(reason) => {
                let pause = TRY_AGAIN_MS.saturating_mul(1 << escrow.failures.min(16)).min(TRY_SELDOM_MS);
                escrow.failures = escrow.failures.saturating_add(1);
                escrow.next_try = after(now, pause);
                tracing::warn!(escrow = %id, reason, "an escrow could not be settled yet");
                escrow.waits_for = Some(reason);
                return;
            }
        };
        let Settled { settlements, view, payments, acknowledged } = settled;
        escrow.seen(&view);
        escrow.failures = 0;
        escrow.record.settlements.extend(settlements);
        for (operator, gross) in payments {
            if let Some(payee) = escrow.payees.get_mut(&operator) {
                payee.paid = payee.paid.saturating_add(gross);
                escrow.touched.insert(operator);
            }
        }
        for operator in acknowledged {
            if let Some(payee) = escrow.payees.get_mut(&operator) {
                payee.acknowledged = true;
                escrow.touched.insert(operator);
            }
        }
        let all_paid = escrow.payees.values().all(|payee| payee.paid >= payee.earned);
        escrow.waits_for = None;
        if view.closed {
            escrow.record.stage = EscrowStage::Closed;
            self.step.effects.push(Effect::UnwatchEscrow(id));
        } else if all_paid {
            escrow.record.stage = EscrowStage::Paid;
            let waiting = escrow.unreleased().count();
            escrow.waits_for = Some(format!(
                "everybody is paid; the rest goes back when {waiting} {} released it, or after the collect window",
                if waiting == 1 { "provider has" } else { "providers have" }
            ));
        }
        escrow.changed = true;
    }
}

/// The ledger's time, as far as it is known: where blocks come only with transactions, theirs is behind.
pub(super) fn clock_s(escrow: &Escrow, now: Now) -> u64 {
    escrow.seen_s.max(now.unix_ms / 1000)
}

/// Whether no work is to come out of an open escrow any more.
fn is_to_settle(escrow: &Escrow, clock_s: u64) -> bool {
    escrow.jobs.is_empty()
        && escrow.reserved.is_zero()
        && escrow.is_there
        && (escrow.record.close || escrow.phase(clock_s) != Phase::Open)
}
