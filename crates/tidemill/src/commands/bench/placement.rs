//! `tidemill bench placement`: what it costs to decide which provider gets which task.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    time::Instant,
};

use serde::Serialize;
use tidemill_sched::{Class, ClassId, Job, LeaseEnd, Micros, NewLease, Placement, Policy, Scheduler, Work};
use tidemill_types::{
    Address, ByteSize, Capacity, Engine, EngineId, FloatClass, Fuel, JobId, LeaseId, Metered, Millis, Needs,
    NodeId, Offer, ProgramKind, RateCard, Stage, TaskId, TaskNumber,
};

use super::percentile;

/// Measure what it costs to decide which provider gets which task.
///
/// Drives the scheduler of a coordinator with providers that exist in numbers alone, and prints what a call took, in which
/// the leases that have just ended are replaced: while there is much left of every job, with three tasks left of each, and
/// for one task in a network that has nothing else to do. Nothing is sent, stored or run.
#[derive(clap::Args)]
pub struct Args {
    /// Providers
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    providers: u32,
    /// Jobs that run at the same time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    jobs: u32,
    /// Slots of each provider
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    slots: u32,
    /// How long a task takes, give or take a quarter
    #[arg(long, value_name = "TIME", default_value_t = Millis(800))]
    length: Millis,
    /// Leases that end between two calls
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    ends: u32,
    /// Calls that are measured, of each kind
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    calls: u32,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Results {
    providers: u32,
    jobs: u32,
    slots: u32,
    ends: u32,
    /// While there is much left of every job.
    steady: Calls,
    /// With three tasks left of each.
    last_tasks: Calls,
    /// One task, everybody being idle.
    idle: Calls,
}

/// What calls took.
#[derive(Serialize)]
struct Calls {
    p50_us: f64,
    p99_us: f64,
    leases: u64,
    /// All calls together, by the leases that they gave.
    us_per_lease: f64,
}

/// Fuel a second of a slot.
const RATE: u64 = 1_000_000_000;

/// Leases that a provider may hold, for each of its slots.
const CREDITS_PER_SLOT: u32 = 4;

/// Tasks of a job that does not end meanwhile.
const PLENTY: u64 = 1 << 40;

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let results = measure(args);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
        return Ok(());
    }
    println!("{} providers of {} slots, {} jobs", args.providers, args.slots, args.jobs);
    let row = |what: &str, calls: &Calls| {
        println!(
            "  {what:<28} {:>9.1} µs a call (p50), {:>9.1} µs (p99), {:>7.2} µs a lease",
            calls.p50_us, calls.p99_us, calls.us_per_lease
        );
    };
    row("much left of every job", &results.steady);
    row("three tasks left of each", &results.last_tasks);
    row("one task, everybody idle", &results.idle);
    Ok(())
}

fn measure(args: &Args) -> Results {
    let mut world = World::new(args);
    for number in 0..args.jobs {
        world.add_job(number, PLENTY);
    }
    // Until everybody has had its share of tasks, and their length is known.
    let rounds = 3 * u64::from(args.providers) * u64::from(args.slots) / u64::from(args.ends) + 10;
    for _ in 0..rounds {
        world.step(args.ends);
    }
    let steady = calls(args.calls, || world.step(args.ends));
    let last_tasks = calls(args.calls, || {
        (0..args.jobs).for_each(|number| world.scheduler.set_ready(map(number), 3));
        world.step(args.ends)
    });
    let mut idle = World::new(args);
    idle.add_job(0, 1);
    idle.drain();
    let idle = calls(args.calls, || {
        idle.scheduler.set_ready(map(0), 1);
        let placed = idle.step(0);
        idle.drain();
        placed
    });
    let Args { providers, jobs, slots, ends, .. } = *args;
    Results { providers, jobs, slots, ends, steady, last_tasks, idle }
}

/// Does what is measured again and again; it gives its time in µs and the leases that it made.
fn calls(count: u32, mut act: impl FnMut() -> (f64, u64)) -> Calls {
    let (mut times, mut leases) = (Vec::new(), 0);
    for _ in 0..count {
        let (time, made) = act();
        times.push(time);
        leases += made;
    }
    let sum: f64 = times.iter().sum();
    times.sort_by(f64::total_cmp);
    Calls {
        p50_us: percentile(&times, 0.5),
        p99_us: percentile(&times, 0.99),
        leases,
        us_per_lease: sum / leases.max(1) as f64,
    }
}

/// Providers that run what they are leased, in the order of their leases.
struct World {
    scheduler: Scheduler,
    now: Micros,
    length_us: u64,
    mills: BTreeMap<NodeId, Mill>,
    leases: BTreeMap<LeaseId, (NodeId, Micros)>,
    ends: BinaryHeap<Reverse<(Micros, LeaseId)>>,
    next: u64,
}

#[derive(Default)]
struct Mill {
    free: u32,
    queue: VecDeque<LeaseId>,
}

