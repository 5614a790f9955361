//! Small inputs that travel in the message of their lease, so that a provider fetches nothing for them, and drafts. They are
//! read when the message is sent, and so wait in memory for the network alone.

use std::{collections::HashSet, sync::Arc};

use serde::Deserialize;
use tidemill_net::{
    blobs::BlobError,
    wire::{DraftOf, Lease, MAX_ALONG_BYTES, MAX_DRAFT_BYTES, MAX_LEASE_INLINE_BYTES, Source},
};
use tidemill_types::{Archive, BlobId, BlobRef, ByteRange, CLAIMS_FILE, TaskId, causes};

use crate::shared::Shared;

/// Puts the bytes of small inputs, and drafts, into leases.
pub async fn fill(shared: &Arc<Shared>, mut leases: Vec<Lease>) -> Vec<Lease> {
    let common: Vec<_> = leases.iter().map(|lease| shared.inputs.common(lease.job)).collect();
    let has_any = |(lease, common): (&Lease, &Option<Arc<HashSet<BlobId>>>)| {
        lease.draft_of.is_some() || common.as_ref().is_some_and(|common| !along(lease, common).is_empty())
    };
    if !leases.iter().zip(&common).any(has_any) {
        return leases;
    }
    let with = shared.clone();
    let filled = tokio::task::spawn_blocking(move || {
        for (lease, common) in leases.iter_mut().zip(common) {
            let task = TaskId { job: lease.job, task: lease.task };
            if let Some(of) = lease.draft_of.take() {
                lease.draft = Some(read_draft(&with, task, of));
            }
            if let Some(common) = common {
                fill_one(lease, &common, |blob, ranges| with.blobs.blocking_peek(blob, ranges));
            }
        }
        leases
    });
    match filled.await {
        Ok(leases) => leases,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The draft of an output; empty where it cannot be read, so that its provider computes all of it.
fn read_draft(shared: &Shared, task: TaskId, of: DraftOf) -> Vec<u8> {
    let BlobRef { id, len } = of.output;
    let kept = shared.store.kept_output(task, id).ok().flatten();
    let whole = || shared.blobs.blocking_peek(id, &[ByteRange { offset: 0, len }]);
    let draft = match kept.map_or_else(whole, Ok) {
        Ok(archive) => draft(&archive),
        Err(error) => {
            tracing::warn!(output = %id, error = causes(&error), "an output cannot be read for a check");
            None
        }
    };
    let mut draft = draft.unwrap_or_default();
    if let Some(at) = of.change {
        change(&mut draft, at);
    }
    draft
}

/// What of a claim goes into a draft. The chain does not: only those have it who have computed the answer.
#[derive(Deserialize)]
struct Claimed {
    tokens: Vec<u32>,
}

#[derive(Default, Deserialize)]
struct ClaimedLine {
    claims: Vec<Claimed>,
}

/// The tokens that an output says its answers have, a line for each of its lines, as many as go into a lease. What cannot
/// be read is a line without tokens.
fn draft(archive: &[u8]) -> Option<Vec<u8>> {
    let index = Archive::parse(archive).ok()?;
    let (entry, offset) = index.files().find(|(entry, _)| entry.path.as_str() == CLAIMS_FILE)?;
    let offset = usize::try_from(offset).ok()?;
    let claims = archive.get(offset..offset + usize::try_from(entry.len).ok()?)?;
    let mut draft = Vec::new();
    for line in claims.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let line: ClaimedLine = serde_json::from_slice(line).unwrap_or_default();
        let tokens: Vec<Vec<u32>> = line.claims.into_iter().map(|claim| claim.tokens).collect();
        let mut line = serde_json::to_vec(&tokens).expect("numbers are always JSON");
        line.push(b'\n');
        if draft.len() + line.len() > MAX_DRAFT_BYTES {
            break;
        }
        draft.extend(line);
    }
    Some(draft)
}

/// Changes the last digit of one of a draft's numbers: the one that a roll falls on.
fn change(draft: &mut [u8], roll: u64) {
    let is_last = |pair: &[u8]| pair[0].is_ascii_digit() && !pair[1].is_ascii_digit();
    let last: Vec<usize> =
        draft.windows(2).enumerate().filter(|(_, pair)| is_last(pair)).map(|(at, _)| at).collect();
    let Some(which) = roll.checked_rem(last.len() as u64) else { return };
    let digit = &mut draft[last[which as usize]];
    *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
}

fn fill_one(
    lease: &mut Lease,
    common: &HashSet<BlobId>,
    peek: impl Fn(BlobId, &[ByteRange]) -> Result<Vec<u8>, BlobError>,
) {
    for at in along(lease, common) {
        let (input, Source::Blob(source)) = (&lease.spec.inputs[at], &lease.sources[at]) else { continue };
        let blob = source.blob.id;
        match peek(blob, &source.ranges(input.len)) {
            Ok(bytes) if BlobId::of(&bytes) == input.content => lease.sources[at] = Source::Inline(bytes),
            // The provider finds the same, and says so.
            Ok(_) => {
                tracing::warn!(%blob, input = %input.path, "an input is not what it should be on this disk")
            }
            Err(error) => tracing::warn!(%blob, error = causes(&error), "an input cannot be read"),
        }
    }
}

/// Which inputs of a lease go along: all that is the task's own, if that is small. What other tasks of the job read too
/// (`common`) a provider fetches once.
fn along(lease: &Lease, common: &HashSet<BlobId>) -> Vec<usize> {
    let (mut own, mut inline, mut bytes) = (Vec::new(), 0, 0u64);
    for (at, (input, source)) in lease.spec.inputs.iter().zip(&lease.sources).enumerate() {
        match source {
            Source::Inline(bytes) => inline += bytes.len() as u64,
            Source::Blob(source) if !common.contains(&source.blob.id) => {
                bytes = bytes.saturating_add(input.len);
                if bytes > MAX_ALONG_BYTES as u64 {
                    return Vec::new();
                }
                own.push(at);
            }
            Source::Blob(_) => {}
        }
    }
    if inline + bytes > MAX_LEASE_INLINE_BYTES as u64 {
        own.clear();
    }
    own
}

#[cfg(test)]
mod tests {
    use tidemill_types::{
        BlobRef, BlobSource, EngineIndex, FloatClass, GuestPath, InputSpec, JobId, LeaseId, Limits, Millis,
        ProgramKind, TaskNumber, TaskSpec,
    };

    use super::*;

    const COMMON: &[u8] = b"what all tasks read";

    /// A lease of a task with these inputs.
    fn lease(inputs: Vec<(Vec<u8>, Source)>) -> Lease {
        let input = |(at, (content, _)): (usize, &(Vec<u8>, Source))| InputSpec {
            path: GuestPath::new(format!("input {at}")).expect("a path"),
            content: BlobId::of(content),
            len: content.len() as u64,
        };
        let spec = TaskSpec {
            kind: ProgramKind::Wasm,
            program: BlobId::of(b"program"),
            floats: FloatClass::Native,
            args: vec!["program".to_owned()],
            env: Vec::new(),
            inputs: inputs.iter().enumerate().map(input).collect(),
            limits: Limits::default(),
            seed: 0,
        };
        Lease {
            id: LeaseId(1),
            engine: EngineIndex(0),
            seal: [0; 16],
            job: JobId([1; 16]),
            task: TaskNumber(0),
            spec,
            program_len: 7,
            sources: inputs.into_iter().map(|(_, source)| source).collect(),
            within: Millis(1),
            pay: None,
            draft: None,
            draft_of: None,
        }
    }

    fn file() -> Vec<u8> {
        (0..100_000u32).map(|at| (at % 251) as u8).collect()
    }

    fn blob(bytes: &[u8]) -> BlobRef {
        BlobRef { id: BlobId::of(bytes), len: bytes.len() as u64 }
    }

    /// A piece of the file.
    fn piece(offset: usize, len: usize) -> (Vec<u8>, Source) {
        let file = file();
        (file[offset..][..len].to_vec(), Source::Blob(BlobSource::at(blob(&file), offset as u64)))
    }

    /// What becomes of a lease where the disk has these bytes of the file.
    fn filled(mut lease: Lease, disk: &[u8]) -> Vec<Source> {
        let common = HashSet::from([BlobId::of(COMMON)]);
        fill_one(&mut lease, &common, |id, ranges| {
            assert_eq!(id, blob(&file()).id, "nothing else is read");
            let bytes = ranges.iter().map(|range| &disk[range.offset as usize..][..range.len as usize]);
            Ok(bytes.collect::<Vec<_>>().concat())
        });
        lease.sources
    }

    #[test]
    fn small_inputs_of_a_task_s_own_go_along() {
        let (shared, bytes) = (Source::Blob(BlobSource::whole(blob(COMMON))), MAX_ALONG_BYTES);
        let (first, second) = (piece(100, bytes - 10), piece(9, 10));
        let inputs = vec![first.clone(), (COMMON.to_vec(), shared.clone()), second.clone()];
        let sources = filled(lease(inputs), &file());
        assert_eq!(sources, [Source::Inline(first.0), shared, Source::Inline(second.0)]);

        // Two ranges of the file.
        let file = file();
        let head = ByteRange { offset: 50_000, len: 3 };
        let bytes = [&file[50_000..50_003], &file[7..17]].concat();
        let source = Source::Blob(BlobSource { blob: blob(&file), head, offset: 7 });
        assert_eq!(filled(lease(vec![(bytes.clone(), source)]), &file), [Source::Inline(bytes)]);
    }

    /// An output with these files.
    fn output(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tidemill_types::ArchiveBuilder::default();
        for (path, bytes) in files {
            builder.add(GuestPath::new(*path).expect("a path"), bytes.len() as u64);
        }
        let (mut archive, _) = builder.finish().expect("an archive");
        files.iter().for_each(|(_, bytes)| archive.extend_from_slice(bytes));
        archive
    }

    #[test]
    fn a_draft_is_the_tokens_of_an_output_and_no_more() {
        let claims = br#"{"custom_id":"a","claims":[{"tokens":[12,3],"finish":"stop","chain":["ab12"]},{"tokens":[40],"chain":[]}]}
{"custom_id":"b","claims":[]}
no JSON
{"custom_id":"d","claims":[{"tokens":[7],"finish":"length","chain":["cd34"]}]}
"#;
        let archive = output(&[("answers.jsonl", b"{}"), (CLAIMS_FILE, claims)]);
        let tokens = draft(&archive).expect("there are claims");
        assert_eq!(String::from_utf8_lossy(&tokens), "[[12,3],[40]]\n[]\n[]\n[[7]]\n");
        assert_eq!(draft(&output(&[("answers.jsonl", b"{}")])), None);
        assert_eq!(draft(b"no archive"), None);
        let long = br#"{"claims":[{"tokens":[12345]}]}
"#
        .repeat(MAX_DRAFT_BYTES / 10 + 1);
        let cut = draft(&output(&[(CLAIMS_FILE, &long)])).expect("it begins with whole lines");
        assert!(cut.len() <= MAX_DRAFT_BYTES && cut.len() > MAX_DRAFT_BYTES - 10 && cut.ends_with(b"]]\n"));
    }

    #[test]
    fn a_change_is_in_one_number() {
        let mut seen = HashSet::new();
        for roll in 0..12 {
            let mut draft = b"[[12,3],[49]]\n[[7]]\n".to_vec();
            change(&mut draft, roll);
            seen.insert(String::from_utf8(draft).expect("digits are changed into digits"));
        }
        let expected = [
            "[[13,3],[49]]\n[[7]]\n",
            "[[12,4],[49]]\n[[7]]\n",
            "[[12,3],[48]]\n[[7]]\n",
            "[[12,3],[49]]\n[[8]]\n",
        ];
        assert_eq!(seen, expected.map(str::to_owned).into());
        let mut nothing = b"[]\n".to_vec();
        change(&mut nothing, 3);
        assert_eq!(nothing, b"[]\n");
    }

    #[test]
    fn what_is_too_much_for_a_message_stays() {
        let long = vec![piece(0, MAX_ALONG_BYTES - 9), piece(7, 10)];
        let sources: Vec<_> = long.iter().map(|(_, source)| source.clone()).collect();
        assert_eq!(filled(lease(long), &file()), sources);
        let bytes = vec![1; MAX_LEASE_INLINE_BYTES - 9];
        let crowded = vec![(bytes.clone(), Source::Inline(bytes)), piece(7, 10)];
        let sources: Vec<_> = crowded.iter().map(|(_, source)| source.clone()).collect();
        assert_eq!(filled(lease(crowded), &file()), sources);
    }

    #[test]
    fn what_is_damaged_does_not_go_along() {
        let mut damaged = file();
        damaged[105] ^= 1;
        let (wrong, right) = (piece(100, 10), piece(200, 10));
        let sources = filled(lease(vec![wrong.clone(), right.clone()]), &damaged);
        assert_eq!(sources, [wrong.1, Source::Inline(right.0)]);
    }
}
