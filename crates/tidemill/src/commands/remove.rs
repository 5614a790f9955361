//! `tidemill remove`: what a coordinator keeps of a job.

use tidemill_net::wire::{Reply, Request};
use tidemill_types::one_line;

use crate::{
    exit,
    follow::unless_stopped,
    interrupt::Signals,
    network::{self, Join},
    requester::{Requester, off_the_protocol},
    runtime,
    summary::JobSummary,
};

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
    let ticket = network::required(args.join.join.as_deref())?;
    let report = runtime::block_on(async {
        let removing = async {
            let mut requester = Requester::connect(ticket).await?;
            let report = requester.find(&args.job).await?;
            let reply = requester.call(Request::Remove { job: report.job }).await;
            requester.close().await;
            match reply? {
                Reply::Removed => Ok(report),
                _ => Err(off_the_protocol()),
            }
        };
        unless_stopped(&mut Signals::listen()?, removing).await
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&JobSummary::from(&report))?);
    } else {
        println!("{} is removed", one_line(&report.name, 64));
    }
    Ok(())
}
