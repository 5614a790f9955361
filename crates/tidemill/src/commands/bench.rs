//! `tidemill bench`: measurements of this machine, for docs/benchmarks.md.

/// Measure this machine.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: &Args) -> anyhow::Result<()> {
    Ok(())
}
