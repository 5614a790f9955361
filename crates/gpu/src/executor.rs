//! Runs tasks of GPU programs as an executor does: prepare, run under limits, report.
//!
//! Where a program runs is chosen once: on the CPU, by the reference, or on a device. A device runs one task at a time. What
//! goes wrong with it is a circumstance: the task fails as one of this host, and the device is opened and probed anew
//! before the next.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tidemill_exec::{Cancel, Control, Output, OutputBody, Prepared, Report, Task};
use tidemill_types::{
    ArchiveBuilder, BlobId, ByteSize, Content, Failure, FloatClass, Fuel, GuestPath, Outcome, Segment, Usage,
};

use crate::{
    device::{Adapter, Device, DeviceError, Pipeline},
    kernel::Floats,
    mistake::Mistake,
    probe::{Check, probe},
    program::{Allowance, End, Files, Program},
    run::MOST_LIMIT,
};

/// How many programs are kept ready. A slot runs one at a time, and a job has few.
const MOST_KEPT: usize = 8;

/// Outputs up to this size are kept in memory.
const IN_MEMORY: usize = 256 << 10;

/// The class of hardware of the reference, within which its native floats compare.
pub const REFERENCE_CLASS: &str = "reference";

/// Why a device is not offered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not work.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// It gives wrong answers.
    #[error("{adapter} fails {}", list(.failed))]
    Failed {
        /// What it is.
        adapter: String,
        /// The checks that it fails.
        failed: Vec<Check>,
    },
}

/// Whether a device must pass the probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// It must, each time it is opened.
    Probed,
    /// It need not: for tests with a stand-in, under limits that end programs before its errors do.
    Unprobed,
}

/// Runs tasks of GPU programs.
#[derive(Debug)]
pub struct GpuExecutor {
    place: Place,
    /// Where large outputs are put.
    spool: PathBuf,
    programs: Mutex<Vec<Ready>>,
}

#[derive(Debug)]
enum Place {
    Cpu,
    Gpu(Box<Gpu>),
}

/// A device that tasks run on.
#[derive(Debug)]
struct Gpu {
    number: usize,
    trust: Trust,
    adapter: Adapter,
    /// None until the next task opens it, after an error.
    open: Mutex<Option<Open>>,
}

/// A program that is ready.
#[derive(Clone, Debug)]
struct Ready {
    id: BlobId,
    floats: FloatClass,
    program: Arc<Program>,
}

/// A device that works, and the kernels compiled for it.
#[derive(Debug)]
struct Open {
    device: Device,
    compiled: Vec<(BlobId, FloatClass, Vec<Pipeline>)>,
}

impl GpuExecutor {
    /// Runs programs on the CPU.
    pub fn on_cpu(spool: impl Into<PathBuf>) -> Self {
        Self { place: Place::Cpu, spool: spool.into(), programs: Mutex::default() }
    }

    /// Runs programs on the GPU with this number.
    ///
    /// # Errors
    /// [`OpenError`], which says what is missing or wrong.
    pub fn on_gpu(number: usize, trust: Trust, spool: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let device = open(number, trust)?;
        let adapter = device.adapter().clone();
        let open = Mutex::new(Some(Open { device, compiled: Vec::new() }));
        let place = Place::Gpu(Box::new(Gpu { number, trust, adapter, open }));
        Ok(Self { place, spool: spool.into(), programs: Mutex::default() })
    }

    /// The class within which its native floats compare.
    pub fn hardware_class(&self) -> String {
        match &self.place {
            Place::Cpu => REFERENCE_CLASS.into(),
            Place::Gpu(gpu) => gpu.adapter.class(),
        }
    }

    /// Whether programs run on hardware, not on the CPU by whatever means.
    pub fn is_hardware(&self) -> bool {
        match &self.place {
            Place::Cpu => false,
            Place::Gpu(gpu) => gpu.adapter.is_hardware,
        }
    }

    /// Reads and checks a task's program, so that it starts at once.
    ///
    /// # Errors
    /// The [`Failure`] that an attempt at this task would end with.
    pub fn prepare(&self, task: &Task, cancel: &Cancel) -> Result<Prepared, Failure> {
        let begun = Instant::now();
        if cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let (cached, program) = self.ready(task)?;
        if let Place::Gpu(gpu) = &self.place {
            gpu.with(|open| open.pipelines(task.program.id, task.spec.floats, &program).map(|_| ()))?;
        }
        Ok(Prepared { cached, took: begun.elapsed() })
    }

