//! Providers: coming, going, what they say, and when they get nothing for a while.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_net::wire::{FromProvider, HeldLease, ReturnReason, ToProvider};
use tidemill_sched::{IdleReasons, LeaseEnd, Micros};
use tidemill_store::AttemptRecord;
use tidemill_types::{Address, JobId, KeyBinding, LeaseId, NodeId, Offer, TaskId, Weight};

use super::{
    Core, Provider,
    jobs::{Failing, Open},
};
use crate::event::{Effect, Network, Now, SessionId};

/// So many attempts lost in a row are bad luck; more are a reason to pause.
const STRIKES: u32 = 8;

/// So many attempts at tasks of one job that failed in a row are a reason to leave a provider alone with that job.
const STRIKES_OF_JOB: u32 = 3;

/// For how long at first. Each further failure doubles it, up to a limit of some seconds: it may be its machine's doing.
const FIRST_PAUSE_OF_JOB_US: u64 = 100_000;
const MOST_DOUBLINGS_OF_JOB: u32 = 7;

/// The first pause. Each further strike doubles it, up to a limit.
const FIRST_PAUSE_US: u64 = 1_000_000;
const MOST_DOUBLINGS: u32 = 8;

/// Providers that are gone and hold nothing are remembered up to so many.
const MOST_REMEMBERED: usize = 4096;

impl Core {
    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(super) fn join(
        &mut self,
        session: SessionId,
        node: NodeId,
        (binding, operator): (KeyBinding, Address),
        network: Option<Network>,
        offer: Offer,
        credits: u32,
        held: &[HeldLease],
        now: Now,
    ) {
        let known = self.providers.get(&node);
        if let Some(old) = known.and_then(|provider| provider.session) {
            self.sessions.remove(&old);
            self.effect(Effect::Supersede(old));
        }
        self.drop_unsettled(node);
        self.forget_gone();
        let newcomer = || Provider::new(operator, offer.clone(), now);
        let provider = self.providers.entry(node).or_insert_with(newcomer);
        // A lease is of the account and the engine that it was given to: the result of another would not be of it.
        let is_changed = provider.signer() != Some(binding.address);
        let is_another = provider.operator != operator || (provider.was_here && is_changed);
        let before = std::mem::replace(&mut provider.offer, offer.clone());
        let before = provider.was_here.then_some(before);
        provider.was_here = true;
        provider.silent = false;
        provider.session = Some(session);
        provider.last_heard = now.mono;
        provider.credits = credits;
        provider.operator = operator;
        provider.binding = Some(binding);
        provider.network = network;
        let (credits, ours) = (provider.open_credits(), provider.leases.clone());
        self.sessions.insert(session, node);
        self.count_presence(node);
        let is_for_it = |lease: &&LeaseId| {
            self.leases.get(*lease).is_some_and(|held| held.is_for(before.as_ref(), &offer))
        };
        let ours_still: BTreeSet<LeaseId> = ours.iter().filter(is_for_it).copied().collect();
        self.sched.join(node, operator, offer, credits, now.mono);

        let tasks: BTreeMap<LeaseId, HeldLease> = held.iter().map(|held| (held.lease, *held)).collect();
        let held: BTreeSet<LeaseId> = tasks.keys().copied().collect();
        let goes_on = |lease: &LeaseId| !is_another && held.contains(lease) && ours_still.contains(lease);
        let lost: Vec<LeaseId> = ours.iter().filter(|lease| !goes_on(lease)).copied().collect();
        let stale: Vec<LeaseId> = held.iter().filter(|lease| !goes_on(lease)).copied().collect();
        self.take_back(&lost, LeaseEnd::Returned, now);
        let of_stale: Vec<HeldLease> = stale.iter().filter_map(|lease| tasks.get(lease)).copied().collect();
        self.catch_up(session, node, operator, &of_stale);
        self.say_cancelled(session, &stale);
    }

    /// Makes room for newcomers: nodes cost nothing to make.
    fn forget_gone(&mut self) {
        if self.providers.len() < MOST_REMEMBERED {
            return;
        }
        let idle = |provider: &Provider| provider.session.is_none() && provider.leases.is_empty();
        let gone: Vec<NodeId> =
            self.providers.iter().filter(|(_, provider)| idle(provider)).map(|(node, _)| *node).collect();
        for node in gone {
            self.providers.remove(&node);
        }
    }

    pub(super) fn session_ended(&mut self, session: SessionId, now: Now) {
        for job in self.jobs.values_mut() {
            job.followers.retain(|follower| follower.caller.session != session);
        }
        self.unfollow(session);
        let Some(node) = self.sessions.remove(&session) else { return };
        if let Some(provider) = self.providers.get_mut(&node)
            && provider.session == Some(session)
        {
            provider.session = None;
            // Its leases stay with it: it may come back with results before they expire.
            self.sched.lost(node, now.mono);
            self.count_presence(node);
            self.drop_unsettled(node);
        }
    }

