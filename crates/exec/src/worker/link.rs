//! The socket to the parent, as the worker has it.

use std::{
    fs::File,
    io::{self, BufReader, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::{Serialize, de::DeserializeOwned};

use super::protocol::{RangeReply, RunReply, read_frame, write_frame};
use crate::wasi::input::{Opened, Ranges};

/// Descriptors that are received close when a program is started in this process's place, which is never.
#[cfg(target_os = "linux")]
const FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const FLAGS: RecvFlags = RecvFlags::empty();

/// The worker's end of the socket.
pub(super) struct Link {
    reader: BufReader<Incoming>,
    writer: File,
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
        Ok(Self { reader, writer })
    }

    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        read_frame(&mut self.reader)
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

/// The link, shared with the inputs of the task that runs.
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
        match link.receive::<RangeReply>()? {
            RangeReply::File(offset) => Ok(Opened::File(link.file()?, offset)),
            RangeReply::Bytes(bytes) => Ok(Opened::Bytes(bytes)),
            RangeReply::Failed(reason) => Err(io::Error::other(reason)),
        }
    }
}
