//! Evidence: what providers signed and a verdict contradicts is kept in the verdict's own commit, with the accepted answer
//! that it contradicts.
//!
//! Two signed results of one specification that differ say that one of them is wrong, whoever the verdict believes. So
//! evidence is kept whether the verdict changes anybody's record or not, but only where results have to be the same by
//! their bytes: where the job itself says what counts as the same, what differs proves nothing.

use tidemill_job::Node;
use tidemill_store::{
    AttemptRecord, Change, FailureProof, NewEvidence, Proof, ResultRecord, Said, UnixMillis,
};
use tidemill_types::{
    Address, Claim, ClaimedOutput, Comparison, Finding, LeaseId, NodeId, Outcome, SpecHash, TaskId,
    TaskNumber, TaskSpec, Terms, WorkTerms,
};

use super::Answer;
use crate::{
    core::{
        Core,
        jobs::{Job, Open},
    },
    event::Now,
};

/// Something that a provider signed about a task.
#[derive(Clone, Copy)]
pub(super) enum Signed<'a> {
    /// That it is done.
    Result(&'a ResultRecord),
    /// That it fails as it would on every machine.
    Failure(&'a AttemptRecord),
}

impl<'a> Signed<'a> {
    /// Of what; nothing of a failure that brings no proof.
    fn spec(self) -> Option<SpecHash> {
        match self {
            Self::Result(result) => Some(result.spec),
            Self::Failure(failed) => failed.proof.as_ref().map(|proof| proof.spec),
        }
    }

    fn hardware_class(self) -> Option<&'a str> {
        match self {
            Self::Result(result) => result.hardware_class.as_deref(),
            Self::Failure(failed) => failed.hardware_class.as_deref(),
        }
    }

    fn operator(self) -> Address {
        match self {
            Self::Result(result) => result.operator,
            Self::Failure(failed) => failed.operator,
        }
    }

    /// What was claimed, and where its signature is, at the terms that its provider and its lease had.
    fn said(self, terms: impl FnOnce(NodeId, LeaseId) -> Terms) -> Option<Said> {
        Some(match self {
            Self::Result(result) => Said {
                terms: terms(result.provider, result.lease),
                claim: Claim {
                    outcome: Outcome::Done,
                    usage: result.usage,
                    output: Some(ClaimedOutput { id: result.output, len: result.output_len.0 }),
                    hardware_class: result.hardware_class.clone(),
                },
                proof: Proof::Stored { batch: result.batch, leaf: result.leaf },
            },
            Self::Failure(failed) => {
                let proof: &FailureProof = failed.proof.as_deref()?;
                Said {
                    terms: terms(failed.provider, failed.lease),
                    claim: Claim {
                        outcome: Outcome::Failed(failed.failure.clone()),
                        usage: proof.usage,
                        output: None,
                        hardware_class: failed.hardware_class.clone(),
                    },
                    proof: Proof::Here(Box::new(proof.clone())),
                }
            }
        })
    }
}

impl Job {
    /// What an open task, or one of the map, is to run; nothing where it is not put together yet.
    fn task_spec(&self, task: TaskNumber, open: &Open) -> Option<TaskSpec> {
        match self.node(task) {
            Node::Map(index) => Some(self.spec.map_task(index).spec),
            Node::Reduce { .. } => Some(open.assembled.as_ref()?.bound.spec.clone()),
        }
    }
}

impl Core {
    /// What of the wrong contradicts something of the right that it can be compared with.
    pub(super) fn evidence(
        &self,
        id: TaskId,
        open: &Open,
        finding: Finding,
        (wrong, right): (&[Signed<'_>], &[Signed<'_>]),
        now: Now,
    ) -> Vec<NewEvidence> {
        let Some(job) = self.jobs.get(&id.job).filter(|_| !wrong.is_empty()) else { return Vec::new() };
        if *job.spec.comparison() != Comparison::Exact {
            return Vec::new();
        }
        // The inputs of a reduce task may not be put together anew yet after a start.
        let Some(spec) = job.task_spec(id.task, open) else {
            tracing::warn!(task = %id, "results contradict each other, and no evidence of it can be kept");
            return Vec::new();
        };
        let (work, by_class) = (WorkTerms::of(&spec), job.compares_by_class(id.task));
        let terms = |provider, lease| Terms {
            escrow: job.money.map_or([0; 32], |money| money.record.escrow.0),
            coordinator: self.config.node,
            provider,
            job: id.job,
            task: id.task,
            lease,
            work,
        };
        let evidence = |accused: &Signed<'_>| {
            let is_other = |accepted: &&Signed<'_>| {
                accepted.spec() == Some(work.spec)
                    && (!by_class || accepted.hardware_class() == accused.hardware_class())
            };
            let accepted = right.iter().find(is_other).filter(|_| accused.spec() == Some(work.spec))?;
            Some(NewEvidence {
                operator: accused.operator(),
                at: UnixMillis(now.unix_ms),
                until: UnixMillis(now.unix_ms.saturating_add(self.config.keep_evidence.0)),
                chain: self.config.chain,
                finding,
                spec: spec.clone(),
                accused: accused.said(terms)?,
                accepted: accepted.said(terms)?,
            })
        };
        wrong.iter().filter_map(evidence).collect()
    }

    /// What contradicts the failure that a task is certain to end in.
    pub(super) fn against_failure(
        &self,
        id: TaskId,
        open: &Open,
        certain: Answer,
        now: Now,
    ) -> Vec<NewEvidence> {
        let (right, other): (Vec<_>, Vec<_>) =
            open.evidence().partition(|failed| Answer::of(failed) == certain);
        let right: Vec<_> = right.into_iter().map(Signed::Failure).collect();
        let wrong = open.opinions.iter().map(|given| Signed::Result(&given.result));
        let wrong: Vec<_> = wrong.chain(other.into_iter().map(Signed::Failure)).collect();
        self.evidence(id, open, Finding::Verdict, (&wrong, &right), now)
    }

    /// Has evidence kept, in the commit of the verdict that it rests on.
    pub(super) fn keep_evidence(&mut self, evidence: Vec<NewEvidence>) {
        for new in evidence {
            self.change(Change::Evidence(Box::new(new)));
        }
    }
}
