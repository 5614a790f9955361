//! `tidemill ledger start`: the embedded ledger as a process.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tidemill_api::LedgerEvent;
use tidemill_devnet::{HostName, Ledger, Mining, Origin, ServeError, ServeOptions, Server};
use tidemill_scratch::Scratch;
use tidemill_types::Millis;
use tokio::sync::watch;

use crate::{
    announce::Announcer,
    exit::{Code, Exit, WithCode},
    hosting::{self, Hosted, Words},
    interrupt::Signals,
    ledger::{
        Kept, keep, kept, made_in_words,
        own::{self, Opened, Opening},
        shared::unused,
    },
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
    /// Web pages that may call the ledger from a browser: their origin, like http://localhost:3000, or * for any
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<Origin>,
    /// Another name that programs call this machine by, where it listens on loopback: host.docker.internal, for one
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<HostName>,
    /// Print one JSON object a line for each event: made, listening, stopping, stopped
    #[arg(long)]
    json: bool,
    /// For the commands of this home, which start it so: end with the last of them, and take another port where the one
    /// that is named is taken
    #[arg(long, hide = true)]
    while_used: bool,
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

/// How long a ledger takes to end that no command uses any more.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

/// A ledger that is served.
struct Served {
    ledger: Ledger,
    server: Server,
    /// Becomes true when no command needs it any more, where it ends then.
    unused: Option<watch::Receiver<bool>>,
}

impl Hosted for Served {
    async fn failed(&self) -> String {
        self.ledger.failed().await
    }

    async fn unneeded(&self) {
        let Some(mut unused) = self.unused.clone() else { return std::future::pending().await };
        if unused.wait_for(|unused| *unused).await.is_err() {
            std::future::pending().await
        }
    }

    async fn stop(self) {
        self.server.stop().await;
        own::stop(self.ledger).await;
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    logging::start("warn,tidemill=info,tidemill_devnet=warn");
    // Before anything is made.
    if args.dev && !args.listen.ip().is_loopback() {
        return Err(own::cannot_listen(&ServeError::DevNotLoopback(args.listen)));
    }
    let throw_away =
        (args.dev && args.directory.is_none()).then(Scratch::temporary).transpose().code(Code::Host)?;
    let directory = match (&args.directory, &throw_away) {
        (Some(directory), _) => directory.clone(),
        (None, Some(throw_away)) => throw_away.path().to_owned(),
        (None, None) => own::directory()?,
    };
    // The last command that used it may have ended a moment ago.
    let state =
        StateDirectory::claim_within(&directory, ENDS_WITHIN).map_err(|error| match args.directory {
            None => Exit::new(Code::Usage, format!("{error}; is it the ledger of this home?"))
                .hint("`tidemill ledger status` shows it: it runs while commands of this home use it")
                .into(),
            Some(_) => error,
        })?;
    runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let announcer = Announcer::new(args.json);
        let mining = match args.interval {
            None => Mining::OnDemand,
            Some(Millis(interval)) => Mining::Interval(Duration::from_millis(interval)),
        };
        let opening = Opening { dev: args.dev, treasury: args.treasury.as_deref(), mining };
        let (ledger, opened) = own::open(&own::blocks(state.path()), &opening).await?;
        tell_opened(&announcer, &opened);
        let book = match own::address_book(state.path(), &ledger).await {
            Ok(book) => book,
            Err(error) => {
                own::stop(ledger).await;
                return Err(error);
            }
        };
        let options = ServeOptions {
            address_book: Some(serde_json::to_value(&book).code(Code::Host)?),
            allowed_origins: args.allow_origin.clone(),
            allowed_hosts: args.allow_host.clone(),
            ..ServeOptions::default()
        };
        let served = match ledger.serve(args.listen, options.clone()).await {
            Err(ServeError::Bind { .. }) if args.while_used => {
                ledger.serve(SocketAddr::new(args.listen.ip(), 0), options).await
            }
            served => served,
        };
        let server = match served {
            Ok(server) => server,
            Err(error) => {
                own::stop(ledger).await;
                return Err(own::cannot_listen(&error));
            }
        };
        let url = format!("http://{}", reachable(server.local_addr()));
        // Nobody else may have remembered another ledger for this home on purpose.
        let remembered = match kept()? {
            Some(kept) => kept.book.chain_id == book.chain_id,
            None => true,
        };
        if remembered && !args.dev {
            keep(&Kept { url: url.clone(), second: None, book: book.clone() })?;
        }
        tell_listening(&announcer, &ledger, &server, state.path(), &url, remembered && !args.dev);
        let again =
            if throw_away.is_some() { "start another" } else { "start it again on the same directory" };
        let words = Words { what: "ledger", again };
        let unused = args.while_used.then(|| unused(state.path())).transpose()?;
        hosting::stay(Served { ledger, server, unused }, &mut signals, &announcer, &words).await
    })
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

fn tell_opened(announcer: &Announcer, opened: &Opened) {
    let recovery = match opened {
        Opened::Recovered(recovery) => recovery,
        Opened::Made(made) => return announcer.tell(&LedgerEvent::Made(made.clone()), &made_in_words(made)),
    };
    let event = LedgerEvent::Opened {
        block: recovery.head.number,
        replayed_blocks: recovery.replayed,
        dropped_bytes: recovery.dropped_bytes,
        seconds: recovery.took.as_secs_f64(),
    };
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
    let event = LedgerEvent::Listening {
        address: address.to_string(),
        url: url.to_owned(),
        chain_id: ledger.chain_id(),
        block: ledger.head().number,
        directory: directory.to_string_lossy().into_owned(),
    };
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
