//! Walks through everything and says what does not fit together.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition};
use tidemill_types::{Address, Amount, EscrowId, JobId, Principal, TaskId};

use crate::{
    BatchRecord, DoneRecord, EscrowRecord, EscrowStage, EvidenceRecord, FailedTask, JobEnd, JobRecord,
    LogRecord, MAX_ATTEMPTS_KEPT, MAX_EVIDENCE_BYTES_OF_ALL, MAX_EVIDENCE_BYTES_OF_OWNER,
    MAX_EVIDENCE_OF_JOB, MAX_EVIDENCE_OF_OPERATOR, MAX_EVIDENCE_OF_OPERATOR_IN_JOB, OpinionRecord,
    PayeeRecord, ResultRecord, Store,
    error::Fault,
    owners::bytes_of,
    schema::{
        self, BATCHES, Bytes, DONE, ENDS, ESCROWS, EVIDENCE, EVIDENCE_BYTES, EVIDENCE_ENDS, EVIDENCE_OF,
        EVIDENCE_OWNED, EVIDENCE_READERS, FAILED, JOBS, KEPT, LEASES, LOGS, OPEN, OPINIONS, ORDER, OUTPUTS,
        OWNED, OWNERS, PAYEES, REMOVING, RUNNING, SPECS, SUSPECTS, TaskKey, USES, counter, decode,
        decode_lease, evidence_end_key, evidence_of_key, evidence_owned_key, evidence_readers, lease_of,
        order_key, order_of, owned_key, owner_of, payee_key, suspect_of, task_key, task_of,
    },
};

impl Store {
    /// Checks all that must hold between rows, and that every row can be read. Takes time and memory that
    /// grow with the store: for tests and for people who suspect something.
    ///
    /// # Errors
    /// Every violation, as a sentence.
    pub fn sanity_check(&self) -> Result<(), Vec<String>> {
        let found = self.read(|read| {
            let mut check =
                Check { read, jobs: BTreeMap::new(), removing: BTreeSet::new(), wrong: Vec::new() };
            check.jobs()?;
            check.leases()?;
            check.done()?;
            check.owners()?;
            check.escrows()?;
            check.evidence()?;
            check.of_tasks(OUTPUTS, true, |_| Ok(None))?;
            check.of_tasks(LOGS, true, |row| decode::<LogRecord>(row).map(|_| None))?;
            check.of_tasks(FAILED, false, |row| decode(row).map(|row| wrong_with(&row)))?;
            Ok(check.wrong)
        });
        match found {
            Ok(wrong) if wrong.is_empty() => Ok(()),
            Ok(wrong) => Err(wrong),
            Err(error) => Err(vec![error.to_string()]),
        }
    }
}

struct Check<'r> {
    read: &'r ReadTransaction,
    jobs: BTreeMap<JobId, JobRecord>,
    removing: BTreeSet<JobId>,
    wrong: Vec<String>,
}

