use proptest::prelude::*;

use super::*;
use crate::{
    BlobId, Claim, ClaimError, ClaimedOutput, FloatClass, JobId, Leaf, LeaseId, Outcome, ProgramKind,
    SpecHash, TaskNumber, Terms, Usage, WorkTerms, merkle,
};

const CHAIN: Chain = Chain { chain_id: 31_337, disputes: Address([0xd1; 20]) };
const COORDINATOR: NodeId = NodeId([0xc0; 32]);
const PROVIDER: NodeId = NodeId([0xb0; 32]);

fn key(number: u8) -> ResultKey {
    let mut bytes = [0; 32];
    bytes[31] = number;
    ResultKey::from_bytes(&bytes).expect("small numbers but zero are keys")
}

fn batch() -> BatchTerms {
    BatchTerms { root: [0xaa; 32], count: 3, coordinator: COORDINATOR, provider: PROVIDER, sequence: 9 }
}

fn check(signature: &Signature65) -> Result<(), SignatureError> {
    verify_batch(&CHAIN, &batch(), signature, key(1).address())
}

fn terms(lease: u64) -> Terms {
    Terms {
        escrow: [0; 32],
        coordinator: COORDINATOR,
        provider: PROVIDER,
        job: JobId([1; 16]),
        task: TaskNumber(lease),
        lease: LeaseId(lease),
        work: WorkTerms {
            spec: SpecHash::from_bytes([2; 32]),
            program: BlobId::of(b"program"),
            input: [3; 32],
            limits: [4; 32],
            kind: ProgramKind::Wasm,
            floats: FloatClass::Native,
            exec_version: 1,
        },
    }
}

fn claim() -> Claim {
    Claim {
        outcome: Outcome::Done,
        usage: Usage::default(),
        output: Some(ClaimedOutput { id: BlobId::of(b"output"), len: 6 }),
        hardware_class: None,
    }
}

/// Five results under one signature.
fn signed_leaves() -> Vec<SignedLeaf> {
    let leaf =
        |lease| Leaf::of(&terms(lease), &claim()).expect("the claim does not contradict itself").hash();
    let leaves: Vec<_> = (0..5).map(leaf).collect();
    let batch = BatchTerms { root: merkle::root(&leaves), count: 5, ..batch() };
    let signature = key(1).sign_batch(&CHAIN, &batch);
    let signed = |index| SignedLeaf {
        chain: CHAIN,
        terms: terms(index as u64),
        claim: claim(),
        path: merkle::path(&leaves, index).expect("there are five"),
        batch,
        signature,
    };
    (0..5).map(signed).collect()
}

fn word(number: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&number.to_be_bytes());
    word
}

/// The digest of EIP-712 with nothing but keccak.
fn digest_by_hand(chain: &Chain, data_type: &str, fields: &[[u8; 32]]) -> [u8; 32] {
    let mut disputes = [0; 32];
    disputes[12..].copy_from_slice(&chain.disputes.0);
    let domain_type = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
    let domain =
        [keccak256(domain_type).0, keccak256("Tidemill").0, keccak256("1").0, word(chain.chain_id), disputes];
    let data = [&[keccak256(data_type).0], fields].concat();
    let hashes = [keccak256(domain.concat()).0, keccak256(data.concat()).0].concat();
    keccak256([b"\x19\x01".as_slice(), &hashes].concat()).0
}

fn hex(bytes: &[u8]) -> String {
    alloy_primitives::hex::encode(bytes)
}

#[test]
fn the_example_of_the_standard_is_signed_as_there() {
    let cow = ResultKey::from_bytes(&keccak256("cow").0).expect("it is a key");
    assert_eq!(cow.address().to_string(), "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826");
    let digest = "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2";
    let digest: NodeId = digest.parse().expect("it has 64 digits");
    let signature = cow.sign(&digest.0);
    assert_eq!(
        hex(&signature.0),
        "4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d\
         07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b91562\
         1c"
    );
    assert_eq!(verify(&digest.0, &signature, cow.address()), Ok(()));
}

#[test]
fn the_digests_are_what_a_contract_would_compute() {
    for chain in [CHAIN, Chain::default()] {
        let data_type =
            "ResultBatch(bytes32 root,uint32 count,bytes32 coordinator,bytes32 provider,uint64 sequence)";
        let fields = [batch().root, word(3), COORDINATOR.0, PROVIDER.0, word(9)];
        assert_eq!(batch_digest(&chain, &batch()), digest_by_hand(&chain, data_type, &fields));

        let binding = digest_by_hand(&chain, "NodeBinding(bytes32 node)", &[PROVIDER.0]);
        assert_eq!(binding_digest(&chain, PROVIDER), binding);
    }
}

