//! What must be true of a job, whoever made it. Everything else in this crate relies on it.

use std::{collections::BTreeSet, fmt};

use tidemill_types::{Assurance, BlobRef, Comparison, GuestPath, MAX_PROGRAM_BYTES};

use super::{
    Draft, JobSpec, JobSpecError, StageProgram, Terms,
    blob::{BlobInput, BlobPieces},
    blobs, list_bytes, own_contents,
};
use crate::{
    MAX_FAN_IN, MAX_TASKS, Matrix, RangeTasks, Reliance, Stage,
    bounds::{
        MAX_ARGS, MAX_DEADLINE, MAX_ENV, MAX_PARALLEL, MAX_PARAMETERS, MAX_PLACEHOLDERS, MAX_REPLICAS,
        MAX_RETRIES, MAX_TEXT_BYTES, MAX_TRUSTED, MAX_VALUE_BYTES, PARTS, first_below, is_arg0,
        is_parameter_name, is_variable_name,
    },
    mistake::shortened,
    tasks::{
        Command,
        source::{CutFile, Cuts, Source},
    },
    template::{Placeholder, Scope, Template},
};

/// The longest blob. So few bytes that the lengths of a task's inputs never add up to more than a number
/// holds.
const MAX_BLOB_BYTES: u64 = 1 << 44;

/// The most values of all parameters of a matrix, and the most bytes of their texts. A job file, which has
/// at most 1 MiB, holds fewer.
pub(super) const MAX_VALUES: usize = 1 << 20;
const MAX_VALUES_BYTES: u64 = 2 << 20;

/// Checks all of a draft; gives the number of its map tasks.
pub(super) fn check(draft: &Draft) -> Result<u64, JobSpecError> {
    terms(&draft.terms)?;
    let memory = draft.terms.resources.memory.0;
    bound("the memory of a machine", memory, draft.program.limits.memory.0, u64::MAX)?;
    let map_count = source(&draft.map.source)?;
    let source = &draft.map.source;
    stage_program(Stage::Map, &draft.program)?;
    let names = shared_inputs(Stage::Map, &draft.map.command)?;
    if let Some(name) = source.input_names().find(|name| names.contains(*name)) {
        let path = GuestPath::new(name).expect("an input's name is a path");
        return Err(input(Stage::Map, &path, "something else that all tasks see is there"));
    }
    let own = source.input_names().map(str::len).max();
    command(Stage::Map, &draft.map.command, &source.scope(), source.longest(), own)?;

    let mut stages = vec![(&draft.program, &draft.map.command)];
    if let Some(reduce) = &draft.reduce {
        bound("the parts of a reduce task", reduce.fan_in, 2, u64::from(MAX_FAN_IN))?;
        stage_program(Stage::Reduce, &reduce.program)?;
        if shared_inputs(Stage::Reduce, &reduce.command)?.contains(PARTS) {
            let mut paths = reduce.command.inputs.iter().map(|(path, _)| path);
            let path = paths.find(|path| path.components().next() == Some(PARTS));
            let path = path.expect("a name below `/in` is that of an input");
            return Err(input(Stage::Reduce, path, "there a reduce finds its parts"));
        }
        // Each stands for a number, for `/in/parts` or for `true` or `false`.
        command(Stage::Reduce, &reduce.command, &Scope::reduce(), |_| 20, None)?;
        stages.push((&reduce.program, &reduce.command));
    }
    let mut named = blobs(&draft.terms, stages.into_iter(), source);
    // A provider keeps pieces as it keeps blobs.
    named.extend(own_contents(source));
    named.sort_unstable();
    named.dedup();
    lengths(&named)?;
    Ok(map_count)
}

fn terms(terms: &Terms) -> Result<(), JobSpecError> {
    if let Some(deadline) = terms.deadline {
        bound("the deadline in milliseconds", deadline.0, 1, MAX_DEADLINE.0)?;
    }
    bound("the retries", terms.retries.into(), 0, MAX_RETRIES.into())?;
    if let Some(parallel) = terms.resources.parallel {
        bound("the tasks at the same time", parallel.into(), 1, MAX_PARALLEL.into())?;
    }
    if let Reliance::Replicated { quorum, most } = terms.reliance {
        bound("the results of a task", most.into(), 2, MAX_REPLICAS.into())?;
        bound("the equal results of a task", quorum.into(), 2, most.into())?;
    }
    if let Comparison::Program(program) = terms.comparison {
        bound("the bytes of the program that compares", program.len, 0, MAX_PROGRAM_BYTES)?;
    }
    bound("the operators that are trusted", terms.trusted.len() as u64, 0, MAX_TRUSTED as u64)?;
    sorted("operators that are trusted", terms.trusted.iter())
}

