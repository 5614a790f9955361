//! The one thread that writes the segments of a folder. Whatever came while it waited for the disk it writes at once
//! and waits for together, and only then it is in the index and its callers go on.

mod clean;

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::JoinHandle,
};

use bytes::Bytes;
use tidemill_types::BlobRef;
use tokio::sync::oneshot;

use super::{
    BlobId, Reservation,
    error::BlobError,
    failpoints::Failpoint,
    index::{Index, Packed},
    lock,
    log::{self, Record},
    pins::Pin,
    segments::{Active, SegmentFile, Segments},
};

/// How much is written at once, more or less.
const BATCH_BYTES: u64 = 4 << 20;

/// How much may wait before those who bring more have to.
const MOST_WAITING_BYTES: u64 = 16 << 20;

/// The way to the writer. When it is dropped, the writer does what it was asked to, and ends.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
    /// What errors name.
    folder: PathBuf,
}

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Change {
    /// To take in a blob with its pin.
    Blob { blob: BlobRef, bytes: Bytes, pin: Pin, room: Reservation },
    /// To pin a blob that is here.
    Pin { pin: Pin, id: BlobId },
    /// To take a pin off.
    Unpin { pin: Pin },
}

/// A change that was asked for. Its answer is whether the blob is here.
pub(super) struct Asked(oneshot::Receiver<Result<bool, BlobError>>, PathBuf);

impl Asked {
    /// Waits until it is done. It blocks.
    pub fn wait(self) -> Result<bool, BlobError> {
        let Self(answer, folder) = self;
        answer.blocking_recv().unwrap_or_else(|_| Err(ended(&folder)))
    }
}

#[derive(Debug)]
struct Queue {
    state: Mutex<Waiting>,
    /// Something was put in, or the end has come.
    came: Condvar,
    /// Something was taken out.
    left: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    commands: VecDeque<Command>,
    bytes: u64,
    ended: bool,
}

#[derive(Debug)]
enum Command {
    Change(Change, Answer),
    /// To give up a segment.
    Clean(u64, Answer),
}

type Answer = oneshot::Sender<Result<bool, BlobError>>;

impl Writer {
    /// Starts the thread. `next` is the number of the segment after `active`.
    pub fn start(
        segments: Segments,
        folder: &Path,
        index: Arc<Mutex<Index>>,
        next: u64,
        active: Option<Active>,
    ) -> Result<Self, BlobError> {
        let state = Mutex::default();
        let queue = Arc::new(Queue { state, came: Condvar::new(), left: Condvar::new() });
        let with = queue.clone();
        let run = move || {
            // Whoever waits must hear of its end, however that comes.
            let ends = Ends(with);
            Worker { segments, index, next, active, lingering: Vec::new() }.run(&ends.0);
        };
        let thread = std::thread::Builder::new().name("blobs".to_owned()).spawn(run);
        let thread = thread.map_err(|source| BlobError::disk("start to write to", folder, source))?;
        Ok(Self { queue, thread: Some(thread), folder: folder.to_owned() })
    }

    /// Asks for a change. Changes are made in the order in which they were asked for. It may block.
    pub fn ask(&self, change: Change) -> Asked {
        self.put(|answer| Command::Change(change, answer))
    }

    /// Gives up a segment, after what is left of it in the index was copied on. It blocks.
    pub fn clean(&self, segment: u64) -> Result<(), BlobError> {
        self.put(|answer| Command::Clean(segment, answer)).wait().map(|_| ())
    }

    fn put(&self, command: impl FnOnce(Answer) -> Command) -> Asked {
        let (answer, asked) = oneshot::channel();
        let mut state = self.queue.state();
        while state.bytes > MOST_WAITING_BYTES && !state.ended {
            state = self.queue.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.ended {
            let command = command(answer);
            state.bytes += command.bytes();
            state.commands.push_back(command);
            self.queue.came.notify_one();
        }
        Asked(asked, self.folder.clone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(folder = %self.folder.display(), "the writer of a folder of blobs panicked");
        }
    }
}

/// Ends the queue when the thread does.
struct Ends(Arc<Queue>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
        let left = std::mem::take(&mut self.0.state().commands);
        // Their rooms are given back where nothing is locked.
        drop(left);
        self.0.left.notify_all();
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.state().ended = true;
        self.came.notify_all();
        self.left.notify_all();
    }

