//! The inside of a worker process.

use std::{
    fs::File,
    io::{self, Write, stdin},
    os::fd::AsFd,
    process::ExitCode,
    sync::Arc,
};

use rustix::time::{ClockId, clock_gettime};
use serde_bytes::ByteBuf;

use super::{
    host::{Host, HostLink, Serve},
    link::{Asked, Link, SharedLink, unexpected},
    protocol::{
        Body, CodeReply, CompileReply, CompileRequest, INLINE_BYTES, Ran, Role, RunReply, RunRequest,
        Started, ToRunning, write_frame,
    },
};
use crate::{
    cancel::Cancel,
    confine::{self, Work, limits},
    executor::Raw,
    wasi::{Layout, input::Given},
    wasm::{Code, CodeClass, Compiler, Job, Runtime},
};

/// Which of the two kinds of workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkerKind {
    /// It compiles.
    Compiling,
    /// It runs tasks.
    Running,
}

/// The main function of a worker process: serves the parent at the other end of standard input, which is a socket,
/// until it hangs up. To be called first thing, in a process with one thread that has opened nothing.
pub fn worker_main() -> ExitCode {
    worker_main_with(&[])
}

/// The same, of a program whose workers may host programs of other kinds as well.
pub fn worker_main_with(hosts: &[Host]) -> ExitCode {
    end_of(start(hosts).and_then(|(link, work, hosted)| match hosted {
        Some(serve) => serve(HostLink::new(link)),
        None => serve(link, work),
    }))
}

/// The main function of a worker process that is taken over: all is as in [`worker_main`] until the first request to a
/// worker of this kind has come, and then `taken` runs in place of a compiler or a program. For tests of what somebody
/// could do who has got out of WebAssembly's bounds.
pub fn taken_over_main(kind: WorkerKind, taken: impl FnOnce()) -> ExitCode {
    let run = || -> io::Result<()> {
        let (mut link, work, _) = start(&[])?;
        let found = match work {
            Work::Compile { .. } => WorkerKind::Compiling,
            Work::Run | Work::Host { .. } => WorkerKind::Running,
        };
        if found != kind {
            return serve(link, work);
        }
        match kind {
            WorkerKind::Compiling => drop(link.receive::<CompileRequest>()?),
            WorkerKind::Running => drop(link.task()?),
        }
        taken();
        Ok(())
    };
    end_of(run())
}

fn end_of(served: io::Result<()>) -> ExitCode {
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Confines this process. Nothing of a stranger's has been read before this returns.
fn start(hosts: &[Host]) -> io::Result<(Link, Work, Option<Serve>)> {
    #[cfg(target_os = "linux")]
    limits::close_others();
    let socket = File::from(stdin().as_fd().try_clone_to_owned()?);
    let mut confinement = confine::leave()?;
    confine::watched(&socket, |pid| write_frame(&mut &socket, &Started { pid }))?;
    let mut link = Link::new(socket)?;
    let role: Role = link.receive()?;
    let mut hosted = None;
    confine::shut(role.work, role.unlisted, &mut confinement, |kind, threads| {
        let host = hosts.iter().find(|host| host.kind == kind);
        let host = host.ok_or_else(|| io::Error::other(format!("this program hosts no {kind} programs")))?;
        hosted = Some((host.start)(threads)?);
        Ok(())
    })?;
    link.send(&confinement)?;
    Ok((link, role.work, hosted))
}

fn serve(link: Link, work: Work) -> io::Result<()> {
    match work {
        Work::Compile { .. } => serve_compiling(link),
        Work::Run => serve_running(&SharedLink::new(link)),
        Work::Host { .. } => Err(unexpected()),
    }
}

fn serve_compiling(mut link: Link) -> io::Result<()> {
    let compiler = Compiler::default();
    loop {
        let request: CompileRequest = link.receive()?;
        // The limit counts the whole life of the process, so it moves ahead of what was used so far.
        let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.cast_unsigned();
        // A second more, since `used` was rounded down.
        limits::allow_time(used + request.time.0.div_ceil(1000) + 1)?;
        let class = CodeClass { floats: request.floats, backend: request.backend };
        let reply: CompileReply = compiler.compile(class, &request.program).map(ByteBuf::from);
        link.send(&reply)?;
    }
}

fn serve_running(link: &SharedLink) -> io::Result<()> {
    // A worker runs one task at a time.
    let runtime = Runtime::new(1);
    loop {
        let told = link.lock().task()?;
        let ToRunning::Run(request) = told else { return Err(unexpected()) };
        if let Some(raw) = attempt(&runtime, link, *request)? {
            report(&mut link.lock(), raw)?;
        }
    }
}

/// Runs a task; `None` when its code is not to be had.
fn attempt(runtime: &Runtime, link: &SharedLink, request: RunRequest) -> io::Result<Option<Raw>> {
    let class = CodeClass { floats: request.spec.floats, backend: request.backend };
    let stack = request.spec.limits.stack;
    let loaded = match runtime.loaded(request.code, stack) {
        Some(loaded) => Ok(loaded),
        None => {
            let Some(code) = receive_code(&mut link.lock())? else { return Ok(None) };
            // SAFETY: the parent hands what its compiler made for it, or what its cache vouches for by a MAC, in a file
            // that is sealed.
            unsafe { runtime.load(request.code, class, stack, code) }
        }
    };
    let job = Job {
        spec: Arc::new(request.spec),
        given: Given { parts: request.contents, ranges: Box::new(link.clone()) },
        layout: Layout::Task,
        // Cancelling ends the process.
        cancel: Cancel::default(),
        onlooker: Box::new(Asked::new(link.clone())),
    };
    Ok(Some(match loaded {
        Ok(loaded) => runtime.run(&loaded, class, job),
        Err(failure) => Raw::failed(failure, std::time::Duration::ZERO),
    }))
}

fn receive_code(link: &mut Link) -> io::Result<Option<Code<'static>>> {
    link.send(&RunReply::NeedsCode)?;
    match link.told()? {
        ToRunning::Code(CodeReply::File(len)) => {
            let len = usize::try_from(len).map_err(io::Error::other)?;
            Ok(Some(Code::File(link.file()?, len)))
        }
        ToRunning::Code(CodeReply::None) => Ok(None),
        _ => Err(unexpected()),
    }
}

/// Sends a report: a small output in it, a large one after it.
fn report(link: &mut Link, raw: Raw) -> io::Result<()> {
    let len: u64 = raw.output.iter().map(|part| part.len() as u64).sum();
    let (output, rest) = if len <= INLINE_BYTES {
        (Body::Inline(raw.output.concat()), Vec::new())
    } else {
        (Body::Follows(len), raw.output)
    };
    let ran = Ran { outcome: raw.outcome, usage: raw.usage, log: raw.log, wall: raw.wall, output };
    link.send(&RunReply::Ran(Box::new(ran)))?;
    rest.iter().try_for_each(|part| link.send_bytes(part))
}
