//! Connects the calls to wasmtime: one line each, and one way in and out for all.

use tidemill_types::Failure;
use wasmtime::{Caller, Linker};

use super::{
    Call, Fault, Guest,
    memory::Memory,
    path::{OpenArgs, PathArg},
};

/// The module name that programs import WASI preview 1 under.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// Every function of WASI preview 1.
pub(crate) const OFFERED: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Carried by a wasmtime error out of a guest that must not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// A limit was passed, or the host gave up.
    #[error("the task was stopped: {0}")]
    Stopped(Failure),
    /// The program called `proc_exit`.
    #[error("the program exited with {0}")]
    Exited(u32),
}

/// Runs a call: takes the fuel out of the store, pays the call's own price, and puts back what is left.
fn call(
    caller: &mut Caller<'_, Guest>,
    body: impl FnOnce(&mut Guest, &mut Memory) -> Call,
) -> wasmtime::Result<i32> {
    // Unmetered engines, which exist for comparison alone, have no fuel to read or set.
    let metered = caller.get_fuel().ok();
    // A module's start function runs before the instance is handed over, and may call the host too.
    let known = caller.data().memory;
    let found = known.or_else(|| caller.get_export("memory").and_then(|export| export.into_memory()));
    let handle = found.ok_or_else(|| {
        let reason = "it exports no memory".to_owned();
        wasmtime::Error::from(Ended::Stopped(Failure::NotCommand { reason }))
    })?;
    let (bytes, guest) = handle.data_and_store_mut(&mut *caller);
    if let Some(fuel) = metered {
        guest.meter.resume(fuel);
    }
    let result = guest.meter.enter().and_then(|()| body(guest, &mut Memory(bytes)));
    let left = guest.meter.left;
    if metered.is_some() {
        caller.set_fuel(left)?;
    }
    match result {
        Ok(()) => Ok(0),
        Err(Fault::Errno(errno)) => Ok(errno as i32),
        Err(Fault::Stop(failure)) => Err(Ended::Stopped(failure).into()),
        Err(Fault::Exit(code)) => Err(Ended::Exited(code).into()),
    }
}

/// Addresses, lengths and numbers are unsigned in WASI; WebAssembly's types have no sign.
fn u(value: i32) -> u32 {
    value.cast_unsigned()
}

fn ul(value: i64) -> u64 {
    value.cast_unsigned()
}

fn at(fd: i32, start: i32, len: i32) -> PathArg {
    PathArg { fd: u(fd), start: u(start), len: u(len) }
}

type C<'a> = Caller<'a, Guest>;

/// A linker that offers all of WASI preview 1 and nothing else.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    link_process(&mut linker)?;
    link_descriptors(&mut linker)?;
    link_paths(&mut linker)?;
    Ok(linker)
}

fn link_process(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let m = MODULE;
    l.func_wrap(m, "args_get", |mut c: C<'_>, a: i32, b: i32| {
        call(&mut c, |g, mem| g.args_get(mem, u(a), u(b)))
    })?;
    l.func_wrap(m, "args_sizes_get", |mut c: C<'_>, a: i32, b: i32| {
        call(&mut c, |g, mem| g.args_sizes_get(mem, u(a), u(b)))
    })?;
    l.func_wrap(m, "environ_get", |mut c: C<'_>, a: i32, b: i32| {
        call(&mut c, |g, mem| g.environ_get(mem, u(a), u(b)))
    })?;
    l.func_wrap(m, "environ_sizes_get", |mut c: C<'_>, a: i32, b: i32| {
        call(&mut c, |g, mem| g.environ_sizes_get(mem, u(a), u(b)))
    })?;
    l.func_wrap(m, "clock_res_get", |mut c: C<'_>, id: i32, out: i32| {
        call(&mut c, |g, mem| g.clock_res_get(mem, u(id), u(out)))
    })?;
    l.func_wrap(m, "clock_time_get", |mut c: C<'_>, id: i32, _precision: i64, out: i32| {
        call(&mut c, |g, mem| g.clock_time_get(mem, u(id), u(out)))
    })?;
    l.func_wrap(m, "random_get", |mut c: C<'_>, buffer: i32, len: i32| {
        call(&mut c, |g, mem| g.random_get(mem, u(buffer), u(len)))
    })?;
    l.func_wrap(m, "poll_oneoff", |mut c: C<'_>, list: i32, events: i32, count: i32, out: i32| {
        call(&mut c, |g, mem| g.poll_oneoff(mem, u(list), u(events), u(count), u(out)))
    })?;
    l.func_wrap(m, "sched_yield", |mut c: C<'_>| call(&mut c, |_, _| Ok(())))?;
    l.func_wrap(m, "proc_exit", |mut c: C<'_>, code: i32| -> wasmtime::Result<()> {
        call(&mut c, |_, _| Err(Fault::Exit(u(code)))).map(|_| ())
    })?;
    l.func_wrap(m, "proc_raise", |mut c: C<'_>, signal: i32| call(&mut c, |g, _| g.proc_raise(u(signal))))?;
    l.func_wrap(m, "sock_accept", |mut c: C<'_>, fd: i32, _flags: i32, _out: i32| {
        call(&mut c, |g, _| g.sock_call(u(fd)))
    })?;
    l.func_wrap(m, "sock_recv", |mut c: C<'_>, fd: i32, _: i32, _: i32, _: i32, _: i32, _: i32| {
        call(&mut c, |g, _| g.sock_call(u(fd)))
    })?;
    l.func_wrap(m, "sock_send", |mut c: C<'_>, fd: i32, _: i32, _: i32, _: i32, _: i32| {
        call(&mut c, |g, _| g.sock_call(u(fd)))
    })?;
    l.func_wrap(m, "sock_shutdown", |mut c: C<'_>, fd: i32, _how: i32| {
        call(&mut c, |g, _| g.sock_call(u(fd)))
    })?;
    Ok(())
}

