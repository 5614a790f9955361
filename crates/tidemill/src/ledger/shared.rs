//! The ledger of this home in a process of its own, which the commands of the home share.
//!
//! Whoever uses it holds a shared lock on the file `users`. The ledger's process waits for an exclusive one, which it
//! gets when the last user is gone, however that one ended; it then stops with the lock in hand, so that a command which
//! comes meanwhile waits until it is out. One command at a time starts it, and holds the file `turn` meanwhile.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use tidemill_api::LedgerMade;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};

use super::{Kept, Ledger, connect, kept, made_in_words, own};
use crate::{
    child::{last_words, this_program},
    exit::{Code, Exit, WithCode},
    network::private_directory,
};

/// What says that a command uses the ledger, until it is dropped or the command ends.
pub struct InUse {
    directory: PathBuf,
    _users: File,
}

/// The option of `tidemill ledger start` by which it ends with its last user.
pub const WHILE_USED: &str = "--while-used";

/// The port that wallets look for a ledger at.
const PORT: u16 = 8545;

/// How often a command looks whether the ledger that it uses is still there.
const LOOK: Duration = Duration::from_secs(2);

/// A ledger on this machine that does not accept a connection within this time is gone.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(5);

/// What the ledger's process tells the command that starts it. It tells more, to nobody.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told {
    Made(LedgerMade),
    Listening(Listening),
    #[serde(other)]
    Other,
}

/// The last thing it tells: it can be used.
#[derive(Deserialize)]
struct Listening {
    /// Where it is reached.
    url: String,
}

/// Whether what this home remembers is its own ledger.
///
/// # Errors
/// With [`Code::Host`] when this home cannot be looked at.
pub fn is_own(kept: &Kept) -> anyhow::Result<bool> {
    let book = own::directory()?.join(own::BOOK);
    Ok(book.exists() && super::read_book(&book)?.chain_id == kept.book.chain_id)
}

/// Connects to the ledger of this home, which is started if it does not run, and made the first time. It runs as long as
/// what is returned is held. Says so where it is made, unless `quiet`.
///
/// # Errors
/// With a code when this machine cannot do its part.
pub async fn use_own(quiet: bool) -> anyhow::Result<Ledger> {
    let directory = own::directory()?;
    private_directory(&directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))
        .code(Code::Host)?;
    let users = locked(directory.join("users"), FlockOperation::LockShared).await?;
    let ledger = find_or_start(&directory, quiet).await?;
    Ok(Ledger { in_use: Some(Arc::new(InUse { directory, _users: users })), ..ledger })
}

async fn find_or_start(directory: &Path, quiet: bool) -> anyhow::Result<Ledger> {
    let _turn = locked(directory.join("turn"), FlockOperation::LockExclusive).await?;
    let of_old = match kept()? {
        Some(kept) if is_own(&kept)? => {
            // Another program may have its port by now.
            if let Ok(ledger) = connect(&kept.url, None, Some(kept.book)).await {
                return Ok(ledger);
            }
            port_of(&kept.url)
        }
        _ => None,
    };
    let url = start(directory, of_old.unwrap_or(PORT), quiet).await?;
    let book = super::read_book(&directory.join(own::BOOK))?;
    connect(&url, None, Some(book)).await
}

/// Starts the process, and returns where it listens.
async fn start(directory: &Path, port: u16, quiet: bool) -> anyhow::Result<String> {
    let log = directory.join("log");
    let begun = || -> std::io::Result<_> {
        let stderr = File::create(&log)?;
        let mut command = this_program()?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
        command.args(["ledger", "start", WHILE_USED, "--json", "--listen", &listen]);
        // Ctrl-C in a terminal is for the command, and the ledger may outlive it.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).process_group(0);
        command.spawn()
    };
    let mut child = begun().context("cannot start the ledger of this home").code(Code::Host)?;
    let stdout = child.stdout.take().context("the ledger's events were not captured").code(Code::Host)?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await.code(Code::Host)? {
        match serde_json::from_str(&line) {
            Ok(Told::Made(made)) if !quiet => eprint!("{}", made_in_words(&made)),
            Ok(Told::Listening(listening)) => return Ok(listening.url),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the ledger told something that is no event"),
        }
    }
    let status = child.wait().await.code(Code::Host)?;
    let words = last_words(&log);
    let words = words.strip_prefix("error: ").unwrap_or(&words);
    let exit =
        |words: String| Exit::new(Code::Host, format!("the ledger of this home does not start: {words}"));
    Err(match words {
        // It could not even write its log.
        "" => exit(format!("it ended ({status}) and said nothing"))
            .hint(format!("see whether the disk with {} has room", directory.display())),
        words => exit(words.to_owned()),
    }
    .into())
}