    /// What to do next: a segment to be cleaned, or changes of at most so many bytes, but at least one. Nothing at
    /// the end.
    fn next(&self, most: impl FnOnce() -> u64) -> Option<Next> {
        let mut state = self.state();
        loop {
            if !state.commands.is_empty() {
                break;
            }
            if state.ended {
                return None;
            }
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let most = most();
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while let Some(command) = state.commands.pop_front() {
            let size = command.bytes();
            match command {
                Command::Clean(segment, answer) if changes.is_empty() => {
                    return Some(Next::Clean(segment, answer));
                }
                Command::Change(change, answer) if changes.is_empty() || bytes + size <= most => {
                    bytes += size;
                    changes.push((change, answer));
                }
                later => {
                    state.commands.push_front(later);
                    break;
                }
            }
        }
        state.bytes -= bytes;
        self.left.notify_all();
        Some(Next::Changes(changes))
    }
}

enum Next {
    Changes(Vec<(Change, Answer)>),
    Clean(u64, Answer),
}

impl Command {
    fn bytes(&self) -> u64 {
        match self {
            Self::Change(Change::Blob { bytes, .. }, _) => bytes.len() as u64,
            Self::Change(..) | Self::Clean(..) => 0,
        }
    }
}

impl Change {
    fn record(&self) -> Record {
        match self {
            Self::Blob { blob, bytes, pin, .. } => {
                Record::Blob { id: blob.id, bytes: bytes.clone(), pin: Some(pin.clone()) }
            }
            Self::Pin { pin, id } => Record::Pin { pin: pin.clone(), id: *id },
            Self::Unpin { pin } => Record::Hold { pin: pin.clone(), ids: Vec::new() },
        }
    }
}

/// What the thread owns.
struct Worker {
    segments: Segments,
    index: Arc<Mutex<Index>>,
    /// The number of the segment after the active one.
    next: u64,
    active: Option<Active>,
    /// Segments that were given up while somebody read them, and so may still be there.
    lingering: Vec<Weak<SegmentFile>>,
}

impl Worker {
    fn run(mut self, queue: &Queue) {
        loop {
            let room = self.active.as_ref().map_or(0, |active| active.appender.end());
            let most = || self.segments.full_bytes.saturating_sub(room).min(BATCH_BYTES);
            match queue.next(most) {
                None => return,
                Some(Next::Clean(segment, answer)) => {
                    let _ = answer.send(self.clean(segment).map(|()| true));
                }
                Some(Next::Changes(changes)) => self.make(changes),
            }
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// Makes changes durable, and then visible.
    fn make(&mut self, changes: Vec<(Change, Answer)>) {
        let records: Vec<_> = changes.iter().map(|(change, _)| change.record()).collect();
        // A pin that a crash puts on again does no harm: whoever took it off looks for such when it starts.
        let waits = changes.iter().any(|(change, _)| !matches!(change, Change::Unpin { .. }));
        let appended = match self.append(&records, waits) {
            Ok(appended) => appended,
            Err((error, path)) => {
                for (change, answer) in changes {
                    // With its room, which is free when the caller hears of it.
                    drop(change);
                    let _ = answer.send(Err(BlobError::disk("write to", &path, same(&error))));
                }
                return;
            }
        };
        Failpoint::RecordsSynced.pass();
        let mut answers = Vec::with_capacity(changes.len());
        {
            let mut index = self.index();
            index.resize_segment(appended.segment, appended.end);
            for ((change, answer), place) in changes.into_iter().zip(appended.places()) {
                let here = match change {
                    Change::Blob { blob, pin, mut room, .. } => {
                        // Under the lock under which its segment grew, so that nobody sees it count twice.
                        room.settle(&mut index);
                        let taken = log::record_bytes(blob.len, Some(&pin));
                        index.pack(blob.id, blob.len, taken, place);
                        index.pin(&pin, blob.id)
                    }
                    Change::Pin { pin, id } => index.pin(&pin, id),
                    Change::Unpin { pin } => {
                        index.unpin(&pin);
                        true
                    }
                };
                answers.push((answer, here));
            }
        }
        Failpoint::RecordsIndexed.pass();
        for (answer, here) in answers {
            // Whoever asked may be gone.
            let _ = answer.send(Ok(here));
        }
    }

    /// Writes records to the active segment, and, if that matters and the folder is durable, waits for the disk.
    fn append(&mut self, records: &[Record], waits: bool) -> Result<Appended, (io::Error, PathBuf)> {
        if self.active.as_ref().is_some_and(|active| active.appender.end() >= self.segments.full_bytes) {
            self.active = None;
        }
        let active = match &mut self.active {
            Some(active) => active,
            none => none.insert(begin(&self.segments, &self.index, &mut self.next)?),
        };
        let number = active.number;
        let written = active.appender.append(records, waits && self.segments.is_durable());
        let (end, is_spoiled) = (active.appender.end(), active.appender.is_spoiled());
        if is_spoiled {
            self.active = None;
        }
        match written {
            Ok(offsets) => Ok(Appended { segment: number, end, offsets }),
            Err(error) => Err((error, self.segments.path(number))),
        }
    }
}

/// What was written, for the index.
struct Appended {
    segment: u64,
    /// How long the segment is now.
    end: u64,
    offsets: Vec<u64>,
}

impl Appended {
    /// Where each payload is.
    fn places(&self) -> impl Iterator<Item = Packed> {
        self.offsets.iter().map(move |offset| Packed { segment: self.segment, offset: *offset })
    }
}

fn begin(segments: &Segments, index: &Mutex<Index>, next: &mut u64) -> Result<Active, (io::Error, PathBuf)> {
    let (active, file) = segments.begin(*next).map_err(|error| (error, segments.path(*next)))?;
    Failpoint::SegmentBegun.pass();
    *next += 1;
    lock(index).add_segment(active.number, file, active.appender.end());
    Ok(active)
}

/// An error for one more of those who wait.
fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn ended(folder: &Path) -> BlobError {
    BlobError::disk("write to", folder, io::Error::other("its writer has ended"))
}
