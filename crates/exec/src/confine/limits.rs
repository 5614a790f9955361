//! Limits that every Unix has, and what a worker gives up.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidemill_types::Limits;

/// Address space that a running worker takes whatever it runs: for each of up to four engines the tables of an
/// instance (128 MiB), its stack and state; code that is kept, 256 MiB; and the worker's own.
const RUNNING_BYTES: u64 = 2 << 30;

/// What a name in the tree takes besides its bytes.
const NAME_BYTES: u64 = 512;

/// Descriptors of a worker: the socket, the streams, up to 64 files of inputs, the code of up to 16 modules.
#[cfg(target_os = "linux")]
const DESCRIPTORS: u64 = 128;

/// The writable memory that a task may come to by its limits: its linear memory, tables and stack, and what the worker
/// holds besides: the tree and standard output, whose buffers may be twice as large as what is in them and are copied
/// once where a file has several names; the log, which is copied into the reply; and inputs that were sent along.
pub(crate) fn task_bytes(limits: &Limits, sent_along: u64) -> u64 {
    let parts = [
        limits.memory.0,
        u64::from(limits.table_elements) * 16,
        limits.stack.0.saturating_mul(2),
        limits.output.0.saturating_mul(3),
        u64::from(limits.files) * NAME_BYTES,
        limits.log.0.saturating_mul(4),
        sent_along.saturating_mul(4),
    ];
    parts.into_iter().fold(RUNNING_BYTES, u64::saturating_add)
}

/// Lets the process with this number have so many bytes of writable memory of its own. A worker cannot raise it.
///
/// # Errors
/// When the system refuses.
#[cfg(target_os = "linux")]
pub(crate) fn allow_memory(pid: u32, bytes: u64) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    // A worker begins with the limits of its parent.
    let hard = getrlimit(Resource::Data).maximum;
    let current = Some(hard.map_or(bytes, |hard| bytes.min(hard)));
    rustix::process::prlimit(Some(pid), Resource::Data, Rlimit { current, maximum: hard })?;
    Ok(())
}

/// Elsewhere nobody can limit another process.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allow_memory(_pid: u32, _bytes: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lowers a limit for good; one that is lower already stays.
pub(crate) fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |hard| most.min(hard));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Sets the processor time after which this process is ended, counted from its start.
pub(crate) fn allow_time(seconds: u64) -> io::Result<()> {
    let hard = getrlimit(Resource::Cpu).maximum;
    let current = Some(hard.map_or(seconds, |hard| seconds.min(hard)));
    Ok(setrlimit(Resource::Cpu, Rlimit { current, maximum: hard })?)
}

/// A core dump could hold a task's data.
pub(super) fn no_core_dumps() -> io::Result<()> {
    limit(Resource::Core, 0)
}

/// Nothing is written to files, no further process is needed, and descriptors are few.
#[cfg(target_os = "linux")]
pub(super) fn counts() -> io::Result<()> {
    limit(Resource::Nofile, DESCRIPTORS)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nproc, 0)?;
    limit(Resource::Memlock, 0)?;
    limit(Resource::Msgqueue, 0)
}

/// Gives up all capabilities, those in a user namespace and those of a root that has no namespace, and forbids others
/// to trace this process and to read its memory.
#[cfg(target_os = "linux")]
pub(super) fn no_privileges() -> io::Result<()> {
    use rustix::{
        process::{DumpableBehavior, set_dumpable_behavior},
        thread::{CapabilitySet, CapabilitySets, set_capabilities},
    };

    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Each arena of the allocator reserves address space, which the compiling worker's limit counts.
#[cfg(target_os = "linux")]
pub(super) fn few_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: this sets a number of the allocator's, before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Closes what the process that started this one left open, but the three streams: a shell's redirections, a library's
/// descriptors.
#[cfg(target_os = "linux")]
pub(crate) fn close_others() {
    /// Where the kernel cannot close a range (before 5.9), descriptors up to here are closed one by one.
    const MOST: i32 = 4096;
    // SAFETY: nothing in this process has opened a descriptor yet, so nobody's is closed.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed != 0 {
        for descriptor in 3..MOST {
            // SAFETY: as above.
            unsafe { libc::close(descriptor) };
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_types::ByteSize;

    use super::*;

    #[test]
    fn tree_output_and_log_count_as_memory_does() {
        let limits = Limits::default();
        let least = task_bytes(&limits, 0);
        assert!(least > limits.memory.0 + limits.output.0 + limits.log.0);
        let more = |change: fn(&mut Limits)| {
            let mut limits = limits;
            change(&mut limits);
            task_bytes(&limits, 0)
        };
        assert!(more(|limits| limits.memory = ByteSize::mib(4096)) > least);
        assert!(more(|limits| limits.output = ByteSize::mib(4096)) > least);
        assert!(more(|limits| limits.log = ByteSize::mib(64)) > least);
        assert!(more(|limits| limits.files = 1_000_000) > least);
        assert!(task_bytes(&Limits::MOST, u64::MAX) == u64::MAX, "it does not wrap around");
    }
}
