//! The runtime of the commands that talk to a network.

use crate::exit::{Code, WithCode};

/// Runs a command that talks to a network to its end. What still runs in the background then is dropped.
///
/// # Errors
/// Those of the command.
pub fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.code(Code::Host)?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
