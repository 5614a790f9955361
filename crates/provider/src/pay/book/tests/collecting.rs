//! What is collected by this provider itself, and what is lost.

use super::*;
use crate::pay::{Loss, LossReason};

/// The sight of an escrow that has ended so many seconds ago.
fn ended(world: &World, byte: u8, ago_s: u64) -> Sight {
    let ends_s = world.now.unix_s - ago_s;
    let view = EscrowView { ends_s, collect_until_s: ends_s + WINDOW_S, ..world.view(byte) };
    Sight { view, ..world.sight(byte) }
}

fn silence() -> Duration {
    terms().collect_after
}

#[test]
fn of_a_silent_coordinator_what_ended_is_collected_and_what_is_open_is_not() {
    let mut world = World::new();
    for byte in [1, 2] {
        world.open(byte);
        world.earn(byte, 1, tide(4));
    }
    world.pass(silence());
    world.see(1, Some(world.sight(1)));
    world.see(2, Some(ended(&world, 2, 1)));
    let collection = world.collection().expect("it is time");
    assert_eq!(collection.voucher.body.escrow, escrow(2));
    assert_eq!(collection.attempt, 0);
    assert_eq!(world.collection(), None, "one at a time");
    let transaction = tidemill_ledger::B256::repeat_byte(3);
    let collected = Collected { transaction, gross: tide(4), net: tide(3) };
    world.book.collected(escrow(2), collected);
    assert_eq!(world.collection(), None, "it is paid");
    let paid = Sight { gross: tide(4), net: tide(3), ..ended(&world, 2, 1) };
    world.see(2, Some(paid));
    assert_eq!(world.collection(), None);
    world.store();
    let known = &world.history().escrows[&escrow(2)];
    assert_eq!((known.gross, known.net, known.collected), (tide(4), tide(3), Some(transaction.0)));
    world.sanity_check();
}

#[test]
fn what_the_ledger_was_asked_before_a_payment_does_not_undo_it_and_what_it_saw_of_it_does_not_count_twice() {
    for sees_it in [false, true] {
        let mut world = World::new();
        world.open(1);
        world.earn(1, 1, tide(4));
        world.pass(silence());
        world.see(1, Some(ended(&world, 1, 1)));
        assert!(world.collection().is_some());
        world.pass(terms().poll);
        assert_eq!(world.book.errands(world.now).expect("it is time").looks, [escrow(1)]);
        let paid = Sight { gross: tide(4), net: tide(3), ..ended(&world, 1, 1) };
        let transaction = tidemill_ledger::B256::repeat_byte(3);
        let collected = Collected { transaction, gross: tide(4), net: tide(3) };
        if sees_it {
            world.see(1, Some(paid));
            world.book.collected(escrow(1), collected);
        } else {
            world.book.collected(escrow(1), collected);
            world.see(1, Some(ended(&world, 1, 1)));
            assert_eq!(
                world.book.errands(world.now).expect("at once").looks,
                [escrow(1)],
                "it is asked again"
            );
            world.see(1, Some(paid));
        }
        world.store();
        let known = &world.history().escrows[&escrow(1)];
        assert_eq!((known.gross, known.net), (tide(4), tide(3)), "{sees_it}");
        assert_eq!(world.collection(), None);
        world.sanity_check();
    }
}

#[test]
fn a_coordinator_that_is_there_has_half_of_the_window() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    for (ago_s, is_due) in [(0, false), (WINDOW_S / 2 - 1, false), (WINDOW_S / 2, true)] {
        world.pass(silence());
        world.book.heard(FIRST, world.now.at);
        world.see(1, Some(ended(&world, 1, ago_s)));
        assert_eq!(world.collection().is_some(), is_due, "{ago_s} s after the end");
    }
}

#[test]
fn after_a_restart_without_any_coordinator_it_is_collected_all_the_same() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    let now = world.now;
    let mut book = Book::new(terms(), &world.history(), now.at);
    assert_eq!(book.errands(now).expect("it is looked at").looks, [escrow(1)]);
    book.seen(vec![(escrow(1), Some(ended(&world, 1, 0)))], now);
    assert_eq!(book.errands(now).and_then(|errands| errands.collection), None, "it may still come");
    let later = Moment { at: now.at + silence(), unix_s: now.unix_s + silence().as_secs() };
    let errands = book.errands(later).expect("it is looked at again");
    assert_eq!(errands.looks, [escrow(1)]);
    assert!(errands.collection.is_some());
}

#[test]
fn failures_are_tried_again_ever_more_seldom_each_as_an_attempt_of_its_own() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    world.pass(silence());
    world.see(1, Some(ended(&world, 1, 1)));
    let mut pause = Duration::from_secs(5);
    for attempt in 0..4 {
        let collection = world.collection().expect("it is time");
        assert_eq!(collection.attempt, attempt);
        world.book.not_collected(escrow(1), "no coins for gas".to_owned(), world.now.at);
        world.see(1, Some(ended(&world, 1, 1)));
        assert_eq!(world.collection(), None);
        world.pass(pause);
        world.see(1, Some(ended(&world, 1, 1)));
        pause *= 2;
    }
    world.store();
    let again = World::recalled(terms(), &world.history());
    assert_eq!(again.book.accounts[&escrow(1)].collecting.failures, 4, "a restart goes on counting");
    world.sanity_check();
}

