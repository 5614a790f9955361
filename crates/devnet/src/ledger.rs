//! A ledger in a directory, from its making to its end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use tokio::sync::mpsc;

use crate::chain::{Block, Built, Changes, Parent, Summary, Tx, World, build_block, genesis_block};
use crate::checkpoints::Checkpoints;
use crate::disk::{BlockLog, Layout, LogReader, Manifest, Place, Scan, load_best};
use crate::error::{CreateError, DiskError, OpenError, ServeError, StopError};
use crate::genesis::{Genesis, GenesisError};
use crate::pool::PoolLimits;
use crate::producer::{Command, Producer, SinceSnapshot};
use crate::rpc::{ServeOptions, Server};
use crate::shared::{Archive, Index, Shared, read};

/// Commands that may wait for the maker of blocks.
const COMMANDS: usize = 64;

/// When blocks are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mining {
    /// As soon as a transaction waits, with all that wait. While one waits for a lower base fee alone, an empty
    /// block a second brings it down.
    #[default]
    OnDemand,
    /// So often, empty or not.
    Interval(Duration),
    /// Only when a development client asks for it.
    Never,
}

/// How a ledger is run. Nothing of it is part of the chain.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The chain id that the ledger must have.
    pub chain_id: Option<u64>,
    /// When blocks are made.
    pub mining: Mining,
    /// For how many blocks back the state can be asked for.
    pub history_blocks: u64,
    /// A snapshot of the state after so many blocks.
    pub snapshot_every: u64,
    /// How much may wait in the pool.
    pub pool: PoolLimits,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            chain_id: None,
            mining: Mining::OnDemand,
            history_blocks: 128,
            snapshot_every: 1_000,
            pool: PoolLimits::default(),
        }
    }
}

/// The last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number: how many blocks there are before it.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// In seconds since 1970.
    pub timestamp: u64,
}

/// What was found when a ledger was opened.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The last whole block.
    pub head: Head,
    /// Bytes of a block that was being written when the process died. They were cut off: nobody had seen it.
    pub dropped_bytes: u64,
    /// The block of the snapshot that the state was taken from; none if it was taken from the log alone.
    pub snapshot: Option<u64>,
    /// How many blocks were applied on top of it.
    pub replayed: u64,
    /// Snapshots that could not be used.
    pub damaged_snapshots: Vec<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

