//! What the scheduler is told.

use std::collections::BTreeSet;

use tidemill_types::{Address, EngineId, EngineIndex, JobId, LeaseId, NodeId, Offer, Stage, TaskId};

use crate::{
    ClassId, Job, LeaseEnd, Micros, NewLease, Scheduler, Single, cost,
    lease::Lease,
    provider::{Provider, Waits},
    work::JobState,
};

/// A task that ran shorter than this, in µs, says more of what surrounds it than of the machine's rate.
const TELLING_WALL: u64 = 5_000;

/// Nor does a task of less work: if it took long all the same, the machine was busy with something else, and a rate
/// learnt from it would keep all further work away.
const TELLING_FUEL: u64 = 5_000_000;

/// Where a lease that had nothing to fetch took longer than this, in µs, delays of messages are nothing beside
/// it, and a provider that says that it ran for much less is not believed.
const TELLING_SPAN: u64 = 2_000_000;

/// A transfer of fewer bytes says nothing of the bandwidth.
const TELLING_BYTES: u64 = 64 << 10;

impl Scheduler {
    /// A provider has a session and may hold `credits` leases at once. One that comes back keeps what was
    /// learnt of it, and its leases.
    pub fn join(&mut self, node: NodeId, operator: Address, offer: Offer, credits: u32, now: Micros) {
        let provider = self.providers.entry(node).or_insert_with(|| Provider::new(operator));
        self.absent.remove(&(provider.since, node));
        let before = provider.engines.len();
        provider.operator = operator;
        provider.take_offer(offer);
        provider.set_credits(credits.min(self.policy.most_credits));
        provider.present = true;
        provider.since = now;
        for engine in &mut provider.engines {
            engine.start_waiting(&self.policy, now);
        }
        // Those that are gone too.
        let count = provider.engines.len().max(before);
        self.roster.changed_of(node, count);
        self.set_due(node, false);
    }

    /// A provider may hold so many leases at once; 0 when it wants no more.
    pub fn set_credits(&mut self, node: NodeId, credits: u32) {
        if let Some(provider) = self.providers.get_mut(&node) {
            provider.set_credits(credits.min(self.policy.most_credits));
            let count = provider.engines.len();
            self.roster.changed_of(node, count);
        }
    }

    /// A provider's session is gone: it gets nothing, and its leases may be copied at once. They stay until
    /// they end.
    pub fn lost(&mut self, node: NodeId, now: Micros) {
        let Some(provider) = self.providers.get_mut(&node).filter(|provider| provider.present) else {
            return;
        };
        provider.present = false;
        provider.since = now;
        let count = provider.engines.len();
        self.roster.changed_of(node, count);
        self.set_due(node, true);
        self.remember_absent(node);
    }

    /// So many bytes went to a provider in so long.
    pub fn fetched(&mut self, node: NodeId, bytes: u64, took: Micros) {
        if let Some(provider) = self.providers.get_mut(&node)
            && bytes >= TELLING_BYTES
        {
            provider.bandwidth.observe((bytes as f64 / took.0.max(1) as f64).max(1e-3));
        }
    }

    /// A job is there; nothing of it is ready yet. One that was there already stays as it is.
    pub fn add_job(&mut self, id: JobId, job: Job) {
        self.jobs.entry(id).or_insert_with(|| JobState::new(job, self.turns, &self.history));
    }

    /// So many tasks of a class are ready, singles not counted.
    pub fn set_ready(&mut self, class: ClassId, count: u64) {
        if let Some(class) = self.jobs.get_mut(&class.job).and_then(|job| job.class_mut(class.stage)) {
            class.ready = count;
        }
    }

