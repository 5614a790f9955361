//! What the operating system holds a worker to, should a program ever get out of WebAssembly.
//!
//! A worker confines itself, once, before it is given anything of a stranger's: it leaves the file system, the network
//! and the other processes of the machine behind ([`namespaces`]), is watched from outside ([`keeper`]), opens nothing
//! by name (Landlock, [`files`]), has limits ([`limits`]) and is left with the system calls that compiling or running
//! needs ([`calls`]). Each of these holds by itself; where a kernel lacks one the others still hold, and
//! [`Confinement`] says so.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod keeper;
pub(crate) mod limits;
#[cfg(target_os = "linux")]
mod namespaces;

use std::{fmt, fs::File, io};

use serde::{Deserialize, Serialize};
use tidemill_types::{ByteSize, ProgramKind};

/// A way in which the operating system confines a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Measure {
    /// It can gain no privileges (`no_new_privs`), has no capabilities, and cannot be traced.
    Privileges,
    /// A seccomp filter lets through the system calls of a list.
    SystemCalls,
    /// Landlock: no file can be opened by its name, no port be used, no process outside be signalled.
    Landlock,
    /// A user namespace: it is nobody elsewhere.
    User,
    /// A mount namespace whose root is an empty directory that cannot be written to.
    EmptyRoot,
    /// A network namespace without interfaces.
    Network,
    /// A process namespace with no process but itself.
    Processes,
    /// An IPC namespace.
    Ipc,
    /// Limits on memory: of what compiling may take, or of what the task's limits come to.
    Memory,
    /// Limits on descriptors, processes, and the sizes of files.
    Counts,
}

impl Measure {
    /// The word by which scripts know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileges => "privileges",
            Self::SystemCalls => "system_calls",
            Self::Landlock => "landlock",
            Self::User => "user_namespace",
            Self::EmptyRoot => "empty_root",
            Self::Network => "network_namespace",
            Self::Processes => "process_namespace",
            Self::Ipc => "ipc_namespace",
            Self::Memory => "memory",
            Self::Counts => "counts",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileges => "no privileges",
            Self::SystemCalls => "a list of system calls",
            Self::Landlock => "no files by name (Landlock)",
            Self::User => "a user namespace",
            Self::EmptyRoot => "an empty file system",
            Self::Network => "no network",
            Self::Processes => "no other processes",
            Self::Ipc => "no shared memory with others",
            Self::Memory => "limits on memory",
            Self::Counts => "limits on descriptors, processes and files",
        })
    }
}

/// A measure that does not hold, or not in full.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lack {
    /// The measure.
    pub measure: Measure,
    /// What the system said.
    pub reason: String,
}

/// What a worker is held to on this machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Confinement {
    holds: Vec<Measure>,
    lacks: Vec<Lack>,
}

impl Confinement {
    /// The measures that hold, in the order in which they were taken.
    pub fn holds(&self) -> &[Measure] {
        &self.holds
    }

    /// The measures that this machine lacks.
    pub fn lacks(&self) -> &[Lack] {
        &self.lacks
    }

    /// Whether a measure holds in full.
    pub fn has(&self, measure: Measure) -> bool {
        self.holds.contains(&measure)
    }

    /// Keeps what taking a measure came to.
    pub(crate) fn note<E: fmt::Display>(&mut self, measure: Measure, taken: Result<(), E>) {
        match taken {
            Ok(()) => self.holds.push(measure),
            Err(error) => self.lacks.push(Lack { measure, reason: error.to_string() }),
        }
    }
}

/// What happens when a worker makes a system call that is neither on its list nor among those that end it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum UnlistedCalls {
    /// The call fails with `EPERM`, and the worker goes on: libraries have other ways for most of what they try.
    Refused,
    /// The worker ends, and its last words name the call: tests find out in this way what the list lacks.
    Fatal,
}

/// What a worker is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// It compiles, by so many threads and with at most this much address space.
    Compile { memory: ByteSize, threads: u32 },
    /// It runs tasks.
    Run,
    /// It hosts programs of another kind, by so many threads.
    Host { kind: ProgramKind, threads: u32 },
}

/// The first half: what needs nothing from the parent. Called in a process that has one thread and has opened nothing.
///
/// # Errors
/// When not even what every Unix offers can be had.
pub(crate) fn leave() -> io::Result<Confinement> {
    let mut confinement = Confinement::default();
    limits::no_core_dumps()?;
    #[cfg(target_os = "linux")]
    {
        limits::few_arenas();
        // The first look at a clock looks for the kernel's fast calls, by calls that are not listed.
        let _ = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        rustix::thread::set_no_new_privs(true)?;
        namespaces::leave(&mut confinement);
    }
    Ok(confinement)
}

/// Has this process watched, so that it ends with its parent. `started` is called once with the number of the process
/// that this function returns in; on Linux that is a new one.
///
/// # Errors
/// When there can be no watcher.
pub(crate) fn watched(socket: &File, started: impl FnOnce(u32) -> io::Result<()>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        keeper::split(socket, started)
    }
    #[cfg(not(target_os = "linux"))]
    {
        started(std::process::id())?;
        end_with(socket.try_clone()?)
    }
}

/// The second half, after which a stranger's bytes may be read.
///
/// # Errors
/// When the threads of a worker cannot be started, or there is less memory than they need.
pub(crate) fn shut(
    work: Work,
    unlisted: UnlistedCalls,
    confinement: &mut Confinement,
    start_host: impl FnOnce(ProgramKind, u32) -> io::Result<()>,
) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        confinement.note(Measure::Landlock, files::none_by_name());
        confinement.note(Measure::Privileges, limits::no_privileges());
    }
    if let Work::Compile { memory, .. } = work {
        confinement.note(Measure::Memory, limits::limit(rustix::process::Resource::As, memory.0));
    }
    #[cfg(target_os = "linux")]
    {
        // Threads that start now are held to what holds already, and the filter is put on all of them.
        if let Work::Compile { threads, .. } = work {
            start_threads(threads)?;
        }
        if let Work::Host { kind, threads } = work {
            start_host(kind, threads)?;
        }
        confinement.note(Measure::Counts, limits::counts());
        confinement.note(Measure::SystemCalls, calls::only_listed(work, unlisted));
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = unlisted;
        if let Work::Host { kind, threads } = work {
            start_host(kind, threads)?;
        }
        confinement.note(Measure::SystemCalls, Err("workers are confined on Linux alone"));
    }
    Ok(())
}

/// Starts the threads that the compiler shares its work among: afterwards there can be no more.
#[cfg(target_os = "linux")]
fn start_threads(threads: u32) -> io::Result<()> {
    let threads = usize::try_from(threads).unwrap_or(1);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(io::Error::other)?;
    // Each has then made the calls that a thread begins with.
    rayon::broadcast(|_| ());
    Ok(())
}

/// Watches the socket to the parent, and ends the process when the parent is gone, however busy a guest keeps the main
/// thread.
#[cfg(not(target_os = "linux"))]
fn end_with(socket: File) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};

    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    let watch = move || loop {
        let mut fds = [PollFd::new(&socket, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().intersects(gone) => std::process::exit(0),
            _ => {}
        }
    };
    std::thread::Builder::new().name("parent-watch".to_owned()).stack_size(64 << 10).spawn(watch)?;
    Ok(())
}
