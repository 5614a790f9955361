//! A life of stake and escrows, on the embedded ledger and on anvil: no wei is lost, and both come to the same.

mod schedule;

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, U256, aliases::U96},
    providers::Provider,
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolEvent},
};
use serde_json::value::RawValue;
use tidemill_devnet::dev_signers;
use tidemill_ledger::{
    AddressBook, Chain,
    contracts::{JobEscrow, ProviderStaking, Tide},
    deploy::{Deployment, Params},
    escrow, ours,
    sender::{Intent, Outcome, Sender, Settings},
    staking::{Pool, Role, Staking},
};
use tidemill_types::{
    Amount, Coin, EscrowContract, EscrowId, EscrowTerms, ResultKey, Signable, Signed, Voucher,
};

use super::{Place, foundry::Anvil, start_dev, stop};
use crate::support::deep;

const DAY_S: u64 = 24 * 60 * 60;

/// Who takes part, by their place among the development keys.
const TREASURY: usize = 0;
const PROVIDER: usize = 1;
const COORDINATOR: usize = 2;
const REQUESTER: usize = 3;
const DELEGATOR: usize = 4;
const SECOND: usize = 5;
const PROVER: usize = 6;
const PEOPLE: usize = 7;

#[test]
fn a_life_conserves_every_wei_on_both_nodes() {
    let place = Place::at_home("home");
    let (node, url) = start_dev(&place);
    let here = run(&url);
    stop(node);
    let anvil = Anvil::start();
    let there = run(anvil.url());
    assert_eq!(here, there, "the embedded ledger and anvil differ");
}

fn run(url: &str) -> BTreeMap<String, U256> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut world = World::begin(url).await;
        world.live().await;
        world.holdings().await
    })
}

/// Everybody and the contracts on one node, whose time is set before each transaction.
struct World {
    chain: Chain,
    signers: Vec<PrivateKeySigner>,
    senders: Vec<Sender>,
    book: AddressBook,
    staking: Staking,
    /// Burned so far, as the token says.
    burned: U256,
    time: u64,
    _directory: tempfile::TempDir,
}

impl World {
    async fn begin(url: &str) -> Self {
        let chain = Chain::connect(url, None).await.expect("it answers");
        let signers: Vec<_> = dev_signers().into_iter().take(PEOPLE).collect();
        let directory = tempfile::tempdir().expect("a directory");
        let mut senders = Vec::new();
        for signer in &signers {
            let place = Sender::directory(directory.path(), &chain, signer.address());
            let sender = Sender::open(&place, signer.clone(), chain.clone(), Settings::default()).await;
            senders.push(sender.expect("it is free"));
        }
        let params = Params::first_day(signers[TREASURY].address());
        let deployment =
            Deployment::prepare(&params, &senders[TREASURY], &directory.path().join("deployment")).await;
        let book =
            deployment.expect("a plan").execute(&senders[TREASURY], |_| {}).await.expect("it is deployed");
        book.verify(&chain).await.expect("it is what was deployed");
        let staking = Staking::new(chain.clone(), &book).expect("it is named");
        let time = chain.now().await.expect("a time") + 1_000;
        Self { chain, signers, senders, book, staking, burned: U256::ZERO, time, _directory: directory }
    }

