//! `tidemill sim trust`: what verification holds against those who lie.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use serde_json::json;
use tidemill_sim::trust::{
    Adversary, Measured, Plan, Rule, adversaries, measure,
    plot::{Plot, Series},
};

use crate::{
    exit::{Code, WithCode},
    progress::Progress,
    table::Table,
};

/// Measure how many wrong results are accepted, and at what cost, when providers lie.
///
/// Simulates networks in which some providers lie in some manner, places tasks with the scheduler and judges results with
/// the rules of docs/verification.md; in smaller networks without stakes, also with the published rules of iExec and BOINC
/// and with two of two, to see what sureness costs with each.
/// For each it counts, from the first lie on, the wrong results that were accepted, with the upper end of their
/// Clopper-Pearson interval of 95 %; the results made for each accepted task; how long a liar went uncaught; and what all
/// liars together gained or lost, in prices of a task. The whole takes three quarters of an hour on two slow cores,
/// `--quick` some minutes.
#[derive(clap::Args)]
pub struct Args {
    /// A small network, for a first look
    #[arg(long)]
    quick: bool,
    /// Providers [default: 1000, or 200 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(20..=100_000))]
    providers: Option<u32>,
    /// Epochs, each with one job; attacks that wait begin in the middle [default: 200, or 100 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=100_000))]
    epochs: Option<u32>,
    /// Tasks of a job for each provider [default: 40, or 20 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tasks_each: Option<u32>,
    /// What a provider has at stake, in prices of a task; 0 for no stakes
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    stake: u32,
    /// What chance starts from: the same number gives the same results
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Draw the pictures of docs/verification.md into this directory
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// The assurances that are measured.
const ASSURANCES: [u32; 3] = [100, 1_000, 10_000];

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let base = if args.quick { Plan::quick() } else { Plan::default() };
    let plan = Plan {
        providers: args.providers.unwrap_or(base.providers),
        epochs: args.epochs.unwrap_or(base.epochs),
        tasks_each: args.tasks_each.unwrap_or(base.tasks_each),
        stake: args.stake,
        seed: args.seed,
        ..base
    };
    let plan = plan.checked().code(Code::Usage)?;
    let rules = ASSURANCES.map(|assurance| Rule::Tidemill { assurance });
    let cases =
        adversaries().into_iter().flat_map(|adversary| rules.iter().map(move |rule| (adversary, *rule)));
    let measured = measure_all(&plan, cases.collect());
    let frontier = measure_all(&Plan { seed: plan.seed, ..Plan::long() }, frontier_cases());
    if let Some(directory) = &args.plots {
        draw(directory, &plan, &measured, &frontier)?;
    }
    if args.json {
        let plan = json!({
            "providers": plan.providers, "epochs": plan.epochs, "tasks_each": plan.tasks_each, "stake": plan.stake,
            "check_waves": plan.check_waves,
            "outside_gain": plan.outside_gain, "slash_odds": plan.slash_odds, "seed": plan.seed,
            "dishonest": plan.model.dishonest, "colluding": plan.model.colluding,
            "least_rate": plan.model.least_rate, "known_share": plan.model.known_share,
            "half_life": plan.model.half_life,
        });
        println!("{:#}", json!({ "plan": plan, "measured": measured, "frontier": frontier }));
        return Ok(());
    }
    println!(
        "{} providers, {} epochs of {} tasks each, stake {} prices",
        plan.providers, plan.epochs, plan.tasks_each, plan.stake
    );
    for rule in &rules {
        println!("\n{}", rule.name());
        let of_rule = measured.iter().filter(|measured| measured.rule == *rule);
        print(of_rule);
    }
    let broken: Vec<&Measured> = measured
        .iter()
        .filter(|one| one.is_held() == Some(false) && one.adversary.is_within_the_model())
        .collect();
    println!();
    match broken.as_slice() {
        [] => println!("every promise is held against every adversary that the model covers"),
        broken => {
            for one in broken {
                println!("NOT held: {} against {}", one.rule.name(), describe(&one.adversary));
            }
        }
    }
    println!(
        "cost: results for each accepted task, in the mean over all adversaries that the model covers, and the share of \
         wrong ones against the worst of them; {} providers without stakes, {} epochs",
        Plan::long().providers,
        Plan::long().epochs,
    );
    let mut table = Table::new(&["rule ", "redundancy", "wrong"]);
    for (rule, redundancy, wrong) in costs(&frontier) {
        table.row(vec![rule.name(), format!("{redundancy:.3}"), share(wrong)]);
    }
    table.print("  ");
    Ok(())
}

