//! The tables and how their rows are encoded. All of a job's rows in a table lie together, in the order of
//! its tasks, so that what a commit touches is near what the last one touched.
//!
//! Keys are big-endian so that they sort as numbers; values are postcard.

use redb::{ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};
use tidemill_types::{Address, BlobId, EscrowId, JobId, LeaseId, NodeId, Principal, TaskId, TaskNumber};

use crate::{LeaseRecord, LogRecord, OpinionRecord, ReputationKey, UnixMillis, error::Fault};

/// The version of all that this module says. A store of another version is not opened.
pub(crate) const VERSION: u64 = 8;

/// A job.
pub(crate) type JobKey = &'static [u8; 16];
/// A task: its job, its number.
pub(crate) type TaskKey = &'static [u8; 24];
/// A lease: its task, its number.
pub(crate) type LeaseKey = &'static [u8; 32];
/// A job by its time of submission.
pub(crate) type OrderKey = &'static [u8; 24];
/// An escrow.
pub(crate) type EscrowKey = &'static [u8; 32];
/// A payee of an escrow: the escrow, its account.
pub(crate) type PayeeKey = &'static [u8; 52];
/// Somebody that was caught while a job runs: the job, the account.
pub(crate) type SuspectKey = &'static [u8; 36];
/// An owner of jobs.
pub(crate) type OwnerKey = &'static [u8; Principal::BYTES];
/// A job of an owner by its time of submission: the owner, the time, the job.
pub(crate) type OwnedKey = &'static [u8; 57];
/// Evidence by the account of the contradicting result: the account, the result's lease.
pub(crate) type EvidenceOfKey = &'static [u8; 52];
/// Evidence by the time of its end: the time, the contradicting result's lease.
pub(crate) type EvidenceEndKey = &'static [u8; 40];
/// Evidence by the requester whose job it is of: the requester, the time at which it was found, the result's lease.
pub(crate) type EvidenceOwnedKey = &'static [u8; 73];
/// Who may read a piece of evidence: the requester, the key that signed the contradicting result.
pub(crate) type EvidenceReaders = &'static [u8; 53];
/// How many leaves a batch has, how many results refer to it, whether it is open for more.
pub(crate) type UsesRow = (u32, u32, bool);
/// What came with an opinion: its small output, and its log.
pub(crate) type Kept = (Option<Vec<u8>>, Option<LogRecord>);
/// An encoded row.
pub(crate) type Bytes = &'static [u8];

pub(crate) const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
pub(crate) const JOBS: TableDefinition<JobKey, Bytes> = TableDefinition::new("jobs");
/// All jobs by the time of their submission, to list them newest first.
pub(crate) const ORDER: TableDefinition<OrderKey, ()> = TableDefinition::new("order");
/// The same for each owner.
pub(crate) const OWNED: TableDefinition<OwnedKey, ()> = TableDefinition::new("owned");
/// How many jobs are kept for each owner, and how many bytes.
pub(crate) const OWNERS: TableDefinition<OwnerKey, (u64, u64)> = TableDefinition::new("owners");
/// Jobs that have not ended.
pub(crate) const RUNNING: TableDefinition<JobKey, ()> = TableDefinition::new("running");
/// Jobs that have, by the time of their end.
pub(crate) const ENDS: TableDefinition<OrderKey, ()> = TableDefinition::new("ends");
pub(crate) const SPECS: TableDefinition<JobKey, Bytes> = TableDefinition::new("specs");
/// Jobs that were removed and whose tasks' rows are not all swept.
pub(crate) const REMOVING: TableDefinition<JobKey, ()> = TableDefinition::new("removing");
pub(crate) const LEASES: TableDefinition<LeaseKey, Bytes> = TableDefinition::new("leases");
pub(crate) const DONE: TableDefinition<TaskKey, Bytes> = TableDefinition::new("done");
/// Small outputs, apart from [`DONE`] so that walking through a job's tasks does not read them.
pub(crate) const OUTPUTS: TableDefinition<TaskKey, Bytes> = TableDefinition::new("outputs");
pub(crate) const LOGS: TableDefinition<TaskKey, Bytes> = TableDefinition::new("logs");
pub(crate) const FAILED: TableDefinition<TaskKey, Bytes> = TableDefinition::new("failed");
/// Results of tasks that one alone does not decide, or did not.
pub(crate) const OPINIONS: TableDefinition<LeaseKey, Bytes> = TableDefinition::new("opinions");
/// What came with those that are not decided: the small output and the log of the first of each answer.
pub(crate) const KEPT: TableDefinition<LeaseKey, Bytes> = TableDefinition::new("kept");
pub(crate) const SUSPECTS: TableDefinition<SuspectKey, ()> = TableDefinition::new("suspects");
pub(crate) const REPUTATIONS: TableDefinition<&[u8], Bytes> = TableDefinition::new("reputations");
pub(crate) const BATCHES: TableDefinition<u64, Bytes> = TableDefinition::new("batches");
/// What a batch is kept for.
pub(crate) const USES: TableDefinition<u64, UsesRow> = TableDefinition::new("uses");
/// Results that contradict accepted ones, with these, by the leases of the contradicting ones. They outlive their jobs.
pub(crate) const EVIDENCE: TableDefinition<LeaseKey, Bytes> = TableDefinition::new("evidence");
pub(crate) const EVIDENCE_OF: TableDefinition<EvidenceOfKey, ()> = TableDefinition::new("evidence of");
pub(crate) const EVIDENCE_ENDS: TableDefinition<EvidenceEndKey, ()> = TableDefinition::new("evidence ends");
/// Apart from [`EVIDENCE`], so that nothing long is read for somebody who may not read it.
pub(crate) const EVIDENCE_READERS: TableDefinition<LeaseKey, EvidenceReaders> =
    TableDefinition::new("evidence readers");
