//! The state of a coordinator and every change to it: a pure state machine.
//!
//! The shell tells it [`Event`]s and what time it is; it answers with a [`Step`]: [`Change`]s for the store, and
//! [`Effect`]s that the shell carries out once those changes, and all before them, are durable. So whatever a peer
//! learns stays true after a crash. It does no I/O, has no clock, and holds memory for tasks that are leased or
//! failed, not for those that wait or are done.

mod ends;
mod following;
mod jobs;
mod kept;
mod leases;
mod money;
mod past;
mod peers;
mod presence;
mod recovery;
mod reports;
mod reputation;
mod results;
mod stakes;
mod unjudged;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemill_sched::{Micros, Policy, Scheduler};
use tidemill_store::{BatchId, Change, Recovered};
use tidemill_types::{
    Address, Amount, Chain, Engine, EngineId, EngineIndex, JobId, KeyBinding, LeaseId, Millis, NodeId, Offer,
    TaskId, WorkTerms,
};
use tidemill_verify::Model;

use self::{
    following::Followed, jobs::Job, kept::Kept, money::Money, past::Past, presence::Presence,
    reputation::Reputations, stakes::Stakes, unjudged::UnjudgedWork,
};
pub(crate) use self::{
    money::escrow_report,
    reports::{Summary, attempt, phase},
    verdicts::{Fate, counts_alike, fate, owed_for_failure, standing},
};
pub use self::{
    money::{Funding, MoneyConfig, Settled},
    past::Keep,
};
pub use self::{recovery::Resuming, stakes::SeenStakes, verdicts::Trust};
use crate::event::{Effect, Event, Network, Now, SessionId};

/// What a coordinator's core needs to know of its node, and how it behaves.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The coordinator's node.
    pub node: NodeId,
    /// The ledger that results are signed for.
    pub chain: Chain,
    /// The key of the seals on leases: secret, and the same after a restart.
    pub seal_key: [u8; 32],
    /// A provider that was not heard of for so long loses its leases.
    pub lease: Millis,
    /// How often providers are told that the coordinator is there.
    pub heartbeat: Millis,
    /// How long a task that failed waits for another operator to come before the only one there is believed.
    pub second_opinion: Millis,
    /// How long a task of which something was said waits for somebody else who could say more.
    pub undecided: Millis,
    /// How long evidence is kept that a result contradicts the accepted one.
    pub keep_evidence: Millis,
    /// What is kept of jobs.
    pub keep: Keep,
    /// How placement behaves.
    pub policy: Policy,
    /// Whose results need no check.
    pub trust: Trust,
    /// What is assumed of those who may lie.
    pub model: Model,
    /// How work is paid for; nothing where it is free.
    pub money: Option<MoneyConfig>,
}

/// What an event came to.
#[derive(Debug, Default)]
pub struct Step {
    /// For the store, in order, all or none.
    pub changes: Vec<Change>,
    /// What to do once the changes are durable, in order.
    pub effects: Vec<Effect>,
}

/// The state. It has one owner.
pub struct Core {
    config: CoreConfig,
    sched: Scheduler,
    jobs: BTreeMap<JobId, Job>,
    /// What was over last: the store may not know of it yet.
    past: Past,
    kept: Kept,
    leases: HashMap<LeaseId, Held>,
    providers: BTreeMap<NodeId, Provider>,
    /// Whose engines are connected.
    presence: Presence,
    /// Which provider speaks in a session.
    sessions: HashMap<SessionId, NodeId>,
    /// The tasks that somebody follows.
    followed: BTreeMap<TaskId, Followed>,
    next_lease: LeaseId,
    next_batch: BatchId,
    next_heartbeat: Micros,
    reputations: Reputations,
    /// Who was caught while jobs ran that are to be taken up again.
    suspects: BTreeSet<(JobId, Address)>,
    money: Option<Money>,
    stakes: Stakes,
    /// Whether results that waited for checks are being let go.
    is_releasing: bool,
    step: Step,
}

