//! Which ledger the commands mean, and what they do there in the name of an account.
//!
//! A ledger is a node's URL and the address book of Tidemill's contracts there. `tidemill ledger use`, `start` and
//! `deploy` write it down for this home.

mod account;
mod kept;
mod leave;
mod liquid;
mod making;
pub mod own;
mod purse;
pub mod shared;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use tidemill_ledger::{AddressBook, BookError, Chain, ChainError, sender::Settings};

use self::shared::InUse;
pub use self::{
    account::{AccountArgs, NewPassword, accounts, address_of, keystore, password_beside, refused},
    kept::{Kept, keep, kept},
    leave::{Part, leave, when},
    liquid::{Asking, exit_in_words, exit_summary, failed as liquid_failed, liquid as liquid_of, send_all},
    making::{TREASURY, made_in_words},
    purse::{Purse, Sent, open_sender},
};
use crate::{
    commands::read_file,
    exit::{Code, Exit, WithCode},
};

/// The options of every command that needs a ledger.
#[derive(clap::Args)]
pub struct LedgerArgs {
    /// The ledger's node, as an http(s) URL [default: that of `tidemill ledger use`]
    #[arg(long, value_name = "URL")]
    pub ledger: Option<String>,
    /// Another node of the same ledger: what matters is asked of both, and a contradiction ends the command
    #[arg(long, value_name = "URL", requires = "ledger")]
    pub second_ledger: Option<String>,
    /// The address book of the contracts there, where the node does not tell it itself
    #[arg(long, value_name = "FILE", requires = "ledger")]
    pub book: Option<PathBuf>,
    /// How many blocks make what the ledger shows certain [default: 1 on an embedded ledger, 12 elsewhere]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub confirmations: Option<u64>,
}

/// The options of every command that sends in the name of an account.
#[derive(clap::Args)]
pub struct Acting {
    #[command(flatten)]
    pub account: AccountArgs,
    #[command(flatten)]
    pub ledger: LedgerArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// A ledger that answers, whose contracts are the ones that the address book names.
#[derive(Clone)]
pub struct Ledger {
    /// Its node's URL.
    pub url: String,
    /// That of a second node, which must say the same.
    pub second: Option<String>,
    /// The connection.
    pub chain: Chain,
    /// Where the contracts are.
    pub book: AddressBook,
    /// How transactions are sent there.
    pub settings: Settings,
    /// That of this home runs while this is held.
    in_use: Option<Arc<InUse>>,
}

/// The longest address book that is read.
const MAX_BOOK_BYTES: u64 = 64 << 10;

impl LedgerArgs {
    /// Connects to the ledger that is meant, and checks that it is the one. That of this home is started if it does not
    /// run; it then runs as long as the connection is held.
    ///
    /// # Errors
    /// With [`Code::Usage`] when none is configured or it is another than its address book says, with [`Code::Host`]
    /// when it does not answer.
    pub async fn connect(&self) -> anyhow::Result<Ledger> {
        match kept()? {
            Some(kept) if self.ledger.is_none() => self.connect_to(kept).await,
            kept => self.connect_by_url(kept).await,
        }
    }

    /// The same, and where none is given or configured, the ledger of this home, which is made the first time. Says so
    /// where it is made, unless `quiet`.
    ///
    /// # Errors
    /// As those of [`Self::connect`].
    pub async fn connect_or_make(&self, quiet: bool) -> anyhow::Result<Ledger> {
        if self.ledger.is_some() || kept()?.is_some() {
            return self.connect().await;
        }
        Ok(self.confirming(shared::use_own(quiet).await?))
    }

    async fn connect_to(&self, kept: Kept) -> anyhow::Result<Ledger> {
        let ledger = match shared::is_own(&kept)? {
            true => shared::use_own(true).await?,
            false => connect(&kept.url, kept.second.as_deref(), Some(kept.book)).await?,
        };
        Ok(self.confirming(ledger))
    }