impl World {
    fn new(args: &Args) -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(Policy::default()),
            now: Micros(1),
            length_us: args.length.0.saturating_mul(1_000).max(4),
            mills: BTreeMap::new(),
            leases: BTreeMap::new(),
            ends: BinaryHeap::new(),
            next: 0,
        };
        for number in 0..args.providers {
            let credits = args.slots * CREDITS_PER_SLOT;
            world.scheduler.join(node(number), operator(number), offer(args.slots), credits, world.now);
            world.mills.insert(node(number), Mill { free: args.slots, queue: VecDeque::new() });
        }
        world
    }

    fn add_job(&mut self, number: u32, ready: u64) {
        let needs = Needs { kind: ProgramKind::Wasm, floats: FloatClass::Native, memory: ByteSize::mib(512) };
        let map_class = Class {
            needs,
            shared: Vec::new(),
            own_bytes: 0,
            ceiling: None,
            only: None,
            avoid: BTreeSet::new(),
        };
        let job = Job { weight: 1, most_running: None, map: map_class, reduce: None };
        self.scheduler.add_job(job_id(number), job);
        self.scheduler.set_ready(map(number), ready);
    }

    /// Ends so many leases, and places; gives how long placing took, in µs, and how many leases were made.
    fn step(&mut self, ends: u32) -> (f64, u64) {
        for _ in 0..ends {
            let Some(Reverse((end, lease))) = self.ends.pop() else { break };
            self.now = self.now.max(end);
            self.end(lease);
        }
        let begun = Instant::now();
        let placements = self.scheduler.place(self.now);
        let took = begun.elapsed().as_secs_f64() * 1e6;
        let made = placements.iter().map(|placement| self.lease(placement)).sum();
        (took, made)
    }

    /// Ends all leases.
    fn drain(&mut self) {
        while let Some(Reverse((end, lease))) = self.ends.pop() {
            self.now = self.now.max(end);
            self.end(lease);
        }
    }

    fn end(&mut self, lease: LeaseId) {
        let Some((at, started)) = self.leases.remove(&lease) else { return };
        let wall = self.now.since(started);
        let fuel = Fuel(wall.0.saturating_mul(RATE / 1_000_000));
        self.scheduler.ended(lease, LeaseEnd::Done { wall, work: Metered::Fuel(fuel) }, self.now);
        if let Some(mill) = self.mills.get_mut(&at) {
            mill.free += 1;
        }
        self.start(at);
    }

    fn lease(&mut self, placement: &Placement) -> u64 {
        let Placement { at, class, work, expected } = *placement;
        let EngineId { node, .. } = at;
        for _ in 0..work.count() {
            self.next += 1;
            let id = LeaseId(self.next);
            let task = match work {
                Work::Single(task) | Work::Copy(task) => task,
                Work::Any(_) => TaskId { job: class.job, task: TaskNumber(self.next) },
            };
            let lease = NewLease {
                id,
                task,
                stage: class.stage,
                at,
                operator: Address([0; 20]),
                exclude: Vec::new(),
                // What runs is never late here, and copies are not what is measured.
                may_copy: false,
                expected,
            };
            self.scheduler.leased(lease, self.now);
            self.leases.insert(id, (node, self.now));
            if let Some(mill) = self.mills.get_mut(&node) {
                mill.queue.push_back(id);
            }
        }
        self.start(node);
        work.count()
    }

    fn start(&mut self, at: NodeId) {
        let Some(mill) = self.mills.get_mut(&at) else { return };
        while mill.free > 0
            && let Some(id) = mill.queue.pop_front()
        {
            mill.free -= 1;
            // Spread evenly, and the same in every run.
            let spread = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let length = self.length_us * 3 / 4 + spread % (self.length_us / 2);
            if let Some((_, started)) = self.leases.get_mut(&id) {
                *started = self.now;
            }
            self.ends.push(Reverse((self.now.plus(Micros(length)), id)));
        }
    }
}

fn offer(slots: u32) -> Offer {
    let engine = Engine {
        kind: ProgramKind::Wasm,
        floats: vec![FloatClass::Native],
        hardware_class: None,
        exec_version: ProgramKind::Wasm.version(),
        slots,
        memory: ByteSize(u64::from(slots) << 30),
        capacity: Capacity { single_fuel_per_s: RATE, all_fuel_per_s: u64::from(slots) * RATE },
        rates: RateCard::FREE,
        models: Vec::new(),
    };
    Offer {
        name: "mill".to_owned(),
        disk: ByteSize(100 << 30),
        down_bytes_per_s: 10 << 20,
        engines: vec![engine],
    }
}

fn node(number: u32) -> NodeId {
    let mut bytes = [0; 32];
    bytes[28..].copy_from_slice(&number.to_be_bytes());
    NodeId(bytes)
}

fn operator(number: u32) -> Address {
    let mut bytes = [0; 20];
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    Address(bytes)
}

fn job_id(number: u32) -> JobId {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    JobId(bytes)
}

fn map(job: u32) -> ClassId {
    ClassId { job: job_id(job), stage: Stage::Map }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_kept_busy_and_a_lone_task_is_placed_at_once() {
        let args =
            Args { providers: 3, jobs: 2, slots: 2, length: Millis(100), ends: 1, calls: 50, json: false };
        let results = measure(&args);
        assert!(results.steady.leases >= 40, "about as many as ended: {}", results.steady.leases);
        assert_eq!(results.idle.leases, 50);
        assert!(results.last_tasks.leases > 0);
        assert!(results.steady.p50_us <= results.steady.p99_us);
    }
}
