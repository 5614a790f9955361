//! `tidemill exec`: one task, to try a program in the sandbox.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use serde::Serialize;
use tidemill_api as api;
use tidemill_exec::{Cancel, Control, Executor, Output, OutputBody, Prepared, Report, Task};
use tidemill_job::{MAX_ARG0_BYTES, is_arg0};
use tidemill_scratch::Scratch;
use tidemill_types::{
    ByteSize, Content, Failure, FloatClass, Fuel, GuestPath, InputSpec, Limits, Millis, Outcome, ProgramKind,
    TaskSpec, Usage, lines,
};
use tidemill_web::told::seconds;

use super::{check_floats, read_program};
use crate::{
    exit::{self, Code, Exit, WithCode},
    here::hash_content,
    home::worker_pool,
    interrupt::on_interrupt,
    json,
    outdir::OutDir,
    summary::{FileList, functions, plural},
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
    /// The program's own name, which it finds before its arguments
    #[arg(long, value_name = "NAME", default_value = "program", value_parser = arg0)]
    arg0: String,
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
    /// Print one JSON object to standard output instead of text (none when the usage is wrong)
    #[arg(long)]
    json: bool,
    /// The program's arguments, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

/// Marks the output directory.
#[derive(Serialize)]
struct Manifest {
    spec: String,
    output: String,
    exec_version: u32,
}

fn arg0(text: &str) -> Result<String, String> {
    match is_arg0(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("a program's name has 1 to {MAX_ARG0_BYTES} bytes")),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let program = read_program(&args.program)?;
    let interrupted = on_interrupt()?;
    let mut inputs = Vec::new();
    for input in &args.input {
        add_input(input, &interrupted, &mut inputs)?;
    }
    inputs.sort_by(|(a, _): &(InputSpec, Content), (b, _)| a.path.cmp(&b.path));
    if let Some(path) = GuestPath::first_clash(inputs.iter().map(|(input, _)| &input.path)) {
        let message = format!("two inputs cannot both be there because of the name {path}");
        return Err(Exit::new(Code::Usage, message).hint("give one another name, as in NAME=FILE").into());
    }
    let (inputs, contents) = inputs.into_iter().unzip();
    let spec = TaskSpec {
        kind: program.kind,
        program: program.id,
        floats: args.floats,
        args: [vec![args.arg0.clone()], args.args.clone()].concat(),
        env: environment(&args.env)?,
        inputs,
        limits: limits(args)?,
        seed: args.seed,
    };
    let stem = args.program.file_stem().unwrap_or_default();
    let out = OutDir::claim(&args.out.clone().unwrap_or_else(|| Path::new("out").join(stem)))?;
    let spool = Scratch::temporary().context("cannot make a temporary directory").code(Code::Host)?;
    let task = Task { spec: Arc::new(spec), program, contents };
    let pool = worker_pool(1, spool.path()).code(Code::Host)?;
    check_floats(&pool, args.floats)?;
    let (prepared, report) = match pool.prepare(&task, &interrupted) {
        Ok(prepared) => (Some(prepared), pool.run(&task, &Control::of(&interrupted))),
        Err(failure) => (None, Report::not_run(failure)),
    };
    let spec = task.spec.hash().to_string();
    let failure = match &report.outcome {
        Outcome::Done => None,
        Outcome::Failed(failure) => Some(failure.clone()),
    };
    let mut summary = api::Exec {
        outcome: match &failure {
            None => api::Outcome::Done,
            Some(Failure::Cancelled) => api::Outcome::Interrupted,
            Some(_) => api::Outcome::Failed,
        },
        spec: spec.clone(),
        wall_s: seconds(report.wall),
        usage: api::Usage::from(&report.usage),
        log: String::from_utf8_lossy(&report.log).into_owned(),
        output: None,
        failure: failure.as_ref().map(api::Failure::from),
    };
    if let Some(output) = report.output {
        summary.output = Some(place(&out, output, &spec, spool.path())?);
    }
    if args.json {
        json::print(&summary);
    } else {
        // As other words for people: where standard error takes none, the command goes on.
        let _ = show_log(&report.log);
        if let Some(prepared) = prepared {
            print_usage(&report.usage, report.wall, prepared);
        }
        if let Some(output) = &summary.output {
            println!("wrote {}", FileList::of(output));
        }
    }
    match (failure, &summary.failure) {
        (Some(failure), Some(words)) => Err(failed(&args.program, &failure, words).into()),
        _ => Ok(()),
    }
}

fn print_usage(usage: &Usage, wall: Duration, prepared: Prepared) {
    let how = if prepared.cached { "compiled before" } else { "compiled" };
    let (wall, took) = (wall.as_secs_f64(), prepared.took.as_secs_f64());
    println!("used {} fuel in {wall:.3} s ({how} in {took:.3} s)", usage.fuel);
    println!(
        "memory {}, read {}, output {}, log {}, {}",
        usage.memory,
        usage.read,
        usage.output,
        usage.log,
        plural(usage.host_calls, "host call")
    );
}

/// Shows a program's log: as it is where something else reads it, without control characters on a
/// terminal.
fn show_log(log: &[u8]) -> std::io::Result<()> {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        return stderr.write_all(lines(&String::from_utf8_lossy(log)).as_bytes());
    }
    stderr.write_all(log)
}

