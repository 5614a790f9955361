//! `tidemill logs`: what a task of a network wrote to standard error, or writes to standard output while it runs.

mod follow;
mod provisional;

use std::io::Write;

use tidemill_api as api;

use crate::{
    asking::ask,
    exit::{self, Code, WithCode},
    json,
    network::Join,
    requester::TaskName,
};

/// Print what a task wrote to standard error.
///
/// The bytes go to standard output as they are. Of a long log the end is kept; a note on standard error says so.
///
/// With `--follow`, print what the task writes to standard output while it runs. That is provisional: it is printed to
/// standard error, each line after `~ `, and begins anew when another provider gets the task. Once a result is accepted,
/// what that result has as standard output goes to standard output.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job: its id, the beginning of its id, or its name
    #[arg(value_name = "JOB")]
    job: String,
    /// The task: its number, or its name, as in `tidemill status JOB --tasks`
    #[arg(value_name = "TASK")]
    task: TaskName,
    #[command(flatten)]
    join: Join,
    /// Print what the task writes to standard output while it runs, and then the accepted result's
    #[arg(long)]
    follow: bool,
    /// Print one JSON object, with the log as text; with --follow, one a line
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill logs render 12\n  tidemill logs render reduce\n  tidemill logs chat 0 --follow > answer.txt\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.follow {
        return ask(&args.join, async |requester| {
            let report = requester.find(&args.job).await?;
            let task = requester.find_task(&report, &args.task).await?;
            follow::follow(requester, report.job, task, args.json).await
        });
    }
    let (report, task, (bytes, omitted)) = ask(&args.join, async |requester| {
        let report = requester.find(&args.job).await?;
        let task = requester.find_task(&report, &args.task).await?;
        let log = requester.log(report.job, task).await?;
        Ok((report, task, log))
    })?;
    if args.json {
        json::print(&api::Log {
            job_id: report.job.to_string(),
            task: task.0,
            log: String::from_utf8_lossy(&bytes).into_owned(),
            omitted_bytes: omitted,
        });
        return Ok(());
    }
    if omitted > 0 {
        eprintln!("note: {omitted} bytes before this were not kept");
    }
    std::io::stdout().write_all(&bytes).code(Code::Host)
}
