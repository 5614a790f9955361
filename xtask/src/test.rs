//! `cargo xtask test`: every check and every test, each step timed, all failures counted in one line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::workspace::Workspace;
use crate::{contracts, guests, tidy};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Run the long tests too: ignored ones, and more cases where a test reads TIDEMILL_DEEP
    #[arg(long)]
    deep: bool,
    /// Run one step alone
    #[arg(long, value_enum)]
    only: Option<Step>,
}

/// The steps, in the order in which they run: what fails in seconds comes before what builds for minutes.
/// The tests build before clippy does: build scripts and procedural macros, which both use, are then
/// compiled by the build that a person waits for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// `cargo fmt --check`
    Fmt,
    /// `cargo xtask tidy`
    Tidy,
    /// `cargo xtask guests --check`
    Guests,
    /// Formatting, artifacts, tests and gas figures of the contracts. It installs the nodes and clients that the
    /// next step tests against
    Contracts,
    /// `cargo test` of the workspace, in the release profile
    Tests,
    /// `cargo clippy` of the workspace, warnings being errors
    Clippy,
}

/// How many checks or tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that passed.
    pub passed: u64,
    /// Those that failed.
    pub failed: u64,
}

/// Runs the steps, each to its end even when one before it failed, and ends with the line of counts.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut total = Tally::default();
    let mut durations = Vec::new();
    for &step in Step::value_variants() {
        if args.only.is_some_and(|only| only != step) {
            continue;
        }
        println!("== {}", step.name());
        std::io::stdout().flush()?;
        let start = Instant::now();
        let tally = match run_step(workspace, step, args.deep) {
            Ok(tally) => tally,
            Err(error) => {
                println!("error: {error:#}");
                Tally::of(false)
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        let verdict = if tally.failed == 0 { "ok" } else { "FAILED" };
        println!("== {}: {verdict} in {seconds:.1} s", step.name());
        durations.push(format!("{} {seconds:.1} s {verdict}", step.name()));
        total = total + tally;
    }
    println!("== {}", durations.join(", "));
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_step(workspace: &Workspace, step: Step, deep: bool) -> Result<Tally> {
    let mut cargo = workspace.cargo();
    match step {
        Step::Fmt => status_of(cargo.args(["fmt", "--all", "--check"])),
        Step::Tidy => Ok(Tally::of(tidy::report(workspace)?)),
        Step::Guests => Ok(Tally::of(guests::check(workspace)?)),
        Step::Contracts => contracts::test(workspace, deep),
        Step::Tests => {
            cargo.args(["test", "--release", "--workspace", "--no-fail-fast"]);
            if deep {
                cargo.env("TIDEMILL_DEEP", "1").args(["--", "--include-ignored"]);
            }
            counted(&mut cargo)
        }
        Step::Clippy => status_of(cargo.args([
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])),
    }
}

/// Runs a step that either passes or fails as a whole.
fn status_of(command: &mut Command) -> Result<Tally> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    Ok(Tally::of(status.success()))
}

/// Runs tests, passes their output on line by line and adds up their counts.
pub fn counted(command: &mut Command) -> Result<Tally> {
    let words = format!("{command:?}");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {words}"))?;
    let output = child.stdout.take().with_context(|| format!("the output of {words} was not captured"))?;
    let mut tally = Tally::default();
    let mut stdout = std::io::stdout().lock();
    // Bytes, not lines of text: a failing test may print anything, and it must still be counted.
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("cannot read the output of {words}"))?;
        stdout.write_all(&line)?;
        stdout.write_all(b"\n")?;
        let line = String::from_utf8_lossy(&line);
        tally = tally + test_result(&line).or_else(|| forge_result(&line)).unwrap_or_default();
    }
    let status = child.wait().with_context(|| format!("cannot wait for {words}"))?;
    Ok(with_status(tally, status.success()))
}

/// A run that failed without one failed test (it did not compile, a test process died) counts as one.
fn with_status(tally: Tally, success: bool) -> Tally {
    if !success && tally.failed == 0 { tally + Tally::of(false) } else { tally }
}

/// The counts in a line like `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn test_result(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(name)?.trim_end().parse::<u64>().ok())
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")? })
}

/// The counts in forge's last line, like `Ran 3 test suites in 1s (2s CPU time): 9 tests passed, 1 failed, 0 skipped (10
/// total tests)`.
fn forge_result(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("Ran ")?.split_once(" test suite")?.1.split_once("): ")?;
    let counts: String = colourless(counts);
    let count =
        |name: &str| counts.split(", ").find_map(|part| part.split_once(name)?.0.trim().parse::<u64>().ok());
    Some(Tally { passed: count(" tests passed")?, failed: count(" failed")? })
}

/// A line without the sequences that colour it.
fn colourless(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Tidy => "tidy",
            Self::Guests => "guests",
            Self::Contracts => "contracts",
            Self::Tests => "tests",
            Self::Clippy => "clippy",
        }
    }
}

impl Tally {
    /// The tally of one check.
    pub fn of(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed) }
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let line =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(test_result(line), Some(Tally { passed: 12, failed: 0 }));
        let line = "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(test_result(line), Some(Tally { passed: 2, failed: 3 }));
    }

    #[test]
    fn other_lines_are_not_counted() {
        for line in ["running 3 tests", "test result: ok.", " test result: ok. 1 passed; 0 failed", ""] {
            assert_eq!(test_result(line), None, "{line}");
        }
    }

    #[test]
    fn the_last_line_of_forge_is_counted() {
        let line = "Ran 3 test suites in 1.20s (2.3s CPU time): 9 tests passed, 1 failed, 0 skipped (10 total tests)";
        assert_eq!(forge_result(line), Some(Tally { passed: 9, failed: 1 }));
        let line = "Ran 1 test suite in 8ms (2ms CPU time): \u{1b}[32m2\u{1b}[0m tests passed, \u{1b}[31m0\u{1b}[0m \
                    failed, \u{1b}[33m0\u{1b}[0m skipped (2 total tests)";
        assert_eq!(forge_result(line), Some(Tally { passed: 2, failed: 0 }));
        assert_eq!(forge_result("Ran 5 tests for test/Tide.t.sol:TideTest"), None);
    }

    #[test]
    fn a_run_that_dies_counts_as_a_failure() {
        let passed = Tally { passed: 5, failed: 0 };
        assert_eq!(with_status(passed, true), passed);
        assert_eq!(with_status(passed, false), Tally { passed: 5, failed: 1 });
        let failed = Tally { passed: 5, failed: 2 };
        assert_eq!(with_status(failed, false), failed);
    }
}
