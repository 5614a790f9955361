//! A lease that has been looked at: what it asks for is not in contradiction with itself.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Instant,
};

use tidemill_exec::{Cancel, Follow};
use tidemill_job::{BlobRef, BlobSource};
use tidemill_net::wire::{Lease, LeasePay, MAX_LEASE_INLINE_BYTES, Source};
use tidemill_types::{BlobId, EngineIndex, JobId, LimitError, ProgramKind, TaskNumber, TaskSpec};

use crate::{
    key::{CoordinatorIndex, LeaseKey},
    turn::Pay,
};

/// An attempt to make.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) key: LeaseKey,
    /// Which engine is to run it.
    pub(crate) engine: EngineIndex,
    pub(crate) seal: [u8; 16],
    pub(crate) job: JobId,
    pub(crate) task: TaskNumber,
    /// What pays for it.
    pub(crate) pay: Option<LeasePay>,
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) program: BlobRef,
    /// Where the bytes of each of `spec.inputs` are, in the same order.
    pub(crate) sources: Vec<Source>,
    /// What somebody says its output is made of, if it is a check.
    pub(crate) draft: Option<Arc<[u8]>>,
    /// The blobs that it needs, each once. Empty ones are needed by nobody.
    pub(crate) blobs: Vec<Need>,
    /// About how much memory the attempt itself takes while it waits.
    pub(crate) bytes: usize,
    /// Set to end it while it runs.
    pub(crate) cancel: Cancel,
    /// Whether somebody wants to see what it writes.
    pub(crate) follow: Follow,
    /// When it began to run.
    pub(crate) began: OnceLock<Instant>,
    /// Whether it was queued once more after it could not begin, although nothing that it reads was damaged by then.
    pub(crate) begun_twice: AtomicBool,
}

/// A blob that is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Need {
    pub(crate) blob: BlobRef,
    /// Where it is, if it is a part of a blob that is not needed as a whole.
    pub(crate) part_of: Option<BlobSource>,
}

impl Need {
    /// A blob of the coordinator's own.
    pub(crate) fn whole(blob: BlobRef) -> Self {
        Self { blob, part_of: None }
    }
}

/// A lease that cannot be right, so that no result of it may be signed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("its limits are none that a task may have: {0}")]
    Limits(LimitError),
    #[error("the input {path} has another length than its specification says")]
    InputLength { path: String },
    #[error("the input {path} is not where the lease says it is")]
    OutsideBlob { path: String },
    #[error("the input {path} is said to be blob {found}, and its specification says {expected}")]
    OtherContent { path: String, expected: BlobId, found: BlobId },
    #[error("the blob {id} is said to have {one} bytes, and {other}")]
    TwoLengths { id: BlobId, one: u64, other: u64 },
    #[error("the program has {len} bytes; at most {most} are allowed")]
    LongProgram { len: u64, most: u64 },
    #[error("{0} bytes of inputs are in the lease; at most {MAX_LEASE_INLINE_BYTES} are allowed")]
    LongInputs(usize),
    #[error("the program is said to be empty, and is not")]
    EmptyProgram,
    #[error("it pays by other rates than this provider asks")]
    OtherRates,
    #[error("it is for engine {index}, and this provider has no engine for {kind} programs there")]
    OtherEngine { index: EngineIndex, kind: ProgramKind },
}

impl Attempt {
    /// Looks at a lease. What is in it is not hashed here: that is for the thread that runs it.
    pub(crate) fn new(coordinator: CoordinatorIndex, lease: Lease) -> Result<Self, LeaseError> {
        if let Some(wrong) = lease.spec.limits.check(lease.spec.kind).into_iter().next() {
            return Err(LeaseError::Limits(wrong));
        }
        let Lease { id, engine, seal, job, task, spec, program_len, mut sources, pay, draft, .. } = lease;
        check_program(spec.kind, spec.program, program_len)?;
        for (input, source) in spec.inputs.iter().zip(&sources) {
            let path = || input.path.to_string();
            match source {
                Source::Inline(bytes) if bytes.len() as u64 != input.len => {
                    return Err(LeaseError::InputLength { path: path() });
                }
                Source::Inline(_) => {}
                Source::Blob(source) if !source.holds(input.len) => {
                    return Err(LeaseError::OutsideBlob { path: path() });
                }
                Source::Blob(source) if source.is_whole(input.len) && source.blob.id != input.content => {
                    let (expected, found) = (input.content, source.blob.id);
                    return Err(LeaseError::OtherContent { path: path(), expected, found });
                }
                Source::Blob(_) => {}
            }
        }
        let inline: usize = sources.iter().map(inline_bytes).sum();
        if inline > MAX_LEASE_INLINE_BYTES {
            return Err(LeaseError::LongInputs(inline));
        }
        let bytes = inline + text_bytes(&spec) + draft.as_ref().map_or(0, Vec::len);
        let program = BlobRef { id: spec.program, len: program_len };
        let spec = Arc::new(spec);
        let blobs = blobs(program, &spec, &mut sources)?;
        let (cancel, follow) = (Cancel::default(), Follow::default());
        Ok(Self {
            key: coordinator.lease(id),
            engine,
            seal,
            job,
            task,
            pay,
            spec,
            program,
            sources,
            draft: draft.map(Arc::from),
            blobs,
            bytes,
            cancel,
            follow,
            began: OnceLock::new(),
            begun_twice: AtomicBool::new(false),
        })
    }

