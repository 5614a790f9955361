//! From a job file to a plan: all that the file system has to say.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
};

use tidemill_types::{Content, GuestPath, PathError};

use super::{
    HostPieces, Plan, ProgramFile, ReducePlan,
    matching::{self, MatchError},
    unpack::{self, UnpackError, Unpacked},
};
use crate::{
    CompareBy, JobFile, MAX_FAN_IN, MAX_TASKS, Program, Reduce, ReduceTree, SharedInput, SplitError,
    SplitTasks, Tasks, split,
    tasks::{
        Command, MapTasks, ReduceTasks,
        source::{CutFile, InputFile, Source, part_name},
    },
};

/// Why a job file that is right in itself cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// The directory of the job file cannot be found.
    #[error("the directory {} cannot be found", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that the job names is not there or cannot be read.
    #[error("`{key}`: {} cannot be read", path.display())]
    Unreadable {
        /// The key of the job file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What the job names is a directory or something stranger.
    #[error("`{key}`: {} is not a file", path.display())]
    NotFile {
        /// The key of the job file.
        key: &'static str,
        /// What is no file.
        path: PathBuf,
    },
    /// A pattern matches no file.
    #[error("`{key}`: no file matches {pattern:?} in {}", dir.display())]
    NoMatch {
        /// The key of the job file.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// The directory of the job file.
        dir: PathBuf,
    },
    /// A path is not UTF-8 text, which patterns and a task's paths are.
    #[error("`{key}`: the path {} is not UTF-8; rename it", path.display())]
    NotText {
        /// The key of the job file.
        key: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A file's name is not one that a task can see.
    #[error("`{key}`: a task cannot see {} under its name; rename it", path.display())]
    Name {
        /// The key of the job file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with the name.
        #[source]
        source: PathError,
    },
    /// A task's own input and one that all tasks share have the same path.
    #[error("`{key}`: a task sees {} as `/in/{guest}`, where [inputs] puts something else", path.display())]
    Clash {
        /// The key of the job file.
        key: &'static str,
        /// The task's own input.
        path: PathBuf,
        /// The path that both have.
        guest: GuestPath,
    },
    /// A file cannot be cut.
    #[error("`tasks.split`: {} cannot be cut", path.display())]
    Split {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SplitError,
    },
    /// A compressed file cannot be unpacked.
    #[error("`tasks.split`: {} cannot be unpacked", path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// There is nothing in the files to cut.
    #[error("`tasks.split.input`: the files are empty, so there is no task")]
    NothingToSplit,
    /// There would be more tasks than allowed.
    #[error("`{key}` gives more than {MAX_TASKS} tasks")]
    TooManyTasks {
        /// The key of the job file.
        key: &'static str,
    },
    /// One reduce task would take more parts than allowed.
    #[error(
        "one reduce task would take {parts} parts, and {MAX_FAN_IN} is the most; set `fan_in` in [reduce]"
    )]
    TooManyParts {
        /// The number of map tasks.
        parts: u64,
    },
}

const FILES: &str = "tasks.files";
const SPLIT: &str = "tasks.split.input";

/// Finds and measures a job's files and cuts those that are to be cut. `dir` is the job file's directory;
/// the plan's paths are absolute.
///
/// # Errors
/// [`ExpandError`] names the key and the file that keep the job from running.
pub fn expand(file: &JobFile, dir: &Path) -> Result<Plan, ExpandError> {
    let dir =
        std::path::absolute(dir).map_err(|source| ExpandError::Directory { dir: dir.to_owned(), source })?;
    let (program, command) = command(&file.program, &file.inputs, &dir, ["program.path", "inputs"])?;
    let source = match &file.tasks {
        Tasks::One => Source::One,
        Tasks::Range(range) => Source::Range(*range),
        Tasks::Matrix(matrix) => Source::Matrix(matrix.clone()),
        Tasks::Files(patterns) => Source::Files(input_files(patterns, &dir, &file.inputs)?),
        Tasks::Split(split) => Source::Pieces(cut_files(split, &dir, &file.inputs)?),
    };
    let reduce = file.reduce.as_ref().map(|reduce| reduce_plan(reduce, source.count(), &dir)).transpose()?;
    let comparer = match &file.compare {
        CompareBy::Program(path) => {
            let path = dir.join(path);
            Some(ProgramFile { len: file_len("policy.compare.program", &path)?, path })
        }
        CompareBy::Exact | CompareBy::Numbers(_) => None,
    };
    Ok(Plan { program, map: MapTasks { command, source }, reduce, comparer })
}

