//! Processes of this same program.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use tidemill_types::lines;
use tokio::process::Command;

/// How much of a log an error quotes.
const QUOTED_BYTES: u64 = 1 << 10;

/// A command that runs this program: the file that runs, even if another has taken its place since.
///
/// # Errors
/// When the system does not say which file that is.
pub fn this_program() -> io::Result<Command> {
    let running = PathBuf::from("/proc/self/exe");
    let program = if running.exists() { running } else { std::env::current_exe()? };
    let mut command = Command::new(program);
    command.arg0("tidemill");
    Ok(command)
}

/// The end of what a process wrote to its log; empty where there is none.
pub fn last_words(log: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(QUOTED_BYTES)))?;
        let mut end = Vec::new();
        file.take(QUOTED_BYTES).read_to_end(&mut end)?;
        Ok(end)
    };
    lines(String::from_utf8_lossy(&read().unwrap_or_default()).trim())
}