    /// What it is paid, compared with others on the same engine.
    pub(crate) fn pays(&self) -> Pay {
        Pay::by(self.pay.as_ref().map(|pay| &pay.rates))
    }
}

/// A part of a blob is fetched alone, unless a task reads at least one byte in so many of the blob.
const WORTH_ALL: u64 = 2;

/// All blobs that have to be here and are not empty, each once. Where an input is fetched alone, its source is all of
/// what it will be.
fn blobs(program: BlobRef, spec: &TaskSpec, sources: &mut [Source]) -> Result<Vec<Need>, LeaseError> {
    let mut named = vec![program];
    let mut read: HashMap<BlobId, u64> = HashMap::new();
    for (input, source) in spec.inputs.iter().zip(sources.iter()) {
        if let Source::Blob(source) = source {
            named.push(source.blob);
            let read = read.entry(source.blob.id).or_default();
            *read = read.saturating_add(input.len);
        }
    }
    let mut needs = vec![Need::whole(program)];
    for (input, source) in spec.inputs.iter().zip(sources) {
        let Source::Blob(source) = source else { continue };
        if read[&source.blob.id] >= source.blob.len.div_ceil(WORTH_ALL) {
            needs.push(Need::whole(source.blob));
            continue;
        }
        let part = BlobRef { id: input.content, len: input.len };
        named.push(part);
        needs.push(Need { blob: part, part_of: Some(*source) });
        *source = BlobSource::whole(part);
    }
    named.sort_unstable();
    named.dedup();
    if let Some([one, other]) = named.array_windows().find(|[one, other]| one.id == other.id) {
        return Err(LeaseError::TwoLengths { id: one.id, one: one.len, other: other.len });
    }
    // What is a blob of the coordinator's is not looked for in another.
    needs.sort_by_key(|need| (need.blob, need.part_of.is_some()));
    needs.dedup_by_key(|need| need.blob);
    needs.retain(|need| need.blob.len > 0);
    Ok(needs)
}

fn check_program(kind: ProgramKind, id: BlobId, len: u64) -> Result<(), LeaseError> {
    let most = kind.most_program_bytes();
    if len > most {
        return Err(LeaseError::LongProgram { len, most });
    }
    if len == 0 && id != BlobId::of(b"") { Err(LeaseError::EmptyProgram) } else { Ok(()) }
}

fn inline_bytes(source: &Source) -> usize {
    match source {
        Source::Inline(bytes) => bytes.len(),
        Source::Blob(_) => 0,
    }
}

fn text_bytes(spec: &TaskSpec) -> usize {
    /// An attempt without anything, and an input without its path.
    const FIXED: usize = 512;
    const INPUT: usize = 160;
    let args: usize = spec.args.iter().map(|arg| arg.len() + 24).sum();
    let env: usize = spec.env.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
    let inputs: usize = spec.inputs.iter().map(|input| input.path.as_str().len() + INPUT).sum();
    FIXED + args + env + inputs
}

#[cfg(test)]
pub(crate) mod tests {
    use tidemill_types::{
        Amount, ByteSize, EscrowId, FloatClass, GuestPath, InputSpec, LeaseId, Limits, MAX_PROGRAM_BYTES,
        Millis, RateCard, WorkRate,
    };

    use super::*;

    /// The same lease, paid with so much for work.
    pub(crate) fn paid(lease: Lease, tide: u64) -> Lease {
        let work = WorkRate::fuel(Amount::tide(tide));
        let rates = RateCard { work, ..RateCard::default() };
        Lease { pay: Some(LeasePay { escrow: EscrowId([1; 32]), rates }), ..lease }
    }

    /// A lease of a task with these inputs.
    pub(crate) fn lease(id: u64, inputs: &[(&[u8], Source)]) -> Lease {
        let spec = TaskSpec {
            kind: ProgramKind::Wasm,
            program: BlobId::of(b"program"),
            floats: FloatClass::Native,
            args: vec!["program".to_owned()],
            env: Vec::new(),
            inputs: inputs
                .iter()
                .enumerate()
                .map(|(at, (content, _))| InputSpec {
                    path: GuestPath::new(format!("input {at}")).expect("a path"),
                    content: BlobId::of(content),
                    len: content.len() as u64,
                })
                .collect(),
            limits: Limits { memory: ByteSize::mib(1), ..Limits::default() },
            seed: 0,
        };
        Lease {
            id: LeaseId(id),
            engine: EngineIndex(0),
            seal: [1; 16],
            job: JobId([2; 16]),
            task: TaskNumber(id),
            spec,
            program_len: 7,
            sources: inputs.iter().map(|(_, source)| source.clone()).collect(),
            within: Millis(60_000),
            pay: None,
            draft: None,
            draft_of: None,
        }
    }

