//! Accounts that are changed by hand, as development clients ask for it.

use alloy::primitives::{Address, Bytes, U256};
use revm::primitives::KECCAK_EMPTY;

use super::draft::Draft;
use super::execute::{Built, Parent, Rules, begin, prevrandao};
use super::seal::{Sealing, next_base_fee, seal};
use super::world::{NoState, View, bytecode};

/// What an account gets instead of what it has.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Balance(U256),
    Nonce(u64),
    Code(Bytes),
    Slot { slot: U256, value: U256 },
}

impl Edit {
    fn apply(&self, address: Address, draft: &mut Draft) -> Result<(), NoState> {
        let mut account = draft.account(address)?.unwrap_or_default();
        match self {
            Edit::Slot { slot, value } => {
                draft.set_slot(address, *slot, *value);
                return Ok(());
            }
            Edit::Balance(balance) => account.balance = *balance,
            Edit::Nonce(nonce) => account.nonce = *nonce,
            Edit::Code(code) if code.is_empty() => account.code_hash = KECCAK_EMPTY,
            Edit::Code(code) => account.code_hash = draft.add_code(bytecode(code.clone())),
        }
        draft.set_account(address, account);
        Ok(())
    }
}

/// Makes a block without transactions that does nothing but the edit, so that the log, its commitments and the state
/// of the blocks before it are what they are without edits. It has its parent's time: what the next block's was set to
/// is not meant for this one.
pub(crate) fn build_edit(
    rules: &Rules,
    parent: Parent<'_>,
    state: View,
    address: Address,
    edit: &Edit,
) -> Result<Built, NoState> {
    let mut draft = begin(parent, state);
    edit.apply(address, &mut draft)?;
    let changes = draft.into_changes()?;
    let encoded = changes.encode();
    let number = parent.header.number + 1;
    let sealing = Sealing {
        rules,
        parent,
        number,
        timestamp: parent.header.timestamp,
        base_fee: next_base_fee(parent.header),
        mix_hash: prevrandao(parent.hash, number),
        gas_used: 0,
    };
    let block = seal(&sealing, Vec::new(), Vec::new(), &encoded);
    Ok(Built { block, changes, encoded, rejected: Vec::new() })
}