fn reduce_plan(reduce: &Reduce, parts: u64, dir: &Path) -> Result<ReducePlan, ExpandError> {
    let fan_in = match reduce.fan_in {
        Some(fan_in) => u64::from(fan_in),
        None if parts > u64::from(MAX_FAN_IN) => return Err(ExpandError::TooManyParts { parts }),
        None => parts,
    };
    let (program, command) = command(&reduce.program, &reduce.inputs, dir, ["reduce.path", "reduce.inputs"])?;
    Ok(ReducePlan {
        program,
        tasks: ReduceTasks { command, tree: ReduceTree::new(parts, fan_in) },
        limits: reduce.limits,
        memory: reduce.memory,
    })
}

fn command(
    program: &Program,
    shared: &[SharedInput],
    dir: &Path,
    [program_key, inputs_key]: [&'static str; 2],
) -> Result<(ProgramFile, Command<Content>), ExpandError> {
    let path = dir.join(&program.path);
    let file = ProgramFile { len: file_len(program_key, &path)?, path };
    let input = |input: &SharedInput| {
        let path = dir.join(&input.file);
        let len = file_len(inputs_key, &path)?;
        Ok((input.path.clone(), Content::file(path, len)))
    };
    let inputs = shared.iter().map(input).collect::<Result<_, ExpandError>>()?;
    let Program { arg0, args, env, .. } = program.clone();
    Ok((file, Command { arg0, args, env, inputs }))
}

fn input_files(
    patterns: &[String],
    dir: &Path,
    shared: &[SharedInput],
) -> Result<Vec<InputFile<Content>>, ExpandError> {
    let taken = top_names(shared);
    let file = |path: PathBuf| {
        let name = name_of(FILES, &path)?;
        if taken.contains(name.as_str()) {
            return Err(ExpandError::Clash { key: FILES, path, guest: name });
        }
        let len = file_len(FILES, &path)?;
        Ok(InputFile { path: seen_from(dir, &path, name), content: Content::file(path, len) })
    };
    matches(FILES, patterns, dir)?.into_iter().map(file).collect()
}

fn cut_files(
    split: &SplitTasks,
    dir: &Path,
    shared: &[SharedInput],
) -> Result<Vec<CutFile<HostPieces>>, ExpandError> {
    let taken = top_names(shared);
    let mut files: Vec<CutFile<HostPieces>> = Vec::new();
    let mut first = 0;
    for path in matches(SPLIT, &split.input, dir)? {
        let seen = seen_from(dir, &path, name_of(SPLIT, &path)?);
        let part = part_name(&seen);
        if taken.contains(part.as_str()) {
            return Err(ExpandError::Clash { key: SPLIT, path, guest: part });
        }
        file_len(SPLIT, &path)?;
        let mut input = match File::open(&path) {
            Ok(input) => input,
            Err(source) => return Err(ExpandError::Unreadable { key: SPLIT, path, source }),
        };
        let mut unpacked = None;
        match unpack::unpacked(&mut input) {
            Ok(None) => {}
            Ok(Some(Unpacked { file, path })) => (input, unpacked) = (file, Some(path)),
            Err(source) => return Err(ExpandError::Unpack { path, source }),
        }
        let pieces = match split::split(input, &split.rules, MAX_TASKS - first) {
            Ok(pieces) => pieces,
            Err(SplitError::TooManyPieces { .. }) => {
                return Err(ExpandError::TooManyTasks { key: "tasks.split" });
            }
            Err(source) => return Err(ExpandError::Split { path, source }),
        };
        let count = pieces.len() as u64;
        if count > 0 {
            let path = unpacked.as_ref().map_or(path, |unpacked| unpacked.to_path_buf());
            files.push(CutFile {
                path: seen,
                part,
                pieces: HostPieces { path, pieces, _unpacked: unpacked },
                first,
            });
        }
        first += count;
    }
    if files.is_empty() { Err(ExpandError::NothingToSplit) } else { Ok(files) }
}

/// The files that match any of the patterns, each once by whatever links it is found, sorted.
fn matches(key: &'static str, patterns: &[String], dir: &Path) -> Result<Vec<PathBuf>, ExpandError> {
    let mut all = BTreeSet::new();
    for pattern in patterns {
        let path = dir.join(pattern);
        // A file may have a name like a pattern, and then the pattern is the file's path.
        if !matching::is_pattern(pattern) || path.is_file() {
            all.insert(path);
            continue;
        }
        let found = matching::files(pattern, dir, MAX_TASKS).map_err(|error| match error {
            MatchError::Unreadable { path, source } => ExpandError::Unreadable { key, path, source },
            MatchError::NotText(path) => ExpandError::NotText { key, path },
            MatchError::TooMany => ExpandError::TooManyTasks { key },
        })?;
        if found.is_empty() {
            return Err(no_match(key, pattern, dir));
        }
        all.extend(found);
        if all.len() as u64 > MAX_TASKS {
            return Err(ExpandError::TooManyTasks { key });
        }
    }
    Ok(each_once(all))
}

/// Leaves out what another path leads to as well: of all paths of a file, its own stays, or else the first.
fn each_once(paths: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    // Where a path cannot be followed, opening it will say why.
    let real = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let mut files: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for path in paths {
        let file = real(&path);
        let is_its_own = path == file;
        match files.entry(file) {
            btree_map::Entry::Vacant(entry) => drop(entry.insert(path)),
            btree_map::Entry::Occupied(mut entry) if is_its_own => drop(entry.insert(path)),
            btree_map::Entry::Occupied(_) => {}
        }
    }
    let mut paths: Vec<_> = files.into_values().collect();
    paths.sort_unstable();
    paths
}

fn no_match(key: &'static str, pattern: &str, dir: &Path) -> ExpandError {
    ExpandError::NoMatch { key, pattern: pattern.to_owned(), dir: dir.to_owned() }
}

fn file_len(key: &'static str, path: &Path) -> Result<u64, ExpandError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
        Ok(_) => Err(ExpandError::NotFile { key, path: path.to_owned() }),
        Err(source) => Err(ExpandError::Unreadable { key, path: path.to_owned(), source }),
    }
}

