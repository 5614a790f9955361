//! Random commits, applied to the store and to a plain model of it, which must agree whatever happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
};

use proptest::prelude::*;
use tidemill_types::{
    Address, Amount, BlobId, ByteSize, EscrowId, Failure, JobId, LeaseId, ProgramKind, TaskId, TaskNumber,
};

use super::{
    disk::Disk,
    fixture::{
        attempt, batch, closed, decided, ended, escrow, escrow_id, evidence, evidence_record, exit, finished,
        job, known, leased, opinion, owner, payee, removed, submitted, task, too_slow, tried,
    },
};
use crate::{
    AttemptRecord, BatchId, BatchRecord, Change, DoneRecord, Ended, EscrowRecord, EscrowStage,
    EvidenceRecord, FailedTask, Holdings, JobEnd, JobRecord, LeaseRecord, MAX_EVIDENCE_OF_OPERATOR_IN_JOB,
    OpinionRecord, PayeeRecord, ReputationKey, ResultRecord, Store, StoreError, UnixMillis,
};

const JOBS: u8 = 3;
const TASKS: u64 = 4;
const ESCROWS: u8 = 2;

/// All that the store holds, as far as readers see it.
#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    jobs: BTreeMap<JobId, JobRecord>,
    removing: Vec<JobId>,
    leases: BTreeMap<(TaskId, LeaseId), LeaseRecord>,
    done: BTreeMap<TaskId, DoneRecord>,
    opinions: BTreeMap<(TaskId, LeaseId), OpinionRecord>,
    /// The done tasks whose output is there.
    outputs: BTreeSet<TaskId>,
    /// The opinions whose output is kept, which readers do not see.
    kept: BTreeSet<(TaskId, LeaseId)>,
    suspects: BTreeSet<(JobId, Address)>,
    reputations: BTreeMap<ReputationKey, Vec<u8>>,
    failed: BTreeMap<TaskId, FailedTask>,
    evidence: BTreeMap<(TaskId, LeaseId), EvidenceRecord>,
    /// With whether they are open.
    batches: BTreeMap<BatchId, (BatchRecord, bool)>,
    next_lease: u64,
    next_batch: u64,
    escrows: BTreeMap<EscrowId, EscrowRecord>,
    payees: BTreeMap<(EscrowId, Address), PayeeRecord>,
}