/// Who is against whom to see what sureness costs with each rule.
fn frontier_cases() -> Vec<(Adversary, Rule)> {
    let ours = [30, 100, 300, 1_000, 3_000, 10_000].map(|assurance| Rule::Tidemill { assurance });
    let iexec = [3, 10, 100, 1_000, 10_000].map(|trust| Rule::Iexec { trust });
    let boinc = [10, 30, 100, 300, 1_000].map(|threshold| Rule::Boinc { threshold });
    let rules: Vec<Rule> = ours.into_iter().chain(iexec).chain(boinc).chain([Rule::TwoOfTwo]).collect();
    let against: Vec<Adversary> = adversaries()
        .into_iter()
        .filter(|adversary| adversary.share() > 0.0 && adversary.is_within_the_model())
        .collect();
    rules.iter().flat_map(|rule| against.iter().map(|adversary| (*adversary, *rule))).collect()
}

/// Each rule with its mean redundancy and its worst share of wrong results.
fn costs(frontier: &[Measured]) -> Vec<(Rule, f64, f64)> {
    let mut costs: Vec<(Rule, f64, f64, u32)> = Vec::new();
    for one in frontier {
        match costs.iter_mut().find(|(rule, ..)| *rule == one.rule) {
            Some((_, redundancy, wrong, count)) => {
                *redundancy += one.redundancy;
                *wrong = wrong.max(one.wrong_share);
                *count += 1;
            }
            None => costs.push((one.rule, one.redundancy, one.wrong_share, 1)),
        }
    }
    costs.into_iter().map(|(rule, sum, wrong, count)| (rule, sum / f64::from(count), wrong)).collect()
}

/// Measures all cases, several at a time, in their order.
fn measure_all(plan: &Plan, cases: Vec<(Adversary, Rule)>) -> Vec<Measured> {
    let total = cases.len() as u64 * u64::from(plan.epochs);
    let progress = Progress::start("simulating", total);
    let done = AtomicU64::new(0);
    let count = cases.len();
    let queue: Mutex<VecDeque<(usize, (Adversary, Rule))>> =
        Mutex::new(cases.into_iter().enumerate().collect());
    let results: Mutex<Vec<(usize, Measured)>> = Mutex::new(Vec::with_capacity(count));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some((place, (adversary, rule))) = next else { return };
                        let tick = || {
                            done.fetch_add(1, Ordering::Relaxed);
                        };
                        let measured = measure(plan, adversary, rule, tick);
                        results.lock().unwrap_or_else(PoisonError::into_inner).push((place, measured));
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            let ended = results.lock().unwrap_or_else(PoisonError::into_inner).len();
            progress.update_with(done.load(Ordering::Relaxed), format!("{ended} of {count} networks"));
            thread::sleep(Duration::from_millis(100));
        }
    });
    progress.finish();
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, measured)| measured).collect()
}

