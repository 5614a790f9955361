//! Runs code: one task, one store, one instance.

use std::{
    collections::HashMap,
    fs::File,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use tidemill_types::{BlobId, ByteSize, Failure, Outcome, TaskSpec, Usage};
use wasmtime::{Engine, InstancePre, Linker, Module, Store};

use super::{
    engine::{Backend, CodeClass, running},
    failure::{End, end_of},
};
use crate::{
    cancel::Cancel,
    executor::Raw,
    wasi::{
        Guest, Layout,
        input::Given,
        link::linker,
        meter::Stop,
        written::{Looks, Onlooker, Written},
    },
};

/// Fuel between two looks at the wall clock: about a millisecond, and half a second of the dearest code
/// for its fuel that is known (docs/threat-model.md).
const YIELD_INTERVAL: u64 = 1_000_000;
/// Modules kept ready, by number and by the bytes of their code. A worker sees a job's map and reduce
/// programs again and again, and few others.
const MAX_LOADED: usize = 16;
const MAX_LOADED_BYTES: usize = 256 << 20;
/// Stacks come in powers of two, so that there are few engines.
const LEAST_STACK: u64 = 256 << 10;
/// Engines kept at a time. Each reserves what a task may need at most, and that counts for the limits of a worker.
const MAX_ENGINES: usize = 4;

/// Loaded code, ready to be instantiated.
pub(crate) type Loaded = Arc<InstancePre<Guest>>;

/// Engines and modules that are ready to run.
pub(crate) struct Runtime {
    /// How many tasks may run at a time.
    instances: u32,
    hosts: Mutex<HashMap<(CodeClass, u64), Host>>,
    /// The one used last stands last.
    loaded: Mutex<Vec<Kept>>,
}

/// A module that is kept ready.
struct Kept {
    /// The code's name and the stack that it runs on.
    key: (BlobId, u64),
    code_bytes: usize,
    loaded: Loaded,
}

/// Where compiled code is.
pub(crate) enum Code<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// In a file of this length that nobody can change.
    File(File, usize),
}

impl Code<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(_, len) => *len,
        }
    }
}

/// An engine with the calls that it offers.
#[derive(Clone)]
struct Host {
    engine: Engine,
    linker: Arc<Linker<Guest>>,
}

/// What a run needs besides the code.
pub(crate) struct Job {
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) given: Given,
    pub(crate) layout: Layout,
    pub(crate) cancel: Cancel,
    /// Looks on while it runs.
    pub(crate) onlooker: Box<dyn Onlooker>,
}

/// The failure of an engine that could not be made. Batch systems limit the address space to what a job asks for, and
/// then that limit is likely to blame.
fn no_room(error: &wasmtime::Error) -> Failure {
    let mut reason = format!("{error:#}");
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::As).current {
        reason += &format!(
            "; the address space is limited to {} here (`ulimit -v`), and a task takes about 6 GiB of it, whatever \
             memory it uses",
            ByteSize(limit)
        );
    }
    Failure::Host { reason }
}

impl Runtime {
    /// A runtime for so many tasks at a time.
    pub(crate) fn new(instances: u32) -> Self {
        Self { instances, hosts: Mutex::default(), loaded: Mutex::default() }
    }

    /// Code that was loaded before under this name.
    pub(crate) fn loaded(&self, code: BlobId, stack: ByteSize) -> Option<Loaded> {
        let key = (code, stack_size(stack));
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let place = loaded.iter().position(|kept| kept.key == key)?;
        let kept = loaded.remove(place);
        let module = kept.loaded.clone();
        loaded.push(kept);
        Some(module)
    }

    /// Loads code.
    ///
    /// # Safety
    /// `bytes` must be what [`super::Compiler::compile`] returned for this class on this host, unchanged, and stay so.
    pub(crate) unsafe fn load(
        &self,
        code: BlobId,
        class: CodeClass,
        stack: ByteSize,
        bytes: Code<'_>,
    ) -> Result<Loaded, Failure> {
        let Host { engine, linker } = self.host(class, stack)?;
        let code_bytes = bytes.len();
        let module = match bytes {
            // SAFETY: the caller vouches that the bytes are unchanged compiler output.
            Code::Bytes(bytes) => unsafe { Module::deserialize(&engine, bytes) },
            // SAFETY: the same, and that the file stays as it is.
            Code::File(file, _) => unsafe { Module::deserialize_open_file(&engine, file) },
        };
        let module = module.map_err(|error| {
            // What is wrong with the module itself was found before it was compiled.
            Failure::Host { reason: format!("could not load compiled code: {error:#}") }
        })?;
        check_start(&module)?;
        let ready = linker.instantiate_pre(&module).map_err(|error| {
            // The names are known to be offered by now; what is left is a function of another type.
            Failure::ImportNotOffered { imports: vec![format!("{error:#}")] }
        })?;
        let ready = Arc::new(ready);
        self.keep(Kept { key: (code, stack_size(stack)), code_bytes, loaded: ready.clone() });
        Ok(ready)
    }

