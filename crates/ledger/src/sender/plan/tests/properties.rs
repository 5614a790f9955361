//! Whatever happens, each payment is made once.

use proptest::prelude::*;

use super::{super::*, network::Process};
use crate::sender::Outcome;

#[derive(Clone, Debug)]
enum Act {
    Submit,
    Cancel(usize),
    Round,
    KilledRound(usize),
    Restart,
    Mine,
    /// The fee that the chain asks.
    BaseFee(u128),
    /// The node forgets a transaction that it has.
    Forget(usize),
    Reorg(u64, bool),
    Foreign(bool),
    /// A node without old blocks.
    Amnesia(bool),
    /// A node whose receipts come late.
    LateReceipts,
}

const CONFIRMATIONS: u64 = 4;

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Submit),
        1 => (0usize..20).prop_map(Act::Cancel),
        8 => Just(Act::Round),
        4 => (0usize..6).prop_map(Act::KilledRound),
        2 => Just(Act::Restart),
        6 => Just(Act::Mine),
        1 => (1u128..200).prop_map(Act::BaseFee),
        2 => (0usize..4).prop_map(Act::Forget),
        // One block less than is final, since the chain replaces its head as well.
        2 => (1u64..CONFIRMATIONS, any::<bool>()).prop_map(|(depth, keeps)| Act::Reorg(depth, keeps)),
        1 => any::<bool>().prop_map(Act::Foreign),
        1 => any::<bool>().prop_map(Act::Amnesia),
        1 => Just(Act::LateReceipts),
    ]
}

/// Receipts are late once at most: a node that never has any cannot be told from one that has forgotten.
fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 0..80).prop_map(|mut acts| {
        let first = acts.iter().position(|act| matches!(act, Act::LateReceipts));
        let mut position = 0;
        acts.retain(|act| {
            position += 1;
            !matches!(act, Act::LateReceipts) || first == Some(position - 1)
        });
        acts
    })
}

fn settings() -> Settings {
    Settings {
        confirmations: CONFIRMATIONS,
        max_fee_per_gas: Coin::from_wei(1000),
        min_tip: Coin::from_wei(1),
        max_in_flight: 5,
        ..Settings::default()
    }
}

fn perform(process: &mut Process, act: &Act, submitted: &mut Vec<TxId>) {
    process.sanity_check();
    match *act {
        // The amount names the payment.
        Act::Submit => {
            let id = process.submit(1000 + submitted.len() as u128);
            submitted.push(id);
        }
        Act::Cancel(which) => {
            if let Some(id) = submitted.get(which) {
                process.cancel(*id);
            }
        }
        Act::Round => drop(process.round(None)),
        Act::KilledRound(step) => drop(process.round(Some(step))),
        Act::Restart => process.restart(),
        Act::Mine => process.network.mine(),
        Act::BaseFee(fee) => process.network.base_fee = fee,
        Act::Forget(which) => {
            let nonce = process.network.pool.keys().nth(which).copied();
            nonce.map(|nonce| process.network.pool.remove(&nonce));
        }
        Act::Reorg(depth, keeps) => process.network.reorg(depth, keeps),
        Act::Foreign(replacing) => process.network.send_foreign(replacing),
        Act::LateReceipts => process.late_receipts = LOOKS_WITHOUT_TRACE - 1,
        Act::Amnesia(forgets) => process.network.remembers_users = !forgets,
    }
}

/// The chain behaves from now on; everything must come to an end.
fn come_to_rest(process: &mut Process) {
    process.network.base_fee = 10;
    for _ in 0..600 {
        process.round(None);
        process.network.mine();
        if process.book.is_idle() {
            return;
        }
    }
    panic!("it never ends: {:#?}", process.book);
}

fn check(process: &Process, submitted: &[TxId]) -> Result<(), TestCaseError> {
    process.sanity_check();
    for (number, id) in submitted.iter().enumerate() {
        let times = process.payments(1000 + number as u128);
        let Some(entry) = process.book.entries.get(id) else { continue };
        match entry.outcome() {
            Some(Outcome::Succeeded(_)) => prop_assert_eq!(times, 1, "{:?}", entry),
            Some(Outcome::Dropped(_)) => prop_assert_eq!(times, 0, "{:?}", entry),
            other => prop_assert!(false, "{:?} {:?}", other, entry),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn every_payment_is_made_once(acts in acts()) {
        let mut process = Process::new(settings());
        let mut submitted = Vec::new();
        for act in &acts {
            perform(&mut process, act, &mut submitted);
            for number in 0..submitted.len() {
                prop_assert!(process.payments(1000 + number as u128) <= 1, "paid twice after {act:?}");
            }
        }
        come_to_rest(&mut process);
        check(&process, &submitted)?;
    }

    #[test]
    fn nobody_who_cancels_nothing_loses_anything(acts in acts()) {
        let mut process = Process::new(settings());
        let mut submitted = Vec::new();
        for act in acts.iter().filter(|act| !matches!(act, Act::Cancel(_))) {
            perform(&mut process, act, &mut submitted);
        }
        come_to_rest(&mut process);
        for number in 0..submitted.len() {
            prop_assert_eq!(process.payments(1000 + number as u128), 1);
        }
    }
}
