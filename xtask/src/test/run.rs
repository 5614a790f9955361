//! Runs test binaries side by side, and says how long each test took.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::binaries::Binary;
use super::{Tally, test_result};
use crate::process::ended_cpu;

/// How tests are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Run what is ignored too.
    pub ignored: bool,
    /// Run each test in a process of its own, one after another, so that its processor time can be told.
    pub each: bool,
    /// Keeps how long each binary took, so that the next run begins with the longest.
    pub times: PathBuf,
}

/// Something that ran: a binary, or a test of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Took {
    /// What it was.
    pub name: String,
    /// From its start to its end.
    pub wall: Duration,
    /// What it used of processors, with its processes; nothing where that cannot be told.
    pub cpu: Option<Duration>,
}

/// What running tests came to.
#[derive(Debug, Default)]
pub struct Ran {
    /// How many passed and failed.
    pub tally: Tally,
    /// All tests that were timed.
    pub tests: Vec<Took>,
    /// All binaries.
    pub binaries: Vec<Took>,
}

/// One process to start.
#[derive(Clone, Debug)]
struct Start {
    binary: Binary,
    /// The one test that it runs.
    test: Option<String>,
}

/// Runs all tests of the binaries. A binary's output is shown when it has failed.
pub fn run(binaries: &[Binary], options: &Options) -> Result<Ran> {
    let known = read_times(&options.times);
    let mut starts = Vec::new();
    for binary in binaries {
        if options.each {
            let names = names_of(binary, options)?;
            starts.extend(names.into_iter().map(|test| Start { binary: binary.clone(), test: Some(test) }));
        } else {
            starts.push(Start { binary: binary.clone(), test: None });
        }
    }
    // The longest first, and before all others those that nobody has timed; taken from the end.
    starts.sort_by_key(|start| known.get(&start.binary.name).copied().unwrap_or(u64::MAX));
    let side_by_side = if options.each { 1 } else { std::thread::available_parallelism()?.get() };
    let queue = Mutex::new(starts);
    let ran = Mutex::new(Ran::default());
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(|| {
                while let Some(start) = queue.lock().ok().and_then(|mut queue| queue.pop()) {
                    match start.run(options) {
                        Ok(one) => {
                            if let Ok(mut ran) = ran.lock() {
                                ran.add(&start, one);
                            }
                        }
                        Err(error) => {
                            if let Ok(mut problems) = problems.lock() {
                                problems.push(error);
                            }
                        }
                    }
                }
            });
        }
    });
    if let Some(problem) = problems.into_inner().unwrap_or_default().into_iter().next() {
        return Err(problem);
    }
    let ran = ran.into_inner().unwrap_or_default();
    if !options.each {
        write_times(&options.times, known, &ran.binaries);
    }
    Ok(ran)
}

/// What one process came to.
struct One {
    took: Took,
    output: String,
    success: bool,
}

impl Start {
    fn name(&self) -> String {
        match &self.test {
            Some(test) => format!("{} {test}", self.binary.name),
            None => self.binary.name.clone(),
        }
    }

    fn run(&self, options: &Options) -> Result<One> {
        let mut binary = self.binary.clone();
        if let Some(test) = &self.test {
            binary.filters = vec!["--exact".to_owned(), test.clone()];
        }
        let mut command = command(&binary, options);
        // Both streams into one file, in the order in which they are written, and nobody has to read meanwhile.
        let mut name = options.times.as_os_str().to_owned();
        name.push(format!(".{:?}.out", std::thread::current().id()));
        let name = PathBuf::from(name);
        let file = fs::File::create(&name).with_context(|| format!("cannot write {}", name.display()))?;
        let copy = file.try_clone().context("cannot copy a descriptor")?;
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(copy)
            .spawn()
            .with_context(|| format!("cannot run {}", self.binary.path.display()))?;
        let cpu = ended_cpu(child.id());
        let status = child.wait().with_context(|| format!("cannot wait for {}", self.name()))?;
        let wall = begun.elapsed();
        let output = fs::read(&name).with_context(|| format!("cannot read {}", name.display()))?;
        let _ = fs::remove_file(&name);
        Ok(One {
            took: Took { name: self.name(), wall, cpu },
            output: String::from_utf8_lossy(&output).into_owned(),
            success: status.success(),
        })
    }
}

