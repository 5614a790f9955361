//! A job of one task over blobs, without a job file: what a server makes of a request.

use tidemill_types::{
    Amount, BlobRef, Comparison, FloatClass, GuestPath, Limits, Millis, ProgramKind, Reliance,
};

use super::{Draft, JobSpec, JobSpecError, StageProgram, Terms};
use crate::{
    JobName, Resources,
    tasks::{
        Command, MapTasks,
        source::{InputFile, Source},
    },
    template::Template,
};

/// All that a job of one task says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SingleTask {
    /// What people call the job.
    pub name: JobName,
    /// The sort of program.
    pub kind: ProgramKind,
    /// How floats are compiled.
    pub floats: FloatClass,
    /// The program.
    pub program: BlobRef,
    /// The program's own name.
    pub arg0: String,
    /// Environment variables, sorted by name.
    pub env: Vec<(String, String)>,
    /// Where the task finds its input, and the input.
    pub input: (GuestPath, BlobRef),
    /// What the task may use.
    pub limits: Limits,
    /// The longest that the job may take.
    pub deadline: Option<Millis>,
    /// How many more attempts the task gets when a machine fails it.
    pub retries: u32,
    /// What the task's randomness derives from.
    pub seed: u64,
    /// How its result comes to be relied on.
    pub reliance: Reliance,
}

impl SingleTask {
    /// The job.
    ///
    /// # Errors
    /// What is not within the bounds of a job.
    pub fn spec(self) -> Result<JobSpec, JobSpecError> {
        let Self { name, kind, floats, program, arg0, env, input, limits, deadline, retries, seed, reliance } =
            self;
        let terms = Terms {
            name,
            deadline,
            retries,
            seed,
            resources: Resources { memory: limits.memory, parallel: None },
            reliance,
            trusted: Vec::new(),
            comparison: Comparison::Exact,
            outside_gain: Amount::ZERO,
        };
        let env = env.into_iter().map(|(name, value)| (name, Template::literal(&value))).collect();
        let command = Command { arg0, args: Vec::new(), env, inputs: Vec::new() };
        let (path, content) = input;
        let source = Source::Files(vec![InputFile { path, content }]);
        let program = StageProgram { kind, program, floats, limits };
        JobSpec::new(Draft { terms, program, map: MapTasks { command, source }, reduce: None })
    }
}

#[cfg(test)]
mod tests {
    use tidemill_types::{BlobId, ByteSize};

    use super::*;

    fn blob(bytes: &[u8]) -> BlobRef {
        BlobRef { id: BlobId::of(bytes), len: bytes.len() as u64 }
    }

    fn single() -> SingleTask {
        SingleTask {
            name: JobName::new("answer").expect("it is a name"),
            kind: ProgramKind::Wasm,
            floats: FloatClass::Native,
            program: blob(b"program"),
            arg0: "model".into(),
            env: vec![("CREATED".into(), "{1}".into())],
            input: (GuestPath::new("requests.jsonl").expect("it is a path"), blob(b"{}\n")),
            limits: Limits::default(),
            deadline: Some(Millis(60_000)),
            retries: 2,
            seed: 7,
            reliance: Reliance::default(),
        }
    }

    #[test]
    fn it_is_a_job_of_one_task_that_travels() {
        let spec = single().spec().expect("it is within bounds");
        assert_eq!((spec.task_count(), spec.name().as_str()), (1, "answer"));
        let task = spec.map_task(0).spec;
        assert_eq!((task.args, task.env), (vec!["model".to_owned()], vec![("CREATED".into(), "{1}".into())]));
        assert_eq!(
            (task.inputs[0].path.as_str(), task.inputs[0].content),
            ("requests.jsonl", BlobId::of(b"{}\n"))
        );
        assert_eq!(JobSpec::decode(&spec.encode()).expect("it can be read"), spec);
    }

    #[test]
    fn bounds_are_those_of_any_job() {
        let limits = Limits { memory: ByteSize(0), ..Limits::default() };
        assert!(SingleTask { limits, ..single() }.spec().is_err());
        assert!(SingleTask { arg0: String::new(), ..single() }.spec().is_err());
    }
}