    async fn connect_by_url(&self, kept: Option<Kept>) -> anyhow::Result<Ledger> {
        let url = self.ledger.clone().ok_or_else(no_ledger)?;
        let of_kept = kept.filter(|kept| kept.url == url).map(|kept| kept.book);
        let book = match (&self.book, of_kept) {
            (Some(file), _) => Some(read_book(file)?),
            (None, book) => book,
        };
        Ok(self.confirming(connect(&url, self.second_ledger.as_deref(), book).await?))
    }

    fn confirming(&self, mut ledger: Ledger) -> Ledger {
        if let Some(confirmations) = self.confirmations {
            let usual = if confirmations == 1 { Settings::local() } else { ledger.settings };
            ledger.settings = Settings { confirmations, ..usual };
        }
        ledger
    }
}

impl Ledger {
    /// Waits until the ledger of this home is gone for good, and says why; for ever, when all goes well or it is
    /// somebody else's.
    pub async fn lost(&self) -> String {
        match &self.in_use {
            Some(in_use) => in_use.lost(&self.url).await,
            None => std::future::pending().await,
        }
    }
}

/// Connects to a ledger whose address book is known, or is told by its node. With a second node, both must say the same.
///
/// # Errors
/// As those of [`LedgerArgs::connect`].
pub async fn connect(url: &str, second: Option<&str>, book: Option<AddressBook>) -> anyhow::Result<Ledger> {
    let expected = book.as_ref().map(|book| book.chain_id);
    let chain = match second {
        None => Chain::connect(url, expected).await,
        Some(second) => Chain::connect_to_two(url, second, expected).await,
    };
    let chain = chain.map_err(unreachable)?;
    let told = chain.told_address_book().await.map_err(unreachable)?;
    // Nothing that its one author of blocks has made is replaced by another block.
    let settings = if told.is_some() { Settings::local() } else { Settings::default() };
    let book = match book {
        Some(book) => book,
        None => told_by_node(told, url)?,
    };
    book.verify(&chain).await.map_err(|error| {
        let (code, hint) = match &error {
            BookError::Chain(_) => (Code::Host, None),
            _ => (Code::Usage, Some("is it the right URL, and the address book of that ledger?")),
        };
        let exit = Exit::new(code, format!("{url}: {}", tidemill_types::causes(&error)));
        anyhow::Error::from(match hint {
            Some(hint) => exit.hint(hint),
            None => exit,
        })
    })?;
    Ok(Ledger { url: url.to_owned(), second: second.map(str::to_owned), chain, book, settings, in_use: None })
}

/// Reads an address book.
///
/// # Errors
/// With [`Code::Usage`] when the file is none.
pub fn read_book(file: &std::path::Path) -> anyhow::Result<AddressBook> {
    let read = || -> anyhow::Result<AddressBook> {
        let text = String::from_utf8(read_file(file, MAX_BOOK_BYTES)?).context("it is not text")?;
        Ok(AddressBook::parse(&text)?)
    };
    read().with_context(|| format!("the address book {}", file.display())).code(Code::Usage)
}

/// An error of the connection, with its hint.
pub fn unreachable(error: ChainError) -> anyhow::Error {
    let code = if error.is_retryable() { Code::Host } else { Code::Usage };
    let exit = Exit::new(code, tidemill_types::causes(&error));
    match error.hint() {
        Some(hint) => exit.hint(hint).into(),
        None => exit.into(),
    }
}

fn told_by_node(answer: Option<String>, url: &str) -> anyhow::Result<AddressBook> {
    let text = answer.ok_or_else(|| {
        Exit::new(Code::Usage, format!("the node {url} does not tell where Tidemill's contracts are"))
            .hint("give their address book with `--book FILE`: `tidemill ledger deploy` wrote it")
    })?;
    AddressBook::parse(&text).with_context(|| format!("the address book that {url} tells")).code(Code::Host)
}

fn no_ledger() -> anyhow::Error {
    Exit::new(Code::Usage, "no ledger is given or configured")
        .hint(
            "`tidemill ledger start` runs one on this machine; `tidemill ledger use URL` remembers another; \
             `--ledger URL` means one for this command",
        )
        .into()
}