impl Model {
    /// Applies a change, or does not where it is a contradiction.
    fn apply(&mut self, change: &Change) -> Option<()> {
        match change.clone() {
            Change::JobSubmitted { job, owner, at, name, map_count, task_count, pay, spec } => {
                let paid = pay.is_none_or(|pay| self.escrows.contains_key(&pay.escrow));
                let free = paid && !self.jobs.contains_key(&job) && !self.removing.contains(&job);
                let record = JobRecord {
                    job,
                    owner,
                    name,
                    submitted: at,
                    map_count,
                    task_count,
                    done: 0,
                    ended: None,
                    pay,
                    paid_for_undone: Amount::ZERO,
                    bytes: ByteSize(spec.len() as u64),
                };
                free.then(|| self.jobs.insert(job, record))?;
            }
            Change::JobEnded { job, end, at, summary } => {
                let record = self.running(job)?;
                (end != JobEnd::Done || record.done == record.task_count).then_some(())?;
                record.bytes.0 += summary.len() as u64;
                record.ended = Some(Ended { end, at, summary });
                self.leases.retain(|(task, _), _| task.job != job);
                self.suspects.retain(|(of, _)| *of != job);
            }
            Change::JobRemoved { job } => {
                self.jobs.get(&job)?.ended.as_ref()?;
                self.jobs.remove(&job);
                self.removing.push(job);
                self.removing.sort();
            }
            Change::Leased(lease) => {
                let runs = lease.task.task.0 < self.running(lease.task.job)?.task_count;
                let free =
                    self.done.contains_key(&lease.task) == lease.is_known && lease.id.0 >= self.next_lease;
                (runs && free).then_some(())?;
                self.next_lease = lease.id.0 + 1;
                self.leases.insert((lease.task, lease.id), lease);
            }
            Change::LeaseEnded { task, lease } => {
                self.leases.remove(&(task, lease));
            }
            Change::Finished { task, record, output, .. } => {
                let opinion = self.opinions.get(&(task, record.result.lease));
                let place = |result: &ResultRecord| (result.batch, result.leaf);
                opinion.is_none_or(|said| place(&said.result) == place(&record.result)).then_some(())?;
                let is_opinion = opinion.is_some();
                let (batch, open) = self.batches.get(&record.result.batch)?;
                ((*open || is_opinion) && (record.result.leaf as usize) < batch.leaves.len()).then_some(())?;
                (!self.done.contains_key(&task)).then_some(())?;
                let job = self.running(task.job)?;
                (task.task.0 < job.task_count).then_some(())?;
                job.done += 1;
                // Every opinion here has the same output.
                if output.is_some() || self.kept.iter().any(|(of, _)| *of == task) {
                    self.outputs.insert(task);
                }
                let bytes = self.bytes_of(task);
                self.running(task.job)?.bytes.0 += bytes;
                self.done.insert(task, record);
                self.kept.retain(|(of, _)| *of != task);
                self.leases.retain(|(of, _), _| *of != task);
            }
            Change::Opinion { task, record, .. } => {
                let (batch, open) = self.batches.get(&record.result.batch)?;
                (*open && (record.result.leaf as usize) < batch.leaves.len()).then_some(())?;
                let key = (task, record.result.lease);
                let is_known = record.known.is_some();
                (self.done.contains_key(&task) == is_known && !self.opinions.contains_key(&key))
                    .then_some(())?;
                // A lease has one result.
                self.done.get(&task).is_none_or(|done| done.result.lease != key.1).then_some(())?;
                (task.task.0 < self.running(task.job)?.task_count).then_some(())?;
                self.opinions.insert(key, record);
                if !is_known {
                    self.kept.insert(key);
                }
                self.leases.remove(&key);
            }
            Change::Reopened { task, error_ppb } => {
                (task.task.0 < self.running(task.job)?.task_count).then_some(())?;
                let DoneRecord { result, .. } = self.done.remove(&task)?;
                let bytes = self.bytes_of(task);
                let job = self.running(task.job)?;
                (job.done, job.bytes.0) = (job.done - 1, job.bytes.0 - bytes);
                let key = (task, result.lease);
                if self.outputs.remove(&task) {
                    self.kept.insert(key);
                }
                let output = result.output;
                let agreeing = |((of, _), opinion): &(&(TaskId, LeaseId), &mut OpinionRecord)| {
                    *of == task && opinion.answer == Some(output) && opinion.known.is_none()
                };
                for (_, opinion) in self.opinions.iter_mut().filter(agreeing) {
                    opinion.paid.get_or_insert_default();
                    opinion.bill.clear();
                }
                let (answer, paid) = (Some(output), Some(result.price));
                let opinion =
                    OpinionRecord { result, answer, error_ppb, paid, known: None, bill: Vec::new() };
                self.opinions.insert(key, opinion);
                self.leases.retain(|(of, _), _| *of != task);
                self.drop_batches();
            }
            Change::Compared { task, lease, answer } => {
                (task.task.0 < self.running(task.job)?.task_count).then_some(())?;
                self.opinions.get_mut(&(task, lease))?.answer = Some(answer);
            }
            Change::Paid { task, lease, amount } => {
                (task.task.0 < self.running(task.job)?.task_count).then_some(())?;
                let opinion = self.opinions.get_mut(&(task, lease))?;
                (opinion.paid, opinion.bill) = (Some(amount), Vec::new());
            }
            Change::Undone { task, paid } => {
                let record = self.running(task.job)?;
                (task.task.0 < record.task_count).then_some(())?;
                record.paid_for_undone = record.paid_for_undone.saturating_add(paid);
                self.failed.remove(&task);
                if self.done.remove(&task).is_some() {
                    self.leases.retain(|(of, _), _| *of != task);
                    let bytes = self.bytes_of(task);
                    let job = self.running(task.job)?;
                    (job.done, job.bytes.0) = (job.done - 1, job.bytes.0 - bytes);
                }
                self.opinions.retain(|(of, _), _| *of != task);
                self.kept.retain(|(of, _)| *of != task);
                self.outputs.remove(&task);
                self.drop_batches();
            }
            Change::Suspect { job, operator } => {
                self.running(job)?;
                self.suspects.insert((job, operator));
            }
            Change::Reputation { key, record } => drop(self.reputations.insert(key, record)),
            Change::AttemptFailed { task, record } => {
                (task.task.0 < self.jobs.get(&task.job)?.task_count).then_some(())?;
                self.leases.remove(&(task, record.lease));
                self.failed.entry(task).or_default().add(record);
            }
            Change::Evidence(new) => {
                let terms = new.accused.terms;
                let task = TaskId { job: terms.job, task: terms.task };
                (task.task.0 < self.jobs.get(&task.job)?.task_count).then_some(())?;
                let is_alike = |((of, _), record): (&(TaskId, LeaseId), &EvidenceRecord)| {
                    of.job == task.job && record.operator == new.operator
                };
                let alike = self.evidence.iter().filter(|row| is_alike(*row)).count();
                let key = (task, terms.lease);
                if alike < MAX_EVIDENCE_OF_OPERATOR_IN_JOB && !self.evidence.contains_key(&key) {
                    self.evidence.insert(key, evidence_record(&new));
                }
            }
            Change::Batch { id, record } => {
                (id.0 >= self.next_batch).then_some(())?;
                self.next_batch = id.0 + 1;
                self.batches.insert(id, (record, true));
            }
            Change::BatchClosed { id } => {
                if let Some((_, open)) = self.batches.get_mut(&id) {
                    *open = false;
                }
                self.drop_batches();
            }
            Change::Escrow(record) => {
                if let Some(former) = self.escrows.get(&record.id) {
                    (record.next_sequence >= former.next_sequence).then_some(())?;
                    (record.total <= former.total || record.total <= record.deposited).then_some(())?;
                } else {
                    (record.total <= record.deposited).then_some(())?;
                }
                self.escrows.insert(record.id, record);
            }
            Change::Payee { escrow, record } => {
                self.escrows.get(&escrow)?;
                (record.vouched <= record.earned).then_some(())?;
                if let Some(former) = self.payees.get(&(escrow, record.operator)) {
                    let grows = record.earned >= former.earned && record.vouched >= former.vouched;
                    grows.then_some(())?;
                }
                self.payees.insert((escrow, record.operator), record);
            }
        }
        Some(())
    }

