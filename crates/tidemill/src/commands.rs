//! The commands, one module each: its arguments, and what it does.

pub mod bench;
pub mod exec;
pub mod run;

use std::{fs, path::Path};

use anyhow::Context;
use tidemill_exec::{Executor, MAX_PROGRAM_BYTES, Program};
use tidemill_types::FloatClass;

use crate::exit::{Code, Exit, WithCode};

/// Reads a program.
fn read_program(path: &Path) -> anyhow::Result<Program> {
    let len = fs::metadata(path)
        .with_context(|| format!("cannot read the program {}", path.display()))
        .code(Code::Usage)?
        .len();
    if len > MAX_PROGRAM_BYTES as u64 {
        let message =
            format!("{} has {len} bytes; a program has at most {MAX_PROGRAM_BYTES}", path.display());
        return Err(Exit::new(Code::Usage, message).into());
    }
    let bytes = fs::read(path)
        .with_context(|| format!("cannot read the program {}", path.display()))
        .code(Code::Usage)?;
    Ok(Program::wasm(bytes))
}

/// The cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Refuses a float class that this processor cannot run.
fn check_floats(pool: &dyn Executor, floats: FloatClass) -> anyhow::Result<()> {
    if pool.capabilities().floats.contains(&floats) {
        return Ok(());
    }
    let message = format!("this processor cannot run the float class `{floats}`");
    Err(Exit::new(Code::Host, message)
        .hint("ask for canonical floats: `floats = \"canonical\"` under [program], or `--floats canonical`")
        .into())
}
