//! WASI preview 1 as a task sees it: deterministic, closed, and paid for.
//!
//! The file tree is in memory ([`tree`]), inputs are read from the host by offset ([`input`]), the clock
//! is made of the fuel burnt and the time slept, randomness comes from the task's seed. Nothing here
//! blocks and nothing reaches the host but reads of the task's inputs. Every call pays fuel by call and by
//! byte ([`meter`]).
//!
//! [`Guest`] is the whole state of a running task; the calls are its methods, grouped as in the
//! standard: [`descriptor`], [`listing`], [`path`], [`process`]. [`link`] connects them to wasmtime.

mod abi;
mod descriptor;
pub(crate) mod input;
mod leavings;
pub(crate) mod link;
mod listing;
mod memory;
pub(crate) mod meter;
mod path;
mod process;
mod tree;
mod walk;
pub(crate) mod written;

use std::{collections::HashMap, sync::Arc};

use tidemill_types::{
    ArchiveBuilder, ArchiveError, ByteSize, Failure, Fuel, GuestPath, TaskSpec, Tokens, Usage,
};

use self::{
    abi::{Errno, FileType, Rights},
    input::{Given, Inputs},
    listing::Listing,
    meter::{Meter, Stop},
    process::{Clock, Random},
    tree::{Body, NodeId, ROOT, Tree},
    written::Written,
};

/// Why a call did not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The guest is told.
    Errno(Errno),
    /// The task ends.
    Stop(Failure),
    /// The program ended itself.
    Exit(u32),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// The result of a call.
pub(crate) type Call<T = ()> = Result<T, Fault>;

/// Open file descriptors a task may hold.
const MAX_DESCRIPTORS: usize = 1024;

/// What a descriptor leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    Stdin,
    Stdout,
    Stderr,
    Node(NodeId),
}

/// An open file descriptor.
#[derive(Debug)]
struct Descriptor {
    target: Target,
    base: Rights,
    inheriting: Rights,
    flags: u16,
    offset: u64,
    /// The name under which the guest was given this directory.
    preopen: Option<String>,
    listing: Option<Arc<Listing>>,
}

impl Descriptor {
    fn new(target: Target, base: Rights, inheriting: Rights) -> Self {
        Self { target, base, inheriting, flags: 0, offset: 0, preopen: None, listing: None }
    }
}

/// How a task's tree looks when it begins.
#[derive(Clone, Debug, Default)]
pub enum Layout {
    /// Inputs below the read-only `/in`; `/out`, whose files become the output, and `/tmp`.
    #[default]
    Task,
    /// These files in a root directory that is writable as a whole, and nothing of it is kept: for
    /// programs that test a WASI implementation.
    Scratch(Vec<(GuestPath, Vec<u8>)>),
    /// No directory at all.
    Bare,
}

/// The state of a running task.
pub(crate) struct Guest {
    pub(crate) meter: Meter,
    pub(crate) memory: Option<wasmtime::Memory>,
    pub(crate) limiter: crate::wasm::Limiter,
    spec: Arc<TaskSpec>,
    tree: Tree,
    inputs: Inputs,
    descriptors: Vec<Option<Descriptor>>,
    /// Directory entries held by listings, to bound what they take.
    listed: usize,
    clock: Clock,
    random: Random,
    /// `NAME=value`, as the program reads it.
    environment: Vec<String>,
    stdout: Written,
    log: Vec<u8>,
    out: Option<NodeId>,
}

/// What a finished task leaves behind.
pub(crate) struct Leavings {
    /// The parts of the output archive, to be written one after another; empty unless asked for.
    pub(crate) archive: Vec<Vec<u8>>,
    /// The bytes of the output's files.
    pub(crate) output_bytes: u64,
}

