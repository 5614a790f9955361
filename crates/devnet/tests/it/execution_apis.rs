//! The public tests of JSON-RPC, `ethereum/execution-apis`, where there is a copy of them.
//!
//! They were recorded on one chain, whose blocks only its authors could make. The ledger here begins with the accounts
//! of that chain and has as many blocks, which are empty. So an answer is compared by its kind: a result or an error of
//! the same code, with the same fields, and with values of the same forms.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alloy::primitives::{B256, Bytes, U64, U256};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_devnet::{Genesis, GenesisAccount, Mining, Options, ServeOptions};

use crate::http::post;
use crate::node::{BEGIN, Node, quantity};

/// Where the copy is: a checkout of the repository.
const VARIABLE: &str = "TIDEMILL_EXECUTION_APIS";

/// Methods that the ledger does not have, by their beginning. `docs/ledger.md` lists them.
const ABSENT: [&str; 10] = [
    "address_",
    "admin_",
    "debug_",
    "engine_",
    "eth_capabilities",
    "eth_config",
    "eth_getStorageValues",
    "eth_simulateV1",
    "testing_",
    "txpool_",
];

/// What is answered otherwise, by the beginning of the test's name. `docs/ledger.md` lists what of it is on purpose.
const DEVIATIONS: [(&str, &str); 9] = [
    ("eth_getProof/", "the ledger keeps no Merkle trie"),
    ("eth_estimateGas/estimate-with-eip4844", "the ledger takes no blobs"),
    ("eth_sendRawTransaction/send-blob-tx", "the ledger takes no blobs"),
    ("eth_call/call-revert-abi-", "a block of the recorded chain makes the contract"),
    ("eth_createAccessList/create-al-abi-revert", "a block of the recorded chain makes the contract"),
    ("eth_estimateGas/estimate-call-abi-error", "a block of the recorded chain makes the contract"),
    ("eth_estimateGas/estimate-failed-call", "a block of the recorded chain makes the contract"),
    ("eth_getBalance/get-balance-blockhash", "the block is of the recorded chain"),
    ("eth_getLogs/filter-with-blockHash", "the block is of the recorded chain"),
];

