//! What the store costs: `cargo run --release -p tidemill-store --example measure [DIRECTORY]`.
//!
//! Fills a store with a job of a million tasks, leases and finishes more in commits of several sizes, then
//! kills a process that has the store open and measures how long the next one takes to open it.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tidemill_store::{
    BatchId, BatchRecord, Change, DoneRecord, JobEnd, LeaseRecord, Options, ResultRecord, Store, UnixMillis,
};
use tidemill_types::{
    Acceptance, Address, Amount, Basis, BlobId, ByteSize, Fuel, JobId, KeyBinding, LeaseId, NodeId,
    Principal, Signature65, SpecHash, TaskId, TaskNumber, Usage,
};

const FILL: u64 = 1 << 20;
const JOB: JobId = JobId([7; 16]);
/// How long a stretch of tasks is leased before it finishes, and how many results one signature covers.
const IN_FLIGHT: u64 = 4096;
const PER_BATCH: u64 = 64;

fn main() {
    let mut arguments = env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(flag), Some(directory)) if flag == "--die" => die(Path::new(&directory)),
        (directory, _) => {
            let scratch = tempfile::tempdir_in(directory.as_deref().unwrap_or(".")).expect("a directory");
            measure(scratch.path());
        }
    }
}

fn measure(directory: &Path) {
    let resident = resident_kib();
    let store = Store::open(directory, Options::default()).expect("it opens");
    store.commit(&[submitted()]).expect("it commits");
    let mut next = 0;
    let begin = Instant::now();
    run(&store, &mut next, FILL, 512);
    println!("{FILL} tasks leased and finished in {:.1?}, commits of 512", begin.elapsed());
    println!("file: {} MiB", fs::metadata(directory.join("state.redb")).expect("it exists").len() >> 20);
    println!("resident: {} KiB before, {} KiB now", resident, resident_kib());
    println!("changes/commit  us/change (wall)  us/change (cpu)  us/commit (wall)");
    for (size, tasks) in [(1, IN_FLIGHT), (64, 8 * IN_FLIGHT), (512, 16 * IN_FLIGHT)] {
        let (begin, cpu) = (Instant::now(), cpu());
        let (changes, commits) = run(&store, &mut next, tasks, size);
        let per = |time: Duration, count: u64| time.as_secs_f64() * 1e6 / count as f64;
        let (wall, cpu) = (begin.elapsed(), self::cpu() - cpu);
        let (a, b, c) = (per(wall, changes), per(cpu, changes), per(wall, commits));
        println!("{size:14}  {a:16.1}  {b:15.1}  {c:16.0}");
    }
    println!("resident: {} KiB", resident_kib());
    let (begin, mut count) = (Instant::now(), 0u64);
    store.for_each_done(JOB, |_, _| count += 1).expect("it reads");
    println!("{count} done tasks walked in {:.1?}, resident: {} KiB", begin.elapsed(), resident_kib());
    let begin = Instant::now();
    drop(store);
    println!("closed in {:.1?}", begin.elapsed());
    let begin = Instant::now();
    drop(Store::open(directory, Options::default()).expect("it opens"));
    println!("opened and closed after a clean end in {:.1?}", begin.elapsed());

    let mut child = Command::new(env::current_exe().expect("a path"))
        .args(["--die".as_ref(), directory.as_os_str()])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    child.wait().expect("it ends");
    let begin = Instant::now();
    let store = Store::open(directory, Options::default()).expect("it opens");
    println!("opened after a kill in {:.1?}, resident: {} KiB", begin.elapsed(), resident_kib());

    store
        .commit(&[Change::JobEnded {
            job: JOB,
            end: JobEnd::Cancelled,
            at: UnixMillis(9),
            summary: Vec::new(),
        }])
        .expect("commits");
    store.commit(&[Change::JobRemoved { job: JOB }]).expect("it commits");
    let (begin, mut slices, mut longest) = (Instant::now(), 0, Duration::ZERO);
    loop {
        let slice = Instant::now();
        let more = store.sweep(10_000).expect("it sweeps");
        (slices, longest) = (slices + 1, longest.max(slice.elapsed()));
        if !more {
            break;
        }
    }
    println!("swept in {:.1?}, {slices} slices, longest {longest:.1?}", begin.elapsed());
    store.sanity_check().expect("it is sound");
}

