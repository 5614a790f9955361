//! `cargo xtask test`: every check and every test, each timed, all failures counted in one line.

mod aside;
mod binaries;
mod changed;
mod run;

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::workspace::Workspace;
use crate::{contracts, guests, tidy};
use aside::Aside;
use binaries::Binary;
use changed::{BINARY, Touched};
use run::{Options, Took};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Run what a change touches: checks of the changed packages, and the tests of these and of all built on them,
    /// without the end-to-end tests that did not change themselves. The change is what is not committed, or else the
    /// last commit
    #[arg(long, conflicts_with = "deep")]
    quick: bool,
    /// Run the long tests too: ignored ones, and more cases where a test reads TIDEMILL_DEEP
    #[arg(long)]
    deep: bool,
    /// Run one step alone
    #[arg(long, value_enum)]
    only: Option<Step>,
    /// Run each test in a process of its own, one after another, to list the processor time beside the time: a test
    /// that takes long and computes little waits for something
    #[arg(long)]
    each: bool,
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
    /// The tests of the workspace, in the release profile
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

/// How many of the slowest tests are named at the end.
const SLOWEST: usize = 10;

/// Runs the steps, each to its end even when one before it failed, and ends with the line of counts.
///
/// Where all are run, the contracts, whose compiler knows no threads, run beside the building of the tests.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let touched = if args.quick { Some(changed::touched(workspace, &workspace.metadata()?)?) } else { None };
    let wants = |step: Step| {
        args.only.is_none_or(|only| only == step)
            && touched.as_ref().is_none_or(|touched| step.concerns(touched))
    };
    let mut report = Report::default();
    let aside = args.only.is_none() && touched.is_none() && !args.each;
    let mut contracts = None;
    if aside {
        contracts = Some(Aside::start(Step::Contracts.name(), args.deep)?);
    }
    for &step in Step::value_variants() {
        if !wants(step) || (aside && step == Step::Contracts) {
            continue;
        }
        println!("== {}", step.name());
        std::io::stdout().flush()?;
        let start = Instant::now();
        let tally = match step {
            Step::Tests if aside => tests_beside(workspace, args, contracts.take(), &mut report),
            _ => run_step(workspace, step, args, touched.as_ref(), &mut report),
        };
        let tally = tally.unwrap_or_else(|error| {
            println!("error: {error:#}");
            Tally::of(false)
        });
        report.ended(step, tally, start.elapsed());
    }
    print!("{report}");
    Ok(if report.total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What all steps came to.
#[derive(Default)]
struct Report {
    total: Tally,
    /// A phrase for each step.
    verdicts: Vec<String>,
    /// Steps, and parts of them.
    steps: Vec<Took>,
    /// Tests.
    tests: Vec<Took>,
}

impl Report {
    fn ended(&mut self, step: Step, tally: Tally, wall: Duration) {
        let verdict = if tally.failed == 0 { "ok" } else { "FAILED" };
        let line = format!("{} {:.1} s {verdict}", step.name(), wall.as_secs_f64());
        println!("== {line}");
        self.verdicts.push(line);
        self.steps.push(Took { name: step.name().to_owned(), wall, cpu: None });
        self.total = self.total + tally;
    }

    /// Takes in a step that ran beside others.
    fn ended_aside(&mut self, step: Step, aside: Aside) {
        match aside.finish() {
            Ok(ended) => {
                println!("== {}, which ran beside\n{}", step.name(), ended.output.trim_end());
                self.ended(step, ended.tally, ended.wall);
            }
            Err(error) => {
                println!("error: {error:#}");
                self.ended(step, Tally::of(false), Duration::ZERO);
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, took) in [("tests", &self.tests), ("steps", &self.steps)] {
            f.write_str(&slowest(what, took.clone()))?;
        }
        writeln!(f, "== {}", self.verdicts.join(", "))?;
        writeln!(f, "{} passed, {} failed", self.total.passed, self.total.failed)
    }
}

/// Builds the tests beside the step of the contracts, which installs what some of them need, and runs them.
fn tests_beside(
    workspace: &Workspace,
    args: &Args,
    contracts: Option<Aside>,
    report: &mut Report,
) -> Result<Tally> {
    let built = build(workspace, None, report);
    if let Some(contracts) = contracts {
        report.ended_aside(Step::Contracts, contracts);
    }
    run_tests(workspace, args, &built?, report)
}

fn run_step(
    workspace: &Workspace,
    step: Step,
    args: &Args,
    touched: Option<&Touched>,
    report: &mut Report,
) -> Result<Tally> {
    let mut cargo = workspace.cargo();
    match step {
        Step::Fmt => status_of(cargo.args(["fmt", "--all", "--check"])),
        Step::Tidy => Ok(Tally::of(tidy::report(workspace)?)),
        Step::Guests => Ok(Tally::of(guests::check(workspace)?)),
        Step::Contracts => contracts::test(workspace, args.deep),
        Step::Tests => {
            let built = build(workspace, touched, report)?;
            run_tests(workspace, args, &built, report)
        }
        Step::Clippy => {
            cargo.args(["clippy", "--release", "--all-targets"]);
            match touched {
                None => cargo.arg("--workspace"),
                Some(touched) => cargo.args(selected(touched.changed.iter())),
            };
            status_of(cargo.args(["--", "-D", "warnings"]))
        }
    }
}

/// Builds the tests.
fn build(workspace: &Workspace, touched: Option<&Touched>, report: &mut Report) -> Result<Vec<Binary>> {
    let metadata = workspace.metadata()?;
    let start = Instant::now();
    let mut binaries = Vec::new();
    for more in builds(touched) {
        let mut cargo = workspace.cargo();
        cargo.args(["test", "--release"]).args(more);
        binaries.extend(binaries::build(cargo, &metadata)?);
    }
    if let Some(touched) = touched {
        binaries.retain_mut(|binary| filter(binary, touched));
    }
    let wall = start.elapsed();
    println!("== tests: built in {:.1} s", wall.as_secs_f64());
    report.steps.push(Took { name: "building the tests".to_owned(), wall, cpu: None });
    Ok(binaries)
}

/// Runs what was built.
fn run_tests(workspace: &Workspace, args: &Args, built: &[Binary], report: &mut Report) -> Result<Tally> {
    let target = workspace.metadata()?.target_directory;
    let times = target.join("tidemill-test-times.json").into();
    let ran = run::run(built, &Options { ignored: args.deep, each: args.each, times })?;
    report.steps.extend(ran.binaries);
    report.tests.extend(ran.tests);
    Ok(ran.tally)
}

/// The arguments of each `cargo test` that builds what is to be run. A change to another crate than the binary's does
/// not link the end-to-end tests.
fn builds(touched: Option<&Touched>) -> Vec<Vec<String>> {
    let Some(touched) = touched else { return vec![vec!["--workspace".to_owned()]] };
    let others = selected(touched.affected.iter().filter(|name| *name != BINARY));
    let binary = touched.affected.contains(BINARY).then(|| selected([BINARY].iter()));
    let end_to_end = (!touched.end_to_end.is_empty()).then(|| selected([BINARY].iter()));
    let with =
        |args: Vec<String>, more: &[&str]| [args, more.iter().map(|&arg| arg.to_owned()).collect()].concat();
    [
        (!others.is_empty()).then_some(others),
        binary.map(|binary| with(binary, &["--bins"])),
        end_to_end.map(|binary| with(binary, &["--test", "it"])),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Leaves of the end-to-end tests those that changed; false where none of a binary's tests is to run.
fn filter(binary: &mut Binary, touched: &Touched) -> bool {
    if binary.name == format!("{BINARY}::it") {
        binary.filters = touched.end_to_end.iter().map(|module| format!("{module}::")).collect();
        return !binary.filters.is_empty();
    }
    true
}

/// `--package` for each of these.
fn selected(packages: impl Iterator<Item = impl AsRef<str>>) -> Vec<String> {
    packages.flat_map(|package| ["--package".to_owned(), package.as_ref().to_owned()]).collect()
}

/// The slowest of these, a line each, under a heading; nothing where there is none.
fn slowest(what: &str, mut took: Vec<Took>) -> String {
    took.sort_by_key(|took| std::cmp::Reverse(took.wall));
    took.truncate(SLOWEST);
    if took.is_empty() {
        return String::new();
    }
    let seconds = |duration: Duration| format!("{:9.1} s", duration.as_secs_f64());
    let lines = took.iter().map(|took| {
        let cpu = took.cpu.map_or_else(|| " ".repeat(11), seconds);
        format!("{}{cpu}  {}\n", seconds(took.wall), took.name)
    });
    format!("== the slowest {what}: time, processor time where known\n{}", lines.collect::<String>())
}

/// Runs a step that either passes or fails as a whole.
fn status_of(command: &mut Command) -> Result<Tally> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    Ok(Tally::of(status.success()))
}

/// Runs tests of another tool, passes their output on line by line and adds up their counts.
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
        tally = tally + forge_result(&line).unwrap_or_default();
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
    /// Whether a change makes this step necessary.
    fn concerns(self, touched: &Touched) -> bool {
        match self {
            Self::Fmt | Self::Tidy => true,
            Self::Guests => touched.affected.iter().any(|name| name.starts_with("example-")),
            Self::Contracts => touched.contracts,
            Self::Tests => !touched.changed.is_empty(),
            Self::Clippy => !touched.changed.is_empty(),
        }
    }

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
    fn the_slowest_are_named_first() {
        let took =
            |name: &str, seconds| Took { name: name.into(), wall: Duration::from_secs(seconds), cpu: None };
        let text = slowest("tests", (1..=12).map(|seconds| took(&format!("t{seconds}"), seconds)).collect());
        let names: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(names, ["t12", "t11", "t10", "t9", "t8", "t7", "t6", "t5", "t4", "t3"]);
        assert_eq!(slowest("tests", Vec::new()), "");
    }

    #[test]
    fn a_change_builds_what_is_built_on_it() {
        assert_eq!(builds(None), [["--workspace"]]);
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let mut touched = Touched { affected: set(&["tidemill-net", BINARY]), ..Touched::default() };
        assert_eq!(
            builds(Some(&touched)),
            [vec!["--package", "tidemill-net"], vec!["--package", BINARY, "--bins"]]
        );
        touched = Touched { end_to_end: set(&["pay"]), ..Touched::default() };
        assert_eq!(builds(Some(&touched)), [["--package", BINARY, "--test", "it"]]);
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
