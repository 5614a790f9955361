//! Leases that pay, vouchers good and bad, releases, and networks that do not suit.

use tidemill_net::wire::{Decision, FromProvider, Lease, Money, ReleaseAsked, ToProvider, Unpaid};
use tidemill_provider::{Ending, Event, pay::VoucherError};
use tidemill_types::{
    Address, Amount, EscrowContract, EscrowId, JobId, LeaseId, Millis, Release, ResultKey, Signable,
    SignatureError, Signed, Voucher, WorkRate,
};

use super::{Scene, directory, lend_in};
use crate::{
    money::World,
    support::{Coordinator, lease},
};

#[tokio::test]
async fn a_paid_lease_is_worked_for_and_its_voucher_is_kept() {
    let mut scene = Scene::new().await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    let price = scene.work(1, escrow).await;
    let voucher = scene.world.sign(scene.world.voucher(escrow, 1, price));
    scene.joined.decide(&[(1, Decision::Paid(price))], &[voucher]).await;
    scene.promised(price).await;
    let history = scene.history();
    let known = &history.escrows[&escrow];
    assert_eq!((known.voucher, known.earned()), (Some(voucher), price));
    assert_eq!(known.coordinator, scene.world.coordinator.address());
    let job = &known.jobs[&JobId([9; 16])];
    assert_eq!((job.paid.results, job.paid.amount), (1, price));

    let dear = scene.work(2, escrow).await;
    scene.joined.decide(&[(2, Decision::Unpaid(Unpaid::Superseded))], &[]).await;
    let said = scene.lender.event(|event| match event {
        Event::Unpaid { lease, reason, amount, .. } => Some((lease, reason, amount)),
        _ => None,
    });
    assert_eq!(said.await, (LeaseId(2), Unpaid::Superseded, dear));
}

/// Whether an error is the one that is meant.
type Is = fn(&VoucherError) -> bool;

#[tokio::test]
async fn bad_vouchers_are_refused_each_for_its_reason() {
    let mut scene = Scene::new().await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    let price = scene.work(1, escrow).await;
    let good = scene.world.sign(scene.world.voucher(escrow, 5, price));
    scene.joined.decide(&[(1, Decision::Paid(price))], &[good]).await;
    scene.promised(price).await;

    let next = scene.world.voucher(escrow, 6, Amount::tide(1));
    let signed = |voucher: Voucher, contract: EscrowContract, key: &ResultKey| {
        voucher.sign(&contract, key).expect("it fits")
    };
    let (contract, key) = (scene.world.contract(), &scene.world.coordinator);
    let other_key = ResultKey::from_bytes(&[44; 32]).expect("a key");
    let other_chain = EscrowContract { chain_id: contract.chain_id + 1, ..contract };
    let stranger = Address([1; 20]);
    let mut malleable = scene.world.sign(next);
    malleable.signature.0[32..64].fill(0xf0);
    let bad: Vec<(Signed<Voucher>, Is)> = vec![
        (signed(next, contract, &other_key), |error| {
            matches!(error, VoucherError::Signature(SignatureError::OtherSigner { .. }))
        }),
        (signed(next, other_chain, key), |error| {
            matches!(error, VoucherError::Signature(SignatureError::OtherSigner { .. }))
        }),
        (malleable, |error| matches!(error, VoucherError::Signature(SignatureError::Malleable))),
        (signed(Voucher { escrow: EscrowId([8; 32]), ..next }, contract, key), |error| {
            matches!(error, VoucherError::UnknownEscrow(_))
        }),
        (signed(Voucher { provider: stranger, ..next }, contract, key), |error| {
            matches!(error, VoucherError::OtherProvider { .. })
        }),
        (signed(Voucher { amount: Amount::from_wei(1), ..next }, contract, key), |error| {
            matches!(error, VoucherError::Smaller { .. })
        }),
        (signed(Voucher { sequence: 4, ..next }, contract, key), |error| {
            matches!(error, VoucherError::NotRising { .. })
        }),
    ];
    for (voucher, is_it) in bad {
        scene.joined.decide(&[], &[voucher]).await;
        let refused = scene.lender.event(|event| match event {
            Event::VoucherRefused { error, .. } => Some(error),
            _ => None,
        });
        let error = refused.await;
        assert!(is_it(&error), "{voucher:?}: {error}");
    }
    assert_eq!(scene.history().escrows[&escrow].voucher, Some(good));
    // The same one again is no harm, and the next good one counts.
    let next = scene.world.sign(next);
    scene.joined.decide(&[], &[good, next]).await;
    scene.promised(Amount::tide(1)).await;
    assert_eq!(scene.history().escrows[&escrow].voucher, Some(next));
}

