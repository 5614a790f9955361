//! The job file as a validated type. [`JobFile::parse`] is the only way to one, so whoever holds one
//! need not check again what its fields promise.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use tidemill_types::{
    Address, Amount, BlobId, ByteSize, Comparison, FloatClass, GuestPath, Limits, Millis, ProgramKind,
    Tolerance,
};

use crate::{Reliance, split::SplitRules, template::Template};

/// The most tasks that the map of one job may have.
pub const MAX_TASKS: u64 = 10_000_000;

/// The most parts that one reduce task may take.
pub const MAX_FAN_IN: u32 = 10_000;

/// A job, as its file describes it. Paths are as written: relative to the job file's directory, or
/// absolute.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct JobFile {
    /// The job's name.
    pub name: JobName,
    /// The longest that the whole job may take.
    pub deadline: Option<Millis>,
    /// How many more attempts a task gets when a machine fails it.
    pub retries: u32,
    /// What the randomness of every task derives from.
    pub seed: u64,
    /// What a map task runs.
    pub program: Program,
    /// What there is one task for each of.
    pub tasks: Tasks,
    /// Files that every map task sees, sorted by guest path.
    pub inputs: Vec<SharedInput>,
    /// What a map task may use.
    pub limits: Limits,
    /// Whether `limits.memory` is what the file says, and not the default.
    pub(crate) states_memory: bool,
    /// How the map's outputs become one.
    pub reduce: Option<Reduce>,
    /// What a machine needs to be given a task.
    pub resources: Resources,
    /// The most that the job may cost, before fees are taken out of it.
    pub max_price: Option<Amount>,
    /// How the results come to be relied on.
    pub reliance: Reliance,
    /// Operators whose results need no check, sorted, each once; at most 100.
    pub trusted: Vec<Address>,
    /// When two outputs of a task count as the same.
    pub compare: CompareBy,
    /// What one wrong result is worth to somebody outside of the network.
    pub outside_gain: Amount,
}

/// When two outputs of a task count as the same.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum CompareBy {
    /// When their bytes are equal.
    #[default]
    Exact,
    /// When their numbers differ by little.
    Numbers(Tolerance),
    /// When the program in this file says so.
    Program(PathBuf),
}

impl JobFile {
    /// Sees to it that a task may have the memory that a model of this length takes, and [`MODEL_ROOM`] for its texts,
    /// unless the file says how much a task may have.
    pub fn fit_model(&mut self, len: u64) {
        if self.states_memory || self.program.kind != ProgramKind::Infer {
            return;
        }
        let whole_mib = len.div_ceil(1 << 20) << 20;
        let most = Limits::most_memory(ProgramKind::Infer);
        self.limits.memory = ByteSize(whole_mib.saturating_add(MODEL_ROOM.0)).min(most);
        self.resources.memory = self.resources.memory.max(self.limits.memory);
    }
}

/// The memory that a task's texts have beside its model where a job file says nothing of memory.
pub const MODEL_ROOM: ByteSize = ByteSize::mib(512);

impl fmt::Display for CompareBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => Comparison::Exact.fmt(f),
            Self::Numbers(tolerance) => Comparison::Numbers(*tolerance).fmt(f),
            Self::Program(path) => write!(f, "when {} says so", path.display()),
        }
    }
}

/// A name of 1 to 64 lower-case letters, digits and hyphens that begins with a letter. It is safe as the
/// name of a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobName(String);

/// A program with what it is started with.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Program {
    /// Where the program is.
    pub source: ProgramSource,
    /// The sort of program.
    pub kind: ProgramKind,
    /// The program's own name, which it finds before its arguments; of a model the name that its requests and answers have.
    pub arg0: String,
    /// The arguments, without the program's own name.
    pub args: Vec<Template>,
    /// How floating point is compiled.
    pub floats: FloatClass,
    /// Environment variables, sorted by name.
    pub env: Vec<(String, Template)>,
}

/// Where a program is. Models have names and hashes as well, which whoever runs a job finds the file of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProgramSource {
    /// In a file of this host.
    File(PathBuf),
    /// In the file with this hash, among the models of this machine.
    Blob(BlobId),
    /// In the file that goes by this name, among the models of this machine.
    Named(String),
}

impl ProgramSource {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Blob(_) | Self::Named(_) => None,
        }
    }
}

impl fmt::Display for ProgramSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Blob(id) => id.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// What the map has one task for each of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tasks {
    /// Nothing in particular: there is one task.
    One,
    /// Each number of a range.
    Range(RangeTasks),
    /// Each file that matches one of these patterns.
    Files(Vec<String>),
    /// Each piece of large files.
    Split(SplitTasks),
    /// Each combination of parameters.
    Matrix(Matrix),
}

/// Numbers at equal distances: 1 to [`crate::MAX_TASKS`] of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RangeTasks {
    /// The first number.
    pub from: i64,
    /// The end, which is not reached.
    pub to: i64,
    /// The distance, never 0.
    pub step: i64,
}