/// How many bytes each piece has.
pub(crate) const EVIDENCE_OWNED: TableDefinition<EvidenceOwnedKey, u64> =
    TableDefinition::new("evidence owned");
/// How many bytes all of a requester's have.
pub(crate) const EVIDENCE_BYTES: TableDefinition<OwnerKey, u64> = TableDefinition::new("evidence bytes");

pub(crate) const ESCROWS: TableDefinition<EscrowKey, Bytes> = TableDefinition::new("escrows");
/// Escrows that are not closed.
pub(crate) const OPEN: TableDefinition<EscrowKey, ()> = TableDefinition::new("open escrows");
pub(crate) const PAYEES: TableDefinition<PayeeKey, Bytes> = TableDefinition::new("payees");

/// The rows of [`COUNTERS`].
pub(crate) mod counter {
    pub(crate) const VERSION: &str = "version";
    /// How many commits there were: tells whether a commit that failed midway is in the file.
    pub(crate) const SEQUENCE: &str = "sequence";
    pub(crate) const NEXT_LEASE: &str = "next lease";
    pub(crate) const NEXT_BATCH: &str = "next batch";
    /// How many bytes all evidence has.
    pub(crate) const EVIDENCE_BYTES: &str = "evidence bytes";
}

/// Brings an empty database to the current version; refuses one of another.
pub(crate) fn prepare(db: &redb::Database) -> Result<(), Fault> {
    let read = db.begin_read()?;
    if read.list_tables()?.next().is_some() {
        return match counters(&read)?.get(counter::VERSION)?.map(|row| row.value()) {
            Some(VERSION) => Ok(()),
            Some(found) if found > VERSION => Err(Fault::Newer(found)),
            Some(found) if found > 0 => Err(Fault::Older(found)),
            found => Err(Fault::Damaged(format!("its format is {found:?}, which never was"))),
        };
    }
    drop(read);
    let write = db.begin_write()?;
    {
        let mut counters = write.open_table(COUNTERS)?;
        counters.insert(counter::VERSION, VERSION)?;
        for name in [counter::SEQUENCE, counter::NEXT_LEASE, counter::NEXT_BATCH, counter::EVIDENCE_BYTES] {
            counters.insert(name, 0)?;
        }
    }
    drop(Tables::open(&write)?);
    write.commit()?;
    Ok(())
}

pub(crate) fn counters(read: &ReadTransaction) -> Result<redb::ReadOnlyTable<&'static str, u64>, Fault> {
    Ok(read.open_table(COUNTERS)?)
}