    async fn live(&mut self) {
        // Everybody gets something to begin with.
        for (who, amount) in [(PROVIDER, 2_000), (COORDINATOR, 1_000), (REQUESTER, 1_000), (DELEGATOR, 3_000)]
        {
            let call = Tide::transferCall { to: self.address(who), value: tide(amount) };
            self.act(TREASURY, "Tide", call.abi_encode()).await;
        }

        // Register and bond.
        for (who, commission) in [(PROVIDER, 100_000), (SECOND, 0)] {
            let result_key =
                PrivateKeySigner::from_bytes(&B256::repeat_byte(0x40 + who as u8)).expect("a key");
            let node = B256::repeat_byte(who as u8);
            let call =
                self.staking.register_provider(self.address(who), B256::ZERO, commission, node, &result_key);
            self.act(who, "ProviderStaking", call).await;
        }
        self.act(COORDINATOR, "ProviderStaking", self.staking.register_coordinator(B256::ZERO)).await;
        let bond = self.staking.bond(&self.signers[PROVIDER], Role::Provider, Amount::tide(1_000)).await;
        self.act(PROVIDER, "ProviderStaking", bond.expect("a call")).await;
        let bond = self.staking.bond(&self.signers[COORDINATOR], Role::Coordinator, Amount::tide(500)).await;
        self.act(COORDINATOR, "ProviderStaking", bond.expect("a call")).await;
        let provider = self.address(PROVIDER);
        let open = self.staking.set_max_delegated(Amount::tide(10_000));
        self.act(PROVIDER, "ProviderStaking", open).await;
        let delegate = self.staking.delegate(&self.signers[DELEGATOR], provider, Amount::tide(2_500)).await;
        self.act(DELEGATOR, "ProviderStaking", delegate.expect("a call")).await;
        // Pay is split by the stake that has been there for a stream period.
        self.time += 7 * DAY_S;
        self.mine().await;

        self.an_honest_escrow().await;
        for seed in 0..if deep() { 20 } else { 2 } {
            self.schedules(seed).await;
        }
        self.an_over_issued_escrow().await;

        // Leave, thaw, withdraw.
        let leave =
            self.staking.leave(Pool::Bond(Role::Provider, provider), provider, Some(Amount::tide(400))).await;
        self.act(PROVIDER, "ProviderStaking", leave.expect("a call")).await;
        let delegator = self.address(DELEGATOR);
        let leave = self.staking.leave(Pool::Delegation(provider), delegator, None).await;
        self.act(DELEGATOR, "ProviderStaking", leave.expect("a call")).await;
        let early = self.staking.portfolio(delegator).await.expect("a portfolio");
        assert_eq!(early.thaws.len(), 1);
        assert_eq!(Staking::withdraw(&early), None, "it still thaws");
        self.time += 28 * DAY_S;
        self.mine().await;
        for who in [PROVIDER, DELEGATOR, SECOND] {
            let portfolio = self.staking.portfolio(self.address(who)).await.expect("a portfolio");
            let call = Staking::withdraw(&portfolio).expect("there is something");
            self.act(who, "ProviderStaking", call).await;
            let portfolio = self.staking.portfolio(self.address(who)).await.expect("a portfolio");
            assert!(portfolio.thaws.is_empty() && portfolio.earned == Amount::ZERO);
        }
        self.act(COORDINATOR, "JobEscrow", JobEscrow::withdrawFeesCall {}.abi_encode()).await;
        self.act(PROVER, "JobEscrow", JobEscrow::withdrawProtocolFeesCall {}.abi_encode()).await;

        // What was delegated came back with interest, and nothing is left in the escrows.
        let holdings = self.holdings().await;
        assert!(holdings["delegator"] > tide(3_000), "{holdings:?}");
        assert!(holdings["JobEscrow"] == U256::ZERO, "{holdings:?}");
        assert!(holdings["burned"] > U256::ZERO);
    }

    /// Open, vouchers, settle, collect, refund.
    async fn an_honest_escrow(&mut self) {
        let (provider, second) = (self.address(PROVIDER), self.address(SECOND));
        let id = self.open(100, B256::repeat_byte(1)).await;
        let first = self.voucher(id, provider, 30, 1, 30);
        let last = self.voucher(id, second, 20, 2, 50);
        let payment = |provider, amount: u64| JobEscrow::Payment { provider, amount: small(amount) };
        // The coordinator pays the first short, and forgets the second.
        let settle = JobEscrow::settleCall {
            id: id.0.into(),
            payments: vec![payment(provider, 10)],
            root: B256::repeat_byte(9),
        };
        self.act(COORDINATOR, "JobEscrow", settle.abi_encode()).await;
        for signed in [first, last] {
            self.act(SECOND, "JobEscrow", escrow::collect(&[signed])).await;
        }
        self.act(REQUESTER, "JobEscrow", escrow::end(id)).await;
        self.time += 3 * DAY_S;
        let before = self.holding(self.address(REQUESTER)).await;
        self.act(REQUESTER, "JobEscrow", escrow::refund(id)).await;
        assert_eq!(self.holding(self.address(REQUESTER)).await - before, tide(50));
    }

