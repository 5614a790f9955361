//! Reads. Each sees the store as one commit left it.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable, TableDefinition};
use tidemill_types::{Address, BlobId, EscrowId, JobId, LeaseId, NodeId, Principal, TaskId, TaskNumber};

use crate::{
    AttemptRecord, BatchId, BatchRecord, DoneRecord, EscrowRecord, EscrowStage, EvidenceRecord, FailedTask,
    Found, Holdings, JobRecord, LogRecord, OpinionRecord, PayeeRecord, Recovered, ReputationKey, Store,
    StoreError, UnixMillis,
    error::Fault,
    owners,
    schema::{
        self, BATCHES, Bytes, DONE, ENDS, ESCROWS, EVIDENCE, EVIDENCE_READERS, FAILED, JOBS, JobKey, KEPT,
        LEASES, LOGS, OPEN, OPINIONS, ORDER, OUTPUTS, OWNED, PAYEES, REMOVING, REPUTATIONS, RUNNING, SPECS,
        SUSPECTS, TaskKey, USES, counter, decode, decode_lease, lease_key, lease_keys_of_job,
        lease_keys_of_task, lease_of, order_key, order_of, owned_key, owned_keys, owned_of, payee_keys,
        readers_of, suspect_of, task_key, task_keys, task_of,
    },
};

impl Store {
    /// All that a coordinator needs at its start, but for what grows with the size of its jobs: for that see
    /// [`Store::for_each_done`], [`Store::for_each_failed`] and [`Store::job_spec`].
    pub fn recover(&self) -> Result<Recovered, StoreError> {
        self.read(|read| {
            let counters = schema::counters(read)?;
            Ok(Recovered {
                jobs: running_jobs(read)?,
                leases: rows(read, LEASES, decode_lease)?,
                suspects: suspects(read)?,
                reputations: reputations(read)?,
                next_lease: LeaseId(schema::count(&counters, counter::NEXT_LEASE)?),
                next_batch: BatchId(schema::count(&counters, counter::NEXT_BATCH)?),
                open_batches: open_batches(read)?,
                escrows: open_escrows(read)?,
            })
        })
    }

    /// A job, without its specification.
    pub fn job(&self, job: JobId) -> Result<Option<JobRecord>, StoreError> {
        self.read(|read| get(read, JOBS, &job.0, decode))
    }

