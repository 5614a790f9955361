//! Runs the public WASI test suite's preview 1 programs in the sandbox.
//!
//! `cargo xtask wasi-testsuite DIR` calls this with a checkout of WebAssembly/wasi-testsuite that holds
//! built programs (its branch `prod/testsuite-base`). Each `*.wasm` below a folder `wasm32-wasip1` is one
//! test; a `.json` beside it may say its arguments, environment, root directory and what it should print.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use serde::Deserialize;
use tidemill_exec::{Backend, Control, Executor, Layout, OutputBody, Program, Task, WasmExecutor};
use tidemill_types::{Archive, Failure, FloatClass, GuestPath, Limits, Outcome, ProgramKind, TaskSpec};

/// Where the sandbox is something else than the suite expects, on purpose.
const DEVIATIONS: &[(&str, &str)] = &[];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Specification {
    args: Vec<String>,
    env: BTreeMap<String, String>,
    root: Option<String>,
    exit_code: u32,
    stdout: Option<String>,
    stderr: Option<String>,
}

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: wasi_testsuite DIR");
        return ExitCode::from(2);
    };
    let mut programs = Vec::new();
    find_programs(Path::new(&directory), &mut programs);
    programs.sort();
    if programs.is_empty() {
        eprintln!(
            "no preview 1 programs under {}: check out the branch prod/testsuite-base of WebAssembly/wasi-testsuite",
            Path::new(&directory).display()
        );
        return ExitCode::from(2);
    }
    let (mut passed, mut failed) = (0, 0);
    let mut known = BTreeMap::from_iter(DEVIATIONS.iter().copied());
    for program in &programs {
        let name = name_of(program);
        let deviation = known.remove(name.as_str());
        match (run(program), deviation) {
            (Ok(()), None) => passed += 1,
            (Err(found), Some(reason)) => {
                passed += 1;
                println!("deviates {name}: {reason} ({})", found.lines().next().unwrap_or_default());
            }
            (Ok(()), Some(_)) => {
                failed += 1;
                println!("FAILED {name}: it is listed as a deviation and passes");
            }
            (Err(found), None) => {
                failed += 1;
                println!("FAILED {name}: {found}");
            }
        }
    }
    for name in known.keys() {
        failed += 1;
        println!("FAILED {name}: it is listed as a deviation and is not in the suite");
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `rust/fd_readdir`: the language's folder and the file's name.
fn name_of(program: &Path) -> String {
    let language = program.ancestors().nth(3).and_then(Path::file_name).unwrap_or_default();
    let stem = program.file_stem().unwrap_or_default();
    format!("{}/{}", language.to_string_lossy(), stem.to_string_lossy())
}

fn find_programs(directory: &Path, programs: &mut Vec<PathBuf>) {
    let Ok(listing) = fs::read_dir(directory) else { return };
    for path in listing.flatten().map(|entry| entry.path()) {
        let in_suite = path.parent().is_some_and(|parent| parent.ends_with("testsuite/wasm32-wasip1"));
        if path.is_dir() {
            find_programs(&path, programs);
        } else if in_suite && path.extension().is_some_and(|extension| extension == "wasm") {
            programs.push(path);
        }
    }
}

fn run(path: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let specification: Specification = match fs::read(path.with_extension("json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string())?,
        Err(_) => Specification::default(),
    };
    let layout = match &specification.root {
        None => Layout::Bare,
        Some(root) => {
            let root = path.with_file_name(root);
            let mut files = Vec::new();
            collect_files(&root, &root, &mut files).map_err(text)?;
            Layout::Scratch(files)
        }
    };
    let program = Program::wasm(fs::read(path).map_err(text)?);
    let mut args = vec![path.file_name().unwrap_or_default().to_string_lossy().into_owned()];
    args.extend(specification.args);
    let spec = TaskSpec {
        kind: ProgramKind::Wasm,
        program: program.id,
        floats: FloatClass::Native,
        args,
        env: specification.env.into_iter().collect(),
        inputs: Vec::new(),
        limits: Limits::default(),
        seed: 0,
    };
    let task = Task { spec: Arc::new(spec), program, contents: Vec::new() };
    let executor = WasmExecutor::new(Backend::Sandbox, layout);
    let report = executor.run(&task, &Control::default());
    let log = String::from_utf8_lossy(&report.log).into_owned();
    let code = match &report.outcome {
        Outcome::Done => 0,
        Outcome::Failed(Failure::Exit { code, .. }) => *code,
        Outcome::Failed(failure) => return Err(format!("{failure}\n{log}")),
    };
    if code != specification.exit_code {
        return Err(format!("exit code {code} instead of {}\n{log}", specification.exit_code));
    }
    if code == 0
        && let Some(expected) = specification.stdout
    {
        let found = report.output.map(|output| stdout(&output.body)).transpose()?.unwrap_or_default();
        if found != expected {
            return Err(format!("printed {found:?} instead of {expected:?}"));
        }
    }
    match specification.stderr {
        Some(expected) if expected != log => Err(format!("logged {log:?} instead of {expected:?}")),
        _ => Ok(()),
    }
}

fn collect_files(
    root: &Path,
    directory: &Path,
    files: &mut Vec<(GuestPath, Vec<u8>)>,
) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_files(root, &path, files)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            let name = GuestPath::new(name).map_err(std::io::Error::other)?;
            files.push((name, fs::read(&path)?));
        }
    }
    Ok(())
}

fn stdout(body: &OutputBody) -> Result<String, String> {
    let bytes = match body {
        OutputBody::Bytes(bytes) => bytes.clone(),
        OutputBody::File(path) => fs::read(path).map_err(|error| error.to_string())?,
    };
    let archive = Archive::parse(&bytes).map_err(|error| error.to_string())?;
    let found = archive.files().find(|(entry, _)| entry.path.as_str() == "stdout");
    let text = found.map(|(entry, start)| {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let len = usize::try_from(entry.len).unwrap_or(0);
        String::from_utf8_lossy(&bytes[start..start + len]).into_owned()
    });
    Ok(text.unwrap_or_default())
}
