//! A worker process as its parent sees it.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::{Serialize, de::DeserializeOwned};

use super::protocol::{Role, encode, read_frame};
use crate::cancel::Cancel;

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
    child: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    /// What the worker wrote to standard error, for the message about its end.
    stderr: File,
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

/// How often a waiting parent looks whether it should still wait.
const TICK: Duration = Duration::from_millis(20);

/// How long a worker that has closed its pipe may take to end: the system frees its memory first.
const DYING: Duration = Duration::from_secs(2);

impl Worker {
    pub(super) fn start(command: &WorkerCommand, role: &Role) -> io::Result<Self> {
        let stderr = tempfile::tempfile()?;
        let mut child = Command::new(&command.program)
            .args(&command.args)
            .arg0("tidemill-worker")
            // A Ctrl-C at the terminal is the parent's to handle.
            .process_group(0)
            // Each arena reserves address space, which the compiling worker's limit counts.
            .env("MALLOC_ARENA_MAX", "2")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone()?)
            .spawn()?;
        let missing = || io::Error::other("the worker has no pipes");
        let requests = child.stdin.take().ok_or_else(missing)?;
        let replies = BufReader::with_capacity(64 << 10, child.stdout.take().ok_or_else(missing)?);
        let mut worker = Self { child, requests: Some(requests), replies, stderr };
        worker.send(&encode(role)?)?;
        Ok(worker)
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let requests = self.requests.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        requests.write_all(frame)?;
        requests.flush()
    }

    /// Whether the process has not ended yet.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a request and waits for its reply. After any [`Silence`] the worker is of no more use.
    pub(super) fn ask<T: DeserializeOwned>(
        &mut self,
        request: &impl Serialize,
        deadline: Instant,
        cancel: &Cancel,
    ) -> Result<T, Silence> {
        let frame = encode(request).map_err(|error| Silence::TooLong(error.to_string()))?;
        if !self.is_alive() {
            return Err(Silence::Gone);
        }
        if let Err(error) = self.send(&frame) {
            return Err(self.died(&error));
        }
        loop {
            if cancel.is_cancelled() {
                return Err(Silence::Cancelled);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Silence::TimedOut);
            }
            if self.wait_readable(left.min(TICK)) {
                break;
            }
        }
        // The worker writes a reply in one go, so the rest of it is on its way.
        read_frame(&mut self.replies).map_err(|error| self.died(&error))
    }

    /// Whether there is something to read, or the worker is gone.
    fn wait_readable(&self, at_most: Duration) -> bool {
        if !self.replies.buffer().is_empty() {
            return true;
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        let mut pipe = [PollFd::from_borrowed_fd(self.replies.get_ref().as_fd(), PollFlags::IN)];
        match poll(&mut pipe, Some(&timeout)) {
            Ok(count) => count > 0,
            Err(Errno::INTR) => false,
            // Reading will tell what is wrong.
            Err(_) => true,
        }
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
        // It may hang with its pipe closed; then this ends it.
        let ended_alone = self.ends_within(DYING);
        let _ = self.child.kill();
        let status = self.child.wait();
        // The end of what it said: earlier tasks may have left words too.
        const WORDS: u64 = 4096;
        let mut text = Vec::new();
        let len = self.stderr.metadata().map_or(0, |metadata| metadata.len());
        let _ = self.stderr.seek(SeekFrom::Start(len.saturating_sub(WORDS)));
        let _ = (&self.stderr).take(WORDS).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
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

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.requests.take());
        // It holds nothing that must be saved, and it may be in the middle of a guest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
