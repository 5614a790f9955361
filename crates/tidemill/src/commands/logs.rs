//! `tidemill logs`: what a task of a network wrote to standard error.

use std::io::Write;

use tidemill_types::TaskNumber;

use crate::{
    asking::{ask, task_number},
    exit::{self, Code, WithCode},
    network::Join,
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
    #[arg(value_name = "TASK", value_parser = task_number)]
    task: TaskNumber,
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
    let (report, (bytes, omitted)) = ask(&args.join, async |requester| {
        let report = requester.find(&args.job).await?;
        let log = requester.log(report.job, args.task).await?;
        Ok((report, log))
    })?;
    if args.json {
        let text = serde_json::json!({
            "job_id": report.job.to_string(),
            "task": args.task.0,
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
