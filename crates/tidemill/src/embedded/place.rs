//! Where the accounts of a network of this machine are.
//!
//! They outlive the network: what its providers have earned stays theirs, and so do the coins for gas. Several networks
//! of one home may run at a time, each in a place of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tidemill_coordinator::MoneyConfig;
use tidemill_ledger::{evm, keystore::Account};
use tidemill_types::{Coin, ResultKey};
use tidemill_verify::SlashOdds;

use crate::{
    exit::{Code, Exit, WithCode},
    home::data_directory,
    ledger::{Ledger, Purse},
    money::{self, COORDINATOR_COINS},
    network::private_directory,
    node_state::{StateDirectory, result_key},
};

/// The directory of the places in that of the home.
pub const PLACES: &str = "local";

/// A place, for the network that has it now.
pub struct Place {
    state: StateDirectory,
}

/// Where a provider of such a network finds the ledger.
#[derive(Clone, Debug)]
pub struct ChildLedger {
    /// Its node.
    pub url: String,
    /// A second node, which must say the same.
    pub second: Option<String>,
    /// The file with its address book.
    pub book: PathBuf,
    /// How many blocks make what it shows certain.
    pub confirmations: u64,
}

/// The file in a network's directory that names its place.
const NOTE: &str = "place";

/// How many networks of one home may run at a time.
const MOST_PLACES: usize = 64;

/// What a provider gets for the gas of its registration and of collecting by itself.
const PROVIDER_COINS: Coin = Coin::from_wei(100_000_000_000_000_000);

/// Settlements wait while a unit of gas costs more.
const COMFORTABLE_GAS_PRICE: Coin = Coin::gwei(100);

impl Place {
    /// The place that the network whose state is in this directory had before, or else the first one that no other
    /// network has.
    ///
    /// # Errors
    /// With a code when there is none.
    pub fn claim(network: &Path) -> anyhow::Result<Self> {
        let places = data_directory().code(Code::Host)?.join(PLACES);
        let note = network.join(NOTE);
        if let Some(number) =
            fs::read_to_string(&note).ok().and_then(|text| text.trim().parse::<usize>().ok())
        {
            // Its coordinator has promises to keep, in the name of the account that is there.
            return Ok(Self { state: StateDirectory::claim(&places.join(number.to_string()))? });
        }
        let mut last = None;
        for number in 1..=MOST_PLACES {
            match StateDirectory::claim(&places.join(number.to_string())) {
                Ok(state) => {
                    fs::write(&note, number.to_string())
                        .with_context(|| format!("cannot write {}", note.display()))
                        .code(Code::Host)?;
                    return Ok(Self { state });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Exit::new(Code::Host, "too many networks run on this machine").into()))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.state.path()
    }

    /// The coordinator and the first so many providers have accounts with coins for gas on return, from this account where
    /// they had few.
    ///
    /// # Errors
    /// With a code when the ledger or the disk does not do its part.
    pub async fn fund(&self, ledger: &Ledger, from: &Account, providers: u16) -> anyhow::Result<()> {
        let (_, coordinator) = self.account("coordinator")?;
        let mut accounts =
            vec![(evm(coordinator.address()), COORDINATOR_COINS, "the coordinator".to_owned())];
        for number in 1..=providers {
            let (_, key) = self.account(&format!("provider-{number}"))?;
            accounts.push((evm(key.address()), PROVIDER_COINS, format!("provider {number}")));
        }
        let purse = Purse::on(ledger.clone(), from.clone()).await?;
        let funded = money::fund(&purse, accounts).await;
        purse.close().await;
        funded
    }

    /// How the network's coordinator pays.
    ///
    /// # Errors
    /// With a code when the ledger does not do its part.
    pub async fn coordinator(&self, ledger: &Ledger) -> anyhow::Result<MoneyConfig> {
        let (directory, key) = self.account("coordinator")?;
        money::coordinator(ledger, key, &directory, 0, COMFORTABLE_GAS_PRICE, SlashOdds::USUAL).await
    }

    /// Where the providers of the network find the ledger.
    ///
    /// # Errors
    /// With a code when the disk does not do its part.
    pub fn ledger(&self, ledger: &Ledger) -> anyhow::Result<ChildLedger> {
        let book = self.path().join("address-book.json");
        ledger
            .book
            .save(&book)
            .with_context(|| format!("cannot write {}", book.display()))
            .code(Code::Host)?;
        Ok(ChildLedger {
            url: ledger.url.clone(),
            second: ledger.second.clone(),
            book,
            confirmations: ledger.settings.confirmations,
        })
    }

    /// The directory of one of its nodes, and the key of the account that this works for.
    fn account(&self, node: &str) -> anyhow::Result<(PathBuf, ResultKey)> {
        let directory = self.path().join(node);
        private_directory(&directory).code(Code::Host)?;
        let key = result_key(&directory)?;
        Ok((directory, key))
    }
}