    /// What makes a payee earn and be promised so much more, or less.
    fn promise(&self, (number, who): (u8, u8), earned: i128, vouched: i128) -> Vec<Change> {
        let id = escrow_id(number);
        let (fresh, nobody) = (escrow(number), payee(who));
        let mut record = self.escrows.get(&id).cloned().unwrap_or(fresh);
        let mut payee = self.payees.get(&(id, nobody.operator)).cloned().unwrap_or(nobody);
        let moved = |amount: Amount, by: i128| {
            Amount::from_wei(u128::try_from(amount.wei() as i128 + by).unwrap_or(0))
        };
        payee.earned = moved(payee.earned, earned);
        let before = payee.vouched;
        payee.vouched = moved(before, vouched);
        payee.sequence = record.next_sequence;
        record.next_sequence += 1;
        record.total = moved(record.total, payee.vouched.wei() as i128 - before.wei() as i128);
        let closed = record.total.wei() > 80;
        record.stage = if closed { EscrowStage::Closed } else { EscrowStage::Open };
        vec![Change::Escrow(record), Change::Payee { escrow: id, record: payee }]
    }

    /// Those of the changes, one after the other, that are no contradiction.
    fn fitting(&mut self, changes: Vec<Change>) -> Vec<Change> {
        let fits = |change: &Change| {
            let mut next = self.clone();
            let fits = next.apply(change).is_some();
            if fits {
                *self = next;
            }
            fits
        };
        changes.into_iter().filter(fits).collect()
    }

