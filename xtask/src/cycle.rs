//! `cargo xtask cycle`: how long a developer waits for builds after an edit.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::ended_cpu;
use crate::workspace::Workspace;

/// Options of `cargo xtask cycle`.
#[derive(clap::Args)]
pub struct Args {
    /// Measure builds from nothing too, in a target folder of their own: it takes most of an hour
    #[arg(long)]
    cold: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// A source file in whose first function a statement is changed.
const CORE: &str = "crates/coordinator/src/core/leases.rs";
const TYPES: &str = "crates/types/src/offer.rs";

/// Something that a developer does, and waits for.
struct Task {
    name: &'static str,
    /// The file that was edited before.
    edit: Option<&'static str>,
    /// Cargo's arguments.
    args: &'static [&'static str],
}

const TASKS: &[Task] = &[
    Task {
        name: "edit in the core, until its tests run",
        edit: Some(CORE),
        args: &["test", "--release", "--package", "tidemill-coordinator", "--no-run"],
    },
    Task {
        name: "edit in the core, until all tests are built",
        edit: Some(CORE),
        args: &["test", "--release", "--workspace", "--no-run"],
    },
    Task {
        name: "edit in the core, clippy of its crate",
        edit: Some(CORE),
        args: &["clippy", "--release", "--package", "tidemill-coordinator", "--all-targets"],
    },
    Task {
        name: "edit in types, until all tests are built",
        edit: Some(TYPES),
        args: &["test", "--release", "--workspace", "--no-run"],
    },
    Task {
        name: "then the tests of one crate",
        edit: None,
        args: &["test", "--release", "--package", "tidemill-exec", "--no-run"],
    },
    Task { name: "then the binary", edit: None, args: &["build", "--release", "--package", "tidemill"] },
];

const COLD: &[Task] = &[
    Task {
        name: "from nothing, README's first command",
        edit: None,
        args: &["build", "--release", "--bin", "tidemill"],
    },
    Task { name: "from there, `cargo xtask test`", edit: None, args: &["xtask", "test"] },
];

/// What a task took.
struct Took {
    name: &'static str,
    wall: Duration,
    cpu: Option<Duration>,
    /// Packages that were compiled, the workspace's own aside.
    dependencies: usize,
}

/// Measures, and prints a table.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    // Cargo gets the signal as well and ends; what was edited is put back before this process does.
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("cannot handle Ctrl-C")?;
    eprintln!("building what is not built yet");
    for args in [
        &["test", "--release", "--workspace", "--no-run"][..],
        &["clippy", "--release", "--workspace", "--all-targets"],
    ] {
        cargo(workspace, args, None)?;
    }
    let mut all = Vec::new();
    let nowhere = tempfile::tempdir().context("cannot make a target folder")?;
    for (task, target) in TASKS
        .iter()
        .map(|task| (task, None))
        .chain(COLD.iter().filter(|_| args.cold).map(|task| (task, Some(nowhere.path().to_owned()))))
    {
        eprintln!("{}", task.name);
        let _edited = task.edit.map(|path| Edited::new(workspace, path, all.len())).transpose()?;
        let (wall, cpu, dependencies) = cargo(workspace, task.args, target)?;
        all.push(Took { name: task.name, wall, cpu, dependencies });
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
    }
    if args.json {
        println!("{}", json(&all));
    } else {
        print!("{}", table(&all));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs cargo; how long it took, what it used, and how many dependencies it compiled.
fn cargo(
    workspace: &Workspace,
    args: &[&str],
    target: Option<PathBuf>,
) -> Result<(Duration, Option<Duration>, usize)> {
    let mut command = workspace.cargo();
    command.args(args).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    if let Some(target) = target {
        command.env("CARGO_TARGET_DIR", target);
    }
    let begun = Instant::now();
    let mut child = command.spawn().context("cannot run cargo")?;
    let stderr = child.stderr.take().context("cargo's messages were not captured")?;
    let messages = std::thread::spawn(move || std::io::read_to_string(stderr));
    let cpu = ended_cpu(child.id());
    let status = child.wait().context("cannot wait for cargo")?;
    let wall = begun.elapsed();
    let messages = messages.join().ok().context("cargo's messages were lost")??;
    ensure!(status.success(), "cargo {} failed\n{messages}", args.join(" "));
    Ok((wall, cpu, dependencies(&messages)))
}

/// The lines like `Compiling serde v1.0.0`; those of members end with their path.
fn dependencies(messages: &str) -> usize {
    messages
        .lines()
        .filter(|line| line.trim_start().starts_with("Compiling ") && !line.ends_with(')'))
        .count()
}

/// A file with a changed function, put back when this is dropped.
struct Edited {
    path: PathBuf,
    before: String,
}

impl Edited {
    fn new(workspace: &Workspace, path: &str, number: usize) -> Result<Self> {
        let path = workspace.root().join(path);
        let before =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let after = edited(&before, number).with_context(|| format!("{} has no function", path.display()))?;
        let edited = Self { path, before };
        std::fs::write(&edited.path, after)
            .with_context(|| format!("cannot write {}", edited.path.display()))?;
        Ok(edited)
    }
}

impl Drop for Edited {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(&self.path, &self.before) {
            eprintln!("{} could not be put back ({error}): `git checkout` it", self.path.display());
        }
    }
}

/// The text with one more statement in its first function.
fn edited(text: &str, number: usize) -> Option<String> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.contains("fn ") && !line.contains("const fn ") && line.ends_with("{\n") {
            let (before, after) = text.split_at(at);
            return Some(format!("{before}let _ = std::hint::black_box({number}u64);\n{after}"));
        }
    }
    None
}

fn table(all: &[Took]) -> String {
    let mut text =
        String::from("| | time | processor time | dependencies compiled |\n| --- | --- | --- | --- |\n");
    for took in all {
        let cpu = took.cpu.map_or_else(String::new, |cpu| format!("{:.0} s", cpu.as_secs_f64()));
        text += &format!(
            "| {} | {:.0} s | {cpu} | {} |\n",
            took.name,
            took.wall.as_secs_f64(),
            took.dependencies
        );
    }
    text
}

fn json(all: &[Took]) -> String {
    let rows = all.iter().map(|took| {
        serde_json::json!({
            "name": took.name,
            "seconds": took.wall.as_secs_f64(),
            "cpu_seconds": took.cpu.map(|cpu| cpu.as_secs_f64()),
            "dependencies_compiled": took.dependencies,
        })
    });
    serde_json::Value::from_iter(rows).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_in_the_first_function() {
        let text = "const fn a() {\n}\nfn b() {\n}\n";
        let edited = edited(text, 7).expect("a function");
        assert_eq!(edited, "const fn a() {\n}\nfn b() {\nlet _ = std::hint::black_box(7u64);\n}\n");
        assert_eq!(super::edited("struct A;\n", 7), None);
    }

    #[test]
    fn only_dependencies_are_counted() {
        let messages =
            "   Compiling serde v1.0.0\n   Compiling tidemill v0.1.0 (/x)\n    Finished `release`\n";
        assert_eq!(dependencies(messages), 1);
    }

    #[test]
    fn what_is_edited_is_put_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.rs");
        std::fs::write(&path, "changed").expect("a file");
        drop(Edited { path: path.clone(), before: "as it was".to_owned() });
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "as it was");
    }
}
