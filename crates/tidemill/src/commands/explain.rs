//! `tidemill explain`: why tasks are where they are.

use tidemill_net::wire::{Explanation, Reply, Request};
use tidemill_types::{TaskNumber, lines, one_line};

use crate::{
    exit,
    follow::unless_stopped,
    interrupt::Signals,
    network::{self, Join},
    requester::{Requester, off_the_protocol},
    runtime,
};

/// Say why a job's tasks, or one of them, are where they are: what speaks for and against each provider.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job: its id, the beginning of its id, or its name
    #[arg(value_name = "JOB")]
    job: String,
    /// The task's number, as in `tidemill status JOB --tasks`
    #[arg(value_name = "TASK")]
    task: Option<u64>,
    #[command(flatten)]
    join: Join,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!("Examples:\n  tidemill explain render\n  tidemill explain render 12\n\n{}", exit::HELP)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let ticket = network::required(args.join.join.as_deref())?;
    let (report, explanation) = runtime::block_on(async {
        let asking = async {
            let mut requester = Requester::connect(ticket).await?;
            let report = requester.find(&args.job).await?;
            let task = args.task.map(TaskNumber);
            let reply = requester.call(Request::Explain { job: report.job, task }).await;
            requester.close().await;
            match reply? {
                Reply::Explained(explanation) => Ok((report, explanation)),
                _ => Err(off_the_protocol()),
            }
        };
        unless_stopped(&mut Signals::listen()?, asking).await
    })?;
    let Explanation { summary, providers } = explanation;
    if args.json {
        let providers: Vec<_> = providers
            .iter()
            .map(|(node, why)| serde_json::json!({ "node": node.to_string(), "why": why }))
            .collect();
        let text = serde_json::json!({
            "job_id": report.job.to_string(),
            "task": args.task,
            "summary": summary,
            "providers": providers,
        });
        println!("{text:#}");
        return Ok(());
    }
    println!("{}: {}", one_line(&report.name, 64), lines(&summary));
    for (node, why) in &providers {
        // Most reasons begin with the provider already.
        let why = lines(why);
        if why.contains(&node.short()) {
            println!("  {why}")
        } else {
            println!("  node {}: {why}", node.short())
        }
    }
    Ok(())
}
