//! The bytes of a job: the number of the format, then postcard. There is one encoding of each job, so its
//! hash names it.
//!
//! A template is written as in a job file and read as there. Lists whose elements take less on the wire
//! than in memory are bounded while they are read, so that few bytes never claim much memory.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use tidemill_types::{
    Address, Amount, ByteSize, Comparison, FloatClass, GuestPath, Limits, Millis, Numbers, ProgramKind,
    Tolerance,
};

use super::{
    BlobRef, Draft, JobSpec, JobSpecError, ReduceDraft, ReduceSpec, StageProgram, Terms,
    blob::{BlobPieces, Piece},
    check::{self, MAX_VALUES},
};
use crate::{
    JobName, Matrix, Parameter, RangeTasks, Reliance, Resources, Stage,
    bounds::{MAX_ARGS, MAX_ENV, MAX_PARAMETERS, MAX_TRUSTED},
    mistake::shortened,
    tasks::{
        Command, MapTasks,
        source::{CutFile, InputFile, Source, part_name},
    },
    template::{Scope, Template},
};

/// The format that this program writes and reads.
const FORMAT: u8 = 7;

const CONTEXT: &str = "tidemill 2026 job specification";

#[derive(Debug, Serialize, Deserialize)]
struct Encoded {
    name: String,
    deadline: Option<Millis>,
    retries: u32,
    seed: u64,
    memory: ByteSize,
    parallel: Option<u32>,
    reliance: EncodedReliance,
    #[serde(deserialize_with = "at_most::<MAX_TRUSTED, _, _>")]
    trusted: Vec<Address>,
    comparison: EncodedComparison,
    outside_gain: Amount,
    tasks: EncodedTasks,
    map: EncodedStage,
    reduce: Option<EncodedReduce>,
}

#[derive(Debug, Serialize, Deserialize)]
enum EncodedReliance {
    /// One wrong result in so many.
    Assured(u32),
    Replicated {
        quorum: u32,
        most: u32,
    },
    Trusted,
    Unverified,
}

#[derive(Debug, Serialize, Deserialize)]
enum EncodedComparison {
    Exact,
    /// The numbers may differ by so much: absolutely, relatively.
    Numbers(Numbers, f64, f64),
    Program(BlobRef),
}

#[derive(Debug, Serialize, Deserialize)]
struct EncodedReduce {
    fan_in: u64,
    stage: EncodedStage,
}

#[derive(Debug, Serialize, Deserialize)]
struct EncodedStage {
    kind: ProgramKind,
    program: BlobRef,
    floats: FloatClass,
    limits: Limits,
    arg0: String,
    #[serde(deserialize_with = "at_most::<MAX_ARGS, _, _>")]
    args: Vec<String>,
    #[serde(deserialize_with = "at_most::<MAX_ENV, _, _>")]
    env: Vec<(String, String)>,
    inputs: Vec<(GuestPath, BlobRef)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum EncodedTasks {
    One,
    Range {
        from: i64,
        to: i64,
        step: i64,
    },
    Matrix(EncodedMatrix),
    /// Where the files are, seen from the job file.
    Files(Vec<(GuestPath, BlobRef)>),
    Pieces(Vec<EncodedCut>),
}

#[derive(Debug, Serialize, Deserialize)]
struct EncodedMatrix {
    /// Names, each with the number of its values.
    #[serde(deserialize_with = "at_most::<MAX_PARAMETERS, _, _>")]
    parameters: Vec<(String, u32)>,
    /// The values of the first parameter, then those of the next.
    #[serde(deserialize_with = "at_most::<MAX_VALUES, _, _>")]
    values: Vec<String>,
}

/// A cut file: where it is, seen from the job file, its content, its first piece, and the others.
#[derive(Debug, Serialize, Deserialize)]
struct EncodedCut(GuestPath, BlobRef, Piece, Vec<Piece>);

impl JobSpec {
    /// Reads a job.
    ///
    /// # Errors
    /// [`JobSpecError`] names the first thing that is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, JobSpecError> {
        check_len(bytes)?;
        let (&format, rest) = bytes.split_first().ok_or(JobSpecError::Malformed)?;
        if format != FORMAT {
            return Err(JobSpecError::Format { found: format, known: FORMAT });
        }
        let encoded: Encoded = postcard::from_bytes(rest).map_err(|_| JobSpecError::Malformed)?;
        let job = Self::new(encoded.draft()?)?;
        // Postcard reads overlong integers and bytes beyond the end, too; encoding again is the simplest
        // proof that this is the job's one encoding.
        if job.encode() == bytes { Ok(job) } else { Err(JobSpecError::Malformed) }
    }

