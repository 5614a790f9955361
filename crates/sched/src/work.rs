//! What there is to do: jobs, their classes of equivalent tasks, and single tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tidemill_types::{
    Address, BlobId, EngineId, JobId, LeaseId, Needs, NodeId, RateCard, Stage, TaskId, TaskNumber,
};

use crate::{
    Micros,
    estimate::Average,
    history::{History, Learnt},
};

/// The tasks of one stage of one job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ClassId {
    /// The job.
    pub job: JobId,
    /// The stage.
    pub stage: Stage,
}

/// What placement must know of a job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its share beside other jobs: one of weight 2 gets twice what one of weight 1 gets. 0 counts as 1.
    pub weight: u32,
    /// The most leases that it may have at once.
    pub most_running: Option<u32>,
    /// Its map.
    pub map: Class,
    /// Its reduce, if it has one.
    pub reduce: Option<Class>,
}

/// Tasks that a provider can run equally well.
#[derive(Clone, Debug)]
pub struct Class {
    /// What a provider must have.
    pub needs: Needs,
    /// The blobs that all of them read, the program included, with their lengths.
    pub shared: Vec<(BlobId, u64)>,
    /// Bytes of its own that a task typically reads besides.
    pub own_bytes: u64,
    /// The highest rates that are paid; none where nothing is.
    pub ceiling: Option<RateCard>,
    /// The operators that may have them; everybody where none are said.
    pub only: Option<Arc<BTreeSet<Address>>>,
    /// Providers that are left alone with the job for a while, since its tasks fail there.
    pub avoid: BTreeSet<NodeId>,
}

/// A ready task that is placed by itself.
#[derive(Clone, Debug)]
pub struct Single {
    /// The task.
    pub task: TaskId,
    /// The stage that it belongs to.
    pub stage: Stage,
    /// Operators that must not get it.
    pub exclude: Vec<Address>,
    /// Operators that may; everybody where none are said.
    pub only: Option<Arc<BTreeSet<Address>>>,
    /// Whether it is wanted beside attempts that run.
    pub beside: bool,
    /// Bytes of its own inputs that a provider holds already.
    pub inputs: Vec<(NodeId, u64)>,
    /// All bytes of its own inputs.
    pub bytes: u64,
}

/// A job, as long as it is there.
#[derive(Debug)]
pub(crate) struct JobState {
    pub weight: u32,
    pub most_running: Option<u32>,
    /// How many more leases can be paid for.
    pub budget: Option<u64>,
    /// Whether none of its tasks may be leased for now.
    pub held: bool,
    map: ClassState,
    reduce: Option<ClassState>,
    pub singles: BTreeMap<TaskNumber, Single>,
    /// Where the next call goes on looking at singles.
    pub cursor: TaskNumber,
    /// Its leases by task.
    pub attempts: BTreeSet<(TaskNumber, LeaseId)>,
    /// Predicted work of its leases in µs, each counted up to the horizon. So a lease of a long task counts
    /// as much as the queue of short tasks that would fill the same slot.
    pub load: u64,
    /// When it was last given something, as a count: jobs with the same load take turns.
    pub served: u64,
}

impl Class {
    /// What a provider must have room for to run one of its tasks.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.iter().fold(self.own_bytes, |sum, (_, len)| sum.saturating_add(*len))
    }

    /// The program that its tasks run.
    pub(crate) fn program(&self) -> Option<BlobId> {
        self.shared.first().map(|(blob, _)| *blob)
    }
}

/// A class, as long as its job is there.
#[derive(Debug)]
pub(crate) struct ClassState {
    pub class: Class,
    pub shared_bytes: u64,
    /// Ready tasks besides the singles.
    pub ready: u64,
    /// Singles of this class.
    pub singles: u64,
    /// Fuel of a task.
    pub fuel: Average,
    /// Time of a task, in µs, that its fuel does not explain.
    pub overhead: Average,
    /// Engines that were given some of it.
    pub places: BTreeMap<EngineId, Place>,
    /// Leases of which another copy may be made, by their expected end: 0 when the provider is lost, the
    /// end of time when nothing is known.
    pub due: BTreeSet<(Micros, LeaseId)>,
}

