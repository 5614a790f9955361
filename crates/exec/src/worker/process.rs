//! A worker process as its parent sees it.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufReader, IoSlice, PipeReader, Read},
    mem::MaybeUninit,
    net::Shutdown,
    num::NonZeroU64,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Serialize, de::DeserializeOwned};

use super::protocol::{MAX_FRAME_BYTES, Role, Started, ToRunning, decode, encode, frame_len};
use crate::{
    confine::{Confinement, Measure, Work, limits},
    control::Control,
};

/// How to start a worker: a program that calls [`super::worker_main`].
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl WorkerCommand {
    /// This very program with the given arguments. On Linux it is the file that is running now, even
    /// after another has taken its name.
    ///
    /// # Errors
    /// When the system does not say which program this is.
    pub fn this_program(args: impl IntoIterator<Item = &'static str>) -> io::Result<Self> {
        let running = PathBuf::from("/proc/self/exe");
        let program = if running.exists() { running } else { std::env::current_exe()? };
        Ok(Self { program, args: args.into_iter().map(OsString::from).collect() })
    }
}

/// A running worker. Dropping it ends the process.
pub(super) struct Worker {
    /// The process that was started: on Linux the worker's keeper, which ends as the worker does.
    child: Child,
    /// The worker itself.
    pid: u32,
    link: BufReader<UnixStream>,
    /// What the worker writes to standard error, for the message about its end. It holds as much as a pipe does.
    words: PipeReader,
    confinement: Confinement,
    /// The most memory that it has been allowed.
    allowed_bytes: u64,
    /// For which follow it was asked for a piece of output that it has not sent.
    asked: Option<NonZeroU64>,
}

/// How long to wait for a worker, who may end the waiting, and who follows what runs there.
pub(super) struct Waiting<'a> {
    pub(super) deadline: Instant,
    pub(super) control: &'a Control,
}

impl Waiting<'_> {
    /// Whether to wait on.
    pub(super) fn check(&self) -> Result<(), Silence> {
        if self.control.cancel.is_cancelled() {
            return Err(Silence::Cancelled);
        }
        if Instant::now() >= self.deadline {
            return Err(Silence::TimedOut);
        }
        Ok(())
    }
}

/// Why a worker gave no answer.
#[derive(Debug)]
pub(super) enum Silence {
    Cancelled,
    TimedOut,
    /// Nothing was sent: the request is too long for a message.
    TooLong(String),
    /// It was dead before it was asked.
    Gone,
    /// It died: the signal that ended it, if one did, and what is known.
    Died {
        signal: Option<i32>,
        reason: String,
    },
}

/// The parent may have left the signal for broken pipes as the system has it. (Elsewhere than on Linux the socket says
/// that it wants none.)
#[cfg(target_os = "linux")]
const FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const FLAGS: SendFlags = SendFlags::empty();

/// How often a waiting parent looks whether it should still wait.
const TICK: Duration = Duration::from_millis(20);

/// How long a worker that has closed its end may take to end: the system frees its memory first.
const DYING: Duration = Duration::from_secs(2);

/// How long a worker may take to confine itself, on a machine where everything else starts too.
const STARTING: Duration = Duration::from_secs(60);

/// What a worker says of itself at its start.
const MAX_START_BYTES: usize = 1 << 20;

/// A frame's buffer grows by so much at a time: with what arrives, not with what a broken peer claims.
const GROWTH_BYTES: usize = 1 << 20;