#[tokio::test]
async fn a_coordinator_that_promises_more_than_there_is_gets_no_more_work() {
    let mut scene = Scene::new().await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    let price = scene.work(1, escrow).await;
    let voucher = Voucher { total: Amount::tide(51), ..scene.world.voucher(escrow, 1, price) };
    let voucher = scene.world.sign(voucher);
    scene.joined.decide(&[(1, Decision::Paid(price))], &[voucher]).await;
    scene.lender.event(|event| matches!(event, Event::OverIssue { .. }).then_some(())).await;
    scene.joined.credited(0).await;
    // It is worth what is still there, so it is fetched at once.
    scene.lender.event(|event| matches!(event, Event::Collected { .. }).then_some(())).await;
    assert_eq!(scene.world.paid(escrow).await, price);
    scene.joined.lease(vec![scene.lease(2, escrow)]).await;
    let (leases, words) = scene.not_paid().await;
    assert_eq!(leases, [2]);
    assert!(words.contains("prove a fraud"), "{words}");
    assert_eq!(scene.history().escrows[&escrow].evidence, [voucher]);
}

#[tokio::test]
async fn leases_that_would_not_be_paid_come_back() {
    let mut scene = Scene::new().await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    let soon = scene.world.open(2, Amount::tide(50), 300).await;
    scene.joined.lease(vec![lease(1, scene.program, &[])]).await;
    assert!(scene.not_paid().await.1.contains("names no escrow"));
    scene.joined.lease(vec![scene.lease(2, EscrowId([3; 32]))]).await;
    assert!(scene.not_paid().await.1.contains("the ledger knows no escrow 0x03030303"));
    scene.joined.lease(vec![scene.lease(3, soon)]).await;
    let words = scene.not_paid().await.1;
    assert!(words.contains("and the task may take 600 s"), "{words}");
    let mut cheap = scene.lease(4, escrow);
    if let Some(pay) = &mut cheap.pay {
        pay.rates.work = WorkRate::fuel(Amount::from_wei(1));
    }
    scene.joined.lease(vec![cheap]).await;
    let said = scene.joined.next().await;
    assert!(format!("{said:?}").contains("other rates than this provider asks"), "{said:?}");
    scene.work(5, escrow).await;
}

#[tokio::test]
async fn a_release_is_given_when_everything_is_decided() {
    let mut scene = Scene::new().await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    let price = scene.work(1, escrow).await;
    let ask = |amount| ToProvider::ReleaseWanted(vec![ReleaseAsked { escrow, amount }]);
    // Not answered: the result is not decided.
    scene.joined.say(ask(price)).await;
    let voucher = scene.world.sign(scene.world.voucher(escrow, 1, price));
    scene.joined.decide(&[(1, Decision::Paid(price))], &[voucher]).await;
    // Not answered: less than was promised.
    scene.joined.say(ask(Amount::from_wei(1))).await;
    scene.joined.say(ask(price)).await;
    let Some(FromProvider::Released(releases)) = scene.joined.next().await else { panic!("a release") };
    let [signed] = releases[..] else { panic!("one release: {releases:?}") };
    assert_eq!(signed.body, Release { escrow, provider: World::operator(), amount: price });
    signed.verify(&scene.world.contract(), scene.joined.hello.binding.address).expect("by its result key");
    assert_eq!(scene.history().escrows[&escrow].released, Some(price), "it was written down before");
    scene.joined.lease(vec![scene.lease(2, escrow)]).await;
    assert!(scene.not_paid().await.1.contains("its release was signed"));
    scene.lender.provider.drain();
    scene.joined.credited(0).await;
    assert_eq!(scene.joined.next().await, Some(FromProvider::Bye));
    assert_eq!(scene.lender.ending().await, Ending::Drained);
}

