//! The executor: from a task to its requests, and from their answers to an archive.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    num::NonZeroU64,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tidemill_exec::{
    Cancel, Capabilities, Confinement, Control, Executor, Output, OutputBody, Piece, Prepared, Report, Task,
    UnlistedCalls, WorkerCommand,
};
use tidemill_types::{
    ArchiveBuilder, BlobId, ByteSize, CLAIMS_FILE, Content, Failure, GuestPath, Limits, Outcome, ProgramKind,
    Segment, TaskSpec, Tokens, Usage, Weight,
};

use crate::{
    live::{Live, Said},
    program::Known,
    protocol::{Request, ToHost},
};

/// The file of an output with an answer for each line of the input, in OpenAI's Batch format.
pub const ANSWERS: &str = "answers.jsonl";

/// The variable of a task that says when its answers count as made, in seconds since 1970.
const CREATED: &str = "CREATED";

/// The longest input of a task: what a worker is told at once.
const MOST_INPUT: u64 = 64 << 20;

/// How often a task looks whether it is cancelled or followed.
const TICK: Duration = Duration::from_millis(5);

/// Outputs up to this size are kept in memory.
const IN_MEMORY: usize = 256 << 10;

/// How to host models.
#[derive(Clone, Debug)]
pub struct ModelHostConfig {
    /// How to start the worker: a program that calls [`tidemill_exec::worker_main_with`] with [`crate::host`].
    pub command: WorkerCommand,
    /// Where large outputs are put, which must be there when the first task runs.
    pub spool: PathBuf,
    /// Threads that compute.
    pub threads: u32,
    /// Memory for models and texts together.
    pub memory: ByteSize,
    /// What happens on a system call that is not listed.
    pub unlisted: UnlistedCalls,
}

/// Runs programs of the kind `infer`. Its worker starts with the first task.
#[derive(Debug)]
pub struct ModelHost {
    config: ModelHostConfig,
    live: Mutex<Option<Arc<Live>>>,
    known: Known,
}

impl ModelHost {
    /// A host without a worker yet.
    pub fn new(config: ModelHostConfig) -> Self {
        Self { config, live: Mutex::default(), known: Known::default() }
    }

    /// What the system holds the worker to, which is started if there is none.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn confinement(&self) -> io::Result<Confinement> {
        Ok(self.live()?.confinement().clone())
    }

    /// The number of the worker's process, if one runs.
    pub fn pid(&self) -> Option<u32> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|live| !live.is_dead()).map(|live| live.pid())
    }

    /// The worker that runs, or a new one.
    fn live(&self) -> io::Result<Arc<Live>> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = live.as_ref().filter(|live| !live.is_dead()) {
            return Ok(live.clone());
        }
        let new = Live::start(&self.config)?;
        *live = Some(new.clone());
        Ok(new)
    }

    fn attempt(&self, task: &Task, input: String, control: &Control) -> Result<Said, Failure> {
        let host = |reason: String| Failure::Host { reason };
        let live =
            self.live().map_err(|error| host(format!("could not start a worker for models: {error}")))?;
        let (number, said) = live.expect();
        let spec = &task.spec;
        let request = ToHost::Run(Box::new(Request {
            task: number,
            program: spec.program,
            names: names(spec),
            created_s: created(spec),
            seed: spec.seed,
            limits: spec.limits,
            input,
            draft: control
                .draft
                .as_deref()
                .map(|draft| String::from_utf8_lossy(draft).into_owned())
                .unwrap_or_default(),
        }));
        let attempt = Attempt { host: self, live: &live, number, task, control };
        // One that cannot be told anything is dying, and says so.
        let _ = live.send(&request, None);
        let came = attempt.wait(&said);
        if came.is_err() {
            live.give_up(number);
        }
        came
    }

    /// The report of a task whose answers are there.
    fn report(&self, spec: &TaskSpec, answers: &str, claims: &str, usage: Usage) -> Result<Report, Failure> {
        let host = |reason: String| Failure::Host { reason };
        let size = (answers.len() + claims.len()) as u64;
        if size > spec.limits.output.0 {
            return Err(Failure::Output { limit: spec.limits.output });
        }
        let mut builder = ArchiveBuilder::default();
        for (name, text) in [(ANSWERS, answers), (CLAIMS_FILE, claims)] {
            let path = GuestPath::new(name).map_err(|error| host(error.to_string()))?;
            builder.add(path, text.len() as u64);
        }
        let (mut archive, entries) = builder.finish().map_err(|error| host(error.to_string()))?;
        for entry in entries {
            let text = if entry.path.as_str() == ANSWERS { answers } else { claims };
            archive.extend_from_slice(text.as_bytes());
        }
        let (id, len) = (BlobId::of(&archive), archive.len() as u64);
        let body = if archive.len() <= IN_MEMORY {
            OutputBody::Bytes(archive)
        } else {
            let spool = self.config.spool.display();
            let kept = keep(&self.config.spool, &archive)
                .map_err(|error| host(format!("could not write an output into {spool}: {error}")))?;
            OutputBody::File(kept)
        };
        let usage = Usage { output: ByteSize(size), ..usage };
        let output = Some(Output { id, len, body });
        Ok(Report { outcome: Outcome::Done, usage, output, log: Vec::new(), wall: Duration::ZERO })
    }
}

impl Drop for ModelHost {
    fn drop(&mut self) {
        if let Some(live) = self.live.get_mut().unwrap_or_else(PoisonError::into_inner) {
            live.end();
        }
    }
}

impl Executor for ModelHost {
    fn capabilities(&self) -> Capabilities {
        let kind = ProgramKind::Infer;
        Capabilities { kind, floats: vec![kind.default_floats()], hardware_class: None }
    }