#[test]
fn where_nobody_can_send_it_is_said_once() {
    let mut world = World::with(Terms { may_collect: false, ..terms() });
    world.open(1);
    world.earn(1, 1, tide(4));
    world.pass(silence());
    for _ in 0..2 {
        world.see(1, Some(ended(&world, 1, 1)));
        assert_eq!(world.collection(), None);
    }
    assert_eq!(world.said(|event| matches!(event, Event::CollectFailed { .. })), 1);
}

#[test]
fn vouchers_that_an_early_close_could_leave_out_are_secured_before_they_are_too_much() {
    let mut world = World::new();
    for (byte, amount) in [(1, 4), (2, 6)] {
        world.open(byte);
        world.earn(byte, 1, tide(amount));
    }
    assert_eq!(world.collection(), None, "the limit is not passed");
    world.open(3);
    world.earn(3, 1, tide(1));
    let collection = world.collection().expect("11 TIDE are too much");
    assert_eq!(collection.voucher.body.escrow, escrow(2), "the largest");
    let collected = Collected { transaction: Default::default(), gross: tide(6), net: tide(6) };
    world.book.collected(escrow(2), collected);
    let sight = Sight { gross: tide(6), net: tide(6), is_enrolled: true, ..world.sight(2) };
    world.see(2, Some(sight));
    assert_eq!(world.collection(), None);
    // Being enrolled, nobody closes without us, however much it becomes.
    world.report(1, 2, tide(9));
    let voucher = world.voucher(2, 2, tide(15));
    world.pays(&[(1, tide(9))], Some(voucher));
    world.store();
    assert_eq!(world.collection(), None);
    world.sanity_check();
}

#[test]
fn after_a_fraud_it_is_not_waited_for_the_end() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    let voucher = world.voucher(1, 1, tide(5));
    world.pays(&[], Some(voucher));
    assert_eq!(world.book.stop(FIRST), Some(NotPaid::Fraud));
    assert!(world.collection().is_some());
}

#[test]
fn an_escrow_without_money_is_not_asked_for_more() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    world.pass(silence());
    let sight = ended(&world, 1, 1);
    let view = EscrowView { paid: sight.view.deposited, ..sight.view };
    world.see(1, Some(Sight { view, gross: tide(3), ..sight }));
    assert_eq!(world.collection(), None);
}

/// What is lost when an escrow ends like this.
fn lost(world: &mut World, sight: Sight) -> Option<Loss> {
    let undecided = world.book.accounts[&escrow(1)].undecided.amount;
    world.see(1, Some(sight));
    world.store();
    let known = &world.history().escrows[&escrow(1)];
    assert!(known.ended);
    let losses = world.said(|event| matches!(event, Event::Loss { .. }));
    assert_eq!(losses, usize::from(known.loss.is_some()));
    let loss = known.loss;
    world.book.reconsider(world.now);
    let kept = loss.filter(|loss| loss.reason != LossReason::WindowOver);
    let kept = kept.map_or(Amount::ZERO, |loss| loss.amount);
    // Results that were handed in, and that nobody decides any more, are kept as well.
    let kept = kept.saturating_add(undecided);
    assert_eq!(world.book.exposure(FIRST), kept, "what the coordinator kept does not come back");
    assert!(world.book.accounts.is_empty());
    world.sanity_check();
    loss
}

fn earned() -> World {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    world.see(1, Some(world.sight(1)));
    world
}

#[test]
fn what_was_not_paid_in_the_end_is_written_down_with_its_reason() {
    let loss = |amount, reason| Some(Loss { amount: tide(amount), reason });

    let mut world = earned();
    let sight = ended(&world, 1, WINDOW_S);
    assert_eq!(lost(&mut world, sight), loss(4, LossReason::WindowOver));

    let mut world = earned();
    let sight = ended(&world, 1, WINDOW_S);
    assert_eq!(lost(&mut world, Sight { gross: tide(4), net: tide(4), ..sight }), None);

    let mut world = earned();
    let view = EscrowView { closed: true, ends_s: NOW_S - WINDOW_S, collect_until_s: NOW_S, ..world.view(1) };
    let closed = Sight { view, ..world.sight(1) };
    assert_eq!(lost(&mut world, closed), loss(4, LossReason::LeftOut));

    let mut world = earned();
    assert_eq!(lost(&mut world, Sight { gross: tide(4), net: tide(4), ..closed }), None);

    let mut world = earned();
    let view = EscrowView { paid: view.deposited, ..view };
    let empty = Sight { view, gross: tide(1), net: tide(1), ..closed };
    assert_eq!(lost(&mut world, empty), loss(3, LossReason::NothingLeft));

    let mut world = earned();
    world.report(1, 1, tide(2));
    world.report(2, 1, tide(1));
    world.pays(&[(1, tide(2))], None);
    let paid = Sight { gross: tide(4), net: tide(4), ..closed };
    assert_eq!(lost(&mut world, paid), loss(2, LossReason::NoVoucher));
}

#[test]
fn an_early_close_with_our_release_pays_it_all() {
    let mut world = earned();
    world.book.release_asked(
        FIRST,
        tidemill_net::wire::ReleaseAsked { escrow: escrow(1), amount: tide(4) },
        false,
    );
    world.store();
    assert_eq!(world.book.releases().len(), 1);
    let view = EscrowView { closed: true, collect_until_s: NOW_S, ..world.view(1) };
    let closed = Sight { view, gross: tide(4), net: tide(3), ..world.sight(1) };
    assert_eq!(lost(&mut world, closed), None);
    let known = &world.history().escrows[&escrow(1)];
    assert_eq!((known.gross, known.net), (tide(4), tide(3)));
}
