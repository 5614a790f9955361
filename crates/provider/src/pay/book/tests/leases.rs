//! Which leases are taken.

use tidemill_types::WorkRate;

use super::*;

fn refused(admission: Admission) -> NotPaid {
    match admission {
        Admission::Refuse(reason) => reason,
        other => panic!("it should be refused: {other:?}"),
    }
}

#[test]
fn a_lease_waits_for_the_ledger_and_for_the_disk_and_the_next_does_not() {
    let mut world = World::new();
    world.open(1);
    assert_eq!(world.admit(2, 1), Admission::Take);
    world.sanity_check();
}

#[test]
fn a_lease_without_pay_is_refused_where_work_is_paid_and_taken_where_it_is_free() {
    let mut world = World::new();
    let without =
        |world: &mut World| world.book.admit(key_of(1), (None, &RateCard::default()), Millis(1), world.now);
    assert_eq!(refused(without(&mut world)), NotPaid::NoEscrow);
    world.book.joined(FIRST, Session::Free, world.now.at);
    assert_eq!(without(&mut world), Admission::Take);
    assert_eq!(refused(world.admit(2, 1)), NotPaid::Free);
}

#[test]
fn other_rates_than_ours_are_not_believed() {
    let mut world = World::new();
    for rates in [RateCard::FREE, RateCard { work: WorkRate::fuel(tide(1)), ..RateCard::default() }] {
        let pay = LeasePay { rates, ..pay(1) };
        let admission = world.book.admit(key_of(1), (Some(&pay), &RateCard::default()), Millis(1), world.now);
        assert_eq!(admission, Admission::OtherRates);
    }
}

#[test]
fn an_escrow_that_does_not_pay_gives_its_leases_back() {
    let good = World::new().sight(1);
    let cases = [
        (None, "the ledger knows no escrow"),
        (Some(EscrowView { voucher_key: Address([4; 20]), ..good.view }), "is of the coordinator"),
        (Some(EscrowView { ends_s: NOW_S, ..good.view }), "about to end"),
        (Some(EscrowView { ends_s: NOW_S, collect_until_s: NOW_S, ..good.view }), "is over"),
        (Some(EscrowView { closed: true, ..good.view }), "is closed"),
        (Some(EscrowView { ends_s: NOW_S + 59, ..good.view }), "ends in 59 s, and the task may take 60 s"),
        // The chain's clock may be ahead of ours.
        (Some(EscrowView { now_s: NOW_S + OPEN_S - 30, ..good.view }), "ends in 30 s"),
    ];
    for (view, words) in cases {
        let mut world = World::new();
        assert_eq!(world.admit(1, 1), Admission::Wait);
        world.see(1, view.map(|view| Sight { view, ..good }));
        let [(lease, Err(reason))] = world.book.reconsider(world.now)[..] else { panic!("{words}") };
        assert_eq!(lease, key_of(1));
        assert!(reason.to_string().contains(words), "{reason}");
        world.sanity_check();
    }
}

#[test]
fn an_escrow_that_was_missing_is_asked_for_again_but_not_at_once() {
    let mut world = World::new();
    assert_eq!(world.admit(1, 1), Admission::Wait);
    world.see(1, None);
    assert_eq!(world.book.reconsider(world.now).len(), 1);
    assert_eq!(refused(world.admit(2, 1)), NotPaid::Missing(escrow(1)));
    world.pass(Duration::from_secs(2));
    world.open(1);
}

#[test]
fn what_waits_for_an_escrow_that_ends_is_given_back() {
    let mut world = World::new();
    world.open(1);
    world.pass(Duration::from_secs(OPEN_S));
    world.see(1, Some(world.sight(1)));
    let [(of, reason)] = world.book.spoilt()[..] else { panic!("it is said once") };
    assert_eq!(of, escrow(1));
    assert!(matches!(reason, NotPaid::NotOpen { .. }), "{reason}");
    world.see(1, Some(world.sight(1)));
    assert_eq!(world.book.spoilt(), []);
    assert_eq!(refused(world.admit(2, 1)), reason);
}

#[test]
fn leases_that_left_leave_nothing_behind() {
    let mut world = World::new();
    assert_eq!(world.admit(1, 1), Admission::Wait);
    world.book.left(key_of(1));
    world.see(1, None);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.book.reconsider(world.now), []);
    assert!(world.book.accounts.is_empty());
    world.sanity_check();
}

#[test]
fn an_escrow_of_another_ledger_is_refused() {
    let mut world = World::new();
    world.open(1);
    let moved = Terms { contract: EscrowContract { chain_id: 6, ..CONTRACT }, ..terms() };
    let mut world = World::recalled(moved, &world.history());
    assert_eq!(refused(world.admit(1, 1)), NotPaid::OtherLedger(escrow(1)));
}

#[test]
fn without_bond_nothing_is_taken_until_there_is_one() {
    let mut world = World::with(Terms { min_bond: tide(50), ..terms() });
    let coordinator = world.coordinator.address();
    assert_eq!(world.admit(1, 1), Admission::Wait);
    let errands = world.book.errands(world.now).expect("a lease waits");
    assert_eq!(errands.bond, Some(coordinator));
    world.see(1, Some(world.sight(1)));
    assert_eq!(world.book.reconsider(world.now), [], "it waits for the bond");
    world.book.bonded(coordinator, tide(49), world.now.at);
    let expected = NotPaid::Bond { bond: tide(49), least: tide(50) };
    assert_eq!(world.book.reconsider(world.now), [(key_of(1), Err(expected))]);
    assert_eq!(world.book.stop(FIRST), Some(expected));
    assert_eq!(refused(world.admit(2, 1)), expected);
    world.book.errands(world.now);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.book.errands(world.now).and_then(|errands| errands.bond), Some(coordinator));
    world.book.bonded(coordinator, tide(50), world.now.at);
    assert_eq!(world.book.stop(FIRST), None);
    world.book.errands(world.now);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.book.errands(world.now).and_then(|errands| errands.bond), None, "once a minute");
    world.pass(Duration::from_secs(30));
    assert_eq!(world.book.errands(world.now).and_then(|errands| errands.bond), Some(coordinator));
}

#[test]
fn a_journal_that_cannot_be_written_gives_new_escrows_back() {
    let mut world = World::new();
    assert_eq!(world.admit(1, 1), Admission::Wait);
    world.see(1, Some(world.sight(1)));
    assert_eq!(world.book.reconsider(world.now), []);
    let entries = world.book.unstored(10).expect("the escrow is to be noted");
    world.book.not_stored(entries, "the disk is full".to_owned());
    assert_eq!(world.book.reconsider(world.now), [(key_of(1), Err(NotPaid::NoJournal))]);
    assert_eq!(world.said(|event| matches!(event, Event::JournalFailed { .. })), 1);
    world.store();
    assert_eq!(world.admit(2, 1), Admission::Take, "it was written in the end");
    world.sanity_check();
}
