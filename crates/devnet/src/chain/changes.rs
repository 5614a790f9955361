//! What a block did to the state, and the commitment to it.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use revm::primitives::KECCAK_EMPTY;
use revm::state::AccountInfo;

use super::codec::{CodecError, Put, Reader};

/// An account without its code and its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub nonce: u64,
    pub balance: U256,
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Account {
        Account { nonce: 0, balance: U256::ZERO, code_hash: KECCAK_EMPTY }
    }
}

impl Account {
    pub(crate) fn info(&self) -> AccountInfo {
        AccountInfo {
            balance: self.balance,
            nonce: self.nonce,
            code_hash: self.code_hash,
            account_id: None,
            code: None,
        }
    }

    pub(crate) fn of(info: &AccountInfo) -> Account {
        let code_hash = if info.code_hash.is_zero() { KECCAK_EMPTY } else { info.code_hash };
        Account { nonce: info.nonce, balance: info.balance, code_hash }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Account::default()
    }
}

/// The state's difference between a block and its parent: the values after the block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// `None`: the account is no more.
    pub accounts: BTreeMap<Address, Option<Account>>,
    pub slots: BTreeMap<(Address, U256), U256>,
    /// Code that the state did not hold before.
    pub codes: BTreeMap<B256, Bytes>,
}

impl Changes {
    pub(crate) fn len(&self) -> usize {
        self.accounts.len() + self.slots.len()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let code: usize = self.codes.values().map(|code| code.len() + 4).sum();
        let mut out = Vec::with_capacity(12 + self.accounts.len() * 93 + self.slots.len() * 84 + code);
        put_count(&mut out, self.accounts.len());
        for (address, account) in &self.accounts {
            out.fixed(address.as_slice());
            out.u8(u8::from(account.is_some()));
            if let Some(account) = account {
                put_account(&mut out, account);
            }
        }
        put_count(&mut out, self.slots.len());
        for ((address, slot), value) in &self.slots {
            out.fixed(address.as_slice());
            out.u256(*slot);
            out.u256(*value);
        }
        put_count(&mut out, self.codes.len());
        for code in self.codes.values() {
            out.bytes(code);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Changes, CodecError> {
        let mut reader = Reader::new(bytes);
        let mut changes = Changes::default();
        for _ in 0..reader.count(21)? {
            let address = reader.address()?;
            let account = if reader.flag()? { Some(read_account(&mut reader)?) } else { None };
            changes.accounts.insert(address, account);
        }
        for _ in 0..reader.count(84)? {
            let key = (reader.address()?, reader.u256()?);
            changes.slots.insert(key, reader.u256()?);
        }
        for _ in 0..reader.count(4)? {
            let code = reader.owned()?;
            changes.codes.insert(keccak256(&code), code);
        }
        reader.end()?;
        Ok(changes)
    }
}

pub(crate) fn put_account(out: &mut Vec<u8>, account: &Account) {
    out.u64(account.nonce);
    out.u256(account.balance);
    out.fixed(account.code_hash.as_slice());
}

pub(crate) fn read_account(reader: &mut Reader<'_>) -> Result<Account, CodecError> {
    Ok(Account { nonce: reader.u64()?, balance: reader.u256()?, code_hash: reader.b256()? })
}

/// The `stateRoot` after `changes` (encoded) on top of a state with the commitment `parent`.
pub(crate) fn commitment(parent: B256, changes: &[u8]) -> B256 {
    let mut both = [0u8; 64];
    both[..32].copy_from_slice(parent.as_slice());
    both[32..].copy_from_slice(keccak256(changes).as_slice());
    keccak256(both)
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.u32(u32::try_from(count).expect("the gas of one block pays for far fewer than 2^32 changes"));
}
