//! `tidemill escrow`: budgets of jobs on the ledger.

mod end;
mod list;
mod open;
mod refund;
mod top_up;
mod which;

/// Budgets of jobs: what you have locked, adding to it, ending it, getting the rest back.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    List(list::Args),
    Open(open::Args),
    TopUp(top_up::Args),
    End(end::Args),
    Refund(refund::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::List(args) => list::run(args),
        What::Open(args) => open::run(args),
        What::TopUp(args) => top_up::run(args),
        What::End(args) => end::run(args),
        What::Refund(args) => refund::run(args),
    }
}
