//! The embedded ledger of a home: opened or made, and served to this machine.
//!
//! `tidemill ledger start` serves it until Ctrl-C. A command that needs a ledger and finds none serves it for as long as
//! it lasts.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::Context;
use tidemill_devnet::{Ledger as Node, Mining, Options, Recovery, ServeError, ServeOptions, Server};
use tidemill_ledger::AddressBook;

use super::{
    Kept, keep, kept,
    making::{self, Making, Treasury},
    read_book,
};
use crate::{
    exit::{Code, Exit, WithCode},
    home::data_directory,
    node_state::StateDirectory,
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
    /// It was made: its chain id, and who has what exists.
    Made(u64, Treasury),
    /// It was there.
    Recovered(Recovery),
}

/// The ledger of this home, served on loopback by this process.
pub struct OwnLedger {
    node: Node,
    server: Server,
    /// Where it is reached.
    pub url: String,
    /// Where the contracts are.
    pub book: AddressBook,
    _state: StateDirectory,
}

/// The directory of the ledger below that of the home.
const DIRECTORY: &str = "ledger";

/// Whether this home has one.
///
/// # Errors
/// When the environment names no home.
pub fn is_made() -> anyhow::Result<bool> {
    Ok(data_directory().code(Code::Host)?.join(DIRECTORY).is_dir())
}

/// The port that wallets look for a ledger at.
const PORT: u16 = 8545;

impl OwnLedger {
    /// Opens or makes the ledger of this home and serves it, at its usual port where that is free. Says whether it was
    /// made.
    ///
    /// # Errors
    /// With a code when another process has it, or this machine cannot do its part.
    pub async fn host() -> anyhow::Result<(Self, Option<(u64, Treasury)>)> {
        let state = StateDirectory::claim(&data_directory().code(Code::Host)?.join(DIRECTORY))?;
        let opening = Opening { dev: false, treasury: None, mining: Mining::OnDemand };
        let (node, opened) = open(&state.path().join("chain"), &opening).await?;
        let book = match address_book(state.path(), &node).await {
            Ok(book) => book,
            Err(error) => {
                stop(node).await;
                return Err(error);
            }
        };
        let server = match serve_nearby(&node, &book).await {
            Ok(server) => server,
            Err(error) => {
                stop(node).await;
                return Err(error);
            }
        };
        let url = format!("http://{}", server.local_addr());
        let is_ours = match kept()? {
            Some(kept) => kept.book.chain_id == book.chain_id,
            None => true,
        };
        if is_ours {
            keep(&Kept { url: url.clone(), book: book.clone() })?;
        }
        let made = match opened {
            Opened::Made(chain_id, treasury) => Some((chain_id, treasury)),
            Opened::Recovered(_) => None,
        };
        Ok((Self { node, server, url, book, _state: state }, made))
    }

    /// Waits until it cannot go on, and says why; for ever, when all goes well.
    pub async fn failed(&self) -> String {
        self.node.failed().await
    }

    /// Ends it: every block that anyone has seen is on disk.
    pub async fn stop(self) {
        self.server.stop().await;
        stop(self.node).await;
    }
}

/// Whether this home has a ledger of its own.
///
/// # Errors
/// When the environment names no place for it.
pub fn exists() -> anyhow::Result<bool> {
    Ok(Node::exists(&data_directory().code(Code::Host)?.join(DIRECTORY).join("chain")))
}

async fn serve_nearby(node: &Node, book: &AddressBook) -> anyhow::Result<Server> {
    let mut last = None;
    for port in [PORT, 0] {
        let at = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let options = ServeOptions {
            address_book: Some(serde_json::to_value(book).code(Code::Host)?),
            ..ServeOptions::default()
        };
        match node.serve(at, options).await {
            Ok(server) => return Ok(server),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("no port"), anyhow::Error::from)).code(Code::Host)
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
        return Ok((made.code(Code::Host)?.code(Code::Host)?, Opened::Made(chain_id, treasury)));
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
    let file = directory.join("address-book.json");
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