    /// The bytes that [`Self::decode`] reads as this job.
    pub fn encode(&self) -> Vec<u8> {
        let encoded = Encoded::of(self);
        postcard::to_extend(&encoded, vec![FORMAT]).expect("plain data always has a postcard encoding")
    }

    /// What names this job: BLAKE3 in key-derivation mode over its encoding.
    pub fn hash(&self) -> [u8; 32] {
        Self::hash_of(&self.encode())
    }

    /// [`Self::hash`] of the job that has this encoding.
    pub fn hash_of(encoded: &[u8]) -> [u8; 32] {
        blake3::derive_key(CONTEXT, encoded)
    }
}

/// Whether an encoding is short enough.
pub(super) fn check_len(bytes: &[u8]) -> Result<(), JobSpecError> {
    let (found, most) = (bytes.len() as u64, JobSpec::MAX_BYTES as u64);
    if found <= most {
        return Ok(());
    }
    Err(JobSpecError::Bound { what: "the bytes of the job", found, least: 1, most })
}

impl Encoded {
    fn of(job: &JobSpec) -> Self {
        let Terms { name, deadline, retries, seed, resources, reliance, trusted, comparison, outside_gain } =
            &job.terms;
        let reduce = |ReduceSpec { program, tasks }: &ReduceSpec| EncodedReduce {
            fan_in: tasks.tree.fan_in(),
            stage: EncodedStage::of(program, &tasks.command, &Scope::reduce()),
        };
        Self {
            name: name.as_str().to_owned(),
            deadline: *deadline,
            retries: *retries,
            seed: *seed,
            memory: resources.memory,
            parallel: resources.parallel,
            reliance: EncodedReliance::of(reliance),
            trusted: trusted.clone(),
            comparison: EncodedComparison::of(comparison),
            outside_gain: *outside_gain,
            tasks: EncodedTasks::of(&job.map.source),
            map: EncodedStage::of(&job.program, &job.map.command, &job.map.source.scope()),
            reduce: job.reduce.as_ref().map(reduce),
        }
    }

    fn draft(self) -> Result<Draft, JobSpecError> {
        let name = JobName::new(&self.name);
        let name = name.ok_or_else(|| JobSpecError::Name { what: "a job", name: shortened(&self.name) })?;
        let terms = Terms {
            name,
            deadline: self.deadline,
            retries: self.retries,
            seed: self.seed,
            resources: Resources { memory: self.memory, parallel: self.parallel },
            reliance: self.reliance.reliance()?,
            trusted: self.trusted,
            comparison: self.comparison.comparison()?,
            outside_gain: self.outside_gain,
        };
        let source = self.tasks.source()?;
        let (program, command) = self.map.stage(Stage::Map, &source.scope())?;
        let reduce = self.reduce.map(|EncodedReduce { fan_in, stage }| {
            let (program, command) = stage.stage(Stage::Reduce, &Scope::reduce())?;
            Ok(ReduceDraft { program, command, fan_in })
        });
        Ok(Draft { terms, program, map: MapTasks { command, source }, reduce: reduce.transpose()? })
    }
}

impl EncodedReliance {
    fn of(reliance: &Reliance) -> Self {
        match *reliance {
            Reliance::Assured(assurance) => Self::Assured(assurance.results()),
            Reliance::Replicated { quorum, most } => Self::Replicated { quorum, most },
            Reliance::Trusted => Self::Trusted,
            Reliance::Unverified => Self::Unverified,
        }
    }

    fn reliance(self) -> Result<Reliance, JobSpecError> {
        Ok(match self {
            Self::Assured(results) => Reliance::Assured(check::assurance(results)?),
            Self::Replicated { quorum, most } => Reliance::Replicated { quorum, most },
            Self::Trusted => Reliance::Trusted,
            Self::Unverified => Reliance::Unverified,
        })
    }
}

impl EncodedComparison {
    fn of(comparison: &Comparison) -> Self {
        match comparison {
            Comparison::Exact => Self::Exact,
            Comparison::Numbers(tolerance) => {
                Self::Numbers(tolerance.numbers(), tolerance.absolute(), tolerance.relative())
            }
            Comparison::Program(program) => Self::Program(*program),
        }
    }

    fn comparison(self) -> Result<Comparison, JobSpecError> {
        Ok(match self {
            Self::Exact => Comparison::Exact,
            Self::Numbers(numbers, absolute, relative) => {
                let tolerance = Tolerance::new(numbers, absolute, relative);
                Comparison::Numbers(tolerance.map_err(JobSpecError::Tolerance)?)
            }
            Self::Program(program) => Comparison::Program(program),
        })
    }
}

