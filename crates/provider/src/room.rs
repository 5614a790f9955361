//! The blobs of this machine: inputs that were fetched, and outputs that are kept until they are settled.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tidemill_exec::OutputBody;
use tidemill_net::{
    blobs::{BlobError, BlobOptions, Blobs, Condition, FetchError, FileMode, Keeps, Lent, Pin},
    endpoint::Connection,
};
use tidemill_types::{BlobId, ByteSize, LeaseId, NodeId, ServedModel};

use crate::{attempt::Need, key::CoordinatorIndex, run::LargeOutput};

/// How long a coordinator may keep still in the middle of a blob.
const STALL: Duration = Duration::from_secs(30);

/// Outputs that the coordinator may fetch at once.
const MOST_STREAMS: usize = 32;

/// Outputs that are given once more after they were settled.
const MOST_SETTLED: usize = 4096;

/// The folder of blobs, with the names under which this provider pins what it needs for one coordinator.
///
/// The rooms of several coordinators are one folder. A blob that two of them have is kept once, by its hash, and goes when
/// neither needs it. Outputs are given to the coordinator that they are for, and to no other.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    blobs: Blobs,
    coordinator: CoordinatorIndex,
    /// Nothing else is given away.
    outputs: Arc<Mutex<Outputs>>,
    inputs: Arc<Inputs>,
}

/// What may be given to the coordinator.
#[derive(Debug, Default)]
struct Outputs {
    /// Those that are kept, each with the number of results that name it.
    kept: HashMap<BlobId, usize>,
    /// Those that were kept last, the oldest first: the coordinator may have lost them to damage. They are here for as
    /// long as nobody needs their room.
    settled: VecDeque<BlobId>,
}

/// The pins of the inputs that are here. Each fetch pins under a name of its own, so that a pin that is being taken
/// off is never one that was just put on.
#[derive(Debug, Default)]
struct Inputs {
    next: AtomicU64,
    pins: Mutex<HashMap<BlobId, Pin>>,
}

/// A blob that has arrived.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) lent: Lent,
    /// How long that took, unless it was here already.
    pub(crate) took: Option<Duration>,
}

impl Room {
    /// Opens the folder, for the first coordinator. Nothing in it is needed yet: whatever an earlier life held was lost
    /// with its leases. So it is a cache, whose pins ended with that life.
    ///
    /// # Errors
    /// [`BlobError`]
    pub(crate) async fn open(folder: &Path, budget: ByteSize) -> Result<Self, BlobError> {
        let options = BlobOptions { keeps: Keeps::Cache, budget: budget.0, stall: STALL };
        let blobs = Blobs::open(folder, options).await?;
        Ok(Self::of(blobs, CoordinatorIndex(0)))
    }

    /// The room of another coordinator in the same folder.
    pub(crate) fn beside(&self, coordinator: CoordinatorIndex) -> Self {
        Self::of(self.blobs.clone(), coordinator)
    }

    fn of(blobs: Blobs, coordinator: CoordinatorIndex) -> Self {
        Self { blobs, coordinator, outputs: Arc::default(), inputs: Arc::default() }
    }

    /// Holds models whose files are on this machine, where they stay. They read as inputs do that were fetched, for as long as
    /// this process lives.
    ///
    /// # Errors
    /// [`BlobError`] for a file that cannot be read.
    pub(crate) async fn hold(&self, models: &[(String, PathBuf)]) -> Result<Vec<ServedModel>, BlobError> {
        let mut held = Vec::with_capacity(models.len());
        for (number, (name, path)) in models.iter().enumerate() {
            let pin = Pin::new(format!("model.{number}"))?;
            let blob = self.blobs.import_file(path, FileMode::Reference, &pin).await?;
            held.push(ServedModel { name: name.clone(), blob });
        }
        Ok(held)
    }

