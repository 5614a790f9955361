//! The sender on a chain that we did not write.

use std::{path::Path, time::Duration};

use alloy::{
    consensus::Transaction,
    eips::BlockNumberOrTag,
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, Bytes, U256, bytes},
    providers::{Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
};
use serde_json::json;
use tempfile::TempDir;
use tidemill_ledger::{
    Coin,
    sender::{DropReason, Event, Intent, Outcome, Phase, Sender, SenderError, Settings, TxId},
};
use tokio::sync::broadcast::Receiver;

use crate::foundry::{Anvil, rich, stranger};

fn quick() -> Settings {
    Settings {
        poll: Duration::from_millis(20),
        bump_after: Duration::ZERO,
        bump_after_blocks: 2,
        ..Settings::local()
    }
}

async fn open(anvil: &Anvil, directory: &Path, settings: Settings) -> Sender {
    Sender::open(directory, rich(), anvil.chain().await, settings).await.expect("nobody else has it")
}

fn home() -> TempDir {
    tempfile::tempdir().expect("there is room")
}

fn pay(to: Address, wei: u128) -> Intent {
    Intent {
        to: Some(to),
        value: Coin::from_wei(wei),
        data: Bytes::new(),
        gas_limit: None,
        label: format!("{wei} wei"),
        key: None,
    }
}

fn keyed(key: &str, intent: Intent) -> Intent {
    Intent { key: Some(key.to_owned()), ..intent }
}

async fn balance(anvil: &Anvil, account: Address) -> u128 {
    anvil.chain().await.balance(account).await.expect("anvil answers").wei()
}