/// Large files to cut.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SplitTasks {
    /// Patterns of the files.
    pub input: Vec<String>,
    /// How they are cut.
    pub rules: SplitRules,
}

/// All combinations of some parameters' values: 1 to [`crate::MAX_TASKS`] of them. The last parameter
/// varies fastest.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Matrix {
    /// The parameters, sorted by name.
    pub parameters: Vec<Parameter>,
}

/// One parameter of a matrix.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its values as text, at least one.
    pub values: Vec<String>,
}

/// A file that all tasks see.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SharedInput {
    /// Where a task finds it, below `/in`.
    pub path: GuestPath,
    /// Where it is on this host.
    pub file: PathBuf,
}

/// How the map's outputs become one.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Reduce {
    /// What a reduce task runs.
    pub program: Program,
    /// The most parts of one reduce task, 2 to [`crate::MAX_FAN_IN`]. Without it one task takes all.
    pub fan_in: Option<u32>,
    /// Files that every reduce task sees, sorted by guest path; none of them below `parts`.
    pub inputs: Vec<SharedInput>,
    /// What a reduce task may use.
    pub limits: Limits,
    /// What a machine must have free for a reduce task: the larger of its limit and
    /// [`Resources::memory`].
    pub memory: ByteSize,
}

/// What a machine needs to be given a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Resources {
    /// Free memory for a map task, at least its limit.
    pub memory: ByteSize,
    /// The most tasks that run at the same time, at least 1.
    pub parallel: Option<u32>,
}

impl JobName {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 64;

    /// Checks a text and takes it as a name.
    pub fn new(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let good = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.len() <= Self::MAX_CHARS
            && text.chars().all(allowed);
        good.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RangeTasks {
    /// How many numbers there are, in arithmetic that no ends can overflow.
    pub(crate) fn len(from: i64, to: i64, step: i64) -> u128 {
        let (from, to, step) = (i128::from(from), i128::from(to), i128::from(step));
        let span = if step > 0 { to - from } else { from - to };
        if span <= 0 || step == 0 { 0 } else { span.unsigned_abs().div_ceil(step.unsigned_abs()) }
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        u64::try_from(Self::len(self.from, self.to, self.step))
            .expect("the parser allows no range of more than ten million")
    }

    /// The number at a place below [`Self::count`].
    pub fn value(&self, index: u64) -> i64 {
        let value = i128::from(self.from) + i128::from(index) * i128::from(self.step);
        i64::try_from(value).expect("a place below the count is between the range's ends")
    }
}

impl Matrix {
    /// How many combinations there are.
    pub fn count(&self) -> u64 {
        self.parameters.iter().map(|parameter| parameter.values.len() as u64).product()
    }

    /// The values of the combination at a place below [`Self::count`], in the order of the parameters.
    pub fn combination(&self, index: u64) -> Vec<&str> {
        let mut rest = index;
        let mut values: Vec<&str> = Vec::with_capacity(self.parameters.len());
        for parameter in self.parameters.iter().rev() {
            let len = parameter.values.len() as u64;
            let place = usize::try_from(rest % len).expect("a remainder is below the number of values");
            values.push(&parameter.values[place]);
            rest /= len;
        }
        values.reverse();
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(from: i64, to: i64, step: i64) -> Vec<i64> {
        let range = RangeTasks { from, to, step };
        (0..range.count()).map(|i| range.value(i)).collect()
    }

    #[test]
    fn ranges_go_both_ways_and_leave_out_their_end() {
        assert_eq!(values(0, 3, 1), [0, 1, 2]);
        assert_eq!(values(-3, 4, 3), [-3, 0, 3]);
        assert_eq!(values(3, -4, -3), [3, 0, -3]);
        assert_eq!(values(i64::MIN, i64::MAX, i64::MAX), [i64::MIN, -1, i64::MAX - 1]);
        assert_eq!(RangeTasks::len(i64::MIN, i64::MAX, 1), u128::from(u64::MAX));
        assert_eq!(RangeTasks::len(0, 3, -1), 0);
    }

    #[test]
    fn the_last_parameter_varies_fastest() {
        let parameter = |name: &str, values: &[&str]| Parameter {
            name: name.to_owned(),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        };
        let matrix =
            Matrix { parameters: vec![parameter("a", &["1", "2"]), parameter("b", &["x", "y", "z"])] };
        let all: Vec<_> = (0..matrix.count()).map(|i| matrix.combination(i).concat()).collect();
        assert_eq!(all, ["1x", "1y", "1z", "2x", "2y", "2z"]);
    }

    #[test]
    fn a_job_s_name_is_safe_everywhere() {
        assert!(JobName::new("render-2").is_some() && JobName::new(&"a".repeat(64)).is_some());
        for text in ["", "-a", "2a", "A", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(JobName::new(text).is_none(), "{text}");
        }
    }
}
