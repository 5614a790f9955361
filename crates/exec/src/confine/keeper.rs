//! The process that watches a worker from outside.
//!
//! Only children get into a new process namespace, so the process that the parent started stays outside, as the
//! worker's keeper: it ends the worker when the parent hangs up, and ends in the way in which the worker ended. It runs
//! nothing of a stranger's and reads nothing.

use std::{
    fs::File,
    io::{self, PipeReader},
    os::fd::AsFd,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, Signal, WaitOptions, getpid, kill_process, set_parent_process_death_signal, waitpid},
};

/// An exit code of 128 + n stands for signal n: the first process of a namespace cannot die of a signal that it sends
/// itself.
const SIGNALS: i32 = 128;

/// Makes the worker, a copy of this process in which this function returns. This process becomes its keeper. `started`
/// is told the worker's number, as the parent knows it.
///
/// # Errors
/// When there can be no further process.
pub(super) fn split(socket: &File, started: impl FnOnce(u32) -> io::Result<()>) -> io::Result<()> {
    let (alive, life) = io::pipe()?;
    // SAFETY: this process has one thread, so nothing in the copy waits for a thread that is not there.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(alive);
            // Open for as long as the worker lives, and closed by the system, however it ends.
            std::mem::forget(life);
            let _ = rustix::thread::set_name(c"tidemill-worker");
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getpid().is_init() {
                die_of_own_signals();
            }
            Ok(())
        }
        pid => {
            let worker = Pid::from_raw(pid).expect("a child has a number");
            drop(life);
            let _ = rustix::thread::set_name(c"tidemill-keeper");
            // Where nobody hears it, the socket says so too.
            let _ = started(pid.unsigned_abs());
            keep(worker, socket, &alive)
        }
    }
}

/// Waits until the worker has ended, or the parent has hung up.
fn keep(worker: Pid, socket: &File, alive: &PipeReader) -> ! {
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::empty()),
            PollFd::from_borrowed_fd(alive.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, None) {
            Ok(_) if fds.iter().any(|fd| fd.revents().intersects(gone)) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    // One that is ending by itself is not changed by this; one that only closed its end is.
    let _ = kill_process(worker, Signal::KILL);
    match waitpid(Some(worker), WaitOptions::empty()) {
        Ok(Some((_, status))) => match (status.terminating_signal(), status.exit_status()) {
            (Some(signal), _) => die_of(signal),
            (None, Some(code)) if code > SIGNALS => die_of(code - SIGNALS),
            (None, code) => std::process::exit(code.unwrap_or(1)),
        },
        _ => std::process::exit(1),
    }
}

/// Ends this process by a signal.
fn die_of(signal: i32) -> ! {
    if let Some(signal) = Signal::from_named_raw(signal) {
        // The standard library has handlers that give way to the system's at the first signal.
        for _ in 0..3 {
            let _ = kill_process(getpid(), signal);
        }
    }
    std::process::exit(SIGNALS + signal)
}

/// Lets the first process of a namespace end by the signals that it gets from within: the system ignores them there
/// unless they are handled. (Signals for faults, and those from outside, end it anyway.)
fn die_of_own_signals() {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: `_exit` may be called in a signal handler.
        unsafe { libc::_exit(SIGNALS + signal) }
    }
    let handler = end as extern "C" fn(libc::c_int) as *const () as libc::sighandler_t;
    for signal in [libc::SIGABRT, libc::SIGXCPU] {
        // SAFETY: the handler calls nothing but `_exit`.
        unsafe { libc::signal(signal, handler) };
    }
}
