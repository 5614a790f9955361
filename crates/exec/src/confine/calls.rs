//! The system calls of a worker: a list with the reason for each, and three filters that make it hold.
//!
//! A call on [`LISTED`] is let through, with the arguments that its row allows. One on [`TRIED`] fails with `EPERM`: a
//! library asks and has another way. One on [`DEADLY`] ends the process at once, since nothing in a worker ever makes it.
//! Any other call fails with `EPERM` too, or ends the worker with the call's number as its last words, which is how tests
//! find what a new version of a dependency needs ([`UnlistedCalls`]).

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

use super::{UnlistedCalls, Work};

/// What an argument has to be: under the mask, this value.
#[derive(Clone, Copy)]
struct Argument {
    /// Which argument, from 0.
    index: u8,
    /// Whether all 64 bits count, as of a pointer, or the lower 32, as of an `int`.
    wide: bool,
    mask: u64,
    value: u64,
}

/// An `int` that has to be this.
const fn int(index: u8, value: i32) -> Argument {
    flags(index, -1, value)
}

/// An `int` that has to be this under a mask.
const fn flags(index: u8, mask: i32, value: i32) -> Argument {
    Argument { index, wide: false, mask: mask.cast_unsigned() as u64, value: value.cast_unsigned() as u64 }
}

/// A pointer that has to be null.
const fn null(index: u8) -> Argument {
    Argument { index, wide: true, mask: u64::MAX, value: 0 }
}

/// A call, and the arguments that it may have: those of one of the lists. No list means that any will do.
type Row = (libc::c_long, &'static [&'static [Argument]]);

/// Whatever its arguments.
const ANY: &[&[Argument]] = &[];

/// The low bits of the flags of `mmap` that say whether a mapping is shared.
const MAP_TYPE: i32 = 0xf;

/// `PIDFD_SELF_THREAD_GROUP`: this process, where a descriptor of a process is wanted.
const PIDFD_SELF: i32 = -10000;

/// What compiling and running need.
const LISTED: &[Row] = &[
    // The parent: messages, with descriptors that come with them; inputs by offset; replies. Output goes the same way.
    // Descriptors that are done with are closed.
    (libc::SYS_read, ANY),
    (libc::SYS_recvmsg, ANY),
    (libc::SYS_pread64, ANY),
    (libc::SYS_write, ANY),
    // How the C library writes its last words.
    (libc::SYS_writev, ANY),
    (libc::SYS_close, ANY),
    // The standard library asserts that a descriptor is open, and copies one. What would have the system send signals to
    // other processes (`F_SETOWN`), or wait for locks, is not among these.
    (
        libc::SYS_fcntl,
        &[&[int(1, libc::F_GETFD)], &[int(1, libc::F_GETFL)], &[int(1, libc::F_DUPFD_CLOEXEC)]],
    ),
    // The length of the code that wasmtime maps. C libraries ask for it by one of these, with an empty name; with
    // another name they say whether a file is there, and in an empty root none is.
    (libc::SYS_fstat, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_statx, ANY),
    // Memory: the allocator's, linear memories, tables, stacks, and machine code, which is made executable. Private
    // mappings alone, since the limit on memory counts neither shared ones nor those that grow like a stack.
    (libc::SYS_mmap, &[&[flags(3, MAP_TYPE | libc::MAP_GROWSDOWN | libc::MAP_HUGETLB, libc::MAP_PRIVATE)]]),
    (libc::SYS_munmap, ANY),
    (libc::SYS_mremap, ANY),
    (libc::SYS_mprotect, ANY),
    (libc::SYS_madvise, ANY),
    (libc::SYS_brk, ANY),
    // wasmtime gives several ranges back to the system in one call, where the kernel has it.
    (libc::SYS_process_madvise, &[&[int(0, PIDFD_SELF), int(3, libc::MADV_DONTNEED)]]),
    // Traps are signals: handlers, their stacks, and the way back.
    (libc::SYS_rt_sigaction, ANY),
    (libc::SYS_rt_sigprocmask, ANY),
    (libc::SYS_rt_sigreturn, ANY),
    (libc::SYS_sigaltstack, ANY),
    // Locks, and the compiler's threads that wait for work or steal it.
    (libc::SYS_futex, ANY),
    (libc::SYS_sched_yield, ANY),
    (libc::SYS_sched_getaffinity, ANY),
    // New code on AArch64: other cores forget what they have fetched.
    (libc::SYS_membarrier, ANY),
    // Time, where the kernel gives it by no other way; the compiling worker counts its processor time.
    (libc::SYS_clock_gettime, ANY),
    // Keys of hash tables.
    (libc::SYS_getrandom, ANY),
    // The end: of itself, or by `abort`, whose signal to this process is in `rows`.
    (libc::SYS_getpid, ANY),
    (libc::SYS_gettid, ANY),
    (libc::SYS_exit, ANY),
    (libc::SYS_exit_group, ANY),
    // What the kernel goes on with after a process was stopped and continued.
    (libc::SYS_restart_syscall, ANY),
];

/// What libraries try, and do without when they may not.
const TRIED: &[libc::c_long] = &[
    // The allocator asks in /proc whether memory may be overcommitted before it gives some back.
    libc::SYS_openat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
];

