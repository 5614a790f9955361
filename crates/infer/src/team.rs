//! Threads that share out the parts of one piece of work after another.
//!
//! A forward has hundreds of phases of some microseconds, so threads wait for the next by looking again and again. On a
//! busy machine that would take the core from those who do the work: a thread that has waited for long first yields,
//! then sleeps.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Looks before a thread yields: some microseconds, longer than the phases of a layer differ.
const LOOKS: u32 = 4_000;

/// Yields before a thread sleeps: about a millisecond on a busy machine, longer than sampling takes.
const YIELDS: u32 = 200;

/// A team of threads, of which the caller's is the first.
pub struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Team of {} threads", self.size())
    }
}

struct Shared {
    /// Raised when there is new work, or none any more.
    round: AtomicUsize,
    /// Written before `round` is raised, read after it was seen raised.
    work: UnsafeCell<Option<Work>>,
    /// Threads that are not done with this round.
    busy: AtomicUsize,
    stop: AtomicBool,
    asleep: Vec<AtomicBool>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The closure of the caller of `run`, which returns only when nobody uses it any more.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn(usize) + Sync));

// SAFETY: `work` is written by the one owner of the team only while all threads wait for a round, and read by them only
// after they saw the round raised; what it points to is `Sync` and outlives the round.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is used by no thread outside of a round.
unsafe impl Send for Shared {}

impl Team {
    /// A team of so many threads, at least one.
    pub fn new(size: usize) -> Self {
        let others = size.max(1) - 1;
        let shared = Arc::new(Shared {
            round: AtomicUsize::new(0),
            work: UnsafeCell::new(None),
            busy: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            asleep: (0..others).map(|_| AtomicBool::new(false)).collect(),
            panic: Mutex::new(None),
        });
        let thread = |number: usize| {
            let shared = Arc::clone(&shared);
            let name = format!("infer-{}", number + 1);
            std::thread::Builder::new().name(name).spawn(move || shared.serve(number))
        };
        // A system that gives fewer threads gets a smaller team.
        let threads = (0..others).map_while(|number| thread(number).ok()).collect();
        let mut team = Self { shared, threads };
        // All have begun by now: a process may give up what threads need of the system only to begin.
        team.run(&|_| {});
        team
    }

    /// Threads, the caller's among them.
    pub fn size(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `work` once in each thread, with the thread's number.
    ///
    /// # Panics
    ///
    /// With what `work` panics with, once all threads are done.
    pub fn run(&mut self, work: &(dyn Fn(usize) + Sync)) {
        if self.threads.is_empty() {
            return work(0);
        }
        // SAFETY: only the lifetime changes, and this function does not return before all threads are done.
        let pointer = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(work)
        };
        let shared = &*self.shared;
        // SAFETY: no round is going on, since `run` has the team to itself and waits for the end of its round.
        unsafe { *shared.work.get() = Some(Work(pointer)) };
        shared.busy.store(self.threads.len(), Ordering::Relaxed);
        self.begin_round();
        let own = catch_unwind(AssertUnwindSafe(|| work(0)));
        let mut waited = 0;
        while shared.busy.load(Ordering::Acquire) != 0 {
            waited += 1;
            if waited < LOOKS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        let others = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = own.err().or(others) {
            resume_unwind(panic);
        }
    }

    /// Shares out `data`, in units of `unit` elements; each thread gets a contiguous part, with its own number and that
    /// of the part's first unit.
    pub fn share<T: Send>(
        &mut self,
        data: &mut [T],
        unit: usize,
        work: impl Fn(usize, usize, &mut [T]) + Sync,
    ) {
        let size = self.size();
        let units = data.len() / unit.max(1);
        if size == 1 || units <= 1 {
            return work(0, 0, data);
        }
        let base = Base(data.as_mut_ptr());
        self.run(&|thread| {
            let (from, to) = (units * thread / size, units * (thread + 1) / size);
            if from < to {
                // SAFETY: the parts of different threads are disjoint and within `data`, which this call borrows.
                let part =
                    unsafe { std::slice::from_raw_parts_mut(base.at(from * unit), (to - from) * unit) };
                work(thread, from, part);
            }
        });
    }

    fn begin_round(&self) {
        self.shared.round.fetch_add(1, Ordering::SeqCst);
        for (thread, asleep) in self.threads.iter().zip(&self.shared.asleep) {
            if asleep.load(Ordering::SeqCst) {
                thread.thread().unpark();
            }
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.begin_round();
        for thread in self.threads.drain(..) {
            // Panics of the work were handed to the caller of `run`.
            let _ = thread.join();
        }
    }
}

/// A pointer that threads may have: they make disjoint slices of it.
struct Base<T>(*mut T);

// SAFETY: see `Team::share`, the only user.
unsafe impl<T: Send> Sync for Base<T> {}

impl<T> Base<T> {
    /// The element at an index that is within the slice.
    fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}

impl Shared {
    fn serve(&self, number: usize) {
        let mut seen = 0;
        loop {
            self.wait(number, seen);
            seen += 1;
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            // SAFETY: the round was seen raised, so the work is written, and its owner waits until `busy` is 0.
            let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
                if let Some(Work(work)) = *self.work.get() {
                    (*work)(number + 1);
                }
            }));
            if let Err(panic) = outcome {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
            self.busy.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until the round is beyond the one that was seen.
    fn wait(&self, number: usize, seen: usize) {
        for _ in 0..LOOKS {
            if self.round.load(Ordering::Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..YIELDS {
            if self.round.load(Ordering::Acquire) != seen {
                return;
            }
            std::thread::yield_now();
        }
        // Whoever raises the round after this sees the flag; whoever raised it before is seen here.
        self.asleep[number].store(true, Ordering::SeqCst);
        while self.round.load(Ordering::SeqCst) == seen {
            std::thread::park();
        }
        self.asleep[number].store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_worked_on_once() {
        for size in [1, 2, 3, 5] {
            let mut team = Team::new(size);
            for units in [0, 1, 2, 7, 100] {
                let mut data = vec![0usize; units * 3];
                team.share(&mut data, 3, |_, first, part| {
                    for (unit, elements) in part.chunks_exact_mut(3).enumerate() {
                        elements.iter_mut().for_each(|x| *x += first + unit + 1);
                    }
                });
                let expected: Vec<usize> = (0..units * 3).map(|i| i / 3 + 1).collect();
                assert_eq!(data, expected, "{units} units, {size} threads");
            }
        }
    }

    #[test]
    fn many_rounds_and_sleepers() {
        let mut team = Team::new(3);
        let count = AtomicUsize::new(0);
        for round in 0..2_000 {
            team.run(&|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            if round % 500 == 0 {
                while team.shared.asleep.iter().any(|asleep| !asleep.load(Ordering::SeqCst)) {
                    std::thread::yield_now();
                }
            }
        }
        assert_eq!(count.load(Ordering::Relaxed), 6_000);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let mut team = Team::new(2);
        for thread in 0..2 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                team.run(&|number| assert_ne!(number, thread, "as asked"));
            }));
            assert!(outcome.is_err());
        }
        let mut data = [0; 8];
        team.share(&mut data, 1, |_, _, part| part.fill(1));
        assert_eq!(data, [1; 8]);
    }
}
