//! A lease that has been looked at: what it asks for is not in contradiction with itself.

use std::sync::Arc;

use tidemill_exec::Cancel;
use tidemill_job::{BlobRef, BlobSource};
use tidemill_net::wire::{Lease, LeasePay, MAX_LEASE_INLINE_BYTES, Source};
use tidemill_types::{BlobId, JobId, LeaseId, MAX_PROGRAM_BYTES, TaskNumber, TaskSpec};

/// An attempt to make.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) id: LeaseId,
    pub(crate) seal: [u8; 16],
    pub(crate) job: JobId,
    pub(crate) task: TaskNumber,
    /// What pays for it.
    pub(crate) pay: Option<LeasePay>,
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) program: BlobRef,
    /// Where the bytes of each of `spec.inputs` are, in the same order.
    pub(crate) sources: Vec<Source>,
    /// The blobs that it needs, each once. Empty ones are needed by nobody.
    pub(crate) blobs: Vec<BlobRef>,
    /// About how much memory the attempt itself takes while it waits.
    pub(crate) bytes: usize,
    /// Set to end it while it runs.
    pub(crate) cancel: Cancel,
}

/// A lease that cannot be right, so that no result of it may be signed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("the input {path} has another length than its specification says")]
    InputLength { path: String },
    #[error("the input {path} is not where the lease says it is")]
    OutsideBlob { path: String },
    #[error("the input {path} is said to be blob {found}, and its specification says {expected}")]
    OtherContent { path: String, expected: BlobId, found: BlobId },
    #[error("the blob {id} is said to have {one} bytes, and {other}")]
    TwoLengths { id: BlobId, one: u64, other: u64 },
    #[error("the program has {0} bytes; at most {MAX_PROGRAM_BYTES} are allowed")]
    LongProgram(u64),
    #[error("{0} bytes of inputs are in the lease; at most {MAX_LEASE_INLINE_BYTES} are allowed")]
    LongInputs(usize),
    #[error("the program is said to be empty, and is not")]
    EmptyProgram,
    #[error("it pays by other rates than this provider asks")]
    OtherRates,
}

impl Attempt {
    /// Looks at a lease. What is in it is not hashed here: that is for the thread that runs it.
    pub(crate) fn new(lease: Lease) -> Result<Self, LeaseError> {
        let Lease { id, seal, job, task, spec, program_len, sources, within: _, pay } = lease;
        check_program(spec.program, program_len)?;
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
                Source::Blob(source) if is_whole(source, input.len) && source.blob.id != input.content => {
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
        let bytes = inline + text_bytes(&spec);
        let program = BlobRef { id: spec.program, len: program_len };
        let spec = Arc::new(spec);
        let blobs = blobs(program, &sources)?;
        let cancel = Cancel::default();
        Ok(Self { id, seal, job, task, pay, spec, program, sources, blobs, bytes, cancel })
    }
}

/// All blobs that are named and not empty, each once.
fn blobs(program: BlobRef, sources: &[Source]) -> Result<Vec<BlobRef>, LeaseError> {
    let inputs = sources.iter().filter_map(|source| match source {
        Source::Blob(source) => Some(source.blob),
        Source::Inline(_) => None,
    });
    let mut blobs: Vec<BlobRef> = std::iter::once(program).chain(inputs).collect();
    blobs.sort_unstable();
    blobs.dedup();
    if let Some([one, other]) = blobs.array_windows().find(|[one, other]| one.id == other.id) {
        return Err(LeaseError::TwoLengths { id: one.id, one: one.len, other: other.len });
    }
    blobs.retain(|blob| blob.len > 0);
    Ok(blobs)
}

/// Whether an input of this length is all of its blob.
pub(crate) fn is_whole(source: &BlobSource, len: u64) -> bool {
    source.offset == 0 && source.blob.len == len
}

fn check_program(id: BlobId, len: u64) -> Result<(), LeaseError> {
    if len > MAX_PROGRAM_BYTES {
        return Err(LeaseError::LongProgram(len));
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
    use tidemill_types::{ByteSize, FloatClass, GuestPath, InputSpec, Limits, Millis, ProgramKind};

    use super::*;

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
            seal: [1; 16],
            job: JobId([2; 16]),
            task: TaskNumber(id),
            spec,
            program_len: 7,
            sources: inputs.iter().map(|(_, source)| source.clone()).collect(),
            within: Millis(60_000),
            pay: None,
        }
    }

    /// A range of the blob of these bytes.
    pub(crate) fn range(blob: &[u8], offset: u64) -> Source {
        let blob = BlobRef { id: BlobId::of(blob), len: blob.len() as u64 };
        Source::Blob(BlobSource { blob, offset })
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
        let attempt = Attempt::new(lease).expect("nothing is wrong with it");
        let mut expected = [&b"program"[..], b"all of it", b"a part of it"]
            .map(|bytes| BlobRef { id: BlobId::of(bytes), len: bytes.len() as u64 });
        expected.sort();
        assert_eq!(attempt.blobs, expected);
    }

    #[test]
    fn lies_that_need_no_look_at_the_bytes_are_found() {
        let refused =
            |inputs: &[(&[u8], Source)]| Attempt::new(lease(1, inputs)).expect_err("it contradicts itself");
        let short = refused(&[(b"here", Source::Inline(b"her".to_vec()))]);
        assert!(matches!(short, LeaseError::InputLength { .. }));
        assert!(matches!(refused(&[(b"part", range(b"part", 1))]), LeaseError::OutsideBlob { .. }));
        assert!(matches!(refused(&[(b"part", range(b"trap", 0))]), LeaseError::OtherContent { .. }));
        let far = BlobSource { blob: BlobRef { id: BlobId::of(b"x"), len: u64::MAX }, offset: u64::MAX };
        assert!(matches!(refused(&[(b"part", Source::Blob(far))]), LeaseError::OutsideBlob { .. }));

        let mut other = range(b"a part of it", 2);
        if let Source::Blob(source) = &mut other {
            source.blob.len += 1;
        }
        let two = refused(&[(b"part", range(b"a part of it", 2)), (b"part", other)]);
        assert!(matches!(two, LeaseError::TwoLengths { .. }));

        let mut long = lease(1, &[]);
        long.program_len = MAX_PROGRAM_BYTES + 1;
        assert!(matches!(Attempt::new(long), Err(LeaseError::LongProgram(_))));
        let mut empty = lease(1, &[]);
        empty.program_len = 0;
        assert_eq!(Attempt::new(empty).expect_err("it is not empty"), LeaseError::EmptyProgram);
        let bytes = vec![0; MAX_LEASE_INLINE_BYTES / 2 + 1];
        let twice =
            [(&bytes[..], Source::Inline(bytes.clone())), (&bytes[..], Source::Inline(bytes.clone()))];
        assert!(matches!(refused(&twice), LeaseError::LongInputs(_)));
    }
}
