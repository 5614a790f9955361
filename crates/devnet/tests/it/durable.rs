//! What is on the disk, through crashes and damage.

use std::fs;
use std::path::Path;

use alloy::primitives::{Address, B256, Bytes, U256};
use serde_json::json;
use tempfile::TempDir;
use tidemill_devnet::{
    CreateError, DiskError, Genesis, GenesisError, Ledger, OpenError, Options, ServeOptions, dev_addresses,
    draw_chain_id,
};

use crate::code;
use crate::node::{BEGIN, Node, Tx, transfer};

/// A ledger with a few blocks in which everything happens.
fn some_ledger() -> (TempDir, u64) {
    let node = Node::dev();
    let contract = node.deploy(0, &code::store());
    let input: Bytes = [B256::repeat_byte(1), B256::repeat_byte(2)].concat().into();
    for nonce in 1..4 {
        node.execute(&Tx { nonce, to: contract.into(), input: input.clone(), ..Tx::default() }.sign(0));
    }
    let head = node.number();
    (node.stop(), head)
}

fn open(dir: &Path) -> Result<(Ledger, tidemill_devnet::Recovery), OpenError> {
    Ledger::open(dir, Options::default())
}

/// Where each record of the log ends.
fn ends(log: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    while *ends.last().unwrap() < log.len() {
        let at = *ends.last().unwrap();
        let length = u32::from_le_bytes(log[at + 4..at + 8].try_into().unwrap()) as usize;
        ends.push(at + 40 + length);
    }
    ends
}

#[test]
fn everything_can_be_asked_for_after_a_restart() {
    let node = Node::dev();
    let contract = node.deploy(0, &code::store());
    let input: Bytes = [B256::repeat_byte(1), B256::repeat_byte(2)].concat().into();
    let receipt = node.execute(&Tx { nonce: 1, to: contract.into(), input, ..Tx::default() }.sign(0));
    let questions = [
        ("eth_getBlockByNumber", json!(["0x0", true])),
        ("eth_getBlockByNumber", json!(["0x1", true])),
        ("eth_getBlockByHash", json!([receipt["blockHash"], true])),
        ("eth_getTransactionByHash", json!([receipt["transactionHash"]])),
        ("eth_getTransactionReceipt", json!([receipt["transactionHash"]])),
        ("eth_getLogs", json!([{"fromBlock": "0x0"}])),
        ("eth_getBalance", json!([dev_addresses()[0], "latest"])),
        ("eth_getCode", json!([contract, "latest"])),
        ("eth_call", json!([{"to": contract}, "latest"])),
        ("eth_getStorageAt", json!([contract, "0x0", "0x1"])),
        ("eth_feeHistory", json!(["0x3", "latest", [50.0]])),
    ];
    let before: Vec<_> = questions.iter().map(|(method, params)| node.ask(method, params.clone())).collect();
    let dir = node.stop();
    let (ledger, recovery) = open(dir.path()).unwrap();
    assert_eq!((recovery.dropped_bytes, recovery.head, recovery.snapshot), (0, ledger.head(), None));
    let node = Node::serving(dir, ledger, ServeOptions::default());
    for ((method, params), before) in questions.iter().zip(before) {
        assert_eq!(node.ask(method, params.clone()), before, "{method}");
    }
    assert_eq!(node.execute(&transfer(2, 1))["status"], "0x1", "and it goes on");
    node.stop();
}

#[test]
fn cut_at_any_byte_it_goes_on_at_its_last_whole_block() {
    let (dir, head) = some_ledger();
    let log = dir.path().join("blocks.log");
    let whole = fs::read(&log).unwrap();
    let ends = ends(&whole);
    assert_eq!(ends.len() as u64, head + 2, "every block has a record");
    // Every byte of the last two records.
    for length in ends[ends.len() - 3]..whole.len() {
        fs::write(&log, &whole[..length]).unwrap();
        let (ledger, recovery) = open(dir.path()).unwrap();
        let last = ends.iter().rposition(|end| *end <= length).unwrap();
        assert_eq!(ledger.head().number, last as u64 - 1, "cut at {length}");
        assert_eq!(recovery.dropped_bytes as usize, length - ends[last]);
        ledger.stop().unwrap();
        assert_eq!(fs::metadata(&log).unwrap().len() as usize, ends[last]);
    }
    let (ledger, _) = open(dir.path()).unwrap();
    let node = Node::serving(dir, ledger, ServeOptions::default());
    assert_eq!(node.execute(&transfer(head - 1, 1))["status"], "0x1");
    node.stop();
}

