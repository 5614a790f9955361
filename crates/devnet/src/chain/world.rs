//! The state at the recent blocks, shared by the maker of blocks and all who read.
//!
//! Every key holds its values through the recent blocks ([`Versions`]), in maps behind many small locks. A
//! [`View`] is a height: it sees what was written at or below it, whatever is written meanwhile, so a long
//! `eth_call` and the making of a block do not wait for each other, and a view of an old block costs nothing.
//! What falls out of the window is forgotten; a view under the floor answers [`NoState`].

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use alloy::eips::eip2935::{HISTORY_SERVE_WINDOW, HISTORY_STORAGE_ADDRESS};
use alloy::primitives::map::{B256Map, DefaultHashBuilder, HashMap};
use alloy::primitives::{Address, B256, U256};
use revm::database_interface::DBErrorMarker;
use revm::primitives::KECCAK_EMPTY;
use revm::state::Bytecode;

use super::changes::{Account, Changes};
use super::versions::Versions;

/// Locks per map: enough that threads seldom meet, few enough to walk through.
const SHARDS: usize = 64;

/// Superseded values kept at most, whatever the window says: about 100 bytes each, so some 400 MB at worst.
const MAX_SUPERSEDED: usize = 4_000_000;

/// The state at this block is not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("state at block {height} is not kept: only that of blocks {floor} and later is")]
pub struct NoState {
    /// What was asked for.
    pub height: u64,
    /// The oldest block whose state is kept.
    pub floor: u64,
}

impl DBErrorMarker for NoState {}

/// All accounts, slots and codes.
pub(crate) struct World {
    accounts: Shards<Address, Option<Account>>,
    slots: Shards<(Address, U256), U256>,
    codes: RwLock<B256Map<Bytecode>>,
    /// The lowest height that views may have.
    floor: AtomicU64,
    recent: Mutex<Recent>,
    window: u64,
}

/// Which keys the recent blocks wrote, so that pruning need not walk through everything.
#[derive(Debug, Default)]
struct Recent {
    written: VecDeque<Written>,
    count: usize,
    /// A snapshot is being written of this height: it must not be forgotten meanwhile.
    pinned: Option<u64>,
    /// Somebody may want to go back to this height.
    held: Option<u64>,
}

/// The keys that one block wrote.
#[derive(Debug)]
struct Written {
    height: u64,
    accounts: Vec<Address>,
    slots: Vec<(Address, U256)>,
    codes: Vec<B256>,
}

impl World {
    /// An empty state that keeps views of the last `window` blocks.
    pub(crate) fn new(window: u64) -> World {
        World {
            accounts: Shards::new(),
            slots: Shards::new(),
            codes: RwLock::default(),
            floor: AtomicU64::new(0),
            recent: Mutex::default(),
            window,
        }
    }

    /// A state as it was at `height`, and no earlier.
    pub(crate) fn at(window: u64, height: u64, state: &Changes) -> World {
        let world = World::new(window);
        world.floor.store(height, Ordering::SeqCst);
        world.write(height, state);
        world
    }

    /// Writes a block's changes. Views at lower heights do not see them.
    pub(crate) fn apply(&self, height: u64, changes: &Changes) {
        self.write(height, changes);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let accounts = changes.accounts.keys().copied().collect();
        let slots = changes.slots.keys().copied().collect();
        let codes = changes.codes.keys().copied().collect();
        recent.written.push_back(Written { height, accounts, slots, codes });
        recent.count += changes.len();
        self.prune(&mut recent, height);
    }

    pub(crate) fn view(self: &Arc<World>, height: u64) -> View {
        View { world: self.clone(), height }
    }

    /// The oldest height that can be viewed.
    pub(crate) fn floor(&self) -> u64 {
        self.floor.load(Ordering::SeqCst)
    }

    /// Keeps the state at `height` until [`World::unpin`]. Only one height at a time.
    pub(crate) fn pin(&self, height: u64) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).pinned = Some(height);
    }

    pub(crate) fn unpin(&self) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).pinned = None;
    }

    /// Keeps the states from `height` on, whatever the window says, until this is called again.
    pub(crate) fn hold(&self, height: Option<u64>) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).held = height;
    }

    /// Undoes what was written above `height`, which must not be below the floor. A view above it that is being read
    /// meanwhile sees some of both: a call that began before the cut may be wrong.
    pub(crate) fn cut(&self, height: u64) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(last) = recent.written.pop_back_if(|last| last.height > height) {
            recent.count -= last.accounts.len() + last.slots.len();
            last.accounts.iter().for_each(|address| self.accounts.cut(height, address));
            last.slots.iter().for_each(|key| self.slots.cut(height, key));
            let mut codes = self.codes.write().unwrap_or_else(PoisonError::into_inner);
            // The log will not have them: who brings such code again has to write it down again.
            last.codes.iter().for_each(|hash| {
                codes.remove(hash);
            });
        }
    }

    /// Everything that the state held at `height`.
    pub(crate) fn dump(&self, height: u64) -> Result<Changes, NoState> {
        let mut all = Changes::default();
        self.accounts.each(height, |address, account| {
            if account.is_some() {
                all.accounts.insert(*address, account);
            }
        });
        self.slots.each(height, |key, value| {
            if !value.is_zero() {
                all.slots.insert(*key, value);
            }
        });
        let codes = self.codes.read().unwrap_or_else(PoisonError::into_inner);
        for account in all.accounts.values().flatten() {
            if let Some(code) = codes.get(&account.code_hash) {
                all.codes.insert(account.code_hash, code.original_bytes());
            }
        }
        self.check(height)?;
        Ok(all)
    }

    fn write(&self, height: u64, changes: &Changes) {
        if !changes.codes.is_empty() {
            let mut codes = self.codes.write().unwrap_or_else(PoisonError::into_inner);
            for (hash, code) in &changes.codes {
                codes.entry(*hash).or_insert_with(|| bytecode(code.clone()));
            }
        }
        for (address, account) in &changes.accounts {
            self.accounts.write(height, *address, *account);
        }
        for (key, value) in &changes.slots {
            self.slots.write(height, *key, *value);
        }
    }

    fn prune(&self, recent: &mut Recent, head: u64) {
        loop {
            let Some(height) = recent.written.front().map(|written| written.height) else { return };
            let due = height.saturating_add(self.window) <= head || recent.count > MAX_SUPERSEDED;
            let is_needed = recent.pinned.iter().chain(&recent.held).any(|needed| *needed < height);
            if !due || height >= head || is_needed {
                return;
            }
            // First the floor, then the values: who reads a value and then finds the floor where it was, has
            // read what was there.
            self.floor.store(height.max(self.floor()), Ordering::SeqCst);
            let Some(Written { height, accounts, slots, .. }) = recent.written.pop_front() else { return };
            recent.count -= accounts.len() + slots.len();
            for address in accounts {
                self.accounts.prune(height, &address);
            }
            for key in slots {
                self.slots.prune(height, &key);
            }
        }
    }

    fn check(&self, height: u64) -> Result<(), NoState> {
        let floor = self.floor();
        if height < floor { Err(NoState { height, floor }) } else { Ok(()) }
    }
}

