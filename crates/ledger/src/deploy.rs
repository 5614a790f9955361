//! Putting Tidemill's contracts on a chain.
//!
//! What is to be sent is a pure function of the parameters, the deployer and its next nonce ([`plan`]): the contracts
//! name each other by addresses that are known before they are there, so that none needs a second call to become whole.
//! A [`Deployment`] remembers on disk what was begun, and goes on with it after any interruption.

mod deployment;
mod liquid;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope, transaction::SignerRecoverable},
    eips::eip2718::{Decodable2718, Encodable2718},
    network::TxSignerSync,
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolConstructor},
};
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

use self::liquid::Places;
pub use self::{
    deployment::{DeployError, Deployment},
    liquid::{LiquidParams, SEED},
};
use crate::{
    address_book::{AddressBook, BookError, Contract},
    chain::Chain,
    contracts::{
        AccessManager, ExitQueue, IProviderStaking, ITide, JobEscrow, Library, LiquidStake, ProviderStaking,
        RateFeed, StTide, Tide, linked,
    },
};

/// What is fixed when the contracts are deployed, and what holds on the first day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Gets [`Params::TREASURY_SUPPLY`] and the protocol's fees.
    pub treasury: Address,
    /// Gets [`Params::LAUNCH_SUPPLY`].
    pub launch: Address,
    /// May close the entries for a while.
    pub guardian: Address,
    /// May set parameters and grant roles, each after [`Params::delay_s`].
    pub governor: Address,
    /// How long before it counts the governor must announce what it does, in seconds: longer than stake thaws, so that
    /// whoever dislikes it has left by then.
    pub delay_s: u32,
    /// How long stake thaws, in seconds.
    pub thaw_s: u32,
    /// Over how long rewards stream to delegators, in seconds.
    pub stream_s: u32,
    /// How long vouchers are paid after the end of an escrow, in seconds.
    pub collect_s: u32,
    /// How long over-issue may be proven after that, in seconds.
    pub evidence_s: u32,
    /// The longest time from the opening of an escrow to its deadline, in seconds.
    pub longest_escrow_s: u32,
    /// The protocol's part of payments, in parts per million.
    pub protocol_fee_ppm: u32,
    /// Says which providers the liquid stake backs, and with which weight.
    pub curator: Address,
    /// What holds of the liquid stake.
    pub liquid: LiquidParams,
}

/// The transactions of a deployment, in order, and where the contracts will be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    deployer: Address,
    first_nonce: u64,
    steps: Vec<Step>,
    contracts: Vec<(&'static str, Address)>,
}

/// One transaction of a deployment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What a person calls it.
    pub label: String,
    /// Whom it is to; none makes a contract.
    pub to: Option<Address>,
    /// The call, or the code with the constructor's arguments.
    pub data: Bytes,
    /// Enough for it, with room to spare. Estimates cannot be had: a step's contracts may not be there yet.
    pub gas_limit: u64,
}

/// What the transactions of [`Plan::sign`] pay for a unit of gas, in wei.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fees {
    /// At most, base fee and tip together.
    pub max_fee_per_gas: u128,
    /// To whoever makes the block.
    pub max_priority_fee_per_gas: u128,
}

/// A text that is no signed transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is no signed transaction")]
pub struct NotATransaction;

const DAY_S: u32 = 24 * 60 * 60;

/// Roles of the AccessManager. Zero is its own admin role.
mod role {
    pub const ADMIN: u64 = 0;
    pub const GUARDIAN: u64 = 1;
    /// Nobody has it on the first day.
    pub const MINTER: u64 = 2;
    pub const GOVERNOR: u64 = 3;
    pub const CURATOR: u64 = 4;
}

/// One whole, in parts per million.
const WHOLE_PPM: u32 = 1_000_000;

impl Params {
    /// TIDE that the treasury gets on the first day.
    pub const TREASURY_SUPPLY: Amount = Amount::tide(500_000_000);
    /// TIDE that the launch account gets on the first day, less [`SEED`].
    pub const LAUNCH_SUPPLY: Amount = Amount::tide(100_000_000);

    /// Those of docs/economics.md, with all roles and all supply to one account.
    pub fn first_day(treasury: Address) -> Self {
        Self {
            treasury,
            launch: treasury,
            guardian: treasury,
            governor: treasury,
            delay_s: 35 * DAY_S,
            thaw_s: 28 * DAY_S,
            stream_s: 7 * DAY_S,
            collect_s: 3 * DAY_S,
            evidence_s: 7 * DAY_S,
            longest_escrow_s: 14 * DAY_S,
            protocol_fee_ppm: 20_000,
            curator: treasury,
            liquid: LiquidParams::first_day(),
        }
    }
}

