//! A run on this machine alone.

use std::time::{Duration, Instant};

use tidemill_api as api;
use tidemill_exec::{Cancel, Task};
use tidemill_job::{JobFile, Node, Plan};
use tidemill_provider::memory_available;
use tidemill_types::{ByteSize, Failure, ProgramKind};
use tidemill_web::told::seconds;

use super::{Args, print_usage, print_written, task_failure, tasks_in_words};
use crate::{
    commands::{check_floats, cores, read_program},
    exit::{Code, Exit, WithCode},
    here::{self, Config, End, Executors, Finished, Job, TaskFailure, Totals},
    home::{model_host, worker_pool},
    interrupt::on_interrupt,
    jobfile::{check_programs, program_memory},
    json, models,
    outdir::OutDir,
    output::{MapTask, Piece, Placing, Shape},
    progress::Progress,
    summary::plural,
};

/// Runs a job on this machine's cores.
pub fn run(args: &Args, file: JobFile, plan: Plan, begun: Instant) -> anyhow::Result<()> {
    let map_program = match file.program.kind {
        ProgramKind::Wasm => read_program(plan.map_program())?,
        ProgramKind::Infer => models::read(plan.map_program())?,
    };
    let reduce_program = plan.reduce().map(|reduce| read_program(reduce.program())).transpose()?;
    let job = Job { file, plan, map_program, reduce_program };
    let slots = slots(&job, args.parallel);
    if args.dry_run {
        check_programs(&job.file, &job.plan)?;
        super::describe(&job.file, &job.plan, Some(slots), None, args.json);
        return Ok(());
    }
    let out = args.claim_out(&job.file)?;
    let logs = args.logs_directory()?;
    let interrupted = on_interrupt()?;
    let deadline = job.file.deadline.map(|deadline| begun + deadline.duration());
    let config = Config { slots, work: out.work().to_owned(), logs, deadline };
    let (end, totals) = {
        let spool = config.work.join(here::SPOOL);
        let pool = worker_pool(slots, &spool).code(Code::Host)?;
        let models = model_host(cores(), model_memory(&job), &spool).code(Code::Host)?;
        let executors = Executors { pool, models };
        match prepare(&job, &executors, &interrupted)? {
            Some(end) => (end, Totals::default()),
            None => {
                let progress = Progress::start(job.file.name.as_str(), job.plan.task_count());
                let result = here::run(&job, &config, &executors, &interrupted, &progress);
                progress.finish();
                result.code(Code::Host)?
            }
        }
    };
    finish(args.json, &job, &out, &config, end, totals, begun)
}

/// How many tasks run at a time: as asked, as the job allows, and as memory goes.
fn slots(job: &Job, asked: Option<u16>) -> usize {
    let wanted = asked.map_or_else(cores, usize::from);
    let allowed = job.file.resources.parallel.map_or(usize::MAX, |most| most as usize);
    // Those of a model share what they take most of, and wait for the rest.
    let each = program_memory(&job.file, &job.plan);
    let fitting = memory_available()
        .map_or(usize::MAX, |free| usize::try_from(free.0 / each.0.max(1)).unwrap_or(usize::MAX));
    if asked.is_none() && fitting < wanted.min(allowed) {
        eprintln!(
            "note: {} at a time instead of {}: each may take {each} of memory",
            plural(fitting.max(1) as u64, "task"),
            wanted.min(allowed),
        );
        return fitting.max(1);
    }
    wanted.min(allowed)
}

/// The memory for a job's model and the texts of its tasks: what is there, but as much as a task may take in any case.
fn model_memory(job: &Job) -> ByteSize {
    let available = memory_available().map_or(ByteSize(0), |free| ByteSize(free.0 / 4 * 3));
    available.max(job.file.limits.memory)
}

