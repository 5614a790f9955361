//! Builders of changes, small enough to read in a test.

use tidemill_types::{
    Acceptance, Address, Amount, Basis, BatchTerms, BlobId, ByteSize, Chain, Claim, ClaimedOutput,
    EscrowContract, EscrowId, Evidence, Failure, Finding, FloatClass, JobId, KeyBinding, Leaf, LeaseId,
    Limits, Millis, NodeId, Outcome, Principal, ProgramKind, ResultKey, Signature65, SignedLeaf,
    SignedResult, SpecHash, TaskId, TaskNumber, TaskSpec, Terms, Usage, WorkTerms, merkle,
};

use crate::{
    AttemptRecord, BatchId, BatchRecord, Change, DoneRecord, EscrowRecord, EscrowStage, EvidenceRecord,
    FailureProof, JobEnd, LeaseRecord, LogRecord, NewEvidence, OpinionRecord, PayeeRecord, Proof,
    ResultRecord, Said, UnixMillis,
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

/// The node of this number as an owner of jobs.
pub(super) fn owner(number: u8) -> Principal {
    Principal::Node(node(number))
}

/// A job of so many tasks, submitted by node 1 at its own number.
pub(super) fn submitted(number: u8, task_count: u64) -> Change {
    Change::JobSubmitted {
        job: job(number),
        owner: owner(1),
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
        binding: binding(2),
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
            paid: None,
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
        paid: None,
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
        proof: None,
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

fn key(number: u8) -> ResultKey {
    ResultKey::from_bytes(&[number; 32]).expect("the bytes are a key")
}

/// The account of the key of this number.
pub(super) fn account(number: u8) -> Address {
    key(number).address()
}

/// The key of this number, bound to the node of this number, without the node's half, which the store does not look at.
fn binding(number: u8) -> KeyBinding {
    KeyBinding {
        address: account(number),
        by_result_key: key(number).sign_binding(&Chain::default(), node(number)),
        by_node_key: [0; 64],
    }
}

fn task_spec() -> TaskSpec {
    TaskSpec {
        kind: ProgramKind::Wasm,
        program: BlobId::of(b"program"),
        floats: FloatClass::Canonical,
        args: Vec::new(),
        env: Vec::new(),
        inputs: Vec::new(),
        limits: Limits::default(),
        seed: 0,
    }
}

/// What the node of this number signed about a lease, and the hash of its leaf.
fn claimed(number: u8, task: TaskId, lease: u64, output: &[u8]) -> (Terms, Claim, [u8; 32]) {
    let terms = Terms {
        escrow: [0; 32],
        coordinator: node(9),
        provider: node(number),
        job: task.job,
        task: task.task,
        lease: LeaseId(lease),
        work: WorkTerms::of(&task_spec()),
    };
    let claim = Claim {
        outcome: Outcome::Done,
        usage: Usage::default(),
        output: Some(ClaimedOutput { id: BlobId::of(output), len: output.len() as u64 }),
        hardware_class: None,
    };
    let leaf = Leaf::of(&terms, &claim).expect("the claim is whole").hash();
    (terms, claim, leaf)
}

fn signature(number: u8, leaves: &[[u8; 32]], sequence: u64) -> (BatchTerms, Signature65) {
    let batch = BatchTerms {
        root: merkle::root(leaves),
        count: leaves.len() as u32,
        coordinator: node(9),
        provider: node(number),
        sequence,
    };
    (batch, key(number).sign_batch(&Chain::default(), &batch))
}

/// A result of the node of this number that brings its proof.
fn said_here(number: u8, task: TaskId, lease: u64, output: &[u8]) -> Said {
    let (terms, claim, leaf) = claimed(number, task, lease, output);
    let (batch, signature) = signature(number, &[leaf], lease);
    let (path, binding) = (Vec::new(), binding(number));
    let proof = FailureProof { spec: terms.work.spec, usage: claim.usage, path, batch, signature, binding };
    Said { terms, claim, proof: Proof::Here(Box::new(proof)) }
}

/// A result of the node of this number that is in a stored batch.
pub(super) fn said_in(
    number: u8,
    (task, lease): (TaskId, u64),
    output: &[u8],
    (batch, leaf): (u64, u32),
) -> Said {
    let (terms, claim, _) = claimed(number, task, lease, output);
    Said { terms, claim, proof: Proof::Stored { batch: BatchId(batch), leaf } }
}

/// A batch that the node of this number signed, of one result for each of these leases of a task, with this output.
pub(super) fn signed_batch(id: u64, number: u8, task: TaskId, leases: &[u64], output: &[u8]) -> Change {
    let leaves: Vec<_> = leases.iter().map(|lease| claimed(number, task, *lease, output).2).collect();
    let (BatchTerms { root, sequence, .. }, signature) = signature(number, &leaves, id);
    let signature = signature.0.to_vec();
    let record =
        BatchRecord { provider: node(number), binding: binding(number), root, sequence, signature, leaves };
    Change::Batch { id: BatchId(id), record }
}

/// What the node of this number said of a lease contradicts what node 3 said of the next lease. It is kept until a
/// thousand milliseconds after its lease's number.
pub(super) fn evidence(number: u8, task: TaskId, lease: u64) -> NewEvidence {
    evidence_between(said_here(number, task, lease, b"wrong"), said_here(3, task, lease + 1, b"output"))
}

pub(super) fn evidence_between(accused: Said, accepted: Said) -> NewEvidence {
    let LeaseId(lease) = accused.terms.lease;
    NewEvidence {
        operator: account(accused.terms.provider.0[0]),
        at: UnixMillis(lease),
        until: UnixMillis(1_000 + lease),
        chain: Chain::default(),
        finding: Finding::Verdict,
        spec: task_spec(),
        accused,
        accepted,
    }
}

/// What is kept of evidence whose results bring their proofs, of a job that node 1 submitted.
pub(super) fn evidence_record(new: &NewEvidence) -> EvidenceRecord {
    let signed = |said: &Said| {
        let Proof::Here(proof) = &said.proof else { panic!("the proof is in a batch") };
        let FailureProof { path, batch, signature, binding, .. } = (**proof).clone();
        let (terms, claim) = (said.terms, said.claim.clone());
        SignedResult { leaf: SignedLeaf { chain: new.chain, terms, claim, path, batch, signature }, binding }
    };
    let NewEvidence { operator, at, until, finding, spec, .. } = new.clone();
    let evidence = Evidence { finding, spec, accused: signed(&new.accused), accepted: signed(&new.accepted) };
    EvidenceRecord { owner: owner(1), operator, at, until, evidence }
}