impl InUse {
    /// Waits until the ledger at this URL is gone and does not come back there, and says why. Another process that ends
    /// it, or a kill, does no harm: it is started again.
    pub async fn lost(&self, url: &str) -> String {
        let Some(port) = port_of(url) else { return format!("{url} names no port") };
        loop {
            sleep(LOOK).await;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if matches!(timeout(ACCEPTS_WITHIN, TcpStream::connect(address)).await, Ok(Ok(_))) {
                continue;
            }
            match find_or_start(&self.directory, true).await {
                Ok(ledger) if ledger.url == url => {}
                Ok(ledger) => return format!("the ledger listens at {} now, and not at {url}", ledger.url),
                Err(error) => return format!("{error:#}"),
            }
        }
    }
}

/// Becomes true when no command uses the ledger in this directory any more; no other comes until this process ends.
///
/// # Errors
/// With [`Code::Host`] when the directory cannot be used.
pub fn unused(directory: &Path) -> anyhow::Result<watch::Receiver<bool>> {
    let users = open(&directory.join("users"))?;
    let (told, unused) = watch::channel(false);
    let waiting = std::thread::Builder::new().name("users".to_owned()).spawn(move || {
        if let Err(error) = flock(&users, FlockOperation::LockExclusive) {
            tracing::warn!(%error, "who uses the ledger cannot be watched: it stays");
            return;
        }
        told.send_replace(true);
        // The lock is held until the process ends.
        std::mem::forget(users);
    });
    waiting.context("cannot start a thread").code(Code::Host)?;
    Ok(unused)
}

/// A file with a lock that goes when it is dropped.
async fn locked(path: PathBuf, how: FlockOperation) -> anyhow::Result<File> {
    let file = open(&path)?;
    let locking = tokio::task::spawn_blocking(move || flock(&file, how).map(|()| file));
    let locked = locking.await.code(Code::Host)?;
    locked.with_context(|| format!("cannot lock {}", path.display())).code(Code::Host)
}

fn open(path: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.open(path).with_context(|| format!("cannot open {}", path.display())).code(Code::Host)
}

fn port_of(url: &str) -> Option<u16> {
    url.rsplit_once(':')?.1.trim_end_matches('/').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_url_is_its_last_number() {
        assert_eq!(port_of("http://127.0.0.1:8545"), Some(8545));
        assert_eq!(port_of("http://127.0.0.1:8545/"), Some(8545));
        assert_eq!(port_of("http://localhost"), None);
    }

    #[test]
    fn what_the_ledger_tells_is_understood() {
        let told = |text: &str| serde_json::from_str::<Told>(text).expect("an event");
        let Told::Listening(listening) =
            told(r#"{"event":"listening","url":"http://127.0.0.1:1","block":3}"#)
        else {
            panic!("it listens");
        };
        assert_eq!(listening.url, "http://127.0.0.1:1");
        assert!(matches!(told(r#"{"event":"opened","block":3}"#), Told::Other));
    }

    #[tokio::test]
    async fn it_is_unused_when_its_last_user_is_gone() {
        let place = tempfile::tempdir().expect("a directory");
        let users = place.path().join("users");
        let first = locked(users.clone(), FlockOperation::LockShared).await.expect("a lock");
        let second = locked(users.clone(), FlockOperation::LockShared).await.expect("another");
        let mut unused = unused(place.path()).expect("a watch");
        drop(first);
        assert!(!*unused.borrow(), "one is left");
        drop(second);
        unused.wait_for(|unused| *unused).await.expect("it is told");
        let file = open(&users).expect("the file");
        assert!(flock(&file, FlockOperation::NonBlockingLockShared).is_err(), "nobody comes any more");
    }
}