/// A ledger that this process runs.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Ledger {
    /// Whether `dir` holds a ledger. One whose making was interrupted is none.
    pub fn exists(dir: &Path) -> bool {
        Layout::exists(dir)
    }

    /// Makes a ledger in `dir`, which is made if it is absent: block 0 with the accounts and, if there are
    /// transactions, block 1 with them, both or neither.
    pub fn create(dir: &Path, genesis: Genesis, options: Options) -> Result<Ledger, CreateError> {
        genesis.check()?;
        let layout = Layout::claim(dir)?;
        let blocks = first_blocks(&genesis)?;
        let mut key = B256::ZERO;
        getrandom::fill(&mut key.0).expect("the operating system gives randomness");

        let new_log = layout.new_log();
        let mut log = BlockLog::create(&new_log, key)?;
        for (block, changes) in &blocks {
            log.write(&block.encode(&changes.encode()))?;
        }
        log.sync()?;
        drop(log);
        layout.commit(&Manifest::new(key, genesis))?;
        drop(layout);
        // From here on it is an ordinary ledger: opening it also proves that it can be opened.
        match Ledger::open(dir, Options { chain_id: None, ..options }) {
            Ok((ledger, _)) => Ok(ledger),
            Err(OpenError::Disk(error)) => Err(error.into()),
            Err(OpenError::InUse(dir)) => Err(CreateError::InUse(dir)),
            Err(OpenError::Absent(dir) | OpenError::WrongChain { path: dir, .. }) => {
                Err(CreateError::Remains(dir))
            }
            Err(OpenError::Manifest { path, reason }) => {
                let source = std::io::Error::other(reason);
                Err(DiskError::Io { action: "read", path, source }.into())
            }
        }
    }

    /// Takes a ledger up where it was left.
    pub fn open(dir: &Path, options: Options) -> Result<(Ledger, Recovery), OpenError> {
        let begin = Instant::now();
        let (layout, manifest) = Layout::open(dir)?;
        let Manifest { key, genesis, .. } = manifest;
        if let Some(expected) = options.chain_id.filter(|expected| *expected != genesis.chain_id) {
            return Err(OpenError::WrongChain { path: dir.to_path_buf(), found: genesis.chain_id, expected });
        }

        let (index, scan) = index_log(&layout.log(), key, &genesis)?;
        let Scan { log, dropped } = scan;
        let reader = log.reader()?;
        let last = index.len() - 1;
        let wished = last.saturating_sub(options.history_blocks);
        let (snapshot, damaged_snapshots) =
            load_best(&layout.snapshots(), &key, wished, |number| index.hash(number));
        let (snapshot, world) = match snapshot {
            Some(snapshot) => {
                let world = World::at(options.history_blocks, snapshot.number, &snapshot.state);
                (Some(snapshot.number), world)
            }
            None => (None, World::new(options.history_blocks)),
        };
        let (replayed, since_snapshot) = replay(&world, &reader, &index, snapshot)?;
        let head = Arc::new(block_at(&reader, &index, last)?);

        if dropped > 0 {
            tracing::warn!(
                dropped,
                block = last,
                "cut off a block that was being written when the process died"
            );
        }
        for path in &damaged_snapshots {
            tracing::warn!(path = %path.display(), "passed over a damaged snapshot");
        }
        let (commands, received) = mpsc::channel(COMMANDS);
        let archive = Archive::new(reader, index);
        let shared = Arc::new(Shared::new(genesis, world, archive, head.clone(), options.pool, commands));
        let producer = Producer {
            shared: shared.clone(),
            log,
            layout,
            key,
            mining: options.mining,
            snapshot_every: options.snapshot_every.max(1),
            since_snapshot,
            snapshot: None,
            checkpoints: Checkpoints::default(),
        };
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || producer.run(received));
        let thread = thread.map_err(DiskError::io("begin a thread for", dir))?;
        let recovery = Recovery {
            head: head_of(&head),
            dropped_bytes: dropped,
            snapshot,
            replayed,
            damaged_snapshots,
            took: begin.elapsed(),
        };
        Ok((Ledger { shared, thread: Some(thread) }, recovery))
    }

    /// What it began with.
    pub fn genesis(&self) -> &Genesis {
        &self.shared.genesis
    }

    /// What its transactions are signed for.
    pub fn chain_id(&self) -> u64 {
        self.shared.rules.chain_id
    }

    /// The hash of block 0, which tells ledgers apart that share a chain id.
    pub fn genesis_hash(&self) -> B256 {
        self.shared.archive.hash(0).unwrap_or_default()
    }

    /// The last block, which is on the disk.
    pub fn head(&self) -> Head {
        head_of(&self.shared.head())
    }

    /// Answers JSON-RPC over HTTP and WebSocket on one port. Needs a tokio runtime.
    pub async fn serve(&self, address: SocketAddr, options: ServeOptions) -> Result<Server, ServeError> {
        Server::start(self.shared.clone(), address, options).await
    }

    /// Waits until no more blocks can be made, and says why; for ever, when all goes well.
    pub async fn failed(&self) -> String {
        self.shared.failed().await.clone()
    }

    /// Ends the making of blocks and releases the directory. Stop the servers first: those that still run
    /// answer from what there is, and refuse transactions.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.end();
        match self.shared.failure() {
            Some(reason) if reason != STOPPED => Err(StopError::Failed(reason.clone())),
            _ => Ok(()),
        }
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            // The channel is bounded, and who fills it waits for answers; the thread drains it.
            let mut command = Command::Stop;
            while let Err(mpsc::error::TrySendError::Full(back)) = self.shared.commands.try_send(command) {
                command = back;
                std::thread::yield_now();
            }
            let _ = thread.join();
            if self.shared.failure().is_none() {
                self.shared.close(STOPPED);
            }
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.end();
    }
}

/// Why a stopped ledger takes no transactions.
const STOPPED: &str = "it was stopped";

