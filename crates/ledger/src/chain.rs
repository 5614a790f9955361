//! A connection to a chain's node, or to two of them, and what can go wrong with it.

mod bounded;
mod pair;

use std::{sync::Arc, time::Duration};

use alloy::{
    eips::BlockNumberOrTag,
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, RootProvider},
    rpc::{client::RpcClient, types::TransactionRequest},
    transports::{RpcError, TransportError, TransportErrorKind},
};
use reqwest::{Client, Url, redirect};
use tidemill_types::Coin;

pub use self::pair::Disagreement;
use self::{
    bounded::{AnswerTooLong, Bounded},
    pair::{Node, Pair},
};
use crate::{revert, sender::Receipt};

/// A node of a chain, or two that must answer the same, reached by JSON-RPC over HTTP. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Chain {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    provider: DynProvider,
    /// What errors call the node: the rest of an address often is a password.
    node: String,
    /// The addresses as errors of others repeat them, and what to call each instead.
    urls: Vec<(String, String)>,
    chain_id: u64,
    genesis: B256,
}

/// What is asked of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// Its time, in seconds since 1970.
    pub time_s: u64,
    /// The most gas that its transactions may use together.
    pub gas_limit: u64,
    /// What each unit of gas costs at least, in wei; 0 where the chain has no such fee.
    pub base_fee: u64,
}