    /// Runs a task to its end, under the limits of its specification.
    pub fn run(&self, task: &Task, control: &Control) -> Report {
        let begun = Instant::now();
        let mut usage = Usage::default();
        let ended = self.attempt(task, control, begun, &mut usage);
        let (outcome, output) = match ended {
            Ok(output) => (Outcome::Done, Some(output)),
            Err(failure) => (Outcome::Failed(failure), None),
        };
        Report { outcome, usage, output, log: Vec::new(), wall: begun.elapsed() }
    }

    fn attempt(
        &self,
        task: &Task,
        control: &Control,
        begun: Instant,
        usage: &mut Usage,
    ) -> Result<Output, Failure> {
        let (_, program) = self.ready(task)?;
        let limits = &task.spec.limits;
        let args = task.spec.args.get(1..).unwrap_or_default();
        let files = inputs(task, &program.inputs(args).map_err(invalid)?)?;
        usage.read = ByteSize(files.values().map(|bytes| bytes.len() as u64).sum());
        let ready = program.task(args, &files).map_err(invalid)?;
        let memory = ByteSize(ready.memory());
        if memory > limits.memory {
            return Err(Failure::Memory { wanted: memory, limit: limits.memory });
        }
        usage.memory = memory;
        if ready.output() > limits.output.0 {
            return Err(Failure::Output { limit: limits.output });
        }
        let invocation = u32::try_from(limits.fuel.0).unwrap_or(MOST_LIMIT).min(MOST_LIMIT);
        let allowance = Allowance { fuel: limits.fuel.0, invocation };
        let deadline = begun.checked_add(limits.wall_time.duration());
        let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let stop = || control.cancel.is_cancelled() || is_late();
        let outcome = match &self.place {
            Place::Cpu => ready.run_on_cpu(allowance, &stop),
            Place::Gpu(gpu) => gpu.with(|open| {
                let at = open.pipelines(task.program.id, task.spec.floats, &program)?;
                ready.run_with(&open.device, &open.compiled[at].2, allowance, &stop)
            })?,
        };
        match outcome.end {
            End::Done(files) => {
                usage.fuel = Fuel(outcome.fuel);
                self.output(task, &files, usage)
            }
            End::OutOfFuel => {
                // Where it was noticed differs between machines, and what is billed must not.
                usage.fuel = limits.fuel;
                Err(Failure::Fuel { limit: limits.fuel })
            }
            End::Stopped if control.cancel.is_cancelled() => Err(Failure::Cancelled),
            End::Stopped => Err(Failure::WallTime { limit: limits.wall_time }),
        }
    }

    /// The program of a task, and whether it had been ready before.
    fn ready(&self, task: &Task) -> Result<(bool, Arc<Program>), Failure> {
        let (id, class) = (task.program.id, task.spec.floats);
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = programs.iter().position(|ready| (ready.id, ready.floats) == (id, class)) {
            let ready = programs.remove(at);
            programs.push(ready.clone());
            return Ok((true, ready.program));
        }
        let floats = match class {
            FloatClass::Native => Floats::Native,
            FloatClass::Canonical => Floats::Canonical,
        };
        let program = Arc::new(Program::decode(&task.program.read()?, floats).map_err(invalid)?);
        if programs.len() == MOST_KEPT {
            programs.remove(0);
        }
        programs.push(Ready { id, floats: class, program: program.clone() });
        Ok((false, program))
    }

