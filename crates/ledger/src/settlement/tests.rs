use tidemill_types::{EscrowContract, ResultKey, Signable};

use super::*;
use crate::contracts::ours;

const FEE: Coin = Coin::from_wei(1);

fn key(n: usize) -> ResultKey {
    let mut bytes = [9; 32];
    bytes[31] = u8::try_from(n).expect("few");
    ResultKey::from_bytes(&bytes).expect("a key")
}

fn escrow(n: u8) -> EscrowId {
    EscrowId([n; 32])
}

/// A payee that released what it was promised.
fn content(id: EscrowId, n: usize, amount: u64) -> Payee {
    let (key, amount) = (key(n), Amount::tide(amount));
    let contract = EscrowContract { chain_id: 1, address: Address([7; 20]) };
    let release = Release { escrow: id, provider: key.address(), amount };
    let release = release.sign(&contract, &key).expect("it fits");
    Payee { provider: key.address(), amount, release: Some(release), paid: Amount::ZERO, acknowledged: false }
}

/// An escrow of payees who are owed five tokens each.
fn closing(n: u8, payees: usize) -> Closing {
    let id = escrow(n);
    let view = EscrowView {
        id,
        requester: Address([2; 20]),
        coordinator: Address([3; 20]),
        voucher_key: Address([3; 20]),
        deposited: Amount::tide(1_000),
        paid: Amount::ZERO,
        fee_ppm: 50_000,
        protocol_fee_ppm: 0,
        ends_s: 1_000_000,
        collect_until_s: 1_200_000,
        closed: false,
        now_s: 0,
    };
    Closing { view, payees: (0..payees).map(|n| content(id, n, 5)).collect(), impatient: false }
}

fn conditions() -> Conditions {
    Conditions::new(FEE, FEE, 30_000_000)
}

fn purposes(calls: &[Call]) -> Vec<(Purpose, usize, usize)> {
    calls.iter().map(|call| (call.purpose, call.escrows.len(), call.payees)).collect()
}

fn close_of(call: &Call) -> JobEscrow::closeCall {
    JobEscrow::closeCall::abi_decode(&call.data).expect("a close")
}

#[test]
fn an_escrow_whose_payees_all_released_closes_in_one_call() {
    let closing = closing(1, 20);
    let calls = plan(std::slice::from_ref(&closing), &conditions());
    assert_eq!(purposes(&calls), [(Purpose::Close, 1, 20)]);
    let call = close_of(&calls[0]);
    assert_eq!(call.id, escrow(1).0);
    let mut named: Vec<_> = closing.payees.iter().map(|payee| payee.provider).collect();
    named.sort();
    let listed: Vec<_> = call.releases.iter().map(|release| ours(release.provider)).collect();
    assert_eq!(listed, named, "the contract wants them in ascending order");
    assert!(call.releases.iter().all(|release| release.amount == narrow(Amount::tide(5))));
}

#[test]
fn an_escrow_that_owes_nobody_closes_too() {
    assert_eq!(purposes(&plan(&[closing(1, 0)], &conditions())), [(Purpose::Close, 1, 0)]);
}

#[test]
fn small_escrows_share_a_transaction_as_far_as_they_fit() {
    let closings: Vec<_> = (1..=60).map(|n| closing(n, 2)).collect();
    let calls = plan(&closings, &conditions());
    assert!(calls.len() > 1 && calls.len() < 4, "{:?}", purposes(&calls));
    let settled: Vec<_> = calls.iter().flat_map(|call| call.escrows.clone()).collect();
    assert_eq!(settled, (1..=60).map(escrow).collect::<Vec<_>>(), "each once, in order");
    for call in &calls {
        let batch = JobEscrow::multicallCall::abi_decode(&call.data).expect("several");
        assert_eq!(batch.data.len(), call.escrows.len());
        let needed = gas::TRANSACTION + call.escrows.len() as u64 * (gas::CLOSE + 2 * gas::RELEASE);
        assert!(needed <= conditions().most_gas);
    }
}