fn failed(program: &Path, failure: &Failure, words: &api::Failure) -> Exit {
    if *failure == Failure::Cancelled {
        return Exit::new(Code::Interrupted, "stopped");
    }
    // The log has been shown already.
    let message = format!("{}: {failure}\n{}", program.display(), functions(words));
    Exit::new(Code::of(failure), message.trim_end()).hint(failure.hint())
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
        ..default
    };
    let mistakes: Vec<String> = limits.check(ProgramKind::Wasm).iter().map(ToString::to_string).collect();
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
fn add_input(text: &str, cancel: &Cancel, inputs: &mut Vec<(InputSpec, Content)>) -> anyhow::Result<()> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) if !Path::new(text).exists() => (name.to_owned(), Path::new(path)),
        _ => (
            own_name(Path::new(text)).with_context(|| format!("--input {text}")).code(Code::Usage)?,
            Path::new(text),
        ),
    };
    if name.is_empty() {
        let message = format!("--input {text}: there is no name for it below /in");
        return Err(Exit::new(Code::Usage, message).hint("give it one, as in NAME=PATH").into());
    }
    let before = inputs.len();
    add_path(&name, path, cancel, inputs).with_context(|| format!("--input {text}")).code(Code::Usage)?;
    if inputs.len() == before {
        eprintln!("warning: --input {text}: the directory is empty, and a program does not see it");
    }
    Ok(())
}

/// The name of a file or directory, by whatever path: that of `.` is the directory's. The root has none.
fn own_name(path: &Path) -> anyhow::Result<String> {
    let whole = match path.file_name() {
        Some(_) => path.to_owned(),
        None => fs::canonicalize(path)?,
    };
    let Some(name) = whole.file_name() else { return Ok(String::new()) };
    Ok(name.to_str().with_context(|| format!("{} is not UTF-8", whole.display()))?.to_owned())
}

fn add_path(
    name: &str,
    path: &Path,
    cancel: &Cancel,
    inputs: &mut Vec<(InputSpec, Content)>,
) -> anyhow::Result<()> {
    let path = std::path::absolute(path)?;
    let metadata = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_dir() {
        return add_directory(name, &path, cancel, inputs);
    }
    // A pipe or a device has no length to be measured by, and no second reading.
    anyhow::ensure!(metadata.is_file(), "{} is not a file", path.display());
    let content = Content::file(path, metadata.len());
    let path = GuestPath::new(name)?;
    inputs.push((InputSpec { path, content: hash_content(&content, cancel)?, len: metadata.len() }, content));
    Ok(())
}

fn add_directory(
    name: &str,
    directory: &Path,
    cancel: &Cancel,
    inputs: &mut Vec<(InputSpec, Content)>,
) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // A link to a directory above would have no end.
        let is_link = entry.file_type()?.is_symlink();
        anyhow::ensure!(!(is_link && path.is_dir()), "{} is a link to a directory", path.display());
        let inner = entry.file_name();
        let inner = inner.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        add_path(&format!("{name}/{inner}"), &path, cancel, inputs)?;
    }
    Ok(())
}

/// Puts the output archive's files into the output directory.
fn place(out: &OutDir, output: Output, spec: &str, spool: &Path) -> anyhow::Result<api::Output> {
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
        exec_version: ProgramKind::Wasm.version(),
    })?;
    let directory = out.path().to_string_lossy().into_owned();
    Ok(api::Output { id: output.id.to_string(), directory, files })
}
