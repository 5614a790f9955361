//! A small world of providers that come and go and tasks that fail and dawdle, drawn from a seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use tidemill_types::ByteSize;

use super::*;
use crate::filter::unfit;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.roll(count) == 0
    }
}

struct Mill {
    operator: Address,
    offer: Offer,
    credits: u32,
    present: bool,
    gone_at: Micros,
    /// How many times longer tasks take here.
    slowness: u64,
    /// One in so many attempts fails here while there is trouble.
    fails: u64,
    /// What each of its engines does.
    hands: Vec<Hands>,
}

#[derive(Clone, Default)]
struct Hands {
    running: BTreeMap<LeaseId, Micros>,
    queue: VecDeque<LeaseId>,
}

struct Toil {
    job: Job,
    total: u64,
    next: u64,
    length: u64,
    done: BTreeSet<TaskNumber>,
    exclude: BTreeMap<TaskNumber, Vec<Address>>,
}

struct Lent {
    task: TaskId,
    at: EngineId,
    started: Option<Micros>,
}

struct World {
    scheduler: Scheduler,
    dice: Dice,
    now: Micros,
    trouble: bool,
    mills: BTreeMap<NodeId, Mill>,
    jobs: BTreeMap<JobId, Toil>,
    leases: BTreeMap<LeaseId, Lent>,
    next_lease: u64,
    next_job: u32,
    log: Vec<(Micros, Placement)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut mills = BTreeMap::new();
        // At least three operators, so that a task excluded at one or two has somewhere to go.
        for number in 0..3 + dice.roll(4) as u32 {
            let claimed = [0, 1_000_000_000, 50_000_000_000][dice.roll(3) as usize];
            let capacity = Capacity { single_fuel_per_s: claimed, all_fuel_per_s: 0 };
            let down_bytes_per_s = 1 << dice.roll(30);
            let memory = ByteSize::mib(if number < 3 { 600 } else { 150 } + dice.roll(800));
            let count = 1 + dice.roll(3).saturating_sub(1);
            let engines = (0..count).map(|_| engine(1 + dice.roll(4) as u32));
            let engines: Vec<Engine> = engines.map(|engine| Engine { memory, capacity, ..engine }).collect();
            let mill = Mill {
                operator: operator(if number < 3 { number } else { dice.roll(3) as u32 }),
                hands: vec![Hands::default(); engines.len()],
                offer: Offer { down_bytes_per_s, ..with(&engines) },
                credits: 1 + dice.roll(40) as u32,
                present: false,
                gone_at: Micros(0),
                slowness: 1 + dice.roll(8) * dice.roll(2),
                fails: [3, 20, 1_000][dice.roll(3) as usize],
            };
            mills.insert(node(number), mill);
        }
        Self {
            scheduler: Scheduler::new(Policy::default()),
            dice,
            now: Micros(1),
            trouble: true,
            mills,
            jobs: BTreeMap::new(),
            leases: BTreeMap::new(),
            next_lease: 0,
            next_job: 0,
            log: Vec::new(),
        }
    }

    fn join(&mut self, at: NodeId) {
        let mill = self.mills.get_mut(&at).unwrap();
        mill.present = true;
        let (operator, offer, credits) = (mill.operator, mill.offer.clone(), mill.credits);
        self.scheduler.join(at, operator, offer, credits, self.now);
        // It was started anew and knows nothing of what it had.
        for lease in self.leases_at(at) {
            self.end(lease, LeaseEnd::Returned);
        }
    }

    fn leave(&mut self, at: NodeId) {
        let mill = self.mills.get_mut(&at).unwrap();
        mill.present = false;
        mill.gone_at = self.now;
        mill.hands.fill(Hands::default());
        self.scheduler.lost(at, self.now);
    }

    fn add_job(&mut self) {
        self.next_job += 1;
        let number = self.next_job + self.dice.roll(1_000) as u32 * 1_000;
        let most_running = self.dice.one_in(3).then(|| 1 + self.dice.roll(5) as u32);
        let map = Class {
            shared: vec![(blob(self.dice.roll(3) as u8), self.dice.roll(1 << 22))],
            own_bytes: self.dice.roll(1 << 14),
            ..class(20 + self.dice.roll(500))
        };
        let job = Job { weight: self.dice.roll(4) as u32, most_running, map, reduce: None };
        let length = [50, 2_000, 40_000, 700_000][self.dice.roll(4) as usize];
        let total = 1 + self.dice.roll(120);
        self.scheduler.add_job(job_id(number), job.clone());
        let (done, exclude) = (BTreeSet::new(), BTreeMap::new());
        self.jobs.insert(job_id(number), Toil { job, total, next: 0, length, done, exclude });
        self.scheduler.set_ready(map_of(job_id(number)), total);
    }

    fn leases_at(&self, at: NodeId) -> Vec<LeaseId> {
        self.leases.iter().filter(|(_, lent)| lent.at.node == at).map(|(id, _)| *id).collect()
    }

    fn leases_of(&self, task: TaskId) -> Vec<LeaseId> {
        self.leases.iter().filter(|(_, lent)| lent.task == task).map(|(id, _)| *id).collect()
    }

    /// What a coordinator does when an attempt ends.
    fn end(&mut self, id: LeaseId, end: LeaseEnd) {
        let Some(lent) = self.leases.remove(&id) else { return };
        let mill = self.mills.get_mut(&lent.at.node).unwrap();
        let hands = &mut mill.hands[lent.at.engine.place()];
        hands.running.remove(&id);
        hands.queue.retain(|queued| *queued != id);
        let operator = mill.operator;
        self.scheduler.ended(id, end, self.now);
        let Some(work) = self.jobs.get_mut(&lent.task.job) else { return };
        if let LeaseEnd::Done { .. } = end {
            assert!(work.done.insert(lent.task.task), "a task is done once");
            for other in self.leases_of(lent.task) {
                self.end(other, LeaseEnd::Superseded);
            }
            return;
        }
        let exclude = work.exclude.entry(lent.task.task).or_default();
        if end == LeaseEnd::Failed && !exclude.contains(&operator) && exclude.len() < 2 {
            exclude.push(operator);
        }
        if end != LeaseEnd::Superseded && self.leases_of(lent.task).is_empty() {
            let exclude = self.jobs[&lent.task.job].exclude[&lent.task.task].clone();
            let bytes = self.dice.roll(1 << 16);
            let inputs = vec![(node(self.dice.roll(3) as u32), self.dice.roll(1 << 16))];
            self.scheduler.add_single(Single { exclude, bytes, inputs, ..single(lent.task) });
        }
    }

    fn place(&mut self) {
        let plainly = self.scheduler.place_plainly(self.now);
        let placements = self.scheduler.place(self.now);
        assert_eq!(placements, plainly, "the roster leaves out nobody who matters");
        for placement in placements {
            let at = placement.at;
            let mill = &self.mills[&at.node];
            let (present, credits, operator) = (mill.present, mill.credits as usize, mill.operator);
            assert!(present, "{placement:?} to one that is away");
            assert!(
                self.leases_at(at.node).len() + placement.work.count() as usize <= credits,
                "{placement:?}"
            );
            let work = &self.jobs[&placement.class.job];
            assert_eq!(unfit(self.scheduler.site(at).unwrap(), &work.job.map), None);
            for _ in 0..placement.work.count() {
                let work = self.jobs.get_mut(&placement.class.job).unwrap();
                let task = match placement.work {
                    Work::Single(task) | Work::Copy(task) => task,
                    Work::Any(_) => {
                        work.next += 1;
                        assert!(work.next <= work.total, "more than there was to place");
                        TaskId { job: placement.class.job, task: TaskNumber(work.next - 1) }
                    }
                };
                let exclude = work.exclude.get(&task.task).cloned().unwrap_or_default();
                let most = work.job.most_running;
                assert!(!work.done.contains(&task.task) && !exclude.contains(&operator), "{placement:?}");
                let attempts = self.leases_of(task);
                assert_eq!(attempts.len(), usize::from(matches!(placement.work, Work::Copy(_))));
                let others: Vec<_> =
                    attempts.iter().map(|id| self.mills[&self.leases[id].at.node].operator).collect();
                assert!(!others.contains(&operator), "a copy for the same operator");
                self.next_lease += 1;
                let id = LeaseId(self.next_lease);
                self.leases.insert(id, Lent { task, at, started: None });
                let held = self.leases.values().filter(|lent| lent.task.job == task.job).count();
                assert!(most.is_none_or(|most| held <= most as usize), "over the job's limit");
                self.mills.get_mut(&at.node).unwrap().hands[at.engine.place()].queue.push_back(id);
                let (stage, expected) = (Stage::Map, placement.expected);
                let lease = NewLease { id, task, stage, at, operator, exclude, may_copy: true, expected };
                self.scheduler.leased(lease, self.now);
            }
            self.log.push((self.now, placement));
        }
    }

    /// Providers start what fits, in order.
    fn start(&mut self) {
        let present = self.mills.values_mut().filter(|mill| mill.present);
        let engines = present.flat_map(|Mill { slowness, offer, hands, .. }| {
            hands.iter_mut().zip(&offer.engines).map(move |(hands, offer)| (*slowness, offer, hands))
        });
        for (slowness, offer, hands) in engines {
            while let Some(id) = hands.queue.front().copied() {
                let memory_of = |id: &LeaseId| {
                    let task = self.leases[id].task;
                    self.jobs.get(&task.job).map_or(0, |work| work.job.map.needs.memory.0)
                };
                let used: u64 = hands.running.keys().map(memory_of).sum();
                if hands.running.len() >= offer.slots as usize || used + memory_of(&id) > offer.memory.0 {
                    break;
                }
                hands.queue.pop_front();
                let lent = self.leases.get_mut(&id).unwrap();
                let base = self.jobs.get(&lent.task.job).map_or(1_000, |work| work.length);
                let mut length = base / 2 + self.dice.roll(base) + 1;
                if self.trouble && self.dice.one_in(30) {
                    length *= 20;
                }
                lent.started = Some(self.now);
                hands.running.insert(id, self.now.plus(Micros(length * slowness)));
            }
        }
    }

    fn finish_due(&mut self) {
        let now = self.now;
        let due: Vec<(LeaseId, u64, u64)> = self
            .mills
            .values()
            .flat_map(|mill| mill.hands.iter().flat_map(|hands| &hands.running).map(move |held| (held, mill)))
            .map(|((id, end), mill)| (*id, *end, mill))
            .filter(|(_, end, _)| *end <= now)
            .map(|(id, _, mill)| (id, mill.fails, mill.slowness))
            .collect();
        for (id, fails, slowness) in due {
            let Some(started) = self.leases.get(&id).and_then(|lent| lent.started) else { continue };
            let wall = now.since(started);
            let end = if self.trouble && self.dice.one_in(fails) {
                [LeaseEnd::Failed, LeaseEnd::Expired, LeaseEnd::Returned][self.dice.roll(3) as usize]
            } else {
                LeaseEnd::Done { wall, work: Metered::Fuel(Fuel(wall.0 / slowness * 1_000)) }
            };
            self.end(id, end);
        }
        let gone: Vec<NodeId> = self
            .mills
            .iter()
            .filter(|(_, mill)| !mill.present && now.since(mill.gone_at) > ms(2_000))
            .map(|(at, _)| *at)
            .collect();
        let lapsed: Vec<LeaseId> = gone.into_iter().flat_map(|at| self.leases_at(at)).collect();
        for id in lapsed {
            self.end(id, LeaseEnd::Expired);
        }
    }

    fn step(&mut self) {
        self.place();
        self.start();
        let ends = self.mills.values().flat_map(|mill| &mill.hands).flat_map(|hands| hands.running.values());
        let next = ends.min().copied().unwrap_or(Micros(u64::MAX));
        let tick = self.now.plus(Micros(1 + self.dice.roll(100_000)));
        self.now = next.min(tick).max(self.now.plus(Micros(1)));
        self.finish_due();
        self.start();
        for (at, mill) in &self.mills {
            if let Some(provider) = self.scheduler.providers.get(at).filter(|provider| provider.present) {
                for ((state, hands), offer) in
                    provider.engines.iter().zip(&mill.hands).zip(&mill.offer.engines)
                {
                    assert!(state.running.keys().eq(hands.running.keys()), "{at:?} runs what is predicted");
                    assert!(state.running_memory <= offer.memory.0);
                }
            }
        }
        sanity_check(&self.scheduler);
    }

    fn disturb(&mut self) {
        let at = node(self.dice.roll(self.mills.len() as u64) as u32);
        match self.dice.roll(8) {
            0 | 1 if self.mills[&at].present => self.leave(at),
            0..=3 if !self.mills[&at].present => self.join(at),
            4 if self.jobs.len() < 6 => self.add_job(),
            5 if self.dice.one_in(8) => {
                if let Some((id, _)) = self.jobs.pop_first() {
                    self.scheduler.remove_job(id);
                    let of_job = self.leases.iter().filter(|(_, lent)| lent.task.job == id);
                    for lease in of_job.map(|(lease, _)| *lease).collect::<Vec<_>>() {
                        self.end(lease, LeaseEnd::Superseded);
                    }
                }
            }
            6 if self.mills[&at].present => {
                let credits = self.dice.roll(40) as u32;
                self.mills.get_mut(&at).unwrap().credits = credits;
                self.scheduler.set_credits(at, credits);
            }
            _ => {}
        }
    }

    fn what_is_left(&self) -> String {
        let mut words = Vec::new();
        for (id, job) in &self.scheduler.jobs {
            let (class, left) = (map_of(*id), job.singles.first_key_value().map(|(task, _)| *task));
            if job.has_ready() || !job.attempts.is_empty() {
                words.push(format!(
                    "{}: {} ready, {} singles, leases {:?}",
                    id.short(),
                    job.class(Stage::Map).unwrap().ready,
                    job.singles.len(),
                    job.attempts
                ));
                let candidates = self.scheduler.explain(class, left, self.now);
                words.extend(candidates.iter().map(ToString::to_string));
            }
        }
        words.join("\n")
    }

    fn is_done(&self) -> bool {
        self.jobs.values().all(|work| work.done.len() as u64 == work.total)
    }
}

fn map_of(job: JobId) -> ClassId {
    ClassId { job, stage: Stage::Map }
}

fn history(seed: u64) -> Vec<(Micros, Placement)> {
    let mut world = World::new(seed);
    world.add_job();
    for _ in 0..300 {
        world.disturb();
        world.step();
    }
    // The trouble is over: everybody comes and stays, and so every task comes to its end.
    world.trouble = false;
    for at in world.mills.keys().copied().collect::<Vec<_>>() {
        let mill = world.mills.get_mut(&at).unwrap();
        mill.credits = mill.credits.max(1);
        if mill.present {
            let credits = mill.credits;
            world.scheduler.set_credits(at, credits);
        } else {
            world.join(at);
        }
    }
    let mut steps = 0;
    while !world.is_done() {
        world.step();
        steps += 1;
        assert!(steps < 20_000, "still not done at {}: {}", world.now, world.what_is_left());
    }
    assert!(world.leases.is_empty() && world.scheduler.leases.is_empty());
    world.log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_and_no_bound_is_passed(seed: u64) {
        history(seed);
    }
}

#[test]
fn the_same_facts_give_the_same_placements() {
    for seed in 0..5 {
        assert_eq!(history(seed), history(seed));
    }
}
