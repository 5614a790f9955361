//! A coordinator in this process, on a directory: what `serve`, `up` and embedded networks share.

use std::sync::Arc;

use tidemill_api::HostingEvent;
use tidemill_coordinator::{Config, Coordinator, Keep, MoneyConfig, Pace, StartError, Trust};
use tidemill_net::endpoint::{Bind, BindError};
use tidemill_types::{ByteSize, ResultKey};

use crate::{
    announce::Announcer,
    embedded::Embedded,
    exit::{Code, Exit, WithCode},
    home::{identity, worker_pool},
    interrupt::Signals,
    listen::Reach,
    node_state::StateDirectory,
};

/// Of the room that is free, a coordinator takes one part in so many, unless its owner says otherwise: it keeps the
/// inputs and outputs of all jobs, and is seldom the only one on a disk.
const PART_OF_DISK: u64 = 2;

/// How much a coordinator keeps.
#[derive(Clone, Copy, Default, Debug)]
pub struct Room {
    /// Room for blobs; a part of what is free where nobody says.
    pub disk: Option<ByteSize>,
    /// Of jobs, and for whom.
    pub keep: Keep,
}

/// Starts a coordinator, and keeps the port that it has come to listen on.
///
/// # Errors
/// With a code and, where there is something to do, a hint.
pub async fn start(
    state: &StateDirectory,
    result_key: &ResultKey,
    reach: &Reach,
    room: Room,
    pace: Pace,
    trust: Trust,
    money: Option<MoneyConfig>,
) -> anyhow::Result<Coordinator> {
    let executor = worker_pool(1, &state.path().join("compare"))?;
    let Room { disk, keep } = room;
    let disk = disk.map_or_else(|| state.share_of_disk(PART_OF_DISK), Ok)?;
    let config = Config {
        directory: state.path().to_owned(),
        node_key: state.node_key()?,
        result_key: result_key.to_bytes(),
        operator: identity()?.result.address(),
        pass: state.pass()?,
        bind: reach.listen(state.port())?,
        advertise: reach.advertised().to_vec(),
        disk,
        pace,
        keep,
        trust,
        money,
        executor: Some(Arc::new(executor)),
    };
    let coordinator = match Coordinator::start(config).await {
        Ok(coordinator) => coordinator,
        Err(StartError::Bind(error @ BindError::Listen { .. })) => return Err(cannot_listen(error)),
        Err(error) => return Err(error).code(Code::Host),
    };
    if let Some(port) = coordinator.port() {
        state.keep_port(port);
    }
    Ok(coordinator)
}

/// What a command hosts until it is told to stop.
pub trait Hosted {
    /// Waits until it cannot go on, and says why; for ever, when all goes well.
    async fn failed(&self) -> String;

    /// Waits until nobody needs it any more; for ever, where only a person says so.
    async fn unneeded(&self) {
        std::future::pending().await
    }

    /// Ends it in order.
    async fn stop(self);
}

/// What a command says of what it hosts.
pub struct Words {
    /// What it is.
    pub what: &'static str,
    /// How to go on later.
    pub again: &'static str,
}

impl Hosted for Coordinator {
    async fn failed(&self) -> String {
        Self::failed(self).await
    }

    async fn stop(self) {
        Self::stop(self).await;
    }
}

impl Hosted for Embedded {
    async fn failed(&self) -> String {
        Self::failed(self).await
    }

    async fn stop(self) {
        Self::stop(self).await;
    }
}

/// Stays until the person or the system says so, or until it cannot go on, and tells of the end.
///
/// # Errors
/// With [`Code::Interrupted`] when it was ended at once, with [`Code::Host`] when it could not go on.
pub async fn stay(
    hosted: impl Hosted,
    signals: &mut Signals,
    announcer: &Announcer,
    words: &Words,
) -> anyhow::Result<()> {
    let failure = tokio::select! {
        reason = hosted.failed() => Some(reason),
        () = hosted.unneeded() => None,
        () = signals.next() => None,
    };
    if failure.is_none() {
        announcer.tell(&HostingEvent::Stopping, "stopping; Ctrl-C once more ends it at once");
    }
    tokio::select! {
        () = hosted.stop() => {}
        () = signals.next() => return Err(Exit::new(Code::Interrupted, "ended at once").into()),
    }
    let Words { what, again } = words;
    if let Some(reason) = failure {
        announcer.note(&HostingEvent::Failed { reason: reason.clone() });
        return Err(Exit::new(Code::Host, format!("the {what} cannot go on: {reason}"))
            .hint(format!("all that it has confirmed is on disk; {again} when the cause is gone"))
            .into());
    }
    announcer.tell(&HostingEvent::Stopped, &format!("stopped; {again} to go on"));
    Ok(())
}

/// The error of a node that cannot listen where it was told to.
pub fn cannot_listen(error: BindError) -> anyhow::Error {
    let place = |bind| match bind {
        Bind::Everywhere { port } => format!("port {port} of all addresses"),
        Bind::Loopback { port } => format!("port {port} of 127.0.0.1"),
        Bind::At(address) => address.to_string(),
    };
    let message = match error {
        BindError::Listen { bind, source } => format!("cannot listen on {}: {source}", place(bind)),
        error @ BindError::IdleTimeout(_) => error.to_string(),
    };
    Exit::new(Code::Host, message)
        .hint("is the address one of this machine, and the port free? `--port 0` takes any that is")
        .into()
}
