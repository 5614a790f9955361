//! A step that runs beside others, as a process of its own whose output is shown when it has ended.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Tally;

/// A running step.
pub struct Aside {
    child: Child,
    output: File,
    began: Instant,
}

/// What came of a step.
pub struct Ended {
    /// Its counts.
    pub tally: Tally,
    /// What it printed.
    pub output: String,
    /// How long it took.
    pub wall: Duration,
}

impl Aside {
    /// Starts this program once more, for one step alone.
    pub fn start(step: &str, deep: bool) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let output = tempfile::tempfile().context("cannot make a temporary file")?;
        let copy = || output.try_clone().context("cannot copy a descriptor");
        let mut command = Command::new(program);
        command.args(["test", "--only", step]).args(deep.then_some("--deep"));
        let child = command.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?).spawn();
        let child = child.with_context(|| format!("cannot start the step {step}"))?;
        Ok(Self { child, output, began: Instant::now() })
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Result<Ended> {
        let status = self.child.wait().context("cannot wait for a step")?;
        let wall = self.began.elapsed();
        let mut output = Vec::new();
        self.output.seek(SeekFrom::Start(0)).context("cannot read a step's output")?;
        self.output.read_to_end(&mut output).context("cannot read a step's output")?;
        let output = String::from_utf8_lossy(&output).into_owned();
        let tally = output.lines().last().and_then(total).unwrap_or_default();
        // A step that died, or counted nothing, has failed.
        let is_right = status.success() && tally.passed > 0;
        let tally = if is_right || tally.failed > 0 { tally } else { tally + Tally::of(false) };
        Ok(Ended { tally, output, wall })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Where another step's error ended everything; a child that has ended does not mind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The counts in this program's last line, `N passed, N failed`.
fn total(line: &str) -> Option<Tally> {
    let (passed, failed) = line.split_once(" passed, ")?;
    Some(Tally { passed: passed.parse().ok()?, failed: failed.strip_suffix(" failed")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_understood() {
        assert_eq!(total("12 passed, 3 failed"), Some(Tally { passed: 12, failed: 3 }));
        assert_eq!(total("passed"), None);
    }
}
