//! `tidemill ledger`: ledgers, and Tidemill's contracts on them.

mod deploy;
mod remember;
mod start;
mod status;

/// Run a ledger, or put Tidemill's contracts on one that is there.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Start(start::Args),
    Deploy(deploy::Args),
    Use(remember::Args),
    Status(status::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Start(args) => start::run(args),
        What::Deploy(args) => deploy::run(args),
        What::Use(args) => remember::run(args),
        What::Status(args) => status::run(args),
    }
}
