//! A chain in a few lines, with a node that forgets, and a process on it that is killed.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use alloy::primitives::keccak256;

use super::super::*;

pub(super) const ME: Address = Address::repeat_byte(0xaa);
/// Where transactions of ours go; the amount tells which one.
pub(super) const THEM: Address = Address::repeat_byte(0xbb);

/// Signatures that are only the transaction itself.
pub(super) struct Plain;

impl Sign for Plain {
    fn account(&self) -> Address {
        ME
    }

    fn sign(&self, unsigned: &Unsigned) -> (B256, Bytes) {
        let Unsigned { nonce, to, value, data, gas_limit, fees } = unsigned;
        let raw =
            postcard::to_allocvec(&(nonce, to, value, data, gas_limit, fees)).expect("writing to memory");
        (keccak256(&raw), raw.into())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tx {
    pub(super) hash: B256,
    pub(super) nonce: u64,
    pub(super) to: Option<Address>,
    pub(super) value: Coin,
    pub(super) fees: Fees,
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    hash: B256,
    pub(super) transactions: Vec<Tx>,
}

/// The chain, and the node's pool.
pub(super) struct Network {
    pub(super) blocks: Vec<Block>,
    pub(super) pool: BTreeMap<u64, Tx>,
    pub(super) base_fee: u128,
    pub(super) remembers_users: bool,
    made: u64,
}

impl Network {
    pub(super) fn new() -> Self {
        let first = Block { hash: B256::ZERO, transactions: Vec::new() };
        Self { blocks: vec![first], pool: BTreeMap::new(), base_fee: 10, remembers_users: true, made: 0 }
    }

    pub(super) fn head(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    pub(super) fn mined(&self) -> impl Iterator<Item = (u64, &Tx)> {
        let numbered = self.blocks.iter().enumerate();
        numbered.flat_map(|(number, block)| block.transactions.iter().map(move |tx| (number as u64, tx)))
    }

    pub(super) fn nonce_at(&self, block: u64) -> u64 {
        self.mined().filter(|(number, _)| *number <= block).count() as u64
    }

    pub(super) fn latest_nonce(&self) -> u64 {
        self.nonce_at(self.head())
    }

    fn pending_nonce(&self) -> u64 {
        let mut nonce = self.latest_nonce();
        while self.pool.contains_key(&nonce) {
            nonce += 1;
        }
        nonce
    }

    pub(super) fn send(&mut self, raw: &[u8]) -> Answer {
        let (nonce, to, value, _data, _gas, fees): (u64, Option<Address>, Coin, Bytes, u64, Fees) =
            postcard::from_bytes(raw).expect("Plain wrote it");
        self.insert(Tx { hash: keccak256(raw), nonce, to, value, fees })
    }

    pub(super) fn insert(&mut self, tx: Tx) -> Answer {
        if tx.nonce < self.latest_nonce() {
            return Answer::NonceUsed;
        }
        match self.pool.get(&tx.nonce) {
            Some(old) if old.hash == tx.hash => return Answer::Taken,
            Some(old) if tx.fees.cap() * 10 < old.fees.cap() * 11 => return Answer::Underpriced,
            _ => {}
        }
        self.pool.insert(tx.nonce, tx);
        Answer::Taken
    }

    /// Someone else with the key sends at the next free nonce, or in place of ours.
    pub(super) fn send_foreign(&mut self, replacing: bool) {
        let nonce = if replacing { self.latest_nonce() } else { self.pending_nonce() };
        self.made += 1;
        let hash = keccak256(self.made.to_be_bytes());
        let fees = Fees::Dynamic { tip: 1, cap: 1 << 60 };
        let tx = Tx { hash, nonce, to: Some(ME), value: Coin::from_wei(7), fees };
        if nonce >= self.latest_nonce() {
            self.pool.insert(nonce, tx);
        }
    }

    pub(super) fn mine(&mut self) {
        let mut transactions = Vec::new();
        let mut nonce = self.latest_nonce();
        while let Some(tx) = self.pool.get(&nonce).filter(|tx| tx.fees.cap() >= self.base_fee) {
            transactions.push(tx.clone());
            self.pool.remove(&nonce);
            nonce += 1;
        }
        self.made += 1;
        self.blocks.push(Block { hash: keccak256(self.made.to_be_bytes()), transactions });
    }

    /// The newest blocks disappear, and as many empty ones and one more take their place. Their transactions return
    /// to the pool, or do not.
    pub(super) fn reorg(&mut self, depth: u64, keeps: bool) {
        let depth = depth.min(self.head());
        for _ in 0..depth {
            let block = self.blocks.pop().expect("the first stays");
            if keeps {
                self.pool.extend(block.transactions.into_iter().map(|tx| (tx.nonce, tx)));
            }
        }
        for _ in 0..=depth {
            self.made += 1;
            self.blocks.push(Block { hash: keccak256(self.made.to_be_bytes()), transactions: Vec::new() });
        }
    }

    fn receipt(&self, hash: B256) -> Option<Receipt> {
        let (number, _) = self.mined().find(|(_, tx)| tx.hash == hash)?;
        let block_hash = self.blocks[number as usize].hash;
        let (gas_used, gas_price, contract, success) = (21_000, 1, None, true);
        Some(Receipt { hash, block_number: number, block_hash, success, gas_used, gas_price, contract })
    }
}

/// A sender that can be killed: what is durable, and what is not.
pub(super) struct Process {
    pub(super) network: Network,
    pub(super) settings: Settings,
    pub(super) disk: Book,
    pub(super) book: Book,
    pub(super) memory: Memory,
    pub(super) events: Vec<Event>,
    /// For so many looks the node knows no receipts.
    pub(super) late_receipts: u32,
    now: Duration,
}

impl Process {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            network: Network::new(),
            settings,
            disk: Book::default(),
            book: Book::default(),
            memory: Memory::default(),
            events: Vec::new(),
            late_receipts: 0,
            now: Duration::ZERO,
        }
    }

    pub(super) fn submit(&mut self, wei: u128) -> TxId {
        let id = TxId(self.book.next_id);
        let intent = Intent {
            to: Some(THEM),
            value: Coin::from_wei(wei),
            data: Bytes::new(),
            gas_limit: Some(TRANSFER_GAS),
            label: format!("pay {wei}"),
            key: None,
        };
        self.commit(&[Change::Put(Box::new(Entry { id, intent, is_filler: false, state: State::Queued }))]);
        id
    }

    pub(super) fn cancel(&mut self, id: TxId) {
        let change = give_up(&self.book, id, DropReason::Cancelled);
        self.commit(&change.into_iter().collect::<Vec<_>>());
    }

    pub(super) fn seen(&mut self) -> Seen {
        self.now += Duration::from_secs(4);
        let is_late = self.late_receipts > 0;
        self.late_receipts = self.late_receipts.saturating_sub(1);
        let network = &self.network;
        let settled = (network.head() + 1).saturating_sub(self.settings.confirmations);
        let (latest_nonce, settled_nonce) = (network.latest_nonce(), network.nonce_at(settled));
        let questions = questions(&self.book, latest_nonce, settled_nonce);
        let user = |nonce: u64| match network.mined().nth(nonce as usize) {
            Some((_, tx)) if network.remembers_users => User::Found(tx.hash),
            _ => User::Unknown,
        };
        let receipt = |hash: B256| network.receipt(hash).filter(|_| !is_late);
        Seen {
            head: network.head(),
            now: self.now,
            latest_nonce,
            pending_nonce: network.pending_nonce(),
            settled_nonce,
            quote: Quote::dynamic(network.base_fee, &[1], &self.settings),
            receipts: questions.receipts.iter().map(|hash| (*hash, receipt(*hash))).collect(),
            gas: questions.estimates.iter().map(|id| (*id, Gas::Needed(50_000))).collect(),
            users: questions.users.iter().map(|(nonce, _)| (*nonce, user(*nonce))).collect::<HashMap<_, _>>(),
        }
    }

    /// Looks at the chain and does what follows; is killed after so many steps, if that many there are.
    pub(super) fn round(&mut self, killed_after: Option<usize>) -> Vec<Step> {
        let seen = self.seen();
        let steps = next_steps(&self.book, &mut self.memory, &seen, &self.settings, &Plain);
        for (done, step) in steps.iter().enumerate() {
            if killed_after == Some(done) {
                self.restart();
                break;
            }
            match step.clone() {
                Step::Commit(changes) => self.commit(&changes),
                Step::Tell(event) => self.events.push(event),
                Step::Broadcast { id, hash, raw } => {
                    let on_disk = self.disk.sent().iter().any(|(_, slot)| slot.last().hash == hash);
                    assert!(on_disk, "nothing is broadcast that is not durable");
                    let answer = self.network.send(&raw);
                    self.memory.answered(id, hash, &answer, &seen);
                }
            }
        }
        steps
    }

    pub(super) fn restart(&mut self) {
        self.book = self.disk.clone();
        self.memory = Memory::default();
    }

    /// How often a payment is in the chain.
    pub(super) fn payments(&self, wei: u128) -> usize {
        let paid = |tx: &Tx| tx.to == Some(THEM) && tx.value.wei() == wei;
        self.network.mined().filter(|(_, tx)| paid(tx)).count()
    }

    /// What must hold of the book at any time.
    pub(super) fn sanity_check(&self) {
        assert_eq!(self.book, self.disk);
        let mut nonces = std::collections::BTreeSet::new();
        for entry in self.book.entries.values() {
            if let State::Sent(slot) | State::Mined(slot, _) | State::Final(slot, _) = &entry.state {
                assert!(nonces.insert(slot.nonce), "two transactions have nonce {}", slot.nonce);
                assert!(slot.nonce < self.book.next_nonce);
                let fees = slot.variants.iter().map(|variant| variant.fees.cap());
                assert!(fees.clone().max() <= Some(self.settings.max_fee_per_gas.wei()));
                assert!(fees.is_sorted_by(|a, b| a < b), "replacements pay more");
            }
        }
    }

    fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            self.disk.apply(change);
            self.book.apply(change);
        }
    }
}