impl EncodedStage {
    fn of(program: &StageProgram, command: &Command<BlobRef>, scope: &Scope) -> Self {
        let text = |template: &Template| {
            template.source(scope).expect("a job's templates were checked against what their stage has")
        };
        Self {
            kind: program.kind,
            program: program.program,
            floats: program.floats,
            limits: program.limits,
            arg0: command.arg0.clone(),
            args: command.args.iter().map(text).collect(),
            env: command.env.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            inputs: command.inputs.clone(),
        }
    }

    fn stage(self, stage: Stage, scope: &Scope) -> Result<(StageProgram, Command<BlobRef>), JobSpecError> {
        // A placeholder takes more memory than text, so they are counted while they are read.
        let mut placeholders = 0;
        let mut template = |what, text: &str| {
            check::source_len(text)?;
            let wrong = |_| JobSpecError::Template { stage, what, text: shortened(text) };
            let template = Template::parse(text, scope).map_err(wrong)?;
            placeholders += template.placeholders() as u64;
            check::placeholder_count(placeholders)?;
            Ok(template)
        };
        let args = self.args.iter().map(|text| template("an argument", text)).collect::<Result<_, _>>()?;
        let variable = |(name, text): (String, String)| Ok((name, template("a variable's value", &text)?));
        let env = self.env.into_iter().map(variable).collect::<Result<_, _>>()?;
        let Self { kind, program, floats, limits, arg0, inputs, .. } = self;
        Ok((StageProgram { kind, program, floats, limits }, Command { arg0, args, env, inputs }))
    }
}

impl EncodedTasks {
    fn of(source: &Source<BlobRef, BlobPieces>) -> Self {
        match source {
            Source::One => Self::One,
            Source::Range(RangeTasks { from, to, step }) => Self::Range { from: *from, to: *to, step: *step },
            Source::Matrix(matrix) => Self::Matrix(EncodedMatrix::of(matrix)),
            Source::Files(files) => {
                Self::Files(files.iter().map(|file| (file.path.clone(), file.content)).collect())
            }
            Source::Pieces(files) => {
                let cut = |CutFile { path, pieces, .. }: &CutFile<BlobPieces>| {
                    let (first, rest) = pieces.pieces.split_first().expect("a cut file has a piece");
                    EncodedCut(path.clone(), pieces.file, *first, rest.to_vec())
                };
                Self::Pieces(files.iter().map(cut).collect())
            }
        }
    }

    fn source(self) -> Result<Source<BlobRef, BlobPieces>, JobSpecError> {
        Ok(match self {
            Self::One => Source::One,
            Self::Range { from, to, step } => Source::Range(RangeTasks { from, to, step }),
            Self::Matrix(matrix) => Source::Matrix(matrix.matrix()?),
            Self::Files(files) => {
                Source::Files(files.into_iter().map(|(path, content)| InputFile { path, content }).collect())
            }
            Self::Pieces(files) => {
                let mut count = 0;
                let cut = |EncodedCut(path, file, piece, rest): EncodedCut| {
                    let pieces = [vec![piece], rest].concat();
                    let first = count;
                    count += pieces.len() as u64;
                    CutFile { part: part_name(&path), path, pieces: BlobPieces { file, pieces }, first }
                };
                Source::Pieces(files.into_iter().map(cut).collect())
            }
        })
    }
}

impl EncodedMatrix {
    fn of(matrix: &Matrix) -> Self {
        let count = |parameter: &Parameter| {
            let values = parameter.values.len();
            (parameter.name.clone(), u32::try_from(values).expect("a job bounds the values of a matrix"))
        };
        Self {
            parameters: matrix.parameters.iter().map(count).collect(),
            values: matrix.parameters.iter().flat_map(|parameter| &parameter.values).cloned().collect(),
        }
    }

    fn matrix(self) -> Result<Matrix, JobSpecError> {
        let mut values = self.values.into_iter();
        let mut parameters = Vec::with_capacity(self.parameters.len());
        for (name, count) in self.parameters {
            let own: Vec<_> = values.by_ref().take(count as usize).collect();
            if own.len() < count as usize {
                return Err(JobSpecError::Malformed);
            }
            parameters.push(Parameter { name, values: own });
        }
        // Values that are left over make another encoding than that of the matrix, which is refused.
        Ok(Matrix { parameters })
    }
}

/// Reads a list of at most so many elements.
fn at_most<'de, const MOST: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct AtMost<const MOST: usize, T>(PhantomData<T>);

    impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<MOST, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = elements.next_element()? {
                if list.len() == MOST {
                    return Err(serde::de::Error::invalid_length(MOST + 1, &self));
                }
                list.push(element);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(AtMost::<MOST, T>(PhantomData))
}

#[cfg(test)]
mod tests;