impl Ran {
    fn add(&mut self, start: &Start, one: One) {
        let mut tally = Tally::default();
        for line in one.output.lines() {
            tally = tally + test_result(line).unwrap_or_default();
            if let Some((name, wall)) = timed(line)
                && start.test.is_none()
            {
                let name = format!("{} {name}", start.binary.name);
                self.tests.push(Took { name, wall, cpu: None });
            }
        }
        let tally = super::with_status(tally, one.success);
        if tally.failed > 0 {
            print!("{}", one.output);
        }
        let cpu = one
            .took
            .cpu
            .map_or_else(String::new, |cpu| format!(", {:.1} s of processors", cpu.as_secs_f64()));
        let wall = one.took.wall.as_secs_f64();
        if start.test.is_none() || tally.failed > 0 {
            println!(
                "{}: {} passed, {} failed in {wall:.1} s{cpu}",
                one.took.name, tally.passed, tally.failed
            );
        }
        match start.test {
            Some(_) => self.tests.push(one.took),
            None => self.binaries.push(one.took),
        }
        self.tally = self.tally + tally;
    }
}

/// A binary in its folder, with what it needs to say how long each test takes: the option is not stable, and the test
/// harness takes it only with RUSTC_BOOTSTRAP set.
fn command(binary: &Binary, options: &Options) -> Command {
    let mut command = Command::new(&binary.path);
    command.current_dir(&binary.directory);
    command.env("CARGO_MANIFEST_DIR", &binary.directory).env("RUSTC_BOOTSTRAP", "1");
    command.args(["-Z", "unstable-options", "--report-time"]).args(&binary.filters);
    if options.ignored {
        command.arg("--include-ignored").env("TIDEMILL_DEEP", "1");
    }
    command
}

/// The names of a binary's tests, those aside that would not run.
fn names_of(binary: &Binary, options: &Options) -> Result<Vec<String>> {
    let list = |more: &[&str]| -> Result<Vec<String>> {
        let mut command = Command::new(&binary.path);
        command.current_dir(&binary.directory).args(["--list", "--format", "terse"]);
        command.args(more).args(&binary.filters);
        let output = command.output().with_context(|| format!("cannot list the tests of {}", binary.name))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    };
    let mut names = list(&[])?;
    if !options.ignored {
        let ignored = list(&["--ignored"])?;
        names.retain(|name| !ignored.contains(name));
    }
    Ok(names)
}

/// The name and the time in a line like `test a::b ... ok <1.234s>`.
fn timed(line: &str) -> Option<(&str, Duration)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let (_, seconds) = rest.rsplit_once('<')?;
    let seconds: f64 = seconds.strip_suffix("s>")?.parse().ok()?;
    Some((name, Duration::try_from_secs_f64(seconds).ok()?))
}

/// Milliseconds by the name of a binary; empty where nothing is known.
fn read_times(path: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn write_times(path: &Path, mut known: BTreeMap<String, u64>, took: &[Took]) {
    known.extend(took.iter().map(|took| (took.name.clone(), took.wall.as_millis() as u64)));
    // It only orders the next run.
    let _ = fs::write(path, serde_json::to_string(&known).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_tests_are_read() {
        assert_eq!(timed("test a::b ... ok <1.250s>"), Some(("a::b", Duration::from_millis(1250))));
        assert_eq!(timed("test a::b ... FAILED <0.000s>"), Some(("a::b", Duration::ZERO)));
        for line in ["test a::b ... ignored", "test a::b ... ok", "running 3 tests", ""] {
            assert_eq!(timed(line), None, "{line}");
        }
    }
}
