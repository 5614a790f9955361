//! A throw-away ledger for measurements, and sending there.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context;
use tidemill_devnet::{Ledger as Node, Mining, ServeOptions, Server, dev_signers};
use tidemill_ledger::{
    Address, Bytes, Chain, Escrows, PrivateKeySigner,
    sender::{Intent, Outcome, Receipt, Sender, Settings},
    staking::Staking,
};
use tidemill_types::Coin;

use crate::{
    exit::{Code, Exit, WithCode},
    ledger::own::{self, Opening},
};

/// A development ledger in this process.
pub struct Bank {
    node: Node,
    server: Server,
    directory: PathBuf,
    /// A connection to it.
    pub chain: Chain,
    /// Its staking contract.
    pub staking: Staking,
    /// Its escrows.
    pub escrows: Escrows,
    /// Who has all TIDE and many coins, and somebody else with coins.
    pub keys: (PrivateKeySigner, PrivateKeySigner),
}

impl Bank {
    /// Makes a ledger in a directory that is empty or not there.
    pub async fn open(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory).code(Code::Host)?;
        let opening = Opening { dev: true, treasury: None, mining: Mining::OnDemand };
        let (node, _) = own::open(&own::blocks(directory), &opening).await?;
        let book = own::address_book(directory, &node).await?;
        let anywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let told = serde_json::to_value(&book).code(Code::Host)?;
        let options = ServeOptions { address_book: Some(told), ..ServeOptions::default() };
        let server = node.serve(anywhere, options).await.code(Code::Host)?;
        let chain =
            Chain::connect(&format!("http://{}", server.local_addr()), None).await.code(Code::Host)?;
        let mut keys = dev_signers().into_iter();
        let mut key = || keys.next().context("there are ten keys");
        Ok(Self {
            staking: Staking::new(chain.clone(), &book).code(Code::Host)?,
            escrows: Escrows::new(chain.clone(), &book).await.code(Code::Host)?,
            keys: (key()?, key()?),
            directory: directory.to_owned(),
            node,
            server,
            chain,
        })
    }

    /// Where others reach it.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.local_addr())
    }

    /// Ends it.
    pub async fn close(self) {
        self.server.stop().await;
        own::stop(self.node).await;
    }

    /// What sends for a key.
    pub async fn sender(&self, key: &PrivateKeySigner) -> anyhow::Result<Sender> {
        let place = Sender::directory(&self.directory, &self.chain, key.address());
        let settings = Settings { poll: std::time::Duration::from_millis(2), ..Settings::local() };
        Sender::open(&place, key.clone(), self.chain.clone(), settings).await.code(Code::Host)
    }
}

/// Sends a call, and waits for its block.
pub async fn call(sender: &Sender, to: Address, data: Vec<u8>) -> anyhow::Result<Receipt> {
    send(sender, to, Coin::ZERO, data).await
}

/// Sends a transaction, and waits for its block.
pub async fn send(sender: &Sender, to: Address, value: Coin, data: Vec<u8>) -> anyhow::Result<Receipt> {
    let (to, data) = (Some(to), Bytes::from(data));
    let intent = Intent { to, value, data, gas_limit: None, label: "bench".to_owned(), key: None };
    let id = sender.submit(intent).await.code(Code::Host)?;
    match sender.wait(id, 1).await.code(Code::Host)? {
        Outcome::Succeeded(receipt) => Ok(receipt),
        other => Err(Exit::new(Code::Host, format!("a transaction failed: {other:?}")).into()),
    }
}
