//! Questions to a chain that change nothing.

use std::borrow::Cow;

use alloy::{
    eips::BlockNumberOrTag,
    network::TransactionBuilder,
    primitives::Address,
    providers::Provider,
    rpc::types::{Filter, Log, TransactionRequest},
    sol_types::SolCall,
    transports::RpcError,
};
use serde_json::Value;

use crate::{Chain, ChainError, chain::Block};

/// The method by which a node of the embedded ledger tells where the contracts are.
pub const ADDRESS_BOOK_METHOD: &str = "tidemill_addressBook";

impl Chain {
    /// Asks a contract something, as of the newest block.
    ///
    /// # Errors
    /// [`ChainError::Refused`] where the contract refuses, [`ChainError::Nonsense`] where the answer is of another
    /// shape, others where the node cannot be asked.
    pub async fn read<C: SolCall>(&self, contract: Address, call: &C) -> Result<C::Return, ChainError> {
        self.ask(contract, call, BlockNumberOrTag::Latest).await
    }

    /// Asks a contract something, as of a block.
    ///
    /// # Errors
    /// As those of [`Self::read`].
    pub async fn read_at<C: SolCall>(
        &self,
        contract: Address,
        call: &C,
        block: u64,
    ) -> Result<C::Return, ChainError> {
        self.ask(contract, call, BlockNumberOrTag::Number(block)).await
    }

    async fn ask<C: SolCall>(
        &self,
        contract: Address,
        call: &C,
        block: BlockNumberOrTag,
    ) -> Result<C::Return, ChainError> {
        let method = "eth_call";
        let request = TransactionRequest::default().with_to(contract).with_input(call.abi_encode());
        let answer = self.provider().call(request).block(block.into()).await;
        let answer = answer.map_err(|error| self.error(method, error))?;
        C::abi_decode_returns(&answer).map_err(|error| self.nonsense(method, &error.to_string()))
    }

    /// The newest block.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn newest(&self) -> Result<Block, ChainError> {
        let method = "eth_getBlockByNumber";
        let newest = async {
            let newest = self.provider().get_block_by_number(BlockNumberOrTag::Latest).await;
            newest.map_err(|error| self.error(method, error))
        };
        let (newest, ()) = tokio::try_join!(newest, self.is_the_same())?;
        let newest = newest.ok_or_else(|| self.nonsense(method, "there is no newest block"))?;
        Ok(Block {
            number: newest.header.number,
            time_s: newest.header.timestamp,
            gas_limit: newest.header.gas_limit,
            base_fee: newest.header.base_fee_per_gas.unwrap_or(0),
        })
    }

    /// The time of the newest block, in seconds since 1970: the clock that contracts go by.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn now(&self) -> Result<u64, ChainError> {
        Ok(self.newest().await?.time_s)
    }

    /// Goes through the events that fit, from a block on, oldest first.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub(crate) async fn for_each_log(
        &self,
        filter: &Filter,
        first: u64,
        take: impl FnMut(&Log),
    ) -> Result<(), ChainError> {
        let last = self.head().await?;
        self.for_each_log_to(filter, first, last, take).await
    }

    /// The same up to a block.
    ///
    /// # Errors
    /// As those of [`Self::for_each_log`].
    pub(crate) async fn for_each_log_to(
        &self,
        filter: &Filter,
        first: u64,
        last: u64,
        mut take: impl FnMut(&Log),
    ) -> Result<(), ChainError> {
        let (mut from, mut blocks, mut found) = (first, LOG_BLOCKS, 0);
        while from <= last {
            let to = last.min(from.saturating_add(blocks - 1));
            match self.provider().get_logs(&filter.clone().from_block(from).to_block(to)).await {
                Ok(logs) => {
                    found += logs.len();
                    if found > MOST_LOGS {
                        return Err(self.nonsense("eth_getLogs", "there are more events than can be"));
                    }
                    logs.iter().for_each(&mut take);
                    from = to + 1;
                }
                Err(_) if blocks > 1 => blocks = (blocks / 4).max(1),
                Err(error) => return Err(self.error("eth_getLogs", error)),
            }
        }
        Ok(())
    }

    /// The address book that the node tells, as text; none where it is no node of an embedded ledger.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn told_address_book(&self) -> Result<Option<String>, ChainError> {
        let asked = self.provider().raw_request::<_, Value>(Cow::Borrowed(ADDRESS_BOOK_METHOD), ());
        match asked.await {
            Ok(Value::Null) => Ok(None),
            Ok(book) => Ok(Some(book.to_string())),
            Err(RpcError::ErrorResp(error)) if error.code == METHOD_NOT_FOUND => Ok(None),
            Err(error) => Err(self.error(ADDRESS_BOOK_METHOD, error)),
        }
    }
}

/// How many blocks are asked for events at once, at first. Nodes refuse what would give too much, each by a measure of
/// its own; then fewer are asked for.
const LOG_BLOCKS: u64 = 50_000;

/// An account's own events are hundreds. A node that invents more than this would fill the memory.
const MOST_LOGS: usize = 1_000_000;

/// JSON-RPC 2.0.
const METHOD_NOT_FOUND: i64 = -32601;
