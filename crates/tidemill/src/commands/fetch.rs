//! `tidemill fetch`: the output of a job of a network.

use std::path::{Path, PathBuf};

use tidemill_api as api;
use tidemill_job::JobName;
use tidemill_net::wire::JobReport;
use tidemill_types::one_line;
use tidemill_web::told;

use crate::{
    exit,
    follow::{OnInterrupt, follow, unless_stopped},
    interrupt::Signals,
    json,
    network::{self, Join},
    outdir::OutDir,
    requester::Requester,
    runtime,
    summary::{FileList, not_done},
};

/// Put the output of a job that is done into a directory.
///
/// It is the same, byte for byte, as that of `tidemill run` with the same job file.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job: its id, the beginning of its id, or its name
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    join: Join,
    /// Where the output goes [default: out/<job name>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Wait until the job has ended; Ctrl-C leaves it running
    #[arg(long)]
    wait: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!("Example:\n  tidemill fetch render --wait --out result\n\n{}", exit::HELP)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let ticket = network::required(args.join.join.as_deref())?;
    let (report, output) = runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let mut requester = unless_stopped(&mut signals, Requester::connect(ticket)).await?;
        let fetched = fetch(args, &mut requester, &mut signals).await;
        requester.close().await;
        fetched
    })?;
    if args.json {
        json::print(&api::Job { output: Some(output), ..told::job(&report) });
    } else {
        println!("{}: wrote {}", one_line(&report.name, 64), FileList::of(&output));
    }
    Ok(())
}

async fn fetch(
    args: &Args,
    requester: &mut Requester,
    signals: &mut Signals,
) -> anyhow::Result<(JobReport, api::Output)> {
    let mut report = unless_stopped(signals, requester.find(&args.job)).await?;
    if args.wait && !report.phase.is_ended() {
        match follow(requester, report.job, signals, OnInterrupt::Leave).await? {
            Some(ended) => report = ended,
            None => {
                let message = format!("stopped; job {} goes on", report.job.short());
                return Err(exit::Exit::new(exit::Code::Interrupted, message).into());
            }
        }
    }
    if let Some(exit) = not_done(&report) {
        return Err(exit.into());
    }
    // The name comes from elsewhere: what is no job's name is no directory's.
    let name = JobName::new(&report.name).map_or_else(|| report.job.to_string(), |name| name.to_string());
    let out = args.out.clone().unwrap_or_else(|| Path::new("out").join(name));
    let out = OutDir::claim(&out)?;
    let output = unless_stopped(signals, requester.place_output(&report, &out)).await?;
    Ok((report, output))
}
