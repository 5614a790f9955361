//! Who is connected: how many different owners have engines of each kind and class of hardware, as far as that can be told.
//!
//! A group of providers is assumed to be a small part of the network. Within a class of hardware, which is a provider's own
//! word, it may be a large part, or all. So what agreement within a class says depends on how large the class is.

use std::collections::{BTreeMap, btree_map::Entry};

use tidemill_types::{Address, FloatClass, JobId, NodeId, ProgramKind, Stage};

use super::{Core, Provider, jobs::able};
use crate::event::Network;

/// A kind of program and a class of hardware.
type Class = (ProgramKind, Option<String>);

/// The owners of the engines that are connected and run native floats, by their classes.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Presence {
    /// What each node is counted for.
    nodes: BTreeMap<NodeId, (Owner, Vec<Class>)>,
    owners: BTreeMap<Class, Owners>,
    /// How often anything of it has changed.
    changes: u64,
}

/// How large a part of those who run programs of a job's kind could have its tasks.
///
/// What a requester narrows says nothing about those whom it leaves: it could have its own providers alone agree with each
/// other, and build records with tasks that nobody else takes at their price.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Reach {
    /// Which part.
    pub(super) share: f64,
    /// When it was measured, by the changes of who is connected.
    at: Option<u64>,
}

impl Default for Reach {
    /// Nobody is known to be left out.
    fn default() -> Self {
        Self { share: 1.0, at: None }
    }
}

/// Whose a provider is, as far as can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    operator: Address,
    /// Where it comes from, where that says something.
    network: Option<Network>,
}

/// Some owners, and how often each is counted.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Owners {
    operators: BTreeMap<Address, u32>,
    /// The networks, and the accounts of those of whom none is known.
    places: BTreeMap<Result<Network, Address>, u32>,
}

impl Owner {
    pub(super) fn of(provider: &Provider) -> Self {
        Self { operator: provider.operator, network: provider.network }
    }

    fn place(self) -> Result<Network, Address> {
        self.network.ok_or(self.operator)
    }
}

impl Owners {
    pub(super) fn add(&mut self, owner: Owner) {
        *self.operators.entry(owner.operator).or_default() += 1;
        *self.places.entry(owner.place()).or_default() += 1;
    }

    fn remove(&mut self, owner: Owner) {
        remove(&mut self.operators, owner.operator);
        remove(&mut self.places, owner.place());
    }

    /// How many there are: neither an account with machines in many networks nor a network with many accounts counts as
    /// several.
    pub(super) fn count(&self) -> usize {
        self.operators.len().min(self.places.len())
    }
}

/// Counts something once less.
fn remove<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

impl Presence {
    /// A provider has come, has gone, or offers something else.
    fn recount(&mut self, node: NodeId, provider: Option<&Provider>) {
        self.changes += 1;
        if let Some((owner, classes)) = self.nodes.remove(&node) {
            for class in classes {
                let Some(owners) = self.owners.get_mut(&class) else { continue };
                owners.remove(owner);
                if owners.count() == 0 {
                    self.owners.remove(&class);
                }
            }
        }
        let Some(provider) = provider.filter(|provider| provider.session.is_some()) else { return };
        let native = provider.offer.engines.iter().filter(|engine| {
            engine.is_current() && engine.slots > 0 && engine.floats.contains(&FloatClass::Native)
        });
        let classes: Vec<Class> = native.map(|engine| (engine.kind, engine.hardware_class.clone())).collect();
        let owner = Owner::of(provider);
        for class in &classes {
            self.owners.entry(class.clone()).or_default().add(owner);
        }
        self.nodes.insert(node, (owner, classes));
    }

    /// How large a part of those who run native floats of a kind is of these classes; nothing where nobody is there.
    pub(super) fn share<'a>(
        &self,
        kind: ProgramKind,
        classes: impl Iterator<Item = &'a Option<String>> + Clone,
    ) -> f64 {
        let of_kind = self.owners.iter().filter(|((of, _), _)| *of == kind);
        let (mut all, mut of_them) = (0, 0);
        for ((_, class), owners) in of_kind {
            all += owners.count();
            if classes.clone().any(|of| of == class) {
                of_them += owners.count();
            }
        }
        if all == 0 { 0.0 } else { of_them as f64 / all as f64 }
    }
}

impl Core {
    /// A provider has come, has gone, or offers something else.
    pub(super) fn count_presence(&mut self, node: NodeId) {
        self.presence.recount(node, self.providers.get(&node));
    }

    /// The same, counted anew.
    #[cfg(test)]
    pub(super) fn presence_anew(&self) -> Presence {
        let mut presence = Presence::default();
        for (node, provider) in &self.providers {
            presence.recount(*node, Some(provider));
        }
        Presence { changes: self.presence.changes, ..presence }
    }

    /// Sees to it that the reach of a job is that of now, before anything is made of its results.
    pub(super) fn measure_reach(&mut self, id: JobId) {
        let changes = self.presence.changes;
        let Some(job) = self.jobs.get(&id).filter(|job| job.reach.at != Some(changes)) else { return };
        let only = self.only_for(job);
        let ceiling = job.money.map(|money| money.record.ceiling);
        let Some(needs) = job.spec.needs(Stage::Map) else { return };
        let (mut all, mut able_ones) = (Owners::default(), Owners::default());
        for provider in self.providers.values().filter(|provider| provider.session.is_some()) {
            let mut engines = provider.offer.engines.iter();
            if engines.any(|engine| engine.kind == needs.kind && engine.is_current() && engine.slots > 0) {
                all.add(Owner::of(provider));
            }
            let may = only.as_ref().is_none_or(|only| only.contains(&provider.operator));
            if may && able(&provider.offer, &needs, ceiling).next().is_some() {
                able_ones.add(Owner::of(provider));
            }
        }
        let share = match all.count() {
            0 => 0.0,
            all => able_ones.count() as f64 / all as f64,
        };
        if let Some(job) = self.jobs.get_mut(&id) {
            job.reach = Reach { share, at: Some(changes) };
        }
    }
}