/// A counter's value.
pub(crate) fn count(counters: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, Fault> {
    let row = counters.get(name)?;
    row.map(|row| row.value()).ok_or_else(|| Fault::Damaged(format!("the counter {name:?} is missing")))
}

/// All tables, open for writing.
pub(crate) struct Tables<'t> {
    pub(crate) counters: Table<'t, &'static str, u64>,
    pub(crate) jobs: Table<'t, JobKey, Bytes>,
    pub(crate) order: Table<'t, OrderKey, ()>,
    pub(crate) owned: Table<'t, OwnedKey, ()>,
    pub(crate) owners: Table<'t, OwnerKey, (u64, u64)>,
    pub(crate) running: Table<'t, JobKey, ()>,
    pub(crate) ends: Table<'t, OrderKey, ()>,
    pub(crate) specs: Table<'t, JobKey, Bytes>,
    pub(crate) removing: Table<'t, JobKey, ()>,
    pub(crate) leases: Table<'t, LeaseKey, Bytes>,
    pub(crate) done: Table<'t, TaskKey, Bytes>,
    pub(crate) outputs: Table<'t, TaskKey, Bytes>,
    pub(crate) logs: Table<'t, TaskKey, Bytes>,
    pub(crate) failed: Table<'t, TaskKey, Bytes>,
    pub(crate) opinions: Table<'t, LeaseKey, Bytes>,
    pub(crate) kept: Table<'t, LeaseKey, Bytes>,
    pub(crate) suspects: Table<'t, SuspectKey, ()>,
    pub(crate) reputations: Table<'t, &'static [u8], Bytes>,
    pub(crate) batches: Table<'t, u64, Bytes>,
    pub(crate) uses: Table<'t, u64, UsesRow>,
    pub(crate) evidence: Table<'t, LeaseKey, Bytes>,
    pub(crate) evidence_of: Table<'t, EvidenceOfKey, ()>,
    pub(crate) evidence_ends: Table<'t, EvidenceEndKey, ()>,
    pub(crate) evidence_readers: Table<'t, LeaseKey, EvidenceReaders>,
    pub(crate) evidence_owned: Table<'t, EvidenceOwnedKey, u64>,
    pub(crate) evidence_bytes: Table<'t, OwnerKey, u64>,
    pub(crate) escrows: Table<'t, EscrowKey, Bytes>,
    pub(crate) open: Table<'t, EscrowKey, ()>,
    pub(crate) payees: Table<'t, PayeeKey, Bytes>,
}

impl<'t> Tables<'t> {
    pub(crate) fn open(write: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            counters: write.open_table(COUNTERS)?,
            jobs: write.open_table(JOBS)?,
            order: write.open_table(ORDER)?,
            owned: write.open_table(OWNED)?,
            owners: write.open_table(OWNERS)?,
            running: write.open_table(RUNNING)?,
            ends: write.open_table(ENDS)?,
            specs: write.open_table(SPECS)?,
            removing: write.open_table(REMOVING)?,
            leases: write.open_table(LEASES)?,
            done: write.open_table(DONE)?,
            outputs: write.open_table(OUTPUTS)?,
            logs: write.open_table(LOGS)?,
            failed: write.open_table(FAILED)?,
            opinions: write.open_table(OPINIONS)?,
            kept: write.open_table(KEPT)?,
            suspects: write.open_table(SUSPECTS)?,
            reputations: write.open_table(REPUTATIONS)?,
            batches: write.open_table(BATCHES)?,
            uses: write.open_table(USES)?,
            evidence: write.open_table(EVIDENCE)?,
            evidence_of: write.open_table(EVIDENCE_OF)?,
            evidence_ends: write.open_table(EVIDENCE_ENDS)?,
            evidence_readers: write.open_table(EVIDENCE_READERS)?,
            evidence_owned: write.open_table(EVIDENCE_OWNED)?,
            evidence_bytes: write.open_table(EVIDENCE_BYTES)?,
            escrows: write.open_table(ESCROWS)?,
            open: write.open_table(OPEN)?,
            payees: write.open_table(PAYEES)?,
        })
    }
}

pub(crate) fn task_key(task: TaskId) -> [u8; 24] {
    join(&task.job.0, task.task.0)
}

/// An account, what its results are of.
pub(crate) fn reputation_key(key: &ReputationKey) -> Vec<u8> {
    encode(key)
}

/// The task of a key in [`DONE`] and its like.
pub(crate) fn task_of(key: &[u8; 24]) -> TaskId {
    let (job, number) = split(key);
    TaskId { job: JobId(job), task: TaskNumber(number) }
}