#[tokio::test]
async fn undecided_results_are_held_over_a_loss_and_decided_after_it() {
    let mut scene = Scene::new().await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    let price = scene.work(1, escrow).await;
    scene.joined.session.connection.close(9u32.into(), b"a test");
    scene.joined = scene.coordinator.join_paid(scene.world.money()).await;
    assert_eq!(scene.joined.held(), [1], "it is settled, and not decided");
    let voucher = scene.world.sign(scene.world.voucher(escrow, 1, price));
    scene.joined.decide(&[(1, Decision::Paid(price))], &[voucher]).await;
    scene.promised(price).await;
}

#[tokio::test]
async fn a_network_that_pays_refuses_who_is_not_set_up_for_it() {
    let money = |chain_id| {
        let contract = EscrowContract { chain_id, address: Address([5; 20]) };
        Some(Money { contract, account: Address([6; 20]), fee_ppm: 0 })
    };
    let coordinator = Coordinator::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let lender = lend_in(folder.path(), coordinator.ticket().await, None).await;
    coordinator.join_paid(money(99)).await;
    let Ending::Refused { reason } = lender.ending().await else { panic!("it cannot be paid") };
    assert!(reason.contains("pays in TIDE on chain 99") && reason.contains("ledger use URL"), "{reason}");

    let world = World::new().await;
    let coordinator = Coordinator::new().await;
    let lender = lend_in(&directory(&world), coordinator.ticket().await, Some(world.config())).await;
    coordinator.join_paid(money(99)).await;
    let Ending::Refused { reason } = lender.ending().await else { panic!("it is another ledger") };
    assert!(reason.contains("on chain 99") && reason.contains("on chain 31337"), "{reason}");
}

#[tokio::test]
async fn in_a_free_network_it_works_for_nothing_and_says_so() {
    let world = World::new().await;
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(crate::support::NOOP).await;
    let mut lender = lend_in(&directory(&world), coordinator.ticket().await, Some(world.config())).await;
    let mut joined = coordinator.join().await;
    lender.event(|event| (event == Event::Free).then_some(())).await;
    joined.lease(vec![lease(1, program, &[])]).await;
    assert_eq!(joined.settle(1).await.len(), 1);
    let pays: Lease = crate::money::paid(lease(2, program, &[]), EscrowId([1; 32]));
    joined.lease(vec![pays]).await;
    let said = joined.next().await;
    assert!(format!("{said:?}").contains("this network is free"), "{said:?}");
}

#[tokio::test]
async fn a_drain_waits_for_a_promise_and_not_for_ever() {
    // There are heartbeats in the time that promises are waited for.
    let mut scene = Scene::beating(Millis(4_000), |_| {}).await;
    let escrow = scene.world.open(1, Amount::tide(1), 3_600).await;
    // Nothing is decided: the others are not there who could confirm it.
    scene.work(1, escrow).await;
    scene.lender.provider.drain();
    assert_eq!(scene.joined.next().await, Some(FromProvider::Credits(0)));
    assert_eq!(scene.joined.next().await, Some(FromProvider::Bye));
    assert_eq!(scene.lender.ending().await, Ending::Drained);
    let history = scene.history();
    assert!(history.escrows.get(&escrow).is_none_or(|known| known.earned().is_zero()));
}