/// What nothing in a worker makes, and what somebody who has taken one over would.
const DEADLY: &[libc::c_long] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    // Other namespaces and roots.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    // Parts of the kernel in which holes have been found again and again.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Leaves this process, with all its threads, the listed calls.
///
/// # Errors
/// With a sentence about what the kernel or the processor lacks.
pub(super) fn only_listed(work: Work, unlisted: UnlistedCalls) -> Result<(), String> {
    if unlisted == UnlistedCalls::Fatal {
        name_calls();
    }
    for filter in filters(work, std::process::id(), unlisted)? {
        apply_filter_all_threads(&filter).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The filters in the order in which they are put on: the last lets no other come after it. Of what they say of a call,
/// the system does the most severe.
fn filters(work: Work, pid: u32, unlisted: UnlistedCalls) -> Result<[BpfProgram; 3], String> {
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let each = |calls: &[libc::c_long]| calls.iter().map(|call| (*call, Vec::new())).collect();
    let otherwise = match unlisted {
        UnlistedCalls::Refused => refused.clone(),
        UnlistedCalls::Fatal => SeccompAction::Trap,
    };
    let mut listed = rows(work, pid)?;
    listed.extend(TRIED.iter().map(|call| (*call, Vec::new())));
    Ok([
        filter(each(DEADLY), SeccompAction::Allow, SeccompAction::KillProcess)?,
        filter(each(TRIED), SeccompAction::Allow, refused)?,
        filter(listed, otherwise, SeccompAction::Allow)?,
    ])
}

/// The listed calls with their rules, and those whose rules depend on the worker.
fn rows(work: Work, pid: u32) -> Result<BTreeMap<i64, Vec<SeccompRule>>, String> {
    let mut rows: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, lists) in LISTED {
        rows.insert(*call, lists.iter().map(|list| rule(list)).collect::<Result<_, _>>()?);
    }
    // `abort` sends a signal to this process, and to no other.
    let own = int(0, i32::try_from(pid).map_err(|error| error.to_string())?);
    rows.insert(libc::SYS_tgkill, vec![rule(&[own])?]);
    // Limits of this process may be read, for messages about them. The compiling worker moves its limit of processor time
    // ahead for each program; its other limits are hard.
    let limits = match work {
        Work::Compile { .. } => rule(&[int(0, 0)])?,
        Work::Run | Work::Host { .. } => rule(&[int(0, 0), null(2)])?,
    };
    rows.insert(libc::SYS_prlimit64, vec![limits]);
    Ok(rows)
}

fn rule(list: &[Argument]) -> Result<SeccompRule, String> {
    let conditions = list.iter().map(|argument| {
        let len = if argument.wide { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
        SeccompCondition::new(argument.index, len, SeccompCmpOp::MaskedEq(argument.mask), argument.value)
    });
    let conditions = conditions.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    SeccompRule::new(conditions).map_err(|error| error.to_string())
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(|error| error.to_string())?;
    BpfProgram::try_from(filter).map_err(|error| error.to_string())
}

/// Has a call that is not listed end the process with its number as the last words.
fn name_calls() {
    /// Where `siginfo_t` says which call it was, in words of 32 bits, on 64-bit machines: behind the signal, the error,
    /// the code, what aligns, and an address.
    const CALL: usize = 6;

    extern "C" fn end(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        // SAFETY: the kernel hands a valid `siginfo_t`, which for this signal has this layout.
        let call = unsafe { *info.cast::<libc::c_int>().add(CALL) };
        let mut words = *b"system call      is not on the list of a worker\n";
        let mut rest = call.unsigned_abs();
        for place in (12..16).rev() {
            words[place] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        // SAFETY: `write` and `_exit` may be called in a signal handler, and both are listed.
        unsafe {
            libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len());
            libc::_exit(128 + signal)
        }
    }

    // SAFETY: all zeros are a valid `sigaction`, and the handler only calls what a handler may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler = end as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidemill_types::ByteSize;

    use super::*;

    #[test]
    fn no_call_is_in_two_tables() {
        let listed = LISTED.iter().map(|(call, _)| *call);
        let all: Vec<_> = listed.chain(TRIED.iter().copied()).chain(DEADLY.iter().copied()).collect();
        let unique: BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn the_filters_can_be_made_for_either_work() {
        let compile = Work::Compile { memory: ByteSize::mib(1), threads: 1 };
        for work in [compile, Work::Run] {
            for unlisted in [UnlistedCalls::Refused, UnlistedCalls::Fatal] {
                let filters = filters(work, 1, unlisted).expect("this processor is one of those known");
                // The kernel takes up to 4,096 instructions.
                assert!(filters.iter().all(|filter| (4..4096).contains(&filter.len())));
            }
        }
    }

    #[test]
    fn a_running_worker_may_read_its_limits_and_not_set_them() {
        let compile = Work::Compile { memory: ByteSize::mib(1), threads: 1 };
        let of = |work| rows(work, 1).expect("rows")[&libc::SYS_prlimit64].clone();
        assert_eq!(of(compile), [rule(&[int(0, 0)]).expect("a rule")]);
        assert_eq!(of(Work::Run), [rule(&[int(0, 0), null(2)]).expect("a rule")]);
    }
}
