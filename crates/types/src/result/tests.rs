use std::{hint::black_box, time::Instant};

use super::*;
use crate::{ByteSize, Fuel, GuestPath, InputSpec, Limits, Millis, Tokens};

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
        limits: Limits {
            fuel: Fuel(1),
            input_tokens: 9,
            output_tokens: 10,
            memory: ByteSize(2),
            table_elements: 3,
            stack: ByteSize(4),
            output: ByteSize(5),
            files: 6,
            log: ByteSize(7),
            wall_time: Millis(8),
        },
        seed: 5,
    }
}

fn terms() -> Terms {
    Terms {
        escrow: [1; 32],
        coordinator: NodeId([2; 32]),
        provider: NodeId([3; 32]),
        job: JobId([4; 16]),
        task: TaskNumber(5),
        lease: LeaseId(6),
        work: WorkTerms::of(&spec()),
    }
}

fn done() -> Claim {
    Claim {
        outcome: Outcome::Done,
        usage: Usage {
            fuel: Fuel(10),
            tokens: Tokens { input: 17, cached: 18, output: 19 },
            memory: ByteSize(11),
            read: ByteSize(12),
            output: ByteSize(13),
            log: ByteSize(14),
            host_calls: 15,
        },
        output: Some(ClaimedOutput { id: BlobId::of(b"output"), len: 16 }),
        hardware_class: Some("x86-64-v3".into()),
    }
}

fn failed(failure: Failure) -> Claim {
    Claim { outcome: Outcome::Failed(failure), output: None, ..done() }
}

fn hash(terms: &Terms, claim: &Claim) -> [u8; 32] {
    Leaf::of(terms, claim).expect("the claim does not contradict itself").hash()
}

fn word(number: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&number.to_be_bytes());
    word
}

fn left(bytes: [u8; 16]) -> [u8; 32] {
    let mut word = [0; 32];
    word[..16].copy_from_slice(&bytes);
    word
}

#[test]
fn every_term_changes_the_leaf() {
    let base = hash(&terms(), &done());
    let changes: [fn(&mut Terms); 12] = [
        |t| t.escrow[31] = 0,
        |t| t.coordinator.0[0] = 0,
        |t| t.provider.0[0] = 0,
        |t| t.job.0[15] = 0,
        |t| t.task.0 = 6,
        |t| t.lease.0 = 5,
        |t| t.work.spec = SpecHash::from_bytes([0; 32]),
        |t| t.work.program = BlobId::of(b"other"),
        |t| t.work.input[0] ^= 1,
        |t| t.work.limits[0] ^= 1,
        |t| t.work.floats = FloatClass::Canonical,
        |t| t.work.exec_version += 1,
    ];
    for change in changes {
        let mut changed = terms();
        change(&mut changed);
        assert_ne!(hash(&changed, &done()), base, "{changed:?}");
    }
    assert_eq!(hash(&terms(), &done()), base);
}

#[test]
fn everything_claimed_of_a_task_that_is_done_changes_the_leaf() {
    let base = hash(&terms(), &done());
    let changes: [fn(&mut Claim); 13] = [
        |c| c.usage.fuel.0 += 1,
        |c| c.usage.tokens.input += 1,
        |c| c.usage.tokens.cached += 1,
        |c| c.usage.tokens.output += 1,
        |c| c.usage.memory.0 += 1,
        |c| c.usage.read.0 += 1,
        |c| c.usage.output.0 += 1,
        |c| c.usage.log.0 += 1,
        |c| c.usage.host_calls += 1,
        |c| c.output = Some(ClaimedOutput { id: BlobId::of(b"other"), len: 16 }),
        |c| c.output = Some(ClaimedOutput { id: BlobId::of(b"output"), len: 17 }),
        |c| c.hardware_class = Some("x86-64-v4".into()),
        |c| c.hardware_class = None,
    ];
    for change in changes {
        let mut changed = done();
        change(&mut changed);
        assert_ne!(hash(&terms(), &changed), base, "{changed:?}");
    }
}

#[test]
fn how_a_task_failed_changes_the_leaf() {
    let exit = |code, stderr: &str| failed(Failure::Exit { code, stderr: stderr.into() });
    let claims = [
        done(),
        exit(1, ""),
        exit(2, ""),
        exit(1, "no"),
        failed(Failure::Host { reason: "no".into() }),
        failed(Failure::Cancelled),
        Claim { usage: Usage::default(), ..failed(Failure::Cancelled) },
    ];
    let mut hashes: Vec<_> = claims.iter().map(|claim| hash(&terms(), claim)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), claims.len());
}

#[test]
fn a_failure_says_whether_it_is_evidence() {
    let codes = |claim: &Claim| {
        let leaf = Leaf::of(&terms(), claim).expect("the claim does not contradict itself");
        (leaf.0.outcome, leaf.0.failure.is_zero(), leaf.0.weight)
    };
    assert_eq!(codes(&done()), (0, true, 0));
    assert_eq!(codes(&failed(Failure::Fuel { limit: Fuel(9) })), (1, false, 1));
    assert_eq!(codes(&failed(Failure::Cancelled)), (1, false, 2));
}

#[test]
fn there_is_no_leaf_of_a_claim_that_contradicts_itself() {
    let nothing = Claim { output: None, ..done() };
    assert_eq!(Leaf::of(&terms(), &nothing), Err(ClaimError::NoOutput));

    let too_much = Claim { output: done().output, ..failed(Failure::Cancelled) };
    assert_eq!(Leaf::of(&terms(), &too_much), Err(ClaimError::OutputOfFailure(BlobId::of(b"output"))));
    let error = too_much.check().expect_err("a failure has no output").to_string();
    assert!(error.starts_with("the claim says that the task failed, and names the output "), "{error}");
}

