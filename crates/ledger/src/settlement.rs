//! What has to be sent so that everyone who is owed something by escrows is paid: a pure function of what was promised,
//! what was released, the escrows as the ledger has them, and the price of gas.
//!
//! An escrow of which every payee has released closes in one call; several such escrows share a transaction. More
//! payees than fit into a transaction are acknowledged in pieces before. Where a release is missing, all are paid and
//! the escrow ends; what is left goes back after the collect window, or as soon as the last release has come.

use alloy::sol_types::SolCall;
use tidemill_types::{Address, Amount, Coin, EscrowId, Release, Signed};

use crate::{
    contracts::{JobEscrow, evm},
    escrow::{self, EscrowView, Phase, narrow, release},
};

/// One who is owed something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payee {
    /// Its account.
    pub provider: Address,
    /// What it was promised, before fees and altogether.
    pub amount: Amount,
    /// Its word that this is all, once it has given it.
    pub release: Option<Signed<Release>>,
    /// What it was paid by the escrow already.
    pub paid: Amount,
    /// Whether its release stands in the ledger already.
    pub acknowledged: bool,
}

/// An escrow that is to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closing {
    /// As the ledger has it.
    pub view: EscrowView,
    /// Everyone who was promised something, each once.
    pub payees: Vec<Payee>,
    /// Whether to wait no longer for releases.
    pub impatient: bool,
}

/// What the ledger is like now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conditions {
    /// The price of a unit of gas.
    pub gas_price: Coin,
    /// Above this price it is waited, unless a window is about to close.
    pub comfortable_gas_price: Coin,
    /// The most gas that a transaction may use.
    pub most_gas: u64,
    /// Payments that were not made so long before the end of a window are made at any price, in seconds.
    pub margin_s: u64,
}

/// What a transaction is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Pays all who released and sends the rest back: the escrow's last.
    Close,
    /// Records releases and pays them, ahead of the close.
    Acknowledge,
    /// Pays some up to what they were promised.
    Pay,
    /// Starts the collect window.
    End,
    /// Sends the rest back after the window.
    Refund,
}

/// A transaction to be sent to the escrow contract.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// What for.
    pub purpose: Purpose,
    /// Which escrows it is about.
    pub escrows: Vec<EscrowId>,
    /// How many payees.
    pub payees: usize,
    /// The call.
    pub data: Vec<u8>,
}

/// What the parts of a settlement use at most, in gas, with room to spare. The figures of `contracts/snapshots` are
/// below.
mod gas {
    /// A transaction, before its calls.
    pub const TRANSACTION: u64 = 30_000;
    /// An escrow that closes: its own slots, fees, two transfers of TIDE.
    pub const CLOSE: u64 = 220_000;
    /// A release in it, by a result key and with delegators, where somebody entered of late and the past is looked up.
    pub const RELEASE: u64 = 100_000;
    /// A payment that is settled or acknowledged, the first of a payee.
    pub const PAYMENT: u64 = 130_000;
}

/// What has to be sent now, in order. Nothing where there is nothing to do, or where it is better to wait.
pub fn plan(closings: &[Closing], conditions: &Conditions) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut closes: Vec<One> = Vec::new();
    for closing in closings {
        let view = &closing.view;
        if conditions.gas_price > conditions.comfortable_gas_price && !is_urgent(closing, conditions) {
            continue;
        }
        match view.phase() {
            Phase::Closed => {}
            Phase::Refundable => calls.push(Call {
                purpose: Purpose::Refund,
                escrows: vec![view.id],
                payees: 0,
                data: escrow::refund(view.id),
            }),
            Phase::Open | Phase::Collecting => match released(closing) {
                Some(releases) => closes.push(acknowledge(view.id, releases, conditions, &mut calls)),
                None if closing.impatient => pay(closing, conditions, &mut calls),
                None => {}
            },
        }
    }
    calls.extend(pack(closes, conditions));
    calls
}

/// The close of one escrow.
struct One {
    id: EscrowId,
    payees: usize,
    gas: u64,
    data: Vec<u8>,
}

/// Whether somebody would lose by waiting.
fn is_urgent(closing: &Closing, conditions: &Conditions) -> bool {
    let view = &closing.view;
    let unpaid = closing.payees.iter().any(|payee| payee.paid < payee.amount);
    unpaid && view.now_s.saturating_add(conditions.margin_s) >= view.collect_until_s
}

