//! The processes of this machine, as `/proc` shows them.

use std::{fs, path::PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// The first word of a worker's command line.
const WORKER: &[u8] = b"tidemill-worker";

/// What a worker calls itself. The process that watches it from outside has the same command line and another name.
const NAME: &str = "tidemill-worker";

/// A worker process, by its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Worker(pub u32);

impl Worker {
    /// The workers of a process. Between the two there is a worker's keeper.
    pub fn of(parent: u32) -> Vec<Self> {
        let keeper = |worker: &Self| worker.parent().map(Self);
        all().filter(|worker| keeper(worker).and_then(Self::parent) == Some(parent)).collect()
    }

    /// The workers with this word among their arguments.
    pub fn tagged(tag: &str) -> Vec<Self> {
        all().filter(|worker| worker.words().iter().any(|word| word == tag.as_bytes())).collect()
    }

    /// Whether it runs. One that has ended and that nobody has asked about has no command line left.
    pub fn is_alive(self) -> bool {
        self.words().first().is_some_and(|word| word == WORKER) && self.is_named()
    }

    /// The most memory that it has had at once, in bytes.
    pub fn memory_peak(self) -> Option<u64> {
        memory_peak(self.0)
    }

    /// The processor time that it has had, in the system's ticks.
    pub fn ticks(self) -> u64 {
        let times = || -> Option<u64> {
            let fields = self.fields()?;
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        };
        times().unwrap_or(0)
    }

    /// A line of what the system says of its state, after its name and a colon.
    pub fn status(self, name: &str) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// Which namespace of a kind it is in.
    pub fn namespace(self, kind: &str) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/ns/{kind}", self.0)).ok()
    }

    fn is_named(self) -> bool {
        fs::read_to_string(format!("/proc/{}/comm", self.0)).is_ok_and(|name| name.trim_end() == NAME)
    }

    fn words(self) -> Vec<Vec<u8>> {
        let line = fs::read(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
        line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
    }

    /// The process that started it.
    pub fn parent(self) -> Option<u32> {
        self.fields()?.get(1)?.parse().ok()
    }

    /// The fields of its state after its name, which is in parentheses and may hold anything.
    fn fields(self) -> Option<Vec<String>> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
    }
}

/// The most memory that a process has had at once, in bytes.
pub fn memory_peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Sends a signal to a process that this test has started, itself or through the binary.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the id of a process");
    kill_process(pid, signal).expect("a process of ours");
}

/// The child of a process that has this word among its arguments.
pub fn child_with(parent: u32, word: &str) -> Option<u32> {
    let is_it = |process: &Worker| {
        process.parent() == Some(parent) && process.words().iter().any(|one| one == word.as_bytes())
    };
    processes().find(is_it).map(|process| process.0)
}

fn all() -> impl Iterator<Item = Worker> {
    processes().filter(|worker| worker.is_alive())
}

fn processes() -> impl Iterator<Item = Worker> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok().map(Worker))
}
