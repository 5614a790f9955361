use proptest::prelude::*;

use super::*;
use crate::{
    Address, BatchTerms, BlobId, ByteSize, ClaimedOutput, Failure, Fuel, GuestPath, InputSpec, JobId, Leaf,
    LeaseId, Limits, ProgramKind, ResultKey, Signature65, TaskNumber, Usage, merkle,
};

const CHAIN: Chain = Chain { chain_id: 31_337, disputes: Address([0xd1; 20]) };
const COORDINATOR: NodeId = NodeId([0xc0; 32]);

fn key(number: u8) -> ResultKey {
    ResultKey::from_bytes(&[number; 32]).expect("the bytes are a key")
}

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// What stands for a signature of a node: this crate has no ed25519.
fn node_signature(node: NodeId, message: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&node.0);
    signature[32..].copy_from_slice(BlobId::of(message).as_bytes());
    signature
}

fn is_signed_by(node: NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
    node_signature(node, message) == *signature
}

fn spec() -> TaskSpec {
    TaskSpec {
        kind: ProgramKind::Wasm,
        program: BlobId::of(b"program"),
        floats: FloatClass::Native,
        args: vec!["p".into(), "7".into()],
        env: vec![("A".into(), "1".into())],
        inputs: vec![InputSpec {
            path: GuestPath::new("a").expect("a valid path"),
            content: BlobId::of(b"a"),
            len: 1,
        }],
        limits: Limits::default(),
        seed: 5,
    }
}

fn claim(output: &[u8]) -> Claim {
    Claim {
        outcome: Outcome::Done,
        usage: Usage { fuel: Fuel(1_000), ..Usage::default() },
        output: Some(ClaimedOutput { id: BlobId::of(output), len: output.len() as u64 }),
        hardware_class: Some("x86-64-v3".into()),
    }
}

fn failed(failure: Failure) -> Claim {
    Claim { outcome: Outcome::Failed(failure), output: None, ..claim(b"") }
}

fn exit(code: u32) -> Failure {
    Failure::Exit { code, stderr: "no such gene".to_owned() }
}

/// A result of the task, signed with four others in a batch of the provider of this number.
fn signed(number: u8, lease: u64, claim: Claim) -> SignedResult {
    let terms = Terms {
        escrow: [1; 32],
        coordinator: COORDINATOR,
        provider: node(number),
        job: JobId([4; 16]),
        task: TaskNumber(12),
        lease: LeaseId(lease),
        work: WorkTerms::of(&spec()),
    };
    let own = Leaf::of(&terms, &claim).map(|leaf| leaf.hash()).unwrap_or_default();
    let leaves = [[1; 32], [2; 32], own, [3; 32], [4; 32]];
    let root = merkle::root(&leaves);
    let batch = BatchTerms { root, count: 5, coordinator: COORDINATOR, provider: node(number), sequence: 3 };
    let path = merkle::path(&leaves, 2).expect("there are five");
    let signature = key(number).sign_batch(&CHAIN, &batch);
    let address = key(number).address();
    SignedResult {
        leaf: SignedLeaf { chain: CHAIN, terms, claim, path, batch, signature },
        binding: KeyBinding {
            address,
            by_result_key: key(number).sign_binding(&Chain::default(), node(number)),
            by_node_key: node_signature(node(number), &binding_message(address)),
        },
    }
}

fn between(accused: Claim, accepted: Claim) -> Evidence {
    Evidence {
        finding: Finding::Verdict,
        spec: spec(),
        accused: signed(1, 7, accused),
        accepted: signed(2, 5, accepted),
    }
}

fn evidence() -> Evidence {
    between(claim(b"wrong"), claim(b"right"))
}

fn refused(change: impl FnOnce(&mut Evidence)) -> EvidenceError {
    let mut changed = evidence();
    change(&mut changed);
    changed.check(is_signed_by).expect_err("it was changed")
}

