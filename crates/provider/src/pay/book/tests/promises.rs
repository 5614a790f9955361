//! Vouchers and releases.

use tidemill_net::wire::ReleaseAsked;
use tidemill_types::{Signature65, SignatureError};

use super::*;
use crate::pay::VoucherError;

impl World {
    /// What is wrong with a voucher, which must have changed nothing.
    fn refusal(&mut self, signed: Signed<Voucher>) -> VoucherError {
        self.store();
        let (exposure, events) = (self.book.exposure(FIRST), self.events.len());
        self.book.decided(FIRST, &[], &[signed]);
        assert!(self.book.unstored(1).is_none_or(|entries| {
            let is_evidence = matches!(entries[..], [Entry::Evidence(_)]);
            self.book.not_stored(entries, String::new());
            is_evidence
        }));
        assert_eq!(self.book.exposure(FIRST), exposure);
        self.listen();
        match &self.events[events..] {
            [Event::VoucherRefused { error, .. }, ..] => *error,
            other => panic!("it should be refused: {other:?}"),
        }
    }
}

/// The same signature with the other `s`.
fn twisted(signed: Signed<Voucher>) -> Signed<Voucher> {
    /// The order of the curve.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
        0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
    ];
    let mut bytes = signed.signature.0;
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(ORDER[at]) - i16::from(bytes[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        bytes[32 + at] = difference.rem_euclid(256) as u8;
    }
    bytes[64] = 27 + 28 - bytes[64];
    Signed { signature: Signature65(bytes), ..signed }
}

#[test]
fn every_bad_voucher_is_refused_for_what_is_wrong_with_it() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 5, tide(4));
    let good = world.voucher(1, 6, tide(5));

    let elsewhere = world.signed(Voucher { escrow: escrow(2), ..good });
    assert_eq!(world.refusal(elsewhere), VoucherError::UnknownEscrow(escrow(2)));
    let other = world.signed(Voucher { provider: Address([1; 20]), ..good });
    let expected = VoucherError::OtherProvider { found: Address([1; 20]), expected: OPERATOR };
    assert_eq!(world.refusal(other), expected);

    let forged = good.sign(&CONTRACT, &key(2)).expect("it fits");
    let is_forged = |error| matches!(error, VoucherError::Signature(SignatureError::OtherSigner { .. }));
    assert!(is_forged(world.refusal(forged)));
    let chain = EscrowContract { chain_id: 6, ..CONTRACT };
    let elsewhere = good.sign(&chain, &world.coordinator).expect("it fits");
    assert!(is_forged(world.refusal(elsewhere)), "another chain");
    let contract = EscrowContract { address: Address([8; 20]), ..CONTRACT };
    let elsewhere = good.sign(&contract, &world.coordinator).expect("it fits");
    assert!(is_forged(world.refusal(elsewhere)), "another contract");
    let altered = Signed { body: Voucher { amount: tide(6), ..good }, ..world.signed(good) };
    assert!(is_forged(world.refusal(altered)), "another amount");

    let malleable = twisted(world.signed(good));
    assert_eq!(world.refusal(malleable), VoucherError::Signature(SignatureError::Malleable));
    let nonsense = Signed { signature: Signature65([0; 65]), ..world.signed(good) };
    assert_eq!(world.refusal(nonsense), VoucherError::Signature(SignatureError::Malformed));

    let smaller = world.signed(world.voucher(1, 6, tide(3)));
    assert_eq!(world.refusal(smaller), VoucherError::Smaller { found: tide(3), last: tide(4) });
    let replayed = world.signed(world.voucher(1, 4, tide(9)));
    assert_eq!(world.refusal(replayed), VoucherError::NotRising { found: 4, last: 5 });
    let nothing = world.signed(Voucher { total: tide(1), ..good });
    assert_eq!(world.refusal(nothing), VoucherError::TotalBelowAmount { amount: tide(5), total: tide(1) });

    assert_eq!(world.book.stop(FIRST), None, "mistakes are no frauds");
    world.pays(&[], Some(good));
    world.store();
    assert_eq!(world.book.uncollected(), tide(5));
    world.sanity_check();
}

#[test]
fn the_same_voucher_again_is_no_harm() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 5, tide(4));
    let again = world.voucher(1, 5, tide(4));
    world.pays(&[], Some(again));
    assert_eq!(world.book.unstored(9), None);
    assert_eq!(world.said(|event| matches!(event, Event::VoucherRefused { .. })), 0);
    world.sanity_check();
}