impl Guest {
    pub(crate) fn new(
        spec: Arc<TaskSpec>,
        given: Given,
        layout: &Layout,
        stop: Stop,
        stdout: Written,
    ) -> Result<Self, Failure> {
        let inputs = Inputs::new(&spec.inputs, given)?;
        let clock = Clock::default();
        let now = clock.realtime(0);
        let mut tree = Tree::new(&spec.limits, now);
        let out = match layout {
            Layout::Task => {
                let directory = tree.lay_directory(ROOT, "in", now);
                for (index, input) in spec.inputs.iter().enumerate() {
                    tree.lay_input(directory, &input.path, index, input.len, now).map_err(|_| {
                        let reason = "another input has this path or a part of it".to_owned();
                        Failure::Input { path: input.path.to_string(), reason }
                    })?;
                }
                tree.protect(directory);
                let out = tree.lay_directory(ROOT, "out", now);
                tree.lay_directory(ROOT, "tmp", now);
                tree.protect_entries(ROOT);
                Some(out)
            }
            Layout::Scratch(files) => {
                for (path, bytes) in files {
                    lay_scratch_file(&mut tree, path, bytes, now)?;
                }
                None
            }
            Layout::Bare => None,
        };
        let random = Random::new(spec.randomness());
        let environment = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut guest = Self {
            meter: Meter::new(stop),
            memory: None,
            limiter: crate::wasm::Limiter::new(&spec.limits),
            spec,
            tree,
            inputs,
            descriptors: Vec::with_capacity(8),
            listed: 0,
            clock,
            random,
            environment,
            stdout,
            log: Vec::new(),
            out,
        };
        guest.open_streams();
        if !matches!(layout, Layout::Bare) {
            guest.open_root();
        }
        Ok(guest)
    }

    fn open_streams(&mut self) {
        let streams = [
            (Target::Stdin, Rights::INPUT_STREAM),
            (Target::Stdout, Rights::OUTPUT_STREAM),
            (Target::Stderr, Rights::OUTPUT_STREAM),
        ];
        let open = |(target, base)| Some(Descriptor::new(target, base, Rights::NONE));
        self.descriptors.extend(streams.map(open));
    }

    fn open_root(&mut self) {
        self.tree.opened(ROOT);
        let inheriting = Rights::DIRECTORY.union(Rights::FILE);
        let root = Descriptor::new(Target::Node(ROOT), Rights::DIRECTORY, inheriting);
        self.descriptors.push(Some(Descriptor { preopen: Some("/".to_owned()), ..root }));
    }

    /// The virtual time of day in nanoseconds.
    fn now(&self) -> u64 {
        self.clock.realtime(self.meter.used())
    }

    /// What was used so far, given the output's size.
    pub(crate) fn usage(&self, output_bytes: u64) -> Usage {
        Usage {
            fuel: Fuel(self.meter.used()),
            tokens: Tokens::default(),
            memory: self.limiter.peak(),
            read: ByteSize(self.meter.read),
            output: ByteSize(output_bytes),
            log: ByteSize(self.log.len() as u64),
            host_calls: self.meter.host_calls,
        }
    }

    /// The end of standard error, for a failure's message.
    pub(crate) fn log_tail(&self) -> String {
        const TAIL: usize = 2048;
        let tail = &self.log[self.log.len().saturating_sub(TAIL)..];
        String::from_utf8_lossy(tail).trim_end().to_owned()
    }

