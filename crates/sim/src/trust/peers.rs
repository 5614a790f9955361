//! Providers: what they offer, and whose they are.

use tidemill_sched::{Micros, Scheduler};
use tidemill_types::{
    Address, ByteSize, Capacity, Engine, FloatClass, NodeId, Offer, ProgramKind, RateCard, TaskNumber,
};

use super::{Plan, adversary::Adversary};
use crate::dice::Dice;

/// Fuel that one task needs at a provider in a second: all are alike.
const FUEL_PER_S: u64 = 1_000_000_000;

/// Leases that a provider holds at once, for each of its slots.
pub(super) const CREDITS: u32 = 4;

/// A provider.
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) operator: Address,
    pub(super) is_dishonest: bool,
    /// Leases that its operator holds at once.
    pub(super) leases: u32,
    /// Results that it gave since the first lie of its name, that one included; none before.
    pub(super) lying_for: Option<u64>,
    /// Tasks of the job that runs that were accepted on its word alone.
    pub(super) believed: Vec<TaskNumber>,
    /// The job in which it has lied last.
    pub(super) lied_in: Option<u64>,
}

/// The account of a number.
pub(super) fn named(number: u64) -> Address {
    let mut address = [0; 20];
    address[..8].copy_from_slice(&number.to_be_bytes());
    Address(address)
}

/// What a provider with so many slots offers.
pub(super) fn offer(slots: u32) -> Offer {
    let engine = Engine {
        kind: ProgramKind::Wasm,
        floats: vec![FloatClass::Canonical],
        hardware_class: None,
        exec_version: ProgramKind::Wasm.version(),
        slots,
        memory: ByteSize::mib(1_024 * u64::from(slots)),
        capacity: Capacity { single_fuel_per_s: FUEL_PER_S, all_fuel_per_s: 0 },
        rates: RateCard::default(),
        models: Vec::new(),
    };
    Offer {
        name: String::new(),
        disk: ByteSize::mib(1_024),
        down_bytes_per_s: 1 << 30,
        engines: vec![engine],
    }
}

/// All providers of a network, who have joined it.
pub(super) fn join_all(
    plan: &Plan,
    adversary: &Adversary,
    dice: &mut Dice,
    scheduler: &mut Scheduler,
) -> Vec<Peer> {
    let dishonest = (f64::from(plan.providers) * adversary.share()).round() as usize;
    let mut is_dishonest: Vec<bool> = (0..plan.providers as usize).map(|number| number < dishonest).collect();
    dice.shuffle(&mut is_dishonest);
    let (slots, nodes) = (adversary.slots(), adversary.nodes());
    let mut liars = 0_u64;
    let join = |(number, is_dishonest): (usize, bool)| {
        let number = number as u64;
        let mut node = [0; 32];
        node[..8].copy_from_slice(&number.to_be_bytes());
        let (slots, nodes) = if is_dishonest { (slots, nodes) } else { (1, 1) };
        // The nodes of one operator have the name of a number that no other has.
        let operator = match nodes {
            1 => number,
            nodes => u64::from(plan.providers) + liars / u64::from(nodes),
        };
        liars += u64::from(is_dishonest);
        let (node, operator) = (NodeId(node), named(operator));
        scheduler.join(node, operator, offer(slots), CREDITS * slots, Micros(0));
        Peer {
            node,
            operator,
            is_dishonest,
            leases: CREDITS * slots * nodes,
            lying_for: None,
            believed: Vec::new(),
            lied_in: None,
        }
    };
    is_dishonest.into_iter().enumerate().map(join).collect()
}
