//! Memory grows neither with the input nor with the number of tasks.

use std::{fs, os::unix::fs::FileExt};

use super::{place, slow_job};
use crate::{
    processes::{Worker, memory_peak},
    support::{Place, wait_for},
};

const MIB: u64 = 1 << 20;

/// A file of zeros with a line's end after each MiB, which takes little room on the disk.
fn write_lines(place: &Place, name: &str, mib: u64) {
    let file = fs::File::create(place.path(name)).unwrap();
    file.set_len(mib * MIB).unwrap();
    for line in 1..=mib {
        file.write_all_at(b"\n", line * MIB - 1).unwrap();
    }
}

/// Runs the job to its end. Gives the most memory that the binary and any of its workers had.
fn run_and_watch(place: &Place) -> (u64, u64) {
    let mut running = place.start_job(&["--out", "out", "-j", "1"]);
    let (mut binary, mut worker) = (0, 0);
    wait_for("the end of the run", || {
        binary = memory_peak(running.id()).unwrap_or(0).max(binary);
        let workers = Worker::of(running.id());
        worker = workers.iter().filter_map(|worker| worker.memory_peak()).fold(worker, u64::max);
        running.ended()
    });
    running.finish().code(0);
    (binary, worker)
}

/// What each task counted.
fn counts(place: &Place) -> Vec<u64> {
    let tree = place.tree("out");
    let counts = tree.iter().filter(|(name, _)| name.ends_with("stdout"));
    counts.map(|(_, bytes)| u64::from_le_bytes(bytes[..].try_into().unwrap())).collect()
}

#[test]
fn large_inputs_stream_in_pieces_and_whole() {
    let pieces = "name = \"pieces\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"count\", \"{input}\"]\n\
        [tasks]\nsplit = { input = \"lines.txt\", by = \"lines\", size = \"100 MiB\" }\n";
    let whole = "name = \"whole\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"count\", \"/in/all\"]\n\
        [inputs]\nall = \"lines.txt\"\n";
    let place = place(pieces);
    write_lines(&place, "lines.txt", 1);
    let small = run_and_watch(&place);
    assert_eq!(counts(&place), [MIB]);
    write_lines(&place, "lines.txt", 250);
    let large = run_and_watch(&place);
    assert_eq!(counts(&place), [100 * MIB, 100 * MIB, 50 * MIB]);
    place.write("job.toml", whole);
    let in_one = run_and_watch(&place);
    assert_eq!(counts(&place), [250 * MIB]);
    assert_no_more(large, small);
    assert_no_more(in_one, small);
}

#[test]
fn thousands_of_tasks_leave_nothing_behind_in_a_worker() {
    let place = place(&slow_job(10).replace("slow", "quick"));
    let few = run_and_watch(&place);
    place.job(&slow_job(4_000).replace("slow", "quick"));
    let many = run_and_watch(&place);
    assert_eq!(place.tree("out").len(), 4_001);
    assert_no_more(many, few);
}

/// Compares what the binary and a worker had at most in two runs, with room for what is by chance.
#[track_caller]
fn assert_no_more(large: (u64, u64), small: (u64, u64)) {
    assert!(large.0 < small.0 + 16 * MIB, "the binary had {} B, and {} B in the small run", large.0, small.0);
    assert!(large.1 < small.1 + 16 * MIB, "a worker had {} B, and {} B in the small run", large.1, small.1);
}
