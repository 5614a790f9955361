//! The liquid stake from a depositor's side: in, a gain, out by both ways, and a slash.

use serde_json::json;
use tidemill_ledger::{
    B256, Chain, SolCall, U256,
    contracts::{IProviderStaking, LiquidStake, ProviderStaking, Tide},
    deploy::Params,
    liquid::{Call, Liquid, LiquidError},
    sender::Sender,
    staking::{Role, Staking},
};
use tidemill_types::Amount;

use crate::{
    contracts::{deployed_with, params, quick, succeed},
    foundry::{Anvil, rich},
};

const DAY_S: u64 = 86_400;

/// A ledger on which one account governs, names providers, may slash, is the one provider, and has TIDE.
struct Stage {
    anvil: Anvil,
    chain: Chain,
    staking: Staking,
    liquid: Liquid,
    sender: Sender,
    tide: tidemill_ledger::Address,
    entry: tidemill_ledger::Address,
    _home: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let anvil = Anvil::start();
        let chain = anvil.chain().await;
        let account = rich().address();
        let all = Params { governor: account, delay_s: 0, launch: account, curator: account, ..params() };
        let book = deployed_with(&anvil, &all).await;
        let home = tempfile::tempdir().expect("there is room");
        let sender = Sender::open(home.path(), rich(), chain.clone(), quick()).await.expect("nobody has it");
        let stage = Self {
            staking: Staking::new(chain.clone(), &book).expect("the book has it"),
            liquid: Liquid::new(chain.clone(), &book).expect("the book has it"),
            tide: book.address("Tide").expect("the book has it"),
            entry: book.address("LiquidStake").expect("the book has it"),
            anvil,
            chain,
            sender,
            _home: home,
        };
        stage.register().await;
        stage
    }

    async fn register(&self) {
        let (account, at) = (rich().address(), self.staking.address());
        let reach = IProviderStaking::Reach { own: 1_000_000, delegated: 500_000 };
        let slasher = ProviderStaking::setSlasherCall { slasher: account, role: Role::Provider as u8, reach };
        self.send(at, slasher.abi_encode()).await;
        // What becomes more does so after the thaw period.
        self.pass(29).await;
        let register = self.staking.register_provider(account, B256::ZERO, 0, B256::repeat_byte(1), &rich());
        self.send(at, register).await;
        let bond = self.staking.bond(&rich(), Role::Provider, Amount::tide(100_000)).await;
        self.send(at, bond.expect("anvil answers")).await;
        self.send(at, self.staking.set_max_delegated(Amount::tide(1_000_000))).await;
        let list = LiquidStake::setProviderCall { provider: account, weight: 1, operator: 1 };
        self.send(self.entry, list.abi_encode()).await;
    }

    async fn send(&self, to: tidemill_ledger::Address, call: Vec<u8>) {
        succeed(&self.sender, to, call).await;
    }

    async fn make(&self, call: Call) {
        self.send(call.to, call.data).await;
    }

    async fn enter(&self, amount: Amount) {
        let call = self.liquid.enter(&rich(), amount).await.expect("anvil answers");
        self.make(call).await;
    }

    async fn pass(&self, days: u64) {
        self.anvil.call("evm_increaseTime", json!([days * DAY_S])).await;
        self.anvil.mine().await;
    }

    /// Pay for the provider's work, of which delegators get their part.
    async fn pay(&self, amount: Amount) {
        let wei = U256::from(amount.wei());
        let approve = Tide::approveCall { spender: self.staking.address(), value: wei };
        self.send(self.tide, approve.abi_encode()).await;
        let credit = IProviderStaking::Credit {
            provider: rich().address(),
            amount: amount.wei().try_into().expect("it fits"),
        };
        let credit = ProviderStaking::creditCall { credits: vec![credit] };
        self.send(self.staking.address(), credit.abi_encode()).await;
    }

    async fn free(&self) -> Amount {
        self.staking.free(rich().address()).await.expect("anvil answers")
    }
}

fn less(a: Amount, b: Amount) -> Amount {
    a.checked_sub(b).expect("it is less")
}

