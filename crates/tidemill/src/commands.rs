//! The commands, one module each: its arguments, and what it does.

pub mod api_key;
pub mod apy;
pub mod bench;
pub mod bond;
pub mod cancel;
pub mod chat;
pub mod claim;
pub mod collect;
pub mod coordinator_key;
pub mod delegate;
pub mod doctor;
pub mod earnings;
pub mod escrow;
pub mod evidence;
pub mod exec;
pub mod explain;
pub mod fetch;
pub mod join;
pub mod keys;
pub mod ledger;
pub mod logs;
pub mod models;
pub mod pass;
pub mod provide;
pub mod providers;
pub mod rate;
pub mod receipt;
pub mod redelegate;
pub mod remove;
pub mod reputation;
pub mod run;
pub mod serve;
pub mod sim;
pub mod stake;
pub mod status;
pub mod submit;
pub mod unbond;
pub mod undelegate;
pub mod unstake;
pub mod up;
pub mod wallet;
pub mod withdraw;

use std::{fs, io::Read, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::Context;
use tidemill_exec::{Executor, Program};
use tidemill_types::{ByteSize, FloatClass, MAX_PROGRAM_BYTES};

use crate::exit::{Code, Exit, WithCode};

/// Reading does not wait for what is not there.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Reads a program.
pub fn read_program(path: &Path) -> anyhow::Result<Program> {
    let bytes = read_file(path, MAX_PROGRAM_BYTES).map_err(|error| error.context("the program"));
    Ok(Program::wasm(bytes.code(Code::Usage)?))
}

/// Reads a file of at most so many bytes. Pipes and devices, which may block or have no end, are refused.
pub fn read_file(path: &Path, most_bytes: u64) -> anyhow::Result<Vec<u8>> {
    let context = || format!("cannot read {}", path.display());
    let metadata = fs::metadata(path).with_context(context)?;
    anyhow::ensure!(metadata.is_file(), "{} is not a file", path.display());
    let mut bytes = Vec::new();
    // Some files of the system claim no length, and a file may grow while it is read.
    let file = fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).with_context(context)?;
    let read = file.take(most_bytes + 1).read_to_end(&mut bytes).with_context(context)?;
    anyhow::ensure!(read as u64 <= most_bytes, "{} has more than {}", path.display(), ByteSize(most_bytes));
    Ok(bytes)
}

/// The cores that this process may use.
pub fn cores() -> usize {
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
