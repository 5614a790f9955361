//! The worker process from inside: a thread that hears the parent, and one that computes with the help of its team.

mod driver;
mod model;
mod room;
mod task;

use std::{
    fs::File,
    io,
    sync::mpsc::{SyncSender, sync_channel},
};

use tidemill_exec::{Host, HostLink};
use tidemill_infer::{Engine, InstructionSet, tiny};
use tidemill_types::ProgramKind;

use self::driver::Driver;
use crate::protocol::ToHost;

/// What a program's workers host that calls [`tidemill_exec::worker_main_with`]: models.
pub fn host() -> Host {
    Host { kind: ProgramKind::Infer, start }
}

/// What the parent said and the computing thread has not read yet, at most.
const MOST_UNREAD: usize = 1024;

/// Starts all threads, which a confined worker cannot.
fn start(threads: u32) -> io::Result<tidemill_exec::Serve> {
    let right = |isa: &InstructionSet| tiny::has_right_bits(*isa);
    let isa = InstructionSet::available().into_iter().rfind(right);
    let isa = isa.ok_or_else(|| {
        io::Error::other("this processor computes wrongly: no instruction set has the right bits")
    })?;
    let engine = Engine::new(isa, usize::try_from(threads.max(1)).unwrap_or(1));
    let (to_hear, links) = sync_channel::<(HostLink, SyncSender<Heard>)>(1);
    let (begun, begins) = sync_channel(1);
    std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
        let _ = begun.send(());
        if let Ok((link, heard)) = links.recv() {
            hear(link, &heard);
        }
    })?;
    // What the system does for a thread that begins, a confined worker may not ask for.
    begins.recv().map_err(io::Error::other)?;
    Ok(Box::new(move |link| {
        let writer = link.writer()?;
        let (heard, messages) = sync_channel(MOST_UNREAD);
        to_hear.send((link, heard)).map_err(io::Error::other)?;
        Driver::new(writer, engine).run(&messages)
    }))
}

/// What the parent said, with the file that came with it; or why nothing more comes.
type Heard = io::Result<(ToHost, Option<File>)>;

/// Passes on what the parent says until it is gone.
fn hear(mut link: HostLink, heard: &SyncSender<Heard>) {
    loop {
        let message = link.receive::<ToHost>().and_then(|message| {
            let file = matches!(message, ToHost::Model { .. }).then(|| link.file()).transpose()?;
            Ok((message, file))
        });
        let is_over = message.is_err();
        if heard.send(message).is_err() || is_over {
            return;
        }
    }
}
