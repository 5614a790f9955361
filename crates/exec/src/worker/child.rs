//! The inside of a worker process.

use std::{
    io::{self, BufReader, Write, stdin, stdout},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Resource, Rlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use tidemill_types::{Failure, Outcome};

use super::protocol::{
    Body, CompileReply, CompileRequest, INLINE_BYTES, Ran, Role, RunReply, RunRequest, read_frame,
    write_frame,
};
use crate::{
    cache::CodeCache,
    cancel::Cancel,
    executor::Raw,
    wasi::Layout,
    wasm::{CodeClass, Compiler, Job, Runtime},
};

/// The main function of a worker process: serves the parent at the other end of standard input and
/// output until it hangs up.
pub fn worker_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    harden()?;
    end_with_parent()?;
    let mut requests = BufReader::with_capacity(64 << 10, stdin().lock());
    match read_frame(&mut requests)? {
        Role::Compile { memory } => {
            limit(Resource::As, memory.0)?;
            serve_compiling(&mut requests)
        }
        Role::Run { cache, spool } => serve_running(&mut requests, &cache, &spool),
    }
}

fn serve_compiling(requests: &mut impl io::Read) -> io::Result<()> {
    let compiler = Compiler::default();
    loop {
        let request: CompileRequest = read_frame(requests)?;
        // The limit counts the whole life of the process, so it moves ahead of what was used so far.
        let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.cast_unsigned();
        // A second more, since `used` was rounded down.
        limit(Resource::Cpu, used + request.time.0.div_ceil(1000) + 1)?;
        let class = CodeClass { floats: request.floats, backend: request.backend };
        let reply: CompileReply = compiler.compile(class, &request.program);
        write_frame(&mut stdout().lock(), &reply)?;
    }
}

fn serve_running(requests: &mut impl io::Read, cache: &CodeCache, spool: &Path) -> io::Result<()> {
    // A worker runs one task at a time.
    let runtime = Runtime::new(1);
    loop {
        let request: RunRequest = read_frame(requests)?;
        let reply = match attempt(&runtime, cache, request) {
            None => RunReply::NoCode,
            Some(raw) => RunReply::Ran(Box::new(ran(raw, spool))),
        };
        write_frame(&mut stdout().lock(), &reply)?;
    }
}

/// Runs a task; `None` when its code is not to be had.
fn attempt(runtime: &Runtime, cache: &CodeCache, request: RunRequest) -> Option<Raw> {
    let class = CodeClass { floats: request.spec.floats, backend: request.backend };
    let stack = request.spec.limits.stack;
    let loaded = match runtime.loaded(request.code, stack) {
        Some(loaded) => Ok(loaded),
        None => {
            let bytes = cache.get(&request.code)?;
            // SAFETY: the cache vouches by its MAC that this host stored these bytes under this name,
            // and the parent stores only what its compiler made for it.
            unsafe { runtime.load(request.code, class, stack, &bytes) }
        }
    };
    let job = Job {
        spec: Arc::new(request.spec),
        contents: request.contents,
        layout: Layout::Task,
        // Cancelling ends the process.
        cancel: Cancel::default(),
    };
    Some(match loaded {
        Ok(loaded) => runtime.run(&loaded, class, job),
        Err(failure) => Raw::failed(failure, std::time::Duration::ZERO),
    })
}

/// Puts a large output into a file, and everything else into the reply.
fn ran(mut raw: Raw, directory: &Path) -> Ran {
    let (output_id, output_len) = raw.output_id();
    let mut output = Body::Inline(Vec::new());
    if output_len <= INLINE_BYTES {
        output = Body::Inline(raw.output.concat());
    } else {
        match spool(&raw.output, directory) {
            Ok(path) => output = Body::Spooled(path),
            Err(error) => {
                let reason = format!("could not write an output into {}: {error}", directory.display());
                raw.outcome = Outcome::Failed(Failure::Host { reason });
            }
        }
    }
    Ran {
        outcome: raw.outcome,
        usage: raw.usage,
        log: raw.log,
        wall: raw.wall,
        output_id,
        output_len,
        output,
    }
}

/// Writes an archive into a new file. What could not be written whole is removed: the disk may be full
/// because of it.
fn spool(parts: &[Vec<u8>], directory: &Path) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("output-").tempfile_in(directory)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}

/// A worker needs no new privileges and leaves no core dumps, which could hold a task's data.
fn harden() -> io::Result<()> {
    limit(Resource::Core, 0)?;
    #[cfg(target_os = "linux")]
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// Lowers a soft limit; a hard limit that is lower already stays.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum;
    let current = Some(hard.map_or(most, |hard| most.min(hard)));
    Ok(setrlimit(resource, Rlimit { current, maximum: hard })?)
}

/// Watches the pipe to the parent, and ends the process when the parent is gone, however busy a guest
/// keeps the main thread.
fn end_with_parent() -> io::Result<()> {
    let watch = || loop {
        let stdout = stdout();
        let mut pipe = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
        match poll(&mut pipe, None) {
            Ok(_) if pipe[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) => {
                std::process::exit(0)
            }
            _ => {}
        }
    };
    std::thread::Builder::new().name("parent-watch".to_owned()).stack_size(64 << 10).spawn(watch)?;
    Ok(())
}
