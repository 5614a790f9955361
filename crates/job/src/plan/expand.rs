//! From a job file to a plan: all that the file system has to say.

mod error;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    fs::{self, File},
    path::{Component, Path, PathBuf},
};

use tidemill_types::{Content, GuestPath, ProgramKind};

pub use self::error::{ExpandError, ExpandErrors};
use super::{
    HostPieces, Plan, ProgramFile, ReducePlan,
    matching::{self, MatchError},
    unpack::{self, Unpacked},
};
use crate::{
    CompareBy, JobFile, MAX_FAN_IN, MAX_TASKS, Program, ProgramSource, Reduce, ReduceTree, SharedInput,
    SplitError, SplitRules, SplitTasks, Tasks, split,
    tasks::{
        Command, MapTasks, ReduceTasks,
        source::{CutFile, InputFile, Source, part_name},
    },
};

const FILES: &str = "tasks.files";
const SPLIT: &str = "tasks.split.input";

/// Finds and measures a job's files and cuts those that are to be cut. `dir` is the job file's directory;
/// the plan's paths are absolute.
///
/// # Errors
/// [`ExpandErrors`] names the keys and the files that keep the job from running: all files that are not what they should
/// be, or else the first that cannot be cut.
pub fn expand(file: &JobFile, dir: &Path) -> Result<Plan, ExpandErrors> {
    expand_as(file, dir, false, u64::MAX)
}

/// The same for the job file of a stranger: files outside of `dir` are not looked at, wherever paths, patterns and links
/// lead, and what is compressed unpacks to at most `most_unpacked` bytes altogether.
///
/// # Errors
/// [`ExpandErrors`] as those of [`expand`], and [`ExpandError::Outside`].
pub fn expand_within(file: &JobFile, dir: &Path, most_unpacked: u64) -> Result<Plan, ExpandErrors> {
    expand_as(file, dir, true, most_unpacked)
}

fn expand_as(
    file: &JobFile,
    dir: &Path,
    is_confined: bool,
    most_unpacked: u64,
) -> Result<Plan, ExpandErrors> {
    let missing = |source| ExpandError::Directory { dir: dir.to_owned(), source };
    let dir = std::path::absolute(dir).map_err(missing)?;
    let within = match is_confined {
        true => Some(fs::canonicalize(&dir).map_err(missing)?),
        false => None,
    };
    let (errors, told) = (ExpandErrors::default(), BTreeSet::new());
    let mut found = Found { dir: &dir, within, errors, told };
    let program_key = match file.program.kind {
        ProgramKind::Wasm => "program.path",
        ProgramKind::Infer => "program.model",
    };
    let map = found.command(&file.program, &file.inputs, [program_key, "inputs"]);
    let source = found.source(file);
    let reduce = file
        .reduce
        .as_ref()
        .and_then(|reduce| found.command(&reduce.program, &reduce.inputs, ["reduce.path", "reduce.inputs"]));
    let comparer = match &file.compare {
        CompareBy::Program(path) => found.program("policy.compare.program", path),
        CompareBy::Exact | CompareBy::Numbers(_) => None,
    };
    let (Some((program, command)), Some(source), 0) = (map, source, found.errors.count()) else {
        return Err(found.errors);
    };
    let source = match source {
        Sought::Ready(source) => source,
        // It takes its time, so all else must be right.
        Sought::ToCut(files, rules) => Source::Pieces(cut(files, rules, most_unpacked)?),
    };
    let reduce = match (&file.reduce, reduce) {
        (Some(reduce), Some(command)) => Some(reduce_plan(reduce, command, source.count())?),
        _ => None,
    };
    Ok(Plan { program, map: MapTasks { command, source }, reduce, comparer })
}

/// What there is one task for each of, as far as a look at the files tells.
enum Sought<'a> {
    Ready(Source<Content, HostPieces>),
    /// These files are to be cut.
    ToCut(Vec<Uncut>, &'a SplitRules),
}

/// A file that is to be cut.
struct Uncut {
    /// Where it is, seen from the job file.
    seen: GuestPath,
    /// Where a task finds its piece.
    part: GuestPath,
    path: PathBuf,
}

/// A search for all that a job file names: what is not as it should be is noted, and the search goes on.
struct Found<'a> {
    dir: &'a Path,
    /// Where all files must be, without links on the way; anywhere otherwise.
    within: Option<PathBuf>,
    errors: ExpandErrors,
    /// The files that were noted: one that is named twice is wrong once.
    told: BTreeSet<PathBuf>,
}

