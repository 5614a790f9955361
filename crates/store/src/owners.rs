//! How much is kept for whom: what a coordinator compares with the budget of a requester.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, Table};
use tidemill_types::{ByteSize, Principal};

use crate::{
    Holdings, LogRecord, ResultRecord,
    error::Fault,
    schema::{OWNERS, OwnerKey},
};

/// What a commit changes of it.
#[derive(Default)]
pub(crate) struct Changes(BTreeMap<Principal, Change>);

#[derive(Default)]
struct Change {
    jobs: i64,
    bytes: i128,
}

impl Changes {
    /// An owner has so many jobs and bytes more, or fewer.
    pub(crate) fn add(&mut self, owner: Principal, jobs: i64, bytes: i128) {
        let change = self.0.entry(owner).or_default();
        change.jobs += jobs;
        change.bytes += bytes;
    }

    /// Writes it down. Nothing is left of an owner without jobs.
    pub(crate) fn apply(self, owners: &mut Table<'_, OwnerKey, (u64, u64)>) -> Result<(), Fault> {
        for (owner, change) in self.0 {
            let key = owner.to_bytes();
            let former = owners.get(&key)?.map(|row| row.value());
            let (jobs, bytes) = former.unwrap_or_default();
            let jobs = jobs.saturating_add_signed(change.jobs);
            let bytes = u64::try_from((i128::from(bytes) + change.bytes).max(0)).unwrap_or(u64::MAX);
            if jobs == 0 {
                owners.remove(&key)?;
            } else {
                owners.insert(&key, (jobs, bytes))?;
            }
        }
        Ok(())
    }
}

/// What is kept for an owner.
pub(crate) fn holdings(read: &ReadTransaction, owner: Principal) -> Result<Holdings, Fault> {
    let owners = read.open_table(OWNERS)?;
    let row = owners.get(&owner.to_bytes())?.map(|row| row.value());
    let (jobs, bytes) = row.unwrap_or_default();
    Ok(Holdings { jobs, bytes: ByteSize(bytes) })
}

/// What is kept of a task that is done: its output, in the store or as a blob, and its log.
pub(crate) fn bytes_of(result: &ResultRecord, log: Option<&LogRecord>) -> u64 {
    result.output_len.0.saturating_add(log.map_or(0, |log| log.bytes.len() as u64))
}
