//! `tidemill submit`: a job into a network, without waiting for it.

use std::{path::PathBuf, sync::Arc};

use crate::{
    exit,
    follow::unless_stopped,
    interrupt::Signals,
    jobfile,
    network::{self, Join},
    requester::{Requester, draw},
    runtime,
};

/// Submit a job to a network, and print its id.
///
/// On return the network has the job with its programs and inputs, and needs this machine no more until the
/// output is fetched.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job file; docs/job-file.md says what it may hold
    #[arg(value_name = "JOB.TOML")]
    job: PathBuf,
    #[command(flatten)]
    join: Join,
    /// Print one JSON object instead of the id
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Examples:
  tidemill submit job.toml --join ticket.txt
  job=$(tidemill submit job.toml) && tidemill fetch $job --wait --out result

{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (file, plan) = jobfile::read(&args.job)?;
    let ticket = network::required(args.join.join.as_deref())?;
    let (file, plan) = (Arc::new(file), Arc::new(plan));
    let job = runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let submitting = async {
            let mut requester = Requester::connect(ticket).await?;
            let sealed = requester.seal(&file, &plan).await?;
            let job = draw()?;
            requester.submit(job, &sealed).await?;
            requester.close().await;
            Ok(job)
        };
        unless_stopped(&mut signals, submitting).await
    })?;
    if args.json {
        let text = serde_json::json!({
            "job_id": job.to_string(),
            "job": file.name.as_str(),
            "tasks": plan.task_count(),
            "map_tasks": plan.map_count(),
        });
        println!("{text:#}");
    } else {
        println!("{job}");
        eprintln!(
            "submitted {}; `tidemill status {1} --watch` follows it, `tidemill fetch {1} --wait` gets its output",
            file.name,
            job.short()
        );
    }
    Ok(())
}
