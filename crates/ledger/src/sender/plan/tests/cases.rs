//! One thing that goes wrong at a time.

use super::{super::*, network::Process};
use crate::sender::Outcome;

fn quick() -> Settings {
    Settings {
        confirmations: 2,
        bump_after_blocks: 2,
        bump_after: Duration::ZERO,
        max_fee_per_gas: Coin::from_wei(100),
        min_tip: Coin::from_wei(1),
        ..Settings::default()
    }
}

fn commits(steps: &[Step]) -> usize {
    steps.iter().filter(|step| matches!(step, Step::Commit(_))).count()
}

fn variants(process: &Process, id: TxId) -> Vec<Fees> {
    match &process.book.entries[&id].state {
        State::Sent(slot) => slot.variants.iter().map(|variant| variant.fees).collect(),
        other => panic!("it is not on its way: {other:?}"),
    }
}

#[test]
fn a_payment_is_durable_then_broadcast_then_final() {
    let mut process = Process::new(quick());
    let id = process.submit(5);
    let steps = process.round(None);
    assert!(matches!(
        steps.as_slice(),
        [Step::Commit(_), Step::Tell(Event::Signed { nonce: 0, .. }), Step::Broadcast { .. }]
    ));
    process.network.mine();
    process.round(None);
    assert!(matches!(process.book.entries[&id].state, State::Mined(..)));
    process.network.mine();
    process.round(None);
    assert!(matches!(process.book.entries[&id].outcome(), Some(Outcome::Succeeded(_))));
    assert!(process.book.is_idle());
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let mut process = Process::new(quick());
    process.submit(5);
    process.round(None);
    assert_eq!(process.round(None), Vec::new());
    process.network.mine();
    assert_eq!(commits(&process.round(None)), 1);
    assert_eq!(commits(&process.round(None)), 0);
}

#[test]
fn a_stuck_payment_pays_more_until_the_ceiling() {
    let mut process = Process::new(quick());
    process.network.base_fee = 30;
    let id = process.submit(5);
    process.round(None);
    process.network.base_fee = 200;
    for _ in 0..40 {
        process.network.mine();
        process.round(None);
    }
    let fees = variants(&process, id);
    assert!(fees.len() == 2 && fees.iter().all(|fees| fees.cap() <= 100), "{fees:?}");
    let at_ceiling = process.events.iter().filter(|event| matches!(event, Event::AtCeiling { .. })).count();
    assert_eq!(at_ceiling, 1, "told once");
    process.network.base_fee = 60;
    process.network.mine();
    assert_eq!(process.payments(5), 1);
}

#[test]
fn a_restart_sends_again_what_was_signed_and_signs_nothing_new() {
    let mut process = Process::new(quick());
    let id = process.submit(5);
    process.round(Some(2));
    assert!(process.network.pool.is_empty(), "killed before it was broadcast");
    let steps = process.round(None);
    assert!(matches!(steps.as_slice(), [Step::Broadcast { .. }]), "{steps:?}");
    assert_eq!(variants(&process, id).len(), 1);
}

#[test]
fn what_the_node_forgot_is_sent_again_as_it_was() {
    let mut process = Process::new(Settings { bump_after_blocks: 1000, ..quick() });
    let id = process.submit(5);
    process.round(None);
    process.network.pool.clear();
    for _ in 0..20 {
        process.round(None);
    }
    assert_eq!(variants(&process, id).len(), 1);
    process.network.mine();
    assert_eq!(process.payments(5), 1);
}

#[test]
fn a_reorg_sends_it_again() {
    let mut process = Process::new(quick());
    process.submit(5);
    process.round(None);
    process.network.mine();
    process.round(None);
    process.network.reorg(1, false);
    process.round(None);
    assert!(process.events.iter().any(|event| matches!(event, Event::Reorged { .. })));
    process.network.mine();
    assert_eq!(process.payments(5), 1);
}

#[test]
fn a_nonce_that_someone_else_used_is_told_and_another_taken() {
    let mut process = Process::new(quick());
    let id = process.submit(5);
    process.round(None);
    process.network.send_foreign(true);
    process.network.mine();
    process.round(None);
    assert!(matches!(process.book.entries[&id].state, State::Sent(_)), "not before it is settled");
    process.network.mine();
    process.round(None);
    let foreign = process.events.iter().find(|event| matches!(event, Event::ForeignNonce { .. }));
    assert!(matches!(foreign, Some(Event::ForeignNonce { nonce: 0, by: Some(_), .. })));
    process.network.mine();
    assert_eq!(process.payments(5), 1);
}

#[test]
fn a_gap_is_closed_by_a_transfer_of_nothing() {
    let mut process = Process::new(quick());
    process.network.send_foreign(false);
    process.submit(5);
    process.round(None);
    // The other wallet's transaction had nonce 0, and is lost.
    process.network.pool.remove(&0);
    process.round(None);
    process.round(None);
    assert!(process.events.contains(&Event::Gap { nonce: 0 }));
    process.network.mine();
    assert_eq!(process.payments(5), 1);
}

#[test]
fn a_cancelled_payment_is_replaced_by_nothing() {
    let mut process = Process::new(quick());
    let id = process.submit(5);
    process.round(None);
    process.cancel(id);
    process.round(None);
    for _ in 0..3 {
        process.network.mine();
        process.round(None);
    }
    assert_eq!(process.payments(5), 0);
    assert_eq!(process.book.entries[&id].outcome(), Some(Outcome::Dropped(DropReason::Cancelled)));
}

#[test]
fn what_would_be_reverted_is_refused_unless_something_is_on_its_way() {
    let mut process = Process::new(quick());
    let first = process.submit(5);
    process.round(None);
    let id = process.submit(6);
    let mut entry = process.book.entries[&id].clone();
    entry.intent.gas_limit = None;
    process.book.apply(&Change::Put(Box::new(entry)));
    let mut seen = process.seen();
    seen.gas.insert(id, Gas::Reverted("no".to_owned()));
    let plan =
        |book: &Book| next_steps(book, &mut Memory::default(), &seen, &quick(), &super::network::Plain);
    assert_eq!(commits(&plan(&process.book)), 0, "it may need what is on its way");
    process.book.apply(&Change::Put(Box::new(
        process.book.entries[&first].with(State::Dropped(DropReason::Unneeded)),
    )));
    let steps = plan(&process.book);
    let ended =
        Event::Ended { id, outcome: Outcome::Dropped(DropReason::Refused { reason: "no".to_owned() }) };
    assert!(steps.contains(&Step::Tell(ended)), "{steps:?}");
}

#[test]
fn no_more_are_on_their_way_than_the_settings_say() {
    let mut process = Process::new(Settings { max_in_flight: 3, ..quick() });
    for wei in 0..10 {
        process.submit(wei);
    }
    process.round(None);
    assert_eq!(process.book.sent().len(), 3);
}
