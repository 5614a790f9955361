//! Leases: giving them, and taking them back.

use std::{collections::BTreeMap, sync::Arc};

use tidemill_job::Node;
use tidemill_net::wire::{
    Decision, Lease, LeasePay, MAX_ALONG_BYTES, MAX_CREDITS, MAX_DRAFT_BYTES, Source, ToProvider,
};
use tidemill_sched::{LeaseEnd, Micros, NewLease, Placement, Work};
use tidemill_store::{Change, LeaseRecord, UnixMillis};
use tidemill_types::{
    Address, Amount, EngineId, JobId, LeaseId, Millis, NodeId, Stage, TaskId, TaskNumber, WorkTerms,
    input_bytes,
};
use tidemill_verify::Course;

use super::{Core, Held, after, money::NoMoney, verdicts::Candidate};
use crate::event::{Assembled, Effect, Now, SessionId};

/// How long past its own limits an attempt may take on a provider that is there, before someone else gets it:
/// fetching inputs, waiting for a slot.
pub(super) const SLACK_MS: u64 = 120_000;

/// A prediction of how long a lease waits for a slot is believed up to this: it comes from what providers claim.
const MOST_QUEUE_MS: u64 = 86_400_000;

/// A message of leases has at most about so many bytes, well below what a frame may have.
const MESSAGE_BYTES: usize = 1 << 20;

/// A lease that is about to be given.
struct Giving {
    task: TaskId,
    stage: Stage,
    at: EngineId,
    /// When the scheduler takes it to end.
    expected: Option<Micros>,
    /// Whether there was a task with a known answer to try the provider with.
    has_known: bool,
    /// The one that this is, if it is one.
    known: Option<Box<Candidate>>,
}

impl Giving {
    fn new(task: TaskId, stage: Stage, at: EngineId, expected: Option<Micros>) -> Self {
        Self { task, stage, at, expected, has_known: false, known: None }
    }
}

impl Core {
    /// Leases what the scheduler places.
    pub(super) fn lease_ready(&mut self, now: Now) {
        let mut outgoing: BTreeMap<NodeId, Vec<Lease>> = BTreeMap::new();
        for placement in self.sched.place(now.mono) {
            let Placement { at, class, work, expected } = placement;
            let node = at.node;
            match work {
                Work::Any(count) => {
                    let Some(operator) = self.providers.get(&node).map(|provider| provider.operator) else {
                        continue;
                    };
                    for _ in 0..count {
                        let (has_known, drawn) = self.draw_known(class.job, at, now);
                        let (task, known) = match drawn {
                            Some((task, known)) => (task, Some(Box::new(known))),
                            None => match self.next_task(class.job, operator) {
                                Some(task) => (task, None),
                                None => break,
                            },
                        };
                        let task = TaskId { job: class.job, task };
                        let giving = Giving::new(task, class.stage, at, expected);
                        self.lease(Giving { has_known, known, ..giving }, now, &mut outgoing);
                    }
                    self.tell_ready(class.job);
                    self.place_checks_alone(class.job, now);
                }
                Work::Single(task) | Work::Copy(task) => {
                    let operator = self.providers.get(&node).map(|provider| provider.operator);
                    let is_copy = matches!(work, Work::Copy(_));
                    // Much may have become known since it was offered.
                    if operator.is_none_or(|operator| self.may_not_check(task, operator, is_copy)) {
                        self.wait_for_someone(task, now);
                        continue;
                    }
                    self.lease(Giving::new(task, class.stage, at, expected), now, &mut outgoing);
                }
            }
        }
        for (node, leases) in outgoing {
            self.send_leases(node, leases);
        }
    }

    /// The next task of a job for an operator: one that it is to check, or a fresh one. It is open from now on.
    fn next_task(&mut self, job: JobId, operator: Address) -> Option<TaskNumber> {
        let job = self.jobs.get_mut(&job)?;
        let task = match job.checks.take_for(operator) {
            Some(check) => check,
            None if !job.has_fresh() => return None,
            None => {
                let place = job.frontier.take_ready()?;
                job.spec.number(place).expect("a node of the job's own frontier")
            }
        };
        job.open.entry(task).or_default();
        Some(task)
    }

