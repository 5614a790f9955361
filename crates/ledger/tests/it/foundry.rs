//! Foundry's programs as child processes.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use alloy::{primitives::Address, providers::Provider, signers::local::PrivateKeySigner};
use serde_json::value::RawValue;
use tidemill_ledger::chain::Chain;

/// Anvil's chain number, and the first of its accounts with coin.
pub const CHAIN_ID: u64 = 31337;
const RICH: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// A program of Foundry, from the contracts' folder.
pub fn program(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../contracts/node_modules/@foundry-rs");
    let path = folder.join(format!("{name}-linux-amd64/bin/{name}"));
    assert!(path.exists(), "{} is not there: run \"npm ci\" in contracts/", path.display());
    path
}

/// A chain of its own for each test.
pub struct Anvil {
    child: Child,
    url: String,
}

impl Anvil {
    /// A chain that makes a block for each transaction.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> Self {
        let mut command = Command::new(program("anvil"));
        command.args(["--port", "0", "--host", "127.0.0.1"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("anvil starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = output.lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned));
        let url = format!("http://{}", address.expect("anvil says where it listens"));
        // Anvil would stop at a line that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn chain(&self) -> Chain {
        Chain::connect(&self.url, Some(CHAIN_ID)).await.expect("anvil answers")
    }

    /// Calls a method of anvil's own.
    pub async fn call(&self, method: &'static str, parameters: serde_json::Value) -> serde_json::Value {
        let parameters = RawValue::from_string(parameters.to_string()).expect("it is JSON");
        let answer = self.chain().await.provider().raw_request_dyn(method.into(), &parameters).await;
        serde_json::from_str(answer.expect("anvil knows the method").get()).expect("it is JSON")
    }

    pub async fn mine(&self) {
        self.call("evm_mine", serde_json::json!([])).await;
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It has nothing that anyone needs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An account with coin for gas.
pub fn rich() -> PrivateKeySigner {
    RICH.parse().expect("it is a key")
}

/// Accounts that nobody has used.
pub fn stranger(number: u8) -> Address {
    Address::repeat_byte(number)
}
