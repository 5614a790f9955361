//! Vouchers that the provider collects by itself.

use tidemill_net::wire::Decision;
use tidemill_provider::{Ending, Event};
use tidemill_types::{Amount, EscrowId};

use super::{Scene, lend_paid};
use crate::support::Lender;

/// A scene with one voucher on the disk.
async fn earned(collect_after_ms: u64) -> (Scene, EscrowId, Amount) {
    let silence = std::time::Duration::from_millis(collect_after_ms);
    let mut scene = Scene::with(|config| config.collect_after = silence).await;
    let escrow = scene.world.open(1, Amount::tide(50), 3_600).await;
    let price = scene.work(1, escrow).await;
    let voucher = scene.world.sign(scene.world.voucher(escrow, 1, price));
    scene.joined.decide(&[(1, Decision::Paid(price))], &[voucher]).await;
    scene.promised(price).await;
    (scene, escrow, price)
}

async fn collected(lender: &mut Lender) -> (EscrowId, Amount, Amount) {
    let collected = |event| match event {
        Event::Collected { escrow, gross, net, .. } => Some((escrow, gross, net)),
        _ => None,
    };
    lender.event(collected).await
}

#[tokio::test]
async fn when_the_coordinator_is_silent_after_the_end_the_voucher_is_collected() {
    let (mut scene, escrow, price) = earned(200).await;
    scene.coordinator.node.close().await;
    scene.world.pass(3_600).await;
    let (of, gross, net) = collected(&mut scene.lender).await;
    assert_eq!((of, gross), (escrow, price));
    // 5 % are the coordinator's and 2 % the protocol's.
    let fees = price.mul_div_floor(70_000, 1_000_000).expect("it is little");
    assert_eq!(net, price.checked_sub(fees).expect("it is less"));
    assert_eq!(scene.world.paid(escrow).await, price);
    scene.lender.provider.stop().await;
    let history = scene.history();
    let known = &history.escrows[&escrow];
    assert_eq!((known.gross, known.net, known.failures), (gross, net, 0));
    assert!(known.collected.is_some());
}

#[tokio::test]
async fn after_a_restart_without_a_coordinator_it_is_collected_all_the_same() {
    let (mut scene, escrow, price) = earned(60_000_000).await;
    assert_eq!(scene.lender.provider.stop().await, Ending::Stopped);
    let ticket = scene.coordinator.ticket().await;
    scene.coordinator.node.close().await;
    scene.world.pass(3_600).await;
    scene.lender = lend_paid(&scene.world, ticket, |_| {}).await;
    let (of, gross, _) = collected(&mut scene.lender).await;
    assert_eq!((of, gross), (escrow, price));
    assert_eq!(scene.world.paid(escrow).await, price);
}

#[tokio::test]
async fn a_coordinator_that_is_there_and_does_not_pay_is_not_waited_for_longer_than_half_of_the_window() {
    let (mut scene, escrow, price) = earned(60_000_000).await;
    // The window is three days.
    scene.world.pass(3_600 + 36 * 3_600).await;
    assert_eq!(collected(&mut scene.lender).await.0, escrow);
    assert_eq!(scene.world.paid(escrow).await, price);
}

#[tokio::test]
async fn what_a_coordinator_left_out_of_its_settlement_is_collected() {
    let (mut scene, escrow, price) = earned(200).await;
    let half = price.mul_div_floor(1, 2).expect("it is little");
    scene.world.settle(escrow, half).await;
    assert_eq!(scene.world.paid(escrow).await, half);
    scene.coordinator.node.close().await;
    let (of, gross, _) = collected(&mut scene.lender).await;
    assert_eq!((of, gross), (escrow, price.saturating_sub(half)));
    assert_eq!(scene.world.paid(escrow).await, price);
    scene.lender.provider.stop().await;
    let history = scene.history();
    assert_eq!(
        (history.escrows[&escrow].gross, history.escrows[&escrow].uncollected()),
        (price, Amount::ZERO)
    );
}

#[tokio::test]
async fn without_anybody_to_send_it_that_is_said_and_the_loss_is_in_the_end() {
    let (mut scene, escrow, price) = earned(60_000_000).await;
    assert_eq!(scene.lender.provider.stop().await, Ending::Stopped);
    scene.lender =
        lend_paid(&scene.world, scene.coordinator.ticket().await, |config| config.sender = None).await;
    scene.world.pass(3_700).await;
    let reason = scene.lender.event(|event| match event {
        Event::CollectFailed { reason, .. } => Some(reason),
        _ => None,
    });
    assert!(reason.await.contains("collect it by hand"));
    scene.world.pass(4 * 86_400).await;
    let loss = scene.lender.event(|event| match event {
        Event::Loss { escrow, loss } => Some((escrow, loss.amount)),
        _ => None,
    });
    assert_eq!(loss.await, (escrow, price));
    scene.lender.provider.stop().await;
    assert!(scene.history().escrows[&escrow].ended);
}
