//! A command that is one question to a network.

use crate::{
    follow::unless_stopped,
    interrupt::Signals,
    network::{self, Join},
    requester::Requester,
    runtime,
};

/// Asks the coordinator of a network something, or has it do something, until Ctrl-C.
///
/// # Errors
/// With a code when there is no network, its coordinator cannot be reached or refuses, or the person stops it.
pub fn ask<T>(
    join: &Join,
    question: impl AsyncFnOnce(&mut Requester) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let ticket = network::required(join.join.as_deref())?;
    runtime::block_on(async {
        let asking = async {
            let mut requester = Requester::connect(ticket).await?;
            let answer = question(&mut requester).await;
            requester.close().await;
            answer
        };
        unless_stopped(&mut Signals::listen()?, asking).await
    })
}