    /// More promised than there is: who comes late is paid by the coordinator's bond.
    async fn an_over_issued_escrow(&mut self) {
        let (provider, second) = (self.address(PROVIDER), self.address(SECOND));
        let id = self.open(10, B256::repeat_byte(2)).await;
        let first = self.voucher(id, provider, 8, 1, 8);
        let last = self.voucher(id, second, 8, 2, 10);
        self.act(PROVIDER, "JobEscrow", escrow::collect(&[first])).await;
        let accuse = escrow::accuse(id, &[last], &[]);
        let bond = self
            .staking
            .position(Pool::Bond(Role::Coordinator, self.address(COORDINATOR)), self.address(COORDINATOR));
        let bond = bond.await.expect("a bond").value;
        self.act(PROVER, "JobEscrow", accuse).await;
        let pool = Pool::Bond(Role::Coordinator, self.address(COORDINATOR));
        let left = self.staking.position(pool, self.address(COORDINATOR)).await.expect("a bond").value;
        assert!(left < bond, "the bond answers for what was promised and is not there");
        self.act(SECOND, "JobEscrow", escrow::collect(&[last])).await;
        self.time += 3 * DAY_S;
        self.act(REQUESTER, "JobEscrow", escrow::refund(id)).await;
        self.time += 7 * DAY_S;
        let claim = JobEscrow::claimCompensationCall { id: id.0.into(), providers: vec![second] };
        self.act(SECOND, "JobEscrow", claim.abi_encode()).await;
    }

    async fn open(&mut self, budget: u64, salt: B256) -> EscrowId {
        let coordinator = self.address(COORDINATOR);
        let (deadline_s, fee_ppm, spec_hash) = (self.time + DAY_S, 50_000, B256::repeat_byte(7));
        let named = EscrowTerms {
            coordinator: ours(coordinator),
            voucher_key: ours(coordinator),
            budget: Amount::tide(budget),
            deadline_s,
            fee_ppm,
            spec_hash: spec_hash.0,
        };
        let id = EscrowId::of(ours(self.address(REQUESTER)), &named, salt.0);
        let deadline = deadline_s.try_into().expect("it fits");
        let terms = JobEscrow::Terms {
            coordinator,
            voucherKey: coordinator,
            budget: small(budget),
            deadline,
            fee: fee_ppm,
            specHash: spec_hash,
        };
        let escrow = self.book.address("JobEscrow").expect("it is named");
        let approve = Tide::approveCall { spender: escrow, value: tide(budget) };
        self.act(REQUESTER, "Tide", approve.abi_encode()).await;
        self.act(REQUESTER, "JobEscrow", JobEscrow::openCall { terms, salt }.abi_encode()).await;
        let asked = JobEscrow::escrowCall { id: id.0.into() };
        let opened = self.chain.read(escrow, &asked).await.expect("an escrow");
        assert_eq!(opened.deposited, small(budget), "the escrow has the name that was expected");
        id
    }

    fn voucher(
        &self,
        escrow: EscrowId,
        provider: Address,
        amount: u64,
        sequence: u64,
        total: u64,
    ) -> Signed<Voucher> {
        let (amount, total) = (Amount::tide(amount), Amount::tide(total));
        self.signed(Voucher { escrow, provider: ours(provider), amount, sequence, total })
    }

    fn signed(&self, voucher: Voucher) -> Signed<Voucher> {
        let address = ours(self.book.address("JobEscrow").expect("it is named"));
        let contract = EscrowContract { chain_id: self.chain.chain_id(), address };
        voucher.sign(&contract, &self.key(COORDINATOR)).expect("it fits")
    }

    fn key(&self, who: usize) -> ResultKey {
        ResultKey::from_bytes(&self.signers[who].to_bytes().0).expect("a key")
    }

