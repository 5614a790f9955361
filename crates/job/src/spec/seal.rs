//! From files of this host to blobs.

use std::collections::HashMap;

use tidemill_types::{BlobRef, Comparison, Content, FloatClass, GuestPath, Limits, ProgramKind};

use super::{
    Draft, JobSpec, ReduceDraft, SealError, StageProgram, Terms,
    blob::{BlobPieces, Piece},
    encoding,
};
use crate::{
    CompareBy, JobFile, Plan,
    plan::{HostPieces, ProgramFile},
    tasks::{
        Command, MapTasks,
        source::{CutFile, Cuts, InputFile, Source},
    },
};

/// What is wanted of a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Its hash, and that its bytes can be had by it: a whole file.
    Blob,
    /// Its hash alone: it is a piece of a file of which [`Self::Blob`] was wanted before.
    Hash,
}

/// Puts blobs in the place of a plan's files. `file` is the job file that the plan was expanded from.
///
/// `hash` is asked for the hash of each content once, and of nothing but one content at a time; it may well
/// keep the bytes somewhere on the way. Whole files that stand in several places (programs, shared inputs,
/// inputs of single tasks) count as one content. Of a file that is cut, it is asked for the whole, and then for its
/// pieces.
///
/// # Errors
/// What `hash` says, that a content has changed since the plan was made, and that the job is larger than
/// what may be sent.
pub fn seal<E>(
    plan: &Plan,
    file: &JobFile,
    hash: &mut dyn FnMut(&Content, Wanted) -> Result<BlobRef, E>,
) -> Result<JobSpec, SealError<E>> {
    let mut sealer = Sealer { hash, known: HashMap::new() };
    let Command { inputs, .. } = &plan.map.command;
    let program = sealer.program(&plan.program, file.program.kind, file.program.floats, file.limits)?;
    let inputs = sealer.shared(inputs)?;
    let reduce = match &plan.reduce {
        Some(reduce) => {
            let of_file = file.reduce.as_ref().map_or(&file.program, |reduce| &reduce.program);
            let program = sealer.program(&reduce.program, of_file.kind, of_file.floats, reduce.limits)?;
            let inputs = sealer.shared(&reduce.tasks.command.inputs)?;
            let command = with_inputs(&reduce.tasks.command, inputs);
            Some(ReduceDraft { program, command, fan_in: reduce.tasks.tree.fan_in() })
        }
        None => None,
    };
    let comparison = match (&file.compare, &plan.comparer) {
        (CompareBy::Numbers(tolerance), _) => Comparison::Numbers(*tolerance),
        (CompareBy::Program(_), Some(file)) => {
            Comparison::Program(sealer.known(&Content::file(&file.path, file.len))?)
        }
        _ => Comparison::Exact,
    };
    // After what is shared, so that what is known stays as small as that.
    let source = sealer.source(&plan.map.source)?;
    let terms = Terms {
        name: file.name.clone(),
        deadline: file.deadline,
        retries: file.retries,
        seed: file.seed,
        resources: file.resources,
        reliance: file.reliance,
        trusted: file.trusted.clone(),
        comparison,
        outside_gain: file.outside_gain,
    };
    let map = MapTasks { command: with_inputs(&plan.map.command, inputs), source };
    let job = JobSpec::new(Draft { terms, program, map, reduce }).map_err(SealError::Spec)?;
    encoding::check_len(&job.encode()).map_err(SealError::Spec)?;
    Ok(job)
}

fn with_inputs(command: &Command<Content>, inputs: Vec<(GuestPath, BlobRef)>) -> Command<BlobRef> {
    let Command { arg0, args, env, .. } = command.clone();
    Command { arg0, args, env, inputs }
}

struct Sealer<'h, E> {
    hash: &'h mut dyn FnMut(&Content, Wanted) -> Result<BlobRef, E>,
    /// Programs and shared inputs.
    known: HashMap<Content, BlobRef>,
}

impl<E> Sealer<'_, E> {
    fn program(
        &mut self,
        file: &ProgramFile,
        kind: ProgramKind,
        floats: FloatClass,
        limits: Limits,
    ) -> Result<StageProgram, SealError<E>> {
        let program = self.known(&Content::file(&file.path, file.len))?;
        Ok(StageProgram { kind, program, floats, limits })
    }

    fn shared(&mut self, inputs: &[(GuestPath, Content)]) -> Result<Vec<(GuestPath, BlobRef)>, SealError<E>> {
        inputs.iter().map(|(path, content)| Ok((path.clone(), self.known(content)?))).collect()
    }

    fn source(
        &mut self,
        source: &Source<Content, HostPieces>,
    ) -> Result<Source<BlobRef, BlobPieces>, SealError<E>> {
        Ok(match source {
            Source::One => Source::One,
            Source::Range(range) => Source::Range(*range),
            Source::Matrix(matrix) => Source::Matrix(matrix.clone()),
            Source::Files(files) => {
                let file = |file: &InputFile<Content>| {
                    Ok(InputFile { path: file.path.clone(), content: self.own(&file.content)? })
                };
                Source::Files(files.iter().map(file).collect::<Result<_, _>>()?)
            }
            Source::Pieces(files) => {
                let cut = |file: &CutFile<HostPieces>| {
                    let CutFile { path, part, pieces, first } = file;
                    let pieces = self.pieces(pieces)?;
                    Ok(CutFile { path: path.clone(), part: part.clone(), pieces, first: *first })
                };
                Source::Pieces(files.iter().map(cut).collect::<Result<_, _>>()?)
            }
        })
    }

    /// The blob of a content that may occur again.
    fn known(&mut self, content: &Content) -> Result<BlobRef, SealError<E>> {
        if let Some(known) = self.known.get(content) {
            return Ok(*known);
        }
        let blob = self.ask(content, Wanted::Blob)?;
        self.known.insert(content.clone(), blob);
        Ok(blob)
    }

    /// The blob of a file that is one task's input, or is cut: no other task's.
    fn own(&mut self, content: &Content) -> Result<BlobRef, SealError<E>> {
        match self.known.get(content) {
            Some(known) => Ok(*known),
            None => self.ask(content, Wanted::Blob),
        }
    }

    /// A file that is cut.
    fn pieces(&mut self, pieces: &HostPieces) -> Result<BlobPieces, SealError<E>> {
        let file = self.own(&pieces.file())?;
        let piece = |index| {
            let (head, body) = pieces.pieces.head_and_body(index);
            let content = pieces.piece(index);
            // A piece that is all of the file.
            let whole = content == pieces.file();
            let blob = if whole { file } else { self.ask(&content, Wanted::Hash)? };
            Ok(Piece { content: blob.id, head, body })
        };
        let pieces = (0..pieces.count()).map(piece).collect::<Result<Vec<_>, SealError<E>>>()?;
        Ok(BlobPieces { file, pieces })
    }

    fn ask(&mut self, content: &Content, wanted: Wanted) -> Result<BlobRef, SealError<E>> {
        let blob = (self.hash)(content, wanted).map_err(SealError::Content)?;
        let expected = content.len();
        if blob.len != expected {
            return Err(SealError::Length { expected, found: blob.len });
        }
        Ok(blob)
    }
}
