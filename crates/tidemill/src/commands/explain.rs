//! `tidemill explain`: why tasks are where they are.

use tidemill_net::wire::{Explanation, Reply, Request, ResultReport};
use tidemill_types::{Acceptance, Basis, TaskNumber, lines, one_line};

use crate::{
    asking::{ask, task_number},
    exit,
    network::Join,
    requester::off_the_protocol,
    summary::{ReliabilitySummary, compared_in_words, odds_in_words, plural, reliability_in_words},
};

/// Say why a job's tasks, or one of them, are where they are: what speaks for and against each provider, and for one task
/// the results that it has, the verdict and its odds.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job: its id, the beginning of its id, or its name
    #[arg(value_name = "JOB")]
    job: String,
    /// The task's number, as in `tidemill status JOB --tasks` and in the paths of an output: 12, or tasks/12
    #[arg(value_name = "TASK", value_parser = task_number)]
    task: Option<TaskNumber>,
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
    let (report, explanation) = ask(&args.join, async |requester| {
        let report = requester.find(&args.job).await?;
        match requester.call(Request::Explain { job: report.job, task: args.task }).await? {
            Reply::Explained(explanation) => Ok((report, explanation)),
            _ => Err(off_the_protocol()),
        }
    })?;
    let Explanation { summary, providers, results, verdict } = explanation;
    if args.json {
        let providers: Vec<_> = providers
            .iter()
            .map(|(node, why)| serde_json::json!({ "node": node.to_string(), "why": why }))
            .collect();
        let text = serde_json::json!({
            "job_id": report.job.to_string(),
            "task": args.task.map(|task| task.0),
            "summary": summary,
            "providers": providers,
            "results": results.iter().map(result_json).collect::<Vec<_>>(),
            "verdict": verdict.as_ref().map(verdict_json),
            "reliability": ReliabilitySummary::from(&report),
        });
        println!("{text:#}");
        return Ok(());
    }
    println!("{}: {}", one_line(&report.name, 64), lines(&summary));
    if args.task.is_none()
        && let Some(words) = reliability_in_words(&report)
    {
        println!("  {words}");
    } else if let (Some(_), Some(how)) = (args.task, compared_in_words(&report.reliability.compared)) {
        println!("  outputs count as the same {how}");
    }
    for (node, why) in &providers {
        // Most reasons begin with the provider already.
        let why = lines(why);
        if why.contains(&node.short()) {
            println!("  {why}")
        } else {
            println!("  node {}: {why}", node.short())
        }
    }
    for result in &results {
        let agrees = match (result.agrees, result.is_trial) {
            (Some(true), false) => "; the accepted one",
            (Some(true), true) => "; right: its node was tried with a task whose answer was known",
            (Some(false), false) => "; wrong",
            (Some(false), true) => "; wrong: its node was tried with a task whose answer was known",
            (None, _) => "",
        };
        let odds = match result.error_ppb {
            None => String::new(),
            Some(0) => "; certain, since its machine is trusted".to_owned(),
            Some(ppb) => format!("; alone wrong with odds {}", odds_in_words(odds(ppb))),
        };
        let output: String = result.output.to_string().chars().take(8).collect();
        println!("  result of node {}: output {output}{agrees}{odds}", result.node.short());
    }
    if let Some(verdict) = &verdict {
        println!("  {}", verdict_in_words(verdict));
    }
    Ok(())
}

/// The odds of so many billionths.
fn odds(ppb: u32) -> f64 {
    f64::from(ppb) / 1e9
}

fn verdict_in_words(verdict: &Acceptance) -> String {
    let Acceptance { basis, results, agreeing, error_ppb } = *verdict;
    let grounds = match basis {
        Basis::Unverified => "accepted as it came: nothing else was asked for".to_owned(),
        Basis::Trusted => "accepted from a machine that is trusted".to_owned(),
        Basis::Unchecked => "accepted unchecked, on its provider's record".to_owned(),
        Basis::Agreed => format!("accepted because {agreeing} of {} agree", plural(results.into(), "result")),
    };
    match error_ppb {
        Some(ppb) => format!("{grounds}; wrong with odds {}", odds_in_words(odds(ppb))),
        None => grounds,
    }
}

fn result_json(result: &ResultReport) -> serde_json::Value {
    serde_json::json!({
        "node": result.node.to_string(),
        "operator": result.operator.to_string(),
        "at_ms": result.at_ms,
        "output": result.output.to_string(),
        "error_odds": result.error_ppb.map(odds),
        "agrees": result.agrees,
        "is_trial": result.is_trial,
    })
}

fn verdict_json(verdict: &Acceptance) -> serde_json::Value {
    serde_json::json!({
        "basis": verdict.basis,
        "results": verdict.results,
        "agreeing": verdict.agreeing,
        "error_odds": verdict.error_ppb.map(odds),
    })
}
