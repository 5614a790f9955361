//! Which outputs are the same.

use std::io::Cursor;

use tidemill_exec::Cancel;
use tidemill_types::{ArchiveBuilder, causes};

use super::*;

fn tolerance(numbers: Numbers, absolute: f64, relative: f64) -> Tolerance {
    Tolerance::new(numbers, absolute, relative).expect("it is one")
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ArchiveBuilder::default();
    for (path, bytes) in files {
        builder.add(GuestPath::new(*path).expect("it is a path"), bytes.len() as u64);
    }
    let (mut archive, order) = builder.finish().expect("they clash with none");
    for entry in order {
        let (_, bytes) = files.iter().find(|(path, _)| *path == entry.path.as_str()).expect("it was added");
        archive.extend_from_slice(bytes);
    }
    archive
}

/// Whether outputs are the same, in memory and as files.
fn same(tolerance: &Tolerance, one: &[(&str, &[u8])], two: &[(&str, &[u8])]) -> bool {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let (one, two) = (archive(one), archive(two));
    let path = directory.path().join("two");
    std::fs::write(&path, &two).expect("a file can be written");
    let len = two.len() as u64;
    let lent = Lent::file(&path, len);
    let one = (Body::Inline(one.clone()), one.len() as u64);
    let in_memory = same_files(tolerance, &one, &(Body::Inline(two), len)).expect("they can be read");
    let as_file = same_files(tolerance, &one, &(Body::File(lent.clone()), len)).expect("they can be read");
    let turned = same_files(tolerance, &(Body::File(lent), len), &one).expect("they can be read");
    assert_eq!((in_memory, as_file), (turned, turned));
    in_memory
}

