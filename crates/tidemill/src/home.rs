//! Where Tidemill keeps what is its own on this machine, and the pool of workers that lives there.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tidemill_exec::{CodeCache, CompileLimits, PoolConfig, UnlistedCalls, WorkerCommand, WorkerPool};
use tidemill_modelhost::{ModelHost, ModelHostConfig};
use tidemill_net::key::{KeyKind, load_or_create};
use tidemill_types::{ByteSize, ResultKey};

use crate::{
    exit::{Code, Exit, WithCode, causes},
    network::private_directory,
};

/// The file with the key that signs results, in a directory of keys.
pub const RESULT_KEY: &str = "result.key";

/// The file of the key that names a node on a network.
pub const NODE_KEY: &str = "node.key";

/// The first argument of a worker process.
pub const WORKER_ARGUMENT: &str = "worker";

/// The directory for what can be made again: `TIDEMILL_HOME`, or `tidemill` in the user's cache.
///
/// # Errors
/// When the environment names no place.
pub fn cache_directory() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("TIDEMILL_HOME")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("tidemill")))
        .or_else(|| Some(variable("HOME")?.join(".cache/tidemill")))
        .context("neither TIDEMILL_HOME nor HOME is set: set TIDEMILL_HOME to a directory for compiled code")
}

/// The directory for what must not be lost, keys among it: `TIDEMILL_HOME`, or `tidemill` in the user's data. Made
/// for its owner alone when it is not there.
///
/// # Errors
/// When the environment names no place, or it cannot be made.
pub fn data_directory() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = variable("TIDEMILL_HOME")
        .or_else(|| Some(variable("XDG_DATA_HOME")?.join("tidemill")))
        .or_else(|| Some(variable("HOME")?.join(".local/share/tidemill")))
        .context(
            "neither TIDEMILL_HOME nor HOME is set: set TIDEMILL_HOME to a directory for keys and state",
        )?;
    private_directory(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// The two keys that this home is known by.
pub struct Identity {
    /// The secret of the node key, which names it on a network.
    pub node: [u8; 32],
    /// The key that signs results, whose address is its account.
    pub result: ResultKey,
}

/// The keys of this home, which are made when they are missing.
///
/// # Errors
/// When they cannot be read or made, or others may read them.
pub fn identity() -> anyhow::Result<Identity> {
    let directory = keys_directory()?;
    let node = key(&directory.join(NODE_KEY), KeyKind::Node)?;
    let result =
        ResultKey::from_bytes(&key(&directory.join(RESULT_KEY), KeyKind::Result)?).code(Code::Host)?;
    Ok(Identity { node, result })
}

/// The key in a file, which is made when it is missing.
///
/// # Errors
/// With [`Code::Host`] when it cannot be read or made, or others may read it.
pub fn key(path: &Path, kind: KeyKind) -> anyhow::Result<[u8; 32]> {
    load_or_create(path, kind).map_err(|error| {
        let hint = error.hint();
        let exit = Exit::new(Code::Host, causes(&error.into()));
        if let Some(hint) = hint { exit.hint(hint) } else { exit }.into()
    })
}

/// Where the keys of this home are: `node.key` and `result.key` in this directory.
///
/// # Errors
/// When it cannot be made.
pub fn keys_directory() -> anyhow::Result<PathBuf> {
    let directory = data_directory()?.join("keys");
    private_directory(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// The address space that a worker takes for one task, whatever memory that uses.
const TASK_SPACE: ByteSize = ByteSize(6 << 30);

/// Refuses to start what runs tasks where the address space is too short for one, as batch systems limit it: before a
/// network is made and money is locked.
///
/// # Errors
/// With [`Code::Host`]
pub fn check_address_space() -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current.map(ByteSize);
    match limit.filter(|limit| *limit < TASK_SPACE) {
        None => Ok(()),
        Some(limit) => Err(Exit::new(
            Code::Host,
            format!("the address space is limited to {limit} here (`ulimit -v`), and a task takes about {TASK_SPACE} of it"),
        )
        .hint("raise the limit, of which a task uses as much memory as it needs and no more: `ulimit -v unlimited`, or what your batch system calls it")
        .into()),
    }
}

/// The executor for programs from anyone: worker processes for up to `slots` tasks at a time, whose large
/// outputs go to the directory `spool`, which must be there when the first task runs.
///
/// # Errors
/// When the cache of compiled code cannot be opened, or the address space is too short.
pub fn worker_pool(slots: usize, spool: &Path) -> anyhow::Result<WorkerPool> {
    check_address_space()?;
    let cache = CodeCache::open(&cache_directory()?.join("code"))?;
    let command =
        WorkerCommand::this_program([WORKER_ARGUMENT]).context("cannot find this program's own file")?;
    Ok(WorkerPool::new(PoolConfig {
        command,
        cache,
        spool: std::path::absolute(spool)?,
        idle_workers: slots,
        compile: CompileLimits::default(),
        unlisted: UnlistedCalls::Refused,
    }))
}

/// The executor for models from anyone: one worker process, started with the first task, which computes with so many threads
/// and keeps models and texts in so much memory. Large outputs go to the directory `spool`.
///
/// # Errors
/// When this program's own file cannot be found.
pub fn model_host(threads: usize, memory: ByteSize, spool: &Path) -> anyhow::Result<ModelHost> {
    let command =
        WorkerCommand::this_program([WORKER_ARGUMENT]).context("cannot find this program's own file")?;
    Ok(ModelHost::new(ModelHostConfig {
        command,
        spool: std::path::absolute(spool)?,
        threads: u32::try_from(threads).unwrap_or(u32::MAX),
        memory,
        unlisted: UnlistedCalls::Refused,
    }))
}
