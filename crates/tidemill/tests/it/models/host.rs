//! The worker that hosts models, without a job around it.

use std::{
    ffi::OsString,
    num::NonZeroU64,
    path::PathBuf,
    sync::{Arc, mpsc::channel},
    thread,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tidemill_exec::{
    Cancel, Chunks, Control, Executor, Follow, OutputBody, Piece, Program, Report, Task, UnlistedCalls,
    WorkerCommand,
};
use tidemill_modelhost::{ANSWERS, ModelHost, ModelHostConfig};
use tidemill_types::{
    Archive, BlobId, ByteSize, CLAIMS_FILE, Content, Failure, FloatClass, GuestPath, InputSpec, Limits,
    Outcome, ProgramKind, TaskSpec, Usage,
};

use super::{answers, lines, model, text_of};
use crate::{
    processes::signal,
    support::{LIMIT, Place, TIDEMILL, wait_for},
};

/// A host with a directory of its own.
struct Host {
    host: ModelHost,
    _spool: TempDir,
}

fn host(memory: ByteSize) -> Host {
    let spool = tempfile::tempdir().expect("a temporary directory");
    let command = WorkerCommand { program: PathBuf::from(TIDEMILL), args: vec![OsString::from("worker")] };
    // Each test here also says whether a worker needs a system call that is not on its list.
    let unlisted = UnlistedCalls::Fatal;
    let config = ModelHostConfig { command, spool: spool.path().to_owned(), threads: 2, memory, unlisted };
    Host { host: ModelHost::new(config), _spool: spool }
}

/// One for a provider in this process.
pub(super) fn executor(place: &Place) -> Arc<dyn Executor> {
    let command = WorkerCommand { program: PathBuf::from(TIDEMILL), args: vec![OsString::from("worker")] };
    Arc::new(ModelHost::new(ModelHostConfig {
        command,
        spool: place.path(""),
        threads: 1,
        memory: ByteSize::mib(2_048),
        unlisted: UnlistedCalls::Refused,
    }))
}

fn task(model: Vec<u8>, input: &str, change: impl FnOnce(&mut Limits)) -> Task {
    let program = Program::new(BlobId::of(&model), ProgramKind::Infer, Content::bytes(model));
    let mut limits = Limits { memory: ByteSize::mib(64), ..Limits::default() };
    change(&mut limits);
    let input = Content::bytes(input.as_bytes());
    let spec = TaskSpec {
        kind: ProgramKind::Infer,
        program: program.id,
        floats: FloatClass::Canonical,
        args: vec!["tiny".to_owned()],
        env: Vec::new(),
        inputs: vec![InputSpec {
            path: GuestPath::new("requests.jsonl").expect("a path"),
            content: BlobId::of(&input_bytes(&input)),
            len: input.len(),
        }],
        limits,
        seed: 7,
    };
    Task { spec: Arc::new(spec), program, contents: vec![input] }
}

fn input_bytes(content: &Content) -> Vec<u8> {
    content
        .segments
        .iter()
        .flat_map(|segment| match segment {
            tidemill_types::Segment::Bytes(bytes) => bytes.clone(),
            tidemill_types::Segment::File { .. } => panic!("it is in memory"),
        })
        .collect()
}

/// A file of an output.
#[track_caller]
fn file(report: &Report, name: &str) -> Vec<u8> {
    assert_eq!(report.outcome, Outcome::Done);
    let output = report.output.as_ref().expect("an output");
    let bytes = match &output.body {
        OutputBody::Bytes(bytes) => bytes.clone(),
        OutputBody::File(path) => std::fs::read(path).expect("an output"),
    };
    assert_eq!((BlobId::of(&bytes), bytes.len() as u64), (output.id, output.len));
    let archive = Archive::parse(&bytes).expect("an archive");
    let (entry, start) = archive.files().find(|(entry, _)| entry.path.as_str() == name).expect("the file");
    bytes[start as usize..][..entry.len as usize].to_vec()
}

fn run(host: &Host, task: &Task) -> Report {
    host.host.run(task, &Control::of(&Cancel::default()))
}

fn failure(report: Report) -> Failure {
    match report.outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Done => panic!("it is done"),
    }
}

#[test]
fn tasks_that_run_together_have_the_answers_that_each_has_alone() {
    let together = host(ByteSize::mib(256));
    let task_of = |number: usize| task(model(20 + number as u64 % 2), &lines(3 + number, "tiny", 20), |_| {});
    let tasks: Vec<Task> = (0..6).map(task_of).collect();
    let reports: Vec<Report> = thread::scope(|scope| {
        let runs: Vec<_> = tasks.iter().map(|task| scope.spawn(|| run(&together, task))).collect();
        runs.into_iter().map(|run| run.join().expect("it ends")).collect()
    });
    for (task, report) in tasks.iter().zip(&reports) {
        let alone = run(&host(ByteSize::mib(64)), task);
        assert_eq!(file(report, ANSWERS), file(&alone, ANSWERS));
        assert_eq!(file(report, CLAIMS_FILE), file(&alone, CLAIMS_FILE));
        assert_eq!(report.usage, alone.usage, "what is billed depends on nobody beside it");
        let all = answers(&file(report, ANSWERS));
        assert!(all.iter().all(|answer| !text_of(answer).is_empty()));
        assert_eq!(answers(&file(report, CLAIMS_FILE)).len(), all.len());
        assert!(report.usage.tokens.cached > 0 && report.usage.tokens.cached < report.usage.tokens.input);
    }
}