    /// Commits changes to the store and to the model: both take all of them, or refuse the same one.
    fn commit(&mut self, store: &Store, changes: &[Change]) -> Result<(), TestCaseError> {
        let mut next = self.clone();
        let refused = changes.iter().position(|change| next.apply(change).is_none());
        match (store.commit(changes), refused) {
            (Ok(()), None) => *self = next,
            (Err(StoreError::Contradiction { position, .. }), Some(expected)) => {
                prop_assert_eq!(position, expected);
            }
            (result, expected) => prop_assert!(false, "{result:?}, expected {expected:?}"),
        }
        Ok(())
    }

    /// What is kept of a task that is done: six bytes of output, and three of a log where that came with it.
    fn bytes_of(&self, task: TaskId) -> u64 {
        6 + if self.outputs.contains(&task) { 3 } else { 0 }
    }

    fn running(&mut self, job: JobId) -> Option<&mut JobRecord> {
        self.jobs.get_mut(&job).filter(|record| record.ended.is_none())
    }

    fn sweep(&mut self) {
        let removing = std::mem::take(&mut self.removing);
        self.done.retain(|task, _| !removing.contains(&task.job));
        self.outputs.retain(|task| !removing.contains(&task.job));
        self.kept.retain(|(task, _)| !removing.contains(&task.job));
        self.opinions.retain(|(task, _), _| !removing.contains(&task.job));
        self.failed.retain(|task, _| !removing.contains(&task.job));
        self.drop_batches();
    }

    fn drop_batches(&mut self) {
        let done = self.done.values().map(|done| done.result.batch);
        let used: BTreeSet<BatchId> =
            done.chain(self.opinions.values().map(|opinion| opinion.result.batch)).collect();
        self.batches.retain(|id, (_, open)| *open || used.contains(id));
    }
}

