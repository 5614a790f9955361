//! `tidemill remove`: what a coordinator keeps of a job.

use tidemill_net::wire::{Reply, Request};
use tidemill_types::one_line;
use tidemill_web::told;

use crate::{asking::ask, exit, json, network::Join, requester::off_the_protocol};

/// Remove a job that has ended, with its outputs and logs, from its coordinator.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// The job: its id, the beginning of its id, or its name
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    join: Join,
    /// Print one JSON object, with how the job stood, instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let report = ask(&args.join, async |requester| {
        let report = requester.find(&args.job).await?;
        match requester.call(Request::Remove { job: report.job }).await? {
            Reply::Removed => Ok(report),
            _ => Err(off_the_protocol()),
        }
    })?;
    if args.json {
        json::print(&told::job(&report));
    } else {
        println!("{} is removed", one_line(&report.name, 64));
    }
    Ok(())
}