    fn lease(&mut self, giving: Giving, now: Now, outgoing: &mut BTreeMap<NodeId, Vec<Lease>>) {
        let Giving { task, stage, at, expected, has_known, known } = giving;
        let EngineId { node, engine } = at;
        let Some(Assembled { bound, inline, .. }) = self.bound(task) else { return };
        let offered = self.providers.get(&node).and_then(|provider| provider.engine(engine));
        let Some(rates) = offered.map(|engine| engine.rates) else {
            return self.wait_for_someone(task, now);
        };
        let draft_of = if known.is_none() { self.draft_of(task) } else { None };
        let rates = if draft_of.is_some() { rates.for_check() } else { rates };
        let bill = match self.reserve(task, stage, rates, input_bytes(&bound.spec), now) {
            Ok(bill) => bill,
            Err(NoMoney) => {
                return match known {
                    Some(candidate) => self.put_back(task, *candidate),
                    None => self.wait_for_someone(task, now),
                };
            }
        };
        let known = known.map(|candidate| Box::new(candidate.into_known()));
        let provider = self.providers.get_mut(&node).expect("it was there a moment ago");
        let id = self.next_lease;
        self.next_lease = LeaseId(id.0 + 1);
        provider.leases.insert(id);
        let operator = provider.operator;
        let seal = self.seal(id, node);

        let work = WorkTerms::of(&bound.spec);
        let queue_ms = expected.map_or(0, |end| end.since(now.mono).0 / 1000);
        let queue_ms = queue_ms.min(MOST_QUEUE_MS);
        let within = Millis(bound.spec.limits.wall_time.0 + 2 * queue_ms + SLACK_MS);
        let until = after(now, within.0);
        let is_known = known.is_some();
        let has_draft = draft_of.is_some();
        let work_row = postcard::to_stdvec(&(engine, work, bill, &known, has_draft))
            .expect("plain data always has a postcard encoding");
        let held = Held {
            task,
            node,
            engine,
            operator,
            work,
            given: now.mono,
            ran: None,
            until,
            fetching: None,
            bill,
            has_known,
            known,
            has_draft,
        };
        let record = LeaseRecord {
            id,
            task,
            provider: node,
            operator,
            at: UnixMillis(now.unix_ms),
            is_known,
            work: work_row,
        };
        self.change(Change::Leased(record));
        self.stakes.leased(&held);
        self.leases.insert(id, held);
        let exclude = self.not_to(task);
        let may_copy = !is_known;
        self.sched.leased(NewLease { id, task, stage, at, operator, exclude, may_copy, expected }, now.mono);
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.news = true;
            if is_known {
                job.tried.insert(id);
            } else if let Some(open) = job.open.get_mut(&task.task) {
                open.waiting = None;
                open.leases.push(id);
                if std::mem::take(&mut open.prepared) {
                    job.prepared -= 1;
                    self.make_reduces(task.job);
                }
            }
        }
        // Some want several at once.
        if !is_known
            && self.jobs.get(&task.job).is_some_and(|job| matches!(job.course, Course::Replicated { .. }))
        {
            self.wait_for_someone(task, now);
        }