fn link_descriptors(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let m = MODULE;
    l.func_wrap(m, "fd_advise", |mut c: C<'_>, fd: i32, _offset: i64, _len: i64, advice: i32| {
        call(&mut c, |g, _| g.fd_advise(u(fd), u(advice)))
    })?;
    l.func_wrap(m, "fd_allocate", |mut c: C<'_>, fd: i32, offset: i64, len: i64| {
        call(&mut c, |g, _| g.fd_allocate(u(fd), ul(offset), ul(len)))
    })?;
    l.func_wrap(m, "fd_close", |mut c: C<'_>, fd: i32| call(&mut c, |g, _| g.fd_close(u(fd))))?;
    l.func_wrap(m, "fd_datasync", |mut c: C<'_>, fd: i32| call(&mut c, |g, _| g.fd_sync(u(fd))))?;
    l.func_wrap(m, "fd_sync", |mut c: C<'_>, fd: i32| call(&mut c, |g, _| g.fd_sync(u(fd))))?;
    l.func_wrap(m, "fd_fdstat_get", |mut c: C<'_>, fd: i32, out: i32| {
        call(&mut c, |g, mem| g.fd_fdstat_get(mem, u(fd), u(out)))
    })?;
    l.func_wrap(m, "fd_fdstat_set_flags", |mut c: C<'_>, fd: i32, flags: i32| {
        call(&mut c, |g, _| g.fd_fdstat_set_flags(u(fd), u(flags)))
    })?;
    l.func_wrap(m, "fd_fdstat_set_rights", |mut c: C<'_>, fd: i32, base: i64, inheriting: i64| {
        call(&mut c, |g, _| g.fd_fdstat_set_rights(u(fd), ul(base), ul(inheriting)))
    })?;
    l.func_wrap(m, "fd_filestat_get", |mut c: C<'_>, fd: i32, out: i32| {
        call(&mut c, |g, mem| g.fd_filestat_get(mem, u(fd), u(out)))
    })?;
    l.func_wrap(m, "fd_filestat_set_size", |mut c: C<'_>, fd: i32, size: i64| {
        call(&mut c, |g, _| g.fd_filestat_set_size(u(fd), ul(size)))
    })?;
    l.func_wrap(m, "fd_filestat_set_times", |mut c: C<'_>, fd: i32, a: i64, b: i64, flags: i32| {
        call(&mut c, |g, _| g.fd_filestat_set_times(u(fd), ul(a), ul(b), u(flags)))
    })?;
    l.func_wrap(m, "fd_read", |mut c: C<'_>, fd: i32, list: i32, count: i32, out: i32| {
        call(&mut c, |g, mem| g.fd_read(mem, u(fd), u(list), u(count), u(out)))
    })?;
    l.func_wrap(m, "fd_pread", |mut c: C<'_>, fd: i32, list: i32, count: i32, offset: i64, out: i32| {
        call(&mut c, |g, mem| g.fd_pread(mem, u(fd), u(list), u(count), ul(offset), u(out)))
    })?;
    l.func_wrap(m, "fd_write", |mut c: C<'_>, fd: i32, list: i32, count: i32, out: i32| {
        call(&mut c, |g, mem| g.fd_write(mem, u(fd), u(list), u(count), u(out)))
    })?;
    l.func_wrap(m, "fd_pwrite", |mut c: C<'_>, fd: i32, list: i32, count: i32, offset: i64, out: i32| {
        call(&mut c, |g, mem| g.fd_pwrite(mem, u(fd), u(list), u(count), ul(offset), u(out)))
    })?;
    l.func_wrap(m, "fd_seek", |mut c: C<'_>, fd: i32, offset: i64, whence: i32, out: i32| {
        call(&mut c, |g, mem| g.fd_seek(mem, u(fd), offset, u(whence), u(out)))
    })?;
    l.func_wrap(m, "fd_tell", |mut c: C<'_>, fd: i32, out: i32| {
        call(&mut c, |g, mem| g.fd_tell(mem, u(fd), u(out)))
    })?;
    l.func_wrap(m, "fd_renumber", |mut c: C<'_>, from: i32, to: i32| {
        call(&mut c, |g, _| g.fd_renumber(u(from), u(to)))
    })?;
    l.func_wrap(m, "fd_prestat_get", |mut c: C<'_>, fd: i32, out: i32| {
        call(&mut c, |g, mem| g.fd_prestat_get(mem, u(fd), u(out)))
    })?;
    l.func_wrap(m, "fd_prestat_dir_name", |mut c: C<'_>, fd: i32, out: i32, len: i32| {
        call(&mut c, |g, mem| g.fd_prestat_dir_name(mem, u(fd), u(out), u(len)))
    })?;
    l.func_wrap(m, "fd_readdir", |mut c: C<'_>, fd: i32, buffer: i32, len: i32, cookie: i64, out: i32| {
        call(&mut c, |g, mem| g.fd_readdir(mem, u(fd), u(buffer), u(len), ul(cookie), u(out)))
    })?;
    Ok(())
}