fn describe(adversary: &Adversary) -> String {
    let percent = |share: f64| {
        let text = format!("{:.2}", share * 100.0);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match (adversary.share(), adversary.rate()) {
        (0.0, _) => adversary.name().to_owned(),
        (of, None) => format!("{}, {} %", adversary.name(), percent(of)),
        (of, Some(rate)) => format!("{}, {} % at {} %", adversary.name(), percent(of), percent(rate)),
    }
}

fn share(of: f64) -> String {
    if of == 0.0 { "0".to_owned() } else { format!("{of:.1e}") }
}

fn print<'a>(measured: impl Iterator<Item = &'a Measured>) {
    let heads = ["who lies ", "wrong", "upper 95 %", "redund.", "warm", "delay", "profit", "held "];
    let mut table = Table::new(&heads);
    for one in measured {
        table.row(vec![
            describe(&one.adversary),
            share(one.wrong_share),
            share(one.wrong_upper_95),
            format!("{:.3}", one.redundancy),
            format!("{:.3}", one.redundancy_after_warm_up),
            one.detection_delay.map_or_else(|| "-".to_owned(), |delay| delay.to_string()),
            format!("{:.0}", one.profit),
            match one.is_held() {
                Some(true) => "yes".to_owned(),
                Some(false) if one.adversary.is_within_the_model() => "NO".to_owned(),
                Some(false) => "no".to_owned(),
                None => String::new(),
            },
        ]);
    }
    table.print("  ");
}

/// A name, and which rules it is of.
type Family = (&'static str, fn(&Rule) -> bool);

fn draw(directory: &Path, plan: &Plan, measured: &[Measured], frontier: &[Measured]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
        .code(Code::Host)?;
    let families: [Family; 4] = [
        ("Tidemill", |rule| matches!(rule, Rule::Tidemill { .. })),
        ("iExec", |rule| matches!(rule, Rule::Iexec { .. })),
        ("BOINC adaptive", |rule| matches!(rule, Rule::Boinc { .. })),
        ("two of two", |rule| matches!(rule, Rule::TwoOfTwo)),
    ];
    let costs = costs(frontier);
    let cost = Plot {
        title: "What sureness costs".to_owned(),
        x: ("results made for each accepted task".to_owned(), false),
        y: ("wrong among accepted, worst of all adversaries".to_owned(), true),
        series: families
            .iter()
            .map(|(name, is_of)| Series {
                name: (*name).to_owned(),
                points: costs
                    .iter()
                    .filter(|(rule, ..)| is_of(rule))
                    .map(|(_, cost, wrong)| (*cost, *wrong))
                    .collect(),
                is_line: true,
            })
            .collect(),
    };
    let mut kinds: Vec<&str> = Vec::new();
    for adversary in adversaries().iter().filter(|adversary| adversary.share() > 0.0) {
        if !kinds.contains(&adversary.name()) {
            kinds.push(adversary.name());
        }
    }
    let held = Plot {
        title: format!("Wrong results accepted from the worst of each kind, {} providers", plan.providers),
        x: ("assurance N: at most 1 wrong in N".to_owned(), true),
        y: ("upper end of the 95 % interval".to_owned(), true),
        series: kinds
            .into_iter()
            .map(|kind| {
                let points = ASSURANCES.iter().filter_map(|n| {
                    let of = measured.iter().filter(|one| {
                        one.adversary.name() == kind
                            && one.adversary.is_within_the_model()
                            && one.rule == Rule::Tidemill { assurance: *n }
                    });
                    let worst = of.map(|one| one.wrong_upper_95).max_by(f64::total_cmp)?;
                    Some((f64::from(*n), worst))
                });
                Series { name: kind.to_owned(), points: points.collect(), is_line: false }
            })
            .chain([Series {
                name: "the promise".to_owned(),
                points: ASSURANCES.iter().map(|n| (f64::from(*n), 1.0 / f64::from(*n))).collect(),
                is_line: true,
            }])
            .collect(),
    };
    for (name, plot) in [("trust-cost.svg", cost), ("trust-held.svg", held)] {
        let path = directory.join(name);
        fs::write(&path, plot.svg())
            .with_context(|| format!("cannot write {}", path.display()))
            .code(Code::Host)?;
    }
    Ok(())
}