fn stage_program(stage: Stage, program: &StageProgram) -> Result<(), JobSpecError> {
    if let Some(source) = program.limits.check(program.kind).into_iter().next() {
        return Err(JobSpecError::Limit { stage, source });
    }
    bound("the bytes of a program", program.program.len, 0, program.kind.most_program_bytes())
}

/// Checks what there is one task for each of; gives how many.
fn source(source: &Source<BlobRef, BlobPieces>) -> Result<u64, JobSpecError> {
    const TASKS: &str = "the tasks of the map";
    match source {
        Source::One => {}
        Source::Range(range) => {
            let count = RangeTasks::len(range.from, range.to, range.step);
            bound(TASKS, u64::try_from(count).unwrap_or(u64::MAX), 1, MAX_TASKS)?;
        }
        Source::Matrix(all) => matrix(all)?,
        Source::Files(files) => bound(TASKS, files.len() as u64, 1, MAX_TASKS)?,
        Source::Pieces(files) => {
            let mut count: u64 = 0;
            for file in files {
                bound("the pieces of a file", file.pieces.count() as u64, 1, MAX_TASKS)?;
                // What follows looks a piece up by these.
                bound("the place of a file's first piece", file.first, count, count)?;
                count += file.pieces.count() as u64;
                pieces(file)?;
            }
            bound(TASKS, count, 1, MAX_TASKS)?;
        }
    }
    Ok(source.count())
}

/// Checks that pieces are where they are said to be.
fn pieces(file: &CutFile<BlobPieces>) -> Result<(), JobSpecError> {
    for BlobInput { content, source } in file.pieces.inputs() {
        let why = if !source.holds(content.len) {
            "is not inside of it"
        } else if source.is_whole(content.len) && source.blob.id != content.id {
            "is all of it, and is said to have another hash"
        } else {
            continue;
        };
        return Err(JobSpecError::Piece { path: file.path.clone(), why });
    }
    Ok(())
}

fn matrix(matrix: &Matrix) -> Result<(), JobSpecError> {
    const WHAT: &str = "the parameters of a matrix";
    let parameters = &matrix.parameters;
    bound(WHAT, parameters.len() as u64, 1, MAX_PARAMETERS as u64)?;
    sorted(WHAT, parameters.iter().map(|parameter| parameter.name.as_str()))?;
    for parameter in parameters {
        if !is_parameter_name(&parameter.name) {
            let name = shortened(&parameter.name);
            return Err(JobSpecError::Name { what: "a parameter of a matrix", name });
        }
    }
    let counts = parameters.iter().map(|parameter| parameter.values.len() as u64);
    bound("the combinations of a matrix", counts.clone().fold(1, u64::saturating_mul), 1, MAX_TASKS)?;
    bound("the values of a matrix", counts.sum(), 1, MAX_VALUES as u64)?;
    let mut bytes = 0;
    for value in parameters.iter().flat_map(|parameter| &parameter.values) {
        bound("the bytes of a matrix's value", value.len() as u64, 0, MAX_VALUE_BYTES as u64)?;
        if value.contains('\0') {
            let text = shortened(value);
            return Err(JobSpecError::Template { stage: Stage::Map, what: "a matrix's value", text });
        }
        bytes += value.len() as u64;
    }
    bound("the bytes of a matrix's values", bytes, 0, MAX_VALUES_BYTES)
}

/// Checks the paths of the files that all tasks of a stage see; gives the names directly below `/in`.
fn shared_inputs(stage: Stage, command: &Command<BlobRef>) -> Result<BTreeSet<&str>, JobSpecError> {
    let paths = || command.inputs.iter().map(|(path, _)| path);
    sorted("shared inputs", paths().map(GuestPath::as_str))?;
    let set: BTreeSet<&str> = paths().map(GuestPath::as_str).collect();
    for path in paths() {
        if first_below(&set, path.as_str()).is_some() {
            return Err(input(stage, path, "that is a directory"));
        }
    }
    Ok(paths().filter_map(|path| path.components().next()).collect())
}