impl Check<'_> {
    fn jobs(&mut self) -> Result<(), Fault> {
        let (order, specs) = (self.read.open_table(ORDER)?, self.read.open_table(SPECS)?);
        let (owned, running) = (self.read.open_table(OWNED)?, self.read.open_table(RUNNING)?);
        let (ends, mut ended) = (self.read.open_table(ENDS)?, 0u64);
        for row in self.read.open_table(REMOVING)?.iter()? {
            self.removing.insert(JobId(*row?.0.value()));
        }
        for row in self.read.open_table(JOBS)?.iter()? {
            let (key, row) = row?;
            let (job, record): (_, JobRecord) = (JobId(*key.value()), decode(row.value())?);
            self.expect(record.job == job, || format!("job {job} calls itself {}", record.job));
            self.expect(!self.removing.contains(&job), || format!("job {job} was removed and is there"));
            self.expect(specs.get(&job.0)?.is_some(), || format!("job {job} has no specification"));
            let ordered = order.get(&order_key(record.submitted, job))?.is_some();
            self.expect(ordered, || format!("job {job} is not listed by its time"));
            let owned = owned.get(&owned_key(record.owner, record.submitted, job))?.is_some();
            self.expect(owned, || format!("job {job} is not listed by its owner"));
            let at = record.ended.as_ref().map(|ended| ended.at);
            let is_running = running.get(&job.0)?.is_some();
            self.expect(is_running == at.is_none(), || {
                format!("job {job} is listed as running, and has ended, or the other way round")
            });
            if let Some(at) = at {
                ended += 1;
                let listed = ends.get(&order_key(at, job))?.is_some();
                self.expect(listed, || format!("job {job} is not listed by its end"));
            }
            let ended_done = record.ended.as_ref().is_some_and(|ended| ended.end == JobEnd::Done);
            self.expect(!ended_done || record.done == record.task_count, || {
                format!("job {job} ended as done with {} of {} tasks", record.done, record.task_count)
            });
            self.jobs.insert(job, record);
        }
        for row in order.iter()? {
            let (_, job) = order_of(row?.0.value());
            self.expect(self.jobs.contains_key(&job), || format!("job {job} is listed and is not there"));
        }
        let jobs = self.jobs.len() as u64;
        let listed = (order.len()?, specs.len()?);
        self.expect(listed == (jobs, jobs), || {
            format!("{jobs} jobs are listed {} times and have {} specifications", listed.0, listed.1)
        });
        let listed = (owned.len()?, running.len()?, ends.len()?);
        self.expect(listed == (jobs, jobs - ended, ended), || {
            format!(
                "{jobs} jobs, of which {ended} ended, are listed {} times by owner, {} times as running and {} times by \
                 end",
                listed.0, listed.1, listed.2
            )
        });
        Ok(())
    }

    /// What is kept for whom is the sum over the jobs.
    fn owners(&mut self) -> Result<(), Fault> {
        let mut kept = BTreeMap::<Principal, (u64, u64)>::new();
        for record in self.jobs.values() {
            let (jobs, bytes) = kept.entry(record.owner).or_default();
            (*jobs, *bytes) = (*jobs + 1, bytes.saturating_add(record.bytes.0));
        }
        let mut found = BTreeMap::new();
        for row in self.read.open_table(OWNERS)?.iter()? {
            let (key, row) = row?;
            found.insert(owner_of(key.value())?, row.value());
        }
        self.expect(found == kept, || {
            format!("the jobs come to {kept:?} by owner, and {found:?} is written down")
        });
        Ok(())
    }

    fn leases(&mut self) -> Result<(), Fault> {
        let next = schema::count(&schema::counters(self.read)?, counter::NEXT_LEASE)?;
        let done = self.read.open_table(DONE)?;
        let mut seen = BTreeSet::new();
        for row in self.read.open_table(LEASES)?.iter()? {
            let (key, row) = row?;
            let lease = decode_lease(key.value(), row.value())?;
            let (id, task) = (lease.id, lease.task);
            self.expect(id.0 < next, || format!("lease {id} is not below the next number, {next}"));
            self.expect(seen.insert(id), || format!("there are two leases {id}"));
            let runs = self.jobs.get(&task.job).is_some_and(|job| job.ended.is_none());
            self.expect(runs, || format!("lease {id} is of task {task}, whose job does not run"));
            self.expect_task(task, "a lease");
            let is_done = done.get(&task_key(task))?.is_some();
            self.expect(is_done == lease.is_known, || {
                format!("lease {id} is of task {task}, which is {}done", if is_done { "" } else { "not " })
            });
        }
        Ok(())
    }

    fn done(&mut self) -> Result<(), Fault> {
        let (mut counts, mut uses) = (BTreeMap::<JobId, (u64, u64)>::new(), BTreeMap::<u64, u32>::new());
        let (kept, logs) = (self.read.open_table(USES)?, self.read.open_table(LOGS)?);
        for row in self.read.open_table(DONE)?.iter()? {
            let (key, row) = row?;
            let (task, record): (_, DoneRecord) = (task_of(key.value()), decode(row.value())?);
            let log = logs.get(key.value())?.map(|row| decode::<LogRecord>(row.value())).transpose()?;
            let (count, bytes) = counts.entry(task.job).or_default();
            *count += 1;
            *bytes = bytes.saturating_add(bytes_of(&record.result, log.as_ref()));
            self.result(task, &record.result, &kept, &mut uses)?;
        }
        for row in self.read.open_table(OPINIONS)?.iter()? {
            let (key, row) = row?;
            let ((task, lease), record): (_, OpinionRecord) = (lease_of(key.value()), decode(row.value())?);
            self.result(task, &record.result, &kept, &mut uses)?;
            self.expect(record.result.lease == lease, || {
                format!("an opinion of task {task} names another lease")
            });
        }
        let (done, opinions) = (self.read.open_table(DONE)?, self.read.open_table(OPINIONS)?);
        for row in self.read.open_table(KEPT)?.iter()? {
            let (key, row) = row?;
            let (task, _) = lease_of(key.value());
            decode::<schema::Kept>(row.value())?;
            let fits = done.get(&task_key(task))?.is_none() && opinions.get(key.value())?.is_some();
            let fits = fits || self.removing.contains(&task.job);
            self.expect(fits, || format!("task {task} keeps an output of no open opinion"));
        }
        for row in self.read.open_table(SUSPECTS)?.iter()? {
            let (job, operator) = suspect_of(row?.0.value());
            let runs = self.jobs.get(&job).is_some_and(|job| job.ended.is_none());
            self.expect(runs, || format!("{operator} is a suspect of job {job}, which does not run"));
        }
        let specs = self.read.open_table(SPECS)?;
        for (job, record) in &self.jobs {
            let (count, of_tasks) = counts.get(job).copied().unwrap_or_default();
            if record.done != count {
                self.wrong.push(format!("job {job} has {count} results and counts {}", record.done));
            }
            let spec = specs.get(&job.0)?.map_or(0, |spec| spec.value().len() as u64);
            let summary = record.ended.as_ref().map_or(0, |ended| ended.summary.len() as u64);
            let bytes = of_tasks.saturating_add(spec + summary);
            if record.bytes.0 != bytes {
                self.wrong.push(format!("job {job} keeps {bytes} bytes and counts {}", record.bytes.0));
            }
        }
        self.batches(&uses)
    }

    /// A result, and what it refers to.
    fn result(
        &mut self,
        task: TaskId,
        result: &ResultRecord,
        kept: &impl ReadableTable<u64, schema::UsesRow>,
        uses: &mut BTreeMap<u64, u32>,
    ) -> Result<(), Fault> {
        let ResultRecord { batch, leaf, .. } = *result;
        self.expect_task(task, "a result");
        *uses.entry(batch.0).or_default() += 1;
        let leaves = kept.get(batch.0)?.map_or(0, |row| row.value().0);
        self.expect(leaf < leaves, || {
            format!("task {task} has a result of leaf {leaf} of batch {}, which has {leaves}", batch.0)
        });
        Ok(())
    }

    fn batches(&mut self, used: &BTreeMap<u64, u32>) -> Result<(), Fault> {
        let next = schema::count(&schema::counters(self.read)?, counter::NEXT_BATCH)?;
        let (batches, uses) = (self.read.open_table(BATCHES)?, self.read.open_table(USES)?);
        for row in uses.iter()? {
            let (id, row) = row?;
            let (id, (leaves, count, open)) = (id.value(), row.value());
            self.expect(id < next, || format!("batch {id} is not below the next number, {next}"));
            let found = used.get(&id).copied().unwrap_or(0);
            self.expect(found == count, || format!("batch {id} counts {count} uses and has {found}"));
            self.expect(open || count > 0, || format!("batch {id} is kept for nothing"));
            let record = batches.get(id)?.map(|row| decode::<BatchRecord>(row.value())).transpose()?;
            let held = record.is_some_and(|record| record.leaves.len() == leaves as usize);
            self.expect(held, || format!("batch {id} is not there with its {leaves} leaves"));
        }
        let (batches, uses) = (batches.len()?, uses.len()?);
        self.expect(batches == uses, || format!("{batches} batches are there, {uses} are kept"));
        Ok(())
    }

    /// Evidence needs no job. It has to prove something by itself, and to be found by its account and its end.
    fn evidence(&mut self) -> Result<(), Fault> {
        let evidence = self.read.open_table(EVIDENCE)?;
        let (of, ends) = (self.read.open_table(EVIDENCE_OF)?, self.read.open_table(EVIDENCE_ENDS)?);
        let (readers, owned) =
            (self.read.open_table(EVIDENCE_READERS)?, self.read.open_table(EVIDENCE_OWNED)?);
        let mut of_owners = BTreeMap::<Principal, u64>::new();
        let mut of_jobs = BTreeMap::<JobId, usize>::new();
        let mut of_operators = BTreeMap::<Address, BTreeMap<JobId, usize>>::new();
        for row in evidence.iter()? {
            let (key, row) = row?;
            let ((task, lease), record): (_, EvidenceRecord) = (lease_of(key.value()), decode(row.value())?);
            let EvidenceRecord { owner, operator, at, until, evidence } = record;
            let terms = evidence.accused.leaf.terms;
            let named = (TaskId { job: terms.job, task: terms.task }, terms.lease);
            self.expect(named == (task, lease), || {
                format!("evidence of lease {lease} of task {task} is of another one")
            });
            for result in [&evidence.accused, &evidence.accepted] {
                let signed = result.leaf.check(result.binding.address);
                self.expect(signed.is_ok(), || {
                    format!("evidence of lease {lease} of task {task}: {signed:?}")
                });
            }
            let listed = of.get(&evidence_of_key(operator, key.value()))?.is_some();
            self.expect(listed, || format!("evidence of lease {lease} is not listed by its account"));
            let listed = ends.get(&evidence_end_key(until, key.value()))?.is_some();
            self.expect(listed, || format!("evidence of lease {lease} is not listed by its end"));
            let may_read = evidence_readers(owner, evidence.accused.binding.address);
            let listed = readers.get(key.value())?.is_some_and(|row| *row.value() == may_read);
            self.expect(listed, || format!("evidence of lease {lease} is for others than may read it"));
            let bytes = row.value().len() as u64;
            let listed = owned.get(&evidence_owned_key(owner, at, key.value()))?;
            let listed = listed.is_some_and(|row| row.value() == bytes);
            self.expect(listed, || format!("evidence of lease {lease} is not listed by its requester"));
            *of_owners.entry(owner).or_default() += bytes;
            *of_jobs.entry(task.job).or_default() += 1;
            *of_operators.entry(operator).or_default().entry(task.job).or_default() += 1;
        }
        let (rows, of, ends) = (evidence.len()?, of.len()?, ends.len()?);
        self.expect((of, ends) == (rows, rows), || {
            format!("{rows} pieces of evidence are listed {of} times by account and {ends} times by end")
        });
        let (readers, owned) = (readers.len()?, owned.len()?);
        self.expect((readers, owned) == (rows, rows), || {
            format!("{rows} pieces of evidence are for {readers} readers and {owned} requesters")
        });
        let mut counted = BTreeMap::new();
        for row in self.read.open_table(EVIDENCE_BYTES)?.iter()? {
            let (owner, bytes) = row?;
            counted.insert(owner_of(owner.value())?, bytes.value());
        }
        let all = schema::count(&schema::counters(self.read)?, counter::EVIDENCE_BYTES)?;
        self.expect(counted == of_owners && all == of_owners.values().sum::<u64>(), || {
            format!("evidence has {of_owners:?} bytes, and {counted:?} are counted, {all} of all")
        });
        let is_bounded = all <= MAX_EVIDENCE_BYTES_OF_ALL
            && of_owners.values().all(|bytes| *bytes <= MAX_EVIDENCE_BYTES_OF_OWNER);
        self.expect(is_bounded, || format!("evidence has too many bytes: {of_owners:?}"));
        for (job, count) in of_jobs {
            self.expect(count <= MAX_EVIDENCE_OF_JOB, || format!("job {job} has {count} pieces of evidence"));
        }
        for (operator, jobs) in of_operators {
            let is_bounded = jobs.values().sum::<usize>() <= MAX_EVIDENCE_OF_OPERATOR
                && jobs.values().all(|count| *count <= MAX_EVIDENCE_OF_OPERATOR_IN_JOB);
            self.expect(is_bounded, || format!("{operator} has too much evidence: {jobs:?}"));
        }
        Ok(())
    }

    fn escrows(&mut self) -> Result<(), Fault> {
        let mut totals: BTreeMap<EscrowId, Amount> = BTreeMap::new();
        let escrows = self.read.open_table(ESCROWS)?;
        for row in self.read.open_table(PAYEES)?.iter()? {
            let (key, row) = row?;
            let (key, payee): (&[u8; 52], PayeeRecord) = (key.value(), decode(row.value())?);
            let escrow = EscrowId(key[..32].try_into().expect("a key of 52 bytes begins with 32"));
            let operator = payee.operator;
            self.expect(*key == payee_key(escrow, operator), || {
                format!("a payee of escrow {escrow} calls itself {operator}")
            });
            self.expect(payee.vouched <= payee.earned, || {
                format!("{operator} was promised {} in {escrow} and earned {}", payee.vouched, payee.earned)
            });
            let total = totals.entry(escrow).or_default();
            *total = total.checked_add(payee.vouched).unwrap_or(Amount::from_wei(u128::MAX));
            let there = escrows.get(&escrow.0)?.is_some();
            self.expect(there, || format!("{operator} is a payee of escrow {escrow}, which is not there"));
        }
        let (open, mut count) = (self.read.open_table(OPEN)?, 0u64);
        for row in escrows.iter()? {
            let (key, row) = row?;
            let (id, record): (_, EscrowRecord) = (EscrowId(*key.value()), decode(row.value())?);
            self.expect(record.id == id, || format!("escrow {id} calls itself {}", record.id));
            let is_open = record.stage != EscrowStage::Closed;
            count += u64::from(is_open);
            self.expect(open.get(&id.0)?.is_some() == is_open, || {
                format!("escrow {id} is listed as open, and is closed, or the other way round")
            });
            let total = totals.get(&id).copied().unwrap_or(Amount::ZERO);
            self.expect(total == record.total, || {
                format!("escrow {id} has promised {total} and counts {}", record.total)
            });
        }
        let listed = open.len()?;
        self.expect(listed == count, || format!("{count} escrows are open, {listed} are listed as such"));
        let paid: Vec<_> = self.jobs.values().filter_map(|job| Some((job.job, job.pay?.escrow))).collect();
        for (job, escrow) in paid {
            let there = escrows.get(&escrow.0)?.is_some();
            self.expect(there, || format!("job {job} is paid by escrow {escrow}, which is not there"));
        }
        Ok(())
    }

    /// Rows that some tasks have: of tasks that are done if `of_done`, else of any that exist.
    fn of_tasks(
        &mut self,
        table: TableDefinition<TaskKey, Bytes>,
        of_done: bool,
        read: impl Fn(&[u8]) -> Result<Option<String>, Fault>,
    ) -> Result<(), Fault> {
        let what = format!("a row in {:?}", redb::TableHandle::name(&table));
        let done = self.read.open_table(DONE)?;
        for row in self.read.open_table(table)?.iter()? {
            let (key, row) = row?;
            let task = task_of(key.value());
            self.expect_task(task, &what);
            // A sweep deletes the results first.
            let fits = !of_done || self.removing.contains(&task.job) || done.get(key.value())?.is_some();
            self.expect(fits, || format!("task {task} has {what} and is not done"));
            if let Some(wrong) = read(row.value())? {
                self.wrong.push(format!("task {task}: {wrong}"));
            }
        }
        Ok(())
    }

    fn expect_task(&mut self, task: TaskId, what: &str) {
        let exists = self.jobs.get(&task.job).is_some_and(|job| task.task.0 < job.task_count);
        let exists = exists || self.removing.contains(&task.job);
        self.expect(exists, || format!("there is {what} of task {task}, which does not exist"));
    }

    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
        }
    }
}

fn wrong_with(row: &FailedTask) -> Option<String> {
    let expected = MAX_ATTEMPTS_KEPT.min(row.failures as usize);
    let kept = row.kept.len();
    (kept != expected || kept == 0).then(|| format!("{kept} failed attempts are kept of {}", row.failures))
}
