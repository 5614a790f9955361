//! `tidemill cancel`: the end of a job of a network.

use tidemill_net::wire::JobPhase;
use tidemill_types::one_line;
use tidemill_web::told;

use crate::{
    asking::ask,
    exit::{self, Code, Exit},
    follow, json,
    network::Join,
    summary::phase_word,
};

/// Cancel a job that runs.
///
/// What providers have of it is stopped. How it stood, and the logs of its tasks, can be asked for until it is
/// removed.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// The job: its id, the beginning of its id, or its name
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    join: Join,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (before, report) = ask(&args.join, async |requester| {
        let before = requester.find(&args.job).await?;
        let report = follow::cancel(requester, before.job).await?;
        Ok((before, report))
    })?;
    if args.json {
        json::print(&told::job(&report));
    }
    let name = one_line(&report.name, 64);
    if before.phase.is_ended() || report.phase != JobPhase::Cancelled {
        let message = format!("{name} has ended already: it is {}", phase_word(&report.phase));
        return Err(Exit::new(Code::Usage, message).into());
    }
    if !args.json {
        println!("{name} is cancelled; {} of {} tasks were done", report.done, report.tasks);
    }
    Ok(())
}