fn link_paths(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let m = MODULE;
    l.func_wrap(m, "path_create_directory", |mut c: C<'_>, fd: i32, p: i32, n: i32| {
        call(&mut c, |g, mem| g.path_create_directory(mem, at(fd, p, n)))
    })?;
    l.func_wrap(m, "path_filestat_get", |mut c: C<'_>, fd: i32, lookup: i32, p: i32, n: i32, out: i32| {
        call(&mut c, |g, mem| g.path_filestat_get(mem, at(fd, p, n), u(lookup), u(out)))
    })?;
    l.func_wrap(
        m,
        "path_filestat_set_times",
        |mut c: C<'_>, fd: i32, lookup: i32, p: i32, n: i32, a: i64, b: i64, flags: i32| {
            let times = (ul(a), ul(b));
            call(&mut c, |g, mem| g.path_filestat_set_times(mem, at(fd, p, n), u(lookup), times, u(flags)))
        },
    )?;
    l.func_wrap(
        m,
        "path_link",
        |mut c: C<'_>, fd: i32, lookup: i32, p: i32, n: i32, new_fd: i32, q: i32, o: i32| {
            call(&mut c, |g, mem| g.path_link(mem, at(fd, p, n), u(lookup), at(new_fd, q, o)))
        },
    )?;
    l.func_wrap(
        m,
        "path_open",
        |mut c: C<'_>,
         fd: i32,
         lookup: i32,
         p: i32,
         n: i32,
         oflags: i32,
         base: i64,
         inheriting: i64,
         fdflags: i32,
         out: i32| {
            let args = OpenArgs {
                lookup: u(lookup),
                oflags: u(oflags),
                base: ul(base),
                inheriting: ul(inheriting),
                fdflags: u(fdflags),
            };
            call(&mut c, |g, mem| g.path_open(mem, at(fd, p, n), args, u(out)))
        },
    )?;
    l.func_wrap(
        m,
        "path_readlink",
        |mut c: C<'_>, fd: i32, p: i32, n: i32, buffer: i32, len: i32, out: i32| {
            call(&mut c, |g, mem| g.path_readlink(mem, at(fd, p, n), u(buffer), u(len), u(out)))
        },
    )?;
    l.func_wrap(m, "path_remove_directory", |mut c: C<'_>, fd: i32, p: i32, n: i32| {
        call(&mut c, |g, mem| g.path_remove_directory(mem, at(fd, p, n)))
    })?;
    l.func_wrap(m, "path_rename", |mut c: C<'_>, fd: i32, p: i32, n: i32, new_fd: i32, q: i32, o: i32| {
        call(&mut c, |g, mem| g.path_rename(mem, at(fd, p, n), at(new_fd, q, o)))
    })?;
    l.func_wrap(m, "path_symlink", |mut c: C<'_>, target: i32, t: i32, fd: i32, p: i32, n: i32| {
        call(&mut c, |g, mem| g.path_symlink(mem, (u(target), u(t)), at(fd, p, n)))
    })?;
    l.func_wrap(m, "path_unlink_file", |mut c: C<'_>, fd: i32, p: i32, n: i32| {
        call(&mut c, |g, mem| g.path_unlink_file(mem, at(fd, p, n)))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_that_is_offered_is_linked() {
        let engine = wasmtime::Engine::default();
        let linker = linker(&engine).expect("no name is taken twice");
        let names = OFFERED.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
        assert_eq!(names.len(), OFFERED.len());
        let imports: String =
            OFFERED.iter().map(|name| format!("(import \"{MODULE}\" \"{name}\" (func))")).collect();
        // Imports of the wrong type fail by their type, not by their absence.
        for import in imports.split_inclusive("(func))") {
            let module =
                wasmtime::Module::new(&engine, wat::parse_str(format!("(module {import})")).expect("text"));
            let error = linker.instantiate_pre(&module.expect("a valid module")).err();
            let known = error.is_none_or(|error| format!("{error:#}").contains("incompatible import type"));
            assert!(known, "{import}");
        }
    }
}
