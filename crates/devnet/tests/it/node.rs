//! A ledger in a temporary directory, served on a port that the system gives.

use std::net::SocketAddr;
use std::sync::LazyLock;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::signers::local::PrivateKeySigner;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidemill_devnet::{Genesis, Ledger, Options, ServeOptions, Server, dev_signers};
use tokio::runtime::Runtime;

use crate::http;

/// Begin of all test ledgers' time: it is in the past, so blocks have the wall clock's.
pub const BEGIN: u64 = 1_700_000_000;
pub const LOOPBACK: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0));

pub struct Node {
    pub dir: TempDir,
    pub ledger: Option<Ledger>,
    server: Option<Server>,
    runtime: Runtime,
}

impl Node {
    pub fn dev() -> Node {
        Node::with(Genesis::dev(BEGIN), Options::default(), ServeOptions::default())
    }

    pub fn with(genesis: Genesis, options: Options, serve: ServeOptions) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(dir.path(), genesis, options).unwrap();
        Node::serving(dir, ledger, serve)
    }

    pub fn serving(dir: TempDir, ledger: Ledger, serve: ServeOptions) -> Node {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(ledger.serve(LOOPBACK, serve)).unwrap();
        Node { dir, ledger: Some(ledger), server: Some(server), runtime }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().local_addr()
    }

    /// Stops everything in order, and gives back the directory.
    pub fn stop(mut self) -> TempDir {
        self.runtime.block_on(self.server.take().unwrap().stop());
        self.ledger.take().unwrap().stop().unwrap();
        self.dir
    }

    /// The result of a call that must succeed.
    pub fn ask(&self, method: &str, params: Value) -> Value {
        let answer = http::call(self.address(), method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The code and the message of a call that must fail.
    pub fn refusal(&self, method: &str, params: Value) -> (i64, String) {
        let answer = http::call(self.address(), method, params);
        let error = answer.get("error").unwrap_or_else(|| panic!("{method} succeeded: {answer}"));
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_string())
    }

    pub fn number(&self) -> u64 {
        quantity(&self.ask("eth_blockNumber", json!([])))
    }

    pub fn send(&self, raw: &Bytes) -> B256 {
        serde_json::from_value(self.ask("eth_sendRawTransaction", json!([raw]))).unwrap()
    }

    /// Sends, and waits for the receipt.
    pub fn execute(&self, raw: &Bytes) -> Value {
        self.ask("eth_sendRawTransactionSync", json!([raw]))
    }

    /// Deploys code with the first development account, and says where.
    pub fn deploy(&self, nonce: u64, runtime: &[u8]) -> Address {
        let raw =
            Tx { to: TxKind::Create, input: crate::code::init(runtime), nonce, ..Tx::default() }.sign(0);
        let receipt = self.execute(&raw);
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        serde_json::from_value(receipt["contractAddress"].clone()).unwrap()
    }
}

/// A transaction of EIP-1559 that can be paid.
#[derive(Clone, Debug)]
pub struct Tx {
    pub chain_id: u64,
    pub nonce: u64,
    pub to: TxKind,
    pub value: U256,
    pub input: Bytes,
    pub gas: u64,
    pub cap: u128,
    pub tip: u128,
}

impl Default for Tx {
    fn default() -> Tx {
        Tx {
            chain_id: 31337,
            nonce: 0,
            to: TxKind::Call(Address::repeat_byte(0x11)),
            value: U256::ZERO,
            input: Bytes::new(),
            gas: 1_000_000,
            cap: 10_000_000_000,
            tip: 1_000_000_000,
        }
    }
}

impl Tx {
    /// Signed by one of the development accounts.
    pub fn sign(&self, account: usize) -> Bytes {
        static SIGNERS: LazyLock<Vec<PrivateKeySigner>> = LazyLock::new(dev_signers);
        self.sign_with(&SIGNERS[account])
    }

    pub fn sign_with(&self, signer: &PrivateKeySigner) -> Bytes {
        let mut unsigned = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas,
            max_fee_per_gas: self.cap,
            max_priority_fee_per_gas: self.tip,
            to: self.to,
            value: self.value,
            input: self.input.clone(),
            access_list: Default::default(),
        };
        let signature = signer.sign_transaction_sync(&mut unsigned).unwrap();
        TxEnvelope::from(unsigned.into_signed(signature)).encoded_2718().into()
    }
}

/// A transfer of `wei` by the first development account.
pub fn transfer(nonce: u64, wei: u64) -> Bytes {
    Tx { nonce, value: U256::from(wei), gas: 21_000, ..Tx::default() }.sign(0)
}

pub fn quantity(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no quantity: {value}"));
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}
