//! `tidemill run`: a job from its file to its output.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;
use tidemill_exec::{Cancel, Executor};
use tidemill_job::{JobFile, Node, Plan, expand};
use tidemill_types::{BlobId, ByteSize, EXEC_VERSION, Failure, lines};

use super::{check_floats, cores, read_file, read_program};
use crate::{
    exit::{self, Code, Exit, WithCode},
    here::{self, Config, End, Finished, Job, TaskFailure, Totals},
    home::{available_memory, worker_pool},
    interrupt::on_interrupt,
    outdir::OutDir,
    progress::Progress,
    summary::{FailureSummary, FileList, OutputSummary, UsageSummary, seconds},
};

/// Run a job file and put its output into a directory.
///
/// The tasks run on this machine's cores, each in a sandbox. A run that is stopped or killed keeps what
/// it finished; running the same job again takes it up there.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// The job file; docs/job-file.md says what it may hold
    #[arg(value_name = "JOB.TOML")]
    job: PathBuf,
    /// Where the output goes [default: out/<job name>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run on this machine alone (the only way so far, and so the default)
    #[arg(long)]
    here: bool,
    /// Tasks at a time [default: one for each core, as far as memory goes]
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,
    /// Write what tasks log to standard error into files in this directory
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Check the job file and its inputs, say what would run, and stop
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object to standard output instead of text (none when the usage or job file is wrong)
    #[arg(long)]
    json: bool,
}

/// The longest job file that is read; a longer one is no job file.
const MAX_JOB_FILE_BYTES: u64 = 16 << 20;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    job: String,
    outcome: &'static str,
    tasks: u64,
    done: u64,
    reused: u64,
    retries: u64,
    parallel: usize,
    wall_s: f64,
    busy_s: f64,
    usage: UsageSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<OutputSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<TaskFailureSummary>,
}

#[derive(Serialize)]
struct TaskFailureSummary {
    task: String,
    attempts: u32,
    #[serde(flatten)]
    failure: FailureSummary,
}

/// Marks the output. It says nothing that differs from one run of the job to the next.
#[derive(Serialize)]
struct Manifest<'a> {
    job: &'a str,
    output: String,
    exec_version: u32,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (file, directory) = read_job(&args.job)?;
    let plan = expand(&file, &directory).code(Code::Usage)?;
    let map_program = read_program(plan.map_program())?;
    let reduce_program = plan.reduce().map(|reduce| read_program(reduce.program())).transpose()?;
    let job = Job { file, plan, map_program, reduce_program };
    let slots = slots(&job, args.parallel);
    if args.dry_run {
        return describe(&job, slots, args.json);
    }
    let out = args.out.clone().unwrap_or_else(|| Path::new("out").join(job.file.name.as_str()));
    let out = OutDir::claim(&out)?;
    let logs = args.logs.as_ref().map(std::path::absolute).transpose().code(Code::Usage)?;
    if let Some(logs) = &logs {
        fs::create_dir_all(logs)
            .with_context(|| format!("cannot make {}", logs.display()))
            .code(Code::Host)?;
    }
    let interrupted = on_interrupt()?;
    let deadline = job.file.deadline.map(|deadline| begun + deadline.duration());
    let config = Config { slots, work: out.work().to_owned(), logs, deadline };
    let (end, totals) = {
        let pool = worker_pool(slots, &config.work.join(here::SPOOL)).code(Code::Host)?;
        match prepare(&job, &pool, &interrupted)? {
            Some(end) => (end, Totals::default()),
            None => {
                let progress = Progress::start(job.file.name.as_str(), job.plan.task_count());
                let result = here::run(&job, &config, &pool, &interrupted, &progress);
                progress.finish();
                result.code(Code::Host)?
            }
        }
    };
    finish(args, &job, &out, &config, end, totals, begun.elapsed())
}

