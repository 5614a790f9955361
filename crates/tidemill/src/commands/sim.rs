//! `tidemill sim`: the network in one process, on the code that production runs.

mod stake;
mod trust;

/// Simulate networks of many providers in this process.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Trust(trust::Args),
    Stake(stake::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Trust(args) => trust::run(args),
        What::Stake(args) => stake::run(args),
    }
}
