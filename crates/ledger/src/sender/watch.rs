//! The looks at the chain, and what is given to it.

use std::{collections::HashMap, time::Duration};

use alloy::{
    consensus::Transaction as _,
    eips::BlockNumberOrTag,
    network::{TransactionBuilder, TransactionResponse},
    primitives::{Address, B256, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use tidemill_types::Coin;
use tokio::task::JoinSet;

use super::{
    Intent, Receipt, Settings,
    answers::{self, Answer},
    book::Book,
    fees::Quote,
    plan::{self, Gas, Questions, Seen, User},
};
use crate::{
    chain::{Chain, ChainError},
    revert,
};

/// The blocks whose tips make a quote.
const FEE_BLOCKS: u64 = 10;

/// Looks at the chain for an account.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) chain: Chain,
    pub(super) account: Address,
    pub(super) settings: Settings,
}

/// A thousand a second for millions of years; what is more, a node has made up.
const MOST_TRANSACTIONS: u64 = 1 << 56;

impl Watch {
    /// All that [`plan::next_steps`] wants to know about this book. The newest block is read first, so that what is
    /// learned after it is at least as new.
    pub(super) async fn look(&self, book: Book, now: Duration) -> Result<Seen, ChainError> {
        let head = self.chain.head().await?;
        let settled = (head + 1).saturating_sub(self.settings.confirmations);
        let latest_nonce = self.nonce(BlockNumberOrTag::Latest).await?;
        let pending_nonce = self.nonce(BlockNumberOrTag::Pending).await?;
        let has_used = book.sent().first().is_some_and(|(_, slot)| slot.nonce < latest_nonce);
        let settled_nonce = if has_used { self.count_at(settled).await?.unwrap_or(0) } else { 0 };
        let Questions { receipts, estimates, users } = plan::questions(&book, latest_nonce, settled_nonce);
        let receipts = self.receipts(receipts).await?;
        let mut gas = HashMap::new();
        for id in estimates {
            if let Some(entry) = book.entries.get(&id) {
                gas.insert(id, self.estimate(&entry.intent).await?);
            }
        }
        let mut found = HashMap::new();
        for (nonce, hashes) in users {
            let is_ours = hashes.iter().any(|hash| receipts.get(hash).is_some_and(Option::is_some));
            if !is_ours {
                found.insert(nonce, self.user_of(nonce, head).await?);
            }
        }
        let quote = self.quote().await?;
        let users = found;
        Ok(Seen { head, now, latest_nonce, pending_nonce, settled_nonce, quote, receipts, gas, users })
    }

    /// What an intent may cost now; none where its gas cannot be estimated.
    pub(super) async fn most_cost(&self, intent: &Intent) -> Result<Option<Coin>, ChainError> {
        let gas = match intent.gas_limit {
            Some(limit) => limit,
            None => match self.estimate(intent).await? {
                Gas::Needed(gas) => plan::with_margin(gas, &self.settings),
                Gas::Reverted(_) | Gas::Unknown(_) => return Ok(None),
            },
        };
        let fees = u128::from(gas).saturating_mul(self.quote().await?.0.cap());
        Ok(Some(Coin::from_wei(intent.value.wei().saturating_add(fees))))
    }

    /// Gives a signed transaction to the node.
    pub(super) async fn broadcast(&self, hash: B256, raw: &[u8]) -> Result<Answer, ChainError> {
        match self.chain.provider().send_raw_transaction(raw).await {
            Ok(pending) if *pending.tx_hash() == hash => Ok(Answer::Taken),
            Ok(_) => Ok(Answer::Failed("the node calls it by another hash".to_owned())),
            Err(error) => match self.chain.error("eth_sendRawTransaction", error) {
                ChainError::Refused { message, passes: false, .. } => Ok(answers::read(&message)),
                other => Err(other),
            },
        }
    }

    /// The receipt of a transaction that is in a block.
    pub(super) async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        self.chain.receipt(hash).await
    }

    async fn receipts(&self, hashes: Vec<B256>) -> Result<HashMap<B256, Option<Receipt>>, ChainError> {
        let mut asked = JoinSet::new();
        for hash in hashes {
            let watch = self.clone();
            asked.spawn(async move { watch.receipt(hash).await.map(|receipt| (hash, receipt)) });
        }
        let mut receipts = HashMap::new();
        while let Some(answer) = asked.join_next().await {
            // A question that panicked is one without an answer.
            if let Ok(answer) = answer {
                let (hash, receipt) = answer?;
                receipts.insert(hash, receipt);
            }
        }
        Ok(receipts)
    }

    async fn nonce(&self, block: BlockNumberOrTag) -> Result<u64, ChainError> {
        let method = "eth_getTransactionCount";
        let count = self.chain.provider().get_transaction_count(self.account).block_id(block.into()).await;
        let count = count.map_err(|e| self.chain.error(method, e))?;
        if count > MOST_TRANSACTIONS {
            return Err(self.chain.nonsense(method, &format!("no account has sent {count} transactions")));
        }
        Ok(count)
    }

    async fn estimate(&self, intent: &Intent) -> Result<Gas, ChainError> {
        let mut request = TransactionRequest::default()
            .with_from(self.account)
            .with_value(U256::from(intent.value.wei()))
            .with_input(intent.data.clone());
        request = match intent.to {
            Some(to) => request.with_to(to),
            None => request.into_create(),
        };
        let estimate = self.chain.provider().estimate_gas(request).await;
        match estimate.map_err(|e| self.chain.error("eth_estimateGas", e)) {
            Ok(gas) => Ok(Gas::Needed(gas)),
            Err(ChainError::Refused { message, data, passes: false, .. }) => {
                let is_revert = data.is_some() || answers::would_fail(&message);
                let reason = revert::reason(&message, data.as_ref());
                Ok(if is_revert { Gas::Reverted(reason) } else { Gas::Unknown(reason) })
            }
            Err(other) => Err(other),
        }
    }

    /// Who used a nonce, by the block in which the account's count of transactions passed it.
    async fn user_of(&self, nonce: u64, head: u64) -> Result<User, ChainError> {
        let (mut before, mut at, mut step) = (head, head, 1);
        // Back in growing strides to a block before it, then halving what lies between.
        loop {
            match self.count_at(before).await? {
                None => return Ok(User::Unknown),
                Some(count) if count <= nonce => break,
                Some(_) => at = before,
            }
            if before == 0 {
                return Ok(User::Unknown);
            }
            before = before.saturating_sub(step);
            step *= 2;
        }
        while at - before > 1 {
            let middle = before + (at - before) / 2;
            match self.count_at(middle).await? {
                None => return Ok(User::Unknown),
                Some(count) if count <= nonce => before = middle,
                Some(_) => at = middle,
            }
        }
        let method = "eth_getBlockByNumber";
        let block = self.chain.provider().get_block_by_number(at.into()).full().await;
        let block = block.map_err(|e| self.chain.error(method, e))?;
        let transactions = block.map(|block| block.transactions.into_transactions_vec()).unwrap_or_default();
        let mut hashes = transactions.iter().filter_map(|tx| {
            let is_it = tx.from() == self.account && tx.inner.nonce() == nonce;
            is_it.then(|| tx.tx_hash())
        });
        Ok(hashes.next().map_or(User::Unknown, User::Found))
    }

    /// The account's count of transactions after a block; none where the node has forgotten it.
    async fn count_at(&self, block: u64) -> Result<Option<u64>, ChainError> {
        match self.nonce(BlockNumberOrTag::Number(block)).await {
            Ok(count) => Ok(Some(count)),
            Err(ChainError::Refused { passes: false, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn quote(&self) -> Result<Quote, ChainError> {
        let provider = self.chain.provider();
        let history = provider.get_fee_history(FEE_BLOCKS, BlockNumberOrTag::Latest, &[50.0]).await;
        match history.map_err(|e| self.chain.error("eth_feeHistory", e)) {
            Ok(history) if history.base_fee_per_gas.iter().any(|fee| *fee > 0) => {
                let next = history.base_fee_per_gas.last().copied().unwrap_or_default();
                let tips: Vec<_> =
                    history.reward.iter().flatten().flat_map(|tips| tips.first()).copied().collect();
                Ok(Quote::dynamic(next, &tips, &self.settings))
            }
            // No base fees, or a node that does not know the method.
            Ok(_) | Err(ChainError::Refused { passes: false, .. }) => {
                let price =
                    provider.get_gas_price().await.map_err(|e| self.chain.error("eth_gasPrice", e))?;
                Ok(Quote::legacy(price, &self.settings))
            }
            Err(other) => Err(other),
        }
    }
}
