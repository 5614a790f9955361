//! `tidemill ledger start`: the embedded ledger as a process.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use serde_json::json;
use tidemill_devnet::{Ledger, Mining, Options, Recovery, ServeError, ServeOptions, Server};
use tidemill_types::Millis;

use super::making::{self, Making};
use crate::{
    announce::Announcer,
    exit::{Code, Exit, WithCode},
    home::data_directory,
    hosting::{self, Hosted, Words},
    interrupt::Signals,
    ledger::{Kept, keep, kept, read_book},
    logging,
    node_state::StateDirectory,
    runtime,
};

/// Run the embedded ledger on this machine: an EVM chain with Tidemill's contracts, for wallets and tools as any other.
///
/// The first start makes it: a chain id is drawn, and an account `treasury` of this home, which gets all that exists on
/// the first day. Started again it goes on. Whoever runs a ledger can rewrite it (docs/ledger.md).
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Where it listens, for HTTP and WebSocket
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8545))]
    listen: SocketAddr,
    /// Make a block every so long, rather than at once for each transaction
    #[arg(long, value_name = "TIME")]
    interval: Option<Millis>,
    /// Where it is kept [default: `ledger` in the directory of this home]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Who gets what exists on the first day, at the first start: an address, or the name of an account of this home
    /// [default: an account `treasury`, which is made]
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "dev")]
    treasury: Option<String>,
    /// A throw-away ledger with keys that everybody knows and controls of time, on this machine alone; its treasury is
    /// the first of the keys. It is gone at the end, unless a directory is given
    #[arg(long)]
    dev: bool,
    /// A web page that may call the ledger from a browser, like http://localhost:3000
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Print one JSON object a line for each event: made, listening, stopping, stopped
    #[arg(long)]
    json: bool,
}

const HELP: &str = "Examples:
  tidemill ledger start
  tidemill ledger start --listen 192.168.1.7:8545       for others on this network
  tidemill ledger start --dev --listen 127.0.0.1:0      to try things out

Exit codes:
  0    ended as asked, by Ctrl-C or the signal to terminate
  2    wrong usage, or another process works in its directory
  4    this machine could not do its part (disk, port, permissions)
  130  a second Ctrl-C ended it at once; every block that anyone has seen is on disk";

/// A ledger that is served.
struct Served {
    ledger: Ledger,
    server: Server,
}

impl Hosted for Served {
    async fn failed(&self) -> String {
        self.ledger.failed().await
    }

    async fn stop(self) {
        self.server.stop().await;
        let stopped = tokio::task::spawn_blocking(move || self.ledger.stop()).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(error = &error as &dyn std::error::Error, "the ledger did not stop in order");
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    logging::start("warn,tidemill=info,tidemill_devnet=warn");
    let throw_away =
        (args.dev && args.directory.is_none()).then(tempfile::tempdir).transpose().code(Code::Host)?;
    let directory = match (&args.directory, &throw_away) {
        (Some(directory), _) => directory.clone(),
        (None, Some(throw_away)) => throw_away.path().to_owned(),
        (None, None) => data_directory().code(Code::Host)?.join("ledger"),
    };
    let state = StateDirectory::claim(&directory)?;
    runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let announcer = Announcer::new(args.json);
        let blocks = state.path().join("chain");
        let ledger = open_or_make(args, &blocks, &announcer).await?;
        let book = match address_book(state.path(), &ledger).await {
            Ok(book) => book,
            Err(error) => {
                stop(ledger).await;
                return Err(error);
            }
        };
        let options = ServeOptions {
            address_book: Some(serde_json::to_value(&book).code(Code::Host)?),
            allowed_origins: args.allow_origin.clone(),
            ..ServeOptions::default()
        };
        let server = match ledger.serve(args.listen, options).await {
            Ok(server) => server,
            Err(error) => {
                stop(ledger).await;
                return Err(cannot_listen(&error));
            }
        };
        let url = format!("http://{}", reachable(server.local_addr()));
        // Nobody else may have remembered another ledger for this home on purpose.
        let remembered = match kept()? {
            Some(kept) => kept.book.chain_id == book.chain_id,
            None => true,
        };
        if remembered && !args.dev {
            keep(&Kept { url: url.clone(), book: book.clone() })?;
        }
        tell_listening(&announcer, &ledger, &server, state.path(), &url, remembered && !args.dev);
        let again =
            if throw_away.is_some() { "start another" } else { "start it again on the same directory" };
        let words = Words { what: "ledger", again };
        hosting::stay(Served { ledger, server }, &mut signals, &announcer, &words).await
    })
}

