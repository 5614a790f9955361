//! `tidemill evidence`: signed results that contradict each other, as files that anyone can check.

mod check;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use tidemill_api as api;
use tidemill_net::{
    endpoint::verify,
    wire::{KeptEvidence, Reply, Request},
};
use tidemill_types::{JobId, LeaseId, SignedLeaf, TaskNumber};

use crate::{
    asking::ask,
    exit::{self, Code, Exit, WithCode},
    json,
    network::Join,
    requester::{Requester, TaskName, off_the_protocol},
    summary::plural,
};

/// So much evidence of one task is taken from a coordinator, which keeps far less.
const MOST_OF_TASK: usize = 4096;

/// Write the evidence that a coordinator keeps of a task into files, one for each result that contradicts the accepted one.
///
/// A file holds both results with what their providers signed, and the task's specification. Whoever has it can check it
/// alone (`tidemill evidence check`), and run the task again to see which result is right. The coordinator keeps evidence
/// when a job is removed, for as long as `tidemill serve --keep-evidence` says. The requester of the job can ask for it,
/// the home that runs the coordinator, and the home whose key signed the contradicting result.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = after_help())]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The job: its id, the beginning of its id, or its name; of one that was removed its whole id
    #[arg(value_name = "JOB", required = true)]
    job: Option<String>,
    /// The task: its number, or its name, as in `tidemill status JOB --tasks`; of a job that was removed its number
    #[arg(value_name = "TASK", required = true)]
    task: Option<TaskName>,
    #[command(flatten)]
    join: Join,
    /// The directory that the files go to [default: the current one]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum What {
    Check(check::Args),
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill evidence render 12\n  tidemill evidence check 3f2a91c0-12-507.evidence\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        Some(What::Check(args)) => check::run(args),
        None => write_all(args),
    }
}

fn write_all(args: &Args) -> anyhow::Result<()> {
    let (Some(job), Some(task)) = (&args.job, &args.task) else {
        return Err(Exit::new(Code::Usage, "a job and one of its tasks are needed").into());
    };
    let (job, task, kept) = ask(&args.join, async |requester| {
        let (job, task) = find(requester, job, task).await?;
        Ok((job, task, fetch(requester, job, task).await?))
    })?;
    if kept.is_empty() {
        let message = format!("no evidence is kept of task {task} of job {}", job.short());
        return Err(Exit::new(Code::Usage, message)
            .hint(
                "there is some of results that contradict the accepted one, until the time that `tidemill serve \
                 --keep-evidence` sets is over; `tidemill explain JOB TASK` shows the results of a task",
            )
            .into());
    }
    let directory = args.out.as_deref().unwrap_or(Path::new("."));
    let mut written = Vec::new();
    for one in &kept {
        let lease = one.evidence.accused.leaf.terms.lease;
        let path = directory.join(format!("{}-{task}-{lease}.evidence", job.short()));
        write(&path, &one.evidence.to_file())?;
        written.push((path, one));
    }
    if args.json {
        let evidence = written.iter().map(|(path, one)| described(path, one)).collect();
        json::print(&api::WrittenEvidence { job_id: job.to_string(), task: task.0, evidence });
        return Ok(());
    }
    for (path, one) in &written {
        println!("{}, which the coordinator keeps for {}:", path.display(), time_left(one.until_ms));
        for line in one.evidence.words().lines() {
            println!("  {line}");
        }
    }
    println!("{}; check with `tidemill evidence check FILE`", plural(written.len() as u64, "file"));
    Ok(())
}

/// The job and the task that a person means. A job that is gone, or another's, can be meant by its whole id.
async fn find(requester: &mut Requester, job: &str, task: &TaskName) -> anyhow::Result<(JobId, TaskNumber)> {
    match requester.find(job).await {
        Ok(report) => {
            let task = requester.find_task(&report, task).await?;
            Ok((report.job, task))
        }
        Err(error) => match (job.to_ascii_lowercase().parse::<JobId>(), task) {
            (Ok(job), TaskName::Number(task)) => Ok((job, *task)),
            _ => Err(error),
        },
    }
}

/// All that a coordinator keeps of a task, if each of it proves something.
async fn fetch(requester: &mut Requester, job: JobId, task: TaskNumber) -> anyhow::Result<Vec<KeptEvidence>> {
    let (mut all, mut from) = (Vec::new(), LeaseId(0));
    loop {
        let Reply::Evidence(list) = requester.call(Request::Evidence { job, task, from }).await? else {
            return Err(off_the_protocol());
        };
        if list.is_empty() {
            return Ok(all);
        }
        for one in list {
            let terms = one.evidence.accused.leaf.terms;
            if (terms.job, terms.task) != (job, task) || terms.lease < from || all.len() >= MOST_OF_TASK {
                return Err(off_the_protocol());
            }
            one.evidence
                .check(verify)
                .with_context(|| format!("what the coordinator sent of lease {} proves nothing", terms.lease))
                .code(Code::Host)?;
            from = LeaseId(terms.lease.0.saturating_add(1));
            all.push(one);
        }
    }
}

/// Writes a file, whole or not at all. One that is there already stays if it has the same content.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let there = fs::read(path);
    if there.as_ref().is_ok_and(|there| there == content) {
        return Ok(());
    }
    if !matches!(&there, Err(error) if error.kind() == io::ErrorKind::NotFound) {
        let message = format!("{} is there already, with another content", path.display());
        return Err(Exit::new(Code::Usage, message).hint("name another directory with `--out`").into());
    }
    write_new(path, content).with_context(|| format!("cannot write {}", path.display())).code(Code::Host)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    let mut file = fs::File::create(&draft)?;
    file.write_all(content)?;
    tidemill_disk::sync_all(&file)?;
    fs::rename(&draft, path)
}

fn described(path: &Path, one: &KeptEvidence) -> api::EvidenceFile {
    let side = |leaf: &SignedLeaf| api::EvidenceSide {
        lease: leaf.terms.lease.0,
        node: leaf.terms.provider.to_string(),
        output: leaf.claim.output.map(|output| output.id.to_string()),
    };
    api::EvidenceFile {
        file: path.to_string_lossy().into_owned(),
        operator: one.operator.to_string(),
        at_ms: one.at_ms,
        kept_until_ms: one.until_ms,
        finding: one.evidence.finding.into(),
        accused: side(&one.evidence.accused.leaf),
        accepted: side(&one.evidence.accepted.leaf),
        words: one.evidence.words(),
    }
}

/// How long it is until an instant.
fn time_left(until_ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let minutes = Duration::from_millis(until_ms).saturating_sub(now).as_secs() / 60;
    match minutes {
        0..120 => plural(minutes, "minute"),
        120..2_880 => plural(minutes / 60, "hour"),
        _ => plural(minutes / 1_440, "day"),
    }
}
