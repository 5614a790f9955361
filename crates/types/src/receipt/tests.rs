use super::*;
use crate::{
    Address, Basis, BatchTerms, Chain, Claim, ClaimedOutput, Failure, FloatClass, Fuel, JobId, KeyBinding,
    Leaf, LeaseId, Limits, ProgramKind, ResultKey, SignedLeaf, TaskNumber, Terms, Usage, WorkTerms,
    binding_message, merkle,
};

const CHAIN: Chain = Chain { chain_id: 31_337, disputes: Address([0xd1; 20]) };
const COORDINATOR: NodeId = NodeId([0xc0; 32]);
const PROVIDER: NodeId = NodeId([7; 32]);

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
        args: vec!["p".into()],
        env: Vec::new(),
        inputs: Vec::new(),
        limits: Limits::default(),
        seed: 5,
    }
}

fn of(claim: Claim, output: Option<&[u8]>) -> Receipt {
    let key = ResultKey::from_bytes(&[3; 32]).expect("the bytes are a key");
    let terms = Terms {
        escrow: [1; 32],
        coordinator: COORDINATOR,
        provider: PROVIDER,
        job: JobId([4; 16]),
        task: TaskNumber(0),
        lease: LeaseId(9),
        work: WorkTerms::of(&spec()),
    };
    let own = Leaf::of(&terms, &claim).map(|leaf| leaf.hash()).unwrap_or_default();
    let leaves = [[1; 32], own];
    let root = merkle::root(&leaves);
    let batch = BatchTerms { root, count: 2, coordinator: COORDINATOR, provider: PROVIDER, sequence: 3 };
    let path = merkle::path(&leaves, 1).expect("there are two");
    let (signature, address) = (key.sign_batch(&CHAIN, &batch), key.address());
    let binding = KeyBinding {
        address,
        by_result_key: key.sign_binding(&Chain::default(), PROVIDER),
        by_node_key: node_signature(PROVIDER, &binding_message(address)),
    };
    Receipt {
        spec: spec(),
        result: SignedResult {
            leaf: SignedLeaf { chain: CHAIN, terms, claim, path, batch, signature },
            binding,
        },
        acceptance: Acceptance { basis: Basis::Agreed, results: 3, agreeing: 2, error_ppb: Some(10) },
        price: Amount::ZERO,
        at_ms: 1_700_000_000_000,
        output: output.map(<[u8]>::to_vec),
    }
}

fn claim(output: &[u8]) -> Claim {
    Claim {
        outcome: Outcome::Done,
        usage: Usage { fuel: Fuel(1_000), ..Usage::default() },
        output: Some(ClaimedOutput { id: BlobId::of(output), len: output.len() as u64 }),
        hardware_class: None,
    }
}

#[test]
fn a_receipt_shows_whose_the_answer_is() {
    for output in [Some(&b"an answer"[..]), None] {
        let receipt = of(claim(b"an answer"), output);
        assert_eq!(receipt.check(is_signed_by), Ok(()));
        let file = receipt.to_file();
        let words = String::from_utf8_lossy(&file);
        assert!(words.starts_with("tidemill receipt 1\nTask 0 of job 0404"), "{words}");
        assert!(words.contains("accepted as agreed, 2 of 3 results agreeing, and cost nothing"), "{words}");
        assert_eq!(Receipt::from_file(&file), Ok(receipt));
    }
}

#[test]
fn another_answer_or_another_question_is_refused() {
    let check = |receipt: &Receipt| receipt.check(is_signed_by).expect_err("it was changed");
    assert_eq!(check(&of(claim(b"an answer"), Some(b"another"))), ReceiptError::OtherOutput);
    let mut receipt = of(claim(b"an answer"), None);
    receipt.spec.seed += 1;
    assert_eq!(check(&receipt), ReceiptError::Result(ResultFlaw::OtherSpec));
    receipt = of(claim(b"an answer"), None);
    receipt.result.leaf.terms.provider = NodeId([8; 32]);
    assert!(matches!(check(&receipt), ReceiptError::Result(ResultFlaw::ResultKey(_))));
    receipt = of(claim(b"an answer"), None);
    receipt.result.leaf.claim.usage.fuel = Fuel(1);
    assert!(matches!(check(&receipt), ReceiptError::Result(ResultFlaw::Leaf(_))));
    let failure = Failure::Exit { code: 1, stderr: String::new() };
    let failed = Claim { outcome: Outcome::Failed(failure), output: None, ..claim(b"") };
    assert_eq!(check(&of(failed, None)), ReceiptError::Failed);
}

#[test]
fn a_file_that_was_changed_is_none() {
    let file = of(claim(b"an answer"), Some(b"an answer")).to_file();
    assert_eq!(Receipt::from_file(b"evidence"), Err(ReceiptError::NotReceipt));
    let other = [b"tidemill receipt 2", &file[18..]].concat();
    assert_eq!(Receipt::from_file(&other), Err(ReceiptError::OtherFormat { found: "2".into() }));
    assert_eq!(Receipt::from_file(&file[..file.len() - 1]), Err(ReceiptError::Damaged));
    let mut longer = file.clone();
    longer.push(0);
    assert_eq!(Receipt::from_file(&longer), Err(ReceiptError::Damaged));
    let mut reworded = file;
    reworded[30] ^= 1;
    assert_eq!(Receipt::from_file(&reworded), Err(ReceiptError::OtherWords));
}
