//! Comparing outputs: by the numbers in their files, or by a program in the sandbox.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom},
    sync::{Arc, Mutex, PoisonError},
};

use tidemill_exec::{Control, Executor, Program, Task};
use tidemill_job::{BlobRef, JobSpec};
use tidemill_net::blobs::{BlobError, Lent, LentReader};
use tidemill_store::Store;
use tidemill_types::{
    Archive, BlobId, ByteSize, Comparison, Content, Failure, FloatClass, Fuel, GuestPath, InputSpec, JobId,
    Limits, Millis, Numbers, Outcome, ProgramKind, Segment, TaskId, TaskSpec, Tolerance,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::assemble::{Body, files, hash_of, open_archive};

/// A line of a text is compared as a whole up to this length.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// What is compared at once of numbers in binary: a whole number of each sort.
const CHUNK_BYTES: usize = 64 << 10;

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Whose outputs are compared next: one comparison at a time, since each reads whole outputs and may run a program, and
/// one of each job in turn, so that one job's do not keep the others waiting.
pub struct Turns {
    /// Where one of each job waits for its turn, in the order in which they came.
    all: Arc<Semaphore>,
    /// Where those of one job wait for each other.
    of_job: Mutex<HashMap<JobId, Arc<Semaphore>>>,
}

/// While there is one nothing else is compared.
pub struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_job: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(1)), of_job: Mutex::default() }
    }
}

impl Turns {
    /// Waits for a turn; nothing where there will be none any more.
    pub async fn take(&self, job: JobId) -> Option<Turn> {
        let of_job = {
            let mut jobs = self.of_job.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever waits or has a turn holds a part of its job's.
            jobs.retain(|other, waiting| *other == job || Arc::strong_count(waiting) > 1);
            jobs.entry(job).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
        };
        let of_job = of_job.acquire_owned().await.ok()?;
        let of_all = self.all.clone().acquire_owned().await.ok()?;
        Some(Turn { _of_all: of_all, _of_job: of_job })
    }
}

/// Why outputs could not be compared. It says nothing about them.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// An output is a blob that is not here, or that does not have the bytes which were signed.
    #[error("the output {0} is not here, or is damaged")]
    Lost(BlobId),
    /// An output that came within its result is damaged in the coordinator's state.
    #[error("the output {0} is damaged in the coordinator's state")]
    Row(BlobId),
    /// The program that compares is not here.
    #[error("the program {0} that compares is not here")]
    NoProgram(BlobId),
    /// Something cannot be read.
    #[error("an output cannot be read")]
    Read(#[source] Problem),
    /// There is nothing here that runs programs.
    #[error("this coordinator runs no programs")]
    NoExecutor,
    /// This machine cannot run the program.
    #[error("the program that compares cannot be run here: {0}")]
    Host(String),
    /// The program did not come to its end, which may have been this machine's doing.
    #[error("the program that compares did not come to its end: {0}")]
    Stopped(String),
}

/// Where what is compared is.
pub struct Places<'a> {
    /// Has small outputs.
    pub store: &'a Store,
    /// Runs the program that compares, if there is one.
    pub executor: Option<&'a dyn Executor>,
    /// Says where a blob is.
    pub lend: &'a dyn Fn(BlobId) -> Result<Lent, BlobError>,
}

/// An output of a task that is compared with others.
#[derive(Clone)]
pub struct Comparing {
    /// Says what is the same.
    pub spec: Arc<JobSpec>,
    /// The task.
    pub task: TaskId,
    /// Its output.
    pub output: BlobRef,
}

impl Comparing {
    /// Whether it is the same as this one. It reads whole outputs, and may run a program: it blocks.
    ///
    /// # Errors
    /// [`CompareError`]
    pub fn is_same(&self, other: BlobRef, places: &Places) -> Result<bool, CompareError> {
        match *self.spec.comparison() {
            Comparison::Exact => Ok(other.id == self.output.id),
            Comparison::Numbers(tolerance) => {
                let (one, two) = (self.open(self.output, places)?, self.open(other, places)?);
                same_files(&tolerance, &one, &two).map_err(CompareError::Read)
            }
            Comparison::Program(program) => {
                let executor = places.executor.ok_or(CompareError::NoExecutor)?;
                let (one, two) = (self.open(self.output, places)?, self.open(other, places)?);
                let lent = (places.lend)(program.id).map_err(|error| match error {
                    BlobError::NotHere(id) | BlobError::Damaged { id, .. } => CompareError::NoProgram(id),
                    error => CompareError::Read(error.into()),
                })?;
                // What is lent stays where it is until this returns.
                let content = Content { segments: vec![lent.range(0, program.len)] };
                let program = Program::new(program.id, ProgramKind::Wasm, content);
                says_same(executor, program, &one, &two)
            }
        }
    }

