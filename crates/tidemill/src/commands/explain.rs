//! `tidemill explain`: why tasks are where they are.

use tidemill_net::wire::{Explanation, Reply, Request, Standing};
use tidemill_types::{Acceptance, Basis, Reliance, lines, one_line};
use tidemill_web::told;

use crate::{
    asking::ask,
    exit, json,
    network::Join,
    requester::{TaskName, off_the_protocol},
    summary::{odds_in_words, plural, reliability_in_words},
};

/// Say why a job's tasks, or one of them, are where they are: what speaks for and against each provider, and for one task
/// the results that it has, and the verdict or what they come to without one, with the odds.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job: its id, the beginning of its id, or its name
    #[arg(value_name = "JOB")]
    job: String,
    /// The task: its number, or its name, as in `tidemill status JOB --tasks`; either also as in the paths of an output:
    /// 12, tasks/12, reads.fa, or tasks/reads.fa
    #[arg(value_name = "TASK")]
    task: Option<TaskName>,
    #[command(flatten)]
    join: Join,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill explain render\n  tidemill explain render 12\n  tidemill explain render reduce\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (report, task, explanation) = ask(&args.join, async |requester| {
        let report = requester.find(&args.job).await?;
        let task = match &args.task {
            Some(task) => Some(requester.find_task(&report, task).await?),
            None => None,
        };
        match requester.call(Request::Explain { job: report.job, task }).await? {
            Reply::Explained(explanation) => Ok((report, task, explanation)),
            _ => Err(off_the_protocol()),
        }
    })?;
    if args.json {
        json::print(&told::explanation(&report, task, &explanation));
        return Ok(());
    }
    let Explanation { summary, providers, results, verdict, standing, evidence } = explanation;
    println!("{}: {}", one_line(&report.name, 64), lines(&summary));
    if task.is_none()
        && let Some(words) = reliability_in_words(&report)
    {
        println!("  {words}");
    } else if let (Some(_), Some(how)) = (task, told::compared_in_words(&report.reliability.compared)) {
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
            Some(ppb) => format!("; alone wrong with odds {}", odds_in_words(told::odds(ppb))),
        };
        let output: String = match result.output {
            Some(output) => output.to_string().chars().take(8).collect(),
            None => format!("number {}, which is told once it is paid", result.answer + 1),
        };
        let (node, fuel) = (result.node.short(), result.fuel);
        println!("  result of node {node}: output {output}, {fuel} units of fuel{agrees}{odds}");
    }
    if let Some(verdict) = &verdict {
        println!("  {}", verdict_in_words(verdict));
    }
    if let Some(standing) = &standing {
        println!("  {}", standing_in_words(standing, report.reliability.asked));
    }
    if let Some(task) = task
        && evidence > 0
    {
        println!(
            "  the coordinator keeps evidence against {}: `tidemill evidence {} {task}` writes it to files",
            plural(evidence.into(), "result"),
            report.job.short()
        );
    }
    Ok(())
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
        Some(ppb) => format!("{grounds}; wrong with odds {}", odds_in_words(told::odds(ppb))),
        None => grounds,
    }
}

/// What results without a verdict come to.
fn standing_in_words(standing: &Standing, asked: Reliance) -> String {
    let Standing { results, agreeing, error_ppb } = *standing;
    let said = match (results, agreeing) {
        (1, _) => "it has 1 result".to_owned(),
        (results, 1) => format!("its {results} results all differ"),
        (results, agreeing) => format!("{agreeing} of its {results} results agree"),
    };
    let odds = match error_ppb {
        Some(ppb) => format!("; the likeliest answer is wrong with odds {}", odds_in_words(told::odds(ppb))),
        None => String::new(),
    };
    format!("no verdict: {said}{odds} (asked for: {asked})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_without_a_verdict_are_told_with_their_odds() {
        let asked = Reliance::Replicated { quorum: 2, most: 3 };
        let words = |results, agreeing, error_ppb| {
            standing_in_words(&Standing { results, agreeing, error_ppb }, asked)
        };
        let one = words(1, 1, Some(25_000_000));
        assert!(
            one.starts_with("no verdict: it has 1 result; the likeliest answer is wrong with odds 1 in 40"),
            "{one}"
        );
        assert!(words(2, 1, None).starts_with("no verdict: its 2 results all differ (asked for: "));
        assert!(words(3, 2, None).starts_with("no verdict: 2 of its 3 results agree (asked for: "));
    }
}
