//! Coordinators and providers on the ledger: their keys, their coins for gas, their registration.

use std::{path::Path, time::Duration};

use tidemill_coordinator::MoneyConfig;
use tidemill_ledger::{
    Address as EvmAddress, B256, PrivateKeySigner, evm,
    sender::{Intent, Outcome, Sender},
    staking::Staking,
};
use tidemill_types::{Coin, Millis, NodeId, ResultKey};
use tidemill_verify::SlashOdds;

use crate::{
    exit::{Code, Exit, WithCode},
    ledger::{Ledger, Purse, unreachable},
    money::escrows,
};

/// A coordinator that others do not fund gets so many coins for the gas of its settlements.
pub const COORDINATOR_COINS: Coin = Coin::from_wei(500_000_000_000_000_000);

/// With less than this part of it, an account is given more.
const REFILL_BELOW: u128 = 4;

/// How long releases are waited for before everybody is paid without them.
const RELEASE_PATIENCE: Millis = Millis(15_000);

/// Where a node keeps the transactions of a key of its own.
const TRANSACTIONS: &str = "transactions";

/// A key as the ledger's client has it.
fn signer(key: &ResultKey) -> anyhow::Result<PrivateKeySigner> {
    PrivateKeySigner::from_bytes(&B256::from(key.to_bytes())).code(Code::Host)
}

/// What sends transactions of a node's own key, from its directory.
async fn sender(ledger: &Ledger, key: &ResultKey, directory: &Path) -> anyhow::Result<Sender> {
    let place = Sender::directory(&directory.join(TRANSACTIONS), &ledger.chain, evm(key.address()));
    Sender::open(&place, signer(key)?, ledger.chain.clone(), ledger.settings.clone()).await.code(Code::Host)
}

/// How a coordinator pays on a ledger, in the name of this key.
///
/// # Errors
/// With [`Code::Host`] when the ledger does not answer, or another process sends for the key.
pub async fn coordinator(
    ledger: &Ledger,
    key: ResultKey,
    directory: &Path,
    fee_ppm: u32,
    comfortable_gas_price: Coin,
    slash_odds: SlashOdds,
) -> anyhow::Result<MoneyConfig> {
    Ok(MoneyConfig {
        escrows: escrows(ledger).await?,
        staking: Staking::new(ledger.chain.clone(), &ledger.book).code(Code::Usage)?,
        slash_odds,
        sender: sender(ledger, &key, directory).await?,
        key,
        fee_ppm,
        confirmations: ledger.settings.confirmations,
        poll: poll(ledger),
        comfortable_gas_price,
        release_patience: RELEASE_PATIENCE,
    })
}

/// How often a ledger is looked at.
pub fn poll(ledger: &Ledger) -> Duration {
    ledger.settings.poll.clamp(Duration::from_millis(500), Duration::from_secs(12))
}

/// What sends transactions of a provider's own key.
///
/// # Errors
/// With [`Code::Host`] when another process sends for the key.
pub async fn provider_sender(ledger: &Ledger, key: &ResultKey, directory: &Path) -> anyhow::Result<Sender> {
    sender(ledger, key, directory).await
}

/// Sees to it that accounts have coins for gas: each with how many it gets where it has few, and what it is.
///
/// # Errors
/// As those of [`Purse::send_coins`].
pub async fn fund(purse: &Purse, accounts: Vec<(EvmAddress, Coin, String)>) -> anyhow::Result<()> {
    let mut poor = Vec::new();
    for (account, coins, what) in accounts {
        let has = purse.ledger.chain.balance(account).await.map_err(unreachable)?;
        if has.wei() < coins.wei() / REFILL_BELOW {
            poor.push((format!("coins for the gas of {what}"), account, coins));
        }
    }
    match poor.is_empty() {
        true => Ok(()),
        false => purse.send_coins(poor).await,
    }
}

/// Why a provider cannot register itself yet: what a person is told.
pub fn no_coins(account: EvmAddress) -> String {
    format!(
        "the account {account} is not registered as a provider and has no coins for that: `tidemill wallet send \
         \"0.01 ETH\" {account}` sends it some, wherever there is an account with coins; or `tidemill bond AMOUNT --account \
         NAME` registers an account of this home for it"
    )
}

/// Registers a provider whose result key is its account.
///
/// # Errors
/// With a code when that is not possible.
pub async fn register(ledger: &Ledger, sender: &Sender, key: &ResultKey, node: NodeId) -> anyhow::Result<()> {
    let staking = Staking::new(ledger.chain.clone(), &ledger.book).code(Code::Usage)?;
    let account = evm(key.address());
    /// What it keeps of its delegators' part.
    const COMMISSION_PPM: u32 = 100_000;
    let call =
        staking.register_provider(account, B256::ZERO, COMMISSION_PPM, B256::from(node.0), &signer(key)?);
    let intent = Intent {
        to: Some(staking.address()),
        value: Coin::ZERO,
        data: call.into(),
        gas_limit: None,
        label: "register as a provider".to_owned(),
        key: Some(format!("register {node}")),
    };
    let id = sender.submit(intent).await.code(Code::Host)?;
    match sender.wait(id, ledger.settings.confirmations).await.code(Code::Host)? {
        Outcome::Succeeded(_) => Ok(()),
        Outcome::Reverted { reason, .. } => {
            Err(Exit::new(Code::Failed, format!("the provider cannot be registered: {reason}")).into())
        }
        Outcome::Dropped(reason) => {
            Err(Exit::new(Code::Failed, format!("the provider cannot be registered: {reason}")).into())
        }
    }
}