    fn output(&self, task: &Task, files: &Files, usage: &mut Usage) -> Result<Output, Failure> {
        let limits = &task.spec.limits;
        let bad = |reason: String| Failure::BadOutput { reason };
        if files.len() > limits.files as usize {
            return Err(Failure::Files { limit: limits.files });
        }
        let mut builder = ArchiveBuilder::default();
        let mut by_path = Vec::new();
        for (name, bytes) in files {
            let path = name.strip_prefix("/out/").unwrap_or(name);
            let path = GuestPath::new(path).map_err(|error| bad(format!("{name:?}: {error}")))?;
            builder.add(path.clone(), bytes.len() as u64);
            by_path.push((path, bytes));
        }
        let (mut archive, entries) = builder.finish().map_err(|error| bad(error.to_string()))?;
        for entry in entries {
            let bytes = by_path.iter().find(|(path, _)| *path == entry.path).map(|(_, bytes)| *bytes);
            archive.extend_from_slice(bytes.map_or(&[], Vec::as_slice));
        }
        usage.output = ByteSize(files.values().map(|bytes| bytes.len() as u64).sum());
        let (id, len) = (BlobId::of(&archive), archive.len() as u64);
        let body = if archive.len() <= IN_MEMORY {
            OutputBody::Bytes(archive)
        } else {
            let kept = keep(&self.spool, &archive).map_err(|error| Failure::Host {
                reason: format!("could not write an output into {}: {error}", self.spool.display()),
            })?;
            OutputBody::File(kept)
        };
        Ok(Output { id, len, body })
    }
}

impl Gpu {
    /// Does something with the device, which is opened if it is not. After an error it is closed.
    fn with<T>(&self, work: impl FnOnce(&mut Open) -> Result<T, DeviceError>) -> Result<T, Failure> {
        let host = |reason: String| Failure::Host { reason };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = match open.take() {
            Some(taken) => taken,
            None => {
                let device = self::open(self.number, self.trust).map_err(|error| host(error.to_string()))?;
                Open { device, compiled: Vec::new() }
            }
        };
        let done = work(open.insert(taken));
        if done.is_err() {
            *open = None;
        }
        done.map_err(|error| host(error.to_string()))
    }
}

impl Open {
    /// Where in `compiled` the kernels of a program are.
    fn pipelines(&mut self, id: BlobId, floats: FloatClass, program: &Program) -> Result<usize, DeviceError> {
        let known = self.compiled.iter().position(|(known, class, _)| (*known, *class) == (id, floats));
        if let Some(at) = known {
            return Ok(at);
        }
        let kernels = program.kernels().iter();
        let pipelines = kernels.map(|kernel| self.device.compile(kernel)).collect::<Result<_, _>>()?;
        if self.compiled.len() == MOST_KEPT {
            self.compiled.remove(0);
        }
        self.compiled.push((id, floats, pipelines));
        Ok(self.compiled.len() - 1)
    }
}

fn open(number: usize, trust: Trust) -> Result<Device, OpenError> {
    let device = Device::open(number)?;
    if trust == Trust::Probed {
        let failed: Vec<Check> = probe(&device)?.into_iter().filter(|check| check.failed.is_some()).collect();
        if !failed.is_empty() {
            return Err(OpenError::Failed { adapter: device.adapter().to_string(), failed });
        }
    }
    Ok(device)
}

fn invalid(mistake: Mistake) -> Failure {
    Failure::InvalidModule { reason: mistake.to_string() }
}

/// The files that a program reads, by the names that it has for them.
fn inputs(task: &Task, names: &[String]) -> Result<Files, Failure> {
    let mut files = Files::new();
    let mut total = 0_u64;
    let limit = task.spec.limits.memory;
    for name in names {
        let path = name.strip_prefix("/in/").unwrap_or(name);
        let mut given = task.spec.inputs.iter().zip(&task.contents);
        // One that is missing is told by the program, with the buffer that it is for.
        let Some((input, content)) = given.find(|(input, _)| input.path.as_str() == path) else { continue };
        total = total.saturating_add(input.len);
        if total > limit.0 {
            return Err(Failure::Memory { wanted: ByteSize(total), limit });
        }
        let failed = |reason: String| Failure::Input { path: input.path.to_string(), reason };
        let bytes = read(content).map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 != input.len {
            return Err(failed("it has another length".into()));
        }
        files.insert(name.clone(), bytes);
    }
    Ok(files)
}

fn read(content: &Content) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for segment in &content.segments {
        match segment {
            Segment::Bytes(part) => bytes.extend_from_slice(part),
            Segment::File { path, offset, len } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(*offset))?;
                if file.take(*len).read_to_end(&mut bytes)? as u64 != *len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
    Ok(bytes)
}

fn keep(spool: &Path, archive: &[u8]) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("output-").tempfile_in(spool)?;
    file.write_all(archive)?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}

fn list(checks: &[Check]) -> String {
    let one = |check: &Check| format!("{} ({})", check.name, check.failed.as_deref().unwrap_or("passed"));
    checks.iter().map(one).collect::<Vec<_>>().join(", ")
}
