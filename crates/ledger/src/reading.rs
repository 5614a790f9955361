//! Questions to a chain that change nothing.

use std::borrow::Cow;

use alloy::{
    eips::BlockNumberOrTag, network::TransactionBuilder, primitives::Address, providers::Provider,
    rpc::types::TransactionRequest, sol_types::SolCall, transports::RpcError,
};
use serde_json::Value;

use crate::{Chain, ChainError};

/// The method by which a node of the embedded ledger tells where the contracts are.
pub const ADDRESS_BOOK_METHOD: &str = "tidemill_addressBook";

impl Chain {
    /// Asks a contract something, as of the newest block.
    ///
    /// # Errors
    /// [`ChainError::Refused`] where the contract refuses, [`ChainError::Nonsense`] where the answer is of another
    /// shape, others where the node cannot be asked.
    pub async fn read<C: SolCall>(&self, contract: Address, call: &C) -> Result<C::Return, ChainError> {
        let method = "eth_call";
        let request = TransactionRequest::default().with_to(contract).with_input(call.abi_encode());
        let answer = self.provider().call(request).await.map_err(|error| self.error(method, error))?;
        C::abi_decode_returns(&answer).map_err(|error| self.answered_nonsense(method, error))
    }

    /// The time of the newest block, in seconds since 1970: the clock that contracts go by.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn now(&self) -> Result<u64, ChainError> {
        let method = "eth_getBlockByNumber";
        let newest = self.provider().get_block_by_number(BlockNumberOrTag::Latest).await;
        let newest = newest.map_err(|error| self.error(method, error))?;
        newest
            .map(|block| block.header.timestamp)
            .ok_or_else(|| self.answered_nonsense(method, "there is no newest block"))
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

    fn answered_nonsense(&self, method: &'static str, reason: impl ToString) -> ChainError {
        ChainError::Nonsense { node: self.node().to_owned(), method, reason: reason.to_string() }
    }
}

/// JSON-RPC 2.0.
const METHOD_NOT_FOUND: i64 = -32601;