    /// A range of the blob of these bytes.
    pub(crate) fn range(blob: &[u8], offset: u64) -> Source {
        let blob = BlobRef { id: BlobId::of(blob), len: blob.len() as u64 };
        Source::Blob(BlobSource::at(blob, offset))
    }

    #[test]
    fn a_lease_says_which_blobs_it_needs() {
        let lease = lease(
            1,
            &[
                (b"here", Source::Inline(b"here".to_vec())),
                (b"all of it", range(b"all of it", 0)),
                (b"part", range(b"a part of it", 2)),
                (b"of it", range(b"a part of it", 7)),
                (b"", range(b"", 0)),
            ],
        );
        let attempt = Attempt::new(CoordinatorIndex(0), lease).expect("nothing is wrong with it");
        let mut expected = [&b"program"[..], b"all of it", b"a part of it"]
            .map(|bytes| BlobRef { id: BlobId::of(bytes), len: bytes.len() as u64 });
        expected.sort();
        assert_eq!(attempt.blobs, expected.map(Need::whole), "of the last most is read");
    }

    #[test]
    fn a_small_part_of_a_blob_is_needed_alone() {
        let blob = |bytes: &[u8]| BlobRef { id: BlobId::of(bytes), len: bytes.len() as u64 };
        let file = b"the first record, the second and the third";
        let inputs: &[(&[u8], Source)] = &[(&file[..5], range(file, 0)), (&file[10..17], range(file, 10))];
        let attempt = Attempt::new(CoordinatorIndex(0), lease(1, inputs)).expect("nothing is wrong with it");
        let [first, second] = [(0, 5), (10, 7)].map(|(offset, len): (usize, usize)| Need {
            blob: blob(&file[offset..][..len]),
            part_of: Some(BlobSource::at(blob(file), offset as u64)),
        });
        let mut expected = [first, second, Need::whole(blob(b"program"))];
        expected.sort_by_key(|need| need.blob);
        assert_eq!(attempt.blobs, expected);
        let whole = |need: Need| Source::Blob(BlobSource::whole(need.blob));
        assert_eq!(attempt.sources, [whole(first), whole(second)]);

        // The same part twice, and a part that is a blob by itself as well: each is fetched once.
        let program: &[(&[u8], Source)] = &[
            (b"program", range(b"beside the program lies much more", 11)),
            (&file[..5], range(file, 0)),
            (&file[..5], range(file, 0)),
        ];
        let attempt = Attempt::new(CoordinatorIndex(0), lease(1, program)).expect("nothing is wrong with it");
        let mut expected = [first, Need::whole(blob(b"program"))];
        expected.sort_by_key(|need| need.blob);
        assert_eq!(attempt.blobs, expected);
        // One that is said to have two lengths.
        let mut two = lease(1, inputs);
        two.spec.inputs[1].content = two.spec.inputs[0].content;
        assert!(matches!(Attempt::new(CoordinatorIndex(0), two), Err(LeaseError::TwoLengths { .. })));
    }

    #[test]
    fn lies_that_need_no_look_at_the_bytes_are_found() {
        let refused = |inputs: &[(&[u8], Source)]| {
            Attempt::new(CoordinatorIndex(0), lease(1, inputs)).expect_err("it contradicts itself")
        };
        let short = refused(&[(b"here", Source::Inline(b"her".to_vec()))]);
        assert!(matches!(short, LeaseError::InputLength { .. }));
        assert!(matches!(refused(&[(b"part", range(b"part", 1))]), LeaseError::OutsideBlob { .. }));
        assert!(matches!(refused(&[(b"part", range(b"trap", 0))]), LeaseError::OtherContent { .. }));
        let far = BlobSource::at(BlobRef { id: BlobId::of(b"x"), len: u64::MAX }, u64::MAX);
        assert!(matches!(refused(&[(b"part", Source::Blob(far))]), LeaseError::OutsideBlob { .. }));

        let mut other = range(b"a part of it", 2);
        if let Source::Blob(source) = &mut other {
            source.blob.len += 1;
        }
        let two = refused(&[(b"part", range(b"a part of it", 2)), (b"part", other)]);
        assert!(matches!(two, LeaseError::TwoLengths { .. }));

        let mut long = lease(1, &[]);
        long.program_len = MAX_PROGRAM_BYTES + 1;
        assert!(matches!(Attempt::new(CoordinatorIndex(0), long), Err(LeaseError::LongProgram { .. })));
        let mut empty = lease(1, &[]);
        empty.program_len = 0;
        assert_eq!(
            Attempt::new(CoordinatorIndex(0), empty).expect_err("it is not empty"),
            LeaseError::EmptyProgram
        );
        let bytes = vec![0; MAX_LEASE_INLINE_BYTES / 2 + 1];
        let twice =
            [(&bytes[..], Source::Inline(bytes.clone())), (&bytes[..], Source::Inline(bytes.clone()))];
        assert!(matches!(refused(&twice), LeaseError::LongInputs(_)));
    }
}
