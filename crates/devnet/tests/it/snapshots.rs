//! Snapshots of the state, and what is done without them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tidemill_devnet::{Genesis, Ledger, Options, Recovery, ServeOptions, dev_addresses};

use crate::node::{BEGIN, Node, transfer};

const OPTIONS: fn() -> Options = || Options { snapshot_every: 10, history_blocks: 5, ..Options::default() };

fn snapshots(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(dir.join("snapshots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one_and_at_last_to_the_log() {
    let node = Node::with(Genesis::dev(BEGIN), OPTIONS(), ServeOptions::default());
    for nonce in 0..47 {
        node.execute(&transfer(nonce, nonce + 1));
    }
    let account = dev_addresses()[0];
    let balance = node.ask("eth_getBalance", json!([account, "latest"]));
    let before = node.ask("eth_getBalance", json!([account, "0x2b"]));
    let mut dir = node.stop();
    assert_eq!(snapshots(dir.path()).len(), 3, "the newest three are kept");

    let reopen = |dir: tempfile::TempDir| -> (Recovery, tempfile::TempDir) {
        let (ledger, recovery) = Ledger::open(dir.path(), OPTIONS()).unwrap();
        let node = Node::serving(dir, ledger, ServeOptions::default());
        assert_eq!(node.ask("eth_getBalance", json!([account, "latest"])), balance);
        assert_eq!(node.ask("eth_getBalance", json!([account, "0x2b"])), before, "history is there again");
        (recovery, node.stop())
    };
    let (recovery, back) = reopen(dir);
    dir = back;
    // Blocks 10, 20, 30 and 40 had snapshots (a slow one may have put off the next); the head is 47.
    let mut used = recovery.snapshot.unwrap();
    assert!(used > 20 && recovery.replayed == 47 - used, "{recovery:?}");
    for (damaged, path) in snapshots(dir.path()).into_iter().rev().enumerate() {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (recovery, back) = reopen(dir);
        dir = back;
        assert_eq!(recovery.damaged_snapshots.len(), damaged + 1);
        assert!(recovery.snapshot.is_none_or(|older| older < used), "{recovery:?}");
        used = recovery.snapshot.unwrap_or(0);
    }
    assert_eq!(used, 0, "without any, the log is applied from the beginning");
    fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
    let (recovery, _dir) = reopen(dir);
    assert_eq!((recovery.snapshot, recovery.replayed), (None, 48));
}
