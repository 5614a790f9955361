//! What became of an attempt at a task.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, Fuel, Millis};

/// How an attempt ended. It succeeded only when the program said so, by exit code 0, within its limits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The program ended with exit code 0 within its limits.
    Done,
    /// It did not.
    Failed(Failure),
}

/// Tokens that a model read and wrote, as far as they are the same on every machine: which of them a machine had kept from
/// earlier tasks is not among it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Tokens {
    /// Of all prompts.
    pub input: u64,
    /// Those of `input` that an earlier prompt of the same task begins with as well, in whole pages of 16.
    pub cached: u64,
    /// Of all answers, those that ended one too.
    pub output: u64,
}

impl Tokens {
    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            output: self.output.saturating_add(other.output),
        }
    }

    /// Tokens that a model has to compute: all but the cached ones.
    pub fn computed(self) -> u64 {
        self.input.saturating_sub(self.cached).saturating_add(self.output)
    }
}

/// What an attempt used, as far as it is the same on every machine. Elapsed time is kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// Fuel burnt.
    pub fuel: Fuel,
    /// Tokens read and written by a model.
    pub tokens: Tokens,
    /// The most linear memory held.
    pub memory: ByteSize,
    /// Bytes read from inputs.
    pub read: ByteSize,
    /// Bytes of the output archive's files.
    pub output: ByteSize,
    /// Bytes written to standard error.
    pub log: ByteSize,
    /// Calls into the host.
    pub host_calls: u64,
}

impl Usage {
    /// Takes in what another attempt used: amounts add up, of memory the most counts.
    pub fn add(&mut self, other: &Self) {
        *self = Self {
            fuel: Fuel(self.fuel.0.saturating_add(other.fuel.0)),
            tokens: self.tokens.plus(other.tokens),
            memory: self.memory.max(other.memory),
            read: ByteSize(self.read.0.saturating_add(other.read.0)),
            output: ByteSize(self.output.0.saturating_add(other.output.0)),
            log: ByteSize(self.log.0.saturating_add(other.log.0)),
            host_calls: self.host_calls.saturating_add(other.host_calls),
        };
    }
}

/// Whether a failure says something about the task or only about the machine that ran it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Weight {
    /// The same on every honest machine: running the task again is of no use, and a provider that
    /// reports otherwise is wrong.
    Evidence,
    /// It may end otherwise elsewhere: never held against anyone, worth another attempt.
    Circumstance,
}

/// Why WebAssembly code trapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TrapKind {
    /// `unreachable`: most often a panic or an abort of the program.
    Unreachable,
    /// An access outside of the linear memory.
    MemoryOutOfBounds,
    /// An access outside of a table.
    TableOutOfBounds,
    /// A call through an empty table slot.
    NullFunction,
    /// A call through a table slot that holds another type of function.
    SignatureMismatch,
    /// An integer division overflowed.
    IntegerOverflow,
    /// An integer was divided by zero.
    DivisionByZero,
    /// A float that has no integer value was converted to one.
    BadConversion,
}