    /// Opens an output, whose bytes are hashed: an honest provider would be contradicted by what this disk made of them.
    fn open(&self, blob: BlobRef, places: &Places) -> Result<Whole, CompareError> {
        let kept = places.store.kept_output(self.task, blob.id);
        let kept = kept.map_err(|error| CompareError::Read(error.into()))?;
        if let Some(bytes) = kept {
            let is_right = BlobId::of(&bytes) == blob.id;
            return if is_right {
                Ok((Body::Inline(bytes), blob.len))
            } else {
                Err(CompareError::Row(blob.id))
            };
        }
        let lent = (places.lend)(blob.id).map_err(|error| match error {
            BlobError::NotHere(id) | BlobError::Damaged { id, .. } => CompareError::Lost(id),
            error => CompareError::Read(error.into()),
        })?;
        let body = Body::File(lent);
        // Whether one that cannot be read is lost is for the folder of blobs to say.
        let is_right = hash_of(&body).is_ok_and(|found| found == blob.id);
        if is_right { Ok((body, blob.len)) } else { Err(CompareError::Lost(blob.id)) }
    }
}

/// An output's body and its length.
type Whole = (Body, u64);

/// A file of an output: its path, its length, and its bytes.
type OneFile = (GuestPath, u64, Box<dyn Read>);

/// Whether two outputs have the same files with the same numbers, but for so much.
fn same_files(tolerance: &Tolerance, one: &Whole, two: &Whole) -> Result<bool, Problem> {
    let (one, two) = (opened(one)?, opened(two)?);
    if one.len() != two.len() {
        return Ok(false);
    }
    for ((path, len, a), (other_path, other_len, b)) in one.into_iter().zip(two) {
        let is_text = tolerance.numbers() == Numbers::Text;
        if path != other_path || (len != other_len && !is_text) {
            return Ok(false);
        }
        let same = match is_text {
            true => same_lines(tolerance, BufReader::new(a), BufReader::new(b))?,
            false => same_numbers(tolerance, a, b)?,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The files of an output, each to be read on its own.
fn opened((body, len): &Whole) -> Result<Vec<OneFile>, Problem> {
    match body {
        Body::Inline(bytes) => {
            let archive = Archive::parse(bytes)?;
            let file = |(path, start, len): (&GuestPath, u64, u64)| -> Result<OneFile, Problem> {
                Ok((path.clone(), len, Box::new(Cursor::new(part(bytes, start, len)?))))
            };
            archive.files().map(|(entry, start)| file((&entry.path, start, entry.len))).collect()
        }
        Body::File(lent) => {
            let (_, archive) = open_archive(lent, *len)?;
            let open = |(name, start, len): (&GuestPath, u64, u64)| -> Result<OneFile, Problem> {
                Ok((name.clone(), len, Box::new(Later { lent: lent.clone(), start, len, file: None })))
            };
            archive.files().map(|(entry, start)| open((&entry.path, start, entry.len))).collect()
        }
    }
}

/// A part of an output in memory.
fn part(bytes: &[u8], start: u64, len: u64) -> Result<Vec<u8>, Problem> {
    let start = usize::try_from(start)?;
    let end = start + usize::try_from(len)?;
    Ok(bytes.get(start..end).ok_or("a file ends early")?.to_vec())
}

/// A part of a file that is opened when it is read: an output may have more files than a process may have open.
struct Later {
    lent: Lent,
    start: u64,
    len: u64,
    file: Option<std::io::Take<LentReader>>,
}

impl Read for Later {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.file.is_none() {
            let mut file = self.lent.open()?;
            file.seek(SeekFrom::Start(self.start))?;
            self.file = Some(file.take(self.len));
        }
        match &mut self.file {
            Some(file) => file.read(buffer),
            None => Ok(0),
        }
    }
}

/// Whether two files of numbers in binary are the same. What is left of them at the end must be equal.
fn same_numbers(tolerance: &Tolerance, mut a: impl Read, mut b: impl Read) -> std::io::Result<bool> {
    let (mut one, mut two) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let (read, other) = (read_full(&mut a, &mut one)?, read_full(&mut b, &mut two)?);
        if read != other {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
        let (one, two) = (&one[..read], &two[..read]);
        let same = match tolerance.numbers() {
            Numbers::F32 => same_chunks::<4>(tolerance, one, two, |bytes| f32::from_le_bytes(bytes).into()),
            Numbers::F64 => same_chunks::<8>(tolerance, one, two, f64::from_le_bytes),
            Numbers::U8 | Numbers::Text => same_chunks::<1>(tolerance, one, two, |[byte]| byte.into()),
        };
        if !same {
            return Ok(false);
        }
    }
}

fn same_chunks<const N: usize>(
    tolerance: &Tolerance,
    a: &[u8],
    b: &[u8],
    number: impl Fn([u8; N]) -> f64,
) -> bool {
    let (a, rest) = a.as_chunks::<N>();
    let (b, other) = b.as_chunks::<N>();
    rest == other && a.iter().zip(b).all(|(a, b)| a == b || tolerance.allows(number(*a), number(*b)))
}

fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn same_lines(tolerance: &Tolerance, mut a: impl BufRead, mut b: impl BufRead) -> std::io::Result<bool> {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    loop {
        one.clear();
        two.clear();
        let read = (&mut a).take(MAX_LINE_BYTES).read_until(b'\n', &mut one)?;
        let other = (&mut b).take(MAX_LINE_BYTES).read_until(b'\n', &mut two)?;
        match (read, other) {
            (0, 0) => return Ok(true),
            _ if !same_line(tolerance, &one, &two) => return Ok(false),
            _ => {}
        }
    }
}

/// Whether two lines are the same but for the numbers in them.
fn same_line(tolerance: &Tolerance, mut a: &[u8], mut b: &[u8]) -> bool {
    loop {
        match (number(a), number(b)) {
            (Some((x, rest)), Some((y, other))) => {
                if !tolerance.allows(x, y) {
                    return false;
                }
                (a, b) = (rest, other);
            }
            (None, None) => match (a.split_first(), b.split_first()) {
                (None, None) => return true,
                (Some((x, rest)), Some((y, other))) if x == y => (a, b) = (rest, other),
                _ => return false,
            },
            _ => return false,
        }
    }
}

/// The decimal number that a text begins with, and what comes after it.
fn number(text: &[u8]) -> Option<(f64, &[u8])> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let whole = digits(at);
    at += whole;
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        at += if whole + fraction > 0 { 1 + fraction } else { 0 };
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = if at + 1 + sign <= text.len() { digits(at + 1 + sign) } else { 0 };
        at += if exponent > 0 { 1 + sign + exponent } else { 0 };
    }
    let number = std::str::from_utf8(&text[..at]).ok()?.parse().ok()?;
    Some((number, &text[at..]))
}

