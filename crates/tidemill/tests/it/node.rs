//! A node of a test's own: a run of the binary that tells its events, one JSON object a line.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Seek},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    sync::mpsc::{Receiver, sync_channel},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    processes,
    support::{LIMIT, Place, wait_for},
    typed::is_a_line,
};

/// A node that may be running. Dropping it kills it.
pub struct Node {
    child: Child,
    /// What a child of another tidemill has in its parent's hands.
    stdin: Option<ChildStdin>,
    events: Receiver<Value>,
    stderr: fs::File,
}

impl Node {
    /// Starts a node that was told `--json`.
    pub fn start(place: &Place, args: &[&str]) -> Self {
        let stderr = tempfile::tempfile().expect("a temporary file");
        let mut command = place.command(args);
        command.arg("--json").env_remove("TIDEMILL_JOIN").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::from(stderr.try_clone().expect("another descriptor")));
        let mut child = command.spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, events) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, events, stderr }
    }

    /// A coordinator for this host alone, whose ticket is then in the file `ticket`.
    pub fn serve(place: &Place) -> Self {
        Self::serve_with(place, &["--trust", "all"])
    }

    /// The same, with these arguments more, and trusting nobody without them.
    pub fn serve_with(place: &Place, more: &[&str]) -> Self {
        let args = ["serve", "--free", "--loopback", "--directory", "coordinator", "--ticket-file", "ticket"];
        let args = [&args[..], more].concat();
        let mut node = Self::start(place, &args);
        node.until("listening");
        node
    }

    /// A coordinator with this directory, whose ticket is then in the file of this name.
    pub fn serve_as(place: &Place, directory: &str, ticket: &str) -> Self {
        let args = ["serve", "--free", "--loopback", "--trust", "all", "--directory", directory];
        let mut node = Self::start(place, &[&args[..], &["--ticket-file", ticket]].concat());
        node.until("listening");
        node
    }

    /// A provider of that coordinator with a directory of this name.
    pub fn provide(place: &Place, name: &str) -> Self {
        Self::provide_to(place, name, &["ticket"], "1")
    }

    /// A provider of the coordinators whose tickets are in these files, with so many slots.
    pub fn provide_to(place: &Place, name: &str, tickets: &[&str], cpus: &str) -> Self {
        let args = ["provide", "--free", "--loopback", "--directory", name, "--name", name, "--own-keys"];
        let joins = tickets.iter().flat_map(|ticket| ["--join", *ticket]);
        let joins: Vec<&str> = joins.collect();
        let more = ["--cpus", cpus, "--assume-fuel-rate", "1000000000"];
        Self::start(place, &[&args[..], &joins[..], &more[..]].concat())
    }

    /// Waits for an event, and passes over those before it.
    #[track_caller]
    pub fn until(&mut self, event: &str) -> Value {
        loop {
            match self.events.recv_timeout(LIMIT) {
                Ok(told) => {
                    is_a_line(&told);
                    if told["event"] == event {
                        return told;
                    }
                }
                Err(error) => panic!("{event:?} did not come: {error}\n{}", self.stderr()),
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        processes::signal(self.id(), Signal::TERM);
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Closes its standard input, as the end of its parent would.
    pub fn orphan(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the node's end", || self.child.try_wait().expect("a child of ours"))
    }

    /// Waits for its end, which must have this exit code.
    #[track_caller]
    pub fn ends_with(&mut self, code: i32) {
        let status = self.ended();
        assert_eq!(status.code(), Some(code), "{status}\n{}", self.stderr());
    }

    /// What it has written to standard error.
    pub fn stderr(&mut self) -> String {
        let mut bytes = Vec::new();
        self.stderr.rewind().expect("a file");
        self.stderr.read_to_end(&mut bytes).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
