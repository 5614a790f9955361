//! What the operating system holds workers to, seen from outside.

use std::{fs, sync::Arc, thread};

use rustix::process::Signal;
use tidemill_exec::{Cancel, Confinement, Measure};
use tidemill_types::{BlobId, Content, Failure, GuestPath, InputSpec, Outcome, Segment, TaskSpec};

use super::{Pool, archive_bytes, endless, failure, pool, task};
use crate::{
    processes::{Worker, signal},
    puppet::{echo, puppet},
    support::wait_for,
};

/// A pool with a worker of each kind, and what the one that runs says of itself.
fn with_workers() -> (Pool, Vec<Worker>, Confinement) {
    let pool = pool();
    assert_eq!(pool.stdout(&["quick"]), echo(&["quick"]));
    let confinement = pool.pool.confinement().expect("a worker");
    let workers = pool.workers();
    assert_eq!(workers.len(), 2, "one for compiling, one for running");
    (pool, workers, confinement)
}

#[test]
fn a_worker_has_no_privileges_and_a_filter() {
    let (_pool, workers, confinement) = with_workers();
    for worker in workers {
        for (name, value) in [
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
            ("CapInh", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
            ("CapEff", "0000000000000000"),
        ] {
            assert_eq!(worker.status(name).as_deref(), Some(value), "{name} of {worker:?}");
        }
    }
    for measure in [Measure::Privileges, Measure::SystemCalls, Measure::Memory, Measure::Counts] {
        assert!(confinement.has(measure), "{confinement:?}");
    }
}

#[test]
fn a_worker_is_in_namespaces_of_its_own_where_it_says_so() {
    let (_pool, workers, confinement) = with_workers();
    let kinds = [
        (Measure::User, "user"),
        (Measure::EmptyRoot, "mnt"),
        (Measure::Network, "net"),
        (Measure::Processes, "pid"),
        (Measure::Ipc, "ipc"),
    ];
    for worker in workers {
        for (measure, kind) in kinds {
            // The links of a process that nobody may trace are for root alone.
            let Some(found) = worker.namespace(kind) else { continue };
            let ours = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
            if confinement.has(measure) {
                assert_ne!(found, ours, "{kind} of {worker:?}");
            }
        }
        if confinement.has(Measure::EmptyRoot)
            && let Ok(mut listing) = fs::read_dir(format!("/proc/{}/root/", worker.0))
        {
            assert!(listing.next().is_none(), "its root is not empty");
        }
    }
}

#[test]
fn a_worker_is_given_no_environment() {
    let (_pool, workers, _) = with_workers();
    for worker in workers {
        // For root alone, too.
        if let Ok(environment) = fs::read(format!("/proc/{}/environ", worker.0)) {
            assert_eq!(String::from_utf8_lossy(&environment), "", "{worker:?}");
        }
    }
}

#[test]
fn a_workers_keeper_ends_with_it_and_it_with_its_keeper() {
    let pool = pool();
    assert_eq!(pool.prepare(puppet()), Ok(false));
    let known = pool.workers();
    let cancel = Cancel::default();
    thread::scope(|scope| {
        let running = scope.spawn(|| failure(pool.run_until(&endless(), &cancel)));
        let worker = pool.new_worker(&known);
        let keeper = worker.parent().expect("a keeper");
        assert_ne!(keeper, std::process::id());
        signal(keeper, Signal::KILL);
        let failure = running.join().expect("no panic");
        assert!(matches!(failure, Failure::WorkerDied { .. }), "{failure:?}");
        wait_for("the worker's end", || (!worker.is_alive()).then_some(()));
    });
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn inputs_reach_a_worker_that_can_open_none() {
    let pool = pool();
    // More than goes along with a request, and more than is handed as bytes.
    let small = vec![b's'; 300_000];
    let large = vec![b'l'; 2 << 20];
    let file = pool.directory.path().join("inputs");
    fs::write(&file, [&small[..], &large[..]].concat()).expect("a write");
    let content = |offset, len| Content { segments: vec![Segment::File { path: file.clone(), offset, len }] };
    let input = |name: &str, bytes: &[u8]| InputSpec {
        path: GuestPath::new(name).expect("a path"),
        content: BlobId::of(bytes),
        len: bytes.len() as u64,
    };
    let copy = |path: &str| {
        let mut task = task(&["copy", path]);
        let spec: &mut TaskSpec = Arc::make_mut(&mut task.spec);
        spec.inputs = vec![input("small", &small), input("large", &large)];
        task.contents = vec![content(0, 300_000), content(300_000, 2 << 20)];
        task
    };
    for (path, expected) in [("/in/small", &small), ("/in/large", &large)] {
        let report = pool.run(&copy(path));
        assert_eq!(report.outcome, Outcome::Done, "{}", String::from_utf8_lossy(&report.log));
        assert!(archive_bytes(&report).ends_with(expected), "{path}");
    }
    // Where the file has gone, the task that reads it says so, and the worker goes on.
    fs::remove_file(&file).expect("the file");
    assert!(matches!(pool.failure(&copy("/in/large")), Failure::Input { .. }));
    assert_eq!(pool.stdout(&["quick"]), echo(&["quick"]));
}
