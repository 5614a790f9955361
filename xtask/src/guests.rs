//! `cargo xtask guests`: builds the guest programs of the examples to the `.wasm` files that are committed,
//! and checks that those are built from the sources beside them.
//!
//! The built files are committed so that nobody needs a WebAssembly toolchain to run an example.

mod build;
mod lock;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use lock::Entry;

/// Options of `cargo xtask guests`.
#[derive(clap::Args)]
pub struct Args {
    /// Build nothing: check the built programs against examples/guests.lock, without a toolchain
    #[arg(long)]
    check: bool,
}

/// Where the hashes are kept.
const LOCK: &str = "examples/guests.lock";

/// One example's guest program.
struct Guest {
    name: String,
    /// `Cargo.toml` and all below `src/`, from the workspace's root.
    sources: Vec<String>,
}

/// Builds the programs, or checks the built ones.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if args.check {
        return Ok(if check(workspace)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let builder = build::Builder::find(workspace)?;
    let mut entries = Vec::new();
    for guest in find(&workspace.paths()?) {
        let wasm = builder.build(&guest)?;
        let path = workspace.root().join(guest.wasm());
        std::fs::write(&path, &wasm).with_context(|| format!("cannot write {}", guest.wasm()))?;
        println!("{}: {} bytes", guest.wasm(), wasm.len());
        entries.push(Entry::of_bytes(guest.wasm(), &wasm));
        entries.push(guest.source_entry(workspace)?);
    }
    std::fs::write(workspace.root().join(LOCK), lock::write(&entries))
        .with_context(|| format!("cannot write {LOCK}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what is not as `examples/guests.lock` says; true when all is.
pub fn check(workspace: &Workspace) -> Result<bool> {
    let paths = workspace.paths()?;
    let guests = find(&paths);
    let mut actual = Vec::new();
    for path in paths.iter().filter(|path| is_wasm_of_example(path)) {
        let bytes =
            std::fs::read(workspace.root().join(path)).with_context(|| format!("cannot read {path}"))?;
        actual.push(Entry::of_bytes(path.clone(), &bytes));
    }
    for guest in &guests {
        actual.push(guest.source_entry(workspace)?);
    }
    let text = match std::fs::read_to_string(workspace.root().join(LOCK)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {LOCK}")),
    };
    let expected: Vec<String> = guests.iter().flat_map(|guest| [guest.wasm(), guest.program()]).collect();
    let findings = lock::compare(LOCK, &text, &actual, &expected);
    for finding in &findings {
        println!("{finding}");
    }
    println!("guests: {} programs, {} findings", guests.len(), findings.len());
    Ok(findings.is_empty())
}

/// The guest programs among the files of the workspace.
fn find(paths: &[String]) -> Vec<Guest> {
    let names = paths.iter().filter_map(|path| {
        let name = path.strip_prefix("examples/")?.strip_suffix("/program/Cargo.toml")?;
        (!name.contains('/')).then(|| name.to_owned())
    });
    names
        .map(|name| {
            let manifest = format!("examples/{name}/program/Cargo.toml");
            let source = format!("examples/{name}/program/src/");
            let own = paths.iter().filter(|path| **path == manifest || path.starts_with(&source));
            Guest { sources: own.cloned().collect(), name }
        })
        .collect()
}

fn is_wasm_of_example(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], ["examples", _, file] if file.ends_with(".wasm"))
}

impl Guest {
    fn package(&self) -> String {
        format!("example-{}", self.name)
    }

    fn program(&self) -> String {
        format!("examples/{}/program", self.name)
    }

    fn wasm(&self) -> String {
        format!("examples/{0}/{0}.wasm", self.name)
    }

    fn source_entry(&self, workspace: &Workspace) -> Result<Entry> {
        let mut files = Vec::new();
        for path in &self.sources {
            let bytes =
                std::fs::read(workspace.root().join(path)).with_context(|| format!("cannot read {path}"))?;
            files.push((path.as_str(), bytes));
        }
        Ok(Entry::of_sources(self.program(), &files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_with_their_sources() {
        let paths = [
            "examples/a/job.toml",
            "examples/a/program/Cargo.toml",
            "examples/a/program/notes.md",
            "examples/a/program/src/main.rs",
            "examples/a/program/src/part/b.rs",
            "examples/b/job.toml",
        ];
        let guests = find(&paths.map(str::to_owned));
        assert_eq!(guests.len(), 1);
        assert_eq!(guests[0].name, "a");
        assert_eq!(guests[0].sources, [paths[1], paths[3], paths[4]]);
        assert_eq!(guests[0].wasm(), "examples/a/a.wasm");
    }

    #[test]
    fn built_programs_lie_beside_the_job() {
        assert!(is_wasm_of_example("examples/a/a.wasm"));
        assert!(!is_wasm_of_example("examples/a/program/a.wasm"));
        assert!(!is_wasm_of_example("crates/exec/a.wasm"));
    }
}
