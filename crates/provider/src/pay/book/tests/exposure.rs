//! How far ahead of its pay work is done.

use tidemill_net::wire::Unpaid;

use super::*;

fn exposed(world: &World) -> bool {
    matches!(world.book.stop(FIRST), Some(NotPaid::Exposed { .. }))
}

#[test]
fn work_counts_until_a_voucher_for_it_is_on_the_disk() {
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(4));
    assert_eq!(world.book.exposure(FIRST), tide(4));
    let voucher = world.voucher(1, 1, tide(4));
    world.pays(&[(1, tide(4))], Some(voucher));
    assert_eq!(world.book.exposure(FIRST), tide(4), "it is not on the disk");
    world.store();
    assert_eq!(world.book.exposure(FIRST), Amount::ZERO);
    let paid = Event::Paid { escrow: escrow(1), amount: tide(4), total: tide(4) };
    assert_eq!(world.said(|event| *event == paid), 1);
    world.sanity_check();
}

#[test]
fn at_the_limit_work_pauses_and_goes_on_when_it_is_paid() {
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(9));
    assert!(!exposed(&world));
    world.report(2, 1, tide(1));
    assert!(exposed(&world));
    assert_eq!(world.book.gives_back(FIRST, world.now.at), None, "leases are kept for a while");
    assert_eq!(world.said(|event| matches!(event, Event::Exposed { .. })), 1);
    let patience = world.book.deadline(world.now.at).expect("it is waited");
    assert!(patience <= world.now.at + EXPOSED_PATIENCE);
    world.pass(EXPOSED_PATIENCE);
    assert!(matches!(world.book.gives_back(FIRST, world.now.at), Some(NotPaid::Exposed { .. })));
    assert_eq!(world.book.gives_back(FIRST, world.now.at), None, "once");
    assert!(matches!(world.admit(3, 1), Admission::Refuse(NotPaid::Exposed { .. })), "nor are more kept");
    let voucher = world.voucher(1, 1, tide(10));
    world.pays(&[(1, tide(9)), (2, tide(1))], Some(voucher));
    world.store();
    assert!(!exposed(&world));
    assert_eq!(world.book.gives_back(FIRST, world.now.at), None);
    assert_eq!(world.said(|event| matches!(event, Event::Secure { .. })), 1);
    world.sanity_check();
}

#[test]
fn decisions_without_a_voucher_change_nothing() {
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(6));
    world.pays(&[(1, tide(6))], None);
    world.store();
    assert_eq!(world.book.exposure(FIRST), tide(6));
    let short = world.voucher(1, 1, tide(5));
    world.pays(&[], Some(short));
    world.store();
    assert_eq!(world.book.exposure(FIRST), tide(1));
    let event = Event::Short { escrow: escrow(1), promised: tide(5), earned: tide(6) };
    assert_eq!(world.said(|said| *said == event), 1);
    world.sanity_check();
}

#[test]
fn what_is_not_paid_stays_exposure_and_is_remembered_with_its_reason() {
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(2));
    world.report(2, 1, tide(3));
    let decisions = [(LeaseId(1), Decision::Unpaid(Unpaid::Late)), (LeaseId(2), Decision::Paid(tide(1)))];
    world.book.decided(FIRST, &decisions, &[]);
    let (paid, withheld) = (tide(1), tide(4).saturating_sub(tide(1).mul_div_floor(1, 20).expect("it fits")));
    assert_eq!(world.book.exposure(FIRST), paid.saturating_add(withheld));
    world.store();
    let job = &world.history().escrows[&escrow(1)].jobs[&JobId([1; 16])];
    assert_eq!(job.unpaid[&Unpaid::Late].amount, tide(2));
    assert_eq!((job.paid.results, job.paid.amount, job.short), (1, tide(1), tide(2)));
    let is_said = |event: &Event| match event {
        Event::Unpaid { amount, reason, .. } => (*amount, *reason) == (tide(2), Unpaid::Late),
        Event::Underpaid { paid, price, .. } => (*paid, *price) == (tide(1), tide(3)),
        _ => false,
    };
    assert_eq!(world.said(is_said), 2);
    world.sanity_check();
}

#[test]
fn a_cancelled_result_is_decided_or_given_up() {
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(2));
    world.report(2, 1, tide(3));
    world.book.cancelled(key_of(1), world.now.at);
    world.book.cancelled(key_of(2), world.now.at);
    world.pays(&[(1, tide(2))], None);
    assert_eq!(world.book.exposure(FIRST), tide(5));
    world.book.errands(world.now);
    world.pass(CANCELLED_PATIENCE);
    world.book.errands(world.now);
    assert_eq!(world.book.exposure(FIRST), tide(5), "what is given up was handed in all the same");
    world.store();
    let job = &world.history().escrows[&escrow(1)].jobs[&JobId([1; 16])];
    assert_eq!(job.unpaid[&Unpaid::Superseded], crate::pay::Tally { results: 1, amount: tide(3) });
    world.sanity_check();
}

#[test]
fn a_decision_of_an_earlier_life_is_nothing_and_its_voucher_counts() {
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(4));
    world.store();
    // Killed before it was decided.
    let mut world = World::recalled(terms(), &world.history());
    let voucher = world.voucher(1, 1, tide(4));
    world.pays(&[(1, tide(4))], Some(voucher));
    world.store();
    assert_eq!(world.book.exposure(FIRST), Amount::ZERO);
    world.see(1, Some(world.sight(1)));
    world.report(2, 1, tide(3));
    world.pays(&[(2, tide(3))], None);
    assert_eq!(world.book.exposure(FIRST), tide(3), "the new work is not covered by the old voucher");
}