/// Each way in which an attempt can fail. `Display` says what happened; [`Failure::hint`] what to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The program is not a WebAssembly module at all.
    #[error("the program is not a WebAssembly file: {found}")]
    NotWasm {
        /// What it begins with.
        found: String,
    },
    /// It is a module that breaks WebAssembly's rules or uses a proposal that is off.
    #[error("the program is not a valid module: {reason}")]
    InvalidModule {
        /// The validator's words.
        reason: String,
    },
    /// It imports something that the sandbox does not have.
    #[error("the program needs {}, which the sandbox does not offer", imports.join(", "))]
    ImportNotOffered {
        /// The imports as `module.name`, and why where there is more to say.
        imports: Vec<String>,
    },
    /// It exports no `_start` function or no memory, so it is no command.
    #[error("the program is not a WASI command: {reason}")]
    NotCommand {
        /// What is missing.
        reason: String,
    },
    /// The module declares more than an instance may have from the start.
    #[error("the program asks for more than an instance may have: {reason}")]
    ModuleTooLarge {
        /// What is too large.
        reason: String,
    },
    /// Compiling took longer than allowed.
    #[error("compiling the program took more than {limit} of processor time")]
    CompileTime {
        /// The limit.
        limit: Millis,
    },
    /// Compiling took more memory than allowed.
    #[error("compiling the program took more than {limit} of memory")]
    CompileMemory {
        /// The limit.
        limit: ByteSize,
    },
    /// The module is valid, and yet this host's compiler could not compile it.
    #[error("the program could not be compiled on this machine: {reason}")]
    Compile {
        /// The compiler's words.
        reason: String,
    },
    /// The code trapped.
    #[error("the program trapped: {kind}{}", in_parentheses(detail))]
    Trap {
        /// The sort of trap.
        kind: TrapKind,
        /// More about it, or empty.
        detail: String,
        /// The functions on the stack, innermost first, by name where the module has names.
        backtrace: Vec<String>,
        /// The end of standard error, where a panic explains itself.
        stderr: String,
    },
    /// All fuel was burnt.
    #[error("the program used up its {limit} of fuel")]
    Fuel {
        /// The limit.
        limit: Fuel,
    },
    /// More linear memory was asked for than allowed.
    #[error("the program asked for {wanted} of memory; {limit} are allowed")]
    Memory {
        /// How much it would have had.
        wanted: ByteSize,
        /// The limit.
        limit: ByteSize,
    },
    /// More table elements were asked for than allowed.
    #[error("the program asked for {wanted} table elements; {limit} are allowed")]
    Table {
        /// How many it would have had.
        wanted: u64,
        /// The limit.
        limit: u32,
    },
    /// The stack of compiled code was exhausted.
    #[error("the program's calls went deeper than its stack of {limit}")]
    Stack {
        /// The limit.
        limit: ByteSize,
    },
    /// Time ran out.
    #[error("the program ran longer than {limit}")]
    WallTime {
        /// The limit.
        limit: Millis,
    },
    /// More was written than allowed.
    #[error("the program held more than {limit} in `/out` and `/tmp`")]
    Output {
        /// The limit.
        limit: ByteSize,
    },
    /// More files, directories or links were made than allowed.
    #[error("the program made more than {limit} files, directories and links")]
    Files {
        /// The limit.
        limit: u32,
    },
    /// More was written to standard error than allowed.
    #[error("the program wrote more than {limit} to standard error")]
    Log {
        /// The limit.
        limit: ByteSize,
    },
    /// What was left in `/out` cannot be an output.
    #[error("the output cannot be kept: {reason}")]
    BadOutput {
        /// What is wrong with it.
        reason: String,
    },
    /// The program ended with another exit code than 0.
    #[error("the program ended with exit code {}", exit_code(*code))]
    Exit {
        /// The code.
        code: u32,
        /// The end of standard error.
        stderr: String,
    },
    /// An input was not what the task's specification says.
    #[error("the input {path} changed or could not be read: {reason}")]
    Input {
        /// The input's path below `/in`.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The process that ran the task died.
    #[error("the worker process ended unexpectedly: {reason}")]
    WorkerDied {
        /// What is known of its end.
        reason: String,
    },
    /// The host could not do its part.
    #[error("the host failed: {reason}")]
    Host {
        /// What failed.
        reason: String,
    },
    /// Someone asked for the attempt to end.
    #[error("cancelled")]
    Cancelled,
    /// The model's file is not one that the engine can run.
    #[error("the model cannot be used: {reason}")]
    Model {
        /// What is wrong, with the name of the tensor or the key.
        reason: String,
    },
    /// The inputs are not requests at all.
    #[error("the requests cannot be read: {reason}")]
    Requests {
        /// What is wrong.
        reason: String,
    },
    /// More tokens were read or written than allowed.
    #[error("the task's {what} have more than {limit} tokens together")]
    Tokens {
        /// `prompts` or `answers`.
        what: String,
        /// The limit.
        limit: u64,
    },
}

impl Failure {
    /// Whether the failure would be the same on every honest machine.
    ///
    /// Stack, memory and wall clock differ between honest machines. So does what it takes to compile a
    /// module, and so do the host's own troubles.
    pub fn weight(&self) -> Weight {
        match self {
            Self::NotWasm { .. }
            | Self::InvalidModule { .. }
            | Self::ImportNotOffered { .. }
            | Self::NotCommand { .. }
            | Self::ModuleTooLarge { .. }
            | Self::Trap { .. }
            | Self::Fuel { .. }
            | Self::Table { .. }
            | Self::Output { .. }
            | Self::Files { .. }
            | Self::Log { .. }
            | Self::BadOutput { .. }
            | Self::Exit { .. }
            | Self::Model { .. }
            | Self::Requests { .. }
            | Self::Tokens { .. } => Weight::Evidence,
            Self::CompileTime { .. }
            | Self::CompileMemory { .. }
            | Self::Compile { .. }
            | Self::Memory { .. }
            | Self::Stack { .. }
            | Self::WallTime { .. }
            | Self::Input { .. }
            | Self::WorkerDied { .. }
            | Self::Host { .. }
            | Self::Cancelled => Weight::Circumstance,
        }
    }

