//! `tidemill exec`: one task, to try a program in the sandbox.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use serde::Serialize;
use tidemill_exec::{Executor, Output, OutputBody, Task};
use tidemill_types::{
    ByteSize, Content, EXEC_VERSION, Failure, FloatClass, Fuel, GuestPath, InputSpec, Limits, Millis,
    Outcome, TaskSpec,
};

use super::read_program;
use crate::{
    exit::{self, Code, Exit, WithCode},
    here::hash_content,
    home::worker_pool,
    interrupt::on_interrupt,
    outdir::{OutDir, OutFile},
    summary::{FailureSummary, FileList, UsageSummary, seconds},
};

/// Run one program once in the sandbox and print what it used.
///
/// The program sees its inputs below /in, writes its output to /out or to standard output, and logs to
/// standard error, which is shown.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// The program, a WASI command (built for wasm32-wasip1)
    program: PathBuf,
    /// A file to put below /in, under its own name or as NAME=FILE; a directory with all that is in it
    #[arg(long, short, value_name = "[NAME=]PATH")]
    input: Vec<String>,
    /// Where the output goes [default: out/<program name>]
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// An environment variable
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// How floats are compiled: `native` compares within this processor's class, `canonical` anywhere
    #[arg(long, value_name = "CLASS", default_value = "native", value_parser = parse_floats)]
    floats: FloatClass,
    /// What the program's randomness derives from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Deterministic work, like 20G [default: 1T]
    #[arg(long, value_name = "FUEL")]
    fuel: Option<Fuel>,
    /// Linear memory, like "1 GiB" [default: 512 MiB]
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Elements of all tables [default: 100000]
    #[arg(long, value_name = "N")]
    table_elements: Option<u32>,
    /// The stack of compiled code [default: 1 MiB]
    #[arg(long, value_name = "SIZE")]
    stack: Option<ByteSize>,
    /// Bytes in /out and /tmp [default: 256 MiB]
    #[arg(long, value_name = "SIZE")]
    output: Option<ByteSize>,
    /// Files, directories and links in /out and /tmp [default: 10000]
    #[arg(long, value_name = "N")]
    files: Option<u32>,
    /// Bytes of log [default: 1 MiB]
    #[arg(long, value_name = "SIZE")]
    log: Option<ByteSize>,
    /// Elapsed time, like 90s [default: 1h]
    #[arg(long, value_name = "TIME")]
    wall_time: Option<Millis>,
    /// Print one JSON object to standard output instead of text
    #[arg(long)]
    json: bool,
    /// The program's arguments, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    outcome: &'static str,
    spec: String,
    wall_s: f64,
    usage: UsageSummary,
    log: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<OutputSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureSummary>,
}

#[derive(Serialize)]
struct OutputSummary {
    id: String,
    directory: PathBuf,
    files: Vec<OutFile>,
}

/// Marks the output directory.
#[derive(Serialize)]
struct Manifest {
    spec: String,
    output: String,
    exec_version: u32,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let program = read_program(&args.program)?;
    let mut inputs = Vec::new();
    for input in &args.input {
        add_input(input, &mut inputs)?;
    }
    inputs.sort_by(|(a, _): &(InputSpec, Content), (b, _)| a.path.cmp(&b.path));
    if let Some(pair) = inputs.windows(2).find(|pair| pair[0].0.path == pair[1].0.path) {
        let message = format!("two inputs have the name {}", pair[0].0.path);
        return Err(Exit::new(Code::Usage, message).hint("give one another name, as in NAME=FILE").into());
    }
    let (inputs, contents) = inputs.into_iter().unzip();
    let spec = TaskSpec {
        kind: program.kind,
        program: program.id,
        floats: args.floats,
        args: [vec!["program".to_owned()], args.args.clone()].concat(),
        env: environment(&args.env)?,
        inputs,
        limits: limits(args)?,
        seed: args.seed,
    };
    let stem = args.program.file_stem().unwrap_or_default();
    let out = OutDir::claim(&args.out.clone().unwrap_or_else(|| Path::new("out").join(stem)))?;
    let spool = tempfile::tempdir().context("cannot make a temporary directory").code(Code::Host)?;
    let task = Task { spec: Arc::new(spec), program, contents };
    let pool = worker_pool(1, spool.path()).code(Code::Host)?;
    let interrupted = on_interrupt()?;
    let prepared = pool.prepare(&task.program, task.spec.floats, &interrupted);
    let prepared = prepared.map_err(|failure| failed(&args.program, &failure))?;
    let report = pool.run(&task, &interrupted);