async fn event(events: &mut Receiver<Event>, is_it: impl Fn(&Event) -> bool) -> Event {
    let wait = async {
        loop {
            match events.recv().await.expect("the sender runs, and few events happen") {
                event if is_it(&event) => return event,
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it happens within a minute")
}

async fn end(sender: &Sender, id: TxId) -> Outcome {
    let outcome = tokio::time::timeout(Duration::from_secs(60), sender.wait(id, 1)).await;
    outcome.expect("it takes less than a minute").expect("the sender runs")
}

async fn succeeds(sender: &Sender, id: TxId) {
    let outcome = end(sender, id).await;
    assert!(matches!(outcome, Outcome::Succeeded(_)), "{outcome:?}");
}

#[tokio::test]
async fn payments_are_made_in_order_and_each_once() {
    let (anvil, home) = (Anvil::start(), home());
    let sender = open(&anvil, home.path(), quick()).await;
    let ids = sender.submit_all((1..=40).map(|wei| pay(stranger(1), wei)).collect()).await.expect("it runs");
    for id in &ids {
        succeeds(&sender, *id).await;
    }
    assert_eq!(balance(&anvil, stranger(1)).await, 40 * 41 / 2);
    assert!(sender.pending().await.expect("it runs").is_empty());
    sender.close().await;
}

#[tokio::test]
async fn a_chain_without_base_fees_is_served_too() {
    let (anvil, home) = (Anvil::start_with(&["--hardfork", "istanbul"]), home());
    let sender = open(&anvil, home.path(), quick()).await;
    let mut events = sender.events();
    let id = sender.submit(pay(stranger(13), 5)).await.expect("it runs");
    let mined = event(&mut events, |event| matches!(event, Event::Mined { .. })).await;
    let Event::Mined { receipt, .. } = mined else { unreachable!("it was asked for") };
    succeeds(&sender, id).await;
    let chain = anvil.chain().await;
    let transaction = chain.provider().get_transaction_by_hash(receipt.hash).await.expect("anvil answers");
    assert!(transaction.expect("it is there").inner.inner().is_legacy());
    assert_eq!(balance(&anvil, stranger(13)).await, 5);
    sender.close().await;
}

#[tokio::test]
async fn a_contract_is_made_and_its_refusal_is_read() {
    let (anvil, home) = (Anvil::start(), home());
    let sender = open(&anvil, home.path(), quick()).await;
    // Code that always reverts with Error("no"), behind a constructor that returns it.
    let refuse = bytes!(
        "60448060095f395ff3"
        "7f08c379a0000000000000000000000000000000000000000000000000000000005f52"
        "6020600452600260245261" "6e6f" "60f01b60445260645ffd00000000000000000000000000000000"
    );
    let make = Intent { to: None, data: refuse, ..pay(Address::ZERO, 0) };
    let id = sender.submit(make).await.expect("it runs");
    let outcome = end(&sender, id).await;
    let Outcome::Succeeded(receipt) = outcome else { panic!("{outcome:?}") };
    let contract = receipt.contract.expect("it made one");

    let refused = sender.submit(pay(contract, 0)).await.expect("it runs");
    let outcome = end(&sender, refused).await;
    assert_eq!(outcome, Outcome::Dropped(DropReason::Refused { reason: "no".to_owned() }));

    let forced =
        sender.submit(Intent { gas_limit: Some(100_000), ..pay(contract, 0) }).await.expect("it runs");
    let outcome = end(&sender, forced).await;
    let Outcome::Reverted { reason, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason, "no");
    sender.close().await;
}

#[tokio::test]
async fn a_key_is_carried_out_once_in_all_lives() {
    let (anvil, home) = (Anvil::start(), home());
    let sender = open(&anvil, home.path(), quick()).await;
    let first = sender.submit(keyed("rent", pay(stranger(2), 5))).await.expect("it runs");
    succeeds(&sender, first).await;
    sender.close().await;

    let sender = open(&anvil, home.path(), quick()).await;
    let again = sender.submit(keyed("rent", pay(stranger(2), 5))).await.expect("it runs");
    assert_eq!(again, first);
    succeeds(&sender, again).await;
    let other = sender.submit(keyed("rent", pay(stranger(2), 6))).await.expect_err("another payment");
    assert!(matches!(other, SenderError::KeyReused { .. }), "{other}");
    let twice = vec![keyed("gas", pay(stranger(2), 1)), keyed("gas", pay(stranger(2), 1))];
    let ids = sender.submit_all(twice).await.expect("it runs");
    assert_eq!(ids[0], ids[1]);
    succeeds(&sender, ids[0]).await;
    assert_eq!(balance(&anvil, stranger(2)).await, 6);
    sender.close().await;
}

#[tokio::test]
async fn a_restart_in_the_middle_goes_on() {
    let (anvil, home) = (Anvil::start_with(&["--no-mining"]), home());
    let sender = open(&anvil, home.path(), quick()).await;
    let mut events = sender.events();
    let id = sender.submit(pay(stranger(3), 5)).await.expect("it runs");
    event(&mut events, |event| matches!(event, Event::Signed { .. })).await;
    sender.close().await;

    anvil.call("anvil_dropAllTransactions", json!([])).await;
    let sender = open(&anvil, home.path(), quick()).await;
    let status = sender.pending().await.expect("it runs");
    assert!(matches!(status[0].phase, Phase::Sent { variants: 1, .. }), "{status:?}");
    let mining = mine_until_done(&anvil);
    tokio::select! {
        () = succeeds(&sender, id) => {}
        () = mining => {}
    }
    assert_eq!(balance(&anvil, stranger(3)).await, 5);
    sender.close().await;
}

/// Blocks, one after another, for as long as someone waits for what is in them.
async fn mine_until_done(anvil: &Anvil) {
    loop {
        anvil.mine().await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stuck_payment_is_replaced_with_higher_fees() {
    let (anvil, home) = (Anvil::start_with(&["--no-mining"]), home());
    let sender = open(&anvil, home.path(), quick()).await;
    let mut events = sender.events();
    let id = sender.submit(pay(stranger(4), 5)).await.expect("it runs");
    event(&mut events, |event| matches!(event, Event::Signed { .. })).await;
    // Blocks that ask for more than it pays.
    let price_out = async {
        loop {
            anvil.call("anvil_setNextBlockBaseFeePerGas", json!(["0x174876e800"])).await;
            anvil.mine().await;
        }
    };
    let replaced = event(&mut events, |event| matches!(event, Event::Replaced { .. }));
    tokio::select! {
        replaced = replaced => assert!(matches!(replaced, Event::Replaced { fees, .. } if fees.cap() > 100_000_000_000)),
        () = price_out => {}
    }
    tokio::select! {
        () = succeeds(&sender, id) => {}
        () = mine_until_done(&anvil) => {}
    }
    assert_eq!(balance(&anvil, stranger(4)).await, 5);
    sender.close().await;
}

#[tokio::test]
async fn the_ceiling_holds() {
    let (anvil, home) = (Anvil::start_with(&["--no-mining"]), home());
    let settings = Settings { max_fee_per_gas: Coin::gwei(3), ..quick() };
    let sender = open(&anvil, home.path(), settings).await;
    let mut events = sender.events();
    sender.submit(pay(stranger(5), 5)).await.expect("it runs");
    event(&mut events, |event| matches!(event, Event::Signed { .. })).await;
    let price_out = async {
        loop {
            anvil.call("anvil_setNextBlockBaseFeePerGas", json!(["0x174876e800"])).await;
            anvil.mine().await;
        }
    };
    tokio::select! {
        _ = event(&mut events, |event| matches!(event, Event::AtCeiling { .. })) => {}
        () = price_out => {}
    }
    let status = sender.pending().await.expect("it runs");
    assert!(matches!(status[0].phase, Phase::Sent { fees, .. } if fees.cap() <= 3_000_000_000), "{status:?}");
    sender.close().await;
}

#[tokio::test]
async fn a_nonce_used_by_another_wallet_is_not_the_end() {
    let (anvil, home) = (Anvil::start_with(&["--no-mining"]), home());
    let sender = open(&anvil, home.path(), quick()).await;
    let mut events = sender.events();
    let id = sender.submit(pay(stranger(6), 5)).await.expect("it runs");
    let signed = event(&mut events, |event| matches!(event, Event::Signed { .. })).await;
    let Event::Signed { nonce, .. } = signed else { unreachable!("it was asked for") };
    anvil.call("anvil_dropAllTransactions", json!([])).await;
    let wallet = EthereumWallet::from(rich());
    let theirs = ProviderBuilder::new().wallet(wallet).connect_http(anvil.url().parse().expect("an address"));
    let request = TransactionRequest::default()
        .with_to(stranger(7))
        .with_value(U256::from(9))
        .with_nonce(nonce)
        .with_gas_limit(21_000)
        .with_max_fee_per_gas(900_000_000_000)
        .with_max_priority_fee_per_gas(100_000_000_000);
    let _ = theirs.send_transaction(request).await.expect("anvil takes it");
    let foreign = event(&mut events, |event| matches!(event, Event::ForeignNonce { .. }));
    let foreign = tokio::select! {
        foreign = foreign => foreign,
        () = mine_until_done(&anvil) => unreachable!("it never ends"),
    };
    assert!(matches!(foreign, Event::ForeignNonce { by: Some(_), .. }), "{foreign:?}");
    tokio::select! {
        () = succeeds(&sender, id) => {}
        () = mine_until_done(&anvil) => {}
    }
    assert_eq!((balance(&anvil, stranger(6)).await, balance(&anvil, stranger(7)).await), (5, 9));
    sender.close().await;
}

#[tokio::test]
async fn one_machine_has_one_sender_of_an_account() {
    let (anvil, home) = (Anvil::start(), home());
    let sender = open(&anvil, home.path(), quick()).await;
    let second = Sender::open(home.path(), rich(), anvil.chain().await, quick()).await;
    assert!(matches!(second, Err(SenderError::InUse { .. })), "{second:?}");
    sender.close().await;
    open(&anvil, home.path(), quick()).await.close().await;

    let other = Anvil::start_with(&["--chain-id", "31338"]);
    let chain = tidemill_ledger::chain::Chain::connect(other.url(), None).await.expect("it answers");
    let elsewhere = Sender::open(home.path(), rich(), chain, quick()).await;
    assert!(matches!(elsewhere, Err(SenderError::OtherChain { .. })), "{elsewhere:?}");
}

#[tokio::test]
async fn two_machines_with_one_key_lose_and_repeat_nothing() {
    let (anvil, homes) = (Anvil::start_with(&["--block-time", "1"]), [home(), home()]);
    let settings = Settings { confirmations: 2, resend_after: Duration::from_secs(1), ..quick() };
    let first = open(&anvil, homes[0].path(), settings.clone()).await;
    let second = open(&anvil, homes[1].path(), settings).await;
    let mut ids = Vec::new();
    for wei in 1..=8 {
        // Different payments: two equal transactions of one nonce are one transaction, and nobody could tell whose.
        for (sender, wei) in [(&first, wei), (&second, 100 * wei)] {
            ids.push((sender, sender.submit(pay(stranger(8), wei)).await.expect("it runs")));
        }
    }
    for (sender, id) in ids {
        let outcome = tokio::time::timeout(Duration::from_secs(120), sender.wait(id, 2)).await;
        assert!(matches!(outcome, Ok(Ok(Outcome::Succeeded(_)))), "{outcome:?}");
    }
    assert_eq!(balance(&anvil, stranger(8)).await, 101 * (8 * 9 / 2));
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn a_reorg_is_survived() {
    let (anvil, home) = (Anvil::start_with(&["--no-mining"]), home());
    let settings = Settings { confirmations: 4, ..quick() };
    let sender = open(&anvil, home.path(), settings).await;
    for _ in 0..3 {
        anvil.mine().await;
    }
    let mut events = sender.events();
    let id = sender.submit(pay(stranger(9), 5)).await.expect("it runs");
    event(&mut events, |event| matches!(event, Event::Signed { .. })).await;
    let mined = event(&mut events, |event| matches!(event, Event::Mined { .. }));
    let watch = async {
        // One block is enough once the transaction has arrived.
        while balance(&anvil, stranger(9)).await == 0 {
            anvil.mine().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = mined => {}
        () = watch => {}
    }
    anvil.call("anvil_reorg", json!([3, []])).await;
    anvil.call("anvil_dropAllTransactions", json!([])).await;
    assert_eq!(balance(&anvil, stranger(9)).await, 0);
    event(&mut events, |event| matches!(event, Event::Reorged { .. })).await;
    let done = async { assert!(matches!(sender.wait(id, 4).await, Ok(Outcome::Succeeded(_)))) };
    tokio::select! {
        () = done => {}
        () = mine_until_done(&anvil) => {}
    }
    assert_eq!(balance(&anvil, stranger(9)).await, 5);
    sender.close().await;
}

#[tokio::test]
async fn a_payment_can_be_taken_back_while_no_block_has_it() {
    let (anvil, home) = (Anvil::start_with(&["--no-mining"]), home());
    let sender = open(&anvil, home.path(), quick()).await;
    let mut events = sender.events();
    let id = sender.submit(pay(stranger(10), 5)).await.expect("it runs");
    event(&mut events, |event| matches!(event, Event::Signed { .. })).await;
    sender.cancel(id).await.expect("it is not too late");
    event(&mut events, |event| matches!(event, Event::Replaced { .. })).await;
    let done = async {
        assert!(matches!(sender.wait(id, 1).await, Ok(Outcome::Dropped(DropReason::Cancelled))));
    };
    // The replacement is on its way: a block may have either.
    event_or_block(&sender, done, &anvil).await;
    assert_eq!(balance(&anvil, stranger(10)).await, 0);
    assert!(matches!(sender.cancel(id).await, Err(SenderError::HasEnded(_))));
    assert!(matches!(sender.cancel(TxId(99)).await, Err(SenderError::Unknown(_))));
    sender.close().await;
}

/// Makes blocks once the node has the replacement that cancels.
async fn event_or_block(sender: &Sender, done: impl Future<Output = ()>, anvil: &Anvil) {
    let account = sender.place().account;
    let blocks = async {
        loop {
            let pending = anvil.chain().await;
            let block = pending.provider().get_block_by_number(BlockNumberOrTag::Pending).full().await;
            let block = block.expect("anvil answers").expect("there is one");
            let is_replaced = block.transactions.txns().any(|tx| tx.inner.inner().to() == Some(account));
            if is_replaced {
                anvil.mine().await;
            }
        }
    };
    tokio::select! {
        () = done => {}
        () = blocks => {}
    }
}

#[tokio::test]
async fn an_intent_is_taken_on_while_no_node_answers() {
    let (anvil, home) = (Anvil::start(), home());
    let sender = open(&anvil, home.path(), quick()).await;
    let mut events = sender.events();
    drop(anvil);
    let id = sender.submit(pay(stranger(11), 5)).await.expect("it is durable");
    event(&mut events, |event| matches!(event, Event::Disconnected { .. })).await;
    let pending = sender.pending().await.expect("it runs");
    assert_eq!((pending[0].id, &pending[0].phase), (id, &Phase::Queued));
    sender.close().await;
}

#[tokio::test]
async fn an_account_without_coin_says_so_and_pays_when_it_has_some() {
    let (anvil, home) = (Anvil::start(), home());
    let poor: alloy::signers::local::PrivateKeySigner = "22".repeat(32).parse().expect("a key");
    let account = poor.address();
    let sender = Sender::open(home.path(), poor, anvil.chain().await, quick()).await.expect("nobody has it");
    let mut events = sender.events();
    let id = sender.submit(pay(stranger(12), 5)).await.expect("it is durable");
    event(&mut events, |event| matches!(event, Event::Stalled { .. })).await;
    anvil.call("anvil_setBalance", json!([account, "0xde0b6b3a7640000"])).await;
    succeeds(&sender, id).await;
    assert_eq!(balance(&anvil, stranger(12)).await, 5);
    sender.close().await;
}
