//! `tidemill status`: how jobs stand.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidemill_api as api;
use tidemill_net::wire::{JobPhase, JobReport, TaskPhase, TaskReport};
use tidemill_types::{NodeId, Principal, Usage, one_line};
use tidemill_web::told;

use crate::{
    contributions::{self, UNJUDGED},
    exit,
    follow::{OnInterrupt, follow, unless_stopped},
    interrupt::Signals,
    json,
    money::shown,
    network::{self, Join},
    requester::Requester,
    runtime,
    summary::{not_done, phase_word, plural, reliability_in_words, unjudged_in_words},
    table::{Table, shorten},
};

/// Show how the jobs stand that you submitted from here, or one of them; as the operator of a coordinator, those of all.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job: its id, the beginning of its id, or its name
    #[arg(value_name = "JOB")]
    job: Option<String>,
    #[command(flatten)]
    join: Join,
    /// The jobs of all requesters: for the home that runs the coordinator
    #[arg(long, conflicts_with = "job")]
    all: bool,
    /// Follow the job to its end with a progress bar; Ctrl-C leaves it running
    #[arg(long, requires = "job")]
    watch: bool,
    /// List the job's tasks
    #[arg(long, requires = "job")]
    tasks: bool,
    /// Print JSON: one object for a job, an array of them for all
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Examples:
  tidemill status                  your jobs, the newest first
  tidemill status --all            those of everybody, where you run the coordinator
  tidemill status render --watch   until it has ended
  tidemill status 3f2a --tasks     who does which task

With --watch the exit code says how the job ended.

{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let ticket = network::required(args.join.join.as_deref())?;
    runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let mut requester = unless_stopped(&mut signals, Requester::connect(ticket)).await?;
        let shown = show(args, &mut requester, &mut signals).await;
        requester.close().await;
        shown
    })
}

async fn show(args: &Args, requester: &mut Requester, signals: &mut Signals) -> anyhow::Result<()> {
    let Some(job) = &args.job else {
        let jobs = match args.all {
            true => unless_stopped(signals, requester.all_jobs()).await?,
            false => unless_stopped(signals, requester.jobs()).await?,
        };
        print_jobs(&jobs, args.all, args.json);
        return Ok(());
    };
    let mut report = unless_stopped(signals, requester.find(job)).await?;
    if args.watch && !report.phase.is_ended() {
        match follow(requester, report.job, signals, OnInterrupt::Leave).await? {
            Some(ended) => report = ended,
            None => report = requester.job(report.job).await?,
        }
    }
    let mut tasks = Vec::new();
    if args.tasks {
        let listing = requester.tasks(&report, |task| {
            tasks.push(task);
            Ok(())
        });
        unless_stopped(signals, listing).await?;
    }
    print_job(&report, requester.node(), args.tasks.then_some(tasks.as_slice()), args.json);
    match not_done(&report).filter(|_| args.watch && report.phase.is_ended()) {
        Some(exit) => Err(exit.into()),
        None => Ok(()),
    }
}

/// `all`: whether they are of several requesters.
fn print_jobs(jobs: &[JobReport], all: bool, json: bool) {
    if json {
        let jobs: Vec<_> = jobs.iter().map(told::job).collect();
        json::print(&jobs);
        return;
    }
    if jobs.is_empty() {
        println!(
            "{}",
            match all {
                true => "the coordinator has no jobs",
                false => "no jobs were submitted from here; `tidemill submit JOB.TOML` submits one",
            }
        );
        return;
    }
    let is_any_unjudged = jobs.iter().any(|report| report.unjudged().results > 0);
    let mut heads = vec!["job "];
    heads.extend(all.then_some("requester "));
    heads.extend(["name ", "state ", "tasks"]);
    heads.extend(is_any_unjudged.then_some(UNJUDGED));
    heads.extend(["lost", "submitted "]);
    let mut table = Table::new(&heads);
    for report in jobs {
        let mut cells = vec![report.job.short()];
        cells.extend(all.then(|| report.requester.short()));
        cells.push(shorten(&report.name, 24));
        cells.push(phase_word(&report.phase).to_owned());
        cells.push(format!("{}/{}", report.done, report.tasks));
        cells.extend(is_any_unjudged.then(|| report.unjudged().results.to_string()));
        cells.extend([report.lost_attempts.to_string(), ago(report.submitted_ms)]);
        table.row(cells);
    }
    table.print("");
}

/// `requester`: who asks.
fn print_job(report: &JobReport, requester: NodeId, tasks: Option<&[TaskReport]>, json: bool) {
    if json {
        let task_list = tasks.map(|tasks| tasks.iter().map(told::task).collect());
        json::print(&api::Job { task_list, ..told::job(report) });
        return;
    }
    let name = one_line(&report.name, 64);
    let state = match &report.phase {
        JobPhase::Failed { label, failure, .. } => one_line(&format!("failed: {label}: {failure}"), 240),
        phase => phase_word(phase).to_owned(),
    };
    println!("{name}: {state}");
    println!("  job {}, submitted {}", report.job, ago(report.submitted_ms));
    if Principal::Node(requester) != report.requester {
        println!("  of the requester {}", report.requester);
    }
    println!("  {} of {} done, {} running", report.done, plural(report.tasks, "task"), report.leased);
    let Usage { fuel, read, memory, .. } = &report.usage;
    println!("  used {fuel} fuel; read {read}; at most {memory} of memory a task");
    if let Some(words) = unjudged_in_words(report) {
        println!("  {words}");
    }
    if let Some(cost) = &report.cost {
        println!("  paid out of the escrow {}: {} earned so far", cost.escrow.short(), shown(cost.earned));
    }
    if report.lost_attempts > 0 {
        println!("  {} came to nothing", plural(report.lost_attempts, "attempt"));
    }
    if let Some(stuck) = &report.stuck {
        println!("  nothing runs: {}", one_line(stuck, 400));
    }
    if let Some(words) = reliability_in_words(report) {
        println!("  {words}");
    }
    contributions::print(&report.contributions, "  ");
    if let Some(tasks) = tasks {
        print_tasks(tasks);
    }
}

fn print_tasks(tasks: &[TaskReport]) {
    let mut table = Table::new(&["task", "state ", "provider ", "time", "failed", "what "]);
    for task in tasks {
        let (who, time) = match &task.phase {
            TaskPhase::Waiting => (String::new(), String::new()),
            TaskPhase::Leased(nodes) => {
                (nodes.first().map_or_else(String::new, |node| node.short()), String::new())
            }
            TaskPhase::Done { node, wall_us, .. } => {
                (node.short(), format!("{:.1} s", Duration::from_micros(*wall_us).as_secs_f64()))
            }
        };
        table.row(vec![
            task.task.to_string(),
            told::task_phase(&task.phase).word().to_owned(),
            who,
            time,
            task.attempts.len().to_string(),
            task.label.clone(),
        ]);
    }
    table.print("  ");
    for task in tasks {
        for attempt in &task.attempts {
            let why = one_line(&told::attempt_failure(attempt), 160);
            println!("  task {} failed on {}: {why}", task.task, attempt.node.short());
        }
    }
}

/// `3 min ago`.
fn ago(unix_ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.saturating_sub(Duration::from_millis(unix_ms)).as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86400),
    }
}
