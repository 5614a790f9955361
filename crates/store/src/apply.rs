//! Applies changes within one transaction.
//!
//! What many changes of a commit have in common, the jobs' rows and the counts of batches, is read once,
//! kept in memory, and written once at the end.

use std::collections::HashMap;

use redb::{ReadableTable, WriteTransaction};
use tidemill_types::{Address, Amount, BlobId, ByteSize, EscrowId, JobId, LeaseId, TaskId, Weight};

use crate::{
    AttemptRecord, BatchId, BatchRecord, Change, Contradiction, DoneRecord, Ended, EscrowRecord, EscrowStage,
    FailedTask, JobEnd, JobRecord, LeaseRecord, LogRecord, MAX_ATTEMPTS_KEPT, OpinionRecord, PayeeRecord,
    ReputationKey, ResultRecord,
    error::Fault,
    evidence,
    owners::{self, bytes_of},
    schema::{
        self, Kept, Tables, UsesRow, counter, decode, encode, encode_lease, lease_key, lease_keys_of_job,
        lease_keys_of_task, order_key, owned_key, payee_key, reputation_key, suspect_key, suspect_keys,
        task_key,
    },
};

pub(crate) fn apply(write: &WriteTransaction, sequence: u64, changes: &[Change]) -> Result<(), Fault> {
    let tables = Tables::open(write)?;
    let next_lease = schema::count(&tables.counters, counter::NEXT_LEASE)?;
    let next_batch = schema::count(&tables.counters, counter::NEXT_BATCH)?;
    let (jobs, uses, owners) = (HashMap::new(), HashMap::new(), owners::Changes::default());
    let mut applying = Applying { tables, jobs, uses, owners, next_lease, next_batch };
    for (position, change) in changes.iter().enumerate() {
        applying.apply(change).map_err(|refusal| match refusal {
            Refusal::Contradiction(source) => Fault::Contradiction { position, source },
            Refusal::Fault(fault) => fault,
        })?;
    }
    applying.finish(sequence)
}

pub(crate) enum Refusal {
    Contradiction(Contradiction),
    Fault(Fault),
}

impl<E: Into<Fault>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl From<Contradiction> for Refusal {
    fn from(contradiction: Contradiction) -> Self {
        Self::Contradiction(contradiction)
    }
}

struct Applying<'t> {
    tables: Tables<'t>,
    /// The jobs that changes were about, as they are now.
    jobs: HashMap<JobId, Seen<JobRecord>>,
    /// The batches that changes were about, and what they are kept for.
    uses: HashMap<BatchId, Seen<UsesRow>>,
    /// What changes of what is kept for whom.
    owners: owners::Changes,
    next_lease: u64,
    next_batch: u64,
}

struct Seen<T> {
    row: T,
    changed: bool,
}