#[test]
fn a_voucher_that_comes_before_its_decisions_does_not_count_twice() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    world.report(1, 1, tide(2));
    world.report(2, 1, tide(1));
    // So it comes from a coordinator that died between promising and deciding.
    let voucher = world.voucher(1, 2, tide(6));
    world.pays(&[], Some(voucher));
    world.store();
    assert_eq!(world.history().escrows[&escrow(1)].earned(), tide(6));
    world.pays(&[(1, tide(2))], None);
    world.sanity_check();
    assert_eq!(world.history().escrows[&escrow(1)].earned(), tide(6));
    let voucher = world.voucher(1, 3, tide(7));
    world.pays(&[(2, tide(1))], Some(voucher));
    world.sanity_check();
    assert_eq!(world.history().escrows[&escrow(1)].earned(), tide(7));
    assert_eq!(world.said(|event| matches!(event, Event::Short { .. })), 0);
}

#[test]
fn what_earlier_lives_have_forgotten_counts_as_soon_as_a_voucher_covers_it() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    // A result of 2 was on its way when that life ended.
    let mut again = World::recalled(terms(), &world.history());
    std::mem::swap(&mut again.written, &mut world.written);
    assert_eq!(again.admit(7, 1), Admission::Wait);
    again.see(1, Some(again.sight(1)));
    assert_eq!(again.book.reconsider(again.now), [(key_of(7), Ok(()))]);
    again.report(1, 1, tide(1));
    let voucher = again.voucher(1, 2, tide(7));
    again.pays(&[], Some(voucher));
    again.sanity_check();
    again.pays(&[(1, tide(1))], None);
    again.sanity_check();
    assert_eq!(again.history().escrows[&escrow(1)].earned(), tide(7));
    again.report(2, 1, tide(1));
    let short = again.voucher(1, 3, tide(7));
    again.pays(&[(2, tide(1))], Some(short));
    let event = Event::Short { escrow: escrow(1), promised: tide(7), earned: tide(8) };
    assert_eq!(again.said(|said| *said == event), 1);
    again.sanity_check();
}

#[test]
fn one_number_twice_is_a_fraud_and_both_are_kept() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 5, tide(4));
    let other = world.signed(world.voucher(1, 5, tide(6)));
    assert_eq!(world.refusal(other), VoucherError::SequenceReused { sequence: 5 });
    assert_eq!(world.book.stop(FIRST), Some(NotPaid::Fraud));
    assert_eq!(
        world.book.gives_back(FIRST, world.now.at),
        Some(NotPaid::Fraud),
        "what waits goes back at once"
    );
    assert_eq!(world.book.gives_back(FIRST, world.now.at), None);
    world.store();
    let kept = &world.history().escrows[&escrow(1)].evidence;
    assert_eq!(kept[..], [world.signed(world.voucher(1, 5, tide(4))), other]);
    world.sanity_check();
}

#[test]
fn a_coordinator_that_promised_too_much_gets_no_more_work_and_a_deposit_on_its_way_is_waited_for() {
    for (deposited, is_fraud) in [(tide(200), false), (tide(100), true)] {
        let mut world = World::new();
        world.open(1);
        world.earn(1, 1, tide(4));
        let voucher = Voucher { total: tide(101), ..world.voucher(1, 2, tide(5)) };
        world.pays(&[], Some(voucher));
        assert_eq!(world.book.stop(FIRST), None, "the ledger is asked first");
        assert_eq!(world.book.errands(world.now).expect("at once").looks, [escrow(1)]);
        let sight = Sight { deposited, ..world.sight(1) };
        world.see(1, Some(sight));
        world.store();
        let history = world.history();
        assert_eq!(history.escrows[&escrow(1)].voucher, Some(world.signed(voucher)), "it is worth something");
        assert_eq!(world.book.stop(FIRST), is_fraud.then_some(NotPaid::Fraud));
        let expected = VoucherError::OverIssue { total: tide(101), deposited: tide(100) };
        let event = Event::OverIssue { escrow: escrow(1), error: expected };
        assert_eq!(world.said(|said| *said == event), usize::from(is_fraud));
        assert_eq!(history.escrows[&escrow(1)].evidence.len(), usize::from(is_fraud));
        world.sanity_check();
        let again = World::recalled(terms(), &history);
        assert_eq!(again.book.stop(FIRST), is_fraud.then_some(NotPaid::Fraud), "it is not forgotten");
    }
}