#[test]
fn killed_between_hearing_a_voucher_and_writing_it_the_next_one_is_taken() {
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(4));
    let voucher = world.voucher(1, 1, tide(4));
    world.pays(&[(1, tide(4))], Some(voucher));
    let history = world.history();
    for voucher in [voucher, world.voucher(1, 2, tide(5))] {
        let mut world = World::recalled(terms(), &history);
        world.pays(&[], Some(voucher));
        world.store();
        assert_eq!(world.book.uncollected(), voucher.amount);
        assert_eq!(world.said(|event| matches!(event, Event::VoucherRefused { .. })), 0);
    }
}

#[test]
fn without_the_ledger_work_goes_on_up_to_the_limit() {
    let mut world = World::new();
    world.open(1);
    world.earn(1, 1, tide(8));
    assert_eq!(world.admit(2, 2), Admission::Wait);
    world.book.errands(world.now);
    world.book.unseen("nobody answers".to_owned(), world.now.at);
    assert_eq!(world.said(|event| matches!(event, Event::LedgerLost { .. })), 1);
    assert_eq!(world.book.reconsider(world.now), [], "the new escrow is written down first");
    world.store();
    assert_eq!(world.book.reconsider(world.now), [(key_of(2), Ok(()))]);
    assert_eq!(world.admit(3, 1), Admission::Take, "known escrows are good still");
    // Vouchers of an escrow that nobody saw are worth nothing yet.
    world.report(2, 2, tide(6));
    let voucher = world.voucher(2, 1, tide(6));
    world.pays(&[(2, tide(6))], Some(voucher));
    world.store();
    assert_eq!(world.book.exposure(FIRST), tide(6));
    world.report(4, 2, tide(4));
    assert!(exposed(&world));

    world.pass(terms().poll);
    let looks = world.book.errands(world.now).expect("it is asked again").looks;
    assert_eq!(looks, [escrow(2), escrow(1)], "what somebody waits for comes first");
    world.see(2, Some(world.sight(2)));
    assert_eq!(world.said(|event| matches!(event, Event::LedgerBack)), 1);
    assert_eq!(world.book.exposure(FIRST), tide(4));
    assert!(!exposed(&world));
    world.sanity_check();
}

#[test]
fn a_voucher_of_an_escrow_that_is_none_stays_exposure() {
    let mut world = World::new();
    assert_eq!(world.admit(1, 1), Admission::Wait);
    world.book.errands(world.now);
    world.book.unseen("nobody answers".to_owned(), world.now.at);
    world.book.reconsider(world.now);
    world.store();
    assert_eq!(world.book.reconsider(world.now), [(key_of(1), Ok(()))]);
    world.report(1, 1, tide(10));
    let voucher = world.voucher(1, 1, tide(10));
    world.pays(&[(1, tide(10))], Some(voucher));
    world.store();
    world.see(1, None);
    assert!(exposed(&world));
    assert_eq!(world.book.spoilt(), [(escrow(1), NotPaid::Missing(escrow(1)))]);
    world.sanity_check();
}

/// A coordinator that says of each result that it is contradicted, or pays it with nothing, was worked for without end.
#[test]
fn who_refuses_every_result_is_not_worked_for_any_more() {
    for refusal in [Decision::Unpaid(Unpaid::Contradicted), Decision::Paid(Amount::ZERO)] {
        let mut world = World::new();
        world.open(1);
        for lease in 1..=10 {
            assert!(!exposed(&world), "after {} results", lease - 1);
            world.report(lease, 1, tide(1));
            world.book.decided(FIRST, &[(LeaseId(lease), refusal)], &[]);
        }
        assert!(exposed(&world));
        assert_eq!(world.book.gives_back(FIRST, world.now.at), None, "it may pay yet");
        world.pass(EXPOSED_PATIENCE);
        assert!(matches!(world.book.gives_back(FIRST, world.now.at), Some(NotPaid::Exposed { .. })));
        assert!(matches!(world.admit(11, 1), Admission::Refuse(NotPaid::Exposed { .. })));
        world.sanity_check();
    }
}

#[test]
fn what_is_refused_outlives_a_restart_and_decays() {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(8));
    world.book.errands(world.now);
    world.book.decided(FIRST, &[(LeaseId(1), Decision::Unpaid(Unpaid::Undecided))], &[]);
    world.store();
    let mut world = World::recalled(terms(), &world.history());
    world.book.errands(world.now);
    world.book.recount();
    assert_eq!(world.book.exposure(FIRST), tide(8));
    world.pass(7 * DAY);
    world.book.is_stirred = true;
    world.book.errands(world.now);
    world.book.recount();
    assert_eq!(world.book.exposure(FIRST), tide(4));
}

/// An opinion that waits for a verdict is forgotten by the process, not by its books.
#[test]
fn what_waits_for_a_verdict_outlives_a_restart_until_a_voucher_covers_it() {
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(4));
    world.store();
    let mut world = World::recalled(terms(), &world.history());
    assert_eq!(world.book.exposure(FIRST), tide(4));
    let voucher = world.voucher(1, 1, tide(3));
    world.pays(&[], Some(voucher));
    world.store();
    assert_eq!(world.book.exposure(FIRST), tide(1));
}

#[test]
fn pay_forgives_some_of_what_was_refused() {
    let mut world = World::new();
    world.open(1);
    world.report(1, 1, tide(1));
    world.book.decided(FIRST, &[(LeaseId(1), Decision::Unpaid(Unpaid::Late))], &[]);
    assert_eq!(world.book.exposure(FIRST), tide(1));
    world.earn(1, 1, tide(40));
    assert_eq!(world.book.exposure(FIRST), Amount::ZERO);
}
