//! The socket to the parent, as the worker has it.

use std::{
    fs::File,
    io::{self, BufReader, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    num::NonZeroU64,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use serde::{Serialize, de::DeserializeOwned};

use super::protocol::{Piece, RangeReply, RunReply, ToRunning, read_frame, write_frame};
use crate::wasi::{
    input::{Opened, Ranges},
    written::{Cursor, Onlooker, Written},
};

/// Descriptors that are received close when a program is started in this process's place, which is never.
#[cfg(target_os = "linux")]
const FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const FLAGS: RecvFlags = RecvFlags::empty();

/// The worker's end of the socket.
pub(super) struct Link {
    reader: BufReader<Incoming>,
    writer: File,
    /// For which follow the parent has asked for a piece that it has not got.
    asked: Option<NonZeroU64>,
}

/// What comes from the parent: bytes, and now and then a descriptor.
struct Incoming {
    socket: File,
    received: Option<OwnedFd>,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(&self.socket, &mut [IoSliceMut::new(buffer)], &mut control, FLAGS)?;
        for ancillary in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = ancillary {
                self.received = descriptors.next();
            }
        }
        Ok(message.bytes)
    }
}

impl Link {
    pub(super) fn new(socket: File) -> io::Result<Self> {
        let writer = socket.try_clone()?;
        let reader = BufReader::with_capacity(64 << 10, Incoming { socket, received: None });
        Ok(Self { reader, writer, asked: None })
    }

    pub(super) fn writer(&self) -> io::Result<File> {
        self.writer.try_clone()
    }

    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        read_frame(&mut self.reader)
    }

    /// What a running worker is told next. That a piece of output is asked for is only noted.
    pub(super) fn told(&mut self) -> io::Result<ToRunning> {
        loop {
            match self.receive()? {
                ToRunning::Piece(follow) => self.asked = Some(follow),
                other => return Ok(other),
            }
        }
    }

    /// Waits for a task. Pieces that were asked for before are not of this one.
    pub(super) fn task(&mut self) -> io::Result<ToRunning> {
        let told = self.told();
        self.asked = None;
        told
    }

    /// For which follow a piece of output is asked for, as far as the parent's messages have arrived.
    fn asked(&mut self) -> io::Result<Option<NonZeroU64>> {
        while self.has_arrived()? {
            match self.receive()? {
                ToRunning::Piece(follow) => self.asked = Some(follow),
                _ => return Err(unexpected()),
            }
        }
        Ok(self.asked)
    }

    /// Whether something has come from the parent, the end aside. Never waits.
    fn has_arrived(&self) -> io::Result<bool> {
        if !self.reader.buffer().is_empty() {
            return Ok(true);
        }
        let socket = &self.reader.get_ref().socket;
        let (mut byte, flags) = ([0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        let mut control = RecvAncillaryBuffer::default();
        match recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
            Ok(message) => Ok(message.bytes > 0),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        write_frame(&mut self.writer, message)
    }

    /// Sends bytes that a message has announced.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// The file that came with the last message.
    pub(super) fn file(&mut self) -> io::Result<File> {
        let received = self.reader.get_mut().received.take();
        received.map(File::from).ok_or_else(|| io::Error::other("a message came without its file"))
    }
}

/// The error of a message that answers nothing.
pub(super) fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the parent answered what was not asked")
}

/// The link, shared with the inputs of the task that runs and with its onlooker.
#[derive(Clone)]
pub(super) struct SharedLink(Arc<Mutex<Link>>);

impl SharedLink {
    pub(super) fn new(link: Link) -> Self {
        Self(Arc::new(Mutex::new(link)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker opens nothing itself: it asks the parent, which knows what the task was given.
impl Ranges for SharedLink {
    fn open(&mut self, number: u32) -> io::Result<Opened> {
        let mut link = self.lock();
        link.send(&RunReply::NeedsRange(number))?;
        match link.told()? {
            ToRunning::Range(RangeReply::File(offset)) => Ok(Opened::File(link.file()?, offset)),
            ToRunning::Range(RangeReply::Bytes(bytes)) => Ok(Opened::Bytes(bytes)),
            ToRunning::Range(RangeReply::Failed(reason)) => Err(io::Error::other(reason)),
            _ => Err(unexpected()),
        }
    }
}

/// Shows the parent of a task what it writes, as the parent asks for it.
pub(super) struct Asked {
    link: SharedLink,
    cursor: Cursor,
    /// The link broke. The task goes on, and its worker finds out at the end.
    broken: bool,
}

impl Asked {
    pub(super) fn new(link: SharedLink) -> Self {
        Self { link, cursor: Cursor::default(), broken: false }
    }

    fn show(&mut self, written: &Written) -> io::Result<()> {
        let mut link = self.link.lock();
        let Some(follow) = link.asked()? else { return Ok(()) };
        let Some((offset, bytes)) = self.cursor.next(follow, written) else { return Ok(()) };
        link.asked = None;
        link.send(&RunReply::Piece(Piece { follow, offset, bytes }))
    }
}

impl Onlooker for Asked {
    fn look(&mut self, written: &Written) {
        self.broken = self.broken || self.show(written).is_err();
    }
}
