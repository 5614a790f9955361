//! The attempts. Each is a system call, made past the standard library, and its error is reported on standard error, which
//! the parent reads when the worker has ended.

use std::{ffi::CString, ptr};

use libc::c_long;

/// What to attempt.
pub enum Attempt {
    /// Everything whose refusal can be told: with a directory that holds a key, and the number of a process outside.
    All { secrets: String, outside: i32 },
    /// A call that is to be the last, by its name.
    Deadly(String),
}

/// Calls that end the worker, whatever their arguments.
pub const DEADLY: &[(&str, c_long)] = &[
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("mount", libc::SYS_mount),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("keyctl", libc::SYS_keyctl),
];

const GIB: usize = 1 << 30;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

/// Makes them.
pub fn make(attempt: &Attempt) {
    match attempt {
        Attempt::All { secrets, outside } => {
            files(secrets);
            network();
            processes(*outside);
            memory();
            the_rest();
        }
        Attempt::Deadly(name) => {
            let call = DEADLY.iter().find(|(known, _)| known == name).expect("a known call").1;
            // SAFETY: with arguments of zero none of these calls reads or writes memory of this process.
            let result = unsafe { libc::syscall(call, 0, 0, 0, 0, 0, 0) };
            report(name, result);
        }
    }
}

/// Tells what a call came to: 0, or the number of its error.
fn report(name: &str, result: c_long) {
    let error = if result < 0 { std::io::Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 };
    tell(name, error.into());
}

fn tell(name: &str, value: i64) {
    eprintln!("{name}={value}");
}

fn text(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).expect("no zero bytes")
}

/// Makes a call and reports it. Each argument is passed in the full width of a register.
macro_rules! attempt {
    ($name:literal, $call:expr $(, $argument:expr)*) => {{
        // SAFETY: each pointer among the arguments is null or valid for what the call does with it.
        let result = unsafe { libc::syscall($call $(, $argument as usize)*) };
        report($name, result);
        result
    }};
}

fn files(secrets: &str) {
    let here = libc::AT_FDCWD;
    let (passwd, root) = (text("/etc/passwd"), text("/"));
    let key = text(format!("{secrets}/host.key"));
    let (fresh, other) = (text(format!("{secrets}/fresh.code")), text(format!("{secrets}/other.code")));
    let create = libc::O_CREAT | libc::O_WRONLY;
    attempt!("open_passwd", libc::SYS_openat, here, passwd.as_ptr(), libc::O_RDONLY, 0);
    attempt!("open_root", libc::SYS_openat, here, root.as_ptr(), libc::O_DIRECTORY, 0);
    attempt!("open_key", libc::SYS_openat, here, key.as_ptr(), libc::O_RDONLY, 0);
    attempt!("create_code", libc::SYS_openat, here, fresh.as_ptr(), create, 0o600);
    attempt!("openat2", libc::SYS_openat2, here, passwd.as_ptr(), ptr::null::<u8>(), 0);
    attempt!("mkdirat", libc::SYS_mkdirat, here, fresh.as_ptr(), 0o700);
    attempt!("unlinkat", libc::SYS_unlinkat, here, key.as_ptr(), 0);
    attempt!("renameat2", libc::SYS_renameat2, here, key.as_ptr(), here, other.as_ptr(), 0);
    attempt!("symlinkat", libc::SYS_symlinkat, passwd.as_ptr(), here, fresh.as_ptr());
    attempt!("fchmodat", libc::SYS_fchmodat, here, key.as_ptr(), 0o777);
    attempt!("truncate", libc::SYS_truncate, key.as_ptr(), 0);
    let mut status = [0u8; 512];
    attempt!("stat_passwd", libc::SYS_newfstatat, here, passwd.as_ptr(), status.as_mut_ptr(), 0);
    attempt!("stat_key", libc::SYS_newfstatat, here, key.as_ptr(), status.as_mut_ptr(), 0);
}

fn network() {
    attempt!("socket_inet", libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0);
    attempt!("socket_inet6", libc::SYS_socket, libc::AF_INET6, libc::SOCK_DGRAM, 0);
    attempt!("socket_unix", libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0);
    attempt!("socket_netlink", libc::SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, 0);
    let mut pair = [0i32; 2];
    let unix = libc::AF_UNIX;
    attempt!("socketpair", libc::SYS_socketpair, unix, libc::SOCK_STREAM, 0, pair.as_mut_ptr());
    attempt!("connect", libc::SYS_connect, 0, ptr::null::<u8>(), 0);
    attempt!("sendmsg", libc::SYS_sendmsg, 0, ptr::null::<u8>(), 0);
}

