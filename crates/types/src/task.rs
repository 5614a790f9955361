//! The specification of a task: all that determines its result, and its hash.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BlobId, GuestPath, Limits, MAX_MODEL_BYTES, MAX_PROGRAM_BYTES, SpecHash};

/// The classes of hardware within which native floats of wasm programs compare: the pinned feature sets of instruction
/// sets.
const WASM_CLASSES: [&str; 2] = ["x86-64-v3", "aarch64"];

/// The file of a model's output that has what a checker wants of each answer: a line of JSON for each line of the input, with
/// the tokens of each answer and a chain over what was computed on the way to them.
pub const CLAIMS_FILE: &str = "claims.jsonl";

/// What sort of program a task runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgramKind {
    /// A WebAssembly command for WASI preview 1.
    Wasm,
    /// A language model, which answers the requests that are its inputs.
    Infer,
}

/// How floating point is compiled, and so with whom results may be compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FloatClass {
    /// A pinned feature set for each instruction set; results compare within that set.
    #[default]
    Native,
    /// NaNs are made canonical; results compare anywhere. Float code runs 2 to 4 times slower.
    Canonical,
}

/// One read-only input file of a task.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct InputSpec {
    /// Where the task finds it, below `/in`.
    pub path: GuestPath,
    /// The hash of its content.
    pub content: BlobId,
    /// Its length in bytes.
    pub len: u64,
}

/// All that determines a task's result. Equal specifications give equal bytes on every honest machine
/// of the same float class.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The sort of program.
    pub kind: ProgramKind,
    /// The program.
    pub program: BlobId,
    /// How floats are compiled.
    pub floats: FloatClass,
    /// The arguments, the program's own name first.
    pub args: Vec<String>,
    /// Environment variables, in the order in which the program sees them.
    pub env: Vec<(String, String)>,
    /// The files below `/in`, sorted by path.
    pub inputs: Vec<InputSpec>,
    /// What the task may use.
    pub limits: Limits,
    /// The job's seed, from which the program's randomness derives.
    pub seed: u64,
}

/// The key of a task's random stream.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(pub [u8; 32]);

impl ProgramKind {
    /// The version of the execution of such programs: what a unit of work is, the file tree, the clock, the archive
    /// format. Two hosts may compare results only when this is equal; any change that an honest task could notice raises
    /// it. Each kind has its own, so that an engine that is old costs its provider no work of other kinds.
    pub const fn version(self) -> u32 {
        match self {
            Self::Wasm => 1,
            // The version of the engine in crate `infer`; a test of `modelhost` compares the two.
            Self::Infer => 1,
        }
    }

    /// Whether tokens that an output of this kind is made of say how to compute it again in a part of the time: then such an
    /// output has the file [`CLAIMS_FILE`].
    pub const fn has_drafts(self) -> bool {
        match self {
            Self::Wasm => false,
            Self::Infer => true,
        }
    }

    /// The classes of hardware that an engine of this kind may say it belongs to.
    pub const fn hardware_classes(self) -> &'static [&'static str] {
        match self {
            Self::Wasm => &WASM_CLASSES,
            // Its bits are the same on all hardware.
            Self::Infer => &[],
        }
    }

    /// The longest program of this kind.
    pub const fn most_program_bytes(self) -> u64 {
        match self {
            Self::Wasm => MAX_PROGRAM_BYTES,
            Self::Infer => MAX_MODEL_BYTES,
        }
    }

    /// Whether tasks that run the same program at the same time share its memory. Then what a machine has need not hold
    /// the limits of all of them together, but that of each.
    pub const fn shares_memory(self) -> bool {
        match self {
            Self::Wasm => false,
            Self::Infer => true,
        }
    }

    /// How floats are compiled where a job does not say. Models have one class, since their bits are the same everywhere.
    pub const fn default_floats(self) -> FloatClass {
        match self {
            Self::Wasm => FloatClass::Native,
            Self::Infer => FloatClass::Canonical,
        }
    }
}

impl TaskSpec {
    /// The hash that names this specification: BLAKE3 in key-derivation mode over the version of execution of its kind
    /// and the specification's postcard encoding.
    pub fn hash(&self) -> SpecHash {
        self.hash_under(self.kind.version())
    }

    /// The hash that names it under another version of execution: that of a result which an earlier build signed.
    pub fn hash_under(&self, exec_version: u32) -> SpecHash {
        SpecHash::from_bytes(derive("tidemill 2026 task specification", &(exec_version, self)))
    }

    /// The key of the task's randomness. It leaves the limits and the float class out, so that giving a
    /// program more memory does not change what it computes.
    pub fn randomness(&self) -> Seed {
        let identity = (self.seed, self.program, &self.args, &self.env, &self.inputs);
        Seed(derive("tidemill 2026 task randomness", &identity))
    }
}

/// BLAKE3 in key-derivation mode over a value's postcard encoding.
pub(crate) fn derive(context: &'static str, value: &impl Serialize) -> [u8; 32] {
    let bytes = postcard::to_stdvec(value).expect("plain data always has a postcard encoding");
    blake3::derive_key(context, &bytes)
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({})", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Display for ProgramKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wasm => "wasm",
            Self::Infer => "infer",
        })
    }
}

impl fmt::Display for FloatClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Canonical => "canonical",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ByteSize;

    fn spec() -> TaskSpec {
        TaskSpec {
            kind: ProgramKind::Wasm,
            program: BlobId::of(b"program"),
            floats: FloatClass::Native,
            args: vec!["p".into(), "7".into()],
            env: vec![],
            inputs: vec![InputSpec {
                path: GuestPath::new("a").expect("a valid path"),
                content: BlobId::of(b"a"),
                len: 1,
            }],
            limits: Limits::default(),
            seed: 0,
        }
    }

    #[test]
    fn everything_that_determines_the_result_changes_the_hash() {
        let base = spec().hash();
        let changes: [fn(&mut TaskSpec); 7] = [
            |s| s.program = BlobId::of(b"other"),
            |s| s.floats = FloatClass::Canonical,
            |s| s.args[1] = "8".into(),
            |s| s.env.push(("A".into(), "1".into())),
            |s| s.inputs[0].content = BlobId::of(b"b"),
            |s| s.limits.memory = ByteSize::mib(1),
            |s| s.seed = 1,
        ];
        for change in changes {
            let mut changed = spec();
            change(&mut changed);
            assert_ne!(changed.hash(), base, "{changed:?}");
        }
        assert_eq!(spec().hash(), base);
    }

    #[test]
    fn arguments_do_not_run_into_one_another() {
        let (mut a, mut b) = (spec(), spec());
        a.args = vec!["ab".into(), "c".into()];
        b.args = vec!["a".into(), "bc".into()];
        assert_ne!(a.hash(), b.hash());
        assert_ne!(a.randomness(), b.randomness());
    }

    #[test]
    fn raising_a_limit_keeps_the_randomness() {
        let mut roomier = spec();
        roomier.limits.memory = ByteSize::mib(1024);
        assert_eq!(roomier.randomness(), spec().randomness());
    }
}