    /// Whether another attempt on the same machine could end otherwise: after trouble of the machine's
    /// own, and after wall time, which passes faster on a busy machine. The limits of memory and stack
    /// would only be reached again, although they are no evidence about other machines.
    pub fn worth_retrying_here(&self) -> bool {
        matches!(self, Self::WorkerDied { .. } | Self::Host { .. } | Self::WallTime { .. })
    }

    /// Whether this host's limits, rather than what was asked of it, are to blame.
    pub fn is_of_the_host(&self) -> bool {
        match self {
            Self::WorkerDied { .. } | Self::Host { .. } => true,
            Self::Input { reason, .. } => reason.contains(TOO_MANY_FILES),
            _ => false,
        }
    }

    /// What the person who wrote the program or the job file can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotWasm { .. } => {
                "build the program for wasm32-wasip1, as in `cargo build --release --target wasm32-wasip1`"
            }
            Self::InvalidModule { .. } => {
                "build for plain wasm32-wasip1; threads, 64-bit memories, garbage collection and exceptions are off"
            }
            // What AssemblyScript's own library asks its host for.
            Self::ImportNotOffered { imports }
                if imports.iter().any(|import| import.starts_with("env.abort")) =>
            {
                "of AssemblyScript: build with `--use abort=` and WASI's bindings, as the package `@assemblyscript/wasi-shim` sets both"
            }
            Self::ImportNotOffered { .. } => {
                "tasks have WASI preview 1 alone: no network, no threads, no host functions; build for wasm32-wasip1"
            }
            Self::NotCommand { .. } => "build a program with a `main` function, not a library",
            Self::ModuleTooLarge { .. } => "make the module's own tables and memories smaller",
            Self::CompileTime { .. } | Self::CompileMemory { .. } | Self::Compile { .. } => {
                "split very large functions, or build with `opt-level = \"s\"`"
            }
            Self::Trap { kind: TrapKind::Unreachable, stderr, .. } if stderr.is_empty() => {
                "the program panicked or aborted, and wrote nothing to standard error; build with names (`strip = false`) for a readable backtrace"
            }
            Self::Trap { kind: TrapKind::Unreachable, .. } => {
                "the program panicked or aborted: see the end of its log; build with names (`strip = false`) for a readable backtrace"
            }
            Self::Trap { .. } => {
                "a bug in the program: build with names (`strip = false`) for a readable backtrace"
            }
            Self::Fuel { .. } => {
                "raise `fuel` under `[limits]` (`exec`: `--fuel`), or give each task less to do"
            }
            Self::Memory { .. } => {
                "raise `memory` under `[limits]` (`exec`: `--memory`) (at most 4 GiB for WebAssembly), or give each task less to do"
            }
            Self::Table { .. } => "raise `table_elements` under `[limits]` (`exec`: `--table-elements`)",
            Self::Stack { .. } => {
                "look for endless recursion; otherwise raise `stack` under `[limits]` (`exec`: `--stack`)"
            }
            Self::WallTime { .. } => {
                "raise `wall_time` under `[limits]` (`exec`: `--wall-time`), or give each task less to do"
            }
            Self::Output { .. } => "raise `output` under `[limits]` (`exec`: `--output`); `/tmp` counts too",
            Self::Files { .. } => {
                "raise `files` under `[limits]` (`exec`: `--files`), or remove what is no longer needed"
            }
            Self::Log { .. } => {
                "write less to standard error, or raise `log` under `[limits]` (`exec`: `--log`)"
            }
            Self::BadOutput { .. } => "leave only regular files and directories with plain names in `/out`",
            Self::Exit { stderr, .. } if READ_ONLY.iter().any(|words| stderr.contains(words)) => {
                "a task may write below `/out`, which is its output, and `/tmp`; all else is read-only, the current directory `/` too"
            }
            Self::Exit { code: 127, .. } => {
                "the program reported a failure of its own; one that does several things by its name needs `arg0` (`exec`: `--arg0`)"
            }
            Self::Exit { stderr, .. } if stderr.is_empty() => {
                "the program reported a failure of its own, and wrote nothing to standard error"
            }
            Self::Exit { .. } => "the program reported a failure of its own: see the end of its log",
            Self::Input { reason, .. } if reason.contains(TOO_MANY_FILES) => {
                "raise the limit on open files (`ulimit -n 4096`), or give the reduce a smaller `fan_in`; then run it again"
            }
            Self::Input { .. } => "do not change input files while a job runs; run it again",
            Self::WorkerDied { .. } => {
                "if the system was short of memory, run fewer tasks at a time (`--parallel`, of a provider `--cpus`) or give them a lower `memory` limit; if it happens each time, please report it"
            }
            Self::Host { .. } => {
                "see to this machine's disk, memory and limits (`ulimit -a`), then run it again"
            }
            Self::Cancelled => "run it again when you want the result",
            Self::Model { .. } => {
                "get the file again from where it comes; docs/inference.md lists the formats and architectures that run"
            }
            Self::Requests { .. } => {
                "write a JSON object on each line, in UTF-8, as OpenAI's Batch format has them (docs/inference.md)"
            }
            Self::Tokens { .. } => {
                "raise `input_tokens` or `output_tokens` under `[limits]`, lower `max_tokens` in the requests, or give each task fewer lines"
            }
        }
    }

    /// The end of the program's standard error, where the failure carries it.
    pub fn stderr(&self) -> Option<&str> {
        match self {
            Self::Trap { stderr, .. } | Self::Exit { stderr, .. } if !stderr.is_empty() => Some(stderr),
            _ => None,
        }
    }
}

