//! `cargo xtask contracts`: builds the contracts to the artifacts that are committed, and tests them.
//!
//! The artifacts are committed so that building Tidemill needs neither Node nor a Solidity compiler. Tools come from
//! the npm registry, at the versions of contracts/package-lock.json.

mod artifact;
mod tools;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::test::{Tally, counted};
use crate::workspace::Workspace;
use artifact::Artifact;
use tools::Tools;

/// Options of `cargo xtask contracts`.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing: check that the artifacts and gas figures are those of the sources
    #[arg(long)]
    check: bool,
}

/// The contracts and libraries that are deployed, and so have an artifact.
const DEPLOYED: &[&str] = &[
    "AccessManager",
    "ExitFee",
    "ExitQueue",
    "FeeLog",
    "JobEscrow",
    "LiquidStake",
    "OperatorKeys",
    "ProviderStaking",
    "RateFeed",
    "Redelegations",
    "SlashCases",
    "StTide",
    "Tide",
];

/// Where the artifacts are, from the workspace's root.
const ARTIFACTS: &str = "contracts/artifacts";

/// The tests that write the gas figures of contracts/snapshots. Each of their calls is a transaction of its own.
const GAS_TESTS: &[&str] = &["test", "--isolate", "--match-path", "test/gas/*"];

/// Builds the artifacts and the gas figures, or checks them.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let tools = Tools::install(workspace)?;
    if args.check {
        let tally = artifacts_are_current(workspace, &tools)? + counted(&mut gas(&tools, true))?;
        return Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    tools.build()?;
    for artifact in built(workspace)? {
        let path = workspace.root().join(artifact.path());
        std::fs::write(&path, artifact.text()?)
            .with_context(|| format!("cannot write {}", artifact.path()))?;
        println!("{}: {} bytes of code", artifact.path(), artifact.code_bytes());
    }
    let tally = counted(&mut gas(&tools, false))?;
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Formatting, artifacts, tests and gas figures, as `cargo xtask test` counts them. The deep form runs more cases.
pub fn test(workspace: &Workspace, deep: bool) -> Result<Tally> {
    let tools = Tools::install(workspace)?;
    let fmt = tools.forge(&["fmt", "--check"]).status().context("cannot run forge")?;
    let mut tests = tools.forge(&["test", "--no-match-path", "test/gas/*"]);
    if deep {
        tests.env("FOUNDRY_PROFILE", "deep");
    }
    Ok(Tally::of(fmt.success())
        + artifacts_are_current(workspace, &tools)?
        + counted(&mut tests)?
        + counted(&mut gas(&tools, true))?)
}

fn artifacts_are_current(workspace: &Workspace, tools: &Tools) -> Result<Tally> {
    tools.build()?;
    let mut tally = Tally::default();
    for artifact in built(workspace)? {
        let path = artifact.path();
        let committed = std::fs::read_to_string(workspace.root().join(&path)).unwrap_or_default();
        let current = committed == artifact.text()?;
        if !current {
            println!(
                "{path} is not what its sources build to: run `cargo xtask contracts` and commit what changed"
            );
        }
        tally = tally + Tally::of(current);
    }
    Ok(tally)
}

fn built(workspace: &Workspace) -> Result<Vec<Artifact>> {
    DEPLOYED.iter().map(|name| Artifact::built(workspace, name)).collect()
}

fn gas(tools: &Tools, check: bool) -> std::process::Command {
    let mut command = tools.forge(GAS_TESTS);
    command.env("FORGE_SNAPSHOT_CHECK", if check { "true" } else { "false" });
    command
}