#[test]
fn digests_are_as_they_were_when_the_format_was_fixed() {
    // Whoever sees this fail changes what all signatures so far were over: raise the version of the domain.
    assert_eq!(
        hex(&batch_digest(&CHAIN, &batch())),
        "1ff33b15aeaed2ae5690ddc7b70989259c029c3485763b5eb76903293c667269"
    );
    assert_eq!(
        hex(&binding_digest(&CHAIN, PROVIDER)),
        "0225f5c38433eefb058c0bda602354339c56f7752fc5905b87f8f297aa2291e8"
    );
    assert_eq!(
        hex(&binding_message(Address([7; 20]))),
        "746964656d696c6c2032303236206e6f6465206b657920666f7220726573756c74206b6579000707070707070707070707070707070707070707"
    );
    assert_eq!(
        hex(&key(1).sign_batch(&CHAIN, &batch()).0),
        "f20741d4b21986126ad8750938230f9bc0d82ea430a8399f7d8001231be26cf63cc750ef2405b523217730aae75751b58a5609b844de1b1277709a5e6dcc94841b"
    );
}

#[test]
fn a_key_comes_back_from_its_file() {
    let key = ResultKey::from_bytes(&[0x5a; 32]).expect("it is a key");
    let again = ResultKey::from_bytes(&key.to_bytes()).expect("it was one");
    assert_eq!(key.to_bytes(), [0x5a; 32]);
    assert_eq!(again.address(), key.address());
}

#[test]
fn what_is_no_key_is_refused() {
    for bytes in [[0; 32], [0xff; 32]] {
        let error = ResultKey::from_bytes(&bytes).expect_err("it is no key");
        assert_eq!(error.to_string(), "these 32 bytes are not a secp256k1 secret key");
    }
}

#[test]
fn a_key_does_not_print_its_secret() {
    assert_eq!(format!("{:?}", key(1)), "ResultKey(secret of 0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf)");
}

#[test]
fn a_batch_is_signed_for_one_chain_and_with_all_its_terms() {
    let signer = key(1).address();
    let signature = key(1).sign_batch(&CHAIN, &batch());
    assert_eq!(check(&signature), Ok(()));

    let chains =
        [Chain { chain_id: 1, ..CHAIN }, Chain { disputes: Address([0xd2; 20]), ..CHAIN }, Chain::default()];
    for chain in chains {
        assert!(verify_batch(&chain, &batch(), &signature, signer).is_err(), "{chain:?}");
    }
    let changes: [fn(&mut BatchTerms); 5] = [
        |b| b.root[0] = 0,
        |b| b.count = 4,
        |b| b.coordinator.0[0] = 0,
        |b| b.provider.0[0] = 0,
        |b| b.sequence = 10,
    ];
    for change in changes {
        let mut changed = batch();
        change(&mut changed);
        assert!(verify_batch(&CHAIN, &changed, &signature, signer).is_err(), "{changed:?}");
    }
}

#[test]
fn the_signature_of_another_key_is_refused_by_name() {
    let (expected, found) = (key(1).address(), key(2).address());
    let error = check(&key(2).sign_batch(&CHAIN, &batch()));
    assert_eq!(error, Err(SignatureError::OtherSigner { expected, found }));
}

#[test]
fn the_twin_of_a_signature_is_refused() {
    let signature = key(1).sign_batch(&CHAIN, &batch());
    let scalars = Signature::from_slice(&signature.0[..64]).expect("it is a signature");
    let twin =
        Signature::from_scalars(scalars.r().to_bytes(), (-*scalars.s()).to_bytes()).expect("so is its twin");
    for v in [27, 28] {
        let mut bytes = [v; 65];
        bytes[..64].copy_from_slice(&twin.to_bytes());
        assert_eq!(check(&Signature65(bytes)), Err(SignatureError::Malleable));
    }
}

#[test]
fn what_is_no_signature_is_refused() {
    let good = key(1).sign_batch(&CHAIN, &batch());
    let changes: [fn(&mut [u8; 65]); 7] = [
        |b| b[..32].fill(0),
        |b| b[..32].fill(0xff),
        |b| b[32..64].fill(0),
        |b| b[32..64].fill(0xff),
        |b| b[64] = 0,
        |b| b[64] = 1,
        |b| b[64] += 2,
    ];
    for change in changes {
        let mut changed = good;
        change(&mut changed.0);
        assert_eq!(check(&changed), Err(SignatureError::Malformed), "{changed:?}");
    }
}