/// Blocks 0 and 1.
fn first_blocks(genesis: &Genesis) -> Result<Vec<(Block, Changes)>, GenesisError> {
    let (block, changes) = genesis_block(genesis);
    if genesis.transactions.is_empty() {
        return Ok(vec![(block, changes)]);
    }
    let rules = genesis.rules();
    let decode = |(index, raw): (usize, &alloy::primitives::Bytes)| {
        let tx = Tx::decode(raw.clone(), rules.chain_id, rules.gas_limit).map(Arc::new);
        tx.map_err(|source| GenesisError::Transaction { index, source })
    };
    let txs = genesis.transactions.iter().enumerate().map(decode).collect::<Result<Vec<_>, _>>()?;
    let world = Arc::new(World::new(1));
    world.apply(0, &changes);
    let parent = Parent { header: &block.header, hash: block.hash };
    let built = build_block(&rules, parent, world.view(0), genesis.timestamp, txs.iter().cloned());
    let left_out = |index: usize, reason: String| GenesisError::LeftOut { index, reason };
    let Built { block: first, changes: after, rejected, .. } =
        built.map_err(|gone| left_out(0, gone.to_string()))?;
    for (index, tx) in txs.iter().enumerate() {
        if let Some((_, reason)) = rejected.iter().find(|(hash, _)| *hash == tx.hash()) {
            return Err(left_out(index, reason.to_string()));
        }
        match first.txs.iter().position(|included| included.hash() == tx.hash()) {
            Some(place) if first.outcomes[place].success => {}
            Some(_) => return Err(GenesisError::Failed { index }),
            None => return Err(left_out(index, "no gas was left for it, or its nonce is too high".into())),
        }
    }
    Ok(vec![(block, changes), (first, after)])
}

/// Walks through the log once: where every block and transaction is, and that each block follows the one before.
fn index_log(path: &Path, key: B256, genesis: &Genesis) -> Result<(Index, Scan), DiskError> {
    let mut index = Index::default();
    let mut before = B256::ZERO;
    let genesis_hash = genesis_block(genesis).0.hash;
    let broken = |place: Place, block: u64, reason: &'static str| DiskError::Broken {
        path: path.to_path_buf(),
        offset: place.offset,
        block,
        reason,
    };
    let scan = BlockLog::open(path, key, |place, payload| {
        let number = index.len();
        let summary = Summary::decode(payload)
            .map_err(|_| broken(place, number, "it is not in the form that this version writes"))?;
        if number == 0 && summary.hash != genesis_hash {
            return Err(broken(place, 0, "it is not the block of the genesis in ledger.json"));
        }
        if summary.header.number != number || summary.header.parent_hash != before {
            return Err(broken(place, number, "it does not follow the block before it"));
        }
        before = summary.hash;
        index.push(place, summary.hash, &summary.header.logs_bloom, summary.tx_hashes);
        Ok(())
    })?;
    if index.len() == 0 {
        // It was there when the ledger was made, and only the last record can be torn by a crash.
        return Err(broken(Place { offset: 0, length: 0 }, 0, "not even the first block is whole"));
    }
    Ok((index, scan))
}

/// Brings the state up to the last block, checking every commitment on the way.
fn replay(
    world: &World,
    log: &LogReader,
    index: &Index,
    snapshot: Option<u64>,
) -> Result<(u64, SinceSnapshot), DiskError> {
    let mut since = SinceSnapshot::default();
    let first = snapshot.map_or(0, |number| number + 1);
    let mut root = match snapshot {
        Some(number) => Some(block_at(log, index, number)?.header.state_root),
        None => None,
    };
    for number in first..index.len() {
        let place = index.place(number).ok_or_else(|| lost(log, number))?;
        let payload = log.read(place, number)?;
        let form = |_| log.broken(place, number, "it is not in the form that this version writes");
        let summary = Summary::decode(&payload).map_err(form)?;
        // That of block 0 is part of its hash, which was compared with the genesis.
        if root.is_some_and(|root| !summary.commits_to(root)) {
            return Err(log.broken(place, number, "its changes of state are not those that it commits to"));
        }
        root = Some(summary.header.state_root);
        let changes = summary.changes().map_err(form)?;
        world.apply(number, &changes);
        since.blocks += 1;
        since.changes += changes.len();
    }
    Ok((since.blocks, since))
}

fn block_at(log: &LogReader, index: &Index, number: u64) -> Result<Block, DiskError> {
    let place = index.place(number).ok_or_else(|| lost(log, number))?;
    read(log, place, number)
}

fn lost(log: &LogReader, number: u64) -> DiskError {
    log.broken(Place { offset: 0, length: 0 }, number, "it is not in the index")
}

fn head_of(block: &Block) -> Head {
    Head { number: block.number(), hash: block.hash, timestamp: block.header.timestamp }
}
