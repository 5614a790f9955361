//! A task of a program: the plan with the task's arguments in it, and the files that it reads.

use std::collections::BTreeMap;

use super::{BoundPass, Program, check};
use crate::{
    device::{Device, DeviceError, Memory, Pipeline},
    mistake::Mistake,
    plan::{Start, fill, values},
    reference::Reference,
    run::{Buffers, MOST_LIMIT, Ran, Run},
};

/// What a task may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Fuel for all invocations of all dispatches together.
    pub fuel: u64,
    /// Fuel for the loops of one invocation; at most [`MOST_LIMIT`].
    pub invocation: u32,
}

/// Files by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// How a task ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It came to its end. These are the files that it gives.
    Done(Files),
    /// Fuel ran out.
    OutOfFuel,
    /// It was told to stop.
    Stopped,
}

/// What a task came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The fuel that was used. Where fuel ran out this depends on where it was noticed; the allowance is what is billed.
    pub fuel: u64,
}

/// The plan with a task's arguments in it.
#[derive(Clone, Debug)]
pub(super) struct Filled {
    pub(super) buffers: Vec<FilledBuffer>,
    /// How often each step is done, and the workgroups of its passes.
    pub(super) steps: Vec<(u64, Vec<[u32; 3]>)>,
}

#[derive(Clone, Debug)]
pub(super) struct FilledBuffer {
    pub(super) start: FilledStart,
    pub(super) output: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum FilledStart {
    Input(String),
    Values(Vec<u32>),
    Bytes(u64),
}

/// A task whose arguments and files fit its program.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    program: &'a Program,
    files: &'a Files,
    filled: Filled,
    /// Of each buffer, in bytes.
    lengths: Vec<u64>,
}

/// Where dispatches run.
trait Place {
    type Error;
    fn dispatch(&mut self, kernel: usize, run: Run, buffers: &[usize]) -> Result<Ran, Self::Error>;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Done,
    OutOfFuel,
    Stopped,
}

/// What all dispatches came to, and which memory each buffer of the plan is in the end.
struct Whole {
    ended: Ended,
    fuel: u64,
    places: Vec<usize>,
}

impl Program {
    /// The plan for a task with these arguments.
    pub(super) fn filled(&self, args: &[String]) -> Result<Filled, Mistake> {
        let mut buffers = Vec::new();
        for buffer in self.plan.buffers.values() {
            let start = match &buffer.start {
                Start::Input(name) => FilledStart::Input(fill(name, args)?),
                Start::Values(text) => FilledStart::Values(values(&fill(text, args)?)?),
                Start::Bytes(count) => FilledStart::Bytes(count.of(args)?),
            };
            let output = buffer.output.as_ref().map(|name| fill(name, args)).transpose()?;
            buffers.push(FilledBuffer { start, output });
        }
        let mut steps = Vec::new();
        for step in &self.plan.steps {
            let groups = step.passes.iter().map(|pass| {
                let [x, y, z] = &pass.groups;
                check::groups(&pass.entry, [x.of(args)?, y.of(args)?, z.of(args)?])
            });
            steps.push((step.repeat.of(args)?, groups.collect::<Result<_, _>>()?));
        }
        let filled = Filled { buffers, steps };
        check::filled(&self.names, &filled)?;
        let known: Vec<Option<u64>> = filled.buffers.iter().map(FilledBuffer::length).collect();
        self.check_lengths(&known)?;
        Ok(filled)
    }