/// What of the launch account's supply is not the liquid stake's seed.
const LAUNCHED: Amount = Amount::from_wei(Params::LAUNCH_SUPPLY.wei() - SEED.wei());

/// The transactions with which `deployer` puts the contracts on a chain, the first of them with its `first_nonce`.
pub fn plan(params: &Params, deployer: Address, first_nonce: u64) -> Plan {
    let at = |step| deployer.create(first_nonce + step);
    let [authority, tide, keys, moves, cases, fees, staking, escrow] = [0, 1, 2, 3, 4, 5, 6, 7].map(at);
    // Between the share and the stake lies the approval of the seed.
    let [exit_fee, share, stake_entry, queue, feed] = [8, 9, 11, 12, 13].map(at);
    let places = Places { authority, tide, staking, share, stake: stake_entry, queue };
    let manager = AccessManager::constructorCall { initialAdmin: deployer };
    let supply = |to, amount: Amount| ITide::Allocation { to, amount: U256::from(amount.wei()) };
    let token = Tide::constructorCall {
        authority,
        genesis: vec![
            supply(params.treasury, Params::TREASURY_SUPPLY),
            supply(params.launch, LAUNCHED),
            // The deployer puts it into the liquid stake, for nobody.
            supply(deployer, SEED),
        ],
    };
    // A coordinator's bond answers for its vouchers with all of it.
    let reach = IProviderStaking::Reach { own: WHOLE_PPM, delegated: 0 };
    let slasher = IProviderStaking::InitialSlasher { slasher: escrow, role: 1, reach };
    let stake = ProviderStaking::constructorCall {
        authority,
        tide_: tide,
        thawPeriod_: params.thaw_s,
        streamPeriod_: params.stream_s,
        slashers: vec![slasher],
    };
    let escrows = JobEscrow::constructorCall {
        authority,
        tide_: tide,
        staking_: staking,
        collectWindow_: params.collect_s,
        evidenceWindow_: params.evidence_s,
        maxDuration_: params.longest_escrow_s,
        protocolFee_: params.protocol_fee_ppm,
        treasury_: params.treasury,
    };
    let approve = Tide::approveCall { spender: stake_entry, value: U256::from(SEED.wei()) };
    let liquid = params.liquid;
    let roles = AccessManager::multicallCall { data: roles(params, deployer, &places, escrow) };
    Plan {
        deployer,
        first_nonce,
        steps: vec![
            creation("AccessManager", &AccessManager::BYTECODE, &manager.abi_encode()),
            creation("Tide", &Tide::BYTECODE, &token.abi_encode()),
            creation("OperatorKeys", &Library::OperatorKeys.code(), &[]),
            creation("Redelegations", &Library::Redelegations.code(), &[]),
            creation("SlashCases", &Library::SlashCases.code(), &[]),
            creation("FeeLog", &Library::FeeLog.code(), &[]),
            creation(
                "ProviderStaking",
                &linked(
                    &ProviderStaking::BYTECODE,
                    &[
                        (Library::OperatorKeys, keys),
                        (Library::Redelegations, moves),
                        (Library::SlashCases, cases),
                    ],
                ),
                &stake.abi_encode(),
            ),
            creation(
                "JobEscrow",
                &linked(&JobEscrow::BYTECODE, &[(Library::FeeLog, fees)]),
                &escrows.abi_encode(),
            ),
            creation("ExitFee", &Library::ExitFee.code(), &[]),
            creation("StTide", &StTide::BYTECODE, &places.share().abi_encode()),
            Step {
                label: format!("let the liquid stake take {SEED}, its seed"),
                to: Some(tide),
                data: approve.abi_encode().into(),
                gas_limit: 100_000,
            },
            creation(
                "LiquidStake",
                &linked(&LiquidStake::BYTECODE, &[(Library::ExitFee, exit_fee)]),
                &liquid.stake(&places, params.treasury).abi_encode(),
            ),
            creation("ExitQueue", &ExitQueue::BYTECODE, &liquid.queue(&places, params.thaw_s).abi_encode()),
            creation("RateFeed", &RateFeed::BYTECODE, &liquid.feed(&places).abi_encode()),
            Step {
                label: "grant the roles of the first day, and give up the deployer's".to_owned(),
                to: Some(authority),
                data: roles.abi_encode().into(),
                gas_limit: 3_000_000,
            },
        ],
        contracts: vec![
            ("AccessManager", authority),
            ("ExitFee", exit_fee),
            ("ExitQueue", queue),
            ("FeeLog", fees),
            ("JobEscrow", escrow),
            ("LiquidStake", stake_entry),
            ("OperatorKeys", keys),
            ("ProviderStaking", staking),
            ("RateFeed", feed),
            ("Redelegations", moves),
            ("SlashCases", cases),
            ("StTide", share),
            ("Tide", tide),
        ],
    }
}