/// Checks what a stage's tasks are started with. `longest` bounds what placeholders stand for, and `own` the
/// path of a task's own input, where it has one.
fn command(
    stage: Stage,
    command: &Command<BlobRef>,
    scope: &Scope,
    longest: impl Fn(Placeholder) -> u64,
    own: Option<usize>,
) -> Result<(), JobSpecError> {
    let Command { arg0, args, env, inputs } = command;
    if !is_arg0(arg0) {
        return Err(JobSpecError::Name { what: "a program", name: shortened(arg0) });
    }
    bound("the arguments of a program", args.len() as u64, 0, MAX_ARGS as u64)?;
    bound("the variables of a program", env.len() as u64, 0, MAX_ENV as u64)?;
    sorted("environment variables", env.iter().map(|(name, _)| name.as_str()))?;
    for (name, _) in env {
        if !is_variable_name(name) {
            return Err(JobSpecError::Name { what: "an environment variable", name: shortened(name) });
        }
    }
    let texts = args.iter().map(|arg| ("an argument", arg));
    let texts = texts.chain(env.iter().map(|(_, value)| ("a variable's value", value)));
    let (mut placeholders, mut bytes) = (0, 0u64);
    for (what, text) in texts {
        template(stage, what, text, scope)?;
        placeholders += text.placeholders() as u64;
        bytes = bytes.saturating_add(text.rendered_len(&longest));
    }
    placeholder_count(placeholders)?;
    let names = env.iter().map(|(name, _)| name.len() as u64);
    let bytes = names.fold(bytes, u64::saturating_add);
    let most = JobSpec::MAX_TASK_TEXT_BYTES;
    bound("the bytes of a task's arguments and environment", bytes, 0, most)?;
    let bytes = list_bytes(inputs.iter().map(|(path, _)| path.as_str().len()).chain(own));
    bound("the bytes of the list of a task's inputs", bytes, 0, JobSpec::MAX_TASK_INPUT_BYTES)
}

fn template(stage: Stage, what: &'static str, text: &Template, scope: &Scope) -> Result<(), JobSpecError> {
    match text.source(scope) {
        Some(source) if !source.contains('\0') => source_len(&source),
        source => {
            let text = shortened(&source.unwrap_or_default());
            Err(JobSpecError::Template { stage, what, text })
        }
    }
}

/// Checks in how many results one may be wrong, and takes it.
pub(super) fn assurance(results: u32) -> Result<Assurance, JobSpecError> {
    Assurance::one_in(results).map_err(|error| JobSpecError::Bound {
        what: "the results of which one may be wrong",
        found: error.found.into(),
        least: Assurance::LEAST.into(),
        most: Assurance::MOST.into(),
    })
}

/// Checks how long a template is, as it is written.
pub(super) fn source_len(source: &str) -> Result<(), JobSpecError> {
    bound("the bytes of an argument or a variable", source.len() as u64, 0, MAX_TEXT_BYTES as u64)
}

/// Checks the number of placeholders of a program.
pub(super) fn placeholder_count(count: u64) -> Result<(), JobSpecError> {
    bound("the placeholders of a program", count, 0, MAX_PLACEHOLDERS as u64)
}

/// Checks the lengths of blobs that are sorted.
fn lengths(blobs: &[BlobRef]) -> Result<(), JobSpecError> {
    for blob in blobs {
        bound("the bytes of a blob", blob.len, 0, MAX_BLOB_BYTES)?;
    }
    match blobs.windows(2).find(|pair| pair[0].id == pair[1].id) {
        Some(pair) => Err(JobSpecError::Lengths { id: pair[0].id }),
        None => Ok(()),
    }
}

fn sorted<T: PartialOrd + fmt::Display>(
    what: &'static str,
    names: impl Iterator<Item = T> + Clone,
) -> Result<(), JobSpecError> {
    match names.clone().zip(names.skip(1)).find(|(a, b)| a >= b) {
        Some((_, name)) => Err(JobSpecError::Order { what, name: shortened(&name.to_string()) }),
        None => Ok(()),
    }
}

fn bound(what: &'static str, found: u64, least: u64, most: u64) -> Result<(), JobSpecError> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(JobSpecError::Bound { what, found, least, most })
    }
}

fn input(stage: Stage, path: &GuestPath, why: &'static str) -> JobSpecError {
    JobSpecError::Input { stage, path: path.clone(), why }
}