/// What programs say when they write where they may not.
const READ_ONLY: [&str; 2] = ["Read-only file system", "read-only file system"];

/// What the system says when a process has as many files open as it may.
const TOO_MANY_FILES: &str = "Too many open files";

/// An exit code as people know it: programs that end with -1 have the largest one here, and shells have words for two.
fn exit_code(code: u32) -> String {
    match code {
        126 => "126 (shells: it cannot be executed)".to_owned(),
        127 => "127 (shells: the command is not found)".to_owned(),
        _ if code > i32::MAX.cast_unsigned() => code.cast_signed().to_string(),
        _ => code.to_string(),
    }
}

fn in_parentheses(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "it reached `unreachable`",
            Self::MemoryOutOfBounds => "an access outside of its memory",
            Self::TableOutOfBounds => "an access outside of a table",
            Self::NullFunction => "a call through a null function pointer",
            Self::SignatureMismatch => "a call through a function pointer of another type",
            Self::IntegerOverflow => "an integer overflow in a division",
            Self::DivisionByZero => "a division by zero",
            Self::BadConversion => "a conversion of a float that no integer can hold",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: u32, stderr: &str) -> Failure {
        Failure::Exit { code, stderr: stderr.to_owned() }
    }

    #[test]
    fn exit_codes_are_shown_as_people_know_them() {
        for (code, words) in [
            (3, "exit code 3"),
            (u32::MAX, "exit code -1"),
            (126, "exit code 126 (shells: it cannot be executed)"),
            (127, "exit code 127 (shells: the command is not found)"),
        ] {
            assert_eq!(exit(code, "").to_string(), format!("the program ended with {words}"));
        }
    }

    #[test]
    fn hints_say_what_helps() {
        let imports = vec!["env.abort".to_owned()];
        for (failure, words) in [
            (exit(1, "result.txt: Read-only file system"), "below `/out`"),
            (exit(127, "applet not found"), "`--arg0`"),
            (exit(2, "no"), "see the end of its log"),
            (exit(2, ""), "wrote nothing to standard error"),
            (Failure::ImportNotOffered { imports }, "AssemblyScript"),
            (
                Failure::Input { path: "a".into(), reason: "Too many open files (os error 24)".into() },
                "ulimit -n",
            ),
        ] {
            assert!(failure.hint().contains(words), "{failure}: {}", failure.hint());
        }
        assert!(!exit(2, "").hint().contains("see the end of its log"));
    }
}