/// Who may do what on the first day; docs/economics.md has it as a table.
fn roles(params: &Params, deployer: Address, places: &Places, escrow: Address) -> Vec<Bytes> {
    use ProviderStaking as Staking;
    let Places { tide, staking, stake, .. } = *places;
    let may = |role, target, selectors: &[[u8; 4]]| {
        let selectors = selectors.iter().map(|selector| (*selector).into()).collect();
        AccessManager::setTargetFunctionRoleCall { target, selectors, roleId: role }.abi_encode()
    };
    let grant = |role, account, delay| {
        AccessManager::grantRoleCall { roleId: role, account, executionDelay: delay }.abi_encode()
    };
    let label = |role, label: &str| {
        AccessManager::labelRoleCall { roleId: role, label: label.to_owned() }.abi_encode()
    };
    let mut calls = vec![
        label(role::GUARDIAN, "guardian"),
        label(role::MINTER, "minter"),
        label(role::GOVERNOR, "governor"),
        label(role::CURATOR, "curator"),
        may(role::MINTER, tide, &[Tide::mintCall::SELECTOR]),
        // Who closes the entries may open them again; the governor's delay is longer than any pause.
        may(role::GUARDIAN, staking, &[Staking::pauseCall::SELECTOR, Staking::unpauseCall::SELECTOR]),
        may(role::GUARDIAN, escrow, &[JobEscrow::pauseCall::SELECTOR, JobEscrow::unpauseCall::SELECTOR]),
        may(role::GUARDIAN, stake, &[LiquidStake::pauseCall::SELECTOR, LiquidStake::unpauseCall::SELECTOR]),
        may(
            role::GOVERNOR,
            stake,
            &[LiquidStake::setParamsCall::SELECTOR, LiquidStake::setTreasuryCall::SELECTOR],
        ),
        // Caps for each provider and operator hold whatever it says.
        may(role::CURATOR, stake, &[LiquidStake::setProviderCall::SELECTOR]),
        may(
            role::GOVERNOR,
            staking,
            &[Staking::setSlasherCall::SELECTOR, Staking::setDelegationRatioCall::SELECTOR],
        ),
        may(
            role::GOVERNOR,
            escrow,
            &[
                JobEscrow::setProtocolFeeCall::SELECTOR,
                JobEscrow::setTreasuryCall::SELECTOR,
                JobEscrow::setBurnShareCall::SELECTOR,
            ],
        ),
        // What the governor has announced, the guardian may call off.
        AccessManager::setRoleGuardianCall { roleId: role::GOVERNOR, guardian: role::GUARDIAN }.abi_encode(),
        grant(role::GUARDIAN, params.guardian, 0),
        grant(role::GOVERNOR, params.governor, params.delay_s),
        grant(role::CURATOR, params.curator, 0),
        grant(role::ADMIN, params.governor, params.delay_s),
    ];
    if params.governor != deployer {
        let give_up = AccessManager::renounceRoleCall { roleId: role::ADMIN, callerConfirmation: deployer };
        calls.push(give_up.abi_encode());
    }
    calls.into_iter().map(Bytes::from).collect()
}

fn creation(name: &str, code: &Bytes, arguments: &[u8]) -> Step {
    let data: Bytes = [code.as_ref(), arguments].concat().into();
    // 200 gas a byte of code that is kept and at most 16 a byte that is sent, with as much again for a third of that:
    // constructors write a few slots.
    let gas_limit = 500_000 + 300 * data.len() as u64;
    Step { label: format!("deploy {name}"), to: None, data, gas_limit }
}

impl Plan {
    /// The transactions, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whose nonces and rights it rests on.
    pub fn deployer(&self) -> Address {
        self.deployer
    }

    /// The nonce of its first transaction.
    pub fn first_nonce(&self) -> u64 {
        self.first_nonce
    }

    /// Where a contract will be.
    pub fn contracts(&self) -> impl Iterator<Item = (&'static str, Address)> {
        self.contracts.iter().copied()
    }

