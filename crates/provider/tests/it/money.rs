//! A ledger with contracts, a coordinator that is known there, and escrows.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::providers::Provider as _;
use tempfile::TempDir;
use tidemill_devnet::{Genesis, Ledger, Options, ServeOptions, Server, dev_signers};
use tidemill_ledger::{
    AddressBook, B256, Bytes, Chain, Coin, Escrows, PrivateKeySigner, SolCall, U256,
    contracts::{JobEscrow, Tide},
    deploy::{self, Params},
    escrow, evm, ours,
    sender::{Intent, Outcome, Sender, Settings},
    staking::{Role, Staking},
};
use tidemill_net::wire::{Decision, Lease, LeasePay, Money, ToProvider};
use tidemill_provider::pay::Config;
use tidemill_types::{
    Address, Amount, EscrowContract, EscrowId, EscrowTerms, LeaseId, RateCard, ResultKey, Signable, Signed,
    Voucher,
};

use crate::support::Joined;

/// An embedded ledger and all who are on it.
pub struct World {
    pub ledger: Ledger,
    server: Option<Server>,
    address: SocketAddr,
    pub chain: Chain,
    book: AddressBook,
    pub escrows: Escrows,
    /// Signs vouchers.
    pub coordinator: ResultKey,
    requester: Sender,
    operator: Sender,
    coordinators: Sender,
    folder: TempDir,
}

/// A signer of the provider's results in these tests.
fn result_key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(2)).expect("a key")
}

fn signer(index: usize) -> PrivateKeySigner {
    dev_signers().swap_remove(index)
}

