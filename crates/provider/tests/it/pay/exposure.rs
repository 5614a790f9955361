//! How far work runs ahead of its pay, also while the ledger does not answer.

use tidemill_net::wire::{Decision, FromProvider};
use tidemill_provider::Event;
use tidemill_types::Amount;

use super::Scene;

/// A little more than one task costs.
fn little() -> Amount {
    "0.15 TIDE".parse().expect("an amount")
}

#[tokio::test]
async fn at_the_limit_work_pauses_and_a_voucher_resumes_it() {
    let mut scene = Scene::with(|config| config.max_exposure = little()).await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    let first = scene.work(1, escrow).await;
    let second = scene.work(2, escrow).await;
    scene.joined.credited(0).await;
    let amount = scene.lender.event(|event| match event {
        Event::Exposed { amount, .. } => Some(amount),
        _ => None,
    });
    let both = first.checked_add(second).expect("it is little");
    assert_eq!(amount.await, both);
    // A lease that was on its way waits.
    scene.joined.lease(vec![scene.lease(3, escrow)]).await;
    let voucher = scene.world.sign(scene.world.voucher(escrow, 1, both));
    let decisions = [(1, Decision::Paid(first)), (2, Decision::Paid(second))];
    scene.joined.decide(&decisions, &[voucher]).await;
    scene.lender.event(|event| matches!(event, Event::Secure { .. }).then_some(())).await;
    scene.joined.credited(256).await;
    assert_eq!(scene.joined.settle(1).await[0].lease.0, 3);
}

#[tokio::test]
async fn leases_do_not_wait_for_pay_for_ever() {
    let mut scene = Scene::with(|config| config.max_exposure = Amount::from_wei(1)).await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    scene.work(1, escrow).await;
    scene.joined.credited(0).await;
    scene.joined.lease(vec![scene.lease(2, escrow)]).await;
    let (leases, words) = scene.not_paid().await;
    assert_eq!(leases, [2]);
    assert!(words.contains("is not covered by vouchers"), "{words}");
}

#[tokio::test]
async fn without_the_ledger_it_works_on_up_to_the_limit_and_goes_on_when_it_is_back() {
    let mut scene = Scene::with(|config| config.max_exposure = little()).await;
    let seen = scene.world.open(1, Amount::tide(50), 3_600).await;
    let unseen = scene.world.open(2, Amount::tide(50), 3_600).await;
    let price = scene.work(1, seen).await;
    let voucher = scene.world.sign(scene.world.voucher(seen, 1, price));
    scene.joined.decide(&[(1, Decision::Paid(price))], &[voucher]).await;
    scene.promised(price).await;

    scene.world.vanish().await;
    scene.lender.event(|event| matches!(event, Event::LedgerLost { .. }).then_some(())).await;
    // Of an escrow that nobody could look at, vouchers are worth nothing yet.
    for (lease, sequence) in [(2, 1), (3, 2)] {
        scene.work(lease, unseen).await;
        let total = price.checked_mul(sequence).expect("it is little");
        let voucher = scene.world.sign(scene.world.voucher(unseen, sequence, total));
        scene.joined.decide(&[(lease, Decision::Paid(price))], &[voucher]).await;
        scene.promised(total).await;
    }
    scene.joined.credited(0).await;
    scene.joined.lease(vec![scene.lease(4, unseen)]).await;

    scene.world.return_().await;
    scene.lender.event(|event| (event == Event::LedgerBack).then_some(())).await;
    scene.joined.credited(256).await;
    assert_eq!(scene.joined.settle(1).await[0].lease.0, 4);
}

#[tokio::test]
async fn a_coordinator_without_bond_gets_no_work_until_it_has_one() {
    let mut scene = Scene::with(|config| config.min_bond = Amount::tide(100)).await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    scene.joined.lease(vec![scene.lease(1, escrow)]).await;
    let mut said = [scene.joined.next().await, scene.joined.next().await];
    said.sort_by_key(|message| matches!(message, Some(FromProvider::Returned { .. })));
    let [credits, returned] = said;
    assert_eq!(credits, Some(FromProvider::Credits(0)));
    let words = format!("{returned:?}");
    assert!(words.contains("bond is 0 TIDE; at least 100 TIDE is wanted"), "{words}");
    scene.world.bond(Amount::tide(100)).await;
    scene.joined.credited(256).await;
    scene.work(2, escrow).await;
}