    /// The most gas that all of it uses.
    pub fn most_gas(&self) -> u64 {
        self.steps.iter().map(|step| step.gas_limit).sum()
    }

    /// The transactions, signed for a chain: for the first block of an embedded ledger.
    ///
    /// # Errors
    /// Where the key does not sign, or is not the deployer's.
    pub fn sign(
        &self,
        deployer: &PrivateKeySigner,
        chain_id: u64,
        fees: &Fees,
    ) -> Result<Vec<Bytes>, alloy::signers::Error> {
        if deployer.address() != self.deployer {
            return Err(alloy::signers::Error::other("the plan is for another deployer"));
        }
        let mut signed = Vec::new();
        for (nonce, step) in (self.first_nonce..).zip(&self.steps) {
            let mut transaction = TxEip1559 {
                chain_id,
                nonce,
                gas_limit: step.gas_limit,
                max_fee_per_gas: fees.max_fee_per_gas,
                max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
                to: step.to.map_or(TxKind::Create, TxKind::Call),
                value: U256::ZERO,
                access_list: Default::default(),
                input: step.data.clone(),
            };
            let signature = deployer.sign_transaction_sync(&mut transaction)?;
            signed.push(TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into());
        }
        Ok(signed)
    }

    /// The address book of what this plan has put on a chain, by what is there now.
    ///
    /// # Errors
    /// [`BookError::NoCode`] where it is not there.
    pub async fn address_book(&self, chain: &Chain, deployment_block: u64) -> Result<AddressBook, BookError> {
        let mut book = AddressBook {
            chain_id: chain.chain_id(),
            genesis: chain.genesis(),
            deployment_block,
            contracts: Default::default(),
        };
        for (name, address) in self.contracts() {
            let code = chain.code(address).await.map_err(BookError::Chain)?;
            if code.is_empty() {
                return Err(BookError::NoCode { name: name.to_owned(), address });
            }
            book.contracts.insert(name.to_owned(), Contract { address, code_hash: keccak256(&code) });
        }
        Ok(book)
    }

    /// Tells it from other plans.
    fn fingerprint(&self) -> B256 {
        let steps: Vec<u8> = self.steps.iter().flat_map(|step| keccak256(&step.data).0).collect();
        keccak256([self.deployer.as_slice(), &self.first_nonce.to_be_bytes(), &steps].concat())
    }
}

/// Who signed a transaction.
///
/// # Errors
/// [`NotATransaction`]
pub fn signer_of(raw: &Bytes) -> Result<Address, NotATransaction> {
    let transaction = TxEnvelope::decode_2718(&mut raw.as_ref()).map_err(|_| NotATransaction)?;
    transaction.recover_signer().map_err(|_| NotATransaction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_know_each_other_before_they_are_there() {
        let deployer = PrivateKeySigner::random();
        let plan = plan(&Params::first_day(Address::repeat_byte(5)), deployer.address(), 7);
        let contracts: Vec<_> = plan.contracts().collect();
        let staking = contracts.iter().find(|(name, _)| *name == "ProviderStaking").expect("it is planned").1;
        assert_eq!(staking, deployer.address().create(13));
        let escrow_data = &plan.steps()[7].data;
        assert!(escrow_data.windows(20).any(|window| window == staking.as_slice()));
        let fees = Fees { max_fee_per_gas: 7, max_priority_fee_per_gas: 0 };
        let signed = plan.sign(&deployer, 5, &fees).expect("it signs");
        assert_eq!(signed.len(), 15);
        assert!(signed.iter().all(|raw| signer_of(raw) == Ok(deployer.address())));
        assert!(plan.sign(&PrivateKeySigner::random(), 5, &fees).is_err());
        assert_eq!(signer_of(&Bytes::from_static(b"x")), Err(NotATransaction));
    }

    #[test]
    fn a_deployer_that_governs_keeps_its_role_under_the_delay() {
        let deployer = Address::repeat_byte(5);
        let own = plan(&Params::first_day(deployer), deployer, 0);
        let other = plan(&Params::first_day(Address::repeat_byte(6)), deployer, 0);
        let renounces = |plan: &Plan| {
            let selector = AccessManager::renounceRoleCall::SELECTOR;
            plan.steps()[14].data.windows(4).any(|window| window == selector)
        };
        assert!(!renounces(&own));
        assert!(renounces(&other));
        assert_ne!(own.fingerprint(), other.fingerprint());
    }
}
