//! A coordinator in this process, on a directory: what `serve`, `up` and embedded networks share.

use tidemill_coordinator::{Config, Coordinator, Pace, StartError};
use tidemill_net::endpoint::{Bind, BindError};
use tidemill_types::{ByteSize, ResultKey};

use crate::{
    exit::{Code, Exit, WithCode},
    listen::Listen,
    node_state::StateDirectory,
};

/// Of the room that is free, a coordinator takes one part in so many, unless its owner says otherwise: it keeps the
/// inputs and outputs of all jobs, and is seldom the only one on a disk.
const PART_OF_DISK: u64 = 2;

/// Starts a coordinator, and keeps the port that it has come to listen on.
///
/// # Errors
/// With a code and, where there is something to do, a hint.
pub async fn start(
    state: &StateDirectory,
    result_key: &ResultKey,
    listen: &Listen,
    disk: Option<ByteSize>,
    pace: Pace,
) -> anyhow::Result<Coordinator> {
    let disk = disk.map_or_else(|| state.share_of_disk(PART_OF_DISK), Ok)?;
    let config = Config {
        directory: state.path().to_owned(),
        node_key: state.node_key()?,
        result_key: result_key.to_bytes(),
        pass: state.pass()?,
        bind: listen.choose(state.port())?,
        disk,
        pace,
    };
    let coordinator = match Coordinator::start(config).await {
        Ok(coordinator) => coordinator,
        Err(StartError::Bind(error @ BindError::Listen { .. })) => return Err(cannot_listen(error)),
        Err(error) => return Err(error).code(Code::Host),
    };
    state.keep_port(coordinator.ticket());
    Ok(coordinator)
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