pub(crate) fn lease_key(task: TaskId, lease: LeaseId) -> [u8; 32] {
    join(&task_key(task), lease.0)
}

/// The task and the lease of a key in [`OPINIONS`] and its like.
pub(crate) fn lease_of(key: &[u8; 32]) -> (TaskId, LeaseId) {
    let (task, id) = split(key);
    (task_of(&task), LeaseId(id))
}

/// The keys of a task's leases lie between these two.
pub(crate) fn lease_keys_of_task(task: TaskId) -> ([u8; 32], [u8; 32]) {
    (lease_key(task, LeaseId(0)), lease_key(task, LeaseId(u64::MAX)))
}

/// The keys of a job's leases lie between these two.
pub(crate) fn lease_keys_of_job(job: JobId) -> ([u8; 32], [u8; 32]) {
    let task = |number| TaskId { job, task: TaskNumber(number) };
    (lease_key(task(0), LeaseId(0)), lease_key(task(u64::MAX), LeaseId(u64::MAX)))
}

/// The keys of a job's tasks from a number on lie between these two.
pub(crate) fn task_keys(job: JobId, from: TaskNumber) -> ([u8; 24], [u8; 24]) {
    (task_key(TaskId { job, task: from }), task_key(TaskId { job, task: TaskNumber(u64::MAX) }))
}

pub(crate) fn suspect_key(job: JobId, operator: Address) -> [u8; 36] {
    let mut key = [0; 36];
    key[..16].copy_from_slice(&job.0);
    key[16..].copy_from_slice(&operator.0);
    key
}

/// The keys of a job's suspects lie between these two.
pub(crate) fn suspect_keys(job: JobId) -> ([u8; 36], [u8; 36]) {
    (suspect_key(job, Address([0; 20])), suspect_key(job, Address([0xff; 20])))
}

/// The job and the account of a key in [`SUSPECTS`].
pub(crate) fn suspect_of(key: &[u8; 36]) -> (JobId, Address) {
    let (job, operator) = key.split_first_chunk().expect("a key of 36 bytes begins with 16");
    (JobId(*job), Address(operator.try_into().expect("20 of 36 bytes are left")))
}

pub(crate) fn payee_key(escrow: EscrowId, operator: Address) -> [u8; 52] {
    let mut key = [0; 52];
    key[..32].copy_from_slice(&escrow.0);
    key[32..].copy_from_slice(&operator.0);
    key
}

/// The keys of an escrow's payees lie between these two.
pub(crate) fn payee_keys(escrow: EscrowId) -> ([u8; 52], [u8; 52]) {
    (payee_key(escrow, Address([0; 20])), payee_key(escrow, Address([0xff; 20])))
}

/// The account and the lease of a result that contradicts an accepted one.
pub(crate) fn evidence_of_key(operator: Address, lease: &[u8; 32]) -> [u8; 52] {
    let mut key = [0; 52];
    key[..20].copy_from_slice(&operator.0);
    key[20..].copy_from_slice(lease);
    key
}

/// The requester whose job it is of, the time at which it was found, and the lease that it is of.
pub(crate) fn evidence_owned_key(owner: Principal, at: UnixMillis, lease: &[u8; 32]) -> [u8; 73] {
    let mut key = [0; 73];
    key[..Principal::BYTES].copy_from_slice(&owner.to_bytes());
    key[Principal::BYTES..41].copy_from_slice(&at.0.to_be_bytes());
    key[41..].copy_from_slice(lease);
    key
}

/// Who may read a piece of evidence.
pub(crate) fn evidence_readers(owner: Principal, signer: Address) -> [u8; 53] {
    let mut row = [0; 53];
    row[..Principal::BYTES].copy_from_slice(&owner.to_bytes());
    row[Principal::BYTES..].copy_from_slice(&signer.0);
    row
}

/// The requester and the signer of a row of [`EVIDENCE_READERS`].
pub(crate) fn readers_of(row: &[u8; 53]) -> Result<(Principal, Address), Fault> {
    let (owner, signer) = row.split_first_chunk().expect("a row of 53 bytes begins with 33");
    Ok((owner_of(owner)?, Address(signer.try_into().expect("20 of 53 bytes are left"))))
}

