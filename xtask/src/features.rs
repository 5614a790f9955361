//! `cargo xtask features`: one set of features of each dependency, whichever crates are built.
//!
//! Cargo unites the features that the selected crates ask for, so `cargo test -p tidemill-exec` would compile much
//! of what `cargo test --workspace` has built a second time, with fewer features. The generated crate
//! `tidemill-features`, on which all others depend, prevents that: it names the packages that would differ, with the
//! features of the whole workspace.
//!
//! It names them as build dependencies and has no build script. Cargo, with this workspace's resolver, unites the
//! features of all kinds of dependencies, and compiles build dependencies only for a build script. So nothing is
//! compiled for this crate, and a pure crate that depends on it still builds without a network or a runtime.

mod graph;
mod unifier;

use std::process::ExitCode;

use anyhow::{Context, Result};
use cargo_metadata::Metadata;

use crate::workspace::Workspace;
use graph::Graph;
pub use unifier::UNIFIER;

/// Options of `cargo xtask features`.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing: check that no selection of crates has features of its own
    #[arg(long)]
    check: bool,
}

/// How often the crate is written at most: the features of one package may bring in another that differs.
const ROUNDS: usize = 8;

/// Writes the unifying crate, or checks it.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if !args.check {
        write(workspace)?;
    }
    let problems = problems(workspace, &workspace.metadata()?)?;
    for problem in &problems {
        println!("{problem}");
    }
    println!("features: {} problems", problems.len());
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong with the features as they are, a sentence each.
pub fn problems(workspace: &Workspace, metadata: &Metadata) -> Result<Vec<String>> {
    let whole = Graph::of_workspace(workspace)?;
    let mut problems = Vec::new();
    for member in unifier::users(metadata) {
        let graph = Graph::of_package(workspace, member)?;
        for package in graph.differing(&whole) {
            problems.push(format!(
                "`cargo build -p {member}` would compile {package} with other features than the workspace does: run \
                 `cargo xtask features` and commit what changed"
            ));
        }
    }
    Ok(problems)
}

/// Writes the crate from nothing, so that a feature that nobody asks for any more goes.
fn write(workspace: &Workspace) -> Result<()> {
    put(workspace, &Graph::default())?;
    let metadata = workspace.metadata()?;
    let mut wanted = Graph::default();
    for _ in 0..ROUNDS {
        let whole = Graph::of_workspace(workspace)?;
        let mut changed = false;
        for member in unifier::users(&metadata) {
            let graph = Graph::of_package(workspace, member)?;
            for package in graph.differing(&whole) {
                changed |= wanted.take(package, &whole);
            }
        }
        if !changed {
            return Ok(());
        }
        wanted.refresh(&whole);
        put(workspace, &wanted)?;
    }
    anyhow::bail!("the features still changed after {ROUNDS} rounds")
}

fn put(workspace: &Workspace, packages: &Graph) -> Result<()> {
    let path = workspace.root().join(unifier::MANIFEST);
    std::fs::write(&path, unifier::manifest(packages))
        .with_context(|| format!("cannot write {}", unifier::MANIFEST))
}
