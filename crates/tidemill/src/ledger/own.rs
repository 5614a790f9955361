//! The embedded ledger of a home: opened, or made where there is none.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context;
use tidemill_api::LedgerMade;
use tidemill_devnet::{Ledger as Node, Mining, Options, Recovery, ServeError, ServeOptions};
use tidemill_ledger::AddressBook;

use super::{
    making::{self, Making},
    read_book,
};
use crate::{
    exit::{Code, Exit, WithCode},
    home::data_directory,
};

/// How a ledger is opened, or made where there is none.
pub struct Opening<'a> {
    /// A throw-away ledger with keys that everybody knows.
    pub dev: bool,
    /// Who gets what exists on the first day.
    pub treasury: Option<&'a str>,
    /// When blocks are made.
    pub mining: Mining,
}

/// What came of opening one.
pub enum Opened {
    /// It was made.
    Made(LedgerMade),
    /// It was there.
    Recovered(Recovery),
}

/// The address book in the directory of a ledger.
pub const BOOK: &str = "address-book.json";

/// The directory of the ledger of this home.
///
/// # Errors
/// With [`Code::Host`] when the environment names no place for it.
pub fn directory() -> anyhow::Result<PathBuf> {
    Ok(data_directory().code(Code::Host)?.join("ledger"))
}

/// Where the blocks of a ledger are in its directory.
pub fn blocks(directory: &Path) -> PathBuf {
    directory.join("chain")
}

/// Opens the ledger whose blocks are in a directory, or makes it.
///
/// # Errors
/// With [`Code::Usage`] when it is of another sort than wanted, with [`Code::Host`] when it is damaged.
pub async fn open(blocks: &Path, opening: &Opening<'_>) -> anyhow::Result<(Node, Opened)> {
    let options = Options { mining: opening.mining, ..Options::default() };
    let blocks = blocks.to_owned();
    if !Node::exists(&blocks) {
        let Making { genesis, treasury } = Making::draw(opening.dev, opening.treasury)?;
        let chain_id = genesis.chain_id;
        let made = tokio::task::spawn_blocking(move || Node::create(&blocks, genesis, options)).await;
        return Ok((made.code(Code::Host)?.code(Code::Host)?, Opened::Made(treasury.made(chain_id))));
    }
    let opened = tokio::task::spawn_blocking(move || Node::open(&blocks, options)).await.code(Code::Host)?;
    let (node, recovery) = opened.code(Code::Host)?;
    if node.genesis().dev != opening.dev {
        let (is, wanted) = if opening.dev { ("no", "leave out") } else { ("a", "give") };
        stop(node).await;
        return Err(Exit::new(
            Code::Usage,
            format!("the ledger in this directory is {is} development ledger"),
        )
        .hint(format!("{wanted} `--dev`, or give another `--directory`"))
        .into());
    }
    if recovery.head.number == 0 && !node.genesis().transactions.is_empty() {
        stop(node).await;
        return Err(Exit::new(
            Code::Host,
            "the first block of this ledger, with its contracts, is damaged or missing",
        )
        .hint("restore its directory from a copy, or make a new ledger in another one")
        .into());
    }
    Ok((node, Opened::Recovered(recovery)))
}

/// The address book of a ledger that was made here, from its directory or, the first time, from the chain.
///
/// # Errors
/// With a code when it cannot be read, asked for or written.
pub async fn address_book(directory: &Path, node: &Node) -> anyhow::Result<AddressBook> {
    let file = directory.join(BOOK);
    if file.exists() {
        return read_book(&file);
    }
    // Asked as anyone would, through a port that is open for this alone.
    let anywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let server = node.serve(anywhere, ServeOptions::default()).await.code(Code::Host)?;
    let book = making::address_book(&format!("http://{}", server.local_addr()), node).await;
    server.stop().await;
    let book = book?;
    book.save(&file).with_context(|| format!("cannot write {}", file.display())).code(Code::Host)?;
    Ok(book)
}

/// Ends a ledger in order.
pub async fn stop(node: Node) {
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || node.stop()).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the ledger did not stop in order");
    }
}

/// The error of a ledger that cannot listen.
pub fn cannot_listen(error: &ServeError) -> anyhow::Error {
    let message = tidemill_types::causes(error);
    match error {
        ServeError::DevNotLoopback(_) => Exit::new(Code::Usage, message)
            .hint("listen on 127.0.0.1, or leave out `--dev`: a real ledger may listen anywhere"),
        ServeError::Bind { .. } => Exit::new(Code::Host, message).hint(
            "is the address one of this machine, and the port free? `--listen 127.0.0.1:0` takes any that is",
        ),
    }
    .into()
}