#[test]
fn signatures_and_bindings_travel_as_their_bytes() {
    let binding = KeyBinding {
        address: key(1).address(),
        by_result_key: key(1).sign_binding(&CHAIN, PROVIDER),
        by_node_key: std::array::from_fn(|index| index as u8),
    };
    let bytes = postcard::to_stdvec(&binding).expect("plain data has an encoding");
    let plain = [binding.address.0.as_slice(), &binding.by_result_key.0, &binding.by_node_key].concat();
    assert_eq!(bytes, plain);
    assert_eq!(postcard::from_bytes(&bytes), Ok(binding));
}

#[test]
fn a_result_key_is_bound_to_one_node() {
    let binding = KeyBinding {
        address: key(1).address(),
        by_result_key: key(1).sign_binding(&CHAIN, PROVIDER),
        by_node_key: [0; 64],
    };
    assert_eq!(verify_result_side(&CHAIN, PROVIDER, &binding), Ok(()));
    assert!(verify_result_side(&CHAIN, COORDINATOR, &binding).is_err());
    assert!(verify_result_side(&Chain::default(), PROVIDER, &binding).is_err());
    let another = KeyBinding { address: key(2).address(), ..binding };
    let (expected, found) = (key(2).address(), key(1).address());
    let error = SignatureError::OtherSigner { expected, found };
    assert_eq!(verify_result_side(&CHAIN, PROVIDER, &another), Err(error));
    assert_ne!(binding_message(expected), binding_message(found));
}

#[test]
fn each_result_of_a_batch_can_be_shown_alone() {
    for leaf in signed_leaves() {
        let bytes = postcard::to_stdvec(&leaf).expect("plain data has an encoding");
        let shown: SignedLeaf = postcard::from_bytes(&bytes).expect("it was one");
        assert_eq!(shown.check(key(1).address()), Ok(()));
        assert_eq!(leaf, shown);
    }
}

#[test]
fn a_leaf_is_of_its_own_batch_alone() {
    let refused = |change: &dyn Fn(&mut SignedLeaf)| {
        let mut leaf = signed_leaves().swap_remove(2);
        change(&mut leaf);
        leaf.check(key(1).address()).expect_err("it was changed")
    };
    let other = NodeId([1; 32]);

    assert_eq!(refused(&|l| l.path = signed_leaves()[1].path.clone()), LeafError::NotInBatch);
    assert_eq!(refused(&|l| l.terms = terms(3)), LeafError::NotInBatch);
    assert_eq!(refused(&|l| l.claim.usage.host_calls = 1), LeafError::NotInBatch);
    assert_eq!(refused(&|l| l.batch.root = [0; 32]), LeafError::NotInBatch);
    let too_long = LeafError::PathTooLong { found: 4, count: 5, most: 3 };
    assert_eq!(refused(&|l| l.path.push([0; 32])), too_long);
    assert_eq!(refused(&|l| l.claim.output = None), LeafError::Claim(ClaimError::NoOutput));

    let error = refused(&|l| l.batch.coordinator = other);
    assert_eq!(error, LeafError::OtherCoordinator { leaf: COORDINATOR, batch: other });
    let error = refused(&|l| l.terms.coordinator = other);
    assert_eq!(error, LeafError::OtherCoordinator { leaf: other, batch: COORDINATOR });
    let error = refused(&|l| l.batch.provider = other);
    assert_eq!(error, LeafError::OtherProvider { leaf: PROVIDER, batch: other });

    let is_unsigned = |error| matches!(error, LeafError::Signature(SignatureError::OtherSigner { .. }));
    assert!(is_unsigned(refused(&|l| l.batch.sequence = 8)));
    assert!(is_unsigned(refused(&|l| l.chain.chain_id = 1)));
    assert!(is_unsigned(refused(&|l| l.signature = key(2).sign_batch(&l.chain, &l.batch))));
    let elsewhere = refused(&|l| (l.terms.coordinator, l.batch.coordinator) = (other, other));
    assert_eq!(elsewhere, LeafError::NotInBatch);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changed_byte_of_a_signature_is_noticed(at in 0usize..65, flip in 1u8..) {
        let mut signature = key(1).sign_batch(&CHAIN, &batch());
        signature.0[at] ^= flip;
        prop_assert!(check(&signature).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(first: [u8; 32], second: [u8; 32], v: u8) {
        prop_assert!(check(&Signature65::from((first, second, v))).is_err());
        prop_assert!(check(&Signature65::from((first, second, 27 + v % 2))).is_err());
    }

    #[test]
    fn what_any_key_signs_is_verified(secret: [u8; 32], sequence: u64, root: [u8; 32]) {
        prop_assume!(ResultKey::from_bytes(&secret).is_ok());
        let key = ResultKey::from_bytes(&secret).expect("assumed");
        let batch = BatchTerms { root, sequence, ..batch() };
        let signature = key.sign_batch(&CHAIN, &batch);
        prop_assert_eq!(verify_batch(&CHAIN, &batch, &signature, key.address()), Ok(()));
    }
}
