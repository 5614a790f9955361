//! The chain as a function: the same transactions make the same blocks, and views are what they were.

use std::sync::Arc;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, TxKind, U256};
use proptest::prelude::*;

use super::*;
use crate::dev::dev_signers;
use crate::genesis::Genesis;

/// What happens in one block: who pays whom how much, with which gas.
type Payment = (usize, u8, u64, bool);

struct Chain {
    world: Arc<World>,
    blocks: Vec<(Block, Vec<u8>)>,
    nonces: [u64; 10],
}

impl Chain {
    fn new(window: u64) -> Chain {
        let (block, changes) = genesis_block(&Genesis::dev(1_000));
        let world = Arc::new(World::new(window));
        world.apply(0, &changes);
        Chain { world, blocks: vec![(block, changes.encode())], nonces: [0; 10] }
    }

    fn head(&self) -> &Block {
        &self.blocks.last().expect("there is block 0").0
    }

    fn make(&mut self, payments: &[Payment]) {
        let signers = dev_signers();
        let mut txs = Vec::new();
        for (from, to, wei, is_creation) in payments {
            let mut tx = TxEip1559 {
                chain_id: 31337,
                nonce: self.nonces[*from],
                gas_limit: 100_000,
                max_fee_per_gas: 10_000_000_000,
                max_priority_fee_per_gas: 1,
                to: if *is_creation { TxKind::Create } else { TxKind::Call(Address::with_last_byte(*to)) },
                value: U256::from(*wei),
                // Stores its value's place in the list of blocks, and returns nothing.
                input: if *is_creation { vec![0x34, 0x43, 0x55].into() } else { Default::default() },
                ..TxEip1559::default()
            };
            let signature = signers[*from].sign_transaction_sync(&mut tx).expect("a local key signs");
            let envelope = TxEnvelope::from(tx.into_signed(signature));
            txs.push(Arc::new(Tx::signed(envelope, signers[*from].address())));
            self.nonces[*from] += 1;
        }
        self.extend(txs);
    }

    fn extend(&mut self, txs: Vec<Arc<Tx>>) {
        let rules = Genesis::dev(1_000).rules();
        let head = self.head();
        let (number, parent) = (head.number(), Parent { header: &head.header, hash: head.hash });
        let timestamp = head.header.timestamp + number % 3;
        let built =
            build_block(&rules, parent, self.world.view(number), timestamp, txs).expect("the head is kept");
        assert!(built.rejected.is_empty());
        self.world.apply(built.block.number(), &built.changes);
        self.blocks.push((built.block, built.encoded));
    }
}

fn blocks() -> impl Strategy<Value = Vec<Vec<Payment>>> {
    let payment = (0..10usize, 1..12u8, 0..1_000_000u64, proptest::bool::weighted(0.2));
    proptest::collection::vec(proptest::collection::vec(payment, 0..6), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn replayed_blocks_are_the_same(blocks in blocks()) {
        let mut chain = Chain::new(1_000);
        blocks.iter().for_each(|payments| chain.make(payments));
        // From the log's records alone: executed anew, and applied from their changes.
        let mut executed = Chain::new(1_000);
        let applied = Arc::new(World::new(1_000));
        let mut root = None;
        for (block, changes) in &chain.blocks {
            let payload = block.encode(changes);
            let decoded = Block::decode(&payload).expect("what was written can be read");
            prop_assert_eq!(&decoded, block);
            if decoded.number() > 0 {
                executed.extend(decoded.txs.clone());
                prop_assert_eq!(executed.head(), block, "with its commitment, roots and hash");
            }
            let summary = Summary::decode(&payload).expect("what was written can be read");
            prop_assert_eq!(summary.hash, block.hash);
            prop_assert!(root.is_none_or(|root| summary.commits_to(root)));
            root = Some(summary.header.state_root);
            applied.apply(block.number(), &summary.changes().expect("what was written can be read"));
        }
        let head = chain.head().number();
        prop_assert_eq!(applied.dump(head), chain.world.dump(head));
        prop_assert_eq!(executed.world.dump(head), chain.world.dump(head));
    }

    #[test]
    fn a_view_never_changes_and_money_only_burns(blocks in blocks()) {
        let mut chain = Chain::new(4);
        let mut then = vec![chain.world.dump(0).expect("the head is kept")];
        for payments in &blocks {
            chain.make(payments);
            then.push(chain.world.dump(chain.head().number()).expect("the head is kept"));
        }
        let head = chain.head().number();
        for number in 0..=head {
            let now = chain.world.dump(number);
            if number + 4 > head {
                prop_assert_eq!(now.as_ref().expect("within the window"), &then[number as usize]);
            }
            prop_assert_eq!(now.is_err(), number < chain.world.floor());
        }
        let sum = |state: &Changes| state.accounts.values().flatten().fold(U256::ZERO, |sum, account| sum + account.balance);
        let burned = chain.blocks.iter().fold(U256::ZERO, |sum, (block, _)| {
            sum + U256::from(block.base_fee()) * U256::from(block.header.gas_used)
        });
        prop_assert_eq!(sum(&then[head as usize]) + burned, sum(&then[0]));
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = (Block::decode(&bytes).is_ok(), Summary::decode(&bytes).is_ok(), Changes::decode(&bytes).is_ok());
        let _ = Tx::decode(bytes.into(), 31337, 30_000_000);
    }
}