/// What a program that compares may use.
fn limits() -> Limits {
    Limits {
        fuel: Fuel(50_000_000_000),
        // Little enough to stay in memory: nobody looks at it.
        output: ByteSize::kib(64),
        files: 100,
        wall_time: Millis(120_000),
        ..Limits::default()
    }
}

/// Inputs of a program, with where they are.
type Inputs = Vec<(InputSpec, Content)>;

/// Whether a program says that two outputs are the same.
fn says_same(
    executor: &dyn Executor,
    program: Program,
    one: &Whole,
    two: &Whole,
) -> Result<bool, CompareError> {
    let [a, b] = [inputs("a", one), inputs("b", two)];
    let (a, b) = (a.map_err(CompareError::Read)?, b.map_err(CompareError::Read)?);
    let (Some(a), Some(b)) = (a, b) else { return Ok(false) };
    let (inputs, contents) = a.into_iter().chain(b).unzip();
    let id = program.id;
    let spec = TaskSpec {
        kind: program.kind,
        program: program.id,
        floats: FloatClass::Native,
        args: vec!["compare".to_owned()],
        env: Vec::new(),
        inputs,
        limits: limits(),
        seed: 0,
    };
    let task = Task { spec: Arc::new(spec), program, contents };
    match executor.run(&task, &Control::default()).outcome {
        Outcome::Done => Ok(true),
        Outcome::Failed(Failure::Exit { code: 1, .. }) => Ok(false),
        Outcome::Failed(Failure::Host { reason }) => Err(CompareError::Host(reason)),
        Outcome::Failed(failure) if failure.worth_retrying_here() => {
            Err(CompareError::Stopped(failure.to_string()))
        }
        Outcome::Failed(failure) => {
            tracing::warn!(program = %id, %failure, "a program that compares failed: outputs count as different");
            Ok(false)
        }
    }
}

/// The files of an output as inputs below a directory, with where they are; nothing where a path is too long for that.
fn inputs(directory: &str, (body, len): &Whole) -> Result<Option<Inputs>, Problem> {
    let input = |file: tidemill_job::PartFile| {
        let Ok(path) = GuestPath::new(format!("{directory}/{}", file.path)) else { return Ok(None) };
        let BlobRef { id: content, len } = file.content;
        let segment = match body {
            Body::Inline(bytes) => Segment::Bytes(part(bytes, file.offset, len)?),
            Body::File(lent) => lent.range(file.offset, len),
        };
        Ok(Some((InputSpec { path, content, len }, Content { segments: vec![segment] })))
    };
    files(body, *len)?.into_iter().map(input).collect()
}

#[cfg(test)]
mod tests;
