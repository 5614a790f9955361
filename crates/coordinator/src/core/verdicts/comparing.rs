//! Comparing: which results give the same answer, where that is not a question of their bytes.
//!
//! A result counts as the first that it is the same as, or as itself. Reading outputs and running programs is for the
//! shell, one result of a task at a time, in the order in which they came; until then nothing is decided.

use tidemill_job::{BlobRef, JobSpec};
use tidemill_store::Change;
use tidemill_types::{BlobId, Comparison, FloatClass, LeaseId, NodeId, TaskId, TaskNumber};

use super::{Given, lost::patience};
use crate::{
    core::{
        Core,
        jobs::{Job, Open},
    },
    event::{Effect, Now},
};

impl Job {
    /// Whether results of a task can be compared within a class of hardware alone.
    pub(super) fn compares_by_class(&self, task: TaskNumber) -> bool {
        compares_by_class(&self.spec, task)
    }
}

/// Whether results of a job's task can be compared within a class of hardware alone.
pub(super) fn compares_by_class(spec: &JobSpec, task: TaskNumber) -> bool {
    let needs = spec.node(task).and_then(|node| spec.needs(node.stage()));
    let is_exact = *spec.comparison() == Comparison::Exact;
    is_exact && needs.is_some_and(|needs| needs.floats == FloatClass::Native)
}

impl Open {
    /// Which answer a result gives that comes now, if its bytes say so.
    pub(super) fn answer_by_bytes(&self, output: BlobId, comparison: &Comparison) -> Option<BlobId> {
        let same = self.opinions.iter().find(|given| given.result.output == output);
        match same {
            _ if *comparison == Comparison::Exact || self.opinions.is_empty() => Some(output),
            Some(same) => same.answer,
            None => None,
        }
    }

    /// Whether some results are not compared with the others yet.
    pub(in crate::core) fn is_comparing(&self) -> bool {
        self.opinions.iter().any(|given| given.answer.is_none())
    }
}

impl Given {
    fn blob(&self) -> BlobRef {
        BlobRef { id: self.result.output, len: self.result.output_len.0 }
    }
}

impl Core {
    /// Has the next result of a task compared that is not, unless one is being compared.
    pub(in crate::core) fn compare_next(&mut self, id: TaskId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let Some(open) = job.open.get_mut(&id.task) else { return };
        if open.comparing.is_some() {
            return;
        }
        let Some(given) = open.opinions.iter().find(|given| given.answer.is_none()) else { return };
        let is_answer = |given: &&Given| given.answer == Some(given.result.output);
        let mut with: Vec<BlobRef> = Vec::new();
        for answer in open.opinions.iter().filter(is_answer).map(Given::blob) {
            if !with.contains(&answer) {
                with.push(answer);
            }
        }
        let (lease, output) = (given.result.lease, given.blob());
        let maker = |given: &Given| (given.result.output, given.result.provider);
        let makers: Vec<(BlobId, NodeId)> = open.opinions.iter().map(maker).collect();
        let wall_us = open.opinions.iter().map(|given| given.result.wall_us).max();
        let patience = patience(wall_us, self.config.lease);
        open.comparing = Some(lease);
        let spec = job.spec.clone();
        self.step.effects.push(Effect::Compare { spec, task: id, lease, output, with, makers, patience });
    }

    /// It is known what a result is the same as; nothing where it is the same as none.
    pub(in crate::core) fn compared(&mut self, id: TaskId, lease: LeaseId, same: Option<BlobId>, now: Now) {
        self.measure_reach(id.job);
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        // It may have been undone since.
        let open = job.open.get_mut(&id.task).filter(|open| open.comparing == Some(lease));
        let Some(open) = open else { return };
        open.comparing = None;
        job.news = true;
        let Some(given) = open.opinions.iter().find(|given| given.result.lease == lease) else { return };
        let output = given.result.output;
        let answer = same.unwrap_or(output);
        let alike = open.opinions.iter_mut();
        let alike = alike.filter(|given| given.answer.is_none() && given.result.output == output);
        let mut known = Vec::new();
        for given in alike {
            given.answer = Some(answer);
            known.push(given.result.lease);
        }
        for lease in known {
            self.change(Change::Compared { task: id, lease, answer });
        }
        self.compare_next(id);
        let next = self.judged(id, now);
        self.follow(id, next, now);
    }
}
