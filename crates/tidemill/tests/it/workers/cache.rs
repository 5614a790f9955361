//! Code in the cache that nobody should trust.

use std::fs;

use tidemill_types::{Failure, TrapKind};

use super::{Pool, pool, task, task_of};
use crate::puppet::{echo, puppet};

/// A pool that has compiled the puppet, and what is in its cache then.
fn prepared() -> (Pool, Vec<u8>) {
    let pool = pool();
    assert_eq!(pool.prepare(puppet()), Ok(false));
    let entry = fs::read(pool.entry()).expect("the entry");
    (pool, entry)
}

/// Changes the entry with the puppet's code. It must be compiled again, give what it always gives, and
/// be as good as new for the next.
fn survives(what: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let (pool, entry) = prepared();
    let mut other = entry.clone();
    change(&mut other);
    fs::write(pool.entry(), other).expect("a write");
    let pool = pool.renewed();
    assert_eq!(pool.stdout(&["quick", what]), echo(&["quick", what]), "{what}");
    assert!(fs::read(pool.entry()).expect("the entry") == entry, "{what}: it is not repaired");
    let pool = pool.renewed();
    assert_eq!(pool.prepare(puppet()), Ok(true), "{what}");
    assert_eq!(pool.stdout(&["quick", what]), echo(&["quick", what]), "{what}");
    assert_eq!(pool.workers().len(), 1, "{what}: it was compiled once more");
}

#[test]
fn code_is_compiled_once() {
    let (pool, entry) = prepared();
    let pool = pool.renewed();
    assert_eq!(pool.prepare(puppet()), Ok(true));
    assert_eq!(pool.stdout(&["quick"]), echo(&["quick"]));
    assert_eq!(fs::read(pool.entry()).expect("the entry"), entry);
}

#[test]
fn an_entry_with_a_changed_byte_is_not_run() {
    let (_, entry) = prepared();
    for place in [0, 31, 32, entry.len() / 2, entry.len() - 1] {
        survives(&format!("byte {place}"), |entry| entry[place] ^= 1);
    }
}

#[test]
fn an_entry_that_is_cut_short_or_too_long_is_not_run() {
    let (_, entry) = prepared();
    for len in [0, 10, 32, entry.len() / 2, entry.len() - 1] {
        survives(&format!("length {len}"), |entry| entry.truncate(len));
    }
    survives("one byte more", |entry| entry.push(0));
}

#[test]
fn the_entry_of_another_program_is_not_run() {
    let (pool, _) = prepared();
    let path = pool.entry();
    // Another behaviour under the same arguments: its code must never answer for the puppet.
    let trap = r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;
    let trap = wat::parse_str(trap).expect("well formed");
    assert_eq!(pool.prepare(&trap), Ok(false));
    let other = pool.entries().into_iter().find(|entry| *entry != path).expect("another entry");
    fs::copy(&other, &path).expect("a copy");
    let pool = pool.renewed();
    assert_eq!(pool.stdout(&["quick"]), echo(&["quick"]));
    assert_eq!(
        trap_kind(pool.failure(&task_of(&trap, &["quick"]))),
        TrapKind::Unreachable,
        "the other one still answers for itself"
    );
}

fn trap_kind(failure: Failure) -> TrapKind {
    match failure {
        Failure::Trap { kind, .. } => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_entry_of_another_host_is_not_run() {
    let (_, foreign) = prepared();
    survives("foreign", |entry| {
        assert_ne!(entry[..32], foreign[..32], "two hosts drew the same key");
        *entry = foreign;
    });
}

#[test]
fn an_entry_that_is_a_directory_is_the_hosts_trouble() {
    let (pool, _) = prepared();
    let path = pool.entry();
    fs::remove_file(&path).expect("the entry");
    fs::create_dir(&path).expect("a directory");
    let pool = pool.renewed();
    let failure = pool.failure(&task(&["quick"]));
    assert!(matches!(failure, Failure::Host { .. }), "{failure:?}");
    pool.sanity_check_that_it_goes_on();
}