    pub(super) fn heard(&mut self, session: SessionId, message: FromProvider, now: Now) {
        let Some(node) = self.sessions.get(&session).copied() else { return };
        let Some(provider) = self.providers.get_mut(&node) else { return };
        provider.last_heard = now.mono;
        if std::mem::take(&mut provider.silent) {
            self.sched.set_credits(node, provider.open_credits());
        }
        match message {
            // Pieces of outputs are relayed by the session, and do not come here.
            FromProvider::Heartbeat { .. } | FromProvider::Chunks(_) => {}
            FromProvider::Running(running) => self.running(node, &running, now),
            FromProvider::Credits(credits) => {
                provider.credits = credits;
                self.sched.set_credits(node, provider.open_credits());
            }
            FromProvider::Offer(offer) => {
                if let Some(reason) = what_changed(&provider.offer, &offer) {
                    return self.cut_off(session, reason, now);
                }
                provider.offer = offer.clone();
                let (credits, operator) = (provider.open_credits(), provider.operator);
                self.sched.join(node, operator, offer, credits, now.mono);
                self.count_presence(node);
            }
            FromProvider::Results(batch) => self.results(session, node, batch, now),
            FromProvider::Returned { leases, reason } => self.returned(session, node, &leases, &reason, now),
            FromProvider::Released(releases) => self.released(node, session, &releases, now),
            FromProvider::Bye => {
                let leases: Vec<LeaseId> = provider.leases.iter().copied().collect();
                self.take_back(&leases, LeaseEnd::Returned, now);
                self.session_ended(session, now);
            }
        }
    }

    fn returned(
        &mut self,
        session: SessionId,
        node: NodeId,
        leases: &[LeaseId],
        reason: &ReturnReason,
        now: Now,
    ) {
        let theirs = |lease: &&LeaseId| self.leases.get(lease).is_some_and(|held| held.node != node);
        if leases.iter().any(|lease| theirs(&lease)) {
            return self.cut_off(session, "it returned a lease that is another's", now);
        }
        let ours: Vec<LeaseId> =
            leases.iter().filter(|lease| self.leases.contains_key(lease)).copied().collect();
        // Who drains has no credits any more, and whose lease was cancelled does not hold it: anyone else would
        // get the same leases again at once, and could play that for ever.
        let drains = *reason == ReturnReason::Draining
            && self.providers.get(&node).is_some_and(|provider| provider.credits == 0);
        if !drains {
            tracing::info!(node = %node.short(), leases = ours.len(), ?reason, "a provider gives leases back");
            for lease in &ours {
                let held = &self.leases[lease];
                // Who does not work for an escrow that has ended has done nothing wrong, nor has who could not fetch what
                // is damaged here. The same task is given to nobody until that has come again.
                let is_paid = held.bill.is_none_or(|bill| self.is_open(bill.escrow, now));
                let job = held.task.job;
                let is_excused = matches!(reason, ReturnReason::Fetch(_)) && self.reads_lost(held);
                if is_paid && !is_excused {
                    self.strike(node, job, now);
                }
            }
        }
        self.take_back(&ours, LeaseEnd::Returned, now);
    }