    /// Sees to it that the model is what its hash says. It is loaded with the first task that needs it.
    fn prepare(&self, task: &Task, cancel: &Cancel) -> Result<Prepared, Failure> {
        let begun = Instant::now();
        self.known.open(&task.program, cancel)?;
        Ok(Prepared { cached: false, took: begun.elapsed() })
    }

    fn run(&self, task: &Task, control: &Control) -> Report {
        let begun = Instant::now();
        let mut usage = Usage::default();
        let mut run = || -> Result<Report, Failure> {
            let input = input(task)?;
            usage.read = ByteSize(input.len() as u64);
            match self.attempt(task, input, control)? {
                Said::Done { answers, claims, tokens, model_bytes } => {
                    usage.tokens = tokens;
                    usage.memory = ByteSize(model_bytes).min(task.spec.limits.memory);
                    check_tokens(tokens, &task.spec.limits)?;
                    self.report(&task.spec, &answers, &claims, usage)
                }
                Said::Failed { failure, tokens } => {
                    usage.tokens = tokens;
                    check_tokens(tokens, &task.spec.limits)?;
                    Err(failure)
                }
                Said::Died(reason) => Err(Failure::WorkerDied { reason }),
                Said::NeedsModel | Said::Piece { .. } => {
                    Err(Failure::WorkerDied { reason: "it answered what was not asked".to_owned() })
                }
            }
        };
        let mut report = match run() {
            Ok(report) => report,
            Err(failure) => {
                // What of a task was done that ends otherwise elsewhere is nobody's to pay.
                let usage = if failure.weight() == Weight::Evidence { usage } else { Usage::default() };
                Report { usage, ..Report::not_run(failure) }
            }
        };
        report.wall = begun.elapsed();
        report
    }
}

/// A task in the worker.
struct Attempt<'a> {
    host: &'a ModelHost,
    live: &'a Live,
    number: u64,
    task: &'a Task,
    control: &'a Control,
}

impl Attempt<'_> {
    /// Answers what the worker asks until the task has ended.
    fn wait(&self, said: &Receiver<Said>) -> Result<Said, Failure> {
        let limit = self.task.spec.limits.wall_time;
        let deadline = Instant::now() + limit.duration();
        let mut followed: Option<NonZeroU64> = None;
        loop {
            if self.control.cancel.is_cancelled() {
                return Err(Failure::Cancelled);
            }
            if Instant::now() >= deadline {
                return Err(Failure::WallTime { limit });
            }
            let wanted = self.control.chunks.wanted();
            if wanted != followed {
                followed = wanted;
                if let Some(number) = wanted {
                    let _ = self.live.send(&ToHost::Follow { task: self.number, number }, None);
                }
            }
            match said.recv_timeout(TICK) {
                Ok(Said::Piece { follow, offset, bytes }) => {
                    self.control.chunks.put(Piece { follow, offset, bytes: &bytes });
                }
                Ok(Said::NeedsModel) => self.hand()?,
                Ok(last) => return Ok(last),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Said::Died("it ended before it was asked".to_owned()));
                }
            }
        }
    }

    /// Hands the model to the worker.
    fn hand(&self) -> Result<(), Failure> {
        let program = self.task.program.id;
        match self.host.known.open(&self.task.program, &self.control.cancel) {
            Ok(handed) => {
                let message = ToHost::Model { program, offset: handed.offset, len: handed.len };
                let _ = self.live.send(&message, Some(&handed.file));
                Ok(())
            }
            Err(failure) => {
                // The task is taken out first, so that another one is asked.
                self.live.give_up(self.number);
                let _ = self.live.send(&ToHost::NoModel { program }, None);
                Err(failure)
            }
        }
    }
}

/// What requests may call the model: its name, and its hash.
fn names(spec: &TaskSpec) -> Vec<String> {
    let hash = spec.program.to_string();
    let with_prefix = format!("blake3:{hash}");
    let mut names: Vec<String> = spec.args.iter().take(1).filter(|name| !name.is_empty()).cloned().collect();
    names.extend([hash, with_prefix]);
    names
}

fn created(spec: &TaskSpec) -> u64 {
    let created = spec.env.iter().find(|(name, _)| name == CREATED);
    created.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// The requests of a task: its inputs one after another.
fn input(task: &Task) -> Result<String, Failure> {
    let total: u64 = task.spec.inputs.iter().fold(0, |sum: u64, input| sum.saturating_add(input.len));
    if total > MOST_INPUT {
        let reason = format!(
            "there are {} of them, and {} is the most of a task",
            ByteSize(total),
            ByteSize(MOST_INPUT)
        );
        return Err(Failure::Requests { reason });
    }
    let mut all = String::new();
    for (input, content) in task.spec.inputs.iter().zip(&task.contents) {
        let failed = |reason: String| Failure::Input { path: input.path.to_string(), reason };
        let bytes = read(content).map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 != input.len {
            return Err(failed("it has another length".to_owned()));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::Requests { reason: format!("{} is not UTF-8", input.path) })?;
        all.push_str(&text);
        if !all.ends_with('\n') {
            all.push('\n');
        }
    }
    if all.trim().is_empty() {
        return Err(Failure::Requests { reason: "there are none".to_owned() });
    }
    Ok(all)
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

/// A worker that was taken over may say anything.
fn check_tokens(tokens: Tokens, limits: &Limits) -> Result<(), Failure> {
    let is_right = tokens.input <= limits.input_tokens
        && tokens.cached <= tokens.input
        && tokens.output <= limits.output_tokens;
    if is_right {
        return Ok(());
    }
    Err(Failure::WorkerDied { reason: "it reported more tokens than its task may have".to_owned() })
}

fn keep(spool: &std::path::Path, archive: &[u8]) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("output-").tempfile_in(spool)?;
    file.write_all(archive)?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}