/// What the store says of itself, as a model.
fn read(store: &Store) -> Result<Model, StoreError> {
    let recovered = store.recover()?;
    let (next_lease, next_batch) = (recovered.next_lease.0, recovered.next_batch.0);
    let mut model = Model { next_lease, next_batch, ..Model::default() };
    for number in 0..JOBS {
        let found = store.look(job(number), owner(1), None)?;
        assert_eq!(found.job, store.job(job(number))?);
        if found.is_removing {
            model.removing.push(job(number));
        }
    }
    model.suspects = recovered.suspects.into_iter().collect();
    model.reputations = recovered.reputations.into_iter().collect();
    for number in 0..JOBS {
        let mut walked = Vec::new();
        store.for_each_done(job(number), |task, _| walked.push(task))?;
        for (task, record) in store.tasks(job(number), TaskNumber(0), usize::MAX)? {
            assert_eq!(walked.remove(0), task);
            let id = TaskId { job: job(number), task };
            assert_eq!(store.task(id)?, Some(record.clone()));
            if let Some(output) = store.output(id)? {
                assert_eq!(output, b"output");
                model.outputs.insert(id);
            }
            model.done.insert(id, record);
        }
        store.for_each_opinion(job(number), |task, record| {
            let task = TaskId { job: job(number), task };
            model.opinions.insert((task, record.result.lease), record);
        })?;
        store.for_each_failed(job(number), |task, row| {
            model.failed.insert(TaskId { job: job(number), task }, row);
        })?;
        for number in (0..TASKS).map(|of| task(number, of)) {
            for record in store.evidence(number, LeaseId(0), usize::MAX, |_, _| true)? {
                model.evidence.insert((number, record.evidence.accused.leaf.terms.lease), record);
            }
        }
    }
    for id in (0..next_batch).map(BatchId) {
        let open = recovered.open_batches.contains(&id);
        model.batches.extend(store.batch(id)?.map(|record| (id, (record, open))));
    }
    for lease in recovered.leases {
        model.leases.insert((lease.task, lease.id), lease);
    }
    for number in 0..ESCROWS {
        let found = store.escrow(escrow_id(number))?;
        let is_open = found.as_ref().is_some_and(|(record, _)| record.stage != EscrowStage::Closed);
        assert_eq!(recovered.escrows.iter().any(|of| Some(of) == found.as_ref()), is_open);
        if let Some((record, payees)) = found {
            model.payees.extend(payees.into_iter().map(|payee| ((record.id, payee.operator), payee)));
            model.escrows.insert(record.id, record);
        }
    }
    let mut listed = store.jobs(None, None, usize::MAX)?;
    assert_eq!(listed, store.jobs(Some(owner(1)), None, usize::MAX)?);
    listed.sort_by_key(|record| record.job);
    let holdings =
        Holdings { jobs: listed.len() as u64, bytes: ByteSize(listed.iter().map(|one| one.bytes.0).sum()) };
    assert_eq!(store.holdings(owner(1))?, holdings);
    let running = listed.iter().filter(|record| record.ended.is_none());
    assert!(running.eq(&recovered.jobs));
    let mut ended = store.ended_until(UnixMillis(1_000), usize::MAX)?;
    ended.sort();
    assert!(listed.iter().filter(|record| record.ended.is_some()).map(|record| record.job).eq(ended));
    for record in listed {
        assert!(store.job_spec(record.job)?.is_some());
        model.jobs.insert(record.job, record);
    }
    Ok(model)
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    /// Without the changes that contradict what there is, so that most of the commits go through.
    CommitFitting(Vec<Change>),
    /// A payee of an escrow earns and is promised so much more; less, or more than there is, is refused.
    Promise((u8, u8), i128, i128),
    Sweep(usize),
    /// What is over at this time goes.
    Forget(u64),
    LosePower(u64),
    Reopen,
}

fn tasks() -> impl Strategy<Value = TaskId> {
    (0..JOBS, 0..TASKS + 1).prop_map(|(job, number)| task(job, number))
}

fn ends() -> impl Strategy<Value = JobEnd> {
    let failed = JobEnd::Failed { task: TaskNumber(1), failure: Failure::Cancelled, attempts: 2 };
    prop_oneof![3 => Just(JobEnd::Done), 1 => Just(JobEnd::Cancelled), 1 => Just(JobEnd::EscrowEnded), 1 => Just(failed)]
}