#[test]
fn numbers_in_binary_differ_by_so_much() {
    let of_f32 = |numbers: &[f32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let of_f64 = |numbers: &[f64]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let f32s = tolerance(Numbers::F32, 0.0, 1e-3);
    let long = vec![1.0_f32; 40_000];
    let mut other = long.clone();
    other[39_999] = 1.0005;
    assert!(same(&f32s, &[("a", &of_f32(&long))], &[("a", &of_f32(&other))]));
    other[20_000] = 1.01;
    assert!(!same(&f32s, &[("a", &of_f32(&long))], &[("a", &of_f32(&other))]));
    let f64s = tolerance(Numbers::F64, 1e-9, 0.0);
    assert!(same(&f64s, &[("a", &of_f64(&[1.0, f64::NAN]))], &[("a", &of_f64(&[1.0 + 1e-10, f64::NAN]))]));
    assert!(!same(&f64s, &[("a", &of_f64(&[1.0]))], &[("a", &of_f64(&[1.0, 2.0]))]));
    // What is left at the end is no number.
    assert!(!same(&f64s, &[("a", b"12345678x")], &[("a", b"12345678y")]));
    let u8s = tolerance(Numbers::U8, 1.0, 0.0);
    assert!(same(&u8s, &[("a", &[7, 9])], &[("a", &[8, 8])]));
    assert!(!same(&u8s, &[("a", &[7, 9])], &[("a", &[8, 11])]));
}

#[test]
fn outputs_have_the_same_files() {
    let u8s = tolerance(Numbers::U8, 254.0, 0.0);
    assert!(same(&u8s, &[], &[]));
    assert!(same(&u8s, &[("a", b"x"), ("b/c", b"")], &[("b/c", b""), ("a", b"y")]));
    assert!(!same(&u8s, &[("a", b"x")], &[]));
    assert!(!same(&u8s, &[("a", b"x")], &[("b", b"x")]));
    assert!(!same(&u8s, &[("a", b"x")], &[("a", b"xy")]));
}

#[test]
fn numbers_in_texts_differ_by_so_much() {
    let text = tolerance(Numbers::Text, 1e-3, 0.0);
    for (one, two, expected) in [
        ("", "", true),
        ("energy: -1.2345 J\n", "energy: -1.2349 J\n", true),
        ("energy: -1.2345 J\n", "energy: -1.2445 J\n", false),
        ("energy: 1 J\n", "energy: 1 K\n", false),
        ("1,2.0,3e0\n", "1.0,2,30e-1\n", true),
        ("1 2\n", "1  2\n", false),
        ("1\n2\n", "1\n", false),
        ("1\n", "1", false),
        ("a-1", "a-1.0001", true),
        ("1-2", "1-2.0001", true),
        (".5", "0.5", true),
        ("5.", "5", true),
        ("1e", "1e", true),
        ("1e+", "1e+", true),
        (".", ".", true),
        (".", "0", false),
        ("nan", "nan", true),
        ("1e999", "2e999", true),
        ("1e999", "1", false),
        ("0x10", "0x10", true),
    ] {
        let [a, b] = [one, two].map(|text| Cursor::new(text.as_bytes().to_vec()));
        assert_eq!(same_lines(&text, a, b).expect("they can be read"), expected, "{one:?} {two:?}");
    }
    assert!(same(&text, &[("a", b"x 1.0\n")], &[("a", b"x 1.0001\n")]), "their lengths differ");
}

#[test]
fn any_bytes_are_the_same_as_themselves() {
    for numbers in [Numbers::U8, Numbers::F32, Numbers::F64, Numbers::Text] {
        let tolerance = tolerance(numbers, 1.5, 0.0);
        for seed in 0..50_u8 {
            let bytes: Vec<u8> =
                (0..999_u32).map(|i| (i.wrapping_mul(31 + u32::from(seed)) >> 3) as u8).collect();
            assert!(same(&tolerance, &[("a", &bytes)], &[("a", &bytes)]));
        }
    }
}

/// Says what its answer is to every task.
struct Says(Outcome);

impl Executor for Says {
    fn capabilities(&self) -> tidemill_exec::Capabilities {
        unreachable!("nobody asks")
    }

    fn prepare(&self, _: &Task, _: &Cancel) -> Result<tidemill_exec::Prepared, Failure> {
        unreachable!("nobody asks")
    }

    fn run(&self, task: &Task, _: &Control) -> tidemill_exec::Report {
        let paths: Vec<_> = task.spec.inputs.iter().map(|input| input.path.to_string()).collect();
        assert_eq!(paths, ["a/x/y", "b/x/y"]);
        let bytes: Vec<_> = task.contents.iter().map(|content| content.segments.clone()).collect();
        assert_eq!(bytes[0], [Segment::Bytes(b"one".to_vec())]);
        assert!(matches!(&bytes[1][..], [Segment::File { len: 3, .. }]));
        assert_eq!(task.spec.limits.check(task.spec.kind), []);
        tidemill_exec::Report {
            outcome: self.0.clone(),
            usage: tidemill_types::Usage::default(),
            output: None,
            log: Vec::new(),
            wall: std::time::Duration::ZERO,
        }
    }
}

#[test]
fn a_program_says_what_is_the_same() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let (one, two) = (archive(&[("x/y", b"one")]), archive(&[("x/y", b"two")]));
    let path = directory.path().join("two");
    std::fs::write(&path, &two).expect("a file can be written");
    let one = (Body::Inline(one.clone()), one.len() as u64);
    let two = (Body::File(Lent::file(&path, two.len() as u64)), two.len() as u64);
    let ask = |outcome| {
        let says = Says(outcome);
        says_same(&says, Program::wasm(*b"program"), &one, &two)
    };
    let exit = |code| Outcome::Failed(Failure::Exit { code, stderr: String::new() });
    assert!(ask(Outcome::Done).expect("it has said so"));
    assert!(!ask(exit(1)).expect("it has said so"));
    assert!(!ask(exit(2)).expect("whatever goes wrong with it is its own doing"));
    let broken =
        ask(Outcome::Failed(Failure::Host { reason: "no memory".to_owned() })).expect_err("it is not");
    assert!(causes(&broken).contains("no memory"));
    let slow = ask(Outcome::Failed(Failure::WallTime { limit: Millis(1) }));
    assert!(matches!(slow, Err(CompareError::Stopped(_))), "this machine may have been too slow");
}

#[tokio::test]
async fn one_of_each_job_in_turn() {
    let turns = Arc::new(Turns::default());
    let (a, b) = (JobId([1; 16]), JobId([2; 16]));
    let first = turns.take(a).await.expect("nobody has one");
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut waiting = Vec::new();
    for (job, number) in [(a, 1), (a, 2), (a, 3), (b, 4), (b, 5)] {
        let (turns, said) = (turns.clone(), said.clone());
        let take = async move {
            let turn = turns.take(job).await.expect("it comes");
            said.send(number).expect("somebody listens");
            drop(turn);
        };
        waiting.push(tokio::spawn(take));
        // Each waits before the next comes.
        tokio::task::yield_now().await;
    }
    drop(first);
    for one in waiting {
        one.await.expect("it ends");
    }
    let mut order = Vec::new();
    while let Ok(number) = heard.try_recv() {
        order.push(number);
    }
    let place = |number| order.iter().position(|other| *other == number).expect("it had a turn");
    assert!(place(4) < place(2), "the other job waits for one at most: {order:?}");
    assert!(place(5) < place(3), "the other job waits for one at most: {order:?}");
    assert!(place(1) < place(2) && place(2) < place(3) && place(4) < place(5), "{order:?}");
    let _ = turns.take(JobId([3; 16])).await.expect("nobody has one");
    assert_eq!(turns.of_job.lock().expect("nobody panicked").len(), 1, "jobs that are over are forgotten");
}