    /// Sends, at a time that is the same on both nodes, and checks that no wei was made or lost.
    async fn act(&mut self, who: usize, contract: &str, data: Vec<u8>) {
        self.time += 10;
        self.rpc("evm_setNextBlockTimestamp", self.time).await;
        let to = self.book.address(contract).expect("it is named");
        let intent = Intent {
            to: Some(to),
            value: Coin::ZERO,
            data: data.into(),
            gas_limit: None,
            label: contract.to_owned(),
            key: None,
        };
        let id = self.senders[who].submit(intent).await.expect("it is taken");
        let outcome = self.senders[who].wait(id, 1).await.expect("it ends");
        let Outcome::Succeeded(receipt) = outcome else { panic!("{contract}: {outcome:?}") };
        let receipt = self.chain.provider().get_transaction_receipt(receipt.hash).await.expect("an answer");
        for log in receipt.expect("a receipt").inner.logs() {
            if let Ok(event) = Tide::Transfer::decode_log(&log.inner)
                && event.to == Address::ZERO
            {
                self.burned += event.value;
            }
        }
        let all: U256 = self.holdings().await.values().sum();
        assert_eq!(all, tide(600_000_000), "after a call of {contract}");
        let supply =
            self.chain.read(self.book.address("Tide").expect("named"), &Tide::totalSupplyCall {}).await;
        assert_eq!(supply.expect("a supply") + self.burned, tide(600_000_000));
        self.stake_is_accounted_for().await;
    }

    /// The staking contract holds what its pools and records say, to the wei.
    async fn stake_is_accounted_for(&self) {
        let staking = self.book.address("ProviderStaking").expect("named");
        let mut owed = U256::ZERO;
        for who in [PROVIDER, SECOND, COORDINATOR] {
            let operator = self.address(who);
            for role in [0, 1] {
                let stake = self.chain.read(staking, &ProviderStaking::stakeOfCall { role, operator }).await;
                let stake = stake.expect("a stake");
                owed += stake.bonded + stake.delegated + stake.delegatedLocked;
            }
            let record = self.chain.read(staking, &ProviderStaking::operatorRecordCall { operator }).await;
            owed += U256::from(record.expect("a record").earned);
        }
        for who in 0..PEOPLE {
            let portfolio = self.staking.portfolio(self.address(who)).await.expect("a portfolio");
            owed += portfolio.thaws.iter().map(|thaw| U256::from(thaw.value.wei())).sum::<U256>();
        }
        let held = self.holding(staking).await;
        assert!(owed <= held, "{owed} is owed and {held} is there");
        // Rounding leaves a wei or two with the pools' thawing parts, for good.
        assert!(held - owed <= U256::from(4), "{owed} is owed and {held} is there");
    }

    /// What everybody has, and what was burned.
    async fn holdings(&self) -> BTreeMap<String, U256> {
        let names = ["treasury", "provider", "coordinator", "requester", "delegator", "second", "prover"];
        let mut holdings = BTreeMap::from([("burned".to_owned(), self.burned)]);
        for (who, name) in names.into_iter().enumerate() {
            holdings.insert(name.to_owned(), self.holding(self.address(who)).await);
        }
        for (name, address) in self.book.addresses() {
            holdings.insert(name.to_owned(), self.holding(address).await);
        }
        holdings
    }

    async fn holding(&self, account: Address) -> U256 {
        let tide = self.book.address("Tide").expect("it is named");
        self.chain.read(tide, &Tide::balanceOfCall { account }).await.expect("a balance")
    }

    async fn mine(&mut self) {
        self.rpc("evm_setNextBlockTimestamp", self.time).await;
        self.chain
            .provider()
            .raw_request_dyn("evm_mine".into(), &RawValue::NULL.to_owned())
            .await
            .expect("a block");
    }

    async fn rpc(&self, method: &'static str, parameter: u64) {
        let parameters = RawValue::from_string(format!("[{parameter}]")).expect("JSON");
        self.chain.provider().raw_request_dyn(method.into(), &parameters).await.expect("a development node");
    }

    fn address(&self, who: usize) -> Address {
        self.signers[who].address()
    }
}

fn tide(whole: u64) -> U256 {
    U256::from(Amount::tide(whole).wei())
}

fn small(whole: u64) -> U96 {
    U96::from(Amount::tide(whole).wei())
}
