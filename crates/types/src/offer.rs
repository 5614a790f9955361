//! What a provider advertises: a machine, and the engines on it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BlobRef, ByteSize, FloatClass, NodeId, ProgramKind, RateCard};

/// The most engines of one provider: its CPU, some GPUs, a few servers of models.
pub const MAX_ENGINES: usize = 16;

/// The most models that one engine names.
pub const MAX_MODELS: usize = 64;

/// The longest name of a model.
pub const MAX_MODEL_NAME_BYTES: usize = 100;

/// What a provider lets others use. What belongs to the whole machine is here, what each of its engines is and asks is
/// with the engine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// What its owner calls it, for lists.
    pub name: String,
    /// Room for blobs, which all engines share.
    pub disk: ByteSize,
    /// Bytes a second from its coordinator, as it measured them; 0 when it has not. Like [`Capacity`] it is a claim.
    pub down_bytes_per_s: u64,
    /// Its ways to run programs. A lease names one by its place here, so what is at a place changes only with a new
    /// session: whatever is at another place then has other leases.
    pub engines: Vec<Engine>,
}

/// One way in which a machine runs programs of one kind: its CPU, a GPU, a server of models.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Engine {
    /// The kind of program.
    pub kind: ProgramKind,
    /// Float classes.
    pub floats: Vec<FloatClass>,
    /// The hardware class within which native floats compare, if it belongs to one.
    pub hardware_class: Option<String>,
    /// The version of execution; see [`ProgramKind::version`].
    pub exec_version: u32,
    /// Tasks that run at the same time: of a CPU, the cores that its owner gives.
    pub slots: u32,
    /// Memory for all of its running tasks together; of a kind whose tasks share memory, for what they share and each of
    /// them (see [`ProgramKind::shares_memory`]).
    pub memory: ByteSize,
    /// How fast it was measured to be.
    pub capacity: Capacity,
    /// What it asks, in networks that pay.
    pub rates: RateCard,
    /// The models that it holds, of an engine for models. It may take others.
    pub models: Vec<ServedModel>,
}

/// A model that a provider holds, and what it calls it. The name is its owner's word: what a model is, its hash says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ServedModel {
    /// 1 to [`MAX_MODEL_NAME_BYTES`] bytes.
    pub name: String,
    /// The model's file.
    pub blob: BlobRef,
}

/// Which of a provider's engines: its place in the [`Offer`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct EngineIndex(pub u8);

/// One engine among those of all providers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct EngineId {
    /// The provider.
    pub node: NodeId,
    /// Which of its engines.
    pub engine: EngineIndex,
}

/// Rates that a provider measured on one of its engines. They are claims: placement starts from them and goes on with
/// what is observed. Of models the unit is
/// [`crate::Metered::UNITS_OF_TOKEN`] for each token.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Capacity {
    /// Fuel a second of one task alone.
    pub single_fuel_per_s: u64,
    /// Fuel a second of as many tasks as there are slots, together.
    pub all_fuel_per_s: u64,
}

/// What an engine must have to be given a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Needs {
    /// The kind of program.
    pub kind: ProgramKind,
    /// How floats are compiled.
    pub floats: FloatClass,
    /// Free memory.
    pub memory: ByteSize,
}

impl Offer {
    /// The engine at a place, if there is one.
    pub fn engine(&self, at: EngineIndex) -> Option<&Engine> {
        self.engines.get(at.place())
    }

    /// All engines with their places. Those past [`EngineIndex`]'s range, which no message may bring, are left out.
    pub fn numbered(&self) -> impl Iterator<Item = (EngineIndex, &Engine)> {
        (0..=u8::MAX).map(EngineIndex).zip(&self.engines)
    }

    /// Tasks that run at the same time on all engines together.
    pub fn slots(&self) -> u32 {
        self.engines.iter().fold(0, |sum: u32, engine| sum.saturating_add(engine.slots))
    }

    /// Memory for running tasks, of all engines together.
    pub fn memory(&self) -> ByteSize {
        ByteSize(self.engines.iter().fold(0, |sum: u64, engine| sum.saturating_add(engine.memory.0)))
    }
}

impl Engine {
    /// Whether it runs its kind of program by the rules of this build.
    pub fn is_current(&self) -> bool {
        self.exec_version == self.kind.version()
    }

    /// Whether the other one is the same sort of engine: results of the one compare with those of the other wherever
    /// they do with its own, so a lease of the one may be answered by the other.
    pub fn is_like(&self, other: &Self) -> bool {
        let sort = |engine: &Self| (engine.kind, engine.exec_version);
        sort(self) == sort(other) && self.hardware_class == other.hardware_class
    }
}

impl EngineIndex {
    /// Its place in a list of engines.
    pub fn place(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for EngineIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(slots: u32, hardware_class: Option<&str>) -> Engine {
        Engine {
            kind: ProgramKind::Wasm,
            floats: vec![FloatClass::Canonical],
            hardware_class: hardware_class.map(str::to_owned),
            exec_version: ProgramKind::Wasm.version(),
            slots,
            memory: ByteSize::mib(u64::from(slots)),
            capacity: Capacity::default(),
            rates: RateCard::FREE,
            models: Vec::new(),
        }
    }

    #[test]
    fn an_offer_is_the_sum_of_its_engines() {
        let engines = vec![engine(3, None), engine(4, Some("x86-64-v3"))];
        let offer = Offer { name: String::new(), disk: ByteSize(0), down_bytes_per_s: 0, engines };
        assert_eq!((offer.slots(), offer.memory()), (7, ByteSize::mib(7)));
        assert_eq!(offer.engine(EngineIndex(1)), Some(&offer.engines[1]));
        assert_eq!(offer.engine(EngineIndex(2)), None);
        let numbered: Vec<_> = offer.numbered().map(|(at, engine)| (at.0, engine.slots)).collect();
        assert_eq!(numbered, [(0, 3), (1, 4)]);
    }

    #[test]
    fn engines_are_alike_if_their_results_compare() {
        let one = engine(3, Some("x86-64-v3"));
        assert!(one.is_like(&engine(8, Some("x86-64-v3"))), "slots and prices say nothing of results");
        assert!(!one.is_like(&engine(3, Some("aarch64"))));
        let old = Engine { exec_version: one.exec_version + 1, ..one.clone() };
        assert!(one.is_current() && !old.is_current() && !one.is_like(&old));
    }
}