    /// Notes that an attempt was lost by a provider's doing. Too many in a row, and it gets nothing for a while:
    /// a machine that fails everything at once would otherwise draw all work to itself.
    pub(super) fn strike(&mut self, node: NodeId, job: JobId, now: Now) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.tallies.entry(node).or_default().lost_attempts += 1;
        }
        if let Some(provider) = self.providers.get_mut(&node) {
            provider.lost_attempts += 1;
        }
        self.count_strike(node, now);
    }

    fn count_strike(&mut self, node: NodeId, now: Now) {
        let Some(provider) = self.providers.get_mut(&node) else { return };
        // What it has from before the pause is no further reason for one.
        if provider.paused_until.is_some() {
            return;
        }
        provider.strikes = provider.strikes.saturating_add(1);
        let Some(beyond) = provider.strikes.checked_sub(STRIKES) else { return };
        let pause = FIRST_PAUSE_US << beyond.min(MOST_DOUBLINGS);
        provider.paused_until = Some(now.mono.plus(Micros(pause)));
        tracing::warn!(node = %node.short(), seconds = pause / 1_000_000, "a provider failed too often: it pauses");
        self.sched.set_credits(node, 0);
    }

    /// An attempt failed, by whose doing nobody knows: a task may be made to run out of memory or time on every machine. The
    /// provider is left alone with the job for a while after several; what it does for others is no concern of the job's.
    pub(super) fn failed_at(&mut self, node: NodeId, id: JobId, now: Now) {
        if let Some(provider) = self.providers.get_mut(&node) {
            provider.lost_attempts += 1;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.tallies.entry(node).or_default().lost_attempts += 1;
        let failing = job.failing.entry(node).or_default();
        // What it has from before the pause is no further reason for one.
        if failing.until.is_some() {
            return;
        }
        failing.streak = failing.streak.saturating_add(1);
        let Some(beyond) = failing.streak.checked_sub(STRIKES_OF_JOB) else { return };
        let pause = FIRST_PAUSE_OF_JOB_US << beyond.min(MOST_DOUBLINGS_OF_JOB);
        failing.until = Some(now.mono.plus(Micros(pause)));
        self.avoid_failing(id);
    }

    /// A provider has done a task of a job, so that its tasks do not fail there any more.
    pub(super) fn failed_not(&mut self, node: NodeId, id: JobId) {
        let failing = self.jobs.get_mut(&id).and_then(|job| job.failing.remove(&node));
        if failing.is_some_and(|failing| failing.until.is_some()) {
            self.avoid_failing(id);
        }
    }

    /// A task is done at which others failed, so that it is their machines that failed.
    pub(super) fn blame_for(&mut self, id: TaskId, open: &Open, right: &[Address], now: Now) {
        let is_its_own = |failed: &&AttemptRecord| {
            failed.failure.weight() == Weight::Circumstance && !right.contains(&failed.operator)
        };
        let mut blamed = BTreeSet::new();
        for failed in open.failures.iter().filter(is_its_own) {
            self.note_failure(id, failed.operator, failed.hardware_class.clone(), now);
            if blamed.insert(failed.provider) {
                self.count_strike(failed.provider, now);
            }
        }
    }

    fn avoid_failing(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let paused = job.failing.iter().filter(|(_, failing)| failing.until.is_some());
        self.sched.set_avoided(id, &paused.map(|(node, _)| *node).collect());
    }

    /// Pauses that are over.
    pub(super) fn unpause(&mut self, now: Now) {
        let is_over = |failing: &Failing| failing.until.is_some_and(|until| now.mono >= until);
        let mut changed = Vec::new();
        for (id, job) in self.jobs.iter_mut().filter(|(_, job)| job.failing.values().any(is_over)) {
            for failing in job.failing.values_mut().filter(|failing| is_over(failing)) {
                failing.until = None;
            }
            changed.push(*id);
        }
        for id in changed {
            self.avoid_failing(id);
        }
        for (node, provider) in &mut self.providers {
            if provider.paused_until.is_some_and(|until| now.mono >= until) {
                provider.paused_until = None;
                self.sched.set_credits(*node, provider.open_credits());
            }
        }
    }

    /// Tells every provider that the coordinator is there, and those without work why they have none.
    pub(super) fn beat(&mut self, now: Now) {
        let reasons = self.sched.idle_reasons(now.mono);
        for (node, provider) in &self.providers {
            let Some(session) = provider.session else { continue };
            let idle = provider.leases.is_empty().then(|| provider.idle_reason(*node, &reasons));
            self.step.effects.push(Effect::ToProvider(session, ToProvider::Heartbeat { idle }));
        }
    }

    /// Ends the session of a provider that broke the rules. Its leases go to others at once.
    pub(super) fn cut_off(&mut self, session: SessionId, reason: &str, now: Now) {
        let Some(node) = self.sessions.get(&session).copied() else { return };
        self.effect(Effect::CutOff { session, node, reason: reason.to_owned() });
        self.session_ended(session, now);
        let leases: Vec<LeaseId> = self
            .providers
            .get(&node)
            .map(|provider| provider.leases.iter().copied().collect())
            .unwrap_or_default();
        self.take_back(&leases, LeaseEnd::Failed, now);
    }
}

/// What of an offer may not change within a session, since leases are of it, and has changed.
fn what_changed(before: &Offer, now: &Offer) -> Option<&'static str> {
    let engines = || before.engines.iter().zip(&now.engines);
    if engines().any(|(one, other)| one.hardware_class != other.hardware_class) {
        return Some("it is of another class of hardware than it was");
    }
    let is_other =
        before.engines.len() != now.engines.len() || engines().any(|(one, other)| !one.is_like(other));
    is_other.then_some("it offers other engines than it did")
}

impl Provider {
    /// How many leases it may hold now, by its own word and by ours.
    pub(super) fn open_credits(&self) -> u32 {
        if self.paused_until.is_some() || self.silent { 0 } else { self.credits }
    }

    /// Why it has no work, in words.
    pub(super) fn idle_reason(&self, node: NodeId, reasons: &IdleReasons<'_>) -> String {
        if self.paused_until.is_some() {
            return format!("its last {} attempts failed: it is given none for a while", self.strikes);
        }
        reasons.of(node).to_string()
    }
}
