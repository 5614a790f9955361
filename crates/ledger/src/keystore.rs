//! Secret keys of accounts, encrypted with a password, in a directory of their own.
//!
//! An account is a file `NAME.json` in the format "Web3 Secret Storage" version 3, which geth, cast and wallets
//! read and write too. It is made whole under another name and then linked to its own, so that no crash leaves
//! half a key and none is ever overwritten. Keys and passwords are wiped from memory where they are dropped, and
//! shown by no `Debug`.

mod account;
mod file;
mod password;
mod sealing;

use std::{
    fs::{self, DirBuilder},
    io,
    path::{Path, PathBuf},
};

use alloy::primitives::Address;

pub use self::{
    account::{Account, AccountName, NameError, SecretKey, SecretKeyError},
    password::{Password, PasswordError, PasswordSource},
    sealing::{Cost, SealError},
};

/// A directory of accounts.
#[derive(Clone, Debug)]
pub struct Keystore {
    directory: PathBuf,
    cost: Cost,
}

/// An account that is there, whether or not its password is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name in this directory.
    pub name: AccountName,
    /// Its address as the file says, which is proven only by unlocking. Some programs leave it out.
    pub address: Option<Address>,
    /// The file.
    pub path: PathBuf,
}

/// What can go wrong with accounts on disk.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// There is an account of this name.
    #[error("there is an account {name} already ({}); choose another name", path.display())]
    Exists {
        /// The name.
        name: AccountName,
        /// Its file.
        path: PathBuf,
    },
    /// The key is here under another name.
    #[error("the key of {address} is here already, as account {name}")]
    SameKey {
        /// The key's address.
        address: Address,
        /// What it is called.
        name: AccountName,
    },
    /// There is no such account.
    #[error("there is no account {who:?} in {}; there are: {known}", directory.display())]
    Unknown {
        /// The name or address asked for.
        who: String,
        /// Where it was looked for.
        directory: PathBuf,
        /// The names that there are.
        known: String,
    },
    /// The file's key could not be decrypted, or not encrypted.
    #[error("cannot unlock {}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SealError,
    },
    /// The file's key is that of another address than the file says.
    #[error("{} says that it is {said}, but its key is that of {found}: the file was tampered with", path.display())]
    OtherAddress {
        /// The file.
        path: PathBuf,
        /// The address that it says.
        said: Address,
        /// The address of the key in it.
        found: Address,
    },
    /// The file could be read by others.
    #[error("{} is open to others (its mode is {mode:03o}): run chmod 600 on it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system gave no randomness.
    #[error("the system gives no randomness")]
    Random(#[source] io::Error),
    /// A file or the directory could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or the directory could not be made.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

const SUFFIX: &str = ".json";

impl Keystore {
    /// The accounts in this directory, which is made with the first of them.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), cost: Cost::STANDARD }
    }

    /// The same directory, where keys that are put there from now on are this hard to guess passwords of.
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// Where the accounts are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes an account with a fresh key.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`] for a name that is taken; others where the directory cannot be written.
    pub fn create(&self, name: &AccountName, password: &Password) -> Result<Account, KeystoreError> {
        let key = SecretKey::random().map_err(KeystoreError::Random)?;
        self.import(name, &key, password)
    }

    /// Makes an account with a key that exists.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`] for a name that is taken and [`KeystoreError::SameKey`] for a key that is here
    /// under another one; others where the directory cannot be written.
    pub fn import(
        &self,
        name: &AccountName,
        key: &SecretKey,
        password: &Password,
    ) -> Result<Account, KeystoreError> {
        let path = self.path(name);
        if path.symlink_metadata().is_ok() {
            return Err(KeystoreError::Exists { name: name.clone(), path });
        }
        let account = Account::new(name.clone(), key);
        if let Some(entry) = self.list()?.into_iter().find(|entry| entry.address == Some(account.address())) {
            return Err(KeystoreError::SameKey { address: account.address(), name: entry.name });
        }
        let sealed = sealing::seal(key, account.address(), password, self.cost)
            .map_err(|source| KeystoreError::Sealed { path: path.clone(), source })?;
        let write_error = |source| KeystoreError::Write { path: path.clone(), source };
        make_directory(&self.directory).map_err(write_error)?;
        match file::create(&path, sealed.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeystoreError::Exists { name: name.clone(), path })
            }
            done => done.map_err(write_error).map(|()| account),
        }
    }

    /// The accounts that there are, by name. Files that are no accounts are passed over.
    ///
    /// # Errors
    /// [`KeystoreError::Read`] where the directory cannot be read; one that is not there holds no accounts.
    pub fn list(&self) -> Result<Vec<Entry>, KeystoreError> {
        let read_error = |source| KeystoreError::Read { path: self.directory.clone(), source };
        let files = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(read_error)?,
        };
        let mut entries = Vec::new();
        for found in files {
            let found = found.map_err(read_error)?;
            let file_name = found.file_name();
            let name = file_name
                .to_str()
                .and_then(|name| name.strip_suffix(SUFFIX))
                .and_then(|name| name.parse().ok());
            let Some(name) = name else { continue };
            let path = found.path();
            let Ok(text) = file::read(&path) else { continue };
            let Ok(address) = sealing::address(&text) else { continue };
            entries.push(Entry { name, address, path });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The account of this name or address.
    ///
    /// # Errors
    /// [`KeystoreError::Unknown`] names those that there are.
    pub fn find(&self, who: &str) -> Result<Entry, KeystoreError> {
        let entries = self.list()?;
        let address = who.parse::<Address>().ok();
        let is_meant =
            |entry: &&Entry| entry.name.as_str() == who || (address.is_some() && entry.address == address);
        if let Some(entry) = entries.iter().find(is_meant) {
            return Ok(entry.clone());
        }
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        Err(KeystoreError::Unknown {
            who: who.chars().take(80).collect(),
            directory: self.directory.clone(),
            known: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
        })
    }

    /// Decrypts the key of the account of this name or address. Takes the time that makes guessing dear, about a
    /// second: not for a task's thread.
    ///
    /// # Errors
    /// [`KeystoreError::Unknown`] where there is no such account, [`KeystoreError::Sealed`] for a wrong password.
    pub fn unlock(&self, who: &str, password: &Password) -> Result<Account, KeystoreError> {
        let Entry { name, address, path } = self.find(who)?;
        let mode = file::mode(&path).map_err(|source| KeystoreError::Read { path: path.clone(), source })?;
        if mode & 0o077 != 0 {
            return Err(KeystoreError::Open { path, mode });
        }
        let text = file::read(&path).map_err(|source| KeystoreError::Read { path: path.clone(), source })?;
        let key = sealing::open(&text, password)
            .map_err(|source| KeystoreError::Sealed { path: path.clone(), source })?;
        let account = Account::new(name, &key);
        match address {
            Some(said) if said != account.address() => {
                Err(KeystoreError::OtherAddress { path, said, found: account.address() })
            }
            _ => Ok(account),
        }
    }

    fn path(&self, name: &AccountName) -> PathBuf {
        self.directory.join(format!("{name}{SUFFIX}"))
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    // What was made is there after a crash as well.
    tidemill_disk::sync_dir(directory)
}
