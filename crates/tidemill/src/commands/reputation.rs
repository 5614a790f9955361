//! `tidemill reputation`: what a coordinator knows of a provider's results.

use tidemill_net::wire::{RecordReport, Reply, ReputationReport, Request, StakeReport};
use tidemill_types::{Address, one_line};
use tidemill_web::told;

use crate::{
    asking::ask,
    exit::{self, Code, Exit},
    json,
    network::Join,
    requester::{Requester, off_the_protocol},
    summary::{odds_in_words, plural},
};

/// Explain how far a provider's results are believed, line by line.
///
/// What counts is the run of results since the last one that was found to be wrong. docs/verification.md derives the
/// formulas.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The provider: its node or the beginning of it, its name, or its operator's account
    #[arg(value_name = "PROVIDER")]
    provider: String,
    #[command(flatten)]
    join: Join,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill reputation local-1\n  tidemill reputation 0x52908400098527886E0F7030069857D2E4169EE7\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (operator, report) = ask(&args.join, async |requester| {
        let operator = find(requester, &args.provider).await?;
        match requester.call(Request::Reputation { operator }).await? {
            Reply::Reputation(report) => Ok((operator, report)),
            _ => Err(off_the_protocol()),
        }
    })?;
    if args.json {
        json::print(&told::reputation(operator, &report));
        return Ok(());
    }
    let ReputationReport { is_trusted, stake, records } = report;
    println!("operator {operator}");
    if is_trusted {
        println!(
            "  is trusted by this coordinator: its results need no check, and decide where others are checked"
        );
    } else if records.is_empty() {
        println!(
            "  nothing is known of its results: each is checked, and wrong with odds of one half until a verdict that is certain to \
             1 in 100 has confirmed one"
        );
    }
    if let Some(stake) = stake.filter(|_| !is_trusted) {
        println!("  {}", stake_in_words(&stake));
    }
    records.iter().for_each(print);
    Ok(())
}

/// The operator that a person means.
async fn find(requester: &mut Requester, text: &str) -> anyhow::Result<Address> {
    if let Ok(operator) = text.parse::<Address>() {
        return Ok(operator);
    }
    let prefix = text.to_ascii_lowercase();
    let providers = requester.providers().await?;
    let means = |node: String, name: &str| name == text || (!prefix.is_empty() && node.starts_with(&prefix));
    let mut operators: Vec<Address> = providers
        .iter()
        .filter(|provider| means(provider.node.to_string(), &provider.offer.name))
        .map(|provider| provider.operator)
        .collect();
    operators.sort();
    operators.dedup();
    match operators.as_slice() {
        [operator] => Ok(*operator),
        [] => Err(Exit::new(Code::Usage, format!("there is no provider {text:?} in this network"))
            .hint("`tidemill providers` lists them; one that is gone is found by its operator's account")
            .into()),
        several => Err(Exit::new(
            Code::Usage,
            format!("{} could be {text:?}", plural(several.len() as u64, "operator")),
        )
        .hint("give more of the node, or the operator's account")
        .into()),
    }
}

fn stake_in_words(stake: &StakeReport) -> String {
    let StakeReport { slashable, at_risk, deterred } = stake;
    if slashable.is_zero() {
        return "has no bond that a wrong result would cost it, so all of its results are checked".to_owned();
    }
    let hand = format!("would lose {slashable} by a wrong result, and has leases for {at_risk} in hand");
    match deterred >= at_risk {
        true => format!("{hand}: cheating loses money up to {deterred}, however seldom it is checked"),
        false => {
            format!("{hand}: more than {deterred}, so it is checked at least as often as deters that")
        }
    }
}

fn print(record: &RecordReport) {
    let RecordReport { kind, hardware_class, checked, unchecked, lies, failed, check_rate, error_odds } =
        record;
    let class =
        hardware_class.as_deref().map_or_else(|| "any hardware".to_owned(), |class| one_line(class, 64));
    println!("{kind} programs on {class}");
    let line = |count: f64, what: &str| println!("  {count:>10.1}  {what}");
    line(*checked, "results were checked and right, since the last wrong one");
    line(*unchecked, "results were accepted unchecked since then");
    line(checked + unchecked, "results in a row by that, old ones counting less: its run");
    line(f64::from(*lies), "results were found to be wrong, ever: each one started the run over");
    line(*failed, "attempts failed or were late, which says nothing about results");
    println!("  {:>9.1}%  of its next results are checked at the default assurance", check_rate * 100.0);
    println!("  {:>10}  are the odds that its next one is wrong", odds_in_words(*error_odds));
}
