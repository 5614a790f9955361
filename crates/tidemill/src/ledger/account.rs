//! Accounts of this home: which one a command acts for, and its password.

use std::{
    cell::Cell,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use tidemill_ledger::keystore::{
    Account, AccountName, Entry, Keystore, KeystoreError, Password, PasswordError, PasswordSource,
};

use tidemill_ledger::Address;
use tidemill_types::one_line;

use crate::{
    exit::{Code, Exit, WithCode},
    home::data_directory,
};

/// The environment variable with the password of the account that a command acts for.
const PASSWORD_VARIABLE: &str = "TIDEMILL_PASSWORD";

/// The options of every command that acts for an account.
#[derive(clap::Args)]
pub struct AccountArgs {
    /// Name or address of the account to act for [default: the only one there is; among several, `treasury` where jobs
    /// are paid for]
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    #[command(flatten)]
    password: PasswordArgs,
}

/// Where a password comes from.
#[derive(clap::Args)]
struct PasswordArgs {
    /// A file whose one line is the account's password [default: $TIDEMILL_PASSWORD, else you are asked]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// The option for the password of an account that is made.
#[derive(clap::Args)]
pub struct NewPassword {
    #[command(flatten)]
    password: PasswordArgs,
}

impl AccountArgs {
    /// Which account is meant, without its key.
    ///
    /// # Errors
    /// With [`Code::Usage`] when there is no such account, or several and none is named.
    pub fn entry(&self) -> anyhow::Result<Entry> {
        let keystore = keystore()?;
        if let Some(who) = &self.account {
            return keystore.find(who).map_err(refused);
        }
        let mut entries = keystore.list().map_err(refused)?;
        match (entries.pop(), entries.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Exit::new(Code::Usage, "this home has no account")
                .hint("`tidemill wallet new NAME` makes one, `tidemill wallet import NAME` takes a key that you have")
                .into()),
            (Some(last), false) => {
                let names: Vec<_> = entries.iter().chain([&last]).map(|entry| entry.name.to_string()).collect();
                Err(Exit::new(Code::Usage, format!("which account? There are {}", names.join(", ")))
                    .hint("say so with `--account NAME`")
                    .into())
            }
        }
    }

    /// Whether one is named.
    pub fn is_given(&self) -> bool {
        self.account.is_some()
    }

    /// The same; where none is named and there are several, the one of this name.
    ///
    /// # Errors
    /// As those of [`AccountArgs::entry`].
    pub fn entry_or(&self, name: &str) -> anyhow::Result<Entry> {
        match self.entry() {
            Err(error) if !self.is_given() => keystore()?.find(name).map_err(|_| error),
            entry => entry,
        }
    }

    /// The account of [`AccountArgs::entry_or`] with its key.
    ///
    /// # Errors
    /// As those of [`AccountArgs::unlock`].
    pub fn unlock_or(&self, name: &str) -> anyhow::Result<Account> {
        self.unlock_entry(&self.entry_or(name)?)
    }

    /// The account with its key.
    ///
    /// # Errors
    /// As those of [`AccountArgs::entry`], and with [`Code::Usage`] for a wrong password.
    pub fn unlock(&self) -> anyhow::Result<Account> {
        self.unlock_entry(&self.entry()?)
    }

    fn unlock_entry(&self, entry: &Entry) -> anyhow::Result<Account> {
        let name = entry.name.to_string();
        let beside = password_beside(&entry.path);
        // Of an account that Tidemill made, the password beside its key is right; one in the environment is likely
        // another account's.
        let source = match self.password.source() {
            PasswordSource::Prompt | PasswordSource::Environment(_) if beside.is_file() => {
                PasswordSource::File(beside)
            }
            source => source,
        };
        let password = source.read(|| prompt(&format!("password of {name}: "))).map_err(no_password)?;
        keystore()?.unlock(&name, &password).map_err(refused)
    }
}

impl NewPassword {
    /// The password for the account `name`, which a person types twice.
    ///
    /// # Errors
    /// With [`Code::Usage`] when there is none.
    pub fn read(&self, name: &AccountName) -> anyhow::Result<Password> {
        let differ = Cell::new(false);
        let ask = || {
            let first = prompt(&format!("new password of {name}: "))?;
            differ.set(first != prompt("the same again: ")?);
            Ok(first)
        };
        let password = self.password.source().read(ask).map_err(no_password)?;
        if differ.get() {
            return Err(Exit::new(Code::Usage, "the two passwords differ, and nothing was made").into());
        }
        Ok(password)
    }
}

impl PasswordArgs {
    fn source(&self) -> PasswordSource {
        match &self.password_file {
            Some(file) => PasswordSource::File(file.clone()),
            None if std::env::var_os(PASSWORD_VARIABLE).is_some() => {
                PasswordSource::Environment(PASSWORD_VARIABLE.to_owned())
            }
            None => PasswordSource::Prompt,
        }
    }
}

/// The accounts of this home.
///
/// # Errors
/// With [`Code::Host`] when they cannot be read.
pub fn accounts() -> anyhow::Result<Vec<Entry>> {
    keystore()?.list().map_err(refused)
}

/// Where the accounts of this home are.
///
/// # Errors
/// With [`Code::Host`] when the environment names no place.
pub fn keystore() -> anyhow::Result<Keystore> {
    Ok(Keystore::new(data_directory().code(Code::Host)?.join("wallet")))
}

/// Where the password of an account lies that was made for a ledger of this home, with nobody there to choose one. It
/// protects nothing from who can read this directory, and says so in its name.
pub fn password_beside(account: &Path) -> PathBuf {
    account.with_extension("password")
}

fn prompt(words: &str) -> io::Result<String> {
    if !io::stdin().is_terminal() {
        return Err(io::Error::other(format!(
            "nobody is there to be asked: give `--password-file FILE`, or set {PASSWORD_VARIABLE}"
        )));
    }
    rpassword::prompt_password(words)
}

/// An error of the keystore, with its code and its hint.
pub fn refused(error: KeystoreError) -> anyhow::Error {
    let code = match &error {
        KeystoreError::Read { .. } | KeystoreError::Write { .. } | KeystoreError::Random(_) => Code::Host,
        _ => Code::Usage,
    };
    Exit::new(code, tidemill_types::causes(&error)).into()
}

fn no_password(error: PasswordError) -> anyhow::Error {
    Exit::new(Code::Usage, tidemill_types::causes(&error)).into()
}

/// The address that a person means: of an account of this home by its name, or as it is written.
///
/// # Errors
/// With [`Code::Usage`] when it is neither, or was mistyped: an address in mixed case carries a checksum.
pub fn address_of(text: &str) -> anyhow::Result<Address> {
    if let Some(digits) = text.strip_prefix("0x") {
        let mixed =
            digits.bytes().any(|c| c.is_ascii_uppercase()) && digits.bytes().any(|c| c.is_ascii_lowercase());
        let parsed = if mixed { Address::parse_checksummed(text, None).ok() } else { text.parse().ok() };
        return parsed.ok_or_else(|| {
            Exit::new(Code::Usage, format!("{} is no address", one_line(text, 80)))
                .hint("it is 0x and 40 hexadecimal digits; one in mixed case was mistyped when its checksum is wrong")
                .into()
        });
    }
    let entry = keystore()?.find(text).map_err(refused)?;
    entry.address.ok_or_else(|| {
        Exit::new(Code::Usage, format!("the file of the account {} does not say its address", entry.name))
            .hint("give the address itself")
            .into()
    })
}
