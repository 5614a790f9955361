//! `tidemill logs`: what a task of a network wrote to standard error.

use std::io::Write;

use tidemill_types::TaskNumber;

use crate::{
    exit::{self, Code, WithCode},
    follow::unless_stopped,
    interrupt::Signals,
    network::{self, Join},
    requester::Requester,
    runtime,
};

/// Print what a task wrote to standard error.
///
/// The bytes go to standard output as they are. Of a long log the end is kept; a note on standard error says so.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job: its id, the beginning of its id, or its name
    #[arg(value_name = "JOB")]
    job: String,
    /// The task's number, as in `tidemill status JOB --tasks`
    #[arg(value_name = "TASK")]
    task: u64,
    #[command(flatten)]
    join: Join,
    /// Print one JSON object, with the log as text
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!("Example:\n  tidemill logs render 12\n\n{}", exit::HELP)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let ticket = network::required(args.join.join.as_deref())?;
    let (report, bytes, omitted) = runtime::block_on(async {
        let asking = async {
            let mut requester = Requester::connect(ticket).await?;
            let report = requester.find(&args.job).await?;
            let log = requester.log(report.job, TaskNumber(args.task)).await;
            requester.close().await;
            let (bytes, omitted) = log?;
            Ok((report, bytes, omitted))
        };
        unless_stopped(&mut Signals::listen()?, asking).await
    })?;
    if args.json {
        let text = serde_json::json!({
            "job_id": report.job.to_string(),
            "task": args.task,
            "log": String::from_utf8_lossy(&bytes),
            "omitted_bytes": omitted,
        });
        println!("{text:#}");
        return Ok(());
    }
    if omitted > 0 {
        eprintln!("note: {omitted} bytes before this were not kept");
    }
    std::io::stdout().write_all(&bytes).code(Code::Host)
}