        let program_len = self.program_len(task, stage);
        let sources = bound.sources.iter().zip(inline);
        let sources =
            sources.map(|(source, inline)| inline.map_or(Source::Blob(*source), Source::Inline)).collect();
        let bound = Arc::unwrap_or_clone(bound);
        let lease = Lease {
            id,
            engine,
            seal,
            job: task.job,
            task: task.task,
            spec: bound.spec,
            program_len,
            sources,
            within,
            pay: bill.map(|bill| LeasePay { escrow: bill.escrow, rates: bill.rates }),
            draft: None,
            draft_of,
        };
        outgoing.entry(node).or_default().push(lease);
    }

    /// A task with where its inputs are.
    fn bound(&self, id: TaskId) -> Option<Assembled> {
        let job = self.jobs.get(&id.job)?;
        let node = job.spec.node(id.task)?;
        match node {
            Node::Map(index) => {
                let bound = job.spec.map_task(index);
                let none = vec![None; bound.sources.len()];
                Some(Assembled { bound: Arc::new(bound), inline: none, made_by: Vec::new() })
            }
            Node::Reduce { .. } => job.open.get(&id.task)?.assembled.clone(),
        }
    }

    fn program_len(&self, task: TaskId, stage: Stage) -> u64 {
        let program = self.jobs.get(&task.job).and_then(|job| job.spec.program(stage));
        program.map_or(0, |program| program.len)
    }

    /// Sends leases in messages of bounded size.
    fn send_leases(&mut self, node: NodeId, leases: Vec<Lease>) {
        let Some(session) = self.providers.get(&node).and_then(|provider| provider.session) else { return };
        let mut message = Vec::new();
        let mut bytes = 0;
        for lease in leases {
            let size = approximate_bytes(&lease);
            if bytes + size > MESSAGE_BYTES && !message.is_empty() {
                self.effect(Effect::ToProvider(session, ToProvider::Leases(std::mem::take(&mut message))));
                bytes = 0;
            }
            bytes += size;
            message.push(lease);
        }
        if !message.is_empty() {
            self.effect(Effect::ToProvider(session, ToProvider::Leases(message)));
        }
    }

    /// Forgets a lease, here but not in the scheduler or the store. Gives it, if there was one.
    pub(super) fn close(&mut self, lease: LeaseId) -> Option<Held> {
        let held = self.close_but_for_money(lease)?;
        if let Some(bill) = &held.bill {
            self.free_bill(held.task.job, bill);
        }
        Some(held)
    }

    /// The same, but that what was held back for it still is.
    pub(super) fn close_but_for_money(&mut self, lease: LeaseId) -> Option<Held> {
        let held = self.leases.remove(&lease)?;
        self.stakes.ended(&held);
        if let Some(provider) = self.providers.get_mut(&held.node) {
            provider.leases.remove(&lease);
        }
        if let Some(job) = self.jobs.get_mut(&held.task.job)
            && !job.tried.remove(&lease)
            && let Some(open) = job.open.get_mut(&held.task.task)
        {
            open.leases.retain(|other| *other != lease);
        }
        if let Some(pending) = &held.fetching {
            self.settled(held.node, pending.sequence);
        }
        Some(held)
    }

    /// Ends leases whose tasks are not done: someone else gets them.
    pub(super) fn take_back(&mut self, leases: &[LeaseId], end: LeaseEnd, now: Now) {
        for lease in leases {
            let Some(held) = self.close(*lease) else { continue };
            self.sched.ended(*lease, end, now.mono);
            self.change(Change::LeaseEnded { task: held.task, lease: *lease });
            self.decide_unpaid(&held, *lease, end);
            if let Some(job) = self.jobs.get_mut(&held.task.job) {
                job.news = true;
                if end == LeaseEnd::Expired {
                    job.tallies.entry(held.node).or_default().lost_attempts += 1;
                }
            }
            if end == LeaseEnd::Expired {
                let hardware_class = self.hardware_class(held.at());
                self.note_failure(held.task, held.operator, hardware_class, now);
            }
            self.wait_for_someone(held.task, now);
        }
    }

    /// Ends leases of tasks that are done or not wanted any more, and tells their providers.
    pub(super) fn revoke(&mut self, leases: &[LeaseId], end: LeaseEnd, now: Now) {
        let unpaid: Vec<_> = leases.iter().map(|lease| (*lease, None)).collect();
        self.revoke_for(&unpaid, end, now);
    }

    /// The same, where what has run of some is paid so much.
    pub(super) fn revoke_for(&mut self, leases: &[(LeaseId, Option<Amount>)], end: LeaseEnd, now: Now) {
        let mut by_session: BTreeMap<_, Vec<LeaseId>> = BTreeMap::new();
        for (lease, amount) in leases {
            let Some(held) = self.close(*lease) else { continue };
            self.sched.ended(*lease, end, now.mono);
            self.change(Change::LeaseEnded { task: held.task, lease: *lease });
            match (amount, &held.bill) {
                (Some(amount), Some(bill)) => {
                    self.earn(bill.escrow, held.task.job, (held.operator, held.node), *amount);
                    self.decide(held.node, *lease, Decision::Paid(*amount));
                }
                _ => self.decide_unpaid(&held, *lease, end),
            }
            if let Some(session) = self.providers.get(&held.node).and_then(|provider| provider.session) {
                by_session.entry(session).or_default().push(*lease);
            }
        }
        for (session, leases) in by_session {
            self.say_cancelled(session, &leases);
        }
    }

    /// Tells a provider that leases are of no use any more, in messages of bounded size.
    pub(super) fn say_cancelled(&mut self, session: SessionId, leases: &[LeaseId]) {
        for leases in leases.chunks(MAX_CREDITS as usize) {
            self.effect(Effect::ToProvider(session, ToProvider::Cancel(leases.to_vec())));
        }
    }

    /// Takes back the leases of providers that have been silent for too long, and those that have run out.
    pub(super) fn expire(&mut self, now: Now) {
        let silence = self.config.lease.0.saturating_mul(1000);
        let mut silent: Vec<(NodeId, Vec<LeaseId>)> = Vec::new();
        for (node, provider) in &mut self.providers {
            if now.mono.since(provider.last_heard).0 <= silence {
                continue;
            }
            if provider.session.is_some() && !provider.silent {
                // It would get the same leases again, and lose them at once.
                provider.silent = true;
                self.sched.set_credits(*node, 0);
            }
            if !provider.leases.is_empty() {
                silent.push((*node, provider.leases.iter().copied().collect()));
            }
        }
        for (node, leases) in silent {
            tracing::warn!(node = %node.short(), leases = leases.len(), "a provider is silent: its leases expire");
            self.cancel_and_lose(node, &leases, now);
        }
        // A look at every lease is dear, and these limits are long.
        if now.mono < self.next_heartbeat {
            return;
        }
        let mut over: BTreeMap<NodeId, Vec<LeaseId>> = BTreeMap::new();
        for (id, held) in self.leases.iter().filter(|(_, held)| now.mono >= held.until) {
            over.entry(held.node).or_default().push(*id);
        }
        for (node, mut leases) in over {
            leases.sort();
            tracing::warn!(node = %node.short(), leases = leases.len(), "leases ran out");
            self.cancel_and_lose(node, &leases, now);
        }
    }

    fn cancel_and_lose(&mut self, node: NodeId, leases: &[LeaseId], now: Now) {
        if let Some(session) = self.providers.get(&node).and_then(|provider| provider.session) {
            self.say_cancelled(session, leases);
        }
        if let Some(provider) = self.providers.get_mut(&node) {
            provider.lost_attempts += leases.len() as u64;
        }
        self.take_back(leases, LeaseEnd::Expired, now);
    }

    /// The numbers of the leases of a task.
    pub(super) fn leases_of(&self, task: TaskId) -> Vec<LeaseId> {
        let open = self.jobs.get(&task.job).and_then(|job| job.open.get(&task.task));
        open.map(|open| open.leases.clone()).unwrap_or_default()
    }
}

/// About how many bytes a lease takes in a message.
fn approximate_bytes(lease: &Lease) -> usize {
    const FIXED: usize = 256;
    let text: usize = lease.spec.args.iter().map(|arg| arg.len() + 2).sum();
    let env: usize = lease.spec.env.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let inputs: usize = lease.spec.inputs.iter().map(|input| input.path.as_str().len() + 128).sum();
    let (mut inline, mut along) = (0, 0);
    for (input, source) in lease.spec.inputs.iter().zip(&lease.sources) {
        match (source, usize::try_from(input.len)) {
            (Source::Inline(bytes), _) => inline += bytes.len(),
            (Source::Blob(_), Ok(len)) if len <= MAX_ALONG_BYTES => along += len,
            (Source::Blob(_), _) => {}
        }
    }
    // What may be put in when it is sent.
    let draft = lease.draft_of.map_or(0, |draft| usize::try_from(draft.output.len).unwrap_or(usize::MAX));
    FIXED + text + env + inputs + inline + along.min(MAX_ALONG_BYTES) + draft.min(MAX_DRAFT_BYTES)
}