impl Found<'_> {
    /// A program with its name and arguments. Nothing where something of it is missing, as of all that follows.
    fn command(
        &mut self,
        program: &Program,
        shared: &[SharedInput],
        [program_key, inputs_key]: [&'static str; 2],
    ) -> Option<(ProgramFile, Command<Content>)> {
        let file = self.source_of(program_key, &program.source);
        let mut inputs = Vec::with_capacity(shared.len());
        for input in shared {
            let path = self.dir.join(&input.file);
            let len = self.len(inputs_key, &path);
            inputs.extend(len.map(|len| (input.path.clone(), Content::file(path, len))));
        }
        let Program { arg0, args, env, .. } = program.clone();
        let is_whole = inputs.len() == shared.len();
        is_whole.then_some((file?, Command { arg0, args, env, inputs }))
    }

    fn source_of(&mut self, key: &'static str, source: &ProgramSource) -> Option<ProgramFile> {
        match source {
            ProgramSource::File(path) => self.program(key, path),
            ProgramSource::Blob(_) | ProgramSource::Named(_) => {
                self.errors.push(ExpandError::NoModel { model: source.to_string() });
                None
            }
        }
    }

    fn program(&mut self, key: &'static str, path: &Path) -> Option<ProgramFile> {
        let path = self.dir.join(path);
        let len = self.len(key, &path)?;
        Some(ProgramFile { len, path })
    }

    fn source<'f>(&mut self, file: &'f JobFile) -> Option<Sought<'f>> {
        let source = match &file.tasks {
            Tasks::One => Source::One,
            Tasks::Range(range) => Source::Range(*range),
            Tasks::Matrix(matrix) => Source::Matrix(matrix.clone()),
            Tasks::Files(patterns) => Source::Files(self.input_files(patterns, &file.inputs)?),
            Tasks::Split(split) => return self.uncut(split, &file.inputs),
        };
        Some(Sought::Ready(source))
    }

    fn input_files(
        &mut self,
        patterns: &[String],
        shared: &[SharedInput],
    ) -> Option<Vec<InputFile<Content>>> {
        let taken = top_names(shared);
        let paths = self.matches(FILES, patterns)?;
        let mut files = Vec::with_capacity(paths.len());
        let count = paths.len();
        for path in paths {
            let Some(name) = self.name(FILES, &path) else { continue };
            if taken.contains(name.as_str()) {
                self.errors.push(ExpandError::Clash { key: FILES, path, guest: name });
                continue;
            }
            let seen = seen_from(self.dir, &path, name);
            let len = self.len(FILES, &path);
            files.extend(len.map(|len| InputFile { path: seen, content: Content::file(path, len) }));
        }
        (files.len() == count).then_some(files)
    }

    fn uncut<'f>(&mut self, split: &'f SplitTasks, shared: &[SharedInput]) -> Option<Sought<'f>> {
        let taken = top_names(shared);
        let paths = self.matches(SPLIT, &split.input)?;
        let mut files = Vec::with_capacity(paths.len());
        let count = paths.len();
        for path in paths {
            let Some(name) = self.name(SPLIT, &path) else { continue };
            let seen = seen_from(self.dir, &path, name);
            let part = part_name(&seen);
            if taken.contains(part.as_str()) {
                self.errors.push(ExpandError::Clash { key: SPLIT, path, guest: part });
                continue;
            }
            let len = self.len(SPLIT, &path);
            files.extend(len.map(|_| Uncut { seen, part, path }));
        }
        (files.len() == count).then_some(Sought::ToCut(files, &split.rules))
    }

    /// The files that match any of the patterns, each once by whatever links it is found, sorted.
    fn matches(&mut self, key: &'static str, patterns: &[String]) -> Option<Vec<PathBuf>> {
        let dir = self.dir;
        let mut all = BTreeSet::new();
        let mut is_whole = true;
        for pattern in patterns {
            let path = dir.join(pattern);
            if self.within.is_some() && !stays_inside(Path::new(pattern)) {
                self.errors.push(ExpandError::Outside { key, path: pattern.into() });
                is_whole = false;
                continue;
            }
            // A file may have a name like a pattern, and then the pattern is the file's path.
            if !matching::is_pattern(pattern) || path.is_file() {
                all.insert(path);
                continue;
            }
            let error = match matching::files(pattern, dir, MAX_TASKS) {
                Ok(found) if found.is_empty() => {
                    ExpandError::NoMatch { key, pattern: pattern.to_owned(), dir: dir.to_owned() }
                }
                Ok(found) => {
                    all.extend(found);
                    if all.len() as u64 <= MAX_TASKS {
                        continue;
                    }
                    ExpandError::TooManyTasks { key }
                }
                Err(MatchError::Unreadable { path, source }) => ExpandError::Unreadable { key, path, source },
                Err(MatchError::NotText(path)) => ExpandError::NotText { key, path },
                Err(MatchError::TooMany) => ExpandError::TooManyTasks { key },
            };
            let is_too_many = matches!(error, ExpandError::TooManyTasks { .. });
            self.errors.push(error);
            if is_too_many {
                return None;
            }
            is_whole = false;
        }
        // Files that are named by their paths are looked at all the same.
        if !is_whole {
            for path in all {
                self.len(key, &path);
            }
            return None;
        }
        Some(each_once(all))
    }

    fn name(&mut self, key: &'static str, path: &Path) -> Option<GuestPath> {
        let Some(name) = path.file_name().unwrap_or_default().to_str() else {
            self.errors.push(ExpandError::NotText { key, path: path.to_owned() });
            return None;
        };
        match GuestPath::new(name) {
            Ok(name) => Some(name),
            Err(source) => {
                self.errors.push(ExpandError::Name { key, path: path.to_owned(), source });
                None
            }
        }
    }

    /// The length of a file.
    fn len(&mut self, key: &'static str, path: &Path) -> Option<u64> {
        if let Some(within) = &self.within {
            let seen = path.strip_prefix(self.dir).ok().filter(|seen| stays_inside(seen));
            // A file that is not there is told of as such, and leads nowhere.
            let is_inside = fs::canonicalize(path).map_or(true, |real| real.starts_with(within));
            let Some(_) = seen.filter(|_| is_inside) else {
                let path = path.strip_prefix(self.dir).unwrap_or(path).to_owned();
                if self.told.insert(path.clone()) {
                    self.errors.push(ExpandError::Outside { key, path });
                }
                return None;
            };
        }
        let error = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => return Some(metadata.len()),
            Ok(_) => ExpandError::NotFile { key, path: path.to_owned() },
            Err(source) => ExpandError::Unreadable { key, path: path.to_owned(), source },
        };
        if self.told.insert(path.to_owned()) {
            self.errors.push(error);
        }
        None
    }
}