/// The releases that a close still needs, in the order that it wants; none where one is missing or does not match what
/// was promised and paid.
fn released(closing: &Closing) -> Option<Vec<Signed<Release>>> {
    let mut releases = Vec::new();
    for payee in &closing.payees {
        let release = payee.release.filter(|release| {
            release.body.escrow == closing.view.id
                && release.body.provider == payee.provider
                && release.body.amount == payee.amount
                && release.body.amount >= payee.paid
        })?;
        if !payee.acknowledged {
            releases.push(release);
        }
    }
    releases.sort_by_key(|release| release.body.provider);
    Some(releases)
}

/// Acknowledges as many releases as one close does not take, and gives the close for the rest.
fn acknowledge(
    id: EscrowId,
    releases: Vec<Signed<Release>>,
    conditions: &Conditions,
    calls: &mut Vec<Call>,
) -> One {
    let most = fitting(conditions, gas::CLOSE, gas::RELEASE);
    let ahead = releases.len().saturating_sub(most);
    let (early, last) = releases.split_at(ahead);
    for piece in early.chunks(fitting(conditions, gas::CLOSE, gas::PAYMENT)) {
        let releases = piece.iter().filter_map(release).collect();
        calls.push(Call {
            purpose: Purpose::Acknowledge,
            escrows: vec![id],
            payees: piece.len(),
            data: JobEscrow::acknowledgeCall { id: id.0.into(), releases }.abi_encode(),
        });
    }
    let releases: Vec<_> = last.iter().filter_map(release).collect();
    let payees = releases.len();
    let gas = gas::CLOSE + gas::RELEASE * payees as u64;
    let data = JobEscrow::closeCall { id: id.0.into(), releases, root: Default::default() }.abi_encode();
    One { id, payees, gas, data }
}

/// Pays everyone what they lack, and starts the window.
fn pay(closing: &Closing, conditions: &Conditions, calls: &mut Vec<Call>) {
    let id = closing.view.id;
    let lacking: Vec<_> = closing.payees.iter().filter(|payee| payee.paid < payee.amount).collect();
    for piece in lacking.chunks(fitting(conditions, gas::CLOSE, gas::PAYMENT)) {
        let payments = piece
            .iter()
            .map(|payee| JobEscrow::Payment { provider: evm(payee.provider), amount: narrow(payee.amount) })
            .collect();
        calls.push(Call {
            purpose: Purpose::Pay,
            escrows: vec![id],
            payees: piece.len(),
            data: JobEscrow::settleCall { id: id.0.into(), payments, root: Default::default() }.abi_encode(),
        });
    }
    if closing.view.phase() == Phase::Open {
        calls.push(Call { purpose: Purpose::End, escrows: vec![id], payees: 0, data: escrow::end(id) });
    }
}

/// Puts closes together as far as they fit into a transaction, in their order.
fn pack(closes: Vec<One>, conditions: &Conditions) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut batch: Vec<One> = Vec::new();
    let mut used = gas::TRANSACTION;
    for one in closes {
        if !batch.is_empty() && used + one.gas > conditions.most_gas {
            calls.push(together(std::mem::take(&mut batch)));
            used = gas::TRANSACTION;
        }
        used += one.gas;
        batch.push(one);
    }
    if !batch.is_empty() {
        calls.push(together(batch));
    }
    calls
}

fn together(mut batch: Vec<One>) -> Call {
    let (escrows, payees) =
        (batch.iter().map(|one| one.id).collect(), batch.iter().map(|one| one.payees).sum());
    let data = match batch.len() {
        1 => batch.remove(0).data,
        _ => escrow::multicall(batch.into_iter().map(|one| one.data)),
    };
    Call { purpose: Purpose::Close, escrows, payees, data }
}

/// How many payees fit into a transaction, at least one.
fn fitting(conditions: &Conditions, fixed: u64, each: u64) -> usize {
    let room = conditions.most_gas.saturating_sub(gas::TRANSACTION + fixed);
    usize::try_from(room / each).unwrap_or(usize::MAX).max(1)
}

impl Conditions {
    /// A transaction may use so much of a block: others want to get in too.
    const PART_OF_BLOCK: u64 = 2;
    /// No transaction may use more on chains with EIP-7825.
    const MOST_GAS: u64 = 16_000_000;
    /// Half a day.
    const MARGIN_S: u64 = 43_200;

    /// Those of a chain whose blocks have so much gas.
    pub fn new(gas_price: Coin, comfortable_gas_price: Coin, block_gas: u64) -> Self {
        let most_gas = (block_gas / Self::PART_OF_BLOCK).min(Self::MOST_GAS);
        Self { gas_price, comfortable_gas_price, most_gas, margin_s: Self::MARGIN_S }
    }
}

#[cfg(test)]
mod tests;