/// The owner of a key in [`OWNERS`] and its like.
pub(crate) fn owner_of(key: &[u8; Principal::BYTES]) -> Result<Principal, Fault> {
    Principal::from_bytes(key).ok_or_else(|| Fault::Damaged("an owner of jobs is nobody".to_owned()))
}

/// The time at which evidence ends, and the lease that it is of.
pub(crate) fn evidence_end_key(until: UnixMillis, lease: &[u8; 32]) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&until.0.to_be_bytes());
    key[8..].copy_from_slice(lease);
    key
}

pub(crate) fn order_key(at: UnixMillis, job: JobId) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&at.0.to_be_bytes());
    key[8..].copy_from_slice(&job.0);
    key
}

pub(crate) fn owned_key(owner: Principal, at: UnixMillis, job: JobId) -> [u8; 57] {
    let mut key = [0; 57];
    key[..Principal::BYTES].copy_from_slice(&owner.to_bytes());
    key[Principal::BYTES..].copy_from_slice(&order_key(at, job));
    key
}

/// The keys of an owner's jobs lie between these two.
pub(crate) fn owned_keys(owner: Principal) -> ([u8; 57], [u8; 57]) {
    (
        owned_key(owner, UnixMillis(0), JobId([0; 16])),
        owned_key(owner, UnixMillis(u64::MAX), JobId([0xff; 16])),
    )
}

/// The job of a key in [`OWNED`].
pub(crate) fn owned_of(key: &[u8; 57]) -> JobId {
    JobId(*key.last_chunk().expect("a key of 57 bytes ends with 16"))
}

/// The time and the job of a key in [`ORDER`] or [`ENDS`].
pub(crate) fn order_of(key: &[u8; 24]) -> (UnixMillis, JobId) {
    let (at, job) = key.split_first_chunk().expect("a key of 24 bytes begins with 8");
    (UnixMillis(u64::from_be_bytes(*at)), JobId(job.try_into().expect("16 of 24 bytes are left")))
}

/// What came with the first opinion of a task that has this output.
pub(crate) fn kept_with(
    kept: &impl ReadableTable<LeaseKey, Bytes>,
    opinions: &impl ReadableTable<LeaseKey, Bytes>,
    task: TaskId,
    output: BlobId,
) -> Result<Kept, Fault> {
    let (first, last) = lease_keys_of_task(task);
    for row in kept.range::<&[u8; 32]>(&first..=&last)? {
        let (key, row) = row?;
        let opinion = opinions.get(key.value())?;
        let opinion = opinion.map(|row| decode::<OpinionRecord>(row.value())).transpose()?;
        if opinion.is_some_and(|opinion| opinion.result.output == output) {
            return decode(row.value());
        }
    }
    Ok(Kept::default())
}

/// What a lease's key does not say: provider, operator, time, whether the answer is known, work.
type LeaseRow<Work> = (NodeId, Address, UnixMillis, bool, Work);

pub(crate) fn encode_lease(lease: &LeaseRecord) -> Vec<u8> {
    let row: LeaseRow<&[u8]> = (lease.provider, lease.operator, lease.at, lease.is_known, &lease.work);
    encode(&row)
}

pub(crate) fn decode_lease(key: &[u8; 32], bytes: &[u8]) -> Result<LeaseRecord, Fault> {
    let (task, id) = lease_of(key);
    let (provider, operator, at, is_known, work): LeaseRow<Vec<u8>> = decode(bytes)?;
    Ok(LeaseRecord { id, task, provider, operator, at, is_known, work })
}

pub(crate) fn encode(row: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(row).expect("rows are plain data of known length")
}

pub(crate) fn decode<Row: DeserializeOwned>(bytes: &[u8]) -> Result<Row, Fault> {
    Ok(postcard::from_bytes(bytes)?)
}

fn join<const N: usize, const M: usize>(prefix: &[u8; N], number: u64) -> [u8; M] {
    const { assert!(M == N + 8) };
    let mut key = [0; M];
    key[..N].copy_from_slice(prefix);
    key[N..].copy_from_slice(&number.to_be_bytes());
    key
}

fn split<const N: usize, const M: usize>(key: &[u8; M]) -> ([u8; N], u64) {
    const { assert!(M == N + 8) };
    let (prefix, number) = key.split_last_chunk().expect("a key ends with a number of 8 bytes");
    (prefix.try_into().expect("the rest of the key is its prefix"), u64::from_be_bytes(*number))
}
