//! A node that a test arms, wraps, or lets tell more than it reads: its events are gathered as they come.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    processes,
    support::{LIMIT, wait_for},
    typed::is_a_line,
};

/// A node that may be running. Dropping it kills it.
pub struct Process {
    child: Child,
    told: Arc<Told>,
    seen: usize,
    stderr: File,
}

/// What a node has told.
#[derive(Default)]
struct Told {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    events: Vec<Value>,
    ended: bool,
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts a command of the binary that has `--json` lines for its events.
    pub fn start(command: &mut Command) -> Self {
        let stderr = tempfile::tempfile().expect("a temporary file");
        command.arg("--json").env_remove("TIDEMILL_JOIN").stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::from(stderr.try_clone().expect("another descriptor")));
        let mut child = command.spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let told = Arc::new(Told::default());
        let teller = told.clone();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // What is killed may have written half a line.
                let Ok(event) = serde_json::from_str(&line) else { break };
                teller.lock().events.push(event);
                teller.changed.notify_all();
            }
            teller.lock().ended = true;
            teller.changed.notify_all();
        });
        Self { child, told, seen: 0, stderr }
    }

    /// Waits for an event of this kind of which this holds, and passes over those before it. Nothing: it ended
    /// before that.
    pub fn wait(&mut self, event: &str, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        let mut lines = self.told.lock();
        loop {
            while let Some(told) = lines.events.get(self.seen) {
                self.seen += 1;
                is_a_line(told);
                if told["event"] == event && is_it(told) {
                    return Some(told.clone());
                }
            }
            if lines.ended {
                return None;
            }
            let waited = self.told.changed.wait_timeout(lines, LIMIT);
            let (next, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            assert!(!timeout.timed_out(), "{event:?} did not come");
            lines = next;
        }
    }

    /// The same for one that must not end before.
    #[track_caller]
    pub fn until(&mut self, event: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let told = self.wait(event, is_it);
        told.unwrap_or_else(|| panic!("it ended before {event:?}\n{}", self.stderr()))
    }

    /// Whether it has told of an event of this kind since the last that was waited for.
    pub fn has_told(&self, event: &str) -> bool {
        self.told.lock().events.iter().skip(self.seen).any(|told| told["event"] == event)
    }

    /// Waits until it runs a task.
    #[track_caller]
    pub fn until_it_works(&mut self) {
        self.until("working", |event| event["running"].as_u64() > Some(0));
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        processes::signal(self.id(), signal);
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = wait_for("the node's end", || self.ended());
        assert_eq!(status.code(), Some(0), "{status}\n{}", self.stderr());
    }

    /// What it has written to standard error.
    pub fn stderr(&mut self) -> String {
        let mut bytes = Vec::new();
        self.stderr.rewind().expect("a file");
        self.stderr.read_to_end(&mut bytes).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has written these words to standard error.
    #[track_caller]
    pub fn until_it_logs(&mut self, words: &str) {
        wait_for(words, || {
            let log = self.stderr();
            assert!(log.contains(words) || self.ended().is_none(), "it ended without {words:?}\n{log}");
            log.contains(words).then_some(())
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- standard error of {:?}\n{}", self.child.id(), self.stderr());
        }
    }
}
