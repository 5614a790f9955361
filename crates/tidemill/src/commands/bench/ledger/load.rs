//! The transactions that nodes are measured with.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    network::TxSignerSync,
    primitives::{Address, Bytes, TxKind, U256},
    providers::Provider,
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolConstructor},
};
use anyhow::Context;
use serde_json::Value;
use tidemill_devnet::{DEV_CHAIN_ID, dev_signers};
use tidemill_ledger::{
    Chain,
    contracts::{ITide, Tide},
};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    exit::{Code, Exit, WithCode},
    ledger::unreachable,
};

/// Signed transactions for a node with the development keys: a token's deployment, and transfers of it.
pub struct Load {
    deployment: Bytes,
    /// Each account's transfers, in the order of their nonces.
    transfers: Vec<Arc<Vec<Bytes>>>,
    accounts: Vec<Address>,
}

/// Enough for any number of blocks between the two.
const MAX_FEE_PER_GAS: u128 = 1_000_000_000_000;

/// A node that has made no block for so long, with transactions waiting, has forgotten them.
const STILL: Duration = Duration::from_millis(100);

/// A transfer to an account that had nothing takes some 52,000.
const TRANSFER_GAS: u64 = 80_000;

impl Load {
    /// Signs so many transfers, spread over the accounts.
    pub fn sign(transfers: u32) -> anyhow::Result<Self> {
        let signers = dev_signers();
        let accounts: Vec<Address> = signers.iter().map(PrivateKeySigner::address).collect();
        let deployer = signers.first().context("there are development keys")?;
        let genesis = accounts
            .iter()
            .map(|to| ITide::Allocation { to: *to, amount: U256::from(10).pow(U256::from(24)) });
        let arguments = Tide::constructorCall { authority: accounts[0], genesis: genesis.collect() };
        let code = [Tide::BYTECODE.as_ref(), &arguments.abi_encode()].concat();
        let deployment = sign(deployer, 0, TxKind::Create, 5_000_000, code.into())?;
        let token = accounts[0].create(0);
        let mut by_account = vec![Vec::new(); signers.len()];
        for number in 0..transfers as usize {
            let at = number % signers.len();
            // To somebody new each time, as payments to many are.
            let to = Address::from_word(U256::from(number + 1_000_000).into());
            let call = Tide::transferCall { to, value: U256::from(1) }.abi_encode();
            let nonce = by_account[at].len() as u64 + u64::from(at == 0);
            by_account[at].push(sign(&signers[at], nonce, TxKind::Call(token), TRANSFER_GAS, call.into())?);
        }
        Ok(Self { deployment, transfers: by_account.into_iter().map(Arc::new).collect(), accounts })
    }

    /// Sends all transfers, an account's in order and the accounts at the same time, and gives how many a second got
    /// into blocks.
    pub async fn run(&self, url: &str) -> anyhow::Result<f64> {
        let node = connect(url).await?;
        self.deploy(&node).await?;
        let started = Instant::now();
        let mut sending = JoinSet::new();
        for transfers in &self.transfers {
            let (node, transfers) = (node.clone(), transfers.clone());
            sending.spawn(async move {
                for transfer in transfers.iter() {
                    send(&node, transfer).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(sent) = sending.join_next().await {
            sent.code(Code::Host)??;
        }
        self.all_mined(&node).await?;
        Ok(self.count() as f64 / started.elapsed().as_secs_f64())
    }

    /// Sends all transfers, each once the one before it is in a block.
    pub async fn one_by_one(&self, url: &str) -> anyhow::Result<()> {
        let node = connect(url).await?;
        self.deploy(&node).await?;
        let longest = self.transfers.iter().map(|transfers| transfers.len()).max().unwrap_or(0);
        let order = (0..longest).flat_map(|at| self.transfers.iter().filter_map(move |of| of.get(at)));
        for transfer in order {
            let before = node.head().await.map_err(unreachable)?;
            send(&node, transfer).await?;
            while node.head().await.map_err(unreachable)? == before {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn deploy(&self, node: &Chain) -> anyhow::Result<()> {
        let hash = send(node, &self.deployment).await?;
        loop {
            match node.provider().get_transaction_receipt(hash).await.code(Code::Host)? {
                Some(receipt) if receipt.status() => return Ok(()),
                Some(_) => return Err(Exit::new(Code::Failed, "the token's deployment failed").into()),
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Waits until all transfers are in blocks. A node that has stopped making blocks though it has transactions, as
    /// anvil does at times, is asked for one.
    async fn all_mined(&self, node: &Chain) -> anyhow::Result<()> {
        let (mut mined, mut since) = (0, Instant::now());
        loop {
            let mut now = 0;
            for account in &self.accounts {
                now += node.provider().get_transaction_count(*account).await.code(Code::Host)?;
            }
            // The deployment is one of them.
            if now > self.count() {
                return Ok(());
            }
            if now != mined {
                (mined, since) = (now, Instant::now());
            } else if since.elapsed() > STILL {
                let asked = node.provider().raw_request::<_, Value>(Cow::Borrowed("evm_mine"), ()).await;
                asked.context("a node makes no more blocks").code(Code::Failed)?;
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn count(&self) -> u64 {
        self.transfers.iter().map(|transfers| transfers.len() as u64).sum()
    }
}

/// The number of a node's newest block.
pub async fn height(url: &str) -> anyhow::Result<u64> {
    connect(url).await?.head().await.map_err(unreachable)
}

async fn connect(url: &str) -> anyhow::Result<Chain> {
    Chain::connect(url, Some(DEV_CHAIN_ID)).await.map_err(unreachable)
}

async fn send(node: &Chain, raw: &Bytes) -> anyhow::Result<alloy::primitives::B256> {
    let sent = node.provider().raw_request(Cow::Borrowed("eth_sendRawTransaction"), (raw,)).await;
    sent.context("a node refused a transaction").code(Code::Failed)
}

fn sign(
    signer: &PrivateKeySigner,
    nonce: u64,
    to: TxKind,
    gas_limit: u64,
    input: Bytes,
) -> anyhow::Result<Bytes> {
    let mut transaction = TxEip1559 {
        chain_id: DEV_CHAIN_ID,
        nonce,
        gas_limit,
        max_fee_per_gas: MAX_FEE_PER_GAS,
        max_priority_fee_per_gas: 1_000_000_000,
        to,
        value: U256::ZERO,
        access_list: Default::default(),
        input,
    };
    let signature = signer.sign_transaction_sync(&mut transaction)?;
    Ok(TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into())
}