#[test]
fn a_draft_changes_no_answer_whatever_it_says() {
    let host = host(ByteSize::mib(64));
    let task = task(model(20), &lines(3, "tiny", 40), |_| {});
    let right = run(&host, &task);
    let claims = answers(&file(&right, CLAIMS_FILE));
    let tokens = claims.iter().map(|line| format!("[{}]\n", line["claims"][0]["tokens"]));
    let tokens: String = tokens.collect();
    let wrong = tokens.replace('3', "4");
    for draft in [tokens.as_str(), &wrong, "[[1,2,3]]", "no draft", "[[4000000000]]\n[[]]"] {
        let control = Control { draft: Some(Arc::from(draft.as_bytes())), ..Control::default() };
        let again = host.host.run(&task, &control);
        assert_eq!(file(&again, CLAIMS_FILE), file(&right, CLAIMS_FILE), "{draft}");
        assert_eq!((file(&again, ANSWERS), again.usage), (file(&right, ANSWERS), right.usage), "{draft}");
    }
}

#[test]
fn models_take_turns_where_there_is_memory_for_one() {
    let host = host(ByteSize::mib(64));
    let tasks: Vec<Task> = (0..3).map(|seed| task(model(seed), &lines(2, "tiny", 8), |_| {})).collect();
    let run_all = || -> Vec<Vec<u8>> {
        thread::scope(|scope| {
            let runs: Vec<_> =
                tasks.iter().map(|task| scope.spawn(|| file(&run(&host, task), ANSWERS))).collect();
            runs.into_iter().map(|run| run.join().expect("it ends")).collect()
        })
    };
    let first = run_all();
    assert_eq!(first, run_all());
    assert!(first[0] != first[1] && first[1] != first[2]);
}

#[test]
fn what_is_written_is_seen_as_lines_while_it_runs_and_a_cancelled_task_leaves_the_others() {
    let host = host(ByteSize::mib(256));
    let endless = task(model(20), &lines(200, "tiny", 400), |_| {});
    let (follow, cancel) = (Follow::default(), Cancel::default());
    let (sender, pieces) = channel();
    let chunks = Chunks::to(&follow, move |piece: Piece<'_>| {
        let _ = sender.send((piece.offset, piece.bytes.to_vec()));
    });
    follow.begin(NonZeroU64::MIN);
    let control = Control { cancel: cancel.clone(), chunks, draft: None };
    thread::scope(|scope| {
        let followed = scope.spawn(|| host.host.run(&endless, &control));
        let other = scope.spawn(|| run(&host, &task(model(20), &lines(4, "tiny", 64), |_| {})));
        let mut seen = Vec::new();
        while seen.iter().filter(|byte| **byte == b'\n').count() < 3 {
            let (offset, bytes) = pieces.recv_timeout(LIMIT).expect("a piece");
            assert_eq!(offset, seen.len() as u64);
            seen.extend(bytes);
        }
        let whole = seen.iter().rposition(|byte| *byte == b'\n').expect("a line") + 1;
        for said in answers(&seen[..whole]) {
            assert!(said["line"].as_u64() < Some(200) && said["index"] == 0, "{said}");
            assert!(said["delta"].is_string(), "{said}");
        }
        cancel.cancel();
        let report = followed.join().expect("it ends");
        assert_eq!(failure(report), Failure::Cancelled);
        assert_eq!(answers(&file(&other.join().expect("it ends"), ANSWERS)).len(), 4);
    });
}

#[test]
fn a_worker_that_is_killed_is_replaced() {
    let host = host(ByteSize::mib(256));
    let endless = task(model(20), &lines(200, "tiny", 400), |_| {});
    let report = thread::scope(|scope| {
        let (follow, cancel) = (Follow::default(), Cancel::default());
        let (sender, pieces) = channel();
        let chunks = Chunks::to(&follow, move |_: Piece<'_>| {
            let _ = sender.send(());
        });
        follow.begin(NonZeroU64::MIN);
        let control = Control { cancel, chunks, draft: None };
        let endless = &endless;
        let running = scope.spawn(|| {
            let control = control;
            host.host.run(endless, &control)
        });
        pieces.recv_timeout(LIMIT).expect("it writes");
        signal(host.host.pid().expect("a worker"), Signal::KILL);
        running.join().expect("it ends")
    });
    assert_eq!(report.usage, Usage::default());
    assert!(matches!(failure(report), Failure::WorkerDied { .. }));
    wait_for("its end", || host.host.pid().is_none().then_some(()));
    let again = run(&host, &task(model(20), &lines(2, "tiny", 8), |_| {}));
    assert_eq!(answers(&file(&again, ANSWERS)).len(), 2);
}

#[test]
fn what_does_not_fit_is_refused_with_a_reason() {
    let host = host(ByteSize::mib(64));
    let more = task(model(20), &lines(1, "tiny", 8), |limits| limits.memory = ByteSize::mib(65));
    assert!(matches!(failure(run(&host, &more)), Failure::Host { reason } if reason.contains("64 MiB")));
    let less = task(model(20), &lines(1, "tiny", 8), |limits| limits.memory = ByteSize::kib(64));
    assert!(matches!(failure(run(&host, &less)), Failure::Memory { .. }));
    let none = task(model(20), "\n\n", |_| {});
    assert!(matches!(failure(run(&host, &none)), Failure::Requests { .. }));
    // Whatever was refused, the worker goes on.
    assert_eq!(run(&host, &task(model(20), &lines(1, "tiny", 8), |_| {})).outcome, Outcome::Done);
}