#[test]
fn a_damaged_block_before_whole_ones_is_refused() {
    let (dir, head) = some_ledger();
    let log = dir.path().join("blocks.log");
    let whole = fs::read(&log).unwrap();
    let ends = ends(&whole);
    let last_but_one = ends[ends.len() - 3];
    for at in last_but_one..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&log, &damaged).unwrap();
        match open(dir.path()) {
            Ok((ledger, recovery)) => {
                assert!(at >= ends[ends.len() - 2], "byte {at} was passed over");
                assert_eq!(ledger.head().number, head - 1);
                assert!(recovery.dropped_bytes > 0);
            }
            Err(OpenError::Disk(DiskError::Corrupt { path, offset, block })) => {
                assert!(at < ends[ends.len() - 2], "byte {at} is of the last record");
                assert_eq!((path, offset as usize, block), (log.clone(), last_but_one, head - 1));
                assert_eq!(fs::read(&log).unwrap(), damaged, "nothing was changed");
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
}

#[test]
fn only_one_process_has_a_ledger() {
    let (dir, _) = some_ledger();
    let (ledger, _) = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::InUse(_))));
    drop(ledger);
    open(dir.path()).unwrap();
}

#[test]
fn a_ledger_is_made_wholly_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Absent(_))));
    // What is left when the making is interrupted before it counts.
    fs::write(dir.path().join("blocks.new"), b"half of a").unwrap();
    fs::write(dir.path().join("ledger.json.tmp"), b"{").unwrap();
    assert!(!Ledger::exists(dir.path()));
    Ledger::create(dir.path(), Genesis::dev(BEGIN), Options::default()).unwrap().stop().unwrap();
    // And what is left right after it counts.
    fs::rename(dir.path().join("blocks.log"), dir.path().join("blocks.new")).unwrap();
    let (ledger, _) = open(dir.path()).unwrap();
    assert_eq!(ledger.chain_id(), 31337);
    drop(ledger);

    let again = Ledger::create(dir.path(), Genesis::dev(BEGIN), Options::default());
    assert!(matches!(again, Err(CreateError::AlreadyExists(_))));
    fs::remove_file(dir.path().join("ledger.json")).unwrap();
    let remains = Ledger::create(dir.path(), Genesis::dev(BEGIN), Options::default());
    assert!(matches!(remains, Err(CreateError::Remains(_))), "its blocks are not overwritten");
}

#[test]
fn another_chain_id_is_refused() {
    let (dir, _) = some_ledger();
    let options = Options { chain_id: Some(1), ..Options::default() };
    let refused = Ledger::open(dir.path(), options);
    assert!(matches!(refused, Err(OpenError::WrongChain { found: 31337, expected: 1, .. })));
    let (one, another) = (draw_chain_id(), draw_chain_id());
    assert_ne!(one, another);
}

#[test]
fn the_genesis_deploys_or_the_ledger_is_not_made() {
    let chain_id = draw_chain_id();
    let coins = U256::from(10).pow(U256::from(18));
    let genesis = Genesis::new(chain_id, BEGIN).fund(dev_addresses()[0], coins);
    let deploy = |nonce, runtime: Vec<u8>| {
        let to = alloy::primitives::TxKind::Create;
        Tx { chain_id, nonce, to, input: code::init(&runtime), ..Tx::default() }.sign(0)
    };
    let make = |transactions: Vec<Bytes>| {
        let dir = tempfile::tempdir().unwrap();
        let made =
            Ledger::create(dir.path(), Genesis { transactions, ..genesis.clone() }, Options::default());
        (dir, made)
    };
    let (_dir, made) = make(vec![deploy(0, code::store()), deploy(1, code::echo_revert())]);
    let ledger = made.unwrap();
    assert_eq!((ledger.head().number, ledger.head().timestamp), (1, BEGIN));
    assert_eq!(ledger.chain_id(), chain_id);

    let failing = Tx {
        chain_id,
        input: Bytes::from_static(&[0xfe]),
        to: alloy::primitives::TxKind::Create,
        ..Tx::default()
    };
    let of = |made: Result<Ledger, CreateError>| match made {
        Err(CreateError::Genesis(error)) => error,
        other => panic!("{other:?}"),
    };
    let (dir, made) = make(vec![deploy(0, code::store()), Tx { nonce: 1, ..failing }.sign(0)]);
    assert_eq!(of(made), GenesisError::Failed { index: 1 });
    assert!(!Ledger::exists(dir.path()));
    assert!(matches!(of(make(vec![deploy(1, code::store())]).1), GenesisError::LeftOut { index: 0, .. }));
    let foreign = Tx { chain_id: 1, ..Tx::default() }.sign(0);
    assert!(matches!(of(make(vec![foreign]).1), GenesisError::Transaction { index: 0, .. }));
    let poor = Tx { chain_id, to: Address::ZERO.into(), ..Tx::default() }.sign(1);
    assert!(matches!(of(make(vec![poor]).1), GenesisError::LeftOut { index: 0, .. }));
}