/// A lease that has not ended.
#[derive(Clone, Debug)]
struct Held {
    task: TaskId,
    node: NodeId,
    /// Which of the provider's engines has it.
    engine: EngineIndex,
    operator: Address,
    work: WorkTerms,
    /// When it was given, in this life of the coordinator.
    given: Micros,
    /// How long it has run, and when its provider said so.
    ran: Option<(Micros, Micros)>,
    /// When it is taken back even from a provider that is there.
    until: Micros,
    /// What came of it while its output is on its way.
    fetching: Option<Box<results::Pending>>,
    /// What it is billed by; nothing where work is free.
    bill: Option<money::Bill>,
    /// Whether there was a task with a known answer to try its provider with.
    has_known: bool,
    /// What is known, where its provider is tried.
    known: Option<Box<verdicts::Known>>,
    /// Whether its provider was told what the output is said to be made of.
    has_draft: bool,
}

/// A provider that is connected, or was and has leases or a history.
#[derive(Clone, Debug)]
struct Provider {
    /// Its result key, bound to its node; not known of one that has not come back since the coordinator began.
    binding: Option<KeyBinding>,
    /// The account that it works for.
    operator: Address,
    /// Whether it had a session since the coordinator began. Before that only its account is known.
    was_here: bool,
    offer: Offer,
    /// The network that it comes from, where that says something about whose it is.
    network: Option<Network>,
    /// Its session, while it has one.
    session: Option<SessionId>,
    credits: u32,
    last_heard: Micros,
    leases: BTreeSet<LeaseId>,
    /// Leases that it held at the beginning of its session and that had ended here. What became of them is read from the
    /// store, and said once.
    reconciled: BTreeSet<LeaseId>,
    /// Batches that are not settled, by their sequence numbers.
    unsettled: BTreeMap<u64, results::Unsettled>,
    accepted: u64,
    /// Its results of jobs that ended before there was a verdict.
    unjudged: u64,
    lost_attempts: u64,
    /// Attempts lost since the last one that was accepted.
    strikes: u32,
    /// Until when it gets nothing, after too many strikes.
    paused_until: Option<Micros>,
    /// Whether it has a session and says nothing: it gets nothing until it does.
    silent: bool,
}

impl Held {
    /// The engine that has it.
    fn at(&self) -> EngineId {
        EngineId { node: self.node, engine: self.engine }
    }

    /// Whether its engine is still there when its provider comes with an offer, and the same as far as that is known: a
    /// result of another would not be one of this lease. `before`: what the provider offered when it was here last.
    fn is_for(&self, before: Option<&Offer>, offer: &Offer) -> bool {
        let Some(engine) = offer.engine(self.engine) else { return false };
        let was = before.and_then(|before| before.engine(self.engine));
        (engine.kind, engine.exec_version) == (self.work.kind, self.work.exec_version)
            && was.is_none_or(|was| was.is_like(engine))
    }
}

impl Provider {
    /// One of its engines, as it offers it.
    fn engine(&self, index: EngineIndex) -> Option<&Engine> {
        self.offer.engine(index)
    }

    /// One of whom nothing is known but this, without a session.
    fn new(operator: Address, offer: Offer, now: Now) -> Self {
        Self {
            binding: None,
            operator,
            was_here: false,
            offer,
            network: None,
            session: None,
            credits: 0,
            last_heard: now.mono,
            leases: BTreeSet::new(),
            reconciled: BTreeSet::new(),
            unsettled: BTreeMap::new(),
            accepted: 0,
            unjudged: 0,
            lost_attempts: 0,
            strikes: 0,
            paused_until: None,
            silent: false,
        }
    }

    /// The address of its result key, where that is known.
    fn signer(&self) -> Option<Address> {
        self.binding.map(|binding| binding.address)
    }
}

/// What one provider did for a job.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    tasks: u64,
    busy_us: u64,
    fuel: u64,
    /// Its results that had no verdict when the job ended.
    unjudged: UnjudgedWork,
    lost_attempts: u64,
    /// Results that agreed with the accepted one of somebody else.
    checks: u64,
    /// Results that were found to be wrong.
    contradicted: u64,
    earned: Amount,
}

