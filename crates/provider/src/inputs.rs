//! The bytes that a task is given: looked up, and checked against what its specification says before it runs. What
//! the coordinator says of them is not believed, since the result will be signed as one of exactly these bytes.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Read, Seek, SeekFrom},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tidemill_exec::{Program, Task};
use tidemill_job::{BlobRef, BlobSource};
use tidemill_net::{blobs::Lent, wire::Source};
use tidemill_types::{BlobId, ByteRange, Content, ProgramKind};

use crate::attempt::Attempt;

/// Programs whose hashes are remembered, at about 200 bytes each.
const PROGRAMS: usize = 1 << 12;

/// Parts of blobs whose hashes are remembered, at about 200 bytes each.
const RANGES: usize = 1 << 16;

/// How much of a file is hashed at once.
const PIECE_BYTES: usize = 256 << 10;

/// Inputs that a task cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("the input {path} does not have the hash that its specification says: the coordinator lies")]
    Lie { path: String },
    #[error("blob {0} is not here any more")]
    Gone(BlobId),
    #[error("cannot read blob {id}: {source}")]
    Read { id: BlobId, source: io::Error },
    #[error("the file of blob {0} was changed")]
    Changed(BlobId),
}

/// Where the blobs are that an attempt needs.
pub(crate) type Places = Vec<(BlobId, Lent)>;

/// What is remembered of programs and ranges: that they were hashed, and not their bytes. Shared by the threads that run
/// tasks.
#[derive(Debug)]
pub(crate) struct Inputs {
    programs: Mutex<Recent<BlobId, Program>>,
    ranges: Mutex<Recent<(BlobSource, u64), BlobId>>,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            programs: Mutex::new(Recent::new(PROGRAMS as u64)),
            ranges: Mutex::new(Recent::new(RANGES as u64)),
        }
    }
}

