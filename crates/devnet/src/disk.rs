//! The ledger's directory: `ledger.json`, `blocks.log`, `snapshots/`, and the lock that keeps others out.

mod layout;
mod log;
mod snapshot;

pub(crate) use layout::{Layout, Manifest};
pub(crate) use log::{BlockLog, LogReader, Place, Scan};
pub(crate) use snapshot::{Snapshot, discard_after, load_best, save};