impl Core {
    /// A core with what the store remembers. Jobs that were running go on once [`Self::resume`] has been told of
    /// each.
    pub fn new(config: CoreConfig, recovered: &Recovered) -> Self {
        Self {
            sched: Scheduler::new(config.policy.clone()),
            money: config.money.clone().map(|money| Money::new(money, recovered.escrows.clone())),
            reputations: Reputations::new(config.model, &recovered.reputations),
            suspects: recovered.suspects.iter().copied().collect(),
            config,
            jobs: BTreeMap::new(),
            past: Past::default(),
            kept: Kept::default(),
            stakes: Stakes::default(),
            is_releasing: false,
            leases: HashMap::new(),
            providers: BTreeMap::new(),
            presence: Presence::default(),
            sessions: HashMap::new(),
            followed: BTreeMap::new(),
            next_lease: recovered.next_lease,
            next_batch: recovered.next_batch,
            next_heartbeat: Micros(0),
            step: Step {
                changes: recovered.open_batches.iter().map(|id| Change::BatchClosed { id: *id }).collect(),
                effects: recovered.escrows.iter().map(|(escrow, _)| Effect::WatchEscrow(escrow.id)).collect(),
            },
        }
    }

    /// Takes in an event. What it comes to is in the next [`Self::take_step`].
    pub fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::ProviderJoined { session, node, binding, operator, network, offer, credits, held } => {
                self.join(session, node, (binding, operator), network, offer, credits, &held, now);
            }
            Event::FromProvider { session, message } => self.heard(session, message, now),
            Event::SessionEnded { session } => self.session_ended(session, now),
            Event::OutputFetched { session, lease, result } => {
                self.output_fetched(session, lease, result, now)
            }
            Event::Assembled { task, number, result } => self.assembled(task, number, result, now),
            Event::Damaged { blob, needed_by, kept_for } => self.damaged(blob, &needed_by, &kept_for),
            Event::LostFound(found) => self.lost_found(found, now),
            Event::InputBack { blob } => self.input_back(blob),
            Event::OutputBack { job, output, is_here } => self.output_back(job, output, is_here, now),
            Event::Compared { task, lease, same } => self.compared(task, lease, same, now),
            Event::OpinionLost { task, lease } => self.opinion_lost(task, lease, now),
            Event::UncheckedFound(found) => self.unchecked_found(found, now),
            Event::Submit { caller, job, spec, encoded, follow, funding, look } => {
                self.submit(caller, job, spec, encoded, follow, funding, look, now);
            }
            Event::Expired { jobs, past } => self.let_go(&jobs, past),
            Event::KeptCounted { owner, bytes } => self.kept_counted(owner, bytes, now),
            Event::EscrowSeen { escrow, view } => self.escrow_seen(escrow, view, now),
            Event::StakesSeen(seen) => self.stakes.seen(seen),
            Event::EscrowSettled { escrow, result } => self.settled_escrow(escrow, result, now),
            Event::Ask { caller, question } => self.ask(caller, question, now),
        }
    }

    /// Does what is due: leases that have run out, deadlines, heartbeats, tasks that nobody else can try.
    pub fn tick(&mut self, now: Now) {
        self.expire(now);
        self.unpause(now);
        self.pass_deadlines(now);
        self.settle_for_one_opinion(now);
        self.release_overdue(now);
        self.give_up_undecided(now);
        self.tick_money(now);
        self.report_to_watchers(now);
        if now.mono >= self.next_heartbeat {
            self.next_heartbeat = after(now, self.config.heartbeat.0);
            self.beat(now);
        }
    }

    /// Leases what can be leased now.
    pub fn place(&mut self, now: Now) {
        self.tell_budgets(now);
        self.lease_ready(now);
    }

    /// What has to be done since the last call.
    pub fn take_step(&mut self, now: Now) -> Step {
        self.close_books(now);
        self.close_reputations();
        self.tell_past();
        self.show_attempts();
        std::mem::take(&mut self.step)
    }

    fn change(&mut self, change: Change) {
        self.step.changes.push(change);
    }

    fn effect(&mut self, effect: Effect) {
        self.step.effects.push(effect);
    }

    /// The seal of a lease: nobody else can make it, and it needs no memory.
    fn seal(&self, lease: LeaseId, node: NodeId) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.config.seal_key);
        hasher.update(&lease.0.to_le_bytes()).update(&node.0);
        let mut seal = [0; 16];
        hasher.finalize_xof().fill(&mut seal);
        seal
    }
}

/// The moment that is so many milliseconds from now. What a peer claims may be part of the length, so it saturates.
fn after(now: Now, length_ms: u64) -> Micros {
    Micros(now.mono.0.saturating_add(length_ms.saturating_mul(1000)))
}

#[cfg(test)]
mod tests;
