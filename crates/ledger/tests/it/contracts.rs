//! Our contracts on a chain that we did not write, and what is signed about them.

use std::time::Duration;

use alloy::{
    primitives::{Address, B256, U256, aliases::U96, keccak256},
    providers::Provider,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use serde_json::json;
use tidemill_ledger::{
    AddressBook, Amount, BookError, Escrows,
    contracts::{AccessManager, IProviderStaking, JobEscrow, ProviderStaking, Tide},
    deploy::{self, DeployError, Deployment, Params, Plan},
    ours,
    sender::{Intent, Outcome, Sender, Settings},
    staking::{Pool, Reach, Role, Slashers, Staking},
};
use tidemill_types::{Coin, EscrowContract, EscrowId, EscrowTerms, Release, ResultKey, Signable, Voucher};

use crate::foundry::{Anvil, CHAIN_ID, rich, stranger};

pub fn params() -> Params {
    Params { launch: stranger(21), ..Params::first_day(stranger(20)) }
}

pub fn quick() -> Settings {
    Settings { poll: Duration::from_millis(20), ..Settings::local() }
}

fn address(plan: &Plan, name: &str) -> Address {
    plan.contracts().find(|(contract, _)| *contract == name).expect("it is planned").1
}

/// The contracts by way of raw transactions, as the embedded ledger's first block has them.
async fn deployed(anvil: &Anvil) -> AddressBook {
    deployed_with(anvil, &params()).await
}

pub async fn deployed_with(anvil: &Anvil, params: &Params) -> AddressBook {
    let chain = anvil.chain().await;
    let plan = deploy::plan(params, rich().address(), 0);
    let fees = deploy::Fees { max_fee_per_gas: 5_000_000_000, max_priority_fee_per_gas: 1 };
    for raw in plan.sign(&rich(), CHAIN_ID, &fees).expect("it signs") {
        let sent = chain.provider().send_raw_transaction(&raw).await.expect("anvil takes it");
        assert!(sent.get_receipt().await.expect("anvil answers").status());
    }
    plan.address_book(&chain, 1).await.expect("all of it is there")
}

/// Sends a call, which succeeds.
pub async fn succeed(sender: &Sender, to: Address, call: Vec<u8>) {
    let intent = Intent {
        to: Some(to),
        value: Coin::ZERO,
        data: call.into(),
        gas_limit: None,
        label: "a call".to_owned(),
        key: None,
    };
    let id = sender.submit(intent).await.expect("it is taken");
    let outcome = sender.wait(id, 1).await.expect("it is made");
    assert!(matches!(outcome, Outcome::Succeeded(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_deployment_that_was_interrupted_goes_on() {
    let (anvil, home) = (Anvil::start(), tempfile::tempdir().expect("there is room"));
    let (account, file) = (home.path().join("account"), home.path().join("deployment"));
    let open =
        async || Sender::open(&account, rich(), anvil.chain().await, quick()).await.expect("nobody has it");
    let sender = open().await;
    let deployment = Deployment::prepare(&params(), &sender, &file).await.expect("nothing was begun");
    assert!(!deployment.is_begun());
    // Stopped after the second contract, in the middle of everything else.
    let (told, mut stop) = tokio::sync::mpsc::unbounded_channel();
    let execution = deployment.execute(&sender, |label| drop(told.send(label.to_owned())));
    tokio::select! {
        _ = execution => {}
        _ = async { (stop.recv().await, stop.recv().await) } => {}
    }
    sender.close().await;

    let sender = open().await;
    let other = Params { protocol_fee_ppm: 1, ..params() };
    let refused = Deployment::prepare(&other, &sender, &file).await;
    assert!(matches!(refused, Err(DeployError::OtherParams(_))), "{refused:?}");
    let again = Deployment::prepare(&params(), &sender, &file).await.expect("the same");
    assert!(again.is_begun());
    let book = again.execute(&sender, |_| ()).await.expect("it goes on");
    again.finish().expect("it is done");
    sender.close().await;

    let chain = anvil.chain().await;
    assert_eq!(book.deployment_block, 1);
    assert_eq!(chain.provider().get_transaction_count(rich().address()).await.expect("anvil answers"), 15);
    book.verify(&chain).await.expect("it is what was put there");
}

#[tokio::test]
async fn money_and_roles_are_those_of_the_first_day() {
    let anvil = Anvil::start();
    let book = deployed(&anvil).await;
    let chain = anvil.chain().await;
    let at = |name: &str| book.address(name).expect("it is there");
    let tide = at("Tide");
    let held =
        async |account| chain.read(tide, &Tide::balanceOfCall { account }).await.expect("anvil answers");
    assert_eq!(held(stranger(20)).await, U256::from(Params::TREASURY_SUPPLY.wei()));
    assert_eq!(held(stranger(21)).await, U256::from(Params::LAUNCH_SUPPLY.wei() - deploy::SEED.wei()));
    assert_eq!(held(rich().address()).await, U256::ZERO);
    let cap = chain.read(tide, &Tide::CAPCall {}).await.expect("anvil answers");
    assert_eq!(cap, U256::from(Amount::CAP.wei()));
    let manager = at("AccessManager");
    let holds = async |role: u64, account| {
        let asked = AccessManager::hasRoleCall { roleId: role, account };
        chain.read(manager, &asked).await.expect("anvil answers")
    };
    for role in 0..=3 {
        assert!(!holds(role, rich().address()).await.isMember, "the deployer has given up role {role}");
    }
    assert!(holds(1, stranger(20)).await.isMember && holds(3, stranger(20)).await.isMember);
    let staking = chain.read(at("JobEscrow"), &JobEscrow::stakingCall {}).await.expect("anvil answers");
    assert_eq!(staking, at("ProviderStaking"));
    let thaw = chain.read(staking, &ProviderStaking::thawPeriodCall {}).await.expect("anvil answers");
    assert_eq!(thaw, params().thaw_s);
}

#[tokio::test]
async fn a_slasher_reaches_as_far_as_it_was_let() {
    let anvil = Anvil::start();
    let chain = anvil.chain().await;
    // A governor without a delay, so that a test need not wait for it.
    let params = Params { governor: rich().address(), delay_s: 0, treasury: rich().address(), ..params() };
    let book = deployed_with(&anvil, &params).await;
    let staking = Staking::new(chain.clone(), &book).expect("the book has it");
    let mut slashers = Slashers::default();
    let mut reach = async || {
        staking.look_for_slashers(&mut slashers).await.expect("anvil answers");
        slashers.reach()
    };
    assert_eq!(reach().await, None, "one of coordinators' bonds is none");

    let home = tempfile::tempdir().expect("there is room");
    let sender = Sender::open(home.path(), rich(), chain.clone(), quick()).await.expect("nobody has it");
    let send = async |call| succeed(&sender, staking.address(), call).await;
    let slasher = |slasher, role: Role, ppm| {
        let reach = IProviderStaking::Reach { own: ppm, delegated: 0 };
        ProviderStaking::setSlasherCall { slasher, role: role as u8, reach }.abi_encode()
    };
    send(slasher(stranger(30), Role::Provider, 100_000)).await;
    send(slasher(stranger(31), Role::Provider, 500_000)).await;
    send(slasher(stranger(32), Role::Coordinator, 900_000)).await;
    assert_eq!(reach().await, None, "what becomes more does so after the thaw period");
    anvil.call("evm_increaseTime", json!([params.thaw_s])).await;
    anvil.call("evm_mine", json!([])).await;
    assert_eq!(reach().await.map(Reach::ppm), Some(500_000));

    let account = rich().address();
    send(staking.register_provider(account, B256::ZERO, 0, B256::repeat_byte(1), &rich())).await;
    let half = reach().await.expect("there is a slasher");
    let lost = async || staking.own_loss(account, half).await.expect("anvil answers");
    assert_eq!(lost().await, Amount::ZERO);
    send(staking.bond(&rich(), Role::Provider, Amount::tide(100)).await.expect("anvil answers")).await;
    assert_eq!(lost().await, Amount::tide(50));
    // A delegation answers for itself.
    send(staking.set_max_delegated(Amount::tide(60))).await;
    send(staking.delegate(&rich(), account, Amount::tide(60)).await.expect("anvil answers")).await;
    assert_eq!(lost().await, Amount::tide(50));
    let bond = Pool::Bond(Role::Provider, account);
    let leave = staking.leave(bond, account, Some(Amount::tide(90))).await.expect("it has so much");
    send(leave).await;
    assert_eq!(lost().await, Amount::tide(5), "what thaws may be gone before it is taken");
    send(slasher(stranger(31), Role::Provider, 0)).await;
    send(slasher(stranger(30), Role::Provider, 0)).await;
    assert_eq!(reach().await, None);
    sender.close().await;
}

#[tokio::test]
async fn a_voucher_key_stands_for_the_coordinator_that_bound_it() {
    let anvil = Anvil::start();
    let chain = anvil.chain().await;
    let book = deployed_with(&anvil, &Params { launch: rich().address(), ..params() }).await;
    let staking = Staking::new(chain.clone(), &book).expect("the book has it");
    let escrows = Escrows::new(chain.clone(), &book).await.expect("anvil answers");
    let home = tempfile::tempdir().expect("there is room");
    let sender = Sender::open(home.path(), rich(), chain.clone(), quick()).await.expect("nobody has it");
    let coordinator = rich().address();
    let hot = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x33)).expect("a key");
    let key = ours(hot.address());
    assert_eq!(escrows.coordinator_of(key).await.expect("anvil answers"), key, "its own account");

    let register = staking.register_coordinator(B256::ZERO);
    succeed(&sender, staking.address(), register).await;
    let bind = staking.bind_voucher_key(coordinator, &hot);
    succeed(&sender, staking.address(), bind).await;
    let bond = staking.bond(&rich(), Role::Coordinator, Amount::tide(7)).await.expect("anvil answers");
    succeed(&sender, staking.address(), bond).await;
    assert_eq!(escrows.coordinator_of(key).await.expect("anvil answers"), ours(coordinator));
    let bond = escrows.coordinator_bond(key).await.expect("anvil answers");
    assert_eq!(bond, Amount::tide(7), "the bond of the coordinator answers for what the key signs");

    // An escrow that names both is seen so.
    let terms = EscrowTerms {
        coordinator: ours(coordinator),
        voucher_key: key,
        budget: Amount::tide(5),
        deadline_s: chain.now().await.expect("anvil answers") + 3_600,
        fee_ppm: 0,
        spec_hash: [0; 32],
    };
    let open = escrows.open(&rich(), &terms, [1; 32]).await.expect("anvil answers");
    succeed(&sender, escrows.address(), open).await;
    let id = EscrowId::of(ours(coordinator), &terms, [1; 32]);
    let view = escrows.view(id, 1).await.expect("anvil answers").expect("it is open");
    assert_eq!((view.coordinator, view.voucher_key), (ours(coordinator), key));

    let unbind = ProviderStaking::unbindVoucherKeyCall { voucherKey: hot.address() }.abi_encode();
    succeed(&sender, staking.address(), unbind).await;
    assert_eq!(escrows.coordinator_of(key).await.expect("anvil answers"), key);
    sender.close().await;
}

#[tokio::test]
async fn another_chain_and_other_code_are_refused() {
    let anvil = Anvil::start();
    let book = deployed(&anvil).await;
    let chain = anvil.chain().await;
    book.verify(&chain).await.expect("it is what was put there");
    let elsewhere = AddressBook { chain_id: 1, ..book.clone() };
    assert!(matches!(elsewhere.verify(&chain).await, Err(BookError::Chain(_))));
    let elsewhere = AddressBook { genesis: B256::ZERO, ..book.clone() };
    assert!(matches!(elsewhere.verify(&chain).await, Err(BookError::OtherGenesis { .. })));
    let tide = book.address("Tide").expect("it is there");
    anvil.call("anvil_setCode", json!([tide, "0x00"])).await;
    assert!(matches!(book.verify(&chain).await, Err(BookError::OtherCode { name, .. }) if name == "Tide"));
    anvil.call("anvil_setCode", json!([tide, "0x"])).await;
    assert!(matches!(book.verify(&chain).await, Err(BookError::NoCode { name, .. }) if name == "Tide"));
}

#[tokio::test]
async fn the_contract_hashes_what_we_sign() {
    let anvil = Anvil::start();
    let plan = deploy::plan(&params(), rich().address(), 0);
    let book = deployed(&anvil).await;
    let chain = anvil.chain().await;
    let address = address(&plan, "JobEscrow");
    assert_eq!(book.address("JobEscrow").expect("it is there"), address);
    let contract = EscrowContract { chain_id: CHAIN_ID, address: ours(address) };

    let terms = EscrowTerms {
        coordinator: ours(stranger(1)),
        voucher_key: ours(stranger(4)),
        budget: Amount::CAP,
        deadline_s: (1 << 48) - 1,
        fee_ppm: 123_456,
        spec_hash: keccak256("job").0,
    };
    let salt = keccak256("salt");
    let id = EscrowId::of(ours(stranger(2)), &terms, salt.0);
    let theirs = JobEscrow::Terms {
        coordinator: stranger(1),
        voucherKey: stranger(4),
        budget: wei(terms.budget),
        deadline: terms.deadline_s.try_into().expect("48 bits"),
        fee: terms.fee_ppm,
        specHash: terms.spec_hash.into(),
    };
    let asked = JobEscrow::escrowIdCall { requester: stranger(2), terms: theirs, salt };
    assert_eq!(chain.read(address, &asked).await.expect("anvil answers"), B256::from(id.0));

    let coordinator = ResultKey::from_bytes(&[7; 32]).expect("a key");
    let voucher = Voucher {
        escrow: id,
        provider: ours(stranger(3)),
        amount: Amount::tide(5),
        sequence: u64::MAX,
        total: Amount::CAP,
    };
    let theirs = JobEscrow::Voucher {
        escrow: id.0.into(),
        provider: stranger(3),
        amount: wei(voucher.amount),
        sequence: voucher.sequence,
        total: wei(voucher.total),
    };
    let asked = JobEscrow::voucherDigestCall { voucher: theirs };
    let digest = chain.read(address, &asked).await.expect("anvil answers");
    assert_eq!(voucher.digest(&contract), Ok(digest.0));
    let signed = voucher.sign(&contract, &coordinator).expect("it fits");
    assert_eq!(signed.verify(&contract, coordinator.address()), Ok(()));

    let release = Release { escrow: id, provider: ours(stranger(3)), amount: Amount::from_wei(1) };
    let theirs =
        JobEscrow::Release { escrow: id.0.into(), provider: stranger(3), amount: wei(release.amount) };
    let asked = JobEscrow::releaseDigestCall { release: theirs };
    let digest = chain.read(address, &asked).await.expect("anvil answers");
    assert_eq!(release.digest(&contract), Ok(digest.0));
}

fn wei(amount: Amount) -> U96 {
    U96::from(amount.wei())
}