#[test]
fn two_results_that_contradict_each_other_are_evidence() {
    for (accused, accepted) in [
        (claim(b"wrong"), claim(b"right")),
        (failed(exit(3)), claim(b"right")),
        (claim(b"wrong"), failed(exit(3))),
        (failed(exit(3)), failed(exit(4))),
        // The right output, and a bill for more than the work that it takes.
        (
            Claim { usage: Usage { fuel: Fuel(2_000), ..Usage::default() }, ..claim(b"right") },
            claim(b"right"),
        ),
    ] {
        let evidence = between(accused, accepted);
        assert_eq!(evidence.check(is_signed_by), Ok(()), "{}", evidence.words());
        assert_eq!(Evidence::from_file(&evidence.to_file()), Ok(evidence));
    }
}

#[test]
fn a_file_says_in_words_what_contradicts_what() {
    let file = evidence().to_file();
    let text = String::from_utf8_lossy(&file);
    let job = "04".repeat(16);
    let (accused, accepted) = ("01".repeat(32), "02".repeat(32));
    let begins = [
        "tidemill evidence 1".to_owned(),
        format!("Two signed results of task 12 of job {job} contradict each other."),
        format!(
            "Contradicting, lease 7: node {accused} with the result key {} signed that the program ended well and left the \
             output {} of 5 bytes, after 1000 units of fuel, on hardware of the class x86-64-v3.",
            key(1).address(),
            BlobId::of(b"wrong"),
        ),
        format!("Accepted, lease 5: node {accepted} with the result key {}", key(2).address()),
        "The coordinator says: a verdict on the task accepted the other answer.".to_owned(),
        format!("Coordinator {COORDINATOR} leased both."),
    ];
    for (line, expected) in text.lines().zip(begins) {
        assert!(line.starts_with(&expected), "{line}\n{expected}");
    }
    let words = between(failed(exit(3)), claim(b"right")).words();
    assert!(
        words.contains("signed that the program ended with exit code 3 (it would on every machine)"),
        "{words}"
    );
}

#[test]
fn what_strangers_wrote_does_not_end_the_words() {
    let mut evidence = between(failed(Failure::BadOutput { reason: "a\n\nb".to_owned() }), claim(b"right"));
    assert_eq!(Evidence::from_file(&evidence.to_file()), Ok(evidence.clone()));
    evidence.accused.leaf.claim.hardware_class = Some("x\n\ny".to_owned());
    assert_eq!(Evidence::from_file(&evidence.to_file()), Ok(evidence));
}

#[test]
fn each_tampering_is_refused_by_its_name() {
    let (accused, accepted) = (Side::Accused, Side::Accepted);
    let not_in_batch = |side| EvidenceError::Leaf(side, LeafError::NotInBatch);
    let other = SignatureError::OtherSigner { expected: key(3).address(), found: key(1).address() };

    assert_eq!(refused(|e| e.accused.leaf.claim = claim(b"another")), not_in_batch(accused));
    assert_eq!(refused(|e| e.accepted.leaf.claim.usage.fuel.0 += 1), not_in_batch(accepted));
    assert_eq!(refused(|e| e.accused.leaf.terms.lease.0 += 1), not_in_batch(accused));
    assert_eq!(refused(|e| e.accused.leaf.terms.escrow[0] = 0), not_in_batch(accused));
    assert_eq!(refused(|e| e.accepted.leaf.path.swap(0, 1)), not_in_batch(accepted));
    assert_eq!(refused(|e| e.spec.seed = 6), EvidenceError::OtherSpec(accused));
    assert_eq!(refused(|e| e.spec.limits.memory = ByteSize::mib(1)), EvidenceError::OtherSpec(accused));
    assert_eq!(refused(|e| e.accused.leaf.terms.work.limits[0] ^= 1), EvidenceError::OtherTerms(accused));
    assert_eq!(
        refused(|e| e.accepted.leaf.terms.work.program = BlobId::of(b"x")),
        EvidenceError::OtherTerms(accepted)
    );
    assert_eq!(
        refused(|e| e.accepted.leaf.terms.work.exec_version += 1),
        EvidenceError::OtherSpec(accepted),
        "the version of execution is in the specification's hash"
    );
    assert_eq!(
        refused(|e| e.accused.binding.address = key(3).address()),
        EvidenceError::ResultKey(accused, other)
    );
    assert_eq!(refused(|e| e.accepted.binding.by_node_key[0] ^= 1), EvidenceError::NodeKey(accepted));
    let is_unsigned = |error| matches!(error, EvidenceError::Leaf(Side::Accused, LeafError::Signature(_)));
    assert!(is_unsigned(refused(|e| e.accused.leaf.signature.0[0] ^= 1)));
    assert!(is_unsigned(refused(|e| e.accused.leaf.signature = Signature65([0; 65]))));
    assert!(is_unsigned(refused(|e| e.accused.leaf.chain.chain_id = 1)));
    // Another's result with another's binding is signed, and not by the provider of the terms.
    let error = refused(|e| e.accused.binding = signed(3, 7, claim(b"wrong")).binding);
    assert!(matches!(error, EvidenceError::ResultKey(Side::Accused, _)), "{error}");
}