/// Whether a path names something below where it begins.
fn stays_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn reduce_plan(
    reduce: &Reduce,
    (program, command): (ProgramFile, Command<Content>),
    parts: u64,
) -> Result<ReducePlan, ExpandError> {
    let fan_in = match reduce.fan_in {
        Some(fan_in) => u64::from(fan_in),
        None if parts > u64::from(MAX_FAN_IN) => return Err(ExpandError::TooManyParts { parts }),
        None => parts,
    };
    Ok(ReducePlan {
        program,
        tasks: ReduceTasks { command, tree: ReduceTree::new(parts, fan_in) },
        limits: reduce.limits,
        memory: reduce.memory,
    })
}

/// Cuts files, one after another. What is compressed may unpack to `most_unpacked` bytes altogether.
fn cut(
    uncut: Vec<Uncut>,
    rules: &SplitRules,
    mut most_unpacked: u64,
) -> Result<Vec<CutFile<HostPieces>>, ExpandError> {
    let mut files: Vec<CutFile<HostPieces>> = Vec::new();
    let mut room = None;
    let mut first = 0;
    for Uncut { seen, part, path } in uncut {
        let mut input = match File::open(&path) {
            Ok(input) => input,
            Err(source) => return Err(ExpandError::Unreadable { key: SPLIT, path, source }),
        };
        let mut unpacked = None;
        match unpack::unpacked(&mut input, &mut room, most_unpacked) {
            Ok(None) => {}
            Ok(Some(Unpacked { file, place })) => (input, unpacked) = (file, Some(place)),
            Err(source) => return Err(ExpandError::Unpack { path, source }),
        }
        let len = match input.metadata() {
            Ok(metadata) => metadata.len(),
            Err(source) => return Err(ExpandError::Unreadable { key: SPLIT, path, source }),
        };
        if unpacked.is_some() {
            most_unpacked = most_unpacked.saturating_sub(len);
        }
        let pieces = match split::split(input, rules, MAX_TASKS - first) {
            Ok(pieces) => pieces,
            Err(SplitError::TooManyPieces { .. }) => {
                return Err(ExpandError::TooManyTasks { key: "tasks.split" });
            }
            Err(source) => return Err(ExpandError::Split { path, source }),
        };
        let count = pieces.len() as u64;
        if count > 0 {
            let path = unpacked.as_ref().map_or(path, |unpacked| unpacked.path().to_owned());
            files.push(CutFile {
                path: seen,
                part,
                pieces: HostPieces { path, len, pieces, _unpacked: unpacked },
                first,
            });
        }
        first += count;
    }
    if files.is_empty() { Err(ExpandError::NothingToSplit) } else { Ok(files) }
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