/// What can go wrong between here and a chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The address of the node is none.
    #[error("{found:?} is not the address of a node; write it like \"http://127.0.0.1:8545\"")]
    BadUrl {
        /// The text, shortened to 80 characters.
        found: String,
    },
    /// The node is of another chain.
    #[error("{node} is a node of chain {found}, and not of chain {expected}")]
    OtherChain {
        /// The node.
        node: String,
        /// The chain's number there.
        found: u64,
        /// The chain's number that was wanted.
        expected: u64,
    },
    /// The node does not answer, or not in a way that can be understood.
    #[error("{node} does not answer: {reason}")]
    Unreachable {
        /// The node.
        node: String,
        /// What went wrong.
        reason: String,
        /// Whether it may pass.
        passes: bool,
    },
    /// The node answered that it cannot do what was asked.
    #[error("{node} refuses {method}: {message}")]
    Refused {
        /// The node.
        node: String,
        /// What was asked.
        method: &'static str,
        /// What it said.
        message: String,
        /// The reason that a contract gave, as bytes, where a contract refused.
        data: Option<Bytes>,
        /// Whether it may pass.
        passes: bool,
    },
    /// The node's answer makes no sense.
    #[error("{node} answers {method} with nonsense: {reason}")]
    Nonsense {
        /// The node.
        node: String,
        /// What was asked.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Two nodes of the chain say different things, so one of them is wrong.
    #[error(transparent)]
    Disagreement(Box<Disagreement>),
    /// The TLS library cannot be set up: the system has no certificates, for one.
    #[error("cannot set up HTTPS")]
    Tls(#[source] reqwest::Error),
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole request. Nodes give up on long calls sooner.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A hundred blocks a second for three hundred years. A node that names a later one would have us read for ever.
const MOST_BLOCKS: u64 = 1 << 40;

impl Chain {
    /// Connects to a node and asks which chain it is of.
    ///
    /// # Errors
    /// [`ChainError::OtherChain`] where it is not the one expected; others where the node cannot be asked.
    pub async fn connect(url: &str, expected: Option<u64>) -> Result<Self, ChainError> {
        let node = node(url)?;
        let client = RpcClient::new(node.transport.clone(), false);
        let urls = vec![(node.transport.url(), node.name.clone())];
        Self::over(client, node.name, urls, expected).await
    }

    /// The same with two nodes, of which a single one is not believed: whatever matters is asked of both, and they must say
    /// the same.
    ///
    /// # Errors
    /// As those of [`Self::connect`], and [`ChainError::Disagreement`].
    pub async fn connect_to_two(
        first: &str,
        second: &str,
        expected: Option<u64>,
    ) -> Result<Self, ChainError> {
        let (first, second) = (node(first)?, node(second)?);
        let urls =
            [&first, &second].map(|node| (node.transport.url(), node.name.clone())).into_iter().collect();
        let name = format!("{} with {}", first.name, second.name);
        Self::over(RpcClient::new(Pair { first, second }, false), name, urls, expected).await
    }

    async fn over(
        client: RpcClient,
        node: String,
        urls: Vec<(String, String)>,
        expected: Option<u64>,
    ) -> Result<Self, ChainError> {
        let provider = RootProvider::new(client).erased();
        let mut inner = Inner { provider, node, urls, chain_id: 0, genesis: B256::ZERO };
        inner.chain_id = inner.provider.get_chain_id().await.map_err(|e| inner.error("eth_chainId", e))?;
        if let Some(expected) = expected.filter(|expected| *expected != inner.chain_id) {
            return Err(ChainError::OtherChain { node: inner.node, found: inner.chain_id, expected });
        }
        let method = "eth_getBlockByNumber";
        let first = inner.provider.get_block_by_number(BlockNumberOrTag::Number(0)).await;
        let first = first.map_err(|e| inner.error(method, e))?;
        inner.genesis = first.ok_or_else(|| inner.nonsense(method, "there is no block 0"))?.header.hash;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The chain's number, which is in every signature.
    pub fn chain_id(&self) -> u64 {
        self.inner.chain_id
    }

    /// The hash of the chain's first block, which tells it from another one of the same number.
    pub fn genesis(&self) -> B256 {
        self.inner.genesis
    }

    /// What people call the node: its address without what may be secret.
    pub fn node(&self) -> &str {
        &self.inner.node
    }

    /// What calls and contract bindings go through. It signs nothing.
    pub fn provider(&self) -> &DynProvider {
        &self.inner.provider
    }

    /// How much of the chain's coin an account has.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn balance(&self, account: Address) -> Result<Coin, ChainError> {
        let method = "eth_getBalance";
        let wei = self.provider().get_balance(account).await.map_err(|e| self.error(method, e))?;
        coin(wei).ok_or_else(|| self.inner.nonsense(method, "more than there can be"))
    }

    /// The code of a contract; empty where there is none.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn code(&self, address: Address) -> Result<Bytes, ChainError> {
        self.provider().get_code_at(address).await.map_err(|e| self.error("eth_getCode", e))
    }

    /// The number of the newest block.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn head(&self) -> Result<u64, ChainError> {
        let number =
            async { self.provider().get_block_number().await.map_err(|e| self.error("eth_blockNumber", e)) };
        let (number, ()) = tokio::try_join!(number, self.is_the_same())?;
        if number > MOST_BLOCKS {
            return Err(self.nonsense("eth_blockNumber", "there cannot be so many blocks"));
        }
        Ok(number)
    }

    /// Whether the node still is of the chain that it was of: there may be another one behind its address by now.
    pub(crate) async fn is_the_same(&self) -> Result<(), ChainError> {
        let found = self.provider().get_chain_id().await.map_err(|e| self.error("eth_chainId", e))?;
        if found != self.chain_id() {
            let (node, expected) = (self.inner.node.clone(), self.chain_id());
            return Err(ChainError::OtherChain { node, found, expected });
        }
        Ok(())
    }

    /// What a unit of gas costs now.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn gas_price(&self) -> Result<Coin, ChainError> {
        let price = self.provider().get_gas_price().await;
        Ok(Coin::from_wei(price.map_err(|e| self.error("eth_gasPrice", e))?))
    }

    /// The receipt of a transaction that is in a block.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        let receipt = self.provider().get_transaction_receipt(hash).await;
        let receipt = receipt.map_err(|e| self.error("eth_getTransactionReceipt", e))?;
        Ok(receipt.as_ref().and_then(Receipt::read))
    }

    /// Why a call fails, as of the block before the one that it failed in; none where it does not.
    pub(crate) async fn revert_reason(
        &self,
        from: Address,
        to: Option<Address>,
        value: Coin,
        data: Bytes,
        block: u64,
    ) -> Option<String> {
        let mut call = TransactionRequest::default().with_from(from).with_value(U256::from(value.wei()));
        call = call.with_input(data);
        if let Some(to) = to {
            call = call.with_to(to);
        }
        let answer = self.provider().call(call).block(block.saturating_sub(1).into()).await;
        match answer.map_err(|e| self.error("eth_call", e)) {
            Err(ChainError::Refused { message, data, .. }) => Some(revert::reason(&message, data.as_ref())),
            _ => None,
        }
    }

    /// The error of a call to this node.
    pub fn error(&self, method: &'static str, error: TransportError) -> ChainError {
        self.inner.error(method, error)
    }

    /// The error of an answer that makes no sense.
    pub(crate) fn nonsense(&self, method: &'static str, reason: &str) -> ChainError {
        self.inner.nonsense(method, reason)
    }
}