/// Reads and checks a job file. Gives the directory that its paths are relative to.
fn read_job(path: &Path) -> anyhow::Result<(JobFile, PathBuf)> {
    let bytes = read_file(path, MAX_JOB_FILE_BYTES)
        .map_err(|error| error.context("the job file"))
        .code(Code::Usage)?;
    if bytes.starts_with(b"\0asm") {
        let message = format!("{} is a program, not a job file", path.display());
        return Err(Exit::new(Code::Usage, message).hint("run one program with `tidemill exec`").into());
    }
    let text = String::from_utf8(bytes)
        .with_context(|| format!("the job file {} is not UTF-8 text", path.display()))
        .code(Code::Usage)?;
    let file = JobFile::parse(&text).map_err(|mistakes| {
        let name = path.display().to_string();
        let count = mistakes.iter().count() + mistakes.omitted();
        let (mistake, is) = if count == 1 { ("mistake", "is") } else { ("mistakes", "are") };
        Exit::new(
            Code::Usage,
            format!("there {is} {count} {mistake} in the job file\n\n{}", mistakes.in_file(&name)),
        )
        .hint("docs/job-file.md has a complete example of each key")
    })?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    Ok((file, directory.unwrap_or(Path::new(".")).to_owned()))
}

/// How many tasks run at a time: as asked, as the job allows, and as memory goes.
fn slots(job: &Job, asked: Option<u16>) -> usize {
    let wanted = asked.map_or_else(cores, usize::from);
    let allowed = job.file.resources.parallel.map_or(usize::MAX, |most| most as usize);
    let reduce = job.plan.reduce().map_or(ByteSize(0), |reduce| reduce.memory());
    let each = job.file.resources.memory.max(reduce);
    let fitting = available_memory()
        .map_or(usize::MAX, |free| usize::try_from(free / each.0.max(1)).unwrap_or(usize::MAX));
    if asked.is_none() && fitting < wanted.min(allowed) {
        eprintln!(
            "note: {} tasks at a time instead of {}: each may take {each} of memory",
            fitting.max(1),
            wanted.min(allowed),
        );
        return fitting.max(1);
    }
    wanted.min(allowed)
}

/// Compiles the programs before the first task, so that what is wrong with one is said once. Gives the
/// end of the run if there is something wrong.
fn prepare(job: &Job, pool: &dyn Executor, interrupted: &Cancel) -> anyhow::Result<Option<End>> {
    let floats = job.file.program.floats;
    let reduce_floats = job.file.reduce.as_ref().map_or(floats, |reduce| reduce.program.floats);
    let map = (&job.map_program, job.plan.map_program(), floats);
    let reduce = job.reduce_program.as_ref().zip(job.plan.reduce());
    let reduce = reduce.map(|(program, reduce)| (program, reduce.program(), reduce_floats));
    for (program, path, floats) in [Some(map), reduce].into_iter().flatten() {
        check_floats(pool, floats)?;
        match pool.prepare(program, floats, interrupted) {
            Ok(_) => {}
            Err(Failure::Cancelled) => return Ok(Some(End::Interrupted)),
            Err(failure) => {
                let label = path.display().to_string();
                return Ok(Some(End::Failed(TaskFailure { label, failure, attempts: 1 })));
            }
        }
    }
    Ok(None)
}

fn describe(job: &Job, slots: usize, json: bool) -> anyhow::Result<()> {
    let first = job.plan.map_task(0);
    let total = job.plan.task_count();
    if json {
        let text = serde_json::json!({
            "job": job.file.name.as_str(),
            "outcome": "dry_run",
            "tasks": total,
            "map_tasks": job.plan.map_count(),
            "parallel": slots,
            "input_bytes": job.plan.total_input_bytes(),
            "first_task": { "label": first.label, "args": first.args },
        });
        println!("{text:#}");
        return Ok(());
    }
    println!(
        "{}: {} map tasks and {} reduce tasks, {slots} at a time",
        job.file.name,
        job.plan.map_count(),
        total - job.plan.map_count()
    );
    println!("  input: {}", ByteSize(job.plan.total_input_bytes()));
    let program = job.plan.map_program().display();
    let task = format!("  first task ({}): {program} {}", first.label, first.args.join(" "));
    println!("{}", lines(&task));
    Ok(())
}

