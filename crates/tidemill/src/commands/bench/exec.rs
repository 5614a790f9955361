//! `tidemill bench exec`: what the sandbox costs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    geometric_mean,
    kernels::{self, Measured, Way},
    median, noop,
};
use crate::exit::Exit;

/// Measure what the sandbox costs: the examples' kernels as native code, on plain wasmtime, in the
/// sandbox, and in the sandbox with canonical floats; and tasks that do nothing.
///
/// The ways take turns, so that a machine whose speed drifts is fair to all. Times are medians, ratios
/// are medians of the ratios within a turn.
#[derive(clap::Args)]
pub struct Args {
    /// Turns, each of which runs every kernel in every way once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// Only the kernels with these names
    #[arg(long, value_name = "NAME")]
    kernel: Vec<String>,
    /// Tasks that do nothing, to measure their time
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    noops: u32,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Results {
    kernels: Vec<Kernel>,
    geomean_ratio: f64,
    geomean_over_plain: f64,
    noop_us: noop::Latency,
    noop_worker_us: noop::Latency,
}

#[derive(Serialize)]
struct Kernel {
    name: &'static str,
    native_s: f64,
    plain_s: f64,
    fuel_s: f64,
    canonical_s: f64,
    /// The sandbox over native.
    ratio: f64,
    /// The sandbox over plain wasmtime.
    over_plain: f64,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut chosen = kernels::all();
    if let Some(unknown) = args.kernel.iter().find(|name| chosen.iter().all(|kernel| kernel.name != **name)) {
        let names: Vec<_> = chosen.iter().map(|kernel| kernel.name).collect();
        let message = format!("there is no kernel {unknown:?}; there are {}", names.join(", "));
        return Err(Exit::new(crate::exit::Code::Usage, message).into());
    }
    if !args.kernel.is_empty() {
        chosen.retain(|kernel| args.kernel.iter().any(|name| name == kernel.name));
    }
    let mut bench = kernels::Bench::new(chosen)?;
    let bar = indicatif::ProgressBar::new(u64::from(args.turns));
    bar.set_style(
        indicatif::ProgressStyle::with_template(
            "turn {pos} of {len} [{wide_bar}] {elapsed} gone, {eta} left",
        )
        .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let mut turns = Vec::new();
    for _ in 0..args.turns {
        turns.push(bench.turn()?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let kernels: Vec<Kernel> = bench.names().map(|name| summarise(name, &turns)).collect();
    let ratios = |pick: fn(&Kernel) -> f64| kernels.iter().map(pick).collect::<Vec<_>>();
    let results = Results {
        geomean_ratio: round(geometric_mean(&ratios(|kernel| kernel.ratio))),
        geomean_over_plain: round(geometric_mean(&ratios(|kernel| kernel.over_plain))),
        kernels,
        noop_us: noop::in_process(args.noops)?,
        noop_worker_us: noop::through_worker(args.noops)?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print(&results);
    }
    Ok(())
}

/// The measurements of one kernel over all turns.
fn summarise(name: &'static str, turns: &[BTreeMap<&'static str, Measured>]) -> Kernel {
    let all: Vec<&Measured> = turns.iter().filter_map(|turn| turn.get(name)).collect();
    let time = |way: Way| round(median(&all.iter().map(|m| m.seconds(way)).collect::<Vec<_>>()));
    let ratio = |over: Way| {
        let ratios: Vec<f64> = all.iter().map(|m| m.seconds(Way::Fuel) / m.seconds(over)).collect();
        round(median(&ratios))
    };
    Kernel {
        name,
        native_s: time(Way::Native),
        plain_s: time(Way::Plain),
        fuel_s: time(Way::Fuel),
        canonical_s: time(Way::Canonical),
        ratio: ratio(Way::Native),
        over_plain: ratio(Way::Plain),
    }
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn print(results: &Results) {
    println!("kernel        native     plain   sandbox  canonical   sandbox/native  sandbox/plain");
    for kernel in &results.kernels {
        println!(
            "{:<11} {:>6.3} s  {:>6.3} s  {:>6.3} s   {:>6.3} s   {:>14.2}  {:>13.2}",
            kernel.name,
            kernel.native_s,
            kernel.plain_s,
            kernel.fuel_s,
            kernel.canonical_s,
            kernel.ratio,
            kernel.over_plain
        );
    }
    println!(
        "{:<51} {:>14.2}  {:>13.2}",
        "geometric mean", results.geomean_ratio, results.geomean_over_plain
    );
    for (name, latency) in
        [("in this process", &results.noop_us), ("through a worker", &results.noop_worker_us)]
    {
        println!(
            "a task that does nothing, {name}: {:.1} µs (p50), {:.1} µs (p99)",
            latency.p50, latency.p99
        );
    }
}
