//! Builders, and the check that every test ends with.

mod copies;
mod engines;
mod rules;
mod sanity;
mod speed;
mod words;
mod world;

use tidemill_types::{
    Address, BlobId, ByteSize, Capacity, Engine, EngineId, EngineIndex, FloatClass, Fuel, JobId, LeaseId,
    Metered, Needs, NodeId, Offer, ProgramKind, RateCard, Stage, TaskId, TaskNumber, WorkRate,
};

use crate::{Class, ClassId, Job, LeaseEnd, Micros, NewLease, Placement, Policy, Scheduler, Single, Work};

pub(crate) use sanity::sanity_check;

pub(crate) fn node(number: u32) -> NodeId {
    let mut bytes = [0; 32];
    bytes[28..].copy_from_slice(&number.to_be_bytes());
    NodeId(bytes)
}

pub(crate) fn operator(number: u32) -> Address {
    let mut bytes = [0; 20];
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    Address(bytes)
}

pub(crate) fn job_id(number: u32) -> JobId {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    JobId(bytes)
}

pub(crate) fn map(job: u32) -> ClassId {
    ClassId { job: job_id(job), stage: Stage::Map }
}

pub(crate) fn task(job: u32, number: u64) -> TaskId {
    TaskId { job: job_id(job), task: TaskNumber(number) }
}

pub(crate) fn ms(count: u64) -> Micros {
    Micros::millis(count)
}

/// 1 fuel a ns and slot.
pub(crate) fn engine(slots: u32) -> Engine {
    Engine {
        kind: ProgramKind::Wasm,
        floats: vec![FloatClass::Native],
        hardware_class: None,
        exec_version: ProgramKind::Wasm.version(),
        slots,
        memory: ByteSize::mib(64_000),
        capacity: Capacity {
            single_fuel_per_s: 1_000_000_000,
            all_fuel_per_s: u64::from(slots) * 1_000_000_000,
        },
        rates: RateCard::FREE,
        models: Vec::new(),
    }
}

/// 10 MiB/s.
pub(crate) fn with(engines: &[Engine]) -> Offer {
    Offer {
        name: "mill".to_owned(),
        disk: ByteSize::mib(1_000),
        down_bytes_per_s: 10 << 20,
        engines: engines.to_vec(),
    }
}

pub(crate) fn offer(slots: u32) -> Offer {
    with(&[engine(slots)])
}

/// Work at this many wei for 10^9 units of fuel, and all else for nothing.
pub(crate) fn rates(wei: u128) -> RateCard {
    RateCard { work: WorkRate::fuel(tidemill_types::Amount::from_wei(wei)), ..RateCard::FREE }
}

/// The engine of a provider that has one.
pub(crate) fn only(node: NodeId) -> EngineId {
    EngineId { node, engine: EngineIndex(0) }
}

pub(crate) fn class(memory_mib: u64) -> Class {
    Class {
        needs: Needs {
            kind: ProgramKind::Wasm,
            floats: FloatClass::Native,
            memory: ByteSize::mib(memory_mib),
        },
        shared: Vec::new(),
        own_bytes: 0,
        ceiling: None,
        only: None,
        avoid: std::collections::BTreeSet::new(),
    }
}

pub(crate) fn job() -> Job {
    Job { weight: 1, most_running: None, map: class(100), reduce: None }
}

pub(crate) fn single(task: TaskId) -> Single {
    Single {
        task,
        stage: Stage::Map,
        exclude: Vec::new(),
        only: None,
        beside: false,
        inputs: Vec::new(),
        bytes: 0,
    }
}

pub(crate) fn blob(number: u8) -> BlobId {
    BlobId::of(&[number])
}

/// A scheduler with one who leases what it places and hands out task numbers.
pub(crate) struct Bench {
    pub scheduler: Scheduler,
    pub now: Micros,
    next: u64,
}

impl Bench {
    pub fn new() -> Self {
        Self { scheduler: Scheduler::new(Policy::default()), now: ms(1), next: 0 }
    }

    /// Provider `number`, of operator `number`.
    pub fn join(&mut self, number: u32, offer: Offer, credits: u32) {
        self.scheduler.join(node(number), operator(number), offer, credits, self.now);
    }

    /// Job `number` with so many ready tasks.
    pub fn job(&mut self, number: u32, job: Job, ready: u64) {
        self.scheduler.add_job(job_id(number), job);
        self.scheduler.set_ready(map(number), ready);
    }

    /// A job whose tasks are known to take `length` with 1 fuel a ns.
    pub fn known_job(&mut self, number: u32, job: Job, ready: u64, length: Micros) {
        self.scheduler.add_job(job_id(number), job);
        let teacher = 1_000_000 + number;
        self.join(teacher, offer(1), 1);
        let id = self.lease(task(number, 1 << 40), teacher);
        self.now = self.now.plus(length);
        let fuel = Fuel(length.0 * 1_000);
        self.scheduler.ended(id, LeaseEnd::Done { wall: length, work: Metered::Fuel(fuel) }, self.now);
        self.scheduler.lost(node(teacher), self.now);
        self.scheduler.set_ready(map(number), ready);
    }

    pub fn lease(&mut self, task: TaskId, at: u32) -> LeaseId {
        self.lease_as(task, Stage::Map, only(node(at)), None)
    }

    pub fn lease_as(
        &mut self,
        task: TaskId,
        stage: Stage,
        at: EngineId,
        expected: Option<Micros>,
    ) -> LeaseId {
        self.next += 1;
        let id = LeaseId(self.next);
        let provider = self.scheduler.providers.get(&at.node);
        let operator = provider.map_or(operator(0), |provider| provider.operator);
        let exclude = Vec::new();
        self.scheduler
            .leased(NewLease { id, task, stage, at, operator, exclude, may_copy: true, expected }, self.now);
        id
    }

    /// Places and leases; what was placed, and the leases.
    pub fn place(&mut self) -> (Vec<Placement>, Vec<LeaseId>) {
        let plainly = self.scheduler.place_plainly(self.now);
        let placements = self.scheduler.place(self.now);
        assert_eq!(placements, plainly, "the roster leaves out nobody who matters");
        let mut leases = Vec::new();
        for placement in &placements {
            for index in 0..placement.work.count() {
                let task = match placement.work {
                    Work::Single(task) | Work::Copy(task) => task,
                    Work::Any(_) => {
                        let number = TaskNumber((self.next << 12) + index);
                        TaskId { job: placement.class.job, task: number }
                    }
                };
                leases.push(self.lease_as(task, placement.class.stage, placement.at, placement.expected));
            }
        }
        sanity_check(&self.scheduler);
        (placements, leases)
    }

    pub fn done(&mut self, lease: LeaseId, wall: Micros) {
        self.scheduler.ended(
            lease,
            LeaseEnd::Done { wall, work: Metered::Fuel(Fuel(wall.0 * 1_000)) },
            self.now,
        );
    }

    /// Leases of one job at one provider.
    pub fn held(&self, job: u32, at: u32) -> usize {
        let of = |lease: &&crate::lease::Lease| lease.task.job == job_id(job) && lease.at.node == node(at);
        self.scheduler.leases.values().filter(of).count()
    }
}