/// The state after the block of one height.
#[derive(Clone, Debug)]
pub(crate) struct View {
    world: Arc<World>,
    height: u64,
}

impl View {
    pub(crate) fn account(&self, address: Address) -> Result<Option<Account>, NoState> {
        let account = self.world.accounts.at(self.height, &address);
        self.world.check(self.height)?;
        Ok(account)
    }

    pub(crate) fn slot(&self, address: Address, slot: U256) -> Result<U256, NoState> {
        let value = self.world.slots.at(self.height, &(address, slot));
        self.world.check(self.height)?;
        Ok(value)
    }

    /// Code is found by its hash whatever the height: it never changes.
    pub(crate) fn code(&self, hash: B256) -> Bytecode {
        if hash == KECCAK_EMPTY || hash.is_zero() {
            return Bytecode::default();
        }
        let codes = self.world.codes.read().unwrap_or_else(PoisonError::into_inner);
        codes.get(&hash).cloned().unwrap_or_default()
    }

    /// Whether the state has code of this hash.
    pub(crate) fn knows_code(&self, hash: &B256) -> bool {
        self.world.codes.read().unwrap_or_else(PoisonError::into_inner).contains_key(hash)
    }

    /// The hash of an earlier block, where EIP-2935 keeps it.
    pub(crate) fn block_hash(&self, number: u64) -> Result<B256, NoState> {
        Ok(B256::from(self.slot(HISTORY_STORAGE_ADDRESS, history_slot(number))?))
    }
}

/// Where EIP-2935's contract keeps the hash of block `number`.
pub(crate) fn history_slot(number: u64) -> U256 {
    U256::from(number % HISTORY_SERVE_WINDOW as u64)
}

/// Code as it is executed. What the chain accepted once is either a delegation of EIP-7702 or ordinary code.
pub(crate) fn bytecode(code: alloy::primitives::Bytes) -> Bytecode {
    Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code))
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("floor", &self.floor())
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// A map behind many locks.
struct Shards<K, V> {
    hasher: DefaultHashBuilder,
    maps: Vec<RwLock<HashMap<K, Versions<V>>>>,
}

impl<K: Hash + Eq, V: Clone + Default + PartialEq> Shards<K, V> {
    fn new() -> Shards<K, V> {
        let maps = (0..SHARDS).map(|_| RwLock::default()).collect();
        Shards { hasher: DefaultHashBuilder::default(), maps }
    }

    fn shard(&self, key: &K) -> &RwLock<HashMap<K, Versions<V>>> {
        // The low bits choose the bucket within a map, the high ones the map.
        &self.maps[(self.hasher.hash_one(key) >> 48) as usize % SHARDS]
    }

    fn at(&self, height: u64, key: &K) -> V {
        let map = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        map.get(key).map(|versions| versions.at(height)).unwrap_or_default()
    }

    fn write(&self, height: u64, key: K, value: V) {
        let mut map = self.shard(&key).write().unwrap_or_else(PoisonError::into_inner);
        match map.get_mut(&key) {
            Some(versions) => versions.push(height, value),
            None => {
                map.insert(key, Versions::new(height, value));
            }
        }
    }

    fn prune(&self, floor: u64, key: &K) {
        let mut map = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        if map.get_mut(key).is_some_and(|versions| versions.prune(floor)) {
            map.remove(key);
        }
    }

    fn cut(&self, height: u64, key: &K) {
        let mut map = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        if map.get_mut(key).is_some_and(|versions| versions.cut(height)) {
            map.remove(key);
        }
    }

    fn each(&self, height: u64, mut take: impl FnMut(&K, V)) {
        for map in &self.maps {
            let map = map.read().unwrap_or_else(PoisonError::into_inner);
            for (key, versions) in map.iter() {
                take(key, versions.at(height));
            }
        }
    }
}
