//! Ctrl-C: the first asks for an orderly end, the second ends at once.

use std::sync::OnceLock;

use anyhow::Context;
use tidemill_api::DiskEvent;
use tidemill_disk::{Syncs, syncs};
use tidemill_exec::Cancel;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

use crate::{
    announce::Announcer,
    exit::{Code, WithCode},
};

/// Set when the person asked for the end.
static INTERRUPTED: OnceLock<Cancel> = OnceLock::new();

/// A flag that Ctrl-C, or the signal to terminate, sets. Worker processes end when this one does, so the
/// second signal needs no care.
///
/// # Errors
/// When the handler cannot be installed.
pub fn on_interrupt() -> anyhow::Result<Cancel> {
    if let Some(cancel) = INTERRUPTED.get() {
        return Ok(cancel.clone());
    }
    let cancel = Cancel::default();
    let flag = cancel.clone();
    ctrlc::set_handler(move || {
        if flag.is_cancelled() {
            std::process::exit(crate::exit::Code::Interrupted as i32);
        }
        flag.cancel();
    })?;
    Ok(INTERRUPTED.get_or_init(|| cancel).clone())
}

/// How a command was asked to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By Ctrl-C: a person is there.
    Interrupt,
    /// By the signal to terminate, or because the terminal was closed.
    Terminate,
}

/// Ctrl-C, the signal to terminate and a closed terminal, for commands on the runtime. While this is held, they do not end the process
/// by themselves.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// That of a terminal that was closed; none where whoever started the command had it ignored, as `nohup` does.
    hangup: Option<Signal>,
}

impl Signals {
    /// Begins to listen. Must be called within the runtime.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals").code(Code::Host);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: if hangup_is_ignored() { None } else { Some(listen(SignalKind::hangup())?) },
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        self.which().await;
    }

    /// Waits for the next one, and says which it is.
    pub async fn which(&mut self) -> Asked {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = hangup => Asked::Terminate,
        }
    }
}

/// Whether this process was started with `SIGHUP` ignored, as Linux tells it.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is that of signal 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Tells how often this process has waited for the disk, whenever it gets the signal `USR1`, for as long as the set is
/// held. Must be called within the runtime.
///
/// # Errors
/// When the handler cannot be installed.
pub fn tell_syncs(json: bool) -> anyhow::Result<JoinSet<()>> {
    let mut asked =
        signal(SignalKind::user_defined1()).context("cannot listen for signals").code(Code::Host)?;
    let mut telling = JoinSet::new();
    telling.spawn(async move {
        let announcer = Announcer::new(json);
        while asked.recv().await.is_some() {
            let syncs = syncs();
            let Syncs { data, all, directories, file_systems } = syncs;
            announcer.tell(
                &DiskEvent::Syncs { data, all, directories, file_systems },
                &format!("waited {} times for the disk so far", syncs.total()),
            );
        }
    });
    Ok(telling)
}