fn processes(outside: i32) {
    let signal = libc::SIGTERM;
    attempt!("kill", libc::SYS_kill, outside, signal);
    attempt!("kill_all", libc::SYS_kill, -1_i32, signal);
    attempt!("tgkill", libc::SYS_tgkill, outside, outside, signal);
    attempt!("tkill", libc::SYS_tkill, outside, signal);
    attempt!("pidfd_open", libc::SYS_pidfd_open, outside, 0);
    let mut limit = [0u64; 2];
    attempt!(
        "prlimit_other",
        libc::SYS_prlimit64,
        outside,
        libc::RLIMIT_NOFILE,
        ptr::null::<u8>(),
        limit.as_mut_ptr()
    );
    attempt!("setpriority", libc::SYS_setpriority, libc::PRIO_PROCESS, outside, 19);
    #[cfg(target_arch = "x86_64")]
    {
        exit_if_child(attempt!("fork", libc::SYS_fork));
        exit_if_child(attempt!("vfork", libc::SYS_vfork));
    }
    exit_if_child(attempt!("clone", libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0));
    attempt!("clone3", libc::SYS_clone3, ptr::null::<u8>(), 0);
    let thread = std::thread::Builder::new().spawn(|| ());
    tell("thread", thread.map_or_else(|error| error.raw_os_error().unwrap_or(-1).into(), |_| 0));
}

/// A fork bomb stops at its first spark, if there is one.
fn exit_if_child(result: c_long) {
    if result == 0 {
        // SAFETY: this ends the copy, which has nothing to tidy up.
        unsafe { libc::_exit(0) }
    }
}

/// Makes a mapping of no file, at a place of the system's choice.
fn map(len: usize, protection: i32, flags: i32) -> c_long {
    let (protection, flags) = (protection as usize, flags as usize);
    // SAFETY: a new mapping touches no other.
    unsafe { libc::syscall(libc::SYS_mmap, 0_usize, len, protection, flags, usize::MAX, 0_usize) }
}

fn unmap(mapping: c_long, len: usize) {
    // SAFETY: nothing uses what `map` made.
    unsafe { libc::syscall(libc::SYS_munmap, mapping, len) };
}

fn memory() {
    let most = 64 * GIB;
    report("map_64_gib", map(most, READ_WRITE, PRIVATE));
    report("map_shared", map(GIB, READ_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS));
    report("map_growing", map(GIB, READ_WRITE, PRIVATE | libc::MAP_GROWSDOWN));
    // Address space alone is not memory; using it is.
    let reserved = map(most, libc::PROT_NONE, PRIVATE | libc::MAP_NORESERVE);
    if reserved < 0 {
        report("reserve_and_use", reserved);
    } else {
        attempt!("reserve_and_use", libc::SYS_mprotect, reserved, most, READ_WRITE);
        unmap(reserved, most);
    }
    raise_limits();
    attempt!("memfd_create", libc::SYS_memfd_create, text("more").as_ptr(), 0);
    attempt!("shmget", libc::SYS_shmget, libc::IPC_PRIVATE, GIB, libc::IPC_CREAT | 0o600);
    // Small pieces, until there are no more. They are not written to, so that the test takes no memory.
    const PIECE: usize = 64 << 20;
    let mut pieces = Vec::with_capacity(2048);
    let end = loop {
        let piece = map(PIECE, READ_WRITE, PRIVATE);
        if piece < 0 {
            break std::io::Error::last_os_error().raw_os_error().unwrap_or(-1);
        }
        if pieces.len() == pieces.capacity() {
            break 0;
        }
        pieces.push(piece);
    };
    pieces.iter().for_each(|piece| unmap(*piece, PIECE));
    tell("pieces", end.into());
    tell("piece_mib", i64::try_from(pieces.len() * (PIECE >> 20)).unwrap_or(i64::MAX));
}

fn raise_limits() {
    let all = [u64::MAX; 2];
    let none = ptr::null::<u8>();
    attempt!("raise_data", libc::SYS_prlimit64, 0, libc::RLIMIT_DATA, all.as_ptr(), none);
    attempt!("raise_space", libc::SYS_prlimit64, 0, libc::RLIMIT_AS, all.as_ptr(), none);
    attempt!("raise_files", libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, all.as_ptr(), none);
}

fn the_rest() {
    attempt!("setuid", libc::SYS_setuid, 0);
    attempt!("prctl", libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
    attempt!("seccomp", libc::SYS_seccomp, 0, 0, 0);
    attempt!("ioctl", libc::SYS_ioctl, 0, libc::TIOCSTI, text("x").as_ptr());
    attempt!("set_owner", libc::SYS_fcntl, 0, libc::F_SETOWN, 1);
    tell("environment", i64::try_from(std::env::vars_os().count()).unwrap_or(i64::MAX));
    let is_open = |descriptor: &i32| {
        // SAFETY: the call only asks.
        unsafe { libc::syscall(libc::SYS_fcntl, *descriptor, libc::F_GETFD) >= 0 }
    };
    tell("descriptors", i64::try_from((0..1024).filter(is_open).count()).unwrap_or(i64::MAX));
    let end = (0..100_000).find_map(|_| {
        // SAFETY: a copy of a descriptor harms nobody.
        let copied = unsafe { libc::syscall(libc::SYS_fcntl, 2, libc::F_DUPFD_CLOEXEC, 0) };
        (copied < 0).then(|| std::io::Error::last_os_error().raw_os_error().unwrap_or(-1))
    });
    tell("many_descriptors", end.unwrap_or(0).into());
}
