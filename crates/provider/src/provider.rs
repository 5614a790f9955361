//! The handle that a program holds.

use std::{io, path::PathBuf, sync::Arc};

use tidemill_exec::{Capabilities, Executor};
use tidemill_net::{
    blobs::BlobError,
    endpoint::{BindError, Node},
    ticket::Ticket,
};
use tidemill_types::{Capacity, Engine, NodeId, Offer, ServedModel};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    capacity::{MeasureError, measure},
    config::{ConfigError, EngineConfig, ProviderConfig},
    event::{Ending, Notice},
    incarnation::incarnation,
    owner::{Orders, Owner, Purse, Setting},
    pay::{
        self,
        journal::{Journal, JournalError},
    },
    room::Room,
    session::node_options,
};

/// Events that wait for a slow listener; the oldest of more are lost to it.
const EVENTS_KEPT: usize = 1024;

/// A provider at work. Dropped, it stops at once.
#[derive(Debug)]
pub struct Provider {
    id: NodeId,
    offer: Offer,
    drain: CancellationToken,
    stop: CancellationToken,
    ending: watch::Receiver<Option<Ending>>,
}

/// A provider that could not start.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The machine could not be measured.
    #[error("cannot measure how fast this machine is")]
    Measure(#[from] MeasureError),
    /// It cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The folder for blobs is of no use.
    #[error("cannot open the folder for blobs")]
    Blobs(#[from] BlobError),
    /// The file of a model that it is to hold is of no use.
    #[error("cannot hold a model")]
    Model(#[source] BlobError),
    /// The system has no randomness, by which the process is told from others.
    #[error("the system has no randomness to give")]
    Randomness(#[source] io::Error),
    /// What it has earned so far cannot be read.
    #[error("cannot open the journal of payments")]
    Journal(#[from] JournalError),
    /// The threads that run tasks could not be started.
    #[error("cannot start {wanted} threads to run tasks on")]
    Threads {
        /// How many.
        wanted: u32,
        /// Why.
        source: io::Error,
    },
}

impl Provider {
    /// Measures the engines where that was not done before, listens, and begins to dial in the background. With the
    /// provider come all its events from the first on; who listens too slowly misses the oldest. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`ProviderError`]. That a coordinator cannot be reached is none: it is dialed again.
    pub async fn start(config: ProviderConfig) -> Result<(Self, broadcast::Receiver<Notice>), ProviderError> {
        config.check()?;
        let (credits, slots) = (config.credits(), config.slots());
        let ProviderConfig {
            name,
            tickets,
            node_key,
            result_key,
            bind,
            engines: lent,
            disk,
            directory,
            pay,
            ..
        } = config;
        // Opened first: its lock is the directory's.
        let room = Room::open(&directory.join("blobs"), disk).await?;
        let mut engines = Vec::with_capacity(lent.len());
        let mut executors = Vec::with_capacity(lent.len());
        for lent in lent {
            let models = room.hold(&lent.models).await.map_err(ProviderError::Model)?;
            engines.push(offered(&lent, models).await?);
            executors.push(lent.executor);
        }
        let offer = Offer { name, disk, down_bytes_per_s: 0, engines };
        let incarnation = incarnation(&directory, &node_key).map_err(ProviderError::Randomness)?;
        let pay = match pay {
            Some(pay) => Some(open_purse(pay, directory).await?),
            None => None,
        };
        let coordinators = tickets.iter().map(Ticket::node).collect();
        let node = Node::bind(&node_key, node_options(bind, coordinators)).await?;
        let (events, listener) = broadcast::channel(EVENTS_KEPT);
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let (ended, ending) = watch::channel(None);
        let id = node.id();
        let orders = Orders { drain: drain.clone(), stop: stop.clone() };
        let idle_report = config.idle_report;
        let setting = Setting {
            node,
            key: Arc::new(result_key),
            tickets,
            offer: offer.clone(),
            credits,
            incarnation,
            idle_report,
            pay,
        };
        let owner = Owner::new(setting, &room, executors, events, orders)
            .map_err(|source| ProviderError::Threads { wanted: slots, source })?;
        let work = tokio::spawn(owner.run());
        tokio::spawn(async move {
            let ending = work.await.unwrap_or(Ending::Broke);
            ended.send_replace(Some(ending));
        });
        Ok((Self { id, offer, drain, stop, ending }, listener))
    }

    /// Its name in the network.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// What it offered at the start.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Takes no more leases, gives back those that wait, and ends once all others are reported and settled.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Waits for the end.
    pub async fn finished(&self) -> Ending {
        let mut ending = self.ending.clone();
        match ending.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone().unwrap_or(Ending::Broke),
            // Whoever would say it was ended with the runtime.
            Err(_) => Ending::Broke,
        }
    }

    /// Ends at once: running tasks are cancelled, and the coordinator is told. Waits until that is done.
    pub async fn stop(&self) -> Ending {
        self.stop.cancel();
        self.finished().await
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Reading the journal blocks too.
async fn open_purse(pay: pay::Config, directory: PathBuf) -> Result<Purse, JournalError> {
    let opened = tokio::task::spawn_blocking(move || Journal::open(&directory));
    match opened.await {
        Ok(Ok((journal, torn))) => {
            if torn > 0 {
                tracing::warn!(bytes = torn, "cut off a torn end of the journal of payments");
            }
            Ok(Purse::new(pay, journal))
        }
        Ok(Err(error)) => Err(error),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// An engine as it is offered, measured where that was not done before.
async fn offered(lent: &EngineConfig, models: Vec<ServedModel>) -> Result<Engine, MeasureError> {
    let capacity = match lent.capacity {
        Some(capacity) => capacity,
        None => measure_aside(lent.executor.clone(), lent.slots).await?,
    };
    let Capabilities { kind, floats, hardware_class } = lent.executor.capabilities();
    Ok(Engine {
        kind,
        floats,
        hardware_class,
        exec_version: kind.version(),
        slots: lent.slots,
        memory: lent.memory,
        capacity,
        rates: lent.rates,
        models,
    })
}

/// Measuring blocks, so it is done where it holds nobody up.
async fn measure_aside(executor: Arc<dyn Executor>, slots: u32) -> Result<Capacity, MeasureError> {
    match tokio::task::spawn_blocking(move || measure(&*executor, slots)).await {
        Ok(measured) => measured,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