impl Inputs {
    /// The task of an attempt, with all that it is given.
    ///
    /// # Errors
    /// [`InputError`]
    pub(crate) fn task(&self, attempt: &Attempt, places: &Places) -> Result<Task, InputError> {
        let program = self.program(attempt.program, attempt.spec.kind, places)?;
        let inputs = attempt.spec.inputs.iter().zip(&attempt.sources);
        let contents = inputs
            .map(|(input, source)| {
                let (found, content) = match source {
                    Source::Inline(bytes) => (BlobId::of(bytes), Content::bytes(bytes.clone())),
                    Source::Blob(source) => self.range(source, (input.content, input.len), places)?,
                };
                if found == input.content {
                    Ok(content)
                } else {
                    Err(InputError::Lie { path: input.path.to_string() })
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Task { spec: attempt.spec.clone(), program, contents })
    }

    /// A program, where the attempt's blobs are lent: it may come to lie elsewhere for the next one.
    fn program(&self, blob: BlobRef, kind: ProgramKind, places: &Places) -> Result<Program, InputError> {
        if blob.len == 0 {
            return Ok(Program::new(blob.id, kind, Content::default()));
        }
        let lent = place_of(blob.id, places)?;
        let content = Content { segments: vec![lent.range(0, blob.len)] };
        // Held while it is hashed, so that many threads hash it once.
        let mut programs = lock(&self.programs);
        if let Some(program) = programs.get(&blob.id).filter(|program| *program.content == content) {
            return Ok(Program { kind, ..program.clone() });
        }
        // It was verified when it was fetched; this is dear once and cheap against running another program.
        let all = ByteRange { offset: 0, len: blob.len };
        if hash_ranges(blob.id, lent, std::iter::once(all))? != blob.id {
            return Err(InputError::Changed(blob.id));
        }
        let program = Program::new(blob.id, kind, content);
        programs.put(blob.id, program.clone(), 1);
        Ok(program)
    }

    /// The hash of a part of a blob, and where it is. It is remembered if it is as it should be: another one may come
    /// from damage, and be mended.
    fn range(
        &self,
        source: &BlobSource,
        (content_id, len): (BlobId, u64),
        places: &Places,
    ) -> Result<(BlobId, Content), InputError> {
        let blob = source.blob.id;
        if len == 0 {
            return Ok((BlobId::of(b""), Content::default()));
        }
        let lent = place_of(blob, places)?;
        let ranges = source.ranges(len).into_iter().filter(|range| range.len > 0);
        let content =
            Content { segments: ranges.clone().map(|range| lent.range(range.offset, range.len)).collect() };
        if source.is_whole(len) {
            return Ok((blob, content));
        }
        let known = lock(&self.ranges).get(&(*source, len)).copied();
        let found = match known {
            Some(found) => found,
            None => {
                let found = hash_ranges(blob, lent, ranges)?;
                if found == content_id {
                    lock(&self.ranges).put((*source, len), found, 1);
                }
                found
            }
        };
        Ok((found, content))
    }
}

fn place_of(id: BlobId, places: &Places) -> Result<&Lent, InputError> {
    let found = places.iter().find(|(blob, _)| *blob == id);
    found.map(|(_, lent)| lent).ok_or(InputError::Gone(id))
}

/// The hash of ranges of a blob, one after another.
fn hash_ranges(
    id: BlobId,
    lent: &Lent,
    ranges: impl Iterator<Item = ByteRange>,
) -> Result<BlobId, InputError> {
    let error = |source| InputError::Read { id, source };
    let mut file = lent.open().map_err(error)?;
    let (mut hasher, mut len) = (blake3::Hasher::new(), 0);
    let mut piece = Vec::new();
    for range in ranges {
        len += range.len;
        file.seek(SeekFrom::Start(range.offset)).map_err(error)?;
        let most = PIECE_BYTES.min(usize::try_from(range.len).unwrap_or(PIECE_BYTES));
        piece.resize(most.max(piece.len()), 0);
        let mut range = (&mut file).take(range.len);
        loop {
            match range.read(&mut piece).map_err(error)? {
                0 => break,
                read => hasher.update(&piece[..read]),
            };
        }
    }
    if hasher.count() == len {
        Ok(BlobId::from_hash(hasher.finalize()))
    } else {
        Err(InputError::Changed(id))
    }
}

/// What was of use lately, up to a sum of weights. Whatever was of no use for longest goes first.
#[derive(Debug)]
struct Recent<K, V> {
    room: u64,
    used: u64,
    clock: u64,
    known: HashMap<K, (V, u64, u64)>,
    /// Keys by when they were used; those that were used again since are passed over.
    order: VecDeque<(u64, K)>,
}

impl<K: Copy + Eq + std::hash::Hash, V> Recent<K, V> {
    fn new(room: u64) -> Self {
        Self { room, used: 0, clock: 0, known: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&mut self, key: &K) -> Option<&V> {
        if self.order.len() > 64 + 4 * self.known.len() {
            let known = &self.known;
            self.order.retain(|(at, key)| known.get(key).is_some_and(|(_, _, used)| used == at));
        }
        self.clock += 1;
        let (value, _, used) = self.known.get_mut(key)?;
        *used = self.clock;
        self.order.push_back((self.clock, *key));
        Some(value)
    }

    fn put(&mut self, key: K, value: V, weight: u64) {
        self.clock += 1;
        if let Some((_, weight, _)) = self.known.insert(key, (value, weight, self.clock)) {
            self.used -= weight;
        }
        self.used += weight;
        self.order.push_back((self.clock, key));
        while self.used > self.room && self.known.len() > 1 {
            let Some((at, key)) = self.order.pop_front() else { break };
            if self.known.get(&key).is_some_and(|(_, _, used)| *used == at) {
                let (_, weight, _) = self.known.remove(&key).expect("it was there a line ago");
                self.used -= weight;
            }
        }
    }
}

/// Nothing is left half done in these maps by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidemill_types::Segment;

    use super::*;
    use crate::{
        attempt::tests::{lease, range},
        key::CoordinatorIndex,
    };

    fn attempt(inputs: &[(&[u8], Source)]) -> Attempt {
        Attempt::new(CoordinatorIndex(0), lease(1, inputs)).expect("nothing is wrong with it")
    }

    /// Files that hold these blobs.
    fn kept(folder: &Path, blobs: &[&[u8]]) -> Places {
        let keep = |bytes: &&[u8]| {
            let id = BlobId::of(bytes);
            let path = folder.join(id.to_string());
            std::fs::write(&path, bytes).expect("the folder can be written to");
            (id, Lent::file(&path, bytes.len() as u64))
        };
        blobs.iter().map(keep).collect()
    }

    #[test]
    fn a_task_is_given_what_its_specification_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let places = kept(folder.path(), &[b"program", b"all of it", b"a part of it"]);
        let mut of_two_ranges = range(b"a part of it", 0);
        if let Source::Blob(source) = &mut of_two_ranges {
            source.head = ByteRange { offset: 7, len: 3 };
        }
        let attempt = attempt(&[
            (b"here", Source::Inline(b"here".to_vec())),
            (b"all of it", range(b"all of it", 0)),
            (b"part of", range(b"a part of it", 2)),
            (b"", range(b"a part of it", 3)),
            (b"of a part", of_two_ranges),
        ]);
        let inputs = Inputs::default();
        let task = inputs.task(&attempt, &places).expect("all is as it should be");
        assert_eq!(task.program.read().as_deref(), Ok(&b"program"[..]));
        assert_eq!(task.contents[0], Content::bytes(*b"here"));
        assert!(matches!(&task.contents[2].segments[..], [Segment::File { offset: 2, len: 7, .. }]));
        assert!(task.contents[3].is_empty());
        assert!(matches!(
            &task.contents[4].segments[..],
            [Segment::File { offset: 7, len: 3, .. }, Segment::File { offset: 0, len: 6, .. }]
        ));

        // Neither the program nor the range is read again.
        std::fs::remove_file(folder.path().join(BlobId::of(b"program").to_string())).expect("it is there");
        std::fs::write(folder.path().join(BlobId::of(b"a part of it").to_string()), b"")
            .expect("it is there");
        inputs.task(&attempt, &places).expect("it is remembered");
    }

    #[test]
    fn a_lie_about_an_input_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let places = kept(folder.path(), &[b"program", b"a part of it"]);
        let inputs = Inputs::default();
        for lie in [Source::Inline(b"trap of".to_vec()), range(b"a part of it", 3)] {
            let error = inputs.task(&attempt(&[(b"part of", lie)]), &places).expect_err("it is a lie");
            assert!(matches!(error, InputError::Lie { .. }), "{error}");
        }
    }