/// The names directly below `/in` that the shared inputs take.
fn top_names(shared: &[SharedInput]) -> BTreeSet<&str> {
    shared.iter().filter_map(|input| input.path.components().next()).collect()
}

/// Where a file is, seen from the job file's directory `dir`. What leads out of that (a `/` at the beginning, `..`) is
/// left out, so that a program can make the same path below `/out`. Directories are for people and for naming outputs,
/// and one that is not text, or has characters that a task's paths do not have, keeps no file from being an input.
fn seen_from(dir: &Path, path: &Path, name: GuestPath) -> GuestPath {
    let inside = path.strip_prefix(dir).unwrap_or(path);
    let mut seen: Vec<String> = Vec::new();
    for component in inside.parent().into_iter().flat_map(Path::components) {
        match component {
            Component::Normal(directory) => {
                let allowed = |c: char| if GuestPath::allows(c) { c } else { '\u{fffd}' };
                seen.push(directory.to_string_lossy().chars().map(allowed).collect());
            }
            Component::ParentDir => drop(seen.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    seen.push(name.as_str().to_owned());
    GuestPath::new(seen.join("/")).unwrap_or(name)
}

fn name_of(key: &'static str, path: &Path) -> Result<GuestPath, ExpandError> {
    let Some(name) = path.file_name().unwrap_or_default().to_str() else {
        return Err(ExpandError::NotText { key, path: path.to_owned() });
    };
    GuestPath::new(name).map_err(|source| ExpandError::Name { key, path: path.to_owned(), source })
}
