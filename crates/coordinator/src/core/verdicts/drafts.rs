//! Drafts: what a task's output is said to be made of, for a provider that checks it.
//!
//! A check with a draft is a run like any other, and a cheaper one. Its result has the weight of any other in a verdict. It
//! lengthens no run of correct results: its provider knew that it was checking, and may be right then alone.

use tidemill_net::wire::DraftOf;
use tidemill_types::{BlobRef, Metered, Stage, TaskId};
use tidemill_verify::{Course, is_chosen};

use crate::core::Core;

/// Drafts with a change in them, so that a provider is caught that takes them as they are.
const CHANGED: f64 = 1.0 / 16.0;

/// Outputs are read for their drafts up to this length.
const MOST_BYTES: u64 = 4 << 20;

impl Core {
    /// The output from which the next lease of a task gets a draft: where all that was said of it is the same. Results that
    /// contradict each other are decided by runs that know nothing of them, and so is a job that asks for replicas.
    pub(in crate::core) fn draft_of(&self, id: TaskId) -> Option<DraftOf> {
        let job = self.jobs.get(&id.job)?;
        let stage = job.node(id.task).stage();
        let kind = job.spec.needs(stage)?.kind;
        if !kind.has_drafts() || stage != Stage::Map || !matches!(job.course, Course::Assured { .. }) {
            return None;
        }
        let open = job.open.get(&id.task)?;
        let first = open.opinions.first().filter(|_| open.failures.is_empty())?;
        let result = &first.result;
        let is_agreed = open.opinions.iter().all(|given| given.result.output == result.output);
        let writes = Metered::of(kind, &result.usage).has_drafts();
        if !is_agreed || !writes || result.output_len.0 > MOST_BYTES {
            return None;
        }
        let change = is_chosen(self.roll(b"draft", self.next_lease), CHANGED);
        let change = change.then(|| self.roll(b"where", self.next_lease));
        Some(DraftOf { output: BlobRef { id: result.output, len: result.output_len.0 }, change })
    }
}
