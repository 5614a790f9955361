//! A disk in memory that runs full, refuses, and loses what was not synced.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use redb::{Builder, StorageBackend};

use crate::{Store, StoreError};

/// Handles of the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Step>,
    /// Steps until the disk fails, if it shall, and how it does.
    fails: Option<(u64, io::ErrorKind)>,
}

#[derive(Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl Disk {
    pub(super) fn open(&self) -> Result<Store, StoreError> {
        let disk = self.clone();
        let open = move || Builder::new().set_cache_size(1 << 20).create_with_backend(disk.clone());
        Store::open_with(PathBuf::from("a disk in memory"), None, Box::new(open))
    }

    /// From so many writes and syncs on, all of them fail.
    pub(super) fn fail_after(&self, steps: u64, kind: io::ErrorKind) {
        self.state().fails = Some((steps, kind));
    }

    pub(super) fn works_again(&self) {
        self.state().fails = None;
    }

    /// The power goes and comes back: of what was not synced, some reached the disk and some did not.
    pub(super) fn lose_power(&self, mut chance: u64) {
        let mut state = self.state();
        let mut disk = std::mem::take(&mut state.synced);
        for step in state.pending.drain(..) {
            // Xorshift: any stretch of bits will do.
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            match step {
                Step::Resize(len) => disk.resize(len, 0),
                Step::Write(at, bytes) if !chance.is_multiple_of(3) => {
                    disk[at..at + bytes.len()].copy_from_slice(&bytes)
                }
                Step::Write(..) => {}
            }
        }
        *state = State { now: disk.clone(), synced: disk, ..State::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the disk")
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.fails {
            Some((0, kind)) => Err((*kind).into()),
            Some((steps, _)) => {
                *steps -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        let state = self.state();
        let bytes = state.now.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.now.resize(len as usize, 0);
        state.pending.push(Step::Resize(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.synced = state.now.clone();
        state.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let at = offset as usize;
        state.now[at..at + data.len()].copy_from_slice(data);
        state.pending.push(Step::Write(at, data.to_vec()));
        Ok(())
    }
}