#[test]
fn what_does_not_contradict_is_no_evidence() {
    let why = |accused, accepted| between(accused, accepted).check(is_signed_by);
    assert_eq!(why(claim(b"right"), claim(b"right")), Err(EvidenceError::NoContradiction));
    assert_eq!(why(failed(exit(3)), failed(exit(3))), Err(EvidenceError::NoContradiction));
    let broke = Failure::WorkerDied { reason: "no memory".to_owned() };
    assert_eq!(why(failed(broke.clone()), claim(b"right")), Err(EvidenceError::Circumstance(Side::Accused)));
    assert_eq!(why(claim(b"wrong"), failed(broke)), Err(EvidenceError::Circumstance(Side::Accepted)));
    let elsewhere = Claim { hardware_class: Some("aarch64".to_owned()), ..claim(b"wrong") };
    assert_eq!(why(elsewhere, claim(b"right")), Err(EvidenceError::OtherClass));

    // Of another job, signed as well as the first.
    let mut other_task = evidence();
    let result = &mut other_task.accused;
    result.leaf.terms.job = JobId([9; 16]);
    let leaf = Leaf::of(&result.leaf.terms, &result.leaf.claim).expect("the claim is whole").hash();
    result.leaf.path.clear();
    result.leaf.batch = BatchTerms { root: leaf, count: 1, ..result.leaf.batch };
    result.leaf.signature = key(1).sign_batch(&CHAIN, &result.leaf.batch);
    assert_eq!(other_task.check(is_signed_by), Err(EvidenceError::OtherTask));
}

#[test]
fn evidence_of_an_earlier_version_of_execution_can_still_be_checked() {
    let mut earlier = evidence();
    for (number, result) in [(1, &mut earlier.accused), (2, &mut earlier.accepted)] {
        let leaf = &mut result.leaf;
        leaf.terms.work = WorkTerms::under(&spec(), 0);
        let hash = Leaf::of(&leaf.terms, &leaf.claim).expect("the claim is whole").hash();
        leaf.path.clear();
        leaf.batch = BatchTerms { root: hash, count: 1, ..leaf.batch };
        leaf.signature = key(number).sign_batch(&CHAIN, &leaf.batch);
    }
    assert_eq!(earlier.check(is_signed_by), Ok(()));
}

#[test]
fn a_file_of_something_else_is_refused() {
    let file = evidence().to_file();
    assert_eq!(Evidence::from_file(b""), Err(EvidenceError::NotEvidence));
    assert_eq!(Evidence::from_file(b"name = \"job\"\n"), Err(EvidenceError::NotEvidence));
    let other = EvidenceError::OtherFormat { found: "2".to_owned() };
    assert_eq!(Evidence::from_file(b"tidemill evidence 2\n"), Err(other));
    assert_eq!(Evidence::from_file(&file[..file.len() - 1]), Err(EvidenceError::Damaged));
    assert_eq!(Evidence::from_file(&[&file[..], b"\0"].concat()), Err(EvidenceError::Damaged));
    let text = String::from_utf8_lossy(&file);
    let at = text.find("Contradicting").expect("it is in the words");
    let mut changed = file.clone();
    changed[at] = b'c';
    assert_eq!(Evidence::from_file(&changed), Err(EvidenceError::OtherWords));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_byte_of_a_file_can_be_changed(at: prop::sample::Index, flip in 1u8..) {
        let mut file = evidence().to_file();
        let at = at.index(file.len());
        file[at] ^= flip;
        let checked = Evidence::from_file(&file).and_then(|evidence| evidence.check(is_signed_by));
        prop_assert!(checked.is_err(), "byte {at}");
    }
}
