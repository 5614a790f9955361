//! A worker process that hosts programs of another kind: confined and watched as those that run WebAssembly are, and
//! otherwise its own. What it and its parent say to each other is for whoever starts it; here are the two ends of the
//! socket. Other than a worker that runs one task, it has many under way at once, so both sides send when they like.
//!
//! Descriptors travel from the parent to the worker, one with a message. The worker opens nothing by itself.

use std::{
    fs::File,
    io,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use tidemill_types::ProgramKind;

use super::{
    link::Link,
    process::{Silence, Waiting, Worker, WorkerCommand, is_passing, send_part},
    protocol::{MAX_FRAME_BYTES, Role, encode, write_frame},
};
use crate::{
    cancel::Cancel,
    confine::{Confinement, Measure, UnlistedCalls, Work},
    control::Control,
};

/// How long a worker may take to read a message. One that serves reads at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a worker does once it is confined, until its parent hangs up.
pub type Serve = Box<dyn FnOnce(HostLink) -> io::Result<()>>;

/// What a program's workers may host.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Programs of this kind.
    pub kind: ProgramKind,
    /// Starts so many threads that compute, and whatever others it needs: afterwards there can be no more. Nothing of a
    /// stranger's has been read by then, and nothing may be opened.
    pub start: fn(u32) -> io::Result<Serve>,
}

/// The socket to the parent, as the worker has it.
pub struct HostLink {
    link: Link,
}

/// What a worker says to its parent. Clones say it to the same one, one message after another.
#[derive(Clone, Debug)]
pub struct HostWriter(Arc<Mutex<File>>);

impl HostLink {
    pub(super) fn new(link: Link) -> Self {
        Self { link }
    }

    /// What the worker writes with.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn writer(&self) -> io::Result<HostWriter> {
        Ok(HostWriter(Arc::new(Mutex::new(self.link.writer()?))))
    }

    /// Waits for the parent's next message.
    ///
    /// # Errors
    /// `UnexpectedEof` when the parent is gone, `InvalidData` for what is no message.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        self.link.receive()
    }

    /// The file that came with the last message.
    ///
    /// # Errors
    /// None came.
    pub fn file(&mut self) -> io::Result<File> {
        self.link.file()
    }
}

impl HostWriter {
    /// Sends a message; waits while the parent does not read.
    ///
    /// # Errors
    /// When the parent is gone, and `InvalidInput` for a message of more than a GiB.
    pub fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write_frame(&mut *file, message)
    }
}

/// A worker that hosts, as its parent hears it. Dropping it ends the process.
pub struct HostProcess {
    worker: Worker,
    control: Control,
}

/// What a parent says to a worker that hosts. Clones say it to the same one.
#[derive(Clone, Debug)]
pub struct HostSender(Arc<Mutex<UnixStream>>);

/// Why nothing more comes from a worker.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostEnd {
    /// It said nothing for as long as was waited.
    #[error("it said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// It was given up.
    #[error("it was ended")]
    Ended,
    /// It died, with what is known of it.
    #[error("{0}")]
    Died(String),
}

impl HostProcess {
    /// Starts a worker for programs of a kind, with so many threads that compute and at most so much memory of its own.
    ///
    /// # Errors
    /// When it cannot be started, or does not confine itself.
    pub fn start(
        command: &WorkerCommand,
        kind: ProgramKind,
        threads: u32,
        memory: u64,
        unlisted: UnlistedCalls,
    ) -> io::Result<(Self, HostSender)> {
        let mut worker = Worker::start(command, &Role { work: Work::Host { kind, threads }, unlisted })?;
        let allowed = worker.allow(memory);
        worker.note(Measure::Memory, allowed);
        let sender = HostSender(Arc::new(Mutex::new(worker.socket()?)));
        Ok((Self { worker, control: Control::default() }, sender))
    }

    /// What the system holds it to.
    pub fn confinement(&self) -> &Confinement {
        self.worker.confinement()
    }

    /// Set to give it up: [`Self::receive`] then returns.
    pub fn cancel(&self) -> Cancel {
        self.control.cancel.clone()
    }

    /// Its number, as this process knows it.
    pub fn pid(&self) -> u32 {
        self.worker.pid()
    }

    /// Waits for its next message.
    ///
    /// # Errors
    /// After any [`HostEnd`] it is of no more use.
    pub fn receive<T: DeserializeOwned>(&mut self, silence: Duration) -> Result<T, HostEnd> {
        let waiting = Waiting { deadline: Instant::now() + silence, control: &self.control };
        self.worker.receive(MAX_FRAME_BYTES, &waiting).map_err(|end| match end {
            Silence::TimedOut => HostEnd::Silent(silence),
            Silence::Cancelled => HostEnd::Ended,
            Silence::Gone => HostEnd::Died("it ended before it was asked".to_owned()),
            Silence::TooLong(reason) | Silence::Died { reason, .. } => HostEnd::Died(reason),
        })
    }
}

impl HostSender {
    /// Sends a message, with a file if there is one.
    ///
    /// # Errors
    /// When the worker is gone, does not read for a minute, or the message has more than a GiB.
    pub fn send(&self, message: &impl Serialize, file: Option<&File>) -> io::Result<()> {
        let frame = encode(message)?;
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + PATIENCE;
        let (mut sent, mut file) = (0, file);
        while sent < frame.len() {
            match send_part(&socket, &frame[sent..], file) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    sent += bytes;
                    file = None;
                }
                Err(error) if is_passing(&error) && Instant::now() < deadline => {}
                Err(error) if is_passing(&error) => {
                    // Half a message is the end of all messages.
                    let _ = socket.shutdown(std::net::Shutdown::Both);
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
