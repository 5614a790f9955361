//! A process that has a folder of blobs dies at each point at which its files are between two states, and a segment ends
//! at each of its bytes. Whatever was acknowledged is there when the folder is opened again, with its pins as they were,
//! and nothing else is there but what is whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
};

use tidemill_net::blobs::{Blobs, FAILPOINTS, Pin};
use tidemill_types::BlobId;

use crate::support::{bytes, open, pin};

/// What the process that is to die works on: the folder, and whether it takes in large blobs.
const FOLDER: &str = "TIDEMILL_BLOBS_CRASH_FOLDER";
const LARGE: &str = "TIDEMILL_BLOBS_CRASH_LARGE";

/// The variable that arms a point.
const FAILPOINT: &str = "TIDEMILL_FAILPOINT";

/// Little enough for segments of some records, which are cleaned all the time.
const BUDGET: u64 = 20_000;
const AMPLE: u64 = 1 << 30;

/// Steps of a process that does not die.
const STEPS: u64 = 320;
const LARGE_STEPS: u64 = 3;

/// The head of a segment, before its first record.
const HEAD_BYTES: u64 = 48;

/// What the process does one after another. It follows from the step's number, so whoever knows how far it came knows
/// what must be there.
enum Step {
    /// To import these contents, which wait for the disk together, under a pin.
    Import(&'static str, Vec<u64>),
    /// To pin what was imported before.
    Pin(&'static str, u64),
    Unpin(&'static str),
}

impl Step {
    fn of(number: u64) -> Self {
        match (number % 16, number % 32) {
            (0, _) => Self::Import("keep", vec![number * 4]),
            (7, _) => Self::Unpin("passing"),
            (9, _) => Self::Pin("again", (number - 9) * 4),
            (11, _) => Self::Import("passing", vec![number * 4, number * 4 + 1, number * 4 + 2]),
            (15, 31) => Self::Unpin("again"),
            _ => Self::Import("passing", vec![number * 4]),
        }
    }

    fn large(number: u64) -> Self {
        Self::Import("keep", vec![number])
    }
}

/// What the contents of this number are: from nothing to a quarter of a segment.
fn small(content: u64) -> Vec<u8> {
    let mut bytes = bytes((content * 977 % 290) as usize, 3);
    bytes.extend_from_slice(&content.to_le_bytes());
    bytes
}

/// Little, for a segment that ends at each of its bytes.
fn tiny(content: u64) -> Vec<u8> {
    bytes(8 + (content % 5) as usize, content as u8)
}

/// More than what goes into a segment.
fn large(content: u64) -> Vec<u8> {
    bytes((1 << 20) + 1 + content as usize, 4)
}

/// A process and what it works on.
struct Work {
    steps: u64,
    step: fn(u64) -> Step,
    content: fn(u64) -> Vec<u8>,
    budget: u64,
}

const SMALL_WORK: Work = Work { steps: STEPS, step: Step::of, content: small, budget: BUDGET };
const LARGE_WORK: Work = Work { steps: LARGE_STEPS, step: Step::large, content: large, budget: AMPLE };

type Pins = BTreeMap<&'static str, BTreeSet<BlobId>>;

impl Work {
    /// What the pins hold after so many steps.
    fn pins(&self, steps: u64) -> Pins {
        let mut pins = Pins::from([("keep", BTreeSet::new()), ("passing", BTreeSet::new())]);
        pins.insert("again", BTreeSet::new());
        for number in 0..steps {
            match (self.step)(number) {
                Step::Import(name, contents) => {
                    let ids = contents.into_iter().map(|content| BlobId::of(&(self.content)(content)));
                    pins.entry(name).or_default().extend(ids);
                }
                Step::Pin(name, content) => {
                    pins.entry(name).or_default().insert(BlobId::of(&(self.content)(content)));
                }
                Step::Unpin(name) => pins.entry(name).or_default().clear(),
            }
        }
        pins
    }

    /// All that may be there after so many steps.
    fn contents(&self, steps: u64) -> BTreeMap<BlobId, Vec<u8>> {
        let imported = (0..steps).flat_map(|number| match (self.step)(number) {
            Step::Import(_, contents) => contents,
            Step::Pin(..) | Step::Unpin(_) => Vec::new(),
        });
        imported.map(|content| (self.content)(content)).map(|bytes| (BlobId::of(&bytes), bytes)).collect()
    }

    /// Opens the folder after a process that acknowledged so many steps, and was at the next at most, and checks all of
    /// it.
    async fn check(&self, folder: &Path, acknowledged: u64, case: &str) {
        let blobs = open(folder, self.budget).await;
        self.check_open(&blobs, acknowledged, case).await;
        // And it is of use as before.
        let pins = blobs.pins();
        let more = blobs.import_bytes(b"more".to_vec(), &pin("more")).await.expect("room");
        drop(blobs);
        let blobs = open(folder, self.budget).await;
        assert_eq!(blobs.read(more.id, AMPLE).await.expect("acknowledged"), b"more", "{case}");
        blobs.unpin(&pin("more")).await.expect("a disk");
        assert_eq!(blobs.pins(), pins, "{case}");
    }

    async fn check_open(&self, blobs: &Blobs, acknowledged: u64, case: &str) {
        let next = (acknowledged + 1).min(self.steps);
        let (must, may, contents) = (self.pins(acknowledged), self.pins(next), self.contents(next));
        let is_one_record =
            !matches!((self.step)(acknowledged), Step::Import(_, contents) if contents.len() > 1);
        for (name, must) in &must {
            let held: BTreeSet<BlobId> = blobs.pinned(&pin(name)).into_iter().collect();
            let may = &may[name];
            if is_one_record {
                assert!(held == *must || held == *may, "{case}: {name} is as before the step or as after it");
            } else {
                assert!(held.is_superset(must) && held.is_subset(may), "{case}: {name}");
            }
            for id in held {
                assert_eq!(blobs.read(id, AMPLE).await.expect("pinned"), contents[&id], "{case}: {name}");
            }
        }
        let mut here = 0;
        for (id, content) in &contents {
            if blobs.has(*id).is_some() {
                here += 1;
                assert_eq!(blobs.read(*id, AMPLE).await.expect("whole"), *content, "{case}");
            }
        }
        let usage = blobs.usage();
        assert_eq!((usage.blobs, usage.reserved), (here, 0), "{case}: nothing else is here");
        assert!(blobs.pins().iter().all(|pin| must.contains_key(pin.name())), "{case}");
    }
}

/// Runs [`child`] until it dies at a point, or to its end. Gives how many steps it acknowledged, and whether it died.
fn run_child(folder: &Path, is_large: bool, armed: &str) -> (u64, bool) {
    let mut child = Command::new(env::current_exe().expect("this one"));
    child.args(["--exact", "crashes::child", "--nocapture"]).env(FOLDER, folder).env(FAILPOINT, armed);
    if is_large {
        child.env(LARGE, "");
    }
    let output = child.output().expect("this very program can be started");
    let died = output.status.signal() == Some(9);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(died || output.status.success(), "{armed}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
    (said.lines().filter(|line| line.starts_with("acknowledged ")).count() as u64, died)
}

/// Not a test by itself: the process that [`run_child`] starts.
#[tokio::test]
async fn child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let work = if env::var_os(LARGE).is_some() { LARGE_WORK } else { SMALL_WORK };
    let blobs = open(Path::new(&folder), work.budget).await;
    println!();
    for number in 0..work.steps {
        match (work.step)(number) {
            Step::Import(name, contents) if contents.len() > 1 => {
                let with_pin = |content: &u64| (bytes::Bytes::from((work.content)(*content)), pin(name));
                let all: Vec<(bytes::Bytes, Pin)> = contents.iter().map(with_pin).collect();
                let with = blobs.clone();
                let made = tokio::task::spawn_blocking(move || with.append_all(all)).await;
                made.expect("no panic").expect("room");
            }
            Step::Import(name, contents) => {
                for content in contents {
                    blobs.import_bytes((work.content)(content), &pin(name)).await.expect("room");
                }
            }
            Step::Pin(name, content) => {
                blobs.pin(&pin(name), BlobId::of(&(work.content)(content))).await.expect("it is kept");
            }
            Step::Unpin(name) => blobs.unpin(&pin(name)).await.expect("a disk"),
        }
        println!("acknowledged {number}");
    }
}

/// Has a process die at each of these points, when it passes it for the first time and for later ones, and checks what
/// it leaves.
fn dies_at(points: &[&str], counts: &[u64], is_large: bool) {
    let work = if is_large { LARGE_WORK } else { SMALL_WORK };
    std::thread::scope(|scope| {
        for point in points {
            let work = &work;
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("threads");
                for count in counts {
                    let scratch = tempfile::tempdir().expect("a folder");
                    let case = format!("{point}:{count}");
                    let (acknowledged, died) = run_child(scratch.path(), is_large, &case);
                    assert!(died || *count > 1, "{point} is not passed");
                    assert!(died || acknowledged == work.steps, "{case}: {acknowledged} steps");
                    runtime.block_on(work.check(scratch.path(), acknowledged, &case));
                }
            });
        }
    });
}

/// Whether a point is one of blobs that have files of their own.
fn is_of_large(point: &&str) -> bool {
    point.starts_with("blob-") || point.starts_with("tree-")
}

#[test]
fn a_process_dies_at_every_point_of_segments() {
    let points: Vec<&str> = FAILPOINTS.into_iter().filter(|point| !is_of_large(point)).collect();
    dies_at(&points, &[1, 2, 7, 40], false);
}

#[test]
fn a_process_dies_at_every_point_of_large_blobs() {
    let points: Vec<&str> = FAILPOINTS.into_iter().filter(is_of_large).collect();
    dies_at(&points, &[1, 3], true);
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(root.join("segments")).expect("there");
    let mut paths: Vec<_> = list.map(|item| item.expect("there").path()).collect();
    paths.sort();
    paths
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// A copy of the folder whose last segment ends after so many bytes.
fn cut(root: &Path, at: u64) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    fs::create_dir(copy.path().join("segments")).expect("made");
    let paths = segments(root);
    for path in &paths {
        let name = path.file_name().expect("a file of a folder");
        fs::copy(path, copy.path().join("segments").join(name)).expect("copied");
    }
    let last = paths.last().expect("one at least").file_name().expect("a file of a folder");
    let file = fs::OpenOptions::new().write(true).open(copy.path().join("segments").join(last));
    file.and_then(|file| file.set_len(at)).expect("cut");
    copy
}

#[tokio::test]
async fn a_folder_whose_segment_ends_at_any_byte_has_what_was_acknowledged_before() {
    const FIRST: u64 = 18;
    let root = tempfile::tempdir().expect("a folder");
    // So much that all of it is one segment.
    let work = Work { steps: FIRST, content: tiny, budget: AMPLE, ..SMALL_WORK };
    let blobs = open(root.path(), work.budget).await;
    // Up to where the segment was after each step. Steps of several records are left out: what of them is whole may be
    // here.
    let mut ends = vec![HEAD_BYTES];
    for number in 0..FIRST {
        match (work.step)(number) {
            Step::Import(name, contents) => {
                for content in contents {
                    blobs.import_bytes((work.content)(content), &pin(name)).await.expect("room");
                }
            }
            Step::Pin(name, content) => {
                blobs.pin(&pin(name), BlobId::of(&(work.content)(content))).await.expect("it is kept");
            }
            Step::Unpin(name) => blobs.unpin(&pin(name)).await.expect("a disk"),
        }
        ends.push(len(&segments(root.path())[0]));
    }
    let end = *ends.last().expect("it has its head");
    drop(blobs);
    for at in 0..=end {
        let acknowledged = ends.iter().filter(|end| **end <= at).count().saturating_sub(1) as u64;
        let copy = cut(root.path(), at);
        let blobs = open(copy.path(), work.budget).await;
        work.check_open(&blobs, acknowledged, &format!("cut at {at} of {end}")).await;
    }
}

/// The copies of a cleaning end at any byte, with the segment that they are from still there.
#[tokio::test]
async fn a_cleaning_that_ends_at_any_byte_loses_nothing() {
    const CLEANINGS: u64 = 12;
    const WITH_COPIES: usize = 2;
    let mut with_copies = 0;
    for count in 1..=CLEANINGS {
        // The same steps leave segments that are as long, but for their keys.
        let (before, after) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (acknowledged, died) = run_child(before.path(), false, &format!("cleaning-begun:{count}"));
        assert!(died);
        assert_eq!(run_child(after.path(), false, &format!("segment-copied:{count}")), (acknowledged, true));
        let last = segments(after.path()).pop().expect("one at least");
        let name = last.file_name().expect("a file of a folder");
        let (earlier, end) = (len(&before.path().join("segments").join(name)), len(&last));
        for at in earlier..end {
            let copy = cut(after.path(), at);
            let blobs = open(copy.path(), BUDGET).await;
            SMALL_WORK.check_open(&blobs, acknowledged, &format!("{count}, cut at {at} of {end}")).await;
        }
        with_copies += usize::from(earlier < end);
        if with_copies == WITH_COPIES {
            return;
        }
    }
    panic!("of {CLEANINGS} segments that were cleaned only {with_copies} had something to copy");
}