impl World {
    /// A ledger on which the provider is registered, and a coordinator.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let deployer = PrivateKeySigner::from_bytes(&B256::repeat_byte(77)).expect("a key");
        let plan = deploy::plan(&Params::first_day(signer(0).address()), deployer.address(), 0);
        let coins = U256::from(10).pow(U256::from(18));
        let mut genesis = Genesis::dev(now).fund(deployer.address(), coins);
        let fees = deploy::Fees { max_fee_per_gas: 2_000_000_000, max_priority_fee_per_gas: 0 };
        genesis.gas_limit = genesis.gas_limit.max(plan.most_gas());
        genesis.transactions = plan.sign(&deployer, genesis.chain_id, &fees).expect("it signs");
        let ledger =
            Ledger::create(&folder.path().join("ledger"), genesis, Options::default()).expect("a ledger");
        let server = ledger.serve(([127, 0, 0, 1], 0).into(), ServeOptions::default()).await;
        let server = server.expect("loopback is there");
        let address = server.local_addr();
        let chain = Chain::connect(&format!("http://{address}"), None).await.expect("it answers");
        let book = plan.address_book(&chain, 1).await.expect("the contracts are there");
        let escrows = Escrows::new(chain.clone(), &book).await.expect("it answers");
        let [requester, operator, coordinators] = [
            sender(folder.path(), 0, &chain).await,
            sender(folder.path(), 1, &chain).await,
            sender(folder.path(), 2, &chain).await,
        ];
        let coordinator = ResultKey::from_bytes(&signer(2).to_bytes().0).expect("a key");
        let server = Some(server);
        let world = Self {
            ledger,
            server,
            address,
            chain,
            book,
            escrows,
            coordinator,
            requester,
            operator,
            coordinators,
            folder,
        };
        let staking = world.staking();
        let (operator, key) = (signer(1).address(), result_key());
        let call = staking.register_provider(operator, B256::ZERO, 0, B256::repeat_byte(1), &key);
        send(&world.operator, staking.address(), call).await;
        let call = staking.register_coordinator(B256::ZERO);
        send(&world.coordinators, staking.address(), call).await;
        world
    }

    fn staking(&self) -> Staking {
        Staking::new(self.chain.clone(), &self.book).expect("the book has it")
    }

    /// Who is paid.
    pub fn operator() -> Address {
        ours(signer(1).address())
    }

    pub fn contract(&self) -> EscrowContract {
        self.escrows.contract()
    }

    /// How the coordinator's network pays.
    pub fn money(&self) -> Option<Money> {
        let (contract, account) = (self.contract(), self.coordinator.address());
        Some(Money { contract, account, fee_ppm: 50_000 })
    }

    /// How the provider is paid, with a sender of its own.
    pub fn config(&self) -> Config {
        Config {
            escrows: self.escrows.clone(),
            operator: Self::operator(),
            max_exposure: Amount::tide(1),
            min_bond: Amount::ZERO,
            confirmations: 1,
            poll: Duration::from_millis(50),
            collect_after: Duration::from_millis(200),
            sender: Some(self.operator.clone()),
        }
    }

    /// Opens an escrow that ends after so many seconds.
    pub async fn open(&self, salt: u8, budget: Amount, ends_in_s: u64) -> EscrowId {
        let terms = EscrowTerms {
            coordinator: self.coordinator.address(),
            voucher_key: self.coordinator.address(),
            budget,
            deadline_s: self.chain.now().await.expect("it answers") + ends_in_s,
            fee_ppm: 50_000,
            spec_hash: [0; 32],
        };
        let (owner, salt) = (signer(0), [salt; 32]);
        let call = self.escrows.open(&owner, &terms, salt).await.expect("it answers");
        send(&self.requester, self.escrows.address(), call).await;
        EscrowId::of(ours(owner.address()), &terms, salt)
    }

    /// Bonds so much for the coordinator.
    pub async fn bond(&self, amount: Amount) {
        let tide = self.book.address("Tide").expect("the book has it");
        let give = Tide::transferCall { to: signer(2).address(), value: U256::from(amount.wei()) };
        send(&self.requester, tide, give.abi_encode()).await;
        let staking = self.staking();
        let call = staking.bond(&signer(2), Role::Coordinator, amount).await.expect("it answers");
        send(&self.coordinators, staking.address(), call).await;
    }

    /// The coordinator pays the provider up to this, and ends the escrow.
    pub async fn settle(&self, escrow: EscrowId, amount: Amount) {
        let payment = JobEscrow::Payment {
            provider: evm(Self::operator()),
            amount: amount.wei().try_into().expect("it is little"),
        };
        let settle = JobEscrow::settleCall { id: escrow.0.into(), payments: vec![payment], root: B256::ZERO };
        send(&self.coordinators, self.escrows.address(), settle.abi_encode()).await;
        send(&self.coordinators, self.escrows.address(), escrow::end(escrow)).await;
    }

    /// Lets time pass on the ledger.
    pub async fn pass(&self, seconds: u64) {
        let provider = self.chain.provider();
        let _: serde::de::IgnoredAny =
            provider.raw_request("evm_increaseTime".into(), (seconds,)).await.expect("it answers");
        let _: serde::de::IgnoredAny = provider.raw_request("evm_mine".into(), ()).await.expect("it answers");
    }

    /// The node goes away.
    pub async fn vanish(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// And comes back.
    pub async fn return_(&mut self) {
        let server = self.ledger.serve(self.address, ServeOptions::default()).await;
        self.server = Some(server.expect("the port is free again"));
    }

    /// What the escrow has paid the provider.
    pub async fn paid(&self, escrow: EscrowId) -> Amount {
        self.escrows.payee(escrow, Self::operator()).await.expect("it answers").paid
    }

    pub fn voucher(&self, escrow: EscrowId, sequence: u64, amount: Amount) -> Voucher {
        Voucher { escrow, provider: Self::operator(), amount, sequence, total: amount }
    }

    pub fn sign(&self, voucher: Voucher) -> Signed<Voucher> {
        voucher.sign(&self.contract(), &self.coordinator).expect("it fits")
    }

    /// A folder that outlives a provider.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A lease that pays out of an escrow.
pub fn paid(lease: Lease, escrow: EscrowId) -> Lease {
    Lease { pay: Some(LeasePay { escrow, rates: RateCard::default() }), ..lease }
}

impl Joined {
    /// Decides results, and promises.
    pub async fn decide(&mut self, decisions: &[(u64, Decision)], vouchers: &[Signed<Voucher>]) {
        let decisions = decisions.iter().map(|(lease, decision)| (LeaseId(*lease), *decision)).collect();
        self.say(ToProvider::Decided { decisions, vouchers: vouchers.to_vec() }).await;
    }
}

async fn sender(folder: &Path, index: usize, chain: &Chain) -> Sender {
    let directory = folder.join(format!("account {index}"));
    let opened = Sender::open(&directory, signer(index), chain.clone(), Settings::local()).await;
    opened.expect("nobody else sends for it")
}

async fn send(sender: &Sender, to: tidemill_ledger::Address, data: Vec<u8>) {
    let intent = Intent {
        to: Some(to),
        value: Coin::ZERO,
        data: Bytes::from(data),
        gas_limit: None,
        label: "a test".to_owned(),
        key: None,
    };
    let id = sender.submit(intent).await.expect("it is durable");
    let outcome = sender.wait(id, 1).await.expect("it ends");
    assert!(matches!(outcome, Outcome::Succeeded(_)), "{outcome:?}");
}