impl Worker {
    pub(super) fn start(command: &WorkerCommand, role: &Role) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(TICK))?;
        ours.set_write_timeout(Some(TICK))?;
        let (words, stderr) = io::pipe()?;
        // A worker does not wait for somebody to read its words, and its parent reads what there is.
        rustix::io::ioctl_fionbio(&words, true)?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        let child = Command::new(&command.program)
            .args(&command.args)
            .arg0("tidemill-worker")
            // A Ctrl-C at the terminal is the parent's to handle.
            .process_group(0)
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()?;
        let mut worker = Self {
            child,
            pid: 0,
            link: BufReader::with_capacity(64 << 10, ours),
            words,
            confinement: Confinement::default(),
            allowed_bytes: 0,
            asked: None,
        };
        let control = Control::default();
        let waiting = Waiting { deadline: Instant::now() + STARTING, control: &control };
        let failed = |silence: Silence| match silence {
            Silence::Died { reason, .. } => io::Error::other(format!("it did not confine itself: {reason}")),
            _ => io::Error::new(io::ErrorKind::TimedOut, "it did not confine itself in time"),
        };
        let started: Started = worker.receive(MAX_START_BYTES, &waiting).map_err(failed)?;
        worker.pid = started.pid;
        worker.send(&encode(role)?, None, &waiting).map_err(failed)?;
        worker.confinement = worker.receive(MAX_START_BYTES, &waiting).map_err(failed)?;
        if role.work == Work::Run {
            let allowed = worker.allow(limits::task_bytes(&tidemill_types::Limits::default(), 0));
            worker.confinement.note(Measure::Memory, allowed);
        }
        Ok(worker)
    }

    /// Keeps what taking a measure from outside came to.
    pub(super) fn note(&mut self, measure: Measure, taken: io::Result<()>) {
        self.confinement.note(measure, taken);
    }

    /// The parent's end of the socket once more, to send by.
    pub(super) fn socket(&self) -> io::Result<UnixStream> {
        self.link.get_ref().try_clone()
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// What the system holds it to.
    pub(super) fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Sees to it that the worker may have so many bytes of memory. What it was allowed for an earlier task it may have
    /// kept, so the limit is never lowered.
    pub(super) fn allow(&mut self, bytes: u64) -> io::Result<()> {
        if bytes > self.allowed_bytes {
            limits::allow_memory(self.pid, bytes)?;
            self.allowed_bytes = bytes;
        }
        Ok(())
    }

    /// Whether the process has not ended yet.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a request and waits for its reply. After any [`Silence`] the worker is of no more use.
    pub(super) fn ask<T: DeserializeOwned>(
        &mut self,
        request: &impl Serialize,
        waiting: &Waiting<'_>,
    ) -> Result<T, Silence> {
        self.request(request, waiting)?;
        self.receive(MAX_FRAME_BYTES, waiting)
    }

    /// Sends a request.
    pub(super) fn request(&mut self, request: &impl Serialize, waiting: &Waiting<'_>) -> Result<(), Silence> {
        let frame = encode(request).map_err(|error| Silence::TooLong(error.to_string()))?;
        if !self.is_alive() {
            return Err(Silence::Gone);
        }
        self.asked = None;
        self.send(&frame, None, waiting)
    }

    /// Asks for a piece of output if somebody follows and none has been asked for.
    pub(super) fn ask_for_piece(&mut self, waiting: &Waiting<'_>) -> Result<(), Silence> {
        let wanted = waiting.control.chunks.wanted();
        let Some(follow) = wanted.filter(|_| wanted != self.asked) else { return Ok(()) };
        let frame = encode(&ToRunning::Piece(follow)).map_err(|error| Silence::TooLong(error.to_string()))?;
        self.asked = Some(follow);
        self.send(&frame, None, waiting)
    }

    /// A piece of output has come for this follow.
    pub(super) fn piece_came(&mut self, follow: NonZeroU64) {
        self.asked = self.asked.filter(|asked| *asked != follow);
    }

    /// Answers a question of the worker's, with a file where one belongs to it.
    pub(super) fn answer(
        &mut self,
        answer: &impl Serialize,
        file: Option<&File>,
        waiting: &Waiting<'_>,
    ) -> Result<(), Silence> {
        let frame = encode(answer).map_err(|error| Silence::TooLong(error.to_string()))?;
        self.send(&frame, file, waiting)
    }

    fn send(&mut self, frame: &[u8], file: Option<&File>, waiting: &Waiting<'_>) -> Result<(), Silence> {
        let mut file = file;
        let mut sent = 0;
        while sent < frame.len() {
            let result = send_part(self.link.get_ref(), &frame[sent..], file);
            match result {
                Ok(0) => return Err(self.died(&io::ErrorKind::WriteZero.into())),
                Ok(bytes) => {
                    sent += bytes;
                    file = None;
                }
                Err(error) if is_passing(&error) => waiting.check()?,
                Err(error) => return Err(self.died(&error)),
            }
        }
        Ok(())
    }

    /// Waits for a message of at most so many bytes.
    pub(super) fn receive<T: DeserializeOwned>(
        &mut self,
        most: usize,
        waiting: &Waiting<'_>,
    ) -> Result<T, Silence> {
        let mut head = [0; 4];
        self.fill(&mut head, waiting)?;
        let len = frame_len(head, most).map_err(|error| self.died(&error))?;
        let mut frame = Vec::new();
        while frame.len() < len {
            let begun = frame.len();
            frame.resize(len.min(begun + GROWTH_BYTES), 0);
            self.fill(&mut frame[begun..], waiting)?;
        }
        decode(&frame).map_err(|error| self.died(&error))
    }

    /// Waits for so many bytes that a message has announced, and gives them on as they come. An error of whoever takes
    /// them is the inner one.
    pub(super) fn receive_bytes(
        &mut self,
        len: u64,
        waiting: &Waiting<'_>,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<io::Result<()>, Silence> {
        let mut buffer = vec![0; GROWTH_BYTES];
        let mut left = len;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.fill(&mut buffer[..part], waiting)?;
            if let Err(error) = take(&buffer[..part]) {
                return Ok(Err(error));
            }
            left -= part as u64;
        }
        Ok(Ok(()))
    }

    fn fill(&mut self, buffer: &mut [u8], waiting: &Waiting<'_>) -> Result<(), Silence> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.link.read(&mut buffer[filled..]) {
                Ok(0) => return Err(self.died(&io::ErrorKind::UnexpectedEof.into())),
                Ok(bytes) => filled += bytes,
                Err(error) if is_passing(&error) => {
                    waiting.check()?;
                    self.ask_for_piece(waiting)?;
                }
                Err(error) => return Err(self.died(&error)),
            }
        }
        Ok(())
    }

    /// Whether the process ends by itself before long.
    fn ends_within(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn died(&mut self, error: &io::Error) -> Silence {
        /// The end of what it said: earlier tasks may have left words too.
        const WORDS: usize = 4096;
        // It may hang with its end closed, or have sent what it should not have; then this ends it.
        let ended_alone = self.ends_within(DYING);
        let status = self.end();
        let mut text = Vec::new();
        // The error at the end is that there is no more for now.
        let _ = self.words.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(WORDS)..]);
        let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
        let killed = signal == Some(rustix::process::Signal::KILL.as_raw()) && ended_alone;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let words = text.trim().replace('\n', "; ");
        let reason = match (words.is_empty(), killed) {
            (true, true) => format!("{status}, which systems send that are short of memory"),
            (true, false) => format!("{status} ({error})"),
            (false, _) => format!("{status}: {words}"),
        };
        Silence::Died { signal, reason }
    }
}

impl Worker {
    /// Ends the process, if it has not ended: its keeper ends it when the parent hangs up.
    fn end(&mut self) -> io::Result<std::process::ExitStatus> {
        let _ = self.link.get_ref().shutdown(Shutdown::Both);
        if !cfg!(target_os = "linux") || !self.ends_within(DYING) {
            let _ = self.child.kill();
        }
        self.child.wait()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It holds nothing that must be saved, and it may be in the middle of a guest.
        let _ = self.end();
    }
}

/// Whether the call is to be made again: it was interrupted, or the time between two looks is over.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Sends bytes, with a descriptor if there is one. A worker that is gone is an error, and no signal.
pub(super) fn send_part(socket: &UnixStream, bytes: &[u8], file: Option<&File>) -> io::Result<usize> {
    let descriptors: Vec<_> = file.iter().map(|file| file.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, FLAGS)?)
}
