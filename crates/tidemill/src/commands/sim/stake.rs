//! `tidemill sim stake`: what holders of the liquid token live through.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use tidemill_sim::{
    stake::{Day, Measured, Plan, Scenario, Washed, exit_prices, measure, wash_trades},
    trust::plot::{Plot, Series},
};

use crate::{
    exit::{Code, Exit, WithCode},
    progress::Progress,
    table::Table,
};

/// Simulate the liquid token: years of deposits and exits, slashes, a run, a drained buffer, and those who try to be clever.
///
/// The model has the parameters of production and computes in integers as the contracts do. Each scenario says who gained
/// and who lost. Every day the books are checked to the wei, and every exit against the date that it was promised; what is
/// wrong is said, and ends the command with an error.
#[derive(clap::Args)]
pub struct Args {
    /// Run this scenario alone; may be given several times [default: all]
    #[arg(long = "scenario", value_name = "NAME", value_parser = PossibleValuesParser::new(Scenario::ALL.map(Scenario::name)))]
    scenarios: Vec<String>,
    /// Years of deposits and exits
    #[arg(long, value_name = "N", default_value_t = Plan::default().years, value_parser = clap::value_parser!(u32).range(1..=50))]
    years: u32,
    /// Providers that the liquid token may back
    #[arg(long, value_name = "N", default_value_t = Plan::default().providers, value_parser = clap::value_parser!(u32).range(10..=16))]
    providers: u32,
    /// What chance starts from: the same number gives the same results
    #[arg(long, value_name = "N", default_value_t = Plan::default().seed)]
    seed: u64,
    /// Draw the pictures of docs/staking.md into this directory
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let plan = Plan { providers: args.providers, years: args.years, seed: args.seed, ..Plan::default() };
    let is_meant = |scenario: &Scenario| {
        args.scenarios.is_empty() || args.scenarios.iter().any(|name| name == scenario.name())
    };
    let scenarios: Vec<Scenario> = Scenario::ALL.into_iter().filter(is_meant).collect();
    let progress = Progress::start("simulating", scenarios.len() as u64);
    let mut all = Vec::new();
    for scenario in scenarios {
        progress.update_with(all.len() as u64, scenario.name().to_owned());
        all.push(measure(&plan, scenario));
    }
    progress.finish();
    let washed = wash_trades();
    if let Some(directory) = &args.plots {
        draw(directory, &all, &washed)?;
    }
    if args.json {
        println!("{:#}", json!({ "plan": plan, "scenarios": all, "wash_trades": washed }));
    } else {
        all.iter().for_each(print);
        print_washed(&washed);
    }
    let broken: Vec<String> = all
        .iter()
        .flat_map(|one| one.broken.iter().map(|what| format!("{}: {what}", one.scenario.name())))
        .collect();
    match broken.first() {
        None => Ok(()),
        Some(first) => {
            let message = format!("{} promises were broken, the first: {first}", broken.len());
            Err(Exit::new(Code::Failed, message).into())
        }
    }
}

fn print(measured: &Measured) {
    println!("{}: {}", measured.scenario.name(), measured.story);
    let mut table = Table::new(&["who ", "put in", "took out", "has left", "gain", "exit fees"]);
    for one in &measured.fared {
        let gain = if one.put_in > 0.0 { format!("{:+.3} %", one.gain * 100.0) } else { String::new() };
        table.row(vec![
            one.who.clone(),
            format!("{:.0}", one.put_in),
            format!("{:.0}", one.got),
            format!("{:.0}", one.has),
            gain,
            format!("{:.0}", one.exit_fees),
        ]);
    }
    table.print("  ");
    for finding in &measured.findings {
        println!("  {}: {:.3} {}", finding.what, finding.value, finding.unit);
    }
    println!();
}

fn print_washed(washed: &[Washed]) {
    println!(
        "wash-trades: what an epoch of paying oneself gains, with rewards bounded by what is burned, and without"
    );
    let mut table = Table::new(&["paid to itself", "bounded", "not bounded"]);
    for one in washed {
        table.row(vec![
            format!("{:.0}", one.volume),
            format!("{:+.0}", one.bounded),
            format!("{:+.0}", one.fixed),
        ]);
    }
    table.print("  ");
}

/// How many points of a line are drawn.
const POINTS: usize = 60;

fn draw(directory: &Path, all: &[Measured], washed: &[Washed]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
        .code(Code::Host)?;
    let of = |scenario: Scenario| all.iter().find(|one| one.scenario == scenario);
    let line = |name: &str, days: &[Day], part: fn(&Day) -> f64| Series {
        name: name.to_owned(),
        points: thinned(days).map(|day| (f64::from(day.day), part(day))).collect(),
        is_line: true,
    };
    let mut plots = Vec::new();
    if let Some(years) = of(Scenario::Years) {
        plots.push((
            "stake-years.svg",
            Plot {
                title: "What a share is worth, through deposits, exits and slashes".to_owned(),
                x: ("day".to_owned(), false),
                y: ("rate, as a multiple of the first".to_owned(), false),
                series: vec![line("rate", &years.days, |day| day.rate)],
            },
        ));
    }
    if let Some(failure) = of(Scenario::Failure) {
        plots.push((
            "stake-failure.svg",
            Plot {
                title: "A provider with 30 % of the stake fails".to_owned(),
                x: ("day".to_owned(), false),
                y: ("rate, as a multiple of the first".to_owned(), false),
                series: vec![line("rate", &failure.days, |day| day.rate)],
            },
        ));
    }
    if let Some(run) = of(Scenario::EveryoneLeaves) {
        plots.push((
            "stake-run.svg",
            Plot {
                title: "Everybody asks to leave on one day".to_owned(),
                x: ("day".to_owned(), false),
                y: ("parts of the total".to_owned(), false),
                series: vec![
                    line("waits in the queue", &run.days, |day| day.queued.min(1.0)),
                    line("in the buffer", &run.days, |day| day.buffer.min(1.0)),
                ],
            },
        ));
    }
    plots.push((
        "stake-exit.svg",
        Plot {
            title: "What leaving at once costs".to_owned(),
            x: ("taken of a full buffer".to_owned(), false),
            y: ("fee, in parts of what is paid".to_owned(), false),
            series: vec![Series { name: "fee".to_owned(), points: exit_prices(), is_line: true }],
        },
    ));
    let wash = |name: &str, part: fn(&Washed) -> f64| Series {
        name: name.to_owned(),
        points: washed.iter().map(|one| (one.volume, part(one))).collect(),
        is_line: true,
    };
    plots.push((
        "stake-wash.svg",
        Plot {
            title: "What paying oneself for rewards comes to".to_owned(),
            x: ("TIDE paid to oneself in an epoch".to_owned(), true),
            y: ("TIDE gained".to_owned(), false),
            series: vec![
                wash("bounded by what is burned", |one| one.bounded),
                wash("a fixed subsidy", |one| one.fixed),
            ],
        },
    ));
    for (name, plot) in plots {
        let path = directory.join(name);
        fs::write(&path, plot.svg())
            .with_context(|| format!("cannot write {}", path.display()))
            .code(Code::Host)?;
    }
    Ok(())
}

/// Some of the days, the first and the last among them.
fn thinned(days: &[Day]) -> impl Iterator<Item = &Day> {
    let step = days.len().div_ceil(POINTS).max(1);
    let last = days.len().saturating_sub(1);
    days.iter().enumerate().filter(move |(at, _)| at % step == 0 || *at == last).map(|(_, day)| day)
}