#[tokio::test]
async fn a_depositor_earns_and_leaves_by_both_ways() {
    let stage = Stage::new().await;
    let (liquid, account) = (&stage.liquid, rich().address());
    stage.pass(1).await;
    assert_eq!(liquid.apy(30 * DAY_S).await.expect("anvil answers").map(|apy| apy.gained_percent), Some(0.0));
    let quoted = liquid.quote_entry(Amount::tide(100_000)).await.expect("anvil answers");
    stage.enter(Amount::tide(100_000)).await;
    let holding = liquid.holding(account).await.expect("anvil answers");
    assert_eq!(holding.shares, quoted);
    assert_eq!(holding.worth, Amount::tide(100_000), "nothing was earned yet");

    stage.make(liquid.tend()).await;
    let pot = liquid.pot().await.expect("anvil answers");
    assert!(pot.buffer < Amount::tide(90_002), "a tenth of it backs the one provider: {pot:?}");
    stage.pass(8).await;
    stage.pay(Amount::tide(1_100)).await;
    stage.pass(8).await;
    stage.make(liquid.tend()).await;
    assert!(liquid.pot().await.expect("anvil answers").streaming > Amount::tide(80));
    stage.pass(8).await;
    stage.make(liquid.tend()).await;
    let pot = liquid.pot().await.expect("anvil answers");
    assert!(pot.rate > Amount::tide(1) && pot.streaming < Amount::tide(1), "{pot:?}");
    let apy = liquid.apy(12 * DAY_S).await.expect("anvil answers").expect("it has a past");
    assert_eq!(apy.window_s, 12 * DAY_S);
    assert!(apy.yearly_percent > 1.0 && apy.gained_percent > 0.05, "{apy:?}");

    // At once, for a fee that was quoted.
    let before = stage.free().await;
    let quote = liquid.quote_exit(account, Some(Amount::tide(1_000))).await.expect("it has so much");
    assert!(quote.worth >= Amount::tide(1_000));
    let pays = quote.at_once.expect("the buffer has it");
    assert!(pays < Amount::tide(997) && pays > Amount::tide(990), "{pays}");
    stage.make(liquid.leave_at_once(account, pays)).await;
    assert_eq!(less(stage.free().await, before), pays);

    // And by the queue, where nothing is lost but time.
    let quote = liquid.quote_exit(account, Some(Amount::tide(5_000))).await.expect("it has so much");
    assert_eq!(quote.before, 0);
    let asked = liquid.now().await.expect("anvil answers");
    stage.make(liquid.ask_to_leave(account, quote.shares)).await;
    let exits = liquid.exits(account).await.expect("anvil answers");
    let [exit] = exits.as_slice() else { panic!("one exit: {exits:?}") };
    assert_eq!((exit.place, exit.claimable, exit.shares), (1, None, quote.shares));
    assert!(exit.latest_claim_at <= asked + 35 * DAY_S + 60 && exit.latest_claim_at > asked + 28 * DAY_S);
    assert_eq!(liquid.finalise().await.expect("anvil answers"), None, "it has to wait first");
    assert!(liquid.claim(account, &exits).is_none());
    stage.pass(8).await;
    let call = liquid.finalise().await.expect("anvil answers").expect("the buffer pays it");
    stage.make(call).await;
    let exits = liquid.exits(account).await.expect("anvil answers");
    assert_eq!((exits[0].place, exits[0].claimable), (0, Some(exit.assets)));
    let before = stage.free().await;
    stage.make(liquid.claim(account, &exits).expect("there is one")).await;
    assert_eq!(less(stage.free().await, before), exit.assets);
    assert!(liquid.exits(account).await.expect("anvil answers").is_empty());

    let too_much = liquid.quote_exit(account, Some(Amount::tide(100_000))).await;
    assert!(matches!(too_much, Err(LiquidError::TooLittle { .. })), "{too_much:?}");
    stage.sender.close().await;
}

#[tokio::test]
async fn a_slash_reaches_those_who_hold_and_those_who_wait() {
    let stage = Stage::new().await;
    let (liquid, account) = (&stage.liquid, rich().address());
    stage.enter(Amount::tide(100_000)).await;
    stage.make(liquid.tend()).await;
    let before = liquid.pot().await.expect("anvil answers");
    let behind = less(before.assets, before.buffer);
    assert!(behind > Amount::tide(9_000), "{before:?}");
    let quote = liquid.quote_exit(account, Some(Amount::tide(20_000))).await.expect("it has so much");
    stage.make(liquid.ask_to_leave(account, quote.shares)).await;
    stage.pass(8).await;

    // While a case is open nobody is out before it, at once or by the queue.
    let (role, case) = (Role::Provider as u8, B256::repeat_byte(7));
    let open = ProviderStaking::openCaseCall { role, operator: account, caseId: case };
    stage.send(stage.staking.address(), open.abi_encode()).await;
    assert!(liquid.pot().await.expect("anvil answers").waits_for_a_case);
    let quote = liquid.quote_exit(account, Some(Amount::tide(10))).await.expect("it has so much");
    assert_eq!(quote.at_once, None);
    assert_eq!(liquid.finalise().await.expect("anvil answers"), None);

    let all = U256::from(Amount::tide(1_000_000).wei());
    let slash = ProviderStaking::slashCall { role, operator: account, amount: all, caseId: case };
    stage.send(stage.staking.address(), slash.abi_encode()).await;
    let close = ProviderStaking::closeCaseCall { role, operator: account, caseId: case };
    stage.send(stage.staking.address(), close.abi_encode()).await;
    let after = liquid.pot().await.expect("anvil answers");
    let (lost, half) = (less(before.assets, after.assets), behind.wei() / 2);
    assert!(lost.wei().abs_diff(half) < 1_000_000, "half of what was with the provider: {lost}, of {behind}");
    assert!(after.rate < before.rate && !after.waits_for_a_case);

    let call = liquid.finalise().await.expect("anvil answers").expect("the case is over");
    stage.make(call).await;
    let exits = liquid.exits(account).await.expect("anvil answers");
    let pays = exits[0].claimable.expect("it can be claimed");
    let share = pays.wei() as f64 / exits[0].assets.wei() as f64;
    let rate = after.rate.wei() as f64 / before.rate.wei() as f64;
    assert!((share - rate).abs() < 1e-9, "who waited lost what all lost: {share} {rate}");
    assert_eq!(stage.chain.chain_id(), crate::foundry::CHAIN_ID);
    stage.sender.close().await;
}