    /// Keeps a module, and lets those go that were not used for longest where there are too many. What
    /// still runs keeps its code.
    fn keep(&self, kept: Kept) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.push(kept);
        let mut code_bytes: usize = loaded.iter().map(|kept| kept.code_bytes).sum();
        while loaded.len() > MAX_LOADED || (code_bytes > MAX_LOADED_BYTES && loaded.len() > 1) {
            code_bytes -= loaded.remove(0).code_bytes;
        }
    }

    fn host(&self, class: CodeClass, stack: ByteSize) -> Result<Host, Failure> {
        let size = stack_size(stack);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = hosts.get(&(class, size)) {
            return Ok(found.clone());
        }
        if hosts.len() >= MAX_ENGINES {
            // What still runs keeps its own.
            hosts.clear();
            self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let failed = |error: wasmtime::Error| Failure::Host { reason: format!("{error:#}") };
        let engine = running(class, ByteSize(size), self.instances).map_err(|error| no_room(&error))?;
        let linker = Arc::new(linker(&engine).map_err(failed)?);
        let host = Host { engine, linker };
        hosts.insert((class, size), host.clone());
        Ok(host)
    }

    /// Runs one task to its end.
    pub(crate) fn run(&self, code: &Loaded, class: CodeClass, job: Job) -> Raw {
        let begun = Instant::now();
        let spec = job.spec;
        let limits = spec.limits;
        let written = Written::default();
        let looks = Looks::new(job.onlooker, written.clone());
        let stop = Stop { deadline: begun + limits.wall_time.duration(), cancel: job.cancel, limits, looks };
        let guest = match Guest::new(spec, job.given, &job.layout, stop.clone(), written) {
            Ok(guest) => guest,
            Err(failure) => return Raw::failed(failure, begun.elapsed()),
        };
        let mut store = Store::new(code.module().engine(), guest);
        store.limiter(|guest| &mut guest.limiter);
        let end = execute(&mut store, code, class, &stop);
        if class.backend != Backend::Plain {
            // Host calls know the fuel as of the last of them; the code ran on after that.
            let left = store.get_fuel().unwrap_or(0);
            store.data_mut().meter.left = left;
        }
        let guest = store.data_mut();
        let end = match end {
            Ok(()) | Err(End::Exited(0)) => Ok(()),
            Err(End::Exited(code)) => Err(Failure::Exit { code, stderr: guest.log_tail() }),
            Err(End::Failed(failure)) => Err(failure),
        };
        let output = end.and_then(|()| guest.take_output());
        let usage = guest.usage(output.as_ref().map_or(0, |output| output.output_bytes));
        let (outcome, output) = match output {
            Ok(leavings) => (Outcome::Done, leavings.archive),
            Err(failure) => (Outcome::Failed(failure), Vec::new()),
        };
        Raw { outcome, usage, output, log: guest.take_log(), wall: begun.elapsed() }
    }
}

impl Raw {
    pub(crate) fn failed(failure: Failure, wall: std::time::Duration) -> Self {
        Self {
            outcome: Outcome::Failed(failure),
            usage: Usage::default(),
            output: Vec::new(),
            log: Vec::new(),
            wall,
        }
    }
}

/// What is called to run a program takes nothing and returns nothing.
fn check_start(module: &Module) -> Result<(), Failure> {
    let ty = module.get_export("_start").and_then(|export| export.func().cloned());
    match ty {
        Some(ty) if ty.params().len() == 0 && ty.results().len() == 0 => Ok(()),
        _ => Err(Failure::NotCommand { reason: "its `_start` takes or returns values".to_owned() }),
    }
}

fn stack_size(stack: ByteSize) -> u64 {
    stack.0.max(LEAST_STACK).next_power_of_two()
}

fn execute(store: &mut Store<Guest>, code: &Loaded, class: CodeClass, stop: &Stop) -> Result<(), End> {
    let host = |error: wasmtime::Error| End::Failed(Failure::Host { reason: format!("{error:#}") });
    if class.backend != Backend::Plain {
        store.set_fuel(stop.limits.fuel.0).map_err(host)?;
        store.fuel_async_yield_interval(Some(YIELD_INTERVAL)).map_err(host)?;
    }
    let result = drive(
        async {
            let instance = code.instantiate_async(&mut *store).await?;
            let memory = instance.get_memory(&mut *store, "memory");
            store.data_mut().memory = memory;
            instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call_async(&mut *store, ()).await
        },
        stop,
    );
    match result {
        Err(failure) => Err(End::Failed(failure)),
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(end_of(error, store.data(), &stop.limits)),
    }
}

/// Polls a guest until it is done or must stop. A guest only ever waits because it yields after so much
/// fuel, so polling again at once is right, and this loop is the whole of the runtime it needs.
fn drive<F: Future>(future: F, stop: &Stop) -> Result<F::Output, Failure> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return Ok(output),
            Poll::Pending => stop.check()?,
        }
    }
}
