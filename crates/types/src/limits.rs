//! What a task may use.

use serde::{Deserialize, Serialize};

use crate::{ByteSize, Fuel, Millis, ProgramKind};

/// The longest program of WebAssembly that is run.
pub const MAX_PROGRAM_BYTES: u64 = 128 << 20;

/// The longest model that is run.
pub const MAX_MODEL_BYTES: u64 = 1 << 40;

/// The most that one task may use of each thing. Part of the task's specification: which of them is
/// reached, and when, is the same everywhere for fuel, tables, output, files and log, so those are
/// evidence; memory, stack and wall time depend on the machine, and so they are not
/// (see [`crate::Failure::weight`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Deterministic work of WebAssembly: operators executed, host calls, bytes moved.
    pub fuel: Fuel,
    /// Tokens that a model may read, those of all prompts of a task together.
    pub input_tokens: u64,
    /// Tokens that a model may write, those of all answers of a task together.
    pub output_tokens: u64,
    /// Linear memory; of a model its weights, and what it keeps of the texts of this task.
    pub memory: ByteSize,
    /// Elements of all tables together.
    pub table_elements: u32,
    /// The stack of compiled code. (Programs usually keep a second one in their linear memory.)
    pub stack: ByteSize,
    /// Bytes held in the writable tree at any moment: files in `/out` and `/tmp`, names, targets of links,
    /// and all that was written to standard output.
    pub output: ByteSize,
    /// Names of files, directories and links in the writable tree at any moment.
    pub files: u32,
    /// Bytes written to standard error.
    pub log: ByteSize,
    /// Elapsed time: a safety net for what fuel does not catch.
    pub wall_time: Millis,
}

/// A limit outside of what Tidemill can enforce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the limit `{field}` is {found}; from {least} to {most} is allowed")]
pub struct LimitError {
    /// The field's name.
    pub field: &'static str,
    found: String,
    least: String,
    most: String,
}

impl Default for Limits {
    /// Room for an ordinary batch program: a quarter of an hour of work on one core, half a GiB.
    fn default() -> Self {
        Self {
            fuel: Fuel(1_000_000_000_000),
            input_tokens: 1_000_000,
            output_tokens: 100_000,
            memory: ByteSize::mib(512),
            table_elements: 100_000,
            stack: ByteSize::mib(1),
            output: ByteSize::mib(256),
            files: 10_000,
            log: ByteSize::mib(1),
            wall_time: Millis(3_600_000),
        }
    }
}

impl Limits {
    /// The least of each limit that a task may ask for. For [`Self::MOST`], memory ends where 32-bit addresses
    /// do; tables at what an instance's pool reserves; the stack at what a host can set aside for each
    /// running task; output and log at what is kept in the memory of the process that runs the task.
    pub const LEAST: Self = Self {
        fuel: Fuel(1),
        input_tokens: 1,
        output_tokens: 0,
        memory: ByteSize::kib(64),
        table_elements: 0,
        stack: ByteSize::kib(64),
        output: ByteSize(0),
        files: 0,
        log: ByteSize(0),
        wall_time: Millis(1),
    };
    /// The most of each limit that a task may ask for.
    pub const MOST: Self = Self {
        fuel: Fuel(1 << 60),
        input_tokens: 1 << 40,
        output_tokens: 1 << 40,
        memory: ByteSize::mib(4096),
        table_elements: 1_000_000,
        stack: ByteSize::mib(16),
        output: ByteSize::mib(4096),
        files: 1_000_000,
        log: ByteSize::mib(64),
        wall_time: Millis(7 * 86_400_000),
    };

    /// The most memory that a task of a kind may ask for: models have no 32-bit addresses.
    pub const fn most_memory(kind: ProgramKind) -> ByteSize {
        match kind {
            ProgramKind::Wasm => Self::MOST.memory,
            ProgramKind::Infer => ByteSize(2 * MAX_MODEL_BYTES),
        }
    }

    /// Checks that each limit is one that can be enforced on programs of a kind.
    ///
    /// # Errors
    /// One [`LimitError`] for each limit out of range.
    pub fn check(&self, kind: ProgramKind) -> Vec<LimitError> {
        let mut errors = Vec::new();
        let mut check = |field, found: u64, least: u64, most: u64, show: &dyn Fn(u64) -> String| {
            if !(least..=most).contains(&found) {
                errors.push(LimitError { field, found: show(found), least: show(least), most: show(most) });
            }
        };
        let bytes = |n: u64| ByteSize(n).to_string();
        let count = |n: u64| n.to_string();
        let (low, high) = (Self::LEAST, Self::MOST);
        check("fuel", self.fuel.0, low.fuel.0, high.fuel.0, &|n| Fuel(n).to_string());
        check("input_tokens", self.input_tokens, low.input_tokens, high.input_tokens, &count);
        check("output_tokens", self.output_tokens, low.output_tokens, high.output_tokens, &count);
        check("memory", self.memory.0, low.memory.0, Self::most_memory(kind).0, &bytes);
        let tables = [self, &low, &high].map(|limits| u64::from(limits.table_elements));
        check("table_elements", tables[0], tables[1], tables[2], &count);
        check("stack", self.stack.0, low.stack.0, high.stack.0, &bytes);
        check("output", self.output.0, low.output.0, high.output.0, &bytes);
        let files = [self, &low, &high].map(|limits| u64::from(limits.files));
        check("files", files[0], files[1], files[2], &count);
        check("log", self.log.0, low.log.0, high.log.0, &bytes);
        let millis = |n: u64| Millis(n).to_string();
        check("wall_time", self.wall_time.0, low.wall_time.0, high.wall_time.0, &millis);
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_enforced() {
        for kind in [ProgramKind::Wasm, ProgramKind::Infer] {
            assert_eq!(Limits::default().check(kind), []);
        }
    }

    #[test]
    fn models_may_have_more_memory_than_32_bits_address() {
        let limits = Limits { memory: ByteSize::mib(8192), ..Limits::default() };
        assert_eq!(limits.check(ProgramKind::Infer), []);
        assert_eq!(limits.check(ProgramKind::Wasm).len(), 1);
    }

    #[test]
    fn every_limit_out_of_range_is_named() {
        let limits = Limits { memory: ByteSize(1), stack: ByteSize::mib(17), ..Limits::default() };
        let messages: Vec<_> = limits.check(ProgramKind::Wasm).iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "the limit `memory` is 1 B; from 64 KiB to 4 GiB is allowed",
                "the limit `stack` is 17 MiB; from 64 KiB to 16 MiB is allowed",
            ]
        );
    }
}