    /// Fetches an input, which stays until [`Self::release`].
    ///
    /// # Errors
    /// [`FetchError`]
    pub(crate) async fn fetch(&self, connection: &Connection, need: Need) -> Result<Fetched, FetchError> {
        let Need { blob, part_of } = need;
        let was_here = self.blobs.has(blob.id).is_some();
        let begun = Instant::now();
        let pin = self.input_pin(blob.id);
        match part_of {
            None => self.blobs.fetch(connection, blob, &pin, |_| {}).await?,
            Some(source) => self.blobs.fetch_part(connection, source, blob, &pin, |_| {}).await?,
        }
        self.inputs.pins().insert(blob.id, pin);
        let lent = self.blobs.lend(blob.id).await?;
        Ok(Fetched { lent, took: (!was_here).then(|| begun.elapsed()) })
    }

    /// Lets inputs go when their room is needed, from the moment that what is returned has been awaited.
    pub(crate) fn release(&self, inputs: &[BlobId]) -> impl Future<Output = ()> + Send + use<> {
        let pins: Vec<Pin> = {
            let mut pins = self.inputs.pins();
            inputs.iter().filter_map(|id| pins.remove(id)).collect()
        };
        let room = self.clone();
        async move {
            for pin in &pins {
                room.unpin(pin).await;
            }
        }
    }

    /// Which of these inputs are not here, or not what they should be. It reads all of them.
    pub(crate) async fn damaged(&self, inputs: &[Need]) -> Vec<BlobId> {
        let mut damaged = Vec::new();
        for Need { blob, .. } in inputs {
            if self.blobs.recheck(blob.id).await == Condition::Lost {
                damaged.push(blob.id);
            }
        }
        damaged
    }

    /// Keeps an output, which stays until [`Self::forget`].
    ///
    /// # Errors
    /// [`BlobError`]; the output is gone then.
    pub(crate) async fn keep(&self, lease: LeaseId, output: LargeOutput) -> Result<(), BlobError> {
        let pin = self.output_pin(lease);
        match output.body {
            OutputBody::Bytes(bytes) => self.blobs.import_bytes(bytes, &pin).await.map(|_| ())?,
            OutputBody::File(path) => {
                let imported = self.blobs.import_file(&path, FileMode::Copy, &pin).await;
                // The file was given to this receiver, whatever became of it.
                let removed = tokio::fs::remove_file(&path).await;
                if let Err(error) = removed {
                    tracing::warn!(path = %path.display(), %error, "a spooled output could not be removed");
                }
                imported.map(|_| ())?;
            }
        }
        *self.outputs().kept.entry(output.id).or_default() += 1;
        Ok(())
    }

    /// Lets an output go.
    pub(crate) async fn forget(&self, lease: LeaseId, output: BlobId) {
        {
            let mut outputs = self.outputs();
            if let Some(results) = outputs.kept.get_mut(&output) {
                *results -= 1;
                if *results == 0 {
                    outputs.kept.remove(&output);
                    if outputs.settled.len() == MOST_SETTLED {
                        outputs.settled.pop_front();
                    }
                    outputs.settled.push_back(output);
                }
            }
        }
        self.unpin(&self.output_pin(lease)).await;
    }

    /// Gives the coordinator the outputs that it asks for, until the connection ends.
    pub(crate) async fn serve(self, connection: Connection, coordinator: NodeId) {
        let outputs = self.outputs.clone();
        let allow = move |node: NodeId, blob: BlobId| {
            let outputs = outputs.lock().unwrap_or_else(PoisonError::into_inner);
            node == coordinator && (outputs.kept.contains_key(&blob) || outputs.settled.contains(&blob))
        };
        self.blobs.serve(connection, allow, MOST_STREAMS).await;
    }

    async fn unpin(&self, pin: &Pin) {
        if let Err(error) = self.blobs.unpin(pin).await {
            tracing::warn!(%pin, %error, "a pin could not be taken off");
        }
    }

    fn input_pin(&self, id: BlobId) -> Pin {
        let (coordinator, number) = (self.coordinator.0, self.inputs.next.fetch_add(1, Ordering::Relaxed));
        Pin::new(format!("input/{coordinator}/{number}/{id}")).expect("a name of plain letters")
    }

    fn output_pin(&self, lease: LeaseId) -> Pin {
        Pin::new(format!("output/{}/{lease}", self.coordinator.0)).expect("a name of plain letters")
    }

    fn outputs(&self) -> MutexGuard<'_, Outputs> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inputs {
    fn pins(&self) -> MutexGuard<'_, HashMap<BlobId, Pin>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