    let spec = task.spec.hash().to_string();
    let mut summary = Summary {
        outcome: "done",
        spec: spec.clone(),
        wall_s: seconds(report.wall),
        usage: UsageSummary::from(&report.usage),
        log: String::from_utf8_lossy(&report.log).into_owned(),
        output: None,
        failure: None,
    };
    if !args.json {
        show_log(&report.log).code(Code::Host)?;
    }
    let mut error = None;
    if let Outcome::Failed(failure) = &report.outcome {
        summary.outcome = "failed";
        summary.failure = Some(FailureSummary::from(failure));
        error = Some(failed(&args.program, failure));
    }
    if let Some(output) = report.output {
        summary.output = Some(place(&out, output, &spec, spool.path())?);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        let how = if prepared.cached { "compiled before" } else { "compiled" };
        println!(
            "used {} fuel in {:.3} s ({how} in {:.3} s)",
            report.usage.fuel,
            report.wall.as_secs_f64(),
            prepared.took.as_secs_f64()
        );
        println!(
            "memory {}, read {}, output {}, log {}, {} host calls",
            report.usage.memory,
            report.usage.read,
            report.usage.output,
            report.usage.log,
            report.usage.host_calls
        );
        if let Some(output) = &summary.output {
            println!("wrote {}", FileList { directory: &output.directory, files: &output.files });
        }
    }
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Shows a program's log: as it is where something else reads it, without control characters on a
/// terminal.
fn show_log(log: &[u8]) -> std::io::Result<()> {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        return stderr.write_all(exit::printable(&String::from_utf8_lossy(log)).as_bytes());
    }
    stderr.write_all(log)
}

fn failed(program: &Path, failure: &Failure) -> Exit {
    if *failure == Failure::Cancelled {
        return Exit::new(Code::Interrupted, "stopped");
    }
    let mut message = format!("{}: {failure}", program.display());
    if let Failure::Trap { backtrace, .. } = failure {
        for (place, name) in backtrace.iter().enumerate() {
            message += if place == 0 { "\n  in " } else { "\n  called from " };
            message += name;
        }
    }
    Exit::new(Code::Failed, message).hint(failure.hint())
}

fn parse_floats(text: &str) -> Result<FloatClass, String> {
    match text {
        "native" => Ok(FloatClass::Native),
        "canonical" => Ok(FloatClass::Canonical),
        _ => Err("`native` or `canonical` is expected".to_owned()),
    }
}

fn limits(args: &Args) -> anyhow::Result<Limits> {
    let default = Limits::default();
    let limits = Limits {
        fuel: args.fuel.unwrap_or(default.fuel),
        memory: args.memory.unwrap_or(default.memory),
        table_elements: args.table_elements.unwrap_or(default.table_elements),
        stack: args.stack.unwrap_or(default.stack),
        output: args.output.unwrap_or(default.output),
        files: args.files.unwrap_or(default.files),
        log: args.log.unwrap_or(default.log),
        wall_time: args.wall_time.unwrap_or(default.wall_time),
    };
    let mistakes: Vec<String> = limits.check().iter().map(ToString::to_string).collect();
    if mistakes.is_empty() { Ok(limits) } else { Err(Exit::new(Code::Usage, mistakes.join("; ")).into()) }
}

fn environment(variables: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let split = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Exit::new(Code::Usage, format!("--env {text}: NAME=VALUE is expected")).into()),
    };
    variables.iter().map(split).collect()
}

/// Adds what one `--input` names.
fn add_input(text: &str, inputs: &mut Vec<(InputSpec, Content)>) -> anyhow::Result<()> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) if !Path::new(text).exists() => (name.to_owned(), Path::new(path)),
        _ => {
            let name = Path::new(text).file_name().unwrap_or_default();
            (name.to_string_lossy().into_owned(), Path::new(text))
        }
    };
    add_path(&name, path, inputs).with_context(|| format!("--input {text}")).code(Code::Usage)
}

fn add_path(name: &str, path: &Path, inputs: &mut Vec<(InputSpec, Content)>) -> anyhow::Result<()> {
    if path.is_dir() {
        let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let inner = entry.file_name().to_string_lossy().into_owned();
            let inner = if name.is_empty() { inner } else { format!("{name}/{inner}") };
            add_path(&inner, &entry.path(), inputs)?;
        }
        return Ok(());
    }
    let path = std::path::absolute(path)?;
    let len = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    let content = Content::file(path, len);
    inputs.push((InputSpec { path: GuestPath::new(name)?, content: hash_content(&content)?, len }, content));
    Ok(())
}

/// Puts the output archive's files into the output directory.
fn place(out: &OutDir, output: Output, spec: &str, spool: &Path) -> anyhow::Result<OutputSummary> {
    let archive = match output.body {
        OutputBody::File(path) => path,
        OutputBody::Bytes(bytes) => {
            let path = spool.join("archive");
            fs::write(&path, bytes).context("cannot keep the output").code(Code::Host)?;
            path
        }
    };
    out.begin()?;
    let files = out.unpack(&archive, "")?;
    out.finish(&Manifest {
        spec: spec.to_owned(),
        output: output.id.to_string(),
        exec_version: EXEC_VERSION,
    })?;
    Ok(OutputSummary { id: output.id.to_string(), directory: out.path().to_owned(), files })
}