impl Inner {
    fn error(&self, method: &'static str, error: TransportError) -> ChainError {
        let node = self.node.clone();
        match error {
            RpcError::ErrorResp(payload) => ChainError::Refused {
                node,
                method,
                passes: payload.is_retry_err(),
                data: payload.as_revert_data(),
                message: shortened(&payload.message),
            },
            RpcError::Transport(TransportErrorKind::NonRetryable(cause)) => {
                match cause.downcast::<Disagreement>() {
                    Ok(found) => ChainError::Disagreement(found),
                    Err(cause) => match cause.downcast::<AnswerTooLong>() {
                        Ok(too_long) => ChainError::Nonsense { node, method, reason: too_long.to_string() },
                        Err(cause) => {
                            let kind = TransportErrorKind::NonRetryable(cause);
                            ChainError::Unreachable { node, reason: self.say(&kind), passes: false }
                        }
                    },
                }
            }
            RpcError::Transport(kind) => {
                let passes = !kind.is_non_retryable() && kind.as_http_error().is_none_or(passes);
                ChainError::Unreachable { node, reason: self.say(&kind), passes }
            }
            other => ChainError::Nonsense { node, method, reason: shortened(&other.to_string()) },
        }
    }

    fn nonsense(&self, method: &'static str, reason: &str) -> ChainError {
        ChainError::Nonsense { node: self.node.clone(), method, reason: shortened(reason) }
    }

    /// An error with its causes, and without the secret part of the node's address.
    fn say(&self, kind: &TransportErrorKind) -> String {
        let mut text = kind.to_string();
        let mut cause = std::error::Error::source(kind);
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        for (url, name) in &self.urls {
            text = text.replace(url, name);
        }
        shortened(&text)
    }
}

impl ChainError {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { passes: true, .. } | Self::Refused { passes: true, .. })
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { node, .. } => {
                Some(format!("see whether a node runs at {node}, and whether it speaks JSON-RPC over HTTP"))
            }
            Self::OtherChain { .. } => {
                Some("take the address book of that chain, or the address of a node of this one".to_owned())
            }
            Self::Disagreement(_) => Some(
                "one of them is wrong or far behind; ask a third, and name the two that you choose with `tidemill ledger \
                 use URL URL`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// The node at an address.
fn node(url: &str) -> Result<Node, ChainError> {
    let bad_url = || ChainError::BadUrl { found: url.chars().take(80).collect() };
    let parsed: Url = url.parse().map_err(|_| bad_url())?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(bad_url());
    }
    let client = http_client(parsed.scheme() == "https").map_err(ChainError::Tls)?;
    Ok(Node { name: parsed.origin().ascii_serialization(), transport: Bounded::new(client, parsed) })
}

/// The same number of wei as money, unless there cannot be so much.
pub(crate) fn coin(wei: U256) -> Option<Coin> {
    wei.try_into().ok().map(Coin::from_wei)
}

fn passes(error: &alloy::transports::HttpError) -> bool {
    error.status == 429 || error.status >= 500
}

/// What strangers say, cut to what fits a line or two and without what steers a terminal.
fn shortened(text: &str) -> String {
    tidemill_types::one_line(text, 300)
}

fn http_client(is_https: bool) -> Result<Client, reqwest::Error> {
    // The HTTP library comes without cryptography of its own and takes what the process has. Whoever was first
    // counts: an error says that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT);
    // A node that sends a signed transaction elsewhere is none.
    let builder = builder.redirect(redirect::Policy::none());
    // Without HTTPS there is no need for certificates, which bare systems lack.
    let builder = if is_https { builder } else { builder.tls_certs_only([]) };
    builder.build()
}