#[test]
fn the_public_tests_are_answered_alike() {
    let Some(folder) = std::env::var_os(VARIABLE) else {
        eprintln!("skipped: set {VARIABLE} to a checkout of ethereum/execution-apis");
        return;
    };
    let folder = Path::new(&folder).join("tests");
    let exchanges = exchanges(&folder);
    let head = exchanges.iter().find(|exchange| exchange.name.starts_with("eth_blockNumber/"));
    let head = quantity(&head.expect("a test that says how many blocks there are").expected["result"]);
    let options = Options { mining: Mining::Never, ..Options::default() };
    let node = Node::with(genesis(&folder), options, ServeOptions::default());
    node.ask("anvil_mine", json!([head]));

    let mut failures = Vec::new();
    let mut compared = 0;
    for Exchange { name, request, expected } in &exchanges {
        let (status, answer) = post(node.address(), &[], request);
        assert_eq!(status, 200, "{name}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let found = difference(request, expected, &answer);
        if let Some(method) = ABSENT.iter().find(|method| name.starts_with(**method)) {
            // Tests of these methods ask others too, about what theirs have done.
            let is_theirs = request.contains(&format!("\"method\":\"{method}"));
            if is_theirs && answer["error"]["code"] != -32601 {
                failures.push(format!("{name}: the method is there: {answer}"));
            }
            continue;
        }
        let deviation = DEVIATIONS.iter().find(|(beginning, _)| name.starts_with(beginning));
        match (deviation, found) {
            (Some(_), Some(_)) | (None, None) => compared += 1,
            (Some((_, reason)), None) => failures.push(format!("{name}: no deviation any more ({reason})")),
            (None, Some(why)) => failures.push(format!("{name}: {why}")),
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), exchanges.len(), failures.join("\n"));
    assert!(compared > 50, "{compared} of {} tests are of methods that are there", exchanges.len());
    eprintln!("{compared} answers compared");
    node.stop();
}

/// One request with the answer that was recorded.
struct Exchange {
    /// Of the test: its method, a slash, its file.
    name: String,
    request: String,
    expected: Value,
}

/// All that `tests/*/*.io` hold, in the order of their names.
fn exchanges(folder: &Path) -> Vec<Exchange> {
    let mut found = Vec::new();
    for file in list(folder).into_iter().filter(|path| path.is_dir()).flat_map(|path| list(&path)) {
        if file.extension().is_none_or(|extension| extension != "io") {
            continue;
        }
        let name = file.strip_prefix(folder).unwrap().with_extension("").display().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        for pair in lines.windows(2) {
            let sides = (pair[0].strip_prefix(">> "), pair[1].strip_prefix("<< "));
            let (Some(request), Some(expected)) = sides else { continue };
            let expected = serde_json::from_str(expected).unwrap_or_else(|error| panic!("{name}: {error}"));
            found.push(Exchange { name: name.clone(), request: request.to_string(), expected });
        }
    }
    found
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The accounts and the chain id of `tests/genesis.json`, with the controls of a development ledger.
fn genesis(folder: &Path) -> Genesis {
    #[derive(Deserialize)]
    struct Recorded {
        config: Config,
        alloc: BTreeMap<String, Account>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        chain_id: u64,
    }
    #[derive(Deserialize)]
    struct Account {
        balance: U256,
        #[serde(default)]
        nonce: U64,
        #[serde(default)]
        code: Bytes,
        #[serde(default)]
        storage: BTreeMap<U256, U256>,
    }
    let text = std::fs::read_to_string(folder.join("genesis.json")).unwrap();
    let recorded: Recorded = serde_json::from_str(&text).unwrap();
    let mut genesis = Genesis { dev: true, ..Genesis::new(recorded.config.chain_id, BEGIN) };
    for (address, account) in recorded.alloc {
        let Account { balance, nonce, code, storage } = account;
        let storage = storage.into_iter().map(|(slot, value)| (B256::from(slot), B256::from(value)));
        let account = GenesisAccount { balance, nonce: nonce.to(), code, storage: storage.collect() };
        genesis.alloc.insert(address.parse().unwrap(), account);
    }
    genesis
}

/// How an answer differs in kind from the recorded one.
fn difference(request: &str, expected: &Value, answer: &Value) -> Option<String> {
    if (&expected["jsonrpc"], &expected["id"]) != (&answer["jsonrpc"], &answer["id"]) {
        return Some(format!("the envelope is {answer}"));
    }
    match (expected.get("error"), answer.get("error")) {
        (Some(expected), Some(error)) => {
            let (expected, code) = (&expected["code"], &error["code"]);
            (expected != code).then(|| format!("the code is {code}, not {expected}"))
        }
        (Some(expected), None) => Some(format!("{} instead of the error {expected}", answer["result"])),
        (None, Some(error)) => Some(format!("the error {error}")),
        (None, None) => match (&expected["result"], &answer["result"]) {
            (Value::Null, Value::Null) => None,
            // What a hash or a place of the recorded chain names is not on this one.
            (_, Value::Null) if names_a_hash(request) || request.contains("ByBlockNumberAndIndex") => None,
            (Value::Null, result) | (_, result @ Value::Null) => Some(format!("the result is {result}")),
            (expected, result) => shape(expected, result),
        },
    }
}

/// How two values differ in form. What is not there on one of two chains has no form.
fn shape(expected: &Value, value: &Value) -> Option<String> {
    match (expected, value) {
        (Value::Object(expected), Value::Object(value)) => {
            expected.iter().find_map(|(key, expected)| match value.get(key) {
                Some(value) => shape(expected, value).map(|why| format!("{key}: {why}")),
                None => Some(format!("{key} is missing")),
            })
        }
        (Value::Array(expected), Value::Array(value)) => shape(expected.first()?, value.first()?),
        (Value::String(expected), Value::String(value)) if expected.starts_with("0x") => {
            // Addresses, hashes, blooms: all else has no length of its own.
            let is_sized = [42, 66, 514].contains(&expected.len());
            let is_alike = value.starts_with("0x") && (!is_sized || value.len() == expected.len());
            (!is_alike).then(|| format!("{value} instead of something like {expected}"))
        }
        (Value::Null, _) | (_, Value::Null) => None,
        (expected, value) => {
            let is_alike = std::mem::discriminant(expected) == std::mem::discriminant(value);
            (!is_alike).then(|| format!("{value} instead of something like {expected}"))
        }
    }
}

fn names_a_hash(request: &str) -> bool {
    request.split('"').any(|text| text.starts_with("0x") && text.len() == 66)
}

#[test]
fn differences_in_kind_are_found() {
    let answer = |result: Value| json!({"jsonrpc": "2.0", "id": 1, "result": result});
    let failure = |code: i32| json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "m"}});
    let differs = |expected: &Value, found: &Value| difference("{}", expected, found).is_some();
    let (hash, other) = (format!("0x{}", "1".repeat(64)), format!("0x{}", "2".repeat(64)));
    for (expected, found, is_other) in [
        (json!("0x1"), json!("0x22"), false),
        (json!("0x1"), json!(1), true),
        (json!(hash), json!(other), false),
        (json!(hash), json!("0x1"), true),
        (json!(null), json!("0x1"), true),
        (json!("0x1"), json!(null), true),
        (json!({"a": "0x1", "b": [{"c": true}]}), json!({"a": "0x2", "b": [{"c": false}], "d": 1}), false),
        (json!({"a": "0x1", "b": [{"c": true}]}), json!({"a": "0x1", "b": [{"c": "0x1"}]}), true),
        (json!({"a": "0x1"}), json!({}), true),
    ] {
        assert_eq!(
            differs(&answer(expected.clone()), &answer(found.clone())),
            is_other,
            "{expected} {found}"
        );
    }
    assert!(differs(&failure(3), &answer(json!("0x"))) && differs(&answer(json!("0x")), &failure(3)));
    assert!(differs(&failure(3), &failure(-32000)) && !differs(&failure(3), &failure(3)));
    let request = format!(r#"{{"params":["{hash}"]}}"#);
    assert_eq!(difference(&request, &answer(json!({})), &answer(json!(null))), None);
}
