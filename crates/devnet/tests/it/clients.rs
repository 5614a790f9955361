//! Clients that we did not write, each with one script against the embedded ledger and against anvil: the answers are
//! the same. The scripts of ethers and viem are in `tests/clients`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::anvil::{self, Anvil};
use crate::node::Node;

/// The key of the first development account.
const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const FIRST: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const SECOND: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const THIRD: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

#[test]
fn ethers_sees_no_difference() {
    same_answers("ethers.mjs");
}

#[test]
fn viem_sees_no_difference() {
    same_answers("viem.mjs");
}

#[test]
fn cast_sees_no_difference() {
    let (node, anvil) = (Node::dev(), Anvil::spawn());
    assert_eq!(cast_script(node.address()), cast_script(anvil.address));
    node.stop();
}

fn same_answers(script: &str) {
    let (node, anvil) = (Node::dev(), Anvil::spawn());
    let (here, there) = (javascript(script, node.address()), javascript(script, anvil.address));
    node.stop();
    assert!(here.as_object().is_some_and(|answers| answers.len() > 10), "{here}");
    assert_eq!(here, there, "{script}: the embedded ledger, then anvil");
}

/// Runs a script on Node.js, with a time limit of its own, and gives what it printed.
fn javascript(script: &str, node: SocketAddr) -> Value {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let (http, socket) = (format!("http://{node}"), format!("ws://{node}"));
    let mut command = Command::new("timeout");
    command.args(["120", "node"]).arg(scripts.join(script)).args([&http, &socket]).arg(contracts());
    serde_json::from_str(&output(&mut command)).unwrap()
}

/// What a person does with cast: deploy, call, send, logs, replacement, revert reasons, state of a block that has passed.
fn cast_script(node: SocketAddr) -> Vec<String> {
    let url = format!("http://{node}");
    let cast =
        |args: &[&str]| output(Command::new(anvil::program("cast")).args(args).args(["--rpc-url", &url]));
    let refused = |args: &[&str]| {
        let ran = Command::new(anvil::program("cast")).args(args).args(["--rpc-url", &url]).output().unwrap();
        assert!(!ran.status.success(), "{args:?}");
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    let signed = |args: &[&str]| {
        // Before the arguments, since what follows `--create` is all the new contract's.
        let options = ["send", "--private-key", KEY, "--json", "--rpc-url", &url];
        let sent = output(Command::new(anvil::program("cast")).args(options).args(args));
        let sent: Value = serde_json::from_str(&sent).unwrap();
        assert_eq!(sent["status"], "0x1", "{sent}");
        sent
    };
    let artifact: Value =
        serde_json::from_str(&std::fs::read_to_string(contracts().join("artifacts/Tide.json")).unwrap())
            .unwrap();
    let first = FIRST;
    let holders = format!("[({first},1000)]");
    let arguments = output(Command::new(anvil::program("cast")).args([
        "abi-encode",
        "constructor(address,(address,uint256)[])",
        first,
        &holders,
    ]));
    let code = format!("{}{}", artifact["bytecode"].as_str().unwrap(), &arguments[2..]);
    let mut answers = vec![cast(&["chain-id"]), cast(&["balance", SECOND]), cast(&["nonce", first])];

    let deployed = signed(&["--create", &code]);
    let token = deployed["contractAddress"].as_str().unwrap().to_owned();
    answers.extend([token.clone(), deployed["gasUsed"].to_string(), cast(&["code", &token])]);
    answers.push(cast(&["call", &token, "totalSupply()(uint256)"]));
    answers.push(cast(&["estimate", "--from", first, &token, "transfer(address,uint256)", SECOND, "7"]));

    let sent = signed(&[&token, "transfer(address,uint256)", SECOND, "7"]);
    answers.extend([sent["gasUsed"].to_string(), sent["logs"][0]["topics"].to_string()]);
    let logs = cast(&[
        "logs",
        "--json",
        "--from-block",
        "0",
        "--address",
        &token,
        "Transfer(address,address,uint256)",
    ]);
    let logs: Value = serde_json::from_str(&logs).unwrap();
    answers.extend(logs.as_array().unwrap().iter().map(|log| format!("{} {}", log["topics"], log["data"])));
    let before =
        u64::from_str_radix(sent["blockNumber"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap() - 1;
    let past = ["call", &token, "balanceOf(address)(uint256)", SECOND, "--block"];
    answers.push(cast(&[&past[..], &[&before.to_string()]].concat()));
    answers.push(cast(&["storage", &token, "2"]));

    // The error's selector and arguments, as cast prints them.
    let too_much = refused(&["call", "--from", first, &token, "transfer(address,uint256)", SECOND, "5000"]);
    assert!(too_much.contains("e450d38c"), "ERC20InsufficientBalance in {too_much}");

    // One that waits for the nonce before it, and gives way to one that pays more.
    let nonce: u64 = cast(&["nonce", first]).parse().unwrap();
    let later = (nonce + 1).to_string();
    let pay = |wei: &str, gwei: &str| {
        cast(&[
            "send",
            "--async",
            "--private-key",
            KEY,
            "--nonce",
            &later,
            "--gas-limit",
            "21000",
            "--value",
            wei,
            "--gas-price",
            gwei,
            "--priority-gas-price",
            gwei,
            THIRD,
        ])
    };
    let given_up = pay("1", "10gwei");
    let taken = pay("3", "20gwei");
    signed(&["--nonce", &nonce.to_string(), "--value", "5", THIRD]);
    let receipt: Value = serde_json::from_str(&cast(&["receipt", "--json", &taken])).unwrap();
    answers.push(receipt["status"].to_string());
    refused(&["receipt", "--async", &given_up]);
    answers.push(cast(&["balance", THIRD]));
    answers
}

fn contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts")
}

fn output(command: &mut Command) -> String {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}