    /// The files that a task with these arguments reads, each once.
    ///
    /// # Errors
    /// A [`Mistake`] where the arguments do not fit the plan.
    pub fn inputs(&self, args: &[String]) -> Result<Vec<String>, Mistake> {
        let filled = self.filled(args)?;
        let names = filled.buffers.into_iter().filter_map(|buffer| match buffer.start {
            FilledStart::Input(name) => Some(name),
            _ => None,
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// A task with these arguments, on these files.
    ///
    /// # Errors
    /// A [`Mistake`] where they do not fit the plan, or a file is missing.
    pub fn task<'a>(&'a self, args: &[String], files: &'a Files) -> Result<Task<'a>, Mistake> {
        let filled = self.filled(args)?;
        let mut lengths = Vec::new();
        for (name, buffer) in self.names.iter().zip(&filled.buffers) {
            lengths.push(match (&buffer.start, buffer.length()) {
                (FilledStart::Input(file), _) => {
                    let Some(bytes) = files.get(file) else {
                        return Err(Mistake::Plan(format!(
                            "the buffer {name:?} is for the file {file:?}, which is missing"
                        )));
                    };
                    check::length(name, bytes.len() as u64)?;
                    bytes.len() as u64
                }
                (_, length) => length.unwrap_or_default(),
            });
        }
        let known: Vec<Option<u64>> = lengths.iter().copied().map(Some).collect();
        self.check_lengths(&known)?;
        Ok(Task { program: self, files, filled, lengths })
    }

    /// Checks the lengths of buffers as far as they are known.
    fn check_lengths(&self, lengths: &[Option<u64>]) -> Result<(), Mistake> {
        for step in &self.steps {
            for BoundPass { kernel, buffers } in &step.passes {
                check::fits(&self.kernels[*kernel], buffers, &self.names, lengths)?;
            }
            for (one, other) in &step.swap {
                check::swaps(&self.names, lengths, *one, *other)?;
            }
        }
        Ok(())
    }
}

impl FilledBuffer {
    /// How many bytes it has; none where a file decides.
    pub(super) fn length(&self) -> Option<u64> {
        match &self.start {
            FilledStart::Input(_) => None,
            FilledStart::Values(values) => Some(4 * values.len() as u64),
            FilledStart::Bytes(bytes) => Some(*bytes),
        }
    }
}

impl Task<'_> {
    /// The bytes of all its buffers.
    pub fn memory(&self) -> u64 {
        self.lengths.iter().fold(0, |sum, length| sum.saturating_add(*length))
    }

    /// The bytes of the files that it gives.
    pub fn output(&self) -> u64 {
        let outputs = self.filled.buffers.iter().zip(&self.lengths);
        outputs
            .filter(|(buffer, _)| buffer.output.is_some())
            .fold(0, |sum, (_, len)| sum.saturating_add(*len))
    }

    /// Runs it on the CPU, until `stop` says so.
    pub fn run_on_cpu(&self, allowance: Allowance, stop: &(dyn Fn() -> bool + Sync)) -> Outcome {
        struct Cpu<'a> {
            references: Vec<Reference<'a>>,
            memory: Vec<Vec<u32>>,
            stop: &'a (dyn Fn() -> bool + Sync),
        }
        impl Place for Cpu<'_> {
            type Error = std::convert::Infallible;
            fn dispatch(&mut self, kernel: usize, run: Run, buffers: &[usize]) -> Result<Ran, Self::Error> {
                let of_several = |at| buffers.iter().filter(|other| *other == at).count() > 1;
                let bound = buffers.iter().map(|at| match of_several(at) {
                    true => self.memory[*at].clone(),
                    false => std::mem::take(&mut self.memory[*at]),
                });
                let mut bound = Buffers(bound.collect());
                let ran = self.references[kernel].run(run, &mut bound, self.stop);
                for (at, words) in buffers.iter().zip(bound.0) {
                    self.memory[*at] = words;
                }
                Ok(ran)
            }
        }
        let references = self.program.kernels.iter().map(Reference::new).collect();
        let mut cpu = Cpu { references, memory: self.start(), stop };
        let run = match self.run(&mut cpu, allowance) {
            Ok(run) => run,
            Err(never) => match never {},
        };
        let read = |at: usize| Ok::<_, std::convert::Infallible>(std::mem::take(&mut cpu.memory[at]));
        match self.outcome(run, read) {
            Ok(outcome) => outcome,
            Err(never) => match never {},
        }
    }

