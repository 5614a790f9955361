//! The processes of a network that is measured.

use std::{
    fmt, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use tidemill_disk::Syncs;
use tidemill_net::ticket::Ticket;

use crate::exit::{Code, Exit, WithCode};

/// How long a process may take to tell its counters.
const PATIENCE: Duration = Duration::from_secs(60);

/// The processes. They end when this is dropped.
pub struct Network {
    coordinator: Process,
    providers: Vec<Process>,
    pub ticket: Ticket,
}

struct Process {
    child: Child,
    /// What it tells of its waits for the disk, once for each time that it is asked.
    told: Receiver<Syncs>,
}

/// How often each role of a network has waited for the disk.
pub struct Waits {
    /// This process, in which the ledger runs too, where there is one.
    requester: Syncs,
    coordinator: Syncs,
    providers: Vec<Syncs>,
}

/// Waits for the disk, for each task that was done meanwhile.
#[derive(Serialize)]
pub struct WaitsATask {
    /// Of the process that submits the jobs. With --paid, that is the ledger's process as well.
    pub requester: f64,
    pub coordinator: f64,
    /// Of all providers together, since each does a part of the tasks.
    pub providers: f64,
}

impl Drop for Process {
    fn drop(&mut self) {
        // What they keep is of no use any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Network {
    /// `ledger`: where work is paid for.
    pub fn start(directory: &Path, providers: u16, ledger: Option<&str>) -> anyhow::Result<Self> {
        let money = ledger.map_or_else(|| vec!["--free"], |url| vec!["--ledger", url]);
        let ticket_file = directory.join("ticket");
        let home = |name: &str| -> anyhow::Result<PathBuf> {
            let home = directory.join(name);
            fs::create_dir_all(&home)?;
            Ok(home)
        };
        let coordinator = Process::start(
            Command::new(this_program()?)
                .args(["serve", "--trust", "all", "--loopback", "--json", "--ticket-file"])
                .arg(&ticket_file)
                .args(&money)
                .env("TIDEMILL_HOME", home("coordinator")?),
            "listening",
        )?;
        let text = fs::read_to_string(&ticket_file).context("the coordinator wrote no ticket")?;
        let ticket: Ticket = text.trim().parse()?;
        let start = |number: u16| {
            Process::start(
                Command::new(this_program()?)
                    .args(["provide", "--loopback", "--json", "--cpus", "1", "--memory", "1 GiB", "--join"])
                    .arg(&ticket_file)
                    .args(&money)
                    .env("TIDEMILL_HOME", home(&format!("provider-{number}"))?),
                "joined",
            )
        };
        let providers = (0..providers).map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { coordinator, providers, ticket })
    }

    /// How often each role has waited for the disk so far.
    pub fn waits(&self) -> anyhow::Result<Waits> {
        Ok(Waits {
            requester: tidemill_disk::syncs(),
            coordinator: self.coordinator.syncs()?,
            providers: self.providers.iter().map(Process::syncs).collect::<anyhow::Result<_>>()?,
        })
    }

    /// Resident memory of the coordinator, where the system says.
    pub fn coordinator_rss_bytes(&self) -> Option<u64> {
        resident_bytes(self.coordinator.child.id())
    }
}

impl Process {
    /// Starts a process, and waits until it tells of an event.
    fn start(command: &mut Command, event: &str) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = child.stdout.take().context("a process has no output")?;
        let mut said = BufReader::new(stdout).lines();
        let (tell, told) = sync_channel(1);
        let mut process = Self { child, told };
        process.wait_for(&mut said, event)?;
        // Whatever it says from now on is read, so that it never waits for a reader.
        std::thread::spawn(move || {
            for line in said.map_while(Result::ok) {
                if let Some(syncs) = syncs_in(&line) {
                    // Nobody asks any more when the process is about to be ended.
                    let _ = tell.send(syncs);
                }
            }
        });
        Ok(process)
    }

    /// Reads what a process says until it tells of an event.
    fn wait_for(
        &mut self,
        said: &mut impl Iterator<Item = std::io::Result<String>>,
        event: &str,
    ) -> anyhow::Result<()> {
        let wanted = format!("\"event\":\"{event}\"");
        for line in said {
            if line?.replace(' ', "").contains(&wanted) {
                return Ok(());
            }
        }
        let status = self.child.wait()?;
        let message = format!("a process of the network ended before it was {event}: {status}");
        Err(Exit::new(Code::Host, message).into())
    }

    /// Asks how often it has waited for the disk.
    fn syncs(&self) -> anyhow::Result<Syncs> {
        let id = rustix::process::Pid::from_raw(self.child.id().cast_signed());
        let id = id.context("a process has no number")?;
        rustix::process::kill_process(id, rustix::process::Signal::USR1).code(Code::Host)?;
        let told = self.told.recv_timeout(PATIENCE);
        told.context("a process of the network does not tell how often it waited for the disk")
            .code(Code::Host)
    }
}

impl fmt::Display for WaitsATask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requester, coordinator, providers } = self;
        write!(f, "requester {requester}, coordinator {coordinator}, providers {providers}")
    }
}

impl Waits {
    /// Those since `earlier`, for each of so many tasks.
    pub fn a_task(&self, earlier: &Self, tasks: u32) -> WaitsATask {
        let share = |waits: u64| (waits as f64 / f64::from(tasks) * 1e4).round() / 1e4;
        let providers = self.providers.iter().zip(&earlier.providers);
        WaitsATask {
            requester: share(self.requester.since(&earlier.requester).total()),
            coordinator: share(self.coordinator.since(&earlier.coordinator).total()),
            providers: share(providers.map(|(now, earlier)| now.since(earlier).total()).sum()),
        }
    }
}

/// The counters, if a line tells them.
fn syncs_in(line: &str) -> Option<Syncs> {
    // Providers tell of every task: reading all of that would take its time.
    if !line.contains("\"syncs\"") {
        return None;
    }
    let event: Value = serde_json::from_str(line).ok()?;
    let count = |key: &str| event[key].as_u64();
    Some(Syncs {
        data: count("data")?,
        all: count("all")?,
        directories: count("directories")?,
        file_systems: count("file_systems")?,
    })
    .filter(|_| event["event"] == "syncs")
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// Resident memory of a process, where the system says.
fn resident_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_their_own_event_alone() {
        let told = r#"{"all":2,"data":7,"directories":3,"event":"syncs","file_systems":1}"#;
        let syncs = Syncs { data: 7, all: 2, directories: 3, file_systems: 1 };
        assert_eq!(syncs_in(told), Some(syncs));
        for other in [r#"{"event":"task","task":7}"#, r#"{"event":"syncs"}"#, "\"syncs\"", ""] {
            assert_eq!(syncs_in(other), None, "{other}");
        }
    }

    #[test]
    fn waits_are_shared_out_among_the_tasks_of_their_time() {
        let data = |data| Syncs { data, ..Syncs::default() };
        let waits = |requester, coordinator, providers: [u64; 2]| Waits {
            requester: data(requester),
            coordinator: data(coordinator),
            providers: providers.map(data).to_vec(),
        };
        let earlier = waits(5, 100, [20, 30]);
        let share = waits(5, 130, [21, 34]).a_task(&earlier, 1_000);
        assert_eq!((share.requester, share.coordinator, share.providers), (0.0, 0.03, 0.005));
    }
}