    /// How many more leases of a job can be paid for, until the next call; none: as many as there are tasks.
    pub fn set_budget(&mut self, job: JobId, leases: Option<u64>) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.budget = leases;
        }
    }

    /// Whether none of a job's tasks may be leased for now, since something is missing that all of them need.
    pub fn set_held(&mut self, job: JobId, held: bool) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.held = held;
        }
    }

    /// The providers that get none of a job's tasks for now, since they fail there.
    pub fn set_avoided(&mut self, job: JobId, nodes: &BTreeSet<NodeId>) {
        let Some(job) = self.jobs.get_mut(&job) else { return };
        for stage in [Stage::Map, Stage::Reduce] {
            if let Some(class) = job.class_mut(stage) {
                class.class.avoid.clone_from(nodes);
            }
        }
    }

    /// A task that wants care by itself is ready. One of the same number is replaced.
    pub fn add_single(&mut self, single: Single) {
        self.remove_single(single.task);
        let Some(job) = self.jobs.get_mut(&single.task.job) else { return };
        let Some(class) = job.class_mut(single.stage) else { return };
        class.singles += 1;
        job.singles.insert(single.task.task, single);
    }

    /// A single task is not ready any more.
    pub fn remove_single(&mut self, task: TaskId) {
        let Some(job) = self.jobs.get_mut(&task.job) else { return };
        if let Some(single) = job.singles.remove(&task.task)
            && let Some(class) = job.class_mut(single.stage)
        {
            class.singles -= 1;
        }
    }

    /// A job is over: its ready tasks are forgotten. Its leases end one by one.
    pub fn remove_job(&mut self, id: JobId) {
        self.jobs.remove(&id);
    }

    /// A lease was made. A single task is no longer ready by that.
    pub fn leased(&mut self, new: NewLease, now: Micros) {
        if self.leases.contains_key(&new.id) {
            return;
        }
        self.remove_single(new.task);
        let class = ClassId { job: new.task.job, stage: new.stage };
        let node = new.at.node;
        let provider = self.providers.entry(node).or_insert_with(|| Provider::new(new.operator));
        self.absent.remove(&(provider.since, node));
        let rate = provider.engine_or_new(new.at.engine).fuel_per_us(&self.policy);
        let state = self.jobs.get_mut(&class.job);
        let (mut work, mut memory, mut load) = (None, 0, 0);
        if let Some(job) = state
            && let Some(class) = job.class_mut(new.stage)
        {
            memory = class.class.needs.memory.0;
            let shared = cost::transfer(provider, cost::missing(class, provider), &self.policy);
            let own = cost::transfer(provider, class.class.own_bytes, &self.policy);
            let known = cost::work(class, rate);
            let place = class.places.entry(new.at).or_default();
            // Only the first lease is charged with the shared blobs; the others find them there or on their way.
            let first = !place.warm && place.leases == 0;
            if first {
                place.fetched_at = now.plus(Micros(shared));
            }
            place.leases += 1;
            work = known.map(|work| work.saturating_add(own).saturating_add(if first { shared } else { 0 }));
            load = work.unwrap_or(u64::MAX).min(self.policy.horizon.0);
            job.attempts.insert((new.task.task, new.id));
            job.load = job.load.saturating_add(load);
        }
        let engine = provider.engine_or_new(new.at.engine);
        engine.hold(new.id, Waits { class, memory, work }, &self.policy, now);
        let engines = provider.engines.len();
        self.roster.changed_of(new.at.node, engines);
        let lease = Lease {
            task: new.task,
            stage: new.stage,
            at: new.at,
            operator: new.operator,
            exclude: new.exclude,
            may_copy: new.may_copy,
            leased_at: now,
            expected: new.expected,
            load,
        };
        self.leases.insert(new.id, lease);
        self.set_copyable(new.task);
    }

    /// A lease ended. One that is not known, or ended before, changes nothing.
    pub fn ended(&mut self, id: LeaseId, end: LeaseEnd, now: Micros) {
        let Some(lease) = self.leases.remove(&id) else { return };
        let provider = self.providers.get_mut(&lease.at.node);
        let here = provider
            .map(|provider| (provider.since, provider.engines.len(), provider.engine_mut(lease.at.engine)));
        if let Some((since, engines, Some(engine))) = here {
            let started = engine.release(id, &self.policy, now);
            self.roster.changed_of(lease.at.node, engines);
            match end {
                LeaseEnd::Done { .. } => engine.succeeded(),
                LeaseEnd::Failed | LeaseEnd::Expired => engine.failed(lease.leased_at, &self.policy, now),
                LeaseEnd::Unclear | LeaseEnd::Evidence | LeaseEnd::Returned | LeaseEnd::Superseded => {}
            }
            if let LeaseEnd::Done { wall, work } = end {
                let class = self.jobs.get(&lease.task.job).and_then(|job| job.class(lease.stage));
                let had_all = class.is_some_and(|class| {
                    class.class.own_bytes == 0 && class.places.get(&lease.at).is_some_and(|place| place.warm)
                });
                let started = started.filter(|started| had_all && *started >= since);
                let wall = believed(wall, started, lease.leased_at, now);
                self.learn(&lease, wall, work.units());
            }
        }
        if let Some(job) = self.jobs.get_mut(&lease.task.job)
            && job.attempts.remove(&(lease.task.task, id))
        {
            job.load = job.load.saturating_sub(lease.load);
            if let Some(class) = job.class_mut(lease.stage) {
                class.due.remove(&(due(&lease, false), id));
                class.due.remove(&(Micros(0), id));
                if let Some(place) = class.places.get_mut(&lease.at) {
                    place.leases = place.leases.saturating_sub(1);
                    if place.leases == 0 && !place.warm {
                        class.places.remove(&lease.at);
                    }
                }
            }
        }
        if matches!(end, LeaseEnd::Failed | LeaseEnd::Unclear | LeaseEnd::Expired) {
            self.exclude(lease.task, lease.operator);
        }
        self.set_copyable(lease.task);
        self.remember_absent(lease.at.node);
    }

    /// Where one attempt failed while others run, no copy of these is made.
    fn exclude(&mut self, task: TaskId, operator: Address) {
        let attempts = self.jobs.get(&task.job).into_iter().flat_map(|job| job.leases_of(task.task));
        for id in attempts {
            if let Some(lease) = self.leases.get_mut(&id)
                && !lease.exclude.contains(&operator)
            {
                lease.exclude.push(operator);
            }
        }
    }

    /// A task took so long, in µs, and so much fuel.
    fn learn(&mut self, lease: &Lease, wall: u64, fuel: u64) {
        let Some(provider) = self.providers.get_mut(&lease.at.node) else { return };
        let Some(engine) = provider.engine_mut(lease.at.engine) else { return };
        if wall >= TELLING_WALL && fuel >= TELLING_FUEL {
            engine.rate.observe(fuel as f64 / wall as f64);
        }
        let rate = engine.fuel_per_us(&self.policy);
        let Some(class) = self.jobs.get_mut(&lease.task.job).and_then(|job| job.class_mut(lease.stage))
        else {
            return;
        };
        let explained = fuel as f64 / rate;
        let overhead = (wall as f64 - explained).max(0.0);
        let is_first = class.fuel.get().is_none();
        class.fuel.observe(fuel as f64);
        class.overhead.observe(overhead);
        if let Some(program) = class.class.program() {
            self.history.observe(program, fuel as f64, overhead, self.policy.remembered_programs);
        }
        let place = class.places.entry(lease.at).or_default();
        if !place.warm {
            place.warm = true;
            for (blob, _) in class.class.shared.iter().take(self.policy.remembered_blobs) {
                provider.blobs.add(*blob, self.policy.remembered_blobs);
            }
        }
        if is_first {
            self.predict(lease.class());
        }
    }

    /// The first task of a class has ended: now it can be told how long its other leases take.
    fn predict(&mut self, class: ClassId) {
        let state = self.jobs.get(&class.job).and_then(|job| job.class(class.stage));
        let places = state.into_iter().flat_map(|state| &state.places);
        let engines: Vec<EngineId> =
            places.filter(|(_, place)| place.leases > 0).map(|(at, _)| *at).collect();
        for at in engines {
            let length = self.site(at).and_then(|site| self.length(class, site));
            let provider = self.providers.get_mut(&at.node);
            let engine = provider.and_then(|provider| provider.engine_mut(at.engine));
            if let (Some(length), Some(engine)) = (length, engine) {
                engine.predict(class, length);
                self.roster.changed(at);
            }
        }
    }

    /// Notes whether copies may be made of a task's leases.
    fn set_copyable(&mut self, task: TaskId) {
        let Some(job) = self.jobs.get_mut(&task.job) else { return };
        let leases: Vec<LeaseId> = job.leases_of(task.task).collect();
        let copyable = leases.len() < self.policy.most_attempts as usize;
        for id in leases {
            let Some(lease) = self.leases.get(&id) else { continue };
            let Some(class) = job.class_mut(lease.stage) else { continue };
            let lost = self.providers.get(&lease.at.node).is_none_or(|provider| !provider.present);
            class.due.remove(&(due(lease, !lost), id));
            if copyable {
                class.due.insert((due(lease, lost), id));
            } else {
                class.due.remove(&(due(lease, lost), id));
            }
        }
    }

    /// Notes for all leases of a provider that it is lost, or there again.
    fn set_due(&mut self, node: NodeId, lost: bool) {
        let Some(provider) = self.providers.get(&node) else { return };
        let held =
            provider.engines.iter().flat_map(|engine| engine.running.keys().chain(engine.waiting.keys()));
        for id in held {
            let Some(lease) = self.leases.get(id) else { continue };
            let class = self.jobs.get_mut(&lease.task.job).and_then(|job| job.class_mut(lease.stage));
            if let Some(class) = class
                && class.due.remove(&(due(lease, !lost), *id))
            {
                class.due.insert((due(lease, lost), *id));
            }
        }
    }

    /// Keeps what was learnt of an absent provider without leases, and forgets the one that has been absent
    /// for longest where there are too many.
    fn remember_absent(&mut self, node: NodeId) {
        let Some(provider) = self.providers.get(&node) else { return };
        if provider.present || provider.leases() > 0 {
            return;
        }
        self.absent.insert((provider.since, node));
        if self.absent.len() > self.policy.remembered_nodes
            && let Some((_, node)) = self.absent.pop_first()
        {
            self.providers.remove(&node);
            let [first, last] = [0, u8::MAX].map(|index| EngineId { node, engine: EngineIndex(index) });
            for class in self.jobs.values_mut().flat_map(JobState::classes_mut) {
                let places: Vec<EngineId> = class.places.range(first..=last).map(|(at, _)| *at).collect();
                for at in places {
                    class.places.remove(&at);
                }
            }
        }
    }
}

/// Where a lease stands among those that may be copied.
fn due(lease: &Lease, lost: bool) -> Micros {
    if lost { Micros(0) } else { lease.expected.unwrap_or(Micros(u64::MAX)).max(Micros(1)) }
}

/// A provider's word on how long a task took, in µs, as far as it fits what was seen from here.
fn believed(wall: Micros, started: Option<Micros>, leased_at: Micros, now: Micros) -> u64 {
    let span = started.map_or(0, |started| now.since(started).0);
    let least = if span >= TELLING_SPAN { span / 2 } else { 0 };
    wall.0.clamp(least, now.since(leased_at).0.max(least))
}