fn finish(
    args: &Args,
    job: &Job,
    out: &OutDir,
    config: &Config,
    end: End,
    totals: Totals,
    wall: Duration,
) -> anyhow::Result<()> {
    let mut summary = Summary {
        job: job.file.name.to_string(),
        outcome: "done",
        tasks: job.plan.task_count(),
        done: totals.done,
        reused: totals.reused,
        retries: totals.retries,
        parallel: config.slots,
        wall_s: seconds(wall),
        busy_s: seconds(totals.busy),
        usage: UsageSummary::from(&totals.usage),
        output: None,
        failure: None,
    };
    let kept = format!("{} of {} tasks are done and kept", totals.done, summary.tasks);
    let error = match end {
        End::Done(finished) => {
            let output = place_output(job, out, &finished)?;
            // The output has all that the work directory had.
            if let Err(error) = fs::remove_dir_all(&config.work) {
                eprintln!("warning: cannot remove {}: {error}", config.work.display());
            }
            if !args.json {
                print_done(job, &totals, config.slots, wall, &output);
            }
            summary.output = Some(output);
            None
        }
        End::Failed(failed) => {
            summary.outcome = "failed";
            let failure = FailureSummary::from(&failed.failure);
            let attempts = if failed.attempts > 1 {
                format!(" after {} attempts", failed.attempts)
            } else {
                String::new()
            };
            let details = failure.details();
            let message = format!("{} failed{attempts}: {}\n{details}", failed.label, failed.failure);
            summary.failure =
                Some(TaskFailureSummary { task: failed.label, attempts: failed.attempts, failure });
            Some(Exit::new(Code::of(&failed.failure), message.trim_end()).hint(failed.failure.hint()))
        }
        End::Deadline => {
            summary.outcome = "deadline";
            let deadline = job.file.deadline.unwrap_or_default();
            let message = format!("the job's deadline of {deadline} passed; {kept}");
            Some(Exit::new(Code::Deadline, message).hint("raise `deadline`, or run it again to go on"))
        }
        End::Interrupted => {
            summary.outcome = "interrupted";
            Some(Exit::new(Code::Interrupted, format!("stopped; {kept}")).hint("run it again to go on"))
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    }
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Lays out the output: that of the reduce as it is, that of each map task in a directory of its own.
fn place_output(job: &Job, out: &OutDir, finished: &[Finished]) -> anyhow::Result<OutputSummary> {
    out.begin()?;
    let mut files = Vec::new();
    for Finished { node, archive, .. } in finished {
        let prefix = match node {
            Node::Reduce { .. } => String::new(),
            Node::Map(index) => task_directory(&job.plan, *index),
        };
        files.extend(out.unpack(archive, &prefix)?);
    }
    let id = match finished {
        [Finished { node: Node::Reduce { .. }, id, .. }] => *id,
        _ => {
            let ids: Vec<u8> = finished.iter().flat_map(|task| *task.id.as_bytes()).collect();
            BlobId::of(&ids)
        }
    };
    let manifest =
        Manifest { job: job.file.name.as_str(), output: id.to_string(), exec_version: EXEC_VERSION };
    out.finish(&manifest)?;
    Ok(OutputSummary { id: id.to_string(), directory: out.path().to_owned(), files })
}

/// `tasks/07` of a hundred: the number in as many digits as the last one has, so that names sort.
fn task_directory(plan: &Plan, index: u64) -> String {
    let digits = (plan.map_count() - 1).to_string().len();
    format!("tasks/{index:0digits$}")
}

fn print_done(job: &Job, totals: &Totals, slots: usize, wall: Duration, output: &OutputSummary) {
    let map = job.plan.map_count();
    let reduces = job.plan.task_count() - map;
    let plural =
        |count: u64, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
    let tasks = match reduces {
        0 => plural(map, "task"),
        _ => format!("{} and {}", plural(map, "task"), plural(reduces, "reduce task")),
    };
    println!("{}: {tasks} in {:.1} s, {slots} at a time", job.file.name, wall.as_secs_f64());
    let usage = &totals.usage;
    println!(
        "  used {} fuel in {:.1} s of running; read {}; at most {} of memory a task",
        usage.fuel,
        totals.busy.as_secs_f64(),
        usage.read,
        usage.memory
    );
    if totals.reused > 0 {
        println!("  {} taken over from an earlier run", plural(totals.reused, "task"));
    }
    if totals.retries > 0 {
        println!("  {} made again", plural(totals.retries, "attempt"));
    }
    println!("  wrote {}", FileList { directory: &output.directory, files: &output.files });
    if output.files.is_empty() {
        println!("  warning: no task wrote anything to /out or to standard output");
    }
}