/// A class at an engine.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub leases: u32,
    /// It has the shared blobs: a task of the class ended well there.
    pub warm: bool,
    /// When the shared blobs should have arrived.
    pub fetched_at: Micros,
}

impl JobState {
    pub fn new(job: Job, served: u64, history: &History) -> Self {
        Self {
            weight: job.weight.max(1),
            most_running: job.most_running,
            budget: None,
            held: false,
            map: ClassState::new(job.map, history),
            reduce: job.reduce.map(|class| ClassState::new(class, history)),
            singles: BTreeMap::new(),
            cursor: TaskNumber(0),
            attempts: BTreeSet::new(),
            load: 0,
            served,
        }
    }

    pub fn class(&self, stage: Stage) -> Option<&ClassState> {
        match stage {
            Stage::Map => Some(&self.map),
            Stage::Reduce => self.reduce.as_ref(),
        }
    }

    pub fn class_mut(&mut self, stage: Stage) -> Option<&mut ClassState> {
        match stage {
            Stage::Map => Some(&mut self.map),
            Stage::Reduce => self.reduce.as_mut(),
        }
    }

    /// Its classes, those first that free the most.
    pub fn classes(&self) -> impl Iterator<Item = (Stage, &ClassState)> {
        [Stage::Reduce, Stage::Map].into_iter().filter_map(|stage| Some((stage, self.class(stage)?)))
    }

    pub fn classes_mut(&mut self) -> impl Iterator<Item = &mut ClassState> {
        self.reduce.iter_mut().chain([&mut self.map])
    }

    /// The leases of one of its tasks.
    pub fn leases_of(&self, task: TaskNumber) -> impl Iterator<Item = LeaseId> {
        self.attempts.range((task, LeaseId(0))..=(task, LeaseId(u64::MAX))).map(|(_, lease)| *lease)
    }

    /// How many leases more it may have.
    pub fn room(&self) -> u64 {
        if self.held {
            return 0;
        }
        let held = self.attempts.len() as u64;
        let of_limit = self.most_running.map_or(u64::MAX, |most| u64::from(most).saturating_sub(held));
        of_limit.min(self.budget.unwrap_or(u64::MAX))
    }

    pub fn has_ready(&self) -> bool {
        !self.singles.is_empty() || self.classes().any(|(_, class)| class.ready > 0)
    }
}

impl ClassState {
    /// Whether what its tasks take is a guess from another job's: then a provider gets no more of them than of
    /// tasks of which nothing is known, since the guess may be wrong by any factor.
    pub fn is_guess(&self) -> bool {
        self.fuel.is_guess()
    }

    /// Its leases at an engine.
    pub fn leases_at(&self, at: &EngineId) -> u64 {
        self.places.get(at).map_or(0, |place| u64::from(place.leases))
    }

    fn new(class: Class, history: &History) -> Self {
        let learnt = class.program().and_then(|program| history.get(program));
        let guess = |average: fn(&Learnt) -> Average| {
            learnt.and_then(|learnt| average(learnt).get()).map_or(Average::default(), Average::guess)
        };
        Self {
            shared_bytes: class.shared.iter().fold(0, |sum: u64, (_, len)| sum.saturating_add(*len)),
            class,
            ready: 0,
            singles: 0,
            fuel: guess(|learnt| learnt.fuel),
            overhead: guess(|learnt| learnt.overhead),
            places: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }
}

impl ClassState {
    /// Tasks that are ready.
    pub fn left(&self) -> u64 {
        self.ready.saturating_add(self.singles)
    }
}

impl Single {
    pub(crate) fn class(&self) -> ClassId {
        ClassId { job: self.task.job, stage: self.stage }
    }

    /// Whether this operator may have it.
    pub(crate) fn is_for(&self, operator: &Address) -> bool {
        !self.exclude.contains(operator) && self.only.as_ref().is_none_or(|only| only.contains(operator))
    }

    /// Bytes of its own inputs that a provider does not hold.
    pub(crate) fn missing(&self, node: &NodeId) -> u64 {
        let held = self.inputs.iter().filter(|(holder, _)| holder == node);
        held.fold(self.bytes, |missing, (_, bytes)| missing.saturating_sub(*bytes))
    }
}