/// Opens the store, commits a little, and ends without closing it.
fn die(directory: &Path) {
    let store = Store::open(directory, Options::default()).expect("it opens");
    let mut next = store.recover().expect("it reads").next_lease.0;
    run(&store, &mut next, IN_FLIGHT, 512);
    std::process::abort();
}

/// Leases and finishes so many tasks; says how many changes and commits that took.
fn run(store: &Store, next: &mut u64, tasks: u64, size: usize) -> (u64, u64) {
    let (mut changes, mut commits) = (0, 0);
    for first in (*next..*next + tasks).step_by(IN_FLIGHT as usize) {
        let numbers = first..first + IN_FLIGHT;
        let leased = numbers.clone().map(leased);
        let finished = numbers.flat_map(|number| {
            let batch = number.is_multiple_of(PER_BATCH).then(|| batch(number / PER_BATCH));
            batch.into_iter().chain([finished(number)])
        });
        let all: Vec<Change> = leased.chain(finished).collect();
        for commit in all.chunks(size) {
            store.commit(commit).expect("it commits");
            commits += 1;
        }
        changes += all.len() as u64;
    }
    *next += tasks;
    (changes, commits)
}

fn submitted() -> Change {
    Change::JobSubmitted {
        job: JOB,
        owner: Principal::Node(NodeId([1; 32])),
        at: UnixMillis(1),
        name: "a large job".to_owned(),
        map_count: FILL * 2,
        task_count: FILL * 2,
        spec: vec![0; 4096],
        pay: None,
    }
}

fn leased(number: u64) -> Change {
    Change::Leased(LeaseRecord {
        id: LeaseId(number),
        task: task(number),
        provider: NodeId([2; 32]),
        operator: Address([3; 20]),
        at: UnixMillis(1_800_000_000_000),
        is_known: false,
        work: vec![5; 120],
    })
}

fn finished(number: u64) -> Change {
    let spec: SpecHash = postcard::from_bytes(spec_bytes(number).as_slice()).expect("32 bytes");
    Change::Finished {
        task: task(number),
        record: DoneRecord {
            result: ResultRecord {
                lease: LeaseId(number),
                provider: NodeId([2; 32]),
                operator: Address([3; 20]),
                spec,
                output: BlobId::of(&number.to_be_bytes()),
                output_len: ByteSize(1000),
                price: Amount::ZERO,
                usage: Usage { fuel: Fuel(1_000_000_000), ..Usage::default() },
                hardware_class: None,
                wall_us: 1000,
                at: UnixMillis(1_800_000_000_000),
                batch: BatchId(number / PER_BATCH),
                leaf: (number % PER_BATCH) as u32,
            },
            attempts: 1,
            verdict: Acceptance { basis: Basis::Unchecked, results: 1, agreeing: 1, error_ppb: Some(1) },
        },
        output: None,
        log: None,
    }
}

fn spec_bytes(number: u64) -> Vec<u8> {
    BlobId::of(&number.to_le_bytes()).as_bytes().to_vec()
}

fn batch(number: u64) -> Change {
    Change::Batch {
        id: BatchId(number),
        record: BatchRecord {
            provider: NodeId([2; 32]),
            binding: KeyBinding {
                address: Address([3; 20]),
                by_result_key: Signature65([7; 65]),
                by_node_key: [8; 64],
            },
            root: [4; 32],
            sequence: number,
            signature: vec![6; 65],
            leaves: vec![[5; 32]; PER_BATCH as usize],
        },
    }
}

fn task(number: u64) -> TaskId {
    TaskId { job: JOB, task: TaskNumber(number) }
}

/// Processor time of this thread.
fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn resident_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