    /// A job's specification as it was submitted, in the coordinator's own encoding.
    pub fn job_spec(&self, job: JobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|read| get(read, SPECS, &job.0, |spec| Ok(spec.to_vec())))
    }

    /// Jobs, newest first, at most so many; those of one owner, or all. `after`: only those that come after the one that was
    /// submitted then and has this id, whether it is there or not.
    pub fn jobs(
        &self,
        owner: Option<Principal>,
        after: Option<(UnixMillis, JobId)>,
        limit: usize,
    ) -> Result<Vec<JobRecord>, StoreError> {
        self.read(|read| {
            let jobs = read.open_table(JOBS)?;
            let mut found = Vec::new();
            match owner {
                None => {
                    let last = after.map(|(at, job)| order_key(at, job));
                    let before = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                    let order = read.open_table(ORDER)?;
                    for row in order.range::<&[u8; 24]>((Bound::Unbounded, before))?.rev().take(limit) {
                        let (_, job) = order_of(row?.0.value());
                        found.push(job_in(&jobs, job)?);
                    }
                }
                Some(owner) => {
                    let (first, last) = owned_keys(owner);
                    let after = after.map(|(at, job)| owned_key(owner, at, job));
                    let before = after.as_ref().map_or(Bound::Included(&last), Bound::Excluded);
                    let owned = read.open_table(OWNED)?;
                    for row in owned.range::<&[u8; 57]>((Bound::Included(&first), before))?.rev().take(limit)
                    {
                        found.push(job_in(&jobs, owned_of(row?.0.value()))?);
                    }
                }
            }
            Ok(found)
        })
    }

    /// What is known of a job that is about to come in for an owner, and of the escrow that is to pay for it.
    pub fn look(&self, job: JobId, owner: Principal, escrow: Option<EscrowId>) -> Result<Found, StoreError> {
        self.read(|read| {
            let escrow: Option<EscrowRecord> = match escrow {
                Some(id) => get(read, ESCROWS, &id.0, decode)?,
                None => None,
            };
            Ok(Found {
                job: get(read, JOBS, &job.0, decode)?,
                is_removing: read.open_table(REMOVING)?.get(&job.0)?.is_some(),
                holdings: owners::holdings(read, owner)?,
                is_escrow_closed: escrow.is_some_and(|record| record.stage == EscrowStage::Closed),
            })
        })
    }

    /// What is kept for an owner of jobs.
    pub fn holdings(&self, owner: Principal) -> Result<Holdings, StoreError> {
        self.read(|read| owners::holdings(read, owner))
    }

    /// The jobs that ended at an instant or before it, those that ended first before the others, at most so many.
    pub fn ended_until(&self, at: UnixMillis, limit: usize) -> Result<Vec<JobId>, StoreError> {
        self.read(|read| {
            let (first, last) = ([0; 24], order_key(at, JobId([0xff; 16])));
            let mut found = Vec::new();
            for row in read.open_table(ENDS)?.range::<&[u8; 24]>(&first..=&last)?.take(limit) {
                let (_, job) = order_of(row?.0.value());
                found.push(job);
            }
            Ok(found)
        })
    }

    /// Whether a provider has a lease of a job that has not ended.
    pub fn has_lease(&self, job: JobId, provider: NodeId) -> Result<bool, StoreError> {
        self.read(|read| {
            let (first, last) = lease_keys_of_job(job);
            for row in read.open_table(LEASES)?.range::<&[u8; 32]>(&first..=&last)? {
                let (key, row) = row?;
                if decode_lease(key.value(), row.value())?.provider == provider {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// The result of a task, if it is done.
    pub fn task(&self, task: TaskId) -> Result<Option<DoneRecord>, StoreError> {
        self.read(|read| get(read, DONE, &task_key(task), decode))
    }

    /// The results of a job's tasks from a number on, in order, at most so many.
    pub fn tasks(
        &self,
        job: JobId,
        from: TaskNumber,
        limit: usize,
    ) -> Result<Vec<(TaskNumber, DoneRecord)>, StoreError> {
        self.read(|read| {
            let (first, last) = task_keys(job, from);
            let table = read.open_table(DONE)?;
            let rows = table.range::<&[u8; 24]>(&first..=&last)?.take(limit);
            rows.map(|row| {
                let (key, row) = row?;
                Ok((task_of(key.value()).task, decode(row.value())?))
            })
            .collect()
        })
    }

    /// Calls `each` for all done tasks of a job, in order. It must not call the store.
    pub fn for_each_done(
        &self,
        job: JobId,
        mut each: impl FnMut(TaskNumber, DoneRecord),
    ) -> Result<(), StoreError> {
        self.walk(DONE, job, |task, row| {
            each(task, decode(row)?);
            Ok(())
        })
    }

    /// Calls `each` for all tasks of a job that have failed attempts, in order, also for those that were
    /// done later. It must not call the store.
    pub fn for_each_failed(
        &self,
        job: JobId,
        mut each: impl FnMut(TaskNumber, FailedTask),
    ) -> Result<(), StoreError> {
        self.walk(FAILED, job, |task, row| {
            each(task, decode(row)?);
            Ok(())
        })
    }

    /// Calls `each` for all results of a job that did not decide their task alone, by task and lease, also of those that
    /// are done by now. It must not call the store.
    pub fn for_each_opinion(
        &self,
        job: JobId,
        mut each: impl FnMut(TaskNumber, OpinionRecord),
    ) -> Result<(), StoreError> {
        self.read(|read| {
            let (first, last) = lease_keys_of_job(job);
            for row in read.open_table(OPINIONS)?.range::<&[u8; 32]>(&first..=&last)? {
                let (key, row) = row?;
                each(lease_of(key.value()).0.task, decode(row.value())?);
            }
            Ok(())
        })
    }

    /// The small output that came with an opinion of a task that is not done; none where it is a blob.
    pub fn kept_output(&self, task: TaskId, output: BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|read| {
            let (kept, opinions) = (read.open_table(KEPT)?, read.open_table(OPINIONS)?);
            let (bytes, _) = schema::kept_with(&kept, &opinions, task, output)?;
            Ok(bytes)
        })
    }

    /// The results of a task that did not decide it alone, oldest lease first.
    pub fn opinions(&self, task: TaskId) -> Result<Vec<OpinionRecord>, StoreError> {
        self.read(|read| {
            let (first, last) = lease_keys_of_task(task);
            let table = read.open_table(OPINIONS)?;
            table.range::<&[u8; 32]>(&first..=&last)?.map(|row| decode(row?.1.value())).collect()
        })
    }

    /// The output of a done task, where the store keeps it itself; otherwise it is a blob.
    pub fn output(&self, task: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|read| get(read, OUTPUTS, &task_key(task), |output| Ok(output.to_vec())))
    }

    /// What a done task wrote to standard error.
    pub fn log(&self, task: TaskId) -> Result<Option<LogRecord>, StoreError> {
        self.read(|read| get(read, LOGS, &task_key(task), decode))
    }

    /// The failed attempts at a task that are kept, oldest first.
    pub fn attempts(&self, task: TaskId) -> Result<Vec<AttemptRecord>, StoreError> {
        let found: Option<FailedTask> = self.read(|read| get(read, FAILED, &task_key(task), decode))?;
        Ok(found.unwrap_or_default().kept)
    }

    /// How many results of a task there is evidence of that they contradict the accepted one.
    pub fn evidence_count(&self, task: TaskId) -> Result<usize, StoreError> {
        self.read(|read| {
            let (first, last) = lease_keys_of_task(task);
            Ok(read.open_table(EVIDENCE)?.range::<&[u8; 32]>(&first..=&last)?.count())
        })
    }

    /// The evidence that is kept of a task's results from a lease on, by their leases, whether its job is there or not: of
    /// what is wanted so much as so many bytes hold, and at least one. `is_wanted` is asked with the requester whose job it is
    /// of and the key that signed the contradicting result; what is not wanted is not read.
    pub fn evidence(
        &self,
        task: TaskId,
        from: LeaseId,
        most_bytes: usize,
        is_wanted: impl Fn(Principal, Address) -> bool,
    ) -> Result<Vec<EvidenceRecord>, StoreError> {
        self.read(|read| {
            let (first, (_, last)) = (lease_key(task, from), lease_keys_of_task(task));
            let (mut found, mut bytes) = (Vec::new(), 0);
            let evidence = read.open_table(EVIDENCE)?;
            for readers in read.open_table(EVIDENCE_READERS)?.range::<&[u8; 32]>(&first..=&last)? {
                let (lease, readers) = readers?;
                let (owner, signer) = readers_of(readers.value())?;
                if !is_wanted(owner, signer) {
                    continue;
                }
                let Some(row) = evidence.get(lease.value())? else { continue };
                bytes += row.value().len();
                if bytes > most_bytes && !found.is_empty() {
                    break;
                }
                found.push(decode(row.value())?);
            }
            Ok(found)
        })
    }

    /// A signed batch.
    pub fn batch(&self, id: BatchId) -> Result<Option<BatchRecord>, StoreError> {
        self.read(|read| {
            let table = read.open_table(BATCHES)?;
            table.get(id.0)?.map(|row| decode(row.value())).transpose()
        })
    }

    /// An escrow with its payees.
    pub fn escrow(&self, id: EscrowId) -> Result<Option<(EscrowRecord, Vec<PayeeRecord>)>, StoreError> {
        self.read(|read| {
            let Some(record) = get(read, ESCROWS, &id.0, decode)? else { return Ok(None) };
            Ok(Some((record, payees(read, id)?)))
        })
    }

    fn walk(
        &self,
        table: TableDefinition<TaskKey, Bytes>,
        job: JobId,
        mut each: impl FnMut(TaskNumber, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), StoreError> {
        self.read(|read| {
            let (first, last) = task_keys(job, TaskNumber(0));
            for row in read.open_table(table)?.range::<&[u8; 24]>(&first..=&last)? {
                let (key, row) = row?;
                each(task_of(key.value()).task, row.value())?;
            }
            Ok(())
        })
    }
}

/// The row under a key, decoded.
fn get<const N: usize, T>(
    read: &ReadTransaction,
    table: TableDefinition<&'static [u8; N], Bytes>,
    key: &[u8; N],
    decode: impl FnOnce(&[u8]) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let table = read.open_table(table)?;
    let row = ReadableTable::get(&table, key)?;
    row.map(|row| decode(row.value())).transpose()
}

/// All rows, decoded.
fn rows<const N: usize, T>(
    read: &ReadTransaction,
    table: TableDefinition<&'static [u8; N], Bytes>,
    decode: impl Fn(&[u8; N], &[u8]) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let table = read.open_table(table)?;
    let rows = table.iter()?;
    rows.map(|row| {
        let (key, row) = row?;
        decode(key.value(), row.value())
    })
    .collect()
}

/// The row of a job that a table of keys names.
fn job_in(jobs: &impl ReadableTable<JobKey, Bytes>, job: JobId) -> Result<JobRecord, Fault> {
    let row = jobs.get(&job.0)?;
    let row = row.ok_or_else(|| Fault::Damaged(format!("job {job} is missing")))?;
    decode(row.value())
}

fn running_jobs(read: &ReadTransaction) -> Result<Vec<JobRecord>, Fault> {
    let (running, jobs) = (read.open_table(RUNNING)?, read.open_table(JOBS)?);
    let mut found = Vec::new();
    for row in running.iter()? {
        found.push(job_in(&jobs, JobId(*row?.0.value()))?);
    }
    Ok(found)
}

fn suspects(read: &ReadTransaction) -> Result<Vec<(JobId, Address)>, Fault> {
    let table = read.open_table(SUSPECTS)?;
    let keys = table.iter()?;
    keys.map(|row| Ok(suspect_of(row?.0.value()))).collect()
}

fn reputations(read: &ReadTransaction) -> Result<Vec<(ReputationKey, Vec<u8>)>, Fault> {
    let table = read.open_table(REPUTATIONS)?;
    let rows = table.iter()?;
    rows.map(|row| {
        let (key, row) = row?;
        Ok((decode(key.value())?, row.value().to_vec()))
    })
    .collect()
}

fn open_escrows(read: &ReadTransaction) -> Result<Vec<(EscrowRecord, Vec<PayeeRecord>)>, Fault> {
    let (open, escrows) = (read.open_table(OPEN)?, read.open_table(ESCROWS)?);
    let mut found = Vec::new();
    for row in open.iter()? {
        let id = EscrowId(*row?.0.value());
        let row = escrows.get(&id.0)?;
        let row = row.ok_or_else(|| Fault::Damaged(format!("escrow {id} is missing")))?;
        found.push((decode(row.value())?, payees(read, id)?));
    }
    Ok(found)
}

fn payees(read: &ReadTransaction, escrow: EscrowId) -> Result<Vec<PayeeRecord>, Fault> {
    let (first, last) = payee_keys(escrow);
    let table = read.open_table(PAYEES)?;
    let rows = table.range::<&[u8; 52]>(&first..=&last)?;
    rows.map(|row| decode(row?.1.value())).collect()
}

fn open_batches(read: &ReadTransaction) -> Result<Vec<BatchId>, Fault> {
    let mut open = Vec::new();
    for row in read.open_table(USES)?.iter()? {
        let (id, uses) = row?;
        if uses.value().2 {
            open.push(BatchId(id.value()));
        }
    }
    Ok(open)
}