#[test]
fn each_part_of_a_specification_is_found_in_its_terms() {
    let base = WorkTerms::of(&spec());
    let of = |change: fn(&mut TaskSpec)| {
        let mut changed = spec();
        change(&mut changed);
        WorkTerms::of(&changed)
    };
    let inputs: [fn(&mut TaskSpec); 4] = [
        |s| s.args[1] = "8".into(),
        |s| s.env.clear(),
        |s| s.inputs[0].content = BlobId::of(b"b"),
        |s| s.seed = 6,
    ];
    for change in inputs {
        let changed = of(change);
        assert_ne!(changed.input, base.input);
        assert_ne!(changed.spec, base.spec);
        assert_eq!(WorkTerms { input: base.input, spec: base.spec, ..changed }, base);
    }
    let roomier = of(|s| s.limits.memory = ByteSize::mib(1024));
    assert_ne!(roomier.limits, base.limits);
    assert_eq!(WorkTerms { limits: base.limits, spec: base.spec, ..roomier }, base);

    let other = of(|s| (s.program, s.floats) = (BlobId::of(b"q"), FloatClass::Canonical));
    assert_eq!((other.program, other.floats), (BlobId::of(b"q"), FloatClass::Canonical));
    assert_eq!((other.input, other.exec_version), (base.input, ProgramKind::Wasm.version()));
}

#[test]
fn the_leaf_is_what_a_contract_would_compute() {
    let (terms, claim) = (terms(), done());
    let class = claim.hardware_class.as_deref().expect("it has one");
    let data_type = "TaskResult(bytes32 escrow,bytes32 coordinator,bytes32 provider,bytes16 job,uint64 task,\
                     uint64 lease,bytes32 spec,bytes32 program,bytes32 input,bytes32 limits,uint8 kind,\
                     uint8 floats,uint32 execVersion,uint8 outcome,bytes32 failure,uint8 weight,bytes32 output,\
                     uint64 outputLength,uint64 fuel,uint64 inputTokens,uint64 cachedTokens,uint64 outputTokens,\
                     uint64 memoryBytes,uint64 readBytes,uint64 outputBytes,\
                     uint64 logBytes,uint64 hostCalls,bytes32 hardwareClass)";
    let words = [
        keccak256(data_type).0,
        terms.escrow,
        terms.coordinator.0,
        terms.provider.0,
        left(terms.job.0),
        word(5),
        word(6),
        *terms.work.spec.as_bytes(),
        *terms.work.program.as_bytes(),
        terms.work.input,
        terms.work.limits,
        word(0),
        word(0),
        word(u64::from(ProgramKind::Wasm.version())),
        word(0),
        word(0),
        word(0),
        *BlobId::of(b"output").as_bytes(),
        word(16),
        word(10),
        word(17),
        word(18),
        word(19),
        word(11),
        word(12),
        word(13),
        word(14),
        word(15),
        keccak256(class).0,
    ];
    let leaf = Leaf::of(&terms, &claim).expect("the claim does not contradict itself");
    assert_eq!(leaf.struct_hash(), keccak256(words.concat()));
    assert_eq!(leaf.struct_hash(), leaf.0.eip712_hash_struct());
    assert_eq!(leaf.hash(), keccak256(keccak256(words.concat())).0);
}

#[test]
fn leaves_hash_as_they_did_when_the_format_was_fixed() {
    // Whoever sees this fail changes what all signatures so far were over: raise the version of the domain.
    let hex = |bytes: [u8; 32]| B256::from(bytes).to_string();
    let fixed =
        WorkTerms { spec: SpecHash::from_bytes([7; 32]), input: [8; 32], limits: [9; 32], ..terms().work };
    let terms = Terms { work: WorkTerms { exec_version: 1, ..fixed }, ..terms() };
    assert_eq!(
        hex(hash(&terms, &done())),
        "0x745c6377b9fe6d3c388a9d3cd95f83d916b004e630a2273958800492fbeb4f5c"
    );
    let failure = Failure::Exit { code: 3, stderr: "no".into() };
    assert_eq!(
        hex(hash(&terms, &failed(failure))),
        "0x025d6926845f121ac09d37dff84ca21f8fea0fe7988b4da2fa6737e0bc027efe"
    );
    assert_eq!(
        hex(WorkTerms::of(&spec()).input),
        "0xdaa6ff870d1d580f51fe34bc3da58b9b90d3d259e7d562f96b1b94b4b08cf9de"
    );
    assert_eq!(
        hex(WorkTerms::of(&spec()).limits),
        "0x0af510d0e1ca98c7691e28362bb0f5c671ced4e5f5364afa777fd8fe23b97450"
    );
}

#[test]
#[ignore = "a measurement: cargo test --release -p tidemill-types how_long_a_leaf -- --ignored --nocapture"]
fn how_long_a_leaf_takes() {
    let (terms, claim) = (terms(), done());
    let round = |count: u64| {
        let started = Instant::now();
        for lease in 0..count {
            let terms = Terms { lease: LeaseId(lease), ..terms };
            black_box(hash(black_box(&terms), black_box(&claim)));
        }
        started.elapsed().as_secs_f64() * 1e6 / count as f64
    };
    // The quickest of many rounds: the others were disturbed.
    let quickest = (0..50).map(|_| round(2_000)).fold(f64::MAX, f64::min);
    println!("{quickest:.2} µs a leaf");
}
