use std::collections::BTreeMap;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::primitives::{Signature, TxKind};
use proptest::prelude::*;

use super::*;

const COIN: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// A transaction of `sender`; the pool does not look at signatures.
fn tx(sender: u8, nonce: u64, cap: u128, tip: u128) -> Arc<Tx> {
    let unsigned = TxEip1559 {
        chain_id: 1,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: cap,
        max_priority_fee_per_gas: tip,
        to: TxKind::Call(Address::ZERO),
        value: U256::from(sender),
        ..TxEip1559::default()
    };
    let signed = unsigned.into_signed(Signature::test_signature());
    Arc::new(Tx::signed(TxEnvelope::from(signed), Address::with_last_byte(sender)))
}

fn rich(nonce: u64) -> Standing {
    Standing { nonce, balance: COIN }
}

fn order(pool: &Pool, base_fee: u64) -> Vec<(u8, u64)> {
    let best = pool.best(base_fee, u64::MAX);
    best.iter().map(|tx| (tx.sender().0[19], tx.nonce())).collect()
}

#[test]
fn higher_tips_go_first_and_nonces_in_order() {
    let mut pool = Pool::new(PoolLimits::default());
    for tx in [tx(1, 0, 100, 5), tx(1, 1, 100, 50), tx(2, 0, 100, 20), tx(3, 0, 100, 20), tx(4, 1, 100, 90)] {
        pool.add(tx, rich(0), 10).unwrap();
    }
    // The dear one of sender 1 waits behind its cheap one; sender 4's first is missing.
    assert_eq!(order(&pool, 10), [(2, 0), (3, 0), (1, 0), (1, 1)]);
    assert_eq!(pool.next_nonce(&Address::with_last_byte(1), 0), 2);
    assert_eq!(pool.next_nonce(&Address::with_last_byte(4), 0), 0);
    // Of a cap of 100 nothing is left for a tip.
    assert!(pool.waits_for_base_fee(101) && order(&pool, 101).is_empty());
    pool.sanity_check();
}

#[test]
fn a_replacement_offers_a_tenth_more_of_both() {
    let mut pool = Pool::new(PoolLimits::default());
    pool.add(tx(1, 0, 1_000, 100), rich(0), 10).unwrap();
    assert_eq!(pool.add(tx(1, 0, 1_000, 100), rich(0), 10), Err(PoolError::AlreadyKnown));
    for (cap, tip) in [(1_099, 110), (1_100, 109), (2_000, 100), (1_000, 200)] {
        assert_eq!(pool.add(tx(1, 0, cap, tip), rich(0), 10), Err(PoolError::Underpriced), "{cap} {tip}");
    }
    pool.add(tx(1, 0, 1_100, 110), rich(0), 10).unwrap();
    assert_eq!(pool.len(), 1);
    pool.sanity_check();
}

#[test]
fn promises_of_one_sender_are_added_up() {
    let mut pool = Pool::new(PoolLimits::default());
    let standing = Standing { nonce: 0, balance: U256::from(21_000 * 100 + 1) };
    pool.add(tx(1, 0, 100, 1), standing, 10).unwrap();
    let refused = pool.add(tx(1, 1, 100, 1), standing, 10).unwrap_err();
    assert!(refused.to_string().starts_with("insufficient funds for gas * price + value"), "{refused}");
    assert_eq!(pool.add(tx(1, 0, 9, 1), rich(1), 10), Err(PoolError::NonceTooLow { next: 1, nonce: 0 }));
    assert_eq!(pool.add(tx(2, 0, 9, 1), rich(0), 10), Err(PoolError::FeeTooLow { cap: 9, base_fee: 10 }));
}

#[test]
fn a_full_pool_gives_up_the_cheapest() {
    let limits = PoolLimits { total: 3, per_sender: 2, ..PoolLimits::default() };
    let mut pool = Pool::new(limits);
    pool.add(tx(1, 0, 100, 1), rich(0), 10).unwrap();
    pool.add(tx(2, 0, 300, 1), rich(0), 10).unwrap();
    pool.add(tx(3, 7, 900, 1), rich(0), 10).unwrap();
    assert_eq!(pool.add(tx(4, 3, 50, 1), rich(0), 10), Err(PoolError::Full), "it has a gap and is cheap");
    pool.add(tx(4, 0, 50, 1), rich(0), 10).unwrap();
    assert!(pool.get(&tx(3, 7, 900, 1).hash()).is_none(), "the one with the gap goes first");
    assert_eq!(pool.add(tx(5, 0, 50, 1), rich(0), 10), Err(PoolError::Full));
    pool.add(tx(5, 0, 51, 1), rich(0), 10).unwrap();
    assert_eq!(order(&pool, 10).len(), 3);
    pool.sanity_check();
}

#[derive(Clone, Debug)]
enum Step {
    Add {
        sender: u8,
        nonce: u64,
        cap: u128,
        tip: u128,
    },
    /// A block with the first so many of the best.
    Block {
        take: usize,
        base_fee: u64,
    },
    Remove {
        nth: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let add = (1..6u8, 0..8u64, 10..200u128, 0..50u128).prop_map(|(sender, nonce, cap, tip)| Step::Add {
        sender,
        nonce,
        cap,
        tip: tip.min(cap),
    });
    let block = (0..6usize, 5..100u64).prop_map(|(take, base_fee)| Step::Block { take, base_fee });
    let remove = (0..20usize).prop_map(|nth| Step::Remove { nth });
    proptest::collection::vec(prop_oneof![6 => add, 2 => block, 1 => remove], 1..120)
}

proptest! {
    #[test]
    fn a_block_is_always_executable(steps in steps()) {
        let limits = PoolLimits { total: 12, per_sender: 5, bytes: 1_500 };
        let mut pool = Pool::new(limits);
        let mut nonces: BTreeMap<u8, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Add { sender, nonce, cap, tip } => {
                    let account = nonces.get(&sender).copied().unwrap_or(0);
                    let _ = pool.add(tx(sender, nonce, cap, tip), rich(account), 5);
                }
                Step::Block { take, base_fee } => {
                    let mut expected = nonces.clone();
                    let best = pool.best(base_fee, u64::MAX);
                    for tx in &best {
                        let next = expected.entry(tx.sender().0[19]).or_default();
                        prop_assert_eq!(tx.nonce(), *next, "nonces follow each other");
                        prop_assert!(tx.fee_cap() >= u128::from(base_fee));
                        *next += 1;
                    }
                    for tx in best.iter().take(take) {
                        let nonce = nonces.entry(tx.sender().0[19]).or_default();
                        *nonce += 1;
                        pool.advance(&tx.sender(), *nonce);
                        prop_assert!(pool.get(&tx.hash()).is_none());
                    }
                }
                Step::Remove { nth } => {
                    let hash = pool.places.keys().nth(nth).copied();
                    if let Some(hash) = hash {
                        pool.remove(&hash);
                    }
                }
            }
            pool.sanity_check();
        }
    }
}
