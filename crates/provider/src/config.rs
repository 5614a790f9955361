//! What a provider's owner allows.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Duration};

use tidemill_exec::Executor;
use tidemill_net::{
    endpoint::Bind,
    ticket::Ticket,
    wire::{MAX_CREDITS, MAX_WORDS_BYTES},
};
use tidemill_types::{
    Amount, ByteSize, Capacity, MAX_ENGINES, MAX_MODEL_NAME_BYTES, MAX_MODELS, NodeId, RateCard, RateError,
    ResultKey,
};

use crate::pay;

/// Leases for each slot: deep enough that tasks of a fraction of a millisecond do not wait for the network. The
/// coordinator bounds the queue by the time that it predicts, so long tasks do not pile up here.
const CREDITS_PER_SLOT: u32 = 256;

/// The most slots that the protocol lets a provider have.
const MAX_SLOTS: u32 = 4096;

/// How a provider is set up.
#[derive(Debug)]
pub struct ProviderConfig {
    /// What its owner calls it, for lists.
    pub name: String,
    /// Which coordinators to join, each once.
    pub tickets: Vec<Ticket>,
    /// The secret ed25519 key that names the node.
    pub node_key: [u8; 32],
    /// What results are signed with.
    pub result_key: ResultKey,
    /// Where it listens.
    pub bind: Bind,
    /// The engines that are lent, in the order in which they are offered.
    pub engines: Vec<EngineConfig>,
    /// Room for blobs.
    pub disk: ByteSize,
    /// Where blobs are kept, in a folder `blobs`. Made when it is missing.
    pub directory: PathBuf,
    /// Every so long without work, an event says why there is none.
    pub idle_report: Duration,
    /// How it is paid. Without this it joins free networks only.
    pub pay: Option<pay::Config>,
}

/// One engine that is lent.
pub struct EngineConfig {
    /// What runs programs, all of one kind.
    pub executor: Arc<dyn Executor>,
    /// Tasks that run at the same time: of a CPU, the cores that the owner gives.
    pub slots: u32,
    /// Memory for all of its running tasks together.
    pub memory: ByteSize,
    /// How fast it was measured to be. `None`: it is measured at the start, which takes a second or two.
    pub capacity: Option<Capacity>,
    /// What it asks, in networks that pay.
    pub rates: RateCard,
    /// Models of this machine that it holds from the start, by the names under which it offers them. Their files stay where
    /// they are, and nothing of them is fetched.
    pub models: Vec<(String, PathBuf)>,
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("executor", &self.executor.capabilities())
            .field("slots", &self.slots)
            .field("memory", &self.memory)
            .field("capacity", &self.capacity)
            .field("rates", &self.rates)
            .field("models", &self.models)
            .finish()
    }
}

/// The most coordinators of one provider: each has a part of its queue, and smaller parts would not keep its slots busy.
pub const MAX_COORDINATORS: usize = 16;

/// A setting that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// There must be a coordinator, and not too many.
    #[error("{0} coordinators; from 1 to {MAX_COORDINATORS} are allowed")]
    Coordinators(usize),
    /// A coordinator is named twice.
    #[error("two tickets are of the same coordinator, {}", .0.short())]
    SameCoordinator(NodeId),
    /// There must be an engine, and not too many.
    #[error("{0} engines; from 1 to {MAX_ENGINES} are allowed")]
    Engines(usize),
    /// Each engine must have a slot, and all together not too many.
    #[error("{0} slots; from 1 to {MAX_SLOTS} are allowed")]
    Slots(u32),
    /// The name is too long.
    #[error("a name of {0} bytes; at most {MAX_WORDS_BYTES} are allowed")]
    Name(usize),
    /// An engine holds too many models.
    #[error("{0} models; at most {MAX_MODELS} are allowed")]
    Models(usize),
    /// A model's name is empty or too long.
    #[error("a model's name of {0} bytes; from 1 to {MAX_MODEL_NAME_BYTES} are allowed")]
    ModelName(usize),
    /// No task fits.
    #[error("no memory is given to tasks")]
    Memory,
    /// A rate is too high.
    #[error(transparent)]
    Rates(#[from] RateError),
    /// Nothing may be done ahead of vouchers, so nothing at all.
    #[error("no work may be done ahead of its pay, and it is paid afterwards: allow some")]
    Exposure,
}

impl ProviderConfig {
    /// How often the reason for idleness is said, unless the caller knows better.
    pub const IDLE_REPORT: Duration = Duration::from_secs(60);

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.tickets.is_empty() || self.tickets.len() > MAX_COORDINATORS {
            return Err(ConfigError::Coordinators(self.tickets.len()));
        }
        let mut nodes = BTreeSet::new();
        if let Some(twice) = self.tickets.iter().find(|ticket| !nodes.insert(ticket.node())) {
            return Err(ConfigError::SameCoordinator(twice.node()));
        }
        if self.engines.is_empty() || self.engines.len() > MAX_ENGINES {
            return Err(ConfigError::Engines(self.engines.len()));
        }
        if self.engines.iter().any(|engine| engine.slots == 0) {
            return Err(ConfigError::Slots(0));
        }
        if self.slots() > MAX_SLOTS {
            return Err(ConfigError::Slots(self.slots()));
        }
        if self.name.len() > MAX_WORDS_BYTES {
            return Err(ConfigError::Name(self.name.len()));
        }
        if self.engines.iter().any(|engine| engine.memory.0 == 0) {
            return Err(ConfigError::Memory);
        }
        for engine in &self.engines {
            if engine.models.len() > MAX_MODELS {
                return Err(ConfigError::Models(engine.models.len()));
            }
            let names = engine.models.iter().map(|(name, _)| name.len());
            if let Some(len) = names.into_iter().find(|len| !(1..=MAX_MODEL_NAME_BYTES).contains(len)) {
                return Err(ConfigError::ModelName(len));
            }
        }
        self.engines.iter().try_for_each(|engine| engine.rates.check())?;
        if self.pay.as_ref().is_some_and(|pay| pay.max_exposure == Amount::ZERO) {
            return Err(ConfigError::Exposure);
        }
        Ok(())
    }

    /// How many leases it may hold at once, those of all coordinators together.
    pub(crate) fn credits(&self) -> u32 {
        self.slots().saturating_mul(CREDITS_PER_SLOT).min(MAX_CREDITS)
    }

    /// Tasks that run at the same time, on all engines together.
    pub(crate) fn slots(&self) -> u32 {
        self.engines.iter().fold(0, |sum: u32, engine| sum.saturating_add(engine.slots))
    }
}