    /// Runs it on a device, until `stop` says so.
    ///
    /// # Errors
    /// Any of the device's; they say nothing of the task.
    pub fn run_on(
        &self,
        device: &Device,
        allowance: Allowance,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, DeviceError> {
        let kernels = self.program.kernels.iter();
        let pipelines: Vec<Pipeline> =
            kernels.map(|kernel| device.compile(kernel)).collect::<Result<_, _>>()?;
        self.run_with(device, &pipelines, allowance, stop)
    }

    /// Runs it on a device for which the program's kernels are compiled, in their order.
    ///
    /// # Errors
    /// Any of the device's; they say nothing of the task.
    pub fn run_with(
        &self,
        device: &Device,
        pipelines: &[Pipeline],
        allowance: Allowance,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, DeviceError> {
        struct Gpu<'a> {
            device: &'a Device,
            pipelines: &'a [Pipeline],
            memory: Vec<Memory>,
            stop: &'a dyn Fn() -> bool,
        }
        impl Place for Gpu<'_> {
            type Error = DeviceError;
            fn dispatch(&mut self, kernel: usize, run: Run, buffers: &[usize]) -> Result<Ran, DeviceError> {
                let memory: Vec<&Memory> = buffers.iter().map(|at| &self.memory[*at]).collect();
                self.device.run(&self.pipelines[kernel], run, &memory, self.stop)
            }
        }
        let memory = self.start().iter().map(|words| device.memory(words)).collect::<Result<_, _>>()?;
        let mut gpu = Gpu { device, pipelines, memory, stop };
        let run = self.run(&mut gpu, allowance)?;
        self.outcome(run, |at| device.read(&gpu.memory[at]))
    }

    /// Runs all dispatches.
    fn run<P: Place>(&self, place: &mut P, allowance: Allowance) -> Result<Whole, P::Error> {
        let mut places: Vec<usize> = (0..self.lengths.len()).collect();
        let mut fuel = 0_u64;
        for (bound, (repeat, groups)) in self.program.steps.iter().zip(&self.filled.steps) {
            for _ in 0..*repeat {
                for (pass, groups) in bound.passes.iter().zip(groups) {
                    let run = Run {
                        groups: *groups,
                        limit: allowance.invocation.min(MOST_LIMIT),
                        // Past the allowance nothing goes on.
                        budget: allowance.fuel - fuel,
                    };
                    let buffers: Vec<usize> = pass.buffers.iter().map(|at| places[*at]).collect();
                    let ran = place.dispatch(pass.kernel, run, &buffers)?;
                    fuel = fuel.saturating_add(ran.fuel);
                    if ran.stopped {
                        return Ok(Whole { ended: Ended::Stopped, fuel, places });
                    }
                    if ran.out_of_fuel {
                        return Ok(Whole { ended: Ended::OutOfFuel, fuel, places });
                    }
                }
                for (one, other) in &bound.swap {
                    places.swap(*one, *other);
                }
            }
        }
        Ok(Whole { ended: Ended::Done, fuel, places })
    }

    /// What each buffer holds at the start.
    fn start(&self) -> Vec<Vec<u32>> {
        let buffers = self.filled.buffers.iter().zip(&self.lengths);
        buffers
            .map(|(buffer, length)| match &buffer.start {
                FilledStart::Bytes(_) => vec![0; (length / 4) as usize],
                FilledStart::Values(values) => values.clone(),
                FilledStart::Input(file) => self.files.get(file).map_or_else(Vec::new, |bytes| words(bytes)),
            })
            .collect()
    }

    fn outcome<E>(
        &self,
        run: Whole,
        mut read: impl FnMut(usize) -> Result<Vec<u32>, E>,
    ) -> Result<Outcome, E> {
        let end = match run.ended {
            Ended::OutOfFuel => End::OutOfFuel,
            Ended::Stopped => End::Stopped,
            Ended::Done => {
                let mut files = Files::new();
                for (buffer, at) in self.filled.buffers.iter().zip(&run.places) {
                    if let Some(output) = &buffer.output {
                        let bytes = read(*at)?.into_iter().flat_map(u32::to_le_bytes).collect();
                        files.insert(output.clone(), bytes);
                    }
                }
                End::Done(files)
            }
        };
        Ok(Outcome { end, fuel: run.fuel })
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}
