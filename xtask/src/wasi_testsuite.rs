//! `cargo xtask wasi-testsuite DIR`: the public WASI test suite against the sandbox.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// Options of `cargo xtask wasi-testsuite`.
#[derive(clap::Args)]
pub struct Args {
    /// A checkout of WebAssembly/wasi-testsuite with built programs (its branch prod/testsuite-base)
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Builds the runner, an example of the crate `tidemill-exec`, and hands over to it: this crate itself
/// stays free of the sandbox, so that it builds in seconds.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let directory = std::path::absolute(&args.directory)
        .with_context(|| format!("there is no directory {}", args.directory.display()))?;
    let status = workspace
        .cargo()
        .args(["run", "--release", "--quiet", "--example", "wasi_testsuite", "--"])
        .arg(directory)
        .status()
        .context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