/// Compiles the programs before the first task, so that what is wrong with one is said once. Gives the
/// end of the run if there is something wrong.
fn prepare(job: &Job, executors: &Executors, interrupted: &Cancel) -> anyhow::Result<Option<End>> {
    let floats = job.file.program.floats;
    let reduce_floats = job.file.reduce.as_ref().map_or(floats, |reduce| reduce.program.floats);
    let map = (&job.map_program, job.plan.map_program(), floats);
    let reduce = job.reduce_program.as_ref().zip(job.plan.reduce());
    let reduce = reduce.map(|(program, reduce)| (program, reduce.program(), reduce_floats));
    for (program, path, floats) in [Some(map), reduce].into_iter().flatten() {
        let executor = executors.of(program.kind);
        check_floats(executor, floats)?;
        match executor.prepare(&Task::of(program.clone(), floats), interrupted) {
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

fn finish(
    json: bool,
    job: &Job,
    out: &OutDir,
    config: &Config,
    end: End,
    totals: Totals,
    begun: Instant,
) -> anyhow::Result<()> {
    let mut summary = api::Run {
        job: job.file.name.to_string(),
        outcome: api::Outcome::Done,
        tasks: job.plan.task_count(),
        done: totals.done,
        reused: totals.reused,
        retries: totals.retries,
        parallel: config.slots as u64,
        wall_s: 0.0,
        busy_s: seconds(totals.busy),
        usage: api::Usage::from(&totals.usage),
        output: None,
        failure: None,
        reliability: None,
        job_id: None,
        network: None,
        providers: None,
        payment: None,
    };
    let kept = format!("{} of {} tasks are done and kept", totals.done, summary.tasks);
    let error = match end {
        End::Done(finished) => {
            let output = place(job, out, &finished)?;
            // The output has all that the work directory had.
            let work = config.work.display();
            match here::clear(&config.work) {
                Ok(true) => {}
                Ok(false) => eprintln!(
                    "note: {work} keeps a job that an earlier run began in a network: `tidemill run` without `--here` goes \
                     on with it, or settles what it used"
                ),
                Err(error) => eprintln!("warning: cannot remove {work}: {error}"),
            }
            if !json {
                // As a stopwatch would say: with laying out the output and removing what it was made from.
                print_done(job, &totals, config.slots, begun.elapsed(), &output);
            }
            summary.output = Some(output);
            None
        }
        End::Failed(failed) => {
            summary.outcome = api::Outcome::Failed;
            let (failure, exit) = task_failure(&failed.label, &failed.failure, failed.attempts);
            summary.failure = Some(failure);
            Some(exit)
        }
        End::Deadline => {
            summary.outcome = api::Outcome::Deadline;
            let deadline = job.file.deadline.unwrap_or_default();
            let message = format!("the job's deadline of {deadline} passed; {kept}");
            Some(Exit::new(Code::Deadline, message).hint("raise `deadline`, or run it again to go on"))
        }
        End::Interrupted => {
            summary.outcome = api::Outcome::Interrupted;
            Some(Exit::new(Code::Interrupted, format!("stopped; {kept}")).hint("run it again to go on"))
        }
    };
    if json {
        summary.wall_s = seconds(begun.elapsed());
        json::print(&summary);
    }
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Lays out the output: that of the reduce as it is, that of each map task in a directory of its own.
fn place(job: &Job, out: &OutDir, finished: &[Finished]) -> anyhow::Result<api::Output> {
    let shape = match finished {
        [Finished { node: Node::Reduce { .. }, .. }] => Shape::Reduced,
        _ => {
            let task =
                |index| MapTask { label: job.plan.map_label(index), file: job.plan.map_file(index).cloned() };
            Shape::Map((0..job.plan.map_count()).map(task).collect())
        }
    };
    let mut placing = Placing::begin(out, job.file.name.as_str(), shape)?;
    for Finished { archive, id, .. } in finished {
        placing.add(*id, &Piece::File(archive))?;
    }
    placing.finish()
}

fn print_done(job: &Job, totals: &Totals, slots: usize, wall: Duration, output: &api::Output) {
    let map = job.plan.map_count();
    let tasks = tasks_in_words(map, job.plan.task_count() - map);
    println!("{}: {tasks} in {:.1} s, {slots} at a time", job.file.name, wall.as_secs_f64());
    print_usage(&totals.usage, totals.busy);
    if totals.reused > 0 {
        println!("  {} taken over from an earlier run", plural(totals.reused, "task"));
    }
    if totals.retries > 0 {
        println!("  {} made again", plural(totals.retries, "attempt"));
    }
    print_written(output);
}