/// Numbers of leases and batches grow on the whole, so that some of them are new and some were used.
fn changes(time: u64) -> impl Strategy<Value = Change> {
    let near = move || time.saturating_sub(4)..time + 2;
    prop_oneof![
        3 => (0..JOBS, 1..=TASKS).prop_map(|(job, tasks)| submitted(job, tasks)),
        1 => (0..JOBS, ends()).prop_map(|(job, end)| ended(job, end)),
        1 => (0..JOBS).prop_map(removed),
        6 => (near(), tasks()).prop_map(|(id, task)| leased(id, task)),
        3 => (near(), tasks()).prop_map(|(id, task)| tried(id, task)),
        1 => (near(), tasks()).prop_map(|(id, task)| Change::LeaseEnded { task, lease: LeaseId(id) }),
        9 => (tasks(), near(), near(), 0..3u32)
            .prop_map(|(task, lease, batch, leaf)| finished(task, lease, batch, leaf)),
        5 => (tasks(), near(), near(), 0..3u32)
            .prop_map(|(task, lease, batch, leaf)| opinion(task, lease, batch, leaf)),
        3 => (tasks(), near(), any::<bool>()).prop_map(|(task, lease, same)| Change::Compared {
            task,
            lease: LeaseId(lease),
            answer: BlobId::of(if same { b"output" } else { b"other" }),
        }),
        3 => (tasks(), near(), 0..9u128).prop_map(|(task, lease, amount)| Change::Paid {
            task,
            lease: LeaseId(lease),
            amount: Amount::from_wei(amount),
        }),
        3 => (tasks(), near(), near(), 0..3u32)
            .prop_map(|(task, lease, batch, leaf)| known(task, lease, batch, leaf)),
        5 => (tasks(), near(), near(), 0..3u32)
            .prop_map(|(task, lease, batch, leaf)| decided(task, lease, batch, leaf)),
        2 => (tasks(), any::<u32>()).prop_map(|(task, error_ppb)| Change::Reopened { task, error_ppb }),
        2 => (tasks(), 0..9u128).prop_map(|(task, paid)| Change::Undone { task, paid: Amount::from_wei(paid) }),
        1 => (0..JOBS, 1..4u8).prop_map(|(number, operator)| Change::Suspect {
            job: job(number),
            operator: Address([operator; 20]),
        }),
        1 => (1..4u8, any::<bool>(), any::<u8>()).prop_map(|(operator, class, record)| Change::Reputation {
            key: ReputationKey {
                operator: Address([operator; 20]),
                kind: ProgramKind::Wasm,
                hardware_class: class.then(|| "x86-64-v3".to_owned()),
            },
            record: vec![record],
        }),
        2 => (tasks(), near(), any::<bool>()).prop_map(|(task, lease, slow)| {
            let record: AttemptRecord = attempt(lease, if slow { too_slow() } else { exit() });
            Change::AttemptFailed { task, record }
        }),
        3 => (4..6u8, tasks(), near())
            .prop_map(|(number, task, lease)| Change::Evidence(Box::new(evidence(number, task, lease)))),
        6 => (near(), 0..4u32).prop_map(|(id, leaves)| batch(id, leaves)),
        2 => near().prop_map(closed),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = |time| {
        prop_oneof![
            3 => prop::collection::vec(changes(time), 1..4).prop_map(Step::Commit),
            20 => prop::collection::vec(changes(time), 1..8).prop_map(Step::CommitFitting),
            4 => ((0..ESCROWS, 1..3u8), -3..40i128, -3..40i128)
                .prop_map(|(who, earned, vouched)| Step::Promise(who, earned, vouched)),
            1 => (1..6usize).prop_map(Step::Sweep),
            1 => (1_000..1_040u64).prop_map(Step::Forget),
            1 => any::<u64>().prop_map(Step::LosePower),
            1 => Just(Step::Reopen),
        ]
    };
    (0..80u64).map(|number| step(number / 2)).collect::<Vec<_>>()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn the_store_agrees_with_a_model(steps in steps()) {
        let disk = Disk::default();
        let mut store = disk.open().unwrap();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Commit(changes) => model.commit(&store, &changes)?,
                Step::CommitFitting(changes) => {
                    let mut trial = model.clone();
                    model.commit(&store, &trial.fitting(changes))?;
                }
                Step::Promise(who, earned, vouched) => {
                    let changes = model.promise(who, earned, vouched);
                    model.commit(&store, &changes)?;
                }
                Step::Sweep(rows) => {
                    while store.sweep(rows).unwrap() {
                        prop_assert_eq!(store.sanity_check(), Ok(()));
                    }
                    model.sweep();
                }
                Step::Forget(now) => {
                    while store.forget_evidence(UnixMillis(now), 1).unwrap() {
                        prop_assert_eq!(store.sanity_check(), Ok(()));
                    }
                    model.evidence.retain(|_, record| record.until.0 > now);
                }
                Step::LosePower(chance) => {
                    disk.fail_after(0, ErrorKind::Other);
                    drop(store);
                    disk.lose_power(chance | 1);
                    store = disk.open().unwrap();
                }
                Step::Reopen => {
                    drop(store);
                    store = disk.open().unwrap();
                }
            }
            prop_assert_eq!(read(&store).unwrap(), Model { kept: BTreeSet::new(), ..model.clone() });
            prop_assert_eq!(store.sanity_check(), Ok(()));
        }
    }
}
