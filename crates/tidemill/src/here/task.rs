//! From a place in the plan to a task that an executor takes.

use std::sync::Arc;

use anyhow::Context;
use tidemill_exec::{Program, Task};
use tidemill_job::{Node, PartOutput, PlannedTask};
use tidemill_types::{Content, FloatClass, InputSpec, Limits, Segment, TaskSpec};

use super::Run;
use crate::outdir::open_archive;

impl Run<'_> {
    /// The task at a node of the plan, with what people call it. A reduce task's parts must be done.
    pub(super) fn task(&self, node: Node) -> anyhow::Result<(String, Task)> {
        let file = &self.job.file;
        match node {
            Node::Map(index) => {
                let planned = self.job.plan.map_task(index);
                self.assemble(planned, &self.job.map_program, file.program.floats, file.limits)
            }
            Node::Reduce { level, index } => {
                let reduce = self.job.plan.reduce().context("a job without a reduce has no reduce task")?;
                let program = self.job.reduce_program.as_ref().context("the reduce has no program")?;
                let parts = reduce
                    .tree()
                    .children(node)
                    .map(|child| self.part(child))
                    .collect::<anyhow::Result<Vec<_>>>()?;
                let planned = reduce.task(level, index, &parts)?;
                let floats = file.reduce.as_ref().map_or(file.program.floats, |reduce| reduce.program.floats);
                self.assemble(planned, program, floats, *reduce.limits())
            }
        }
    }

    /// A finished task's output as a part: each file a range of the archive.
    fn part(&self, node: Node) -> anyhow::Result<PartOutput> {
        let stored = self.state().stored.get(&node).copied().context("a part is not there yet")?;
        let path = self.results.path(&stored);
        let (_, archive) = open_archive(&path)?;
        let files = archive.files().map(|(entry, offset)| {
            let segment = Segment::File { path: path.clone(), offset, len: entry.len };
            (entry.path.clone(), Content { segments: vec![segment] })
        });
        Ok(PartOutput { files: files.collect() })
    }

    fn assemble(
        &self,
        planned: PlannedTask,
        program: &Program,
        floats: FloatClass,
        limits: Limits,
    ) -> anyhow::Result<(String, Task)> {
        let mut inputs = Vec::with_capacity(planned.inputs.len());
        let mut contents = Vec::with_capacity(planned.inputs.len());
        for (path, content) in planned.inputs {
            inputs.push(InputSpec {
                path,
                content: self.hashes.of(&content, &self.cancel)?,
                len: content.len(),
            });
            contents.push(content);
        }
        let mut args = vec![planned.arg0];
        args.extend(planned.args);
        let spec = TaskSpec {
            kind: program.kind,
            program: program.id,
            floats,
            args,
            env: planned.env,
            inputs,
            limits,
            seed: self.job.file.seed,
        };
        Ok((planned.label, Task { spec: Arc::new(spec), program: program.clone(), contents }))
    }
}
