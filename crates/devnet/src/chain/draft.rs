//! A state in the making: a view with changes on top, which a block in execution or a call writes.

use alloy::primitives::map::{AddressMap, AddressSet, B256Map, HashMap};
use alloy::primitives::{Address, B256, Bytes, U256};
use revm::state::{Account as Touched, AccountInfo, Bytecode};
use revm::{Database, DatabaseCommit};

use super::changes::{Account, Changes};
use super::world::{NoState, View};

/// What revm executes on.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    base: View,
    accounts: AddressMap<Option<Account>>,
    slots: HashMap<(Address, U256), U256>,
    codes: B256Map<Bytecode>,
    /// Accounts whose storage in the view does not count: a call may replace all of it.
    replaced: AddressSet,
}

impl Draft {
    pub(crate) fn new(base: View) -> Draft {
        Draft {
            base,
            accounts: AddressMap::default(),
            slots: HashMap::default(),
            codes: B256Map::default(),
            replaced: AddressSet::default(),
        }
    }

    /// The view with the changes of a block that is not there.
    pub(crate) fn with(base: View, changes: &Changes) -> Draft {
        let mut draft = Draft::new(base);
        draft.accounts.extend(changes.accounts.iter().map(|(address, account)| (*address, *account)));
        draft.slots.extend(changes.slots.iter().map(|(slot, value)| (*slot, *value)));
        let code = |(hash, code): (&B256, &Bytes)| (*hash, Bytecode::new_raw(code.clone()));
        draft.codes.extend(changes.codes.iter().map(code));
        draft
    }

    /// The code with this hash; empty code for an unknown hash.
    pub(crate) fn code(&self, hash: B256) -> Bytecode {
        self.codes.get(&hash).cloned().unwrap_or_else(|| self.base.code(hash))
    }

    pub(crate) fn slot(&self, address: Address, slot: U256) -> Result<U256, NoState> {
        match self.slots.get(&(address, slot)) {
            Some(value) => Ok(*value),
            None if self.replaced.contains(&address) => Ok(U256::ZERO),
            None => self.base.slot(address, slot),
        }
    }

    pub(crate) fn account(&self, address: Address) -> Result<Option<Account>, NoState> {
        match self.accounts.get(&address) {
            Some(account) => Ok(*account),
            None => self.base.account(address),
        }
    }

    /// EIP-161 holds here too: an account that is empty is no account.
    pub(crate) fn set_account(&mut self, address: Address, account: Account) {
        self.accounts.insert(address, (!account.is_empty()).then_some(account));
    }

    pub(crate) fn set_slot(&mut self, address: Address, slot: U256, value: U256) {
        self.slots.insert((address, slot), value);
    }

    /// Adds code, to be referred to by its hash.
    pub(crate) fn add_code(&mut self, code: Bytecode) -> B256 {
        let hash = code.hash_slow();
        self.codes.insert(hash, code);
        hash
    }

    pub(crate) fn forget_storage(&mut self, address: Address) {
        self.replaced.insert(address);
    }

    /// What differs from the view.
    pub(crate) fn into_changes(self) -> Result<Changes, NoState> {
        let mut changes = Changes::default();
        for (address, account) in self.accounts {
            if self.base.account(address)? != account {
                changes.accounts.insert(address, account);
            }
        }
        for ((address, slot), value) in self.slots {
            if self.base.slot(address, slot)? != value {
                changes.slots.insert((address, slot), value);
            }
        }
        for (hash, code) in self.codes {
            // Code that no account ended up with (its creator reverted later in the block) is not kept.
            let known = self.base.knows_code(&hash);
            if !known && changes.accounts.values().flatten().any(|account| account.code_hash == hash) {
                changes.codes.insert(hash, code.original_bytes());
            }
        }
        Ok(changes)
    }
}

impl Database for Draft {
    type Error = NoState;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, NoState> {
        Ok(self.account(address)?.map(|account| account.info()))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, NoState> {
        Ok(self.code(hash))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, NoState> {
        self.slot(address, slot)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, NoState> {
        use alloy::eips::eip2935::HISTORY_STORAGE_ADDRESS;
        let slot = super::world::history_slot(number);
        match self.slots.get(&(HISTORY_STORAGE_ADDRESS, slot)) {
            Some(hash) => Ok(B256::from(*hash)),
            None => self.base.block_hash(number),
        }
    }
}

impl DatabaseCommit for Draft {
    fn commit(&mut self, touched: AddressMap<Touched>) {
        for (address, account) in touched {
            if !account.is_touched() {
                continue;
            }
            // Since EIP-6780 only an account made in the same transaction can go, and it has no slots yet.
            if account.is_selfdestructed() {
                self.accounts.insert(address, None);
                continue;
            }
            let info = Account::of(&account.info);
            if let Some(code) = account.info.code.filter(|code| !code.is_empty()) {
                self.codes.entry(info.code_hash).or_insert(code);
            }
            // EIP-161: an account that is touched and empty is no account.
            self.accounts.insert(address, (!info.is_empty()).then_some(info));
            for (slot, value) in account.storage {
                if value.is_changed() {
                    self.slots.insert((address, slot), value.present_value);
                }
            }
        }
    }
}