#[test]
fn more_payees_than_fit_are_acknowledged_before() {
    let calls = plan(&[closing(1, 255)], &conditions());
    let (close, pieces) = calls.split_last().expect("some");
    assert_eq!(close.purpose, Purpose::Close);
    assert!(!pieces.is_empty() && pieces.iter().all(|call| call.purpose == Purpose::Acknowledge));
    let mut named: Vec<_> = close_of(close).releases.iter().map(|release| release.provider).collect();
    for piece in pieces {
        let call = JobEscrow::acknowledgeCall::abi_decode(&piece.data).expect("an acknowledgement");
        assert_eq!(call.releases.len(), piece.payees);
        named.extend(call.releases.iter().map(|release| release.provider));
    }
    named.sort();
    named.dedup();
    assert_eq!(named.len(), 255, "everyone once");
}

#[test]
fn who_is_acknowledged_already_is_not_named_again() {
    let mut closing = closing(1, 3);
    closing.payees[1].acknowledged = true;
    closing.payees[1].paid = Amount::tide(5);
    let calls = plan(&[closing.clone()], &conditions());
    assert_eq!(purposes(&calls), [(Purpose::Close, 1, 2)]);
    let named = close_of(&calls[0]).releases;
    assert!(named.iter().all(|release| ours(release.provider) != closing.payees[1].provider));
}

#[test]
fn a_missing_release_is_waited_for_and_then_paid_around() {
    let mut closing = closing(1, 4);
    closing.payees[2].release = None;
    closing.payees[3].paid = Amount::tide(5);
    assert_eq!(plan(&[closing.clone()], &conditions()), []);
    closing.impatient = true;
    let calls = plan(&[closing.clone()], &conditions());
    assert_eq!(purposes(&calls), [(Purpose::Pay, 1, 3), (Purpose::End, 1, 0)]);
    let pay = JobEscrow::settleCall::abi_decode(&calls[0].data).expect("payments");
    assert!(pay.payments.iter().all(|payment| payment.amount == narrow(Amount::tide(5))));
    // In the window there is nothing to end, and once all are paid nothing to do but to wait.
    closing.view.now_s = closing.view.ends_s;
    assert_eq!(purposes(&plan(&[closing.clone()], &conditions())), [(Purpose::Pay, 1, 3)]);
    for payee in &mut closing.payees {
        payee.paid = payee.amount;
    }
    assert_eq!(plan(&[closing.clone()], &conditions()), []);
    closing.view.now_s = closing.view.collect_until_s;
    assert_eq!(purposes(&plan(&[closing.clone()], &conditions())), [(Purpose::Refund, 1, 0)]);
    closing.view.closed = true;
    assert_eq!(plan(&[closing], &conditions()), []);
}

#[test]
fn a_release_that_is_about_something_else_does_not_count() {
    let other = closing(2, 1);
    let wrong: [fn(&mut Payee, &Closing); 4] = [
        |payee, other| payee.release = other.payees[0].release,
        |payee, _| payee.amount = Amount::tide(6),
        |payee, _| payee.provider = Address([1; 20]),
        |payee, _| payee.paid = Amount::tide(6),
    ];
    for change in wrong {
        let mut closing = closing(1, 2);
        change(&mut closing.payees[0], &other);
        assert_eq!(plan(&[closing], &conditions()), []);
    }
}

#[test]
fn dear_gas_is_waited_out_unless_a_window_is_about_to_close() {
    let dear = Conditions { gas_price: Coin::from_wei(2), ..conditions() };
    let mut closing = closing(1, 2);
    assert_eq!(plan(&[closing.clone()], &dear), []);
    closing.view.now_s = closing.view.collect_until_s - dear.margin_s - 1;
    assert_eq!(plan(&[closing.clone()], &dear), []);
    closing.view.now_s += 1;
    assert_eq!(purposes(&plan(&[closing.clone()], &dear)), [(Purpose::Close, 1, 2)]);
    for payee in &mut closing.payees {
        payee.paid = payee.amount;
    }
    assert_eq!(plan(&[closing], &dear), [], "nobody loses by waiting");
}

#[test]
fn the_worst_conditions_still_make_progress() {
    let tiny = Conditions { most_gas: 1, ..conditions() };
    let calls = plan(&[closing(1, 3), closing(2, 1)], &tiny);
    let expected = [
        (Purpose::Acknowledge, 1, 1),
        (Purpose::Acknowledge, 1, 1),
        (Purpose::Close, 1, 1),
        (Purpose::Close, 1, 1),
    ];
    assert_eq!(purposes(&calls), expected);
}
