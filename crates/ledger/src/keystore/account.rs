//! An unlocked account, its name, and its secret.

use std::{fmt, io, str::FromStr};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use data_encoding::HEXLOWER_PERMISSIVE;
use zeroize::Zeroizing;

/// What a person calls an account: 1 to 32 letters, digits, dots, dashes or underscores, of which the first is a
/// letter or digit. It is a file's name too, so it distinguishes no upper case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountName(String);

/// A text that is no account's name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{found:?} cannot name an account: a name has 1 to 32 of a-z, 0-9, '.', '-' and '_', begins with a letter or \
     digit, and does not look like an address"
)]
pub struct NameError {
    /// The text, shortened to 80 characters.
    pub found: String,
}

/// The 32 bytes that sign for an account. Wiped when dropped.
pub struct SecretKey(Zeroizing<[u8; 32]>);

/// A text that is no secret key. It does not repeat the text, which may be nearly one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is not a secret key: it must be 64 hexadecimal digits, with or without 0x before them")]
pub struct SecretKeyError;

/// An account whose key is in memory. `Debug` shows its name and address alone.
#[derive(Clone)]
pub struct Account {
    name: AccountName,
    signer: PrivateKeySigner,
}

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = (1..=32).contains(&text.len())
            && text.starts_with(is_plain)
            && !text.starts_with("0x")
            && text.chars().all(|c| is_plain(c) || matches!(c, '.' | '-' | '_'));
        match fits {
            true => Ok(Self(text.to_owned())),
            false => Err(NameError { found: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl SecretKey {
    /// A fresh key.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn random() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(bytes.as_mut_slice())?;
            // Of random bytes one in 2^128 is no key.
            if let Ok(key) = Self::from_bytes(&bytes) {
                return Ok(key);
            }
        }
    }

    /// The key of these bytes.
    ///
    /// # Errors
    /// [`SecretKeyError`] for zero and for numbers not below the order of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SecretKeyError> {
        PrivateKeySigner::from_slice(bytes).map_err(|_| SecretKeyError)?;
        Ok(Self(Zeroizing::new(*bytes)))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn signer(&self) -> PrivateKeySigner {
        PrivateKeySigner::from_slice(self.bytes()).expect("it was a key when it was made")
    }
}

impl FromStr for SecretKey {
    type Err = SecretKeyError;

    /// Reads hexadecimal digits, as key files and wallets give them; space around them is no harm.
    fn from_str(text: &str) -> Result<Self, SecretKeyError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut bytes = Zeroizing::new([0; 32]);
        if digits.len() != 64 {
            return Err(SecretKeyError);
        }
        HEXLOWER_PERMISSIVE
            .decode_mut(digits.as_bytes(), bytes.as_mut_slice())
            .map_err(|_| SecretKeyError)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl Account {
    pub(super) fn new(name: AccountName, key: &SecretKey) -> Self {
        Self { name, signer: key.signer() }
    }

    /// What it is called here.
    pub fn name(&self) -> &AccountName {
        &self.name
    }

    /// What it is called on every chain.
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// What signs for it.
    pub fn signer(&self) -> &PrivateKeySigner {
        &self.signer
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({}, {})", self.name, self.address())
    }
}
