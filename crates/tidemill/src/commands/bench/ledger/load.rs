//! The transactions that nodes are measured with.

use std::{borrow::Cow, sync::Arc, time::Duration};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    network::TxSignerSync,
    primitives::{Address, Bytes, TxKind, U256},
    providers::{Provider, ProviderBuilder, RootProvider},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolConstructor},
};
use anyhow::Context;
use tidemill_devnet::{DEV_CHAIN_ID, dev_signers};
use tidemill_ledger::contracts::{ITide, Tide};
use tokio::{task::JoinSet, time::sleep};

use crate::exit::{Code, Exit, WithCode};

/// Signed transactions for a node with the development keys: a token's deployment, and transfers of it.
pub struct Load {
    deployment: Bytes,
    /// Each account's transfers, in the order of their nonces.
    transfers: Vec<Arc<Vec<Bytes>>>,
    accounts: Vec<Address>,
}

/// Enough for any number of blocks between the two.
const MAX_FEE_PER_GAS: u128 = 1_000_000_000_000;

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
        let node = connect(url)?;
        self.deploy(&node).await?;
        let started = std::time::Instant::now();
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
        let count: usize = self.transfers.iter().map(|transfers| transfers.len()).sum();
        Ok(count as f64 / started.elapsed().as_secs_f64())
    }

    /// Sends all transfers, each once the one before it is in a block.
    pub async fn one_by_one(&self, url: &str) -> anyhow::Result<()> {
        let node = connect(url)?;
        self.deploy(&node).await?;
        let longest = self.transfers.iter().map(|transfers| transfers.len()).max().unwrap_or(0);
        let order = (0..longest).flat_map(|at| self.transfers.iter().filter_map(move |of| of.get(at)));
        for transfer in order {
            let before = node.get_block_number().await.code(Code::Host)?;
            send(&node, transfer).await?;
            while node.get_block_number().await.code(Code::Host)? == before {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn deploy(&self, node: &RootProvider) -> anyhow::Result<()> {
        let hash = send(node, &self.deployment).await?;
        loop {
            match node.get_transaction_receipt(hash).await.code(Code::Host)? {
                Some(receipt) if receipt.status() => return Ok(()),
                Some(_) => return Err(Exit::new(Code::Failed, "the token's deployment failed").into()),
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn all_mined(&self, node: &RootProvider) -> anyhow::Result<()> {
        for (at, account) in self.accounts.iter().enumerate() {
            let wanted = self.transfers[at].len() as u64 + u64::from(at == 0);
            while node.get_transaction_count(*account).await.code(Code::Host)? < wanted {
                sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(())
    }
}

/// The number of a node's newest block.
pub async fn height(url: &str) -> anyhow::Result<u64> {
    connect(url)?.get_block_number().await.code(Code::Host)
}

fn connect(url: &str) -> anyhow::Result<RootProvider> {
    let url = url.parse().with_context(|| format!("{url} is no URL")).code(Code::Usage)?;
    Ok(ProviderBuilder::default().connect_http(url))
}

async fn send(node: &RootProvider, raw: &Bytes) -> anyhow::Result<alloy::primitives::B256> {
    let sent = node.raw_request(Cow::Borrowed("eth_sendRawTransaction"), (raw,)).await;
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
