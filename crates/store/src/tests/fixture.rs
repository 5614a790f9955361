//! Builders of changes, small enough to read in a test.

use tidemill_types::{
    Acceptance, Address, Amount, Basis, BlobId, ByteSize, EscrowContract, EscrowId, Failure, JobId, LeaseId,
    Millis, NodeId, SpecHash, TaskId, TaskNumber, Usage,
};

use crate::{
    AttemptRecord, BatchId, BatchRecord, Change, DoneRecord, EscrowRecord, EscrowStage, JobEnd, LeaseRecord,
    LogRecord, OpinionRecord, PayeeRecord, ResultRecord, UnixMillis,
};

pub(super) fn job(number: u8) -> JobId {
    JobId([number; 16])
}

pub(super) fn task(of: u8, number: u64) -> TaskId {
    TaskId { job: job(of), task: TaskNumber(number) }
}

pub(super) fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// A job of so many tasks, submitted by node 1 at its own number.
pub(super) fn submitted(number: u8, task_count: u64) -> Change {
    Change::JobSubmitted {
        job: job(number),
        owner: node(1),
        at: UnixMillis(number.into()),
        name: format!("job {number}"),
        map_count: task_count,
        task_count,
        spec: vec![number; 100],
        pay: None,
    }
}

pub(super) fn escrow_id(number: u8) -> EscrowId {
    EscrowId([number; 32])
}

/// An escrow of 100 wei.
pub(super) fn escrow(number: u8) -> EscrowRecord {
    EscrowRecord {
        id: escrow_id(number),
        contract: EscrowContract { chain_id: 7, address: Address([8; 20]) },
        requester: Address([9; 20]),
        coordinator: Address([0xac; 20]),
        nodes: vec![node(1)],
        deposited: Amount::from_wei(100),
        ends_s: 1_000,
        collect_until_s: 2_000,
        fee_ppm: 0,
        protocol_fee_ppm: 20_000,
        next_sequence: 0,
        total: Amount::ZERO,
        close: true,
        stage: EscrowStage::Open,
        settlements: Vec::new(),
    }
}

pub(super) fn payee(number: u8) -> PayeeRecord {
    PayeeRecord {
        operator: Address([number; 20]),
        node: node(number),
        earned: Amount::ZERO,
        vouched: Amount::ZERO,
        sequence: 0,
        release: None,
        paid: Amount::ZERO,
        acknowledged: false,
    }
}

pub(super) fn ended(number: u8, end: JobEnd) -> Change {
    Change::JobEnded { job: job(number), end, at: UnixMillis(1000), summary: vec![1, 2] }
}

pub(super) fn removed(number: u8) -> Change {
    Change::JobRemoved { job: job(number) }
}

pub(super) fn lease(id: u64, task: TaskId) -> LeaseRecord {
    LeaseRecord {
        id: LeaseId(id),
        task,
        provider: node(2),
        operator: Address([2; 20]),
        at: UnixMillis(id),
        is_known: false,
        work: vec![9; 20],
    }
}

/// A lease of a task that is done.
pub(super) fn tried(id: u64, task: TaskId) -> Change {
    Change::Leased(LeaseRecord { is_known: true, ..lease(id, task) })
}

pub(super) fn leased(id: u64, task: TaskId) -> Change {
    Change::Leased(lease(id, task))
}

pub(super) fn batch_record(leaves: u32) -> BatchRecord {
    BatchRecord {
        provider: node(2),
        signer: Address([2; 20]),
        root: [3; 32],
        sequence: 4,
        signature: vec![5; 65],
        leaves: vec![[6; 32]; leaves as usize],
    }
}

pub(super) fn batch(id: u64, leaves: u32) -> Change {
    Change::Batch { id: BatchId(id), record: batch_record(leaves) }
}

pub(super) fn closed(id: u64) -> Change {
    Change::BatchClosed { id: BatchId(id) }
}

pub(super) fn result(lease: u64, batch: u64, leaf: u32) -> ResultRecord {
    let spec: SpecHash = postcard::from_bytes(&[7; 32]).expect("a hash is 32 bytes");
    ResultRecord {
        lease: LeaseId(lease),
        provider: node(2),
        operator: Address([2; 20]),
        spec,
        output: BlobId::of(b"output"),
        output_len: ByteSize(6),
        price: Amount::ZERO,
        usage: Usage::default(),
        hardware_class: None,
        wall_us: 10,
        at: UnixMillis(lease),
        batch: BatchId(batch),
        leaf,
    }
}

pub(super) fn done(lease: u64, batch: u64, leaf: u32) -> DoneRecord {
    let verdict = Acceptance { basis: Basis::Unchecked, results: 1, agreeing: 1, error_ppb: Some(1_000) };
    DoneRecord { result: result(lease, batch, leaf), attempts: 1, verdict }
}

/// A result that does not decide its task alone, with an output and a log.
pub(super) fn opinion(task: TaskId, lease: u64, batch: u64, leaf: u32) -> Change {
    Change::Opinion {
        task,
        record: OpinionRecord {
            result: result(lease, batch, leaf),
            answer: None,
            error_ppb: 5,
            is_paid: false,
            known: None,
            bill: vec![1, 2],
        },
        output: Some(b"output".to_vec()),
        log: Some(LogRecord { bytes: b"log".to_vec(), omitted: 7 }),
    }
}

/// What somebody says who was tried with a task that is done.
pub(super) fn known(task: TaskId, lease: u64, batch: u64, leaf: u32) -> Change {
    let record = OpinionRecord {
        result: result(lease, batch, leaf),
        answer: Some(BlobId::of(b"output")),
        error_ppb: 5,
        is_paid: false,
        known: Some(true),
        bill: vec![1, 2],
    };
    Change::Opinion { task, record, output: None, log: None }
}

/// A verdict for one of the opinions: what came with it is what counts.
pub(super) fn decided(task: TaskId, lease: u64, batch: u64, leaf: u32) -> Change {
    let mut record = done(lease, batch, leaf);
    record.verdict.basis = Basis::Agreed;
    Change::Finished { task, record, output: None, log: None }
}

/// A result with an output and a log.
pub(super) fn finished(task: TaskId, lease: u64, batch: u64, leaf: u32) -> Change {
    Change::Finished {
        task,
        record: done(lease, batch, leaf),
        output: Some(b"output".to_vec()),
        log: Some(LogRecord { bytes: b"log".to_vec(), omitted: 7 }),
    }
}

pub(super) fn attempt(lease: u64, failure: Failure) -> AttemptRecord {
    AttemptRecord {
        lease: LeaseId(lease),
        provider: node(3),
        operator: Address([3; 20]),
        failure,
        price: Amount::ZERO,
        at: UnixMillis(lease),
        hardware_class: None,
    }
}

pub(super) fn failed(task: TaskId, lease: u64) -> Change {
    Change::AttemptFailed { task, record: attempt(lease, exit()) }
}

/// A failure that is the same everywhere.
pub(super) fn exit() -> Failure {
    Failure::Exit { code: 1, stderr: "no such gene".to_owned() }
}

/// A failure that may not happen elsewhere.
pub(super) fn too_slow() -> Failure {
    Failure::WallTime { limit: Millis(1000) }
}
