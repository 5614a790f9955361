//! Where Tidemill's contracts are on a chain, and how to tell that they are the ones that were put there.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

use alloy::primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};
use tidemill_scratch::Scratch;

use crate::chain::{Chain, ChainError};

/// Tidemill's contracts on one chain. Whoever deploys writes it; whoever else uses them takes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressBook {
    /// The chain's number.
    pub chain_id: u64,
    /// The hash of the chain's first block, which tells it from another one of that number.
    pub genesis: B256,
    /// No event of the contracts is before this block.
    pub deployment_block: u64,
    /// The contracts by their names.
    pub contracts: BTreeMap<String, Contract>,
}

/// A contract that was put on a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Where it is.
    pub address: Address,
    /// The keccak-256 hash of its code there. What a constructor fixes is in the code, so that two deployments differ.
    pub code_hash: B256,
}

/// What is wrong with an address book, or with the chain that it is held against.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The text is no address book.
    #[error("this is no address book")]
    NotABook(#[source] serde_json::Error),
    /// A contract is missing in it.
    #[error("the address book does not name the contract {name}: it is of another version of Tidemill")]
    Unnamed {
        /// Which.
        name: String,
    },
    /// The chain has this number and is another one.
    #[error("this is not the chain of the address book: its first block is {found}, and not {expected}")]
    OtherGenesis {
        /// The chain's.
        found: B256,
        /// The address book's.
        expected: B256,
    },
    /// There is no code.
    #[error("there is no contract {name} at {address}")]
    NoCode {
        /// Which.
        name: String,
        /// Where it should be.
        address: Address,
    },
    /// There is other code.
    #[error(
        "what is at {address} is not the {name} of the address book: its code has the hash {found}, and not {expected}"
    )]
    OtherCode {
        /// Which.
        name: String,
        /// Where it should be.
        address: Address,
        /// The chain's.
        found: B256,
        /// The address book's.
        expected: B256,
    },
    /// The chain could not be asked.
    #[error("the contracts could not be looked at")]
    Chain(#[source] ChainError),
}

impl AddressBook {
    /// Reads what [`AddressBook::to_text`] wrote.
    ///
    /// # Errors
    /// [`BookError::NotABook`]
    pub fn parse(text: &str) -> Result<Self, BookError> {
        serde_json::from_str(text).map_err(BookError::NotABook)
    }

    /// The address book as a file has it: JSON.
    pub fn to_text(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("maps of strings, numbers and hashes have a form in JSON") + "\n"
    }

    /// Writes it to a file: whole, or not at all.
    ///
    /// # Errors
    /// Where the file system does not take it.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let scratch = Scratch::within(directory)?;
        let draft = scratch.path().join("draft");
        let mut file = std::fs::File::create(&draft)?;
        file.write_all(self.to_text().as_bytes())?;
        tidemill_disk::sync_all(&file)?;
        std::fs::rename(&draft, path)?;
        tidemill_disk::sync_dir(directory)
    }

    /// Where a contract is.
    ///
    /// # Errors
    /// [`BookError::Unnamed`]
    pub fn address(&self, name: &str) -> Result<Address, BookError> {
        let contract =
            self.contracts.get(name).ok_or_else(|| BookError::Unnamed { name: name.to_owned() })?;
        Ok(contract.address)
    }

    /// All contracts, by their names.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, Address)> {
        self.contracts.iter().map(|(name, contract)| (name.as_str(), contract.address))
    }

    /// Checks that the chain is the one that is meant, and that each contract's code is what was put there.
    ///
    /// # Errors
    /// [`BookError`] says what differs.
    pub async fn verify(&self, chain: &Chain) -> Result<(), BookError> {
        if chain.chain_id() != self.chain_id {
            let (found, expected) = (chain.chain_id(), self.chain_id);
            return Err(BookError::Chain(ChainError::OtherChain {
                node: chain.node().to_owned(),
                found,
                expected,
            }));
        }
        if chain.genesis() != self.genesis {
            return Err(BookError::OtherGenesis { found: chain.genesis(), expected: self.genesis });
        }
        for (name, contract) in &self.contracts {
            let (name, address) = (name.clone(), contract.address);
            let code = chain.code(address).await.map_err(BookError::Chain)?;
            if code.is_empty() {
                return Err(BookError::NoCode { name, address });
            }
            let (found, expected) = (keccak256(&code), contract.code_hash);
            if found != expected {
                return Err(BookError::OtherCode { name, address, found, expected });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_read_as_it_was_written() {
        let contract = Contract { address: Address::repeat_byte(7), code_hash: B256::repeat_byte(9) };
        let contracts = BTreeMap::from([("Tide".to_owned(), contract)]);
        let book = AddressBook { chain_id: 5, genesis: B256::repeat_byte(1), deployment_block: 3, contracts };
        assert_eq!(AddressBook::parse(&book.to_text()).expect("a book"), book);
        assert_eq!(book.address("Tide").expect("it is named"), contract.address);
        assert!(matches!(book.address("Dao"), Err(BookError::Unnamed { .. })));
        assert!(AddressBook::parse("{}").is_err());
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("book.json");
        book.save(&path).expect("it is written");
        book.save(&path).expect("and again");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), book.to_text());
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1, "no draft is left");
    }
}
