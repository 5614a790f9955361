//! A job file on its way into a command.

use std::{
    path::{Path, PathBuf},
    string::FromUtf8Error,
};

use tidemill_exec::check_module;
use tidemill_job::{Form, JobFile, Plan, expand};
use tidemill_types::{ByteSize, Limits, ProgramKind};

use crate::{
    commands::{read_file, read_program},
    exit::{Code, Exit, WithCode},
    models,
};

/// The longest job file that is read; a longer one is no job file.
const MAX_JOB_FILE_BYTES: u64 = 16 << 20;

/// Reads and checks a job file, and finds its inputs.
///
/// # Errors
/// With [`Code::Usage`], all mistakes at once; with [`Code::Host`] where a compressed input finds no room.
pub fn read(path: &Path) -> anyhow::Result<(JobFile, Plan)> {
    let (mut file, directory) = read_file_alone(path)?;
    models::find(&mut file, &directory)?;
    let plan = expand(&file, &directory).map_err(|errors| {
        let message = match errors.count() {
            1 => errors.to_string(),
            count => format!("there are {count} mistakes in what the job file names\n\n{errors}"),
        };
        match errors.are_of_this_machine() {
            true => Exit::new(Code::Host, message).hint(
                "make room there, or have TMPDIR name a directory with room for what the files unpack to",
            ),
            false => Exit::new(Code::Usage, message),
        }
    })?;
    Ok((file, plan))
}

/// Looks at the programs of a job from outside, before anybody is given them: what is no program is told of at once.
///
/// # Errors
/// With [`Code::Usage`], all that are none at once, or when one cannot be read.
pub fn check_programs(file: &JobFile, plan: &Plan) -> anyhow::Result<()> {
    let reduce = plan.reduce().map(|reduce| reduce.program());
    // What is wrong with a model, a worker says: nothing of a stranger's is read outside of one.
    let map = (file.program.kind == ProgramKind::Wasm).then(|| plan.map_program());
    let mut programs: Vec<&Path> = [map, reduce, plan.comparer()].into_iter().flatten().collect();
    programs.sort();
    programs.dedup();
    let (mut words, mut hint) = (Vec::new(), None);
    for path in programs {
        let read = read_program(path)?.read();
        if let Err(failure) = read.and_then(|bytes| check_module(&bytes)) {
            words.push(format!("{}: {failure}", path.display()));
            hint = hint.or(Some(failure.hint()));
        }
    }
    match hint {
        Some(hint) => Err(Exit::new(Code::Usage, words.join("\n")).hint(hint).into()),
        None => Ok(()),
    }
}

/// Reads and checks a job file. Gives the directory that its paths are relative to.
fn read_file_alone(path: &Path) -> anyhow::Result<(JobFile, PathBuf)> {
    let bytes = read_file(path, MAX_JOB_FILE_BYTES)
        .map_err(|error| error.context("the job file"))
        .code(Code::Usage)?;
    if bytes.starts_with(b"\0asm") {
        let message = format!("{} is a program, not a job file", path.display());
        return Err(Exit::new(Code::Usage, message).hint("run one program with `tidemill exec`").into());
    }
    let text = String::from_utf8(bytes).map_err(|error| not_text(path, &error))?;
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

/// The error of a job file that is not UTF-8: what it is instead, where its bytes tell.
fn not_text(path: &Path, error: &FromUtf8Error) -> Exit {
    let (what, hint) = match Form::of(error.as_bytes()) {
        Form::Wide(encoding) => (format!("{encoding} text"), "save it as UTF-8"),
        Form::Compressed(compression) => (format!("compressed ({compression})"), "unpack it first"),
        Form::Plain => (format!("not UTF-8 text: {error}"), "save it as UTF-8"),
    };
    Exit::new(Code::Usage, format!("the job file {} is {what}", path.display())).hint(hint)
}

/// The most memory that one task may take that is a program of WebAssembly.
pub fn program_memory(file: &JobFile, plan: &Plan) -> ByteSize {
    match file.program.kind {
        ProgramKind::Wasm => task_memory(file, plan),
        ProgramKind::Infer => plan.reduce().map_or(Limits::LEAST.memory, |reduce| reduce.memory()),
    }
}

/// The most memory that one task may take.
pub fn task_memory(file: &JobFile, plan: &Plan) -> ByteSize {
    let reduce = plan.reduce().map_or(ByteSize(0), |reduce| reduce.memory());
    file.resources.memory.max(reduce)
}