async fn open_or_make(args: &Args, blocks: &Path, announcer: &Announcer) -> anyhow::Result<Ledger> {
    let mining = match args.interval {
        None => Mining::OnDemand,
        Some(Millis(interval)) => Mining::Interval(Duration::from_millis(interval)),
    };
    let options = Options { mining, ..Options::default() };
    let making =
        if Ledger::exists(blocks) { None } else { Some(Making::draw(args.dev, args.treasury.as_deref())?) };
    let blocks = blocks.to_owned();
    let Some(making) = making else {
        let opened =
            tokio::task::spawn_blocking(move || Ledger::open(&blocks, options)).await.code(Code::Host)?;
        let (ledger, recovery) = opened.code(Code::Host)?;
        if ledger.genesis().dev != args.dev {
            let (is, wanted) = if args.dev { ("no", "leave out") } else { ("a", "give") };
            stop(ledger).await;
            return Err(Exit::new(
                Code::Usage,
                format!("the ledger in this directory is {is} development ledger"),
            )
            .hint(format!("{wanted} `--dev`, or give another `--directory`"))
            .into());
        }
        if recovery.head.number == 0 && !ledger.genesis().transactions.is_empty() {
            stop(ledger).await;
            return Err(Exit::new(
                Code::Host,
                "the first block of this ledger, with its contracts, is damaged or missing",
            )
            .hint("restore its directory from a copy, or make a new ledger in another one")
            .into());
        }
        tell_recovery(announcer, &recovery);
        return Ok(ledger);
    };
    let Making { genesis, treasury, .. } = making;
    let (chain_id, account) = (genesis.chain_id, treasury.address);
    let made = tokio::task::spawn_blocking(move || Ledger::create(&blocks, genesis, options))
        .await
        .code(Code::Host)?;
    let event = json!({ "event": "made", "chain_id": chain_id, "treasury": account.to_string() });
    announcer.tell(&event, &treasury.words(chain_id));
    made.code(Code::Host)
}

/// The address book of a ledger that was made here, from its directory or, the first time, from the chain.
async fn address_book(directory: &Path, ledger: &Ledger) -> anyhow::Result<tidemill_ledger::AddressBook> {
    let file = directory.join("address-book.json");
    if file.exists() {
        return read_book(&file);
    }
    // Asked as anyone would, through a port that is open for this alone.
    let anywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let server = ledger.serve(anywhere, ServeOptions::default()).await.code(Code::Host)?;
    let book = making::address_book(&format!("http://{}", server.local_addr()), ledger).await;
    server.stop().await;
    let book = book?;
    book.save(&file).with_context(|| format!("cannot write {}", file.display())).code(Code::Host)?;
    Ok(book)
}

async fn stop(ledger: Ledger) {
    let _ = tokio::task::spawn_blocking(move || ledger.stop()).await;
}

/// An address that this machine reaches itself by.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), address.port())
        }
        _ => address,
    }
}

fn cannot_listen(error: &ServeError) -> anyhow::Error {
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

fn tell_recovery(announcer: &Announcer, recovery: &Recovery) {
    let event = json!({
        "event": "opened",
        "block": recovery.head.number,
        "replayed_blocks": recovery.replayed,
        "dropped_bytes": recovery.dropped_bytes,
        "seconds": recovery.took.as_secs_f64(),
    });
    let torn = match recovery.dropped_bytes {
        0 => String::new(),
        bytes => {
            format!("; the last {bytes} bytes were no whole block and were cut off")
        }
    };
    announcer.tell(&event, &format!("taken up at block {}{torn}", recovery.head.number));
}

fn tell_listening(
    announcer: &Announcer,
    ledger: &Ledger,
    server: &Server,
    directory: &Path,
    url: &str,
    remembered: bool,
) {
    let address = server.local_addr();
    let event = json!({
        "event": "listening",
        "address": address,
        "url": url,
        "chain_id": ledger.chain_id(),
        "block": ledger.head().number,
        "directory": directory,
    });
    let commands = if remembered {
        "the commands of this home are for it; for other homes:"
    } else {
        "for its commands:"
    };
    let warning =
        if address.ip().is_loopback() { "" } else { "\nwhoever reaches this address can use the ledger" };
    announcer.tell(
        &event,
        &format!(
            "ledger {} listens at {address}, by HTTP and WebSocket{warning}\nit is kept in {}\n\n{commands}  tidemill ledger use {url}\n\nCtrl-C ends it",
            ledger.chain_id(),
            directory.display(),
        ),
    );
}
