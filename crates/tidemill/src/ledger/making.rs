//! What a new embedded ledger is made of.

use std::time::{SystemTime, UNIX_EPOCH};

use tidemill_api::LedgerMade;
use tidemill_devnet::{Genesis, Ledger, dev_signers, draw_chain_id};
use tidemill_ledger::{
    Address, AddressBook, Chain, PrivateKeySigner, U256,
    deploy::{self, Params},
    keystore::{AccountName, Cost, Password},
};

use super::{accounts, address_of, keystore, password_beside, refused, unreachable};
use crate::{
    exit::{Code, Exit, WithCode},
    node_state,
};

/// A ledger that is not there yet.
pub struct Making {
    /// Its beginning, with the contracts in the first block.
    pub genesis: Genesis,
    /// Who gets what exists on the first day.
    pub treasury: Treasury,
}

/// Who gets what exists on the first day.
pub struct Treasury {
    /// The account.
    pub address: Address,
    /// Its name in this home, where it has one.
    name: Option<String>,
    /// Whether it was made for the ledger.
    made: bool,
}

/// The name of the account that is made for a ledger.
pub const TREASURY: &str = "treasury";

/// Coins for the fees of transactions, to the treasury: more than can be spent. They are worth nothing elsewhere.
const COINS: u64 = 1_000_000_000;

/// The one that deploys has no other use, and gives up its rights; what it does not spend stays with it for ever.
const DEPLOYER_COINS: u64 = 1;

impl Making {
    /// Draws keys and a chain id. An account `treasury` is made in this home, unless another is named.
    ///
    /// # Errors
    /// With [`Code::Usage`] for an account that is not there, with [`Code::Host`] when keys cannot be made.
    pub fn draw(dev: bool, treasury: Option<&str>) -> anyhow::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let deployer = PrivateKeySigner::random();
        let (genesis, treasury) = if dev {
            let first = dev_signers().into_iter().next();
            let first = first.ok_or_else(|| Exit::new(Code::Host, "there are no development keys"))?;
            (Genesis::dev(now), Treasury { address: first.address(), name: None, made: false })
        } else {
            let treasury = Treasury::find_or_make(treasury)?;
            (Genesis::new(draw_chain_id(), now).fund(treasury.address, coins(COINS)), treasury)
        };
        let plan = deploy::plan(&Params::first_day(treasury.address), deployer.address(), 0);
        let mut genesis = genesis.fund(deployer.address(), coins(DEPLOYER_COINS));
        let fees = deploy::Fees {
            max_fee_per_gas: u128::from(genesis.base_fee_wei) * 2,
            max_priority_fee_per_gas: 0,
        };
        genesis.transactions = plan.sign(&deployer, genesis.chain_id, &fees).code(Code::Host)?;
        genesis.coinbase = treasury.address;
        // All of them are in the first block.
        genesis.gas_limit = genesis.gas_limit.max(plan.most_gas());
        Ok(Self { genesis, treasury })
    }
}

impl Treasury {
    fn find_or_make(who: Option<&str>) -> anyhow::Result<Self> {
        if let Some(who) = who {
            let name = accounts()?
                .iter()
                .find(|entry| entry.name.as_str() == who)
                .map(|entry| entry.name.to_string());
            return Ok(Self { address: address_of(who)?, name, made: false });
        }
        if let Some(entry) = accounts()?.into_iter().find(|entry| entry.name.as_str() == TREASURY) {
            let name = entry.name.to_string();
            return Ok(Self { address: address_of(&name)?, name: Some(name), made: false });
        }
        let name: AccountName = TREASURY.parse().code(Code::Host)?;
        let mut secret = [0; 24];
        getrandom::fill(&mut secret)
            .map_err(|error| Exit::new(Code::Host, format!("no randomness: {error}")))?;
        let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        // Nobody guesses 24 random bytes, however cheap a guess is: what makes guessing dear would only cost a second
        // each time the account is used.
        let keystore = keystore()?.with_cost(Cost::LIGHT);
        let account =
            keystore.create(&name, &Password::new(text.clone()).code(Code::Host)?).map_err(refused)?;
        let entry = keystore.find(TREASURY).map_err(refused)?;
        node_state::replace(&password_beside(&entry.path), text.as_bytes()).code(Code::Host)?;
        Ok(Self { address: account.address(), name: Some(TREASURY.to_owned()), made: true })
    }

    /// What is told of a ledger that was made.
    pub fn made(&self, chain_id: u64) -> LedgerMade {
        LedgerMade {
            chain_id,
            treasury: self.address.to_string(),
            account: self.name.clone(),
            password_beside_key: self.made,
        }
    }
}

/// What is told of a ledger that was made, for a person.
pub fn made_in_words(made: &LedgerMade) -> String {
    let who = match &made.account {
        Some(name) => format!("the account {name} ({})", made.treasury),
        None => made.treasury.clone(),
    };
    let password = if made.password_beside_key { "; its password lies beside its key" } else { "" };
    format!(
        "made a ledger with the chain id {}\n{who} has all that exists on the first day{password}\n",
        made.chain_id
    )
}

/// The address book of a ledger that was made here, by asking its node.
///
/// # Errors
/// With [`Code::Host`] when its contracts are not there.
pub async fn address_book(url: &str, ledger: &Ledger) -> anyhow::Result<AddressBook> {
    let chain = Chain::connect(url, Some(ledger.chain_id())).await.map_err(unreachable)?;
    // The deployer is the one account with a past whose transactions made the first block.
    let deployer = deployer_of(ledger).code(Code::Host)?;
    let treasury = ledger.genesis().coinbase;
    let plan = deploy::plan(&Params::first_day(treasury), deployer, 0);
    // The contracts are what the first block after the genesis is made of.
    plan.address_book(&chain, 1).await.code(Code::Host)
}

fn deployer_of(ledger: &Ledger) -> anyhow::Result<Address> {
    let first = ledger.genesis().transactions.first();
    let first = first.ok_or_else(|| Exit::new(Code::Host, "the ledger was made without contracts"))?;
    deploy::signer_of(first).code(Code::Host)
}

fn coins(whole: u64) -> U256 {
    U256::from(whole) * U256::from(10).pow(U256::from(18))
}