#[test]
fn a_voucher_over_all_that_is_there_is_evidence_alone() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    let voucher = world.voucher(1, 2, tide(101));
    world.pays(&[], Some(voucher));
    world.see(1, Some(world.sight(1)));
    world.store();
    let known = &world.history().escrows[&escrow(1)];
    assert_eq!(known.voucher.map(|signed| signed.body.amount), Some(tide(4)));
    assert_eq!(known.evidence.len(), 1);
    assert_eq!(world.book.stop(FIRST), Some(NotPaid::Fraud));
    world.sanity_check();
}

#[test]
fn what_was_promised_before_the_ledger_answered_is_looked_at_when_it_does() {
    let mut world = World::new();
    assert_eq!(world.admit(1, 1), Admission::Wait);
    world.book.errands(world.now);
    world.book.unseen("nobody answers".to_owned(), world.now.at);
    world.book.reconsider(world.now);
    world.store();
    let voucher = Voucher { total: tide(500), ..world.voucher(1, 1, tide(5)) };
    world.pays(&[], Some(voucher));
    world.store();
    world.see(1, Some(world.sight(1)));
    assert_eq!(world.said(|event| matches!(event, Event::OverIssue { .. })), 1);
    world.see(1, Some(world.sight(1)));
    assert_eq!(world.said(|event| matches!(event, Event::OverIssue { .. })), 1);
    world.sanity_check();
}

#[test]
fn a_release_is_signed_when_nothing_is_left_and_after_it_no_lease_is_taken() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    let ask = |world: &mut World, amount, has_leases| {
        world.book.release_asked(FIRST, ReleaseAsked { escrow: escrow(1), amount }, has_leases);
        let is_quiet = world.book.unstored(9).is_none_or(|entries| {
            world.book.stored(&entries);
            let is_quiet = entries.iter().all(|entry| matches!(entry, Entry::Withheld { .. }));
            world.written.extend(entries);
            is_quiet
        });
        assert_eq!(is_quiet, world.book.releases.is_empty());
        world.book.releases().into_iter().map(|(_, release)| release).collect::<Vec<_>>()
    };
    assert_eq!(ask(&mut world, tide(4), true), [], "leases are left");
    assert_eq!(ask(&mut world, tide(3), false), [], "less than was promised");
    world.report(1, 1, tide(2));
    assert_eq!(ask(&mut world, tide(4), false), [], "a result is not decided");
    world.pays(&[(1, tide(2))], None);
    world.store();
    assert_eq!(ask(&mut world, tide(4), false), [], "less than was earned");
    let release = Release { escrow: escrow(1), provider: OPERATOR, amount: tide(6) };
    assert_eq!(ask(&mut world, tide(6), false), [release]);
    assert_eq!(ask(&mut world, tide(6), false), [release], "the first may have been lost");
    assert_eq!(ask(&mut world, tide(5), false), [], "less than was released");
    assert_eq!(world.admit(9, 1), Admission::Refuse(NotPaid::Released(escrow(1))));
    world.sanity_check();
    let mut world = World::recalled(terms(), &world.history());
    world.see(1, Some(world.sight(1)));
    assert_eq!(world.admit(9, 1), Admission::Refuse(NotPaid::Released(escrow(1))), "nor after a restart");
}

#[test]
fn the_end_of_what_was_released_is_looked_for_at_once_when_nothing_else_is_left() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(4));
    let looks = |world: &mut World| {
        let errands = world.book.errands(world.now);
        errands.map_or_else(Vec::new, |errands| errands.looks)
    };
    world.book.look_for_the_end();
    assert_eq!(looks(&mut world), [], "it is not released, and was looked at a moment ago");
    world.book.release_asked(FIRST, ReleaseAsked { escrow: escrow(1), amount: tide(4) }, false);
    world.store();
    assert_eq!(looks(&mut world), [], "its end may be long in coming");
    world.book.look_for_the_end();
    assert_eq!(looks(&mut world), [escrow(1)]);
    let (gross, net) = (tide(4), tide(4));
    let view = EscrowView { closed: true, paid: gross, ..world.view(1) };
    world.see(1, Some(Sight { view, gross, net, ..world.sight(1) }));
    world.store();
    assert!(world.book.is_covered(), "it is paid");
    world.book.look_for_the_end();
    assert_eq!(looks(&mut world), []);
}

#[test]
fn of_an_escrow_that_is_not_known_nothing_is_released() {
    let mut world = World::new();
    world.book.release_asked(FIRST, ReleaseAsked { escrow: escrow(1), amount: tide(5) }, false);
    assert_eq!(world.book.unstored(9), None);
    assert_eq!(world.admit(1, 1), Admission::Wait);
    world.book.release_asked(FIRST, ReleaseAsked { escrow: escrow(1), amount: tide(5) }, false);
    assert_eq!(world.book.unstored(9), None);
}