impl Applying<'_> {
    fn apply(&mut self, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::JobSubmitted { job, owner, at, name, map_count, task_count, spec, pay } => {
                let record = JobRecord {
                    job: *job,
                    owner: *owner,
                    name: name.clone(),
                    submitted: *at,
                    map_count: *map_count,
                    task_count: *task_count,
                    done: 0,
                    ended: None,
                    pay: *pay,
                    paid_for_undone: Amount::ZERO,
                    bytes: ByteSize(spec.len() as u64),
                };
                self.submit(record, spec)
            }
            Change::JobEnded { job, end, at, summary } => {
                self.end(*job, Ended { end: end.clone(), at: *at, summary: summary.clone() })
            }
            Change::JobRemoved { job } => self.remove(*job),
            Change::Leased(lease) => self.lease(lease),
            Change::LeaseEnded { task, lease } => {
                self.tables.leases.remove(&lease_key(*task, *lease))?;
                Ok(())
            }
            Change::Finished { task, record, output, log } => {
                self.finish_task(*task, record, output.as_deref(), log.as_ref())
            }
            Change::Opinion { task, record, output, log } => {
                self.keep_opinion(*task, record, output.as_deref(), log.as_ref())
            }
            Change::Compared { task, lease, answer } => {
                self.change_opinion(*task, *lease, |said| OpinionRecord { answer: Some(*answer), ..said })
            }
            Change::Paid { task, lease, amount } => self.change_opinion(*task, *lease, |said| {
                OpinionRecord { paid: Some(*amount), bill: Vec::new(), ..said }
            }),
            Change::Reopened { task, error_ppb } => self.reopen(*task, *error_ppb),
            Change::Undone { task, paid } => self.undo(*task, *paid),
            Change::Suspect { job, operator } => self.suspect(*job, *operator),
            Change::Reputation { key, record } => self.keep_reputation(key, record),
            Change::AttemptFailed { task, record } => self.fail(*task, record),
            Change::Evidence(new) => {
                let owner = self
                    .job_of(TaskId { job: new.accused.terms.job, task: new.accused.terms.task })?
                    .row
                    .owner;
                evidence::keep(&mut self.tables, owner, new)
            }
            Change::Batch { id, record } => self.keep_batch(*id, record),
            Change::BatchClosed { id } => self.close_batch(*id),
            Change::Escrow(record) => self.keep_escrow(record),
            Change::Payee { escrow, record } => self.keep_payee(*escrow, record),
        }
    }

    fn submit(&mut self, record: JobRecord, spec: &[u8]) -> Result<(), Refusal> {
        let job = record.job;
        let taken = self.jobs.contains_key(&job)
            || self.tables.jobs.get(&job.0)?.is_some()
            || self.tables.removing.get(&job.0)?.is_some();
        if taken {
            return Err(Contradiction::JobExists(job).into());
        }
        if let Some(pay) = &record.pay
            && self.tables.escrows.get(&pay.escrow.0)?.is_none()
        {
            return Err(Contradiction::NoEscrow(pay.escrow).into());
        }
        self.tables.specs.insert(&job.0, spec)?;
        self.tables.running.insert(&job.0, ())?;
        self.tables.order.insert(&order_key(record.submitted, job), ())?;
        self.tables.owned.insert(&owned_key(record.owner, record.submitted, job), ())?;
        self.owners.add(record.owner, 1, record.bytes.0.into());
        self.jobs.insert(job, Seen { row: record, changed: true });
        Ok(())
    }

    fn end(&mut self, job: JobId, ended: Ended) -> Result<(), Refusal> {
        let record = self.running(job)?;
        let (done, task_count) = (record.row.done, record.row.task_count);
        if ended.end == JobEnd::Done && done != task_count {
            return Err(Contradiction::NotDone { job, done, task_count }.into());
        }
        let (at, summary) = (ended.at, ended.summary.len() as u64);
        record.row.ended = Some(ended);
        record.changed = true;
        self.keeps(job, summary, 0)?;
        self.tables.running.remove(&job.0)?;
        self.tables.ends.insert(&order_key(at, job), ())?;
        let (first, last) = lease_keys_of_job(job);
        self.tables.leases.retain_in::<&[u8; 32], _>(&first..=&last, |_, _| false)?;
        let (first, last) = suspect_keys(job);
        self.tables.suspects.retain_in::<&[u8; 36], _>(&first..=&last, |_, _| false)?;
        Ok(())
    }

    fn remove(&mut self, job: JobId) -> Result<(), Refusal> {
        let JobRecord { owner, submitted, bytes, ref ended, .. } = self.job(job)?.row;
        let Some(Ended { at, .. }) = *ended else { return Err(Contradiction::JobRuns(job).into()) };
        self.jobs.remove(&job);
        self.owners.add(owner, -1, -i128::from(bytes.0));
        self.tables.jobs.remove(&job.0)?;
        self.tables.order.remove(&order_key(submitted, job))?;
        self.tables.owned.remove(&owned_key(owner, submitted, job))?;
        self.tables.ends.remove(&order_key(at, job))?;
        self.tables.specs.remove(&job.0)?;
        self.tables.removing.insert(&job.0, ())?;
        Ok(())
    }

    fn lease(&mut self, lease: &LeaseRecord) -> Result<(), Refusal> {
        self.running_task(lease.task)?;
        let LeaseId(number) = lease.id;
        if number < self.next_lease {
            return Err(Contradiction::LeaseUsed(lease.id).into());
        }
        self.expect_done(lease.task, lease.is_known)?;
        self.tables.leases.insert(&lease_key(lease.task, lease.id), encode_lease(lease).as_slice())?;
        self.next_lease = number + 1;
        Ok(())
    }

    fn finish_task(
        &mut self,
        task: TaskId,
        record: &DoneRecord,
        output: Option<&[u8]>,
        log: Option<&LogRecord>,
    ) -> Result<(), Refusal> {
        let job = self.running_task(task)?;
        job.row.done += 1;
        job.changed = true;
        let key = task_key(task);
        let lease = lease_key(task, record.result.lease);
        let opinion = self.tables.opinions.get(&lease)?;
        let opinion = opinion.map(|row| decode::<OpinionRecord>(row.value())).transpose()?;
        let ResultRecord { batch, leaf, .. } = record.result;
        // A lease has one result.
        if opinion.as_ref().is_some_and(|said| (said.result.batch, said.result.leaf) != (batch, leaf)) {
            return Err(Contradiction::NoLeaf { batch, leaf }.into());
        }
        let is_opinion = opinion.is_some();
        // An opinion keeps its batch, which may be closed by now.
        self.use_batch(&record.result, is_opinion)?;
        if self.tables.done.insert(&key, encode(record).as_slice())?.is_some() {
            return Err(Contradiction::TaskDone(task).into());
        }
        let (kept_output, kept_log) =
            schema::kept_with(&self.tables.kept, &self.tables.opinions, task, record.result.output)?;
        if let Some(output) = output.or(kept_output.as_deref()) {
            self.tables.outputs.insert(&key, output)?;
        }
        let log = log.or(kept_log.as_ref());
        if let Some(log) = log {
            self.tables.logs.insert(&key, encode(log).as_slice())?;
        }
        self.keeps(task.job, bytes_of(&record.result, log), 0)?;
        self.end_leases(task)?;
        let (first, last) = lease_keys_of_task(task);
        self.tables.kept.retain_in::<&[u8; 32], _>(&first..=&last, |_, _| false)?;
        Ok(())
    }

    fn end_leases(&mut self, task: TaskId) -> Result<(), Fault> {
        let (first, last) = lease_keys_of_task(task);
        Ok(self.tables.leases.retain_in::<&[u8; 32], _>(&first..=&last, |_, _| false)?)
    }

    fn keep_opinion(
        &mut self,
        task: TaskId,
        record: &OpinionRecord,
        output: Option<&[u8]>,
        log: Option<&LogRecord>,
    ) -> Result<(), Refusal> {
        self.running_task(task)?;
        self.expect_done(task, record.known.is_some())?;
        if record.known.is_some() && self.is_result_of(task, record.result.lease)? {
            return Err(Contradiction::TaskDone(task).into());
        }
        self.use_batch(&record.result, false)?;
        let key = lease_key(task, record.result.lease);
        if self.tables.opinions.insert(&key, encode(record).as_slice())?.is_some() {
            return Err(Contradiction::LeaseUsed(record.result.lease).into());
        }
        if output.is_some() || log.is_some() {
            self.tables.kept.insert(&key, encode(&(output, log)).as_slice())?;
        }
        self.tables.leases.remove(&key)?;
        Ok(())
    }

    fn change_opinion(
        &mut self,
        task: TaskId,
        lease: LeaseId,
        change: impl FnOnce(OpinionRecord) -> OpinionRecord,
    ) -> Result<(), Refusal> {
        self.running_task(task)?;
        let key = lease_key(task, lease);
        let row =
            self.tables.opinions.get(&key)?.map(|row| decode::<OpinionRecord>(row.value())).transpose()?;
        let opinion = change(row.ok_or(Contradiction::NoOpinion { task, lease })?);
        self.tables.opinions.insert(&key, encode(&opinion).as_slice())?;
        Ok(())
    }

    fn reopen(&mut self, task: TaskId, error_ppb: u32) -> Result<(), Refusal> {
        self.running_task(task)?;
        let key = task_key(task);
        let row = self.tables.done.remove(&key)?.map(|row| decode::<DoneRecord>(row.value())).transpose()?;
        let done = row.ok_or(Contradiction::NotDoneTask(task))?;
        self.end_leases(task)?;
        let lease = lease_key(task, done.result.lease);
        let output = self.tables.outputs.remove(&key)?.map(|row| row.value().to_vec());
        let log = self.tables.logs.remove(&key)?.map(|row| decode::<LogRecord>(row.value())).transpose()?;
        self.keeps(task.job, 0, bytes_of(&done.result, log.as_ref()))?;
        if output.is_some() || log.is_some() {
            let kept: Kept = (output, log);
            self.tables.kept.insert(&lease, encode(&kept).as_slice())?;
        }
        let batch = done.result.batch;
        self.pay_agreeing(task, done.result.output)?;
        let opinion = OpinionRecord {
            answer: Some(done.result.output),
            error_ppb,
            paid: Some(done.result.price),
            known: None,
            bill: Vec::new(),
            result: done.result,
        };
        let row = encode(&opinion);
        if self.tables.opinions.insert(&lease, row.as_slice())?.is_some() {
            // It was one before, and counts as one use of its batch.
            self.release_batch(batch)?;
        }
        let job = self.running(task.job)?;
        job.row.done -= 1;
        job.changed = true;
        Ok(())
    }

    /// The results that agreed with a task's own were paid with it, where anything was to be paid. What those said who were
    /// tried with the task is settled already.
    fn pay_agreeing(&mut self, task: TaskId, output: BlobId) -> Result<(), Fault> {
        let (first, last) = lease_keys_of_task(task);
        let mut agreeing = Vec::new();
        for row in self.tables.opinions.range::<&[u8; 32]>(&first..=&last)? {
            let (key, row) = row?;
            let opinion: OpinionRecord = decode(row.value())?;
            if opinion.answer == Some(output) && opinion.known.is_none() {
                let paid = Some(opinion.paid.unwrap_or_default());
                // Nothing is held back for it any more.
                let opinion = OpinionRecord { paid, bill: Vec::new(), ..opinion };
                agreeing.push((*key.value(), opinion));
            }
        }
        for (key, opinion) in agreeing {
            self.tables.opinions.insert(&key, encode(&opinion).as_slice())?;
        }
        Ok(())
    }

    fn undo(&mut self, task: TaskId, paid: Amount) -> Result<(), Refusal> {
        let job = self.running_task(task)?;
        job.row.paid_for_undone = job.row.paid_for_undone.saturating_add(paid);
        job.changed = true;
        let key = task_key(task);
        let done = self.tables.done.remove(&key)?.map(|row| decode::<DoneRecord>(row.value())).transpose()?;
        let log = self.tables.logs.remove(&key)?.map(|row| decode::<LogRecord>(row.value())).transpose()?;
        if let Some(done) = done {
            self.end_leases(task)?;
            self.keeps(task.job, 0, bytes_of(&done.result, log.as_ref()))?;
            self.release_batch(done.result.batch)?;
            let job = self.running(task.job)?;
            job.row.done -= 1;
            job.changed = true;
        }
        self.tables.outputs.remove(&key)?;
        self.tables.failed.remove(&key)?;
        let (first, last) = lease_keys_of_task(task);
        let mut batches = Vec::new();
        for row in self.tables.opinions.extract_from_if::<&[u8; 32], _>(&first..=&last, |_, _| true)? {
            batches.push(decode::<OpinionRecord>(row?.1.value())?.result.batch);
        }
        for batch in batches {
            self.release_batch(batch)?;
        }
        self.tables.kept.retain_in::<&[u8; 32], _>(&first..=&last, |_, _| false)?;
        Ok(())
    }

    fn suspect(&mut self, job: JobId, operator: Address) -> Result<(), Refusal> {
        self.running(job)?;
        self.tables.suspects.insert(&suspect_key(job, operator), ())?;
        Ok(())
    }

    fn keep_reputation(&mut self, key: &ReputationKey, record: &[u8]) -> Result<(), Refusal> {
        self.tables.reputations.insert(reputation_key(key).as_slice(), record)?;
        Ok(())
    }

    /// A result refers to its batch from now on, which must be open unless it is kept for that result already.
    fn use_batch(&mut self, result: &ResultRecord, is_kept: bool) -> Result<(), Refusal> {
        let ResultRecord { batch, leaf, .. } = *result;
        let uses = self.uses(batch)?.filter(|uses| leaf < uses.row.0);
        let uses = uses.ok_or(Contradiction::NoLeaf { batch, leaf })?;
        let (_, count, open) = &mut uses.row;
        if !*open && !is_kept {
            return Err(Contradiction::BatchClosed(batch).into());
        }
        *count += 1;
        uses.changed = true;
        Ok(())
    }

    /// A result does not refer to its batch any more.
    fn release_batch(&mut self, batch: BatchId) -> Result<(), Refusal> {
        let damaged = || Fault::Damaged(format!("batch {} is missing", batch.0));
        let uses = self.uses(batch)?.ok_or_else(damaged)?;
        let (_, count, open) = &mut uses.row;
        *count -= 1;
        uses.changed = true;
        if *count == 0 && !*open {
            self.uses.remove(&batch);
            self.tables.uses.remove(batch.0)?;
            self.tables.batches.remove(batch.0)?;
        }
        Ok(())
    }

    fn fail(&mut self, task: TaskId, record: &AttemptRecord) -> Result<(), Refusal> {
        self.job_of(task)?;
        let key = task_key(task);
        let found = self.tables.failed.get(&key)?.map(|row| decode::<FailedTask>(row.value())).transpose()?;
        let mut row = found.unwrap_or_default();
        row.add(record.clone());
        self.tables.failed.insert(&key, encode(&row).as_slice())?;
        self.tables.leases.remove(&lease_key(task, record.lease))?;
        Ok(())
    }

    fn keep_batch(&mut self, id: BatchId, record: &BatchRecord) -> Result<(), Refusal> {
        if id.0 < self.next_batch {
            return Err(Contradiction::BatchUsed(id).into());
        }
        let leaves = u32::try_from(record.leaves.len()).unwrap_or(u32::MAX);
        self.tables.batches.insert(id.0, encode(record).as_slice())?;
        self.uses.insert(id, Seen { row: (leaves, 0, true), changed: true });
        self.next_batch = id.0 + 1;
        Ok(())
    }

    fn close_batch(&mut self, id: BatchId) -> Result<(), Refusal> {
        let Some(uses) = self.uses(id)? else { return Ok(()) };
        let (_, count, open) = &mut uses.row;
        *open = false;
        uses.changed = true;
        if *count == 0 {
            self.uses.remove(&id);
            self.tables.uses.remove(id.0)?;
            self.tables.batches.remove(id.0)?;
        }
        Ok(())
    }

    fn keep_escrow(&mut self, record: &EscrowRecord) -> Result<(), Refusal> {
        let escrow = record.id;
        let former = self.tables.escrows.get(&escrow.0)?.map(|row| decode::<EscrowRecord>(row.value()));
        let former = former.transpose()?;
        let (least, promised) =
            former.map_or((0, Amount::ZERO), |former| (former.next_sequence, former.total));
        let (found, total, deposited) = (record.next_sequence, record.total, record.deposited);
        if found < least {
            return Err(Contradiction::SequenceUsed { escrow, found, least }.into());
        }
        // A deposit that the chain took back leaves more promised than there is; nothing may be added to that.
        if total > promised && total > deposited {
            return Err(Contradiction::OverIssue { escrow, total, deposited }.into());
        }
        self.tables.escrows.insert(&escrow.0, encode(record).as_slice())?;
        match record.stage {
            EscrowStage::Closed => drop(self.tables.open.remove(&escrow.0)?),
            EscrowStage::Open | EscrowStage::Settling | EscrowStage::Paid => {
                self.tables.open.insert(&escrow.0, ())?;
            }
        }
        Ok(())
    }

    fn keep_payee(&mut self, escrow: EscrowId, record: &PayeeRecord) -> Result<(), Refusal> {
        if self.tables.escrows.get(&escrow.0)?.is_none() {
            return Err(Contradiction::NoEscrow(escrow).into());
        }
        let key = payee_key(escrow, record.operator);
        let former = self.tables.payees.get(&key)?.map(|row| decode::<PayeeRecord>(row.value()));
        let (earned, vouched) = former
            .transpose()?
            .map_or((Amount::ZERO, Amount::ZERO), |former| (former.earned, former.vouched));
        if record.earned < earned || record.vouched < vouched || record.vouched > record.earned {
            return Err(Contradiction::EarningsShrink { escrow, operator: record.operator }.into());
        }
        self.tables.payees.insert(&key, encode(record).as_slice())?;
        Ok(())
    }

    /// So many bytes more are kept of a job, and so many fewer.
    fn keeps(&mut self, job: JobId, more: u64, fewer: u64) -> Result<(), Refusal> {
        let record = self.job(job)?;
        let before = record.row.bytes.0;
        let now = before.saturating_add(more).saturating_sub(fewer);
        record.row.bytes = ByteSize(now);
        record.changed = true;
        let owner = record.row.owner;
        self.owners.add(owner, 0, i128::from(now) - i128::from(before));
        Ok(())
    }

    /// Whether a task is done by the result of this lease: a lease has one result.
    fn is_result_of(&self, task: TaskId, lease: LeaseId) -> Result<bool, Fault> {
        let done = self.tables.done.get(&task_key(task))?;
        let done = done.map(|row| decode::<DoneRecord>(row.value())).transpose()?;
        Ok(done.is_some_and(|done| done.result.lease == lease))
    }

    /// A task must be done, or must not be.
    fn expect_done(&self, task: TaskId, expected: bool) -> Result<(), Refusal> {
        match self.tables.done.get(&task_key(task))? {
            Some(_) if !expected => Err(Contradiction::TaskDone(task).into()),
            None if expected => Err(Contradiction::NotDoneTask(task).into()),
            _ => Ok(()),
        }
    }

    /// The task's job, which must run and have the task.
    fn running_task(&mut self, task: TaskId) -> Result<&mut Seen<JobRecord>, Refusal> {
        let job = self.running(task.job)?;
        let task_count = job.row.task_count;
        if task.task.0 >= task_count {
            return Err(Contradiction::NoTask { task, task_count }.into());
        }
        Ok(job)
    }

    /// The task's job, which must be there and have the task.
    fn job_of(&mut self, task: TaskId) -> Result<&mut Seen<JobRecord>, Refusal> {
        let job = self.job(task.job)?;
        let task_count = job.row.task_count;
        if task.task.0 >= task_count {
            return Err(Contradiction::NoTask { task, task_count }.into());
        }
        Ok(job)
    }

    fn running(&mut self, job: JobId) -> Result<&mut Seen<JobRecord>, Refusal> {
        let record = self.job(job)?;
        if record.row.ended.is_some() {
            return Err(Contradiction::JobEnded(job).into());
        }
        Ok(record)
    }

    fn job(&mut self, job: JobId) -> Result<&mut Seen<JobRecord>, Refusal> {
        if !self.jobs.contains_key(&job) {
            let found = self.tables.jobs.get(&job.0)?;
            let row = decode(found.ok_or(Contradiction::NoJob(job))?.value())?;
            self.jobs.insert(job, Seen { row, changed: false });
        }
        Ok(self.jobs.get_mut(&job).expect("it was inserted if it was missing"))
    }

    fn uses(&mut self, id: BatchId) -> Result<Option<&mut Seen<UsesRow>>, Refusal> {
        if !self.uses.contains_key(&id) {
            let Some(row) = self.tables.uses.get(id.0)?.map(|row| row.value()) else { return Ok(None) };
            self.uses.insert(id, Seen { row, changed: false });
        }
        Ok(self.uses.get_mut(&id))
    }

    fn finish(mut self, sequence: u64) -> Result<(), Fault> {
        for (job, seen) in self.jobs.iter().filter(|(_, seen)| seen.changed) {
            self.tables.jobs.insert(&job.0, encode(&seen.row).as_slice())?;
        }
        for (id, seen) in self.uses.iter().filter(|(_, seen)| seen.changed) {
            self.tables.uses.insert(id.0, seen.row)?;
        }
        self.owners.apply(&mut self.tables.owners)?;
        let counters = &mut self.tables.counters;
        counters.insert(counter::SEQUENCE, sequence)?;
        counters.insert(counter::NEXT_LEASE, self.next_lease)?;
        counters.insert(counter::NEXT_BATCH, self.next_batch)?;
        Ok(())
    }
}

impl FailedTask {
    /// Adds an attempt. Over the limit the oldest goes that was circumstance, or the oldest of all.
    pub(crate) fn add(&mut self, attempt: AttemptRecord) {
        self.failures = self.failures.saturating_add(1);
        self.kept.push(attempt);
        if self.kept.len() > MAX_ATTEMPTS_KEPT {
            let circumstance = |attempt: &AttemptRecord| attempt.failure.weight() == Weight::Circumstance;
            self.kept.remove(self.kept.iter().position(circumstance).unwrap_or(0));
        }
    }
}