    #[test]
    fn a_blob_that_was_changed_or_went_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let places = kept(folder.path(), &[b"program", b"a part of it"]);
        let part: &[(&[u8], Source)] = &[(b"part of", range(b"a part of it", 2))];
        assert!(matches!(
            Inputs::default().task(&attempt(part), &places[..1].to_vec()),
            Err(InputError::Gone(_))
        ));
        std::fs::write(places[1].1.path(), b"a p").expect("it is there");
        assert!(matches!(Inputs::default().task(&attempt(part), &places), Err(InputError::Changed(_))));
        std::fs::write(places[0].1.path(), b"changed").expect("it is there");
        assert!(matches!(Inputs::default().task(&attempt(&[]), &places), Err(InputError::Changed(_))));
    }

    #[test]
    fn what_was_of_no_use_for_longest_goes_first() {
        let mut recent = Recent::new(10);
        for key in 0..3 {
            recent.put(key, key, 4);
            assert_eq!(recent.get(&0), Some(&0));
        }
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.get(&2), Some(&2));
        recent.put(9, 9, 100);
        assert_eq!((recent.known.len(), recent.used), (1, 100), "the newest stays, whatever it weighs");
        for _ in 0..1000 {
            recent.get(&9);
        }
        assert!(recent.order.len() < 100);
    }
}