    pub(crate) fn take_log(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.log)
    }

    /// Packs what is in `/out`, and what was written to standard output as the file `stdout`. The files'
    /// bytes are moved, not copied.
    ///
    /// # Errors
    /// [`Failure::BadOutput`] where something in `/out` has no place in an archive.
    pub(crate) fn take_output(&mut self) -> Result<Leavings, Failure> {
        let files = match self.out {
            Some(out) => leavings::collect(&self.tree, out)?,
            None => Vec::new(),
        };
        // A file with several names is kept once while the task runs, and once for each name in the output.
        let sizes = files.iter().map(|(_, node)| self.tree.size(*node));
        let limit = self.spec.limits.output;
        if sizes.sum::<u64>() + self.stdout.len() as u64 > limit.0 {
            return Err(Failure::Output { limit });
        }
        let mut names: HashMap<NodeId, usize> = HashMap::new();
        for (_, node) in &files {
            *names.entry(*node).or_default() += 1;
        }
        let mut bodies: HashMap<GuestPath, Vec<u8>> =
            files.into_iter().map(|(path, node)| (path, self.file_bytes(node, &mut names))).collect();
        if !self.stdout.is_empty() {
            let name = GuestPath::new("stdout").expect("a plain name is a path");
            if bodies.insert(name, self.stdout.take()).is_some() {
                let reason = "both `/out/stdout` and standard output were written".to_owned();
                return Err(Failure::BadOutput { reason });
            }
        }
        let mut builder = ArchiveBuilder::default();
        for (path, body) in &bodies {
            builder.add(path.clone(), body.len() as u64);
        }
        let bad = |error: ArchiveError| Failure::BadOutput { reason: error.to_string() };
        let (head, order) = builder.finish().map_err(bad)?;
        let output_bytes = order.iter().map(|entry| entry.len).sum();
        let mut archive = vec![head];
        archive.extend(order.iter().filter_map(|entry| bodies.remove(&entry.path)));
        Ok(Leavings { archive, output_bytes })
    }

    /// A file's bytes, moved out unless another name still needs them. `names` says how many names of the output do.
    fn file_bytes(&mut self, node: NodeId, names: &mut HashMap<NodeId, usize>) -> Vec<u8> {
        let left = names.entry(node).or_default();
        *left = left.saturating_sub(1);
        if *left == 0 && self.tree.stat(node).links == 1 {
            return self.tree.take_file(node);
        }
        match self.tree.body(node) {
            Body::File(bytes) => bytes.clone(),
            _ => Vec::new(),
        }
    }

    fn descriptor(&self, fd: u32) -> Call<&Descriptor> {
        let found = self.descriptors.get(fd as usize).and_then(Option::as_ref);
        found.ok_or(Fault::Errno(Errno::Badf))
    }

    fn descriptor_mut(&mut self, fd: u32) -> Call<&mut Descriptor> {
        let found = self.descriptors.get_mut(fd as usize).and_then(Option::as_mut);
        found.ok_or(Fault::Errno(Errno::Badf))
    }

    /// The node behind a descriptor; streams have none.
    fn node(&self, fd: u32) -> Call<NodeId> {
        match self.descriptor(fd)?.target {
            Target::Node(node) => Ok(node),
            _ => Err(Errno::Spipe.into()),
        }
    }

    /// The directory behind a descriptor.
    fn directory(&self, fd: u32) -> Call<NodeId> {
        match self.descriptor(fd)?.target {
            Target::Node(node) if self.tree.is_directory(node) => Ok(node),
            _ => Err(Errno::Notdir.into()),
        }
    }

    fn file_type(&self, target: Target) -> FileType {
        match target {
            Target::Stdin | Target::Stderr => FileType::CharacterDevice,
            // A file, so that C programs buffer what they write to it.
            Target::Stdout => FileType::RegularFile,
            Target::Node(node) => self.tree.file_type(node),
        }
    }
}

fn lay_scratch_file(tree: &mut Tree, path: &GuestPath, bytes: &[u8], now: u64) -> Result<(), Failure> {
    let host = |fault: Fault| match fault {
        Fault::Stop(failure) => failure,
        other => Failure::Host { reason: format!("laying out {path} gave {other:?}") },
    };
    let mut components: Vec<&str> = path.components().collect();
    let name = components.pop().unwrap_or_default();
    let mut parent = ROOT;
    for component in components {
        parent = match tree.lookup(parent, component) {
            Ok(found) => found,
            Err(_) => tree.create(parent, component, Body::directory(), now).map_err(host)?,
        };
    }
    let node = tree.create(parent, name, Body::File(Vec::new()), now).map_err(host)?;
    tree.write(node, 0, bytes, now).map_err(host)
}
