//! `tidemill bench blobs`: how fast large blobs are, beside what the same machine does without them.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;
use tidemill_net::{
    blobs::{BLOBS_ALPN, BlobOptions, BlobRef, Blobs, FileMode, Keeps, Pin},
    endpoint::{Bind, Connection, Node, NodeOptions},
    ticket::Pass,
};
use tidemill_types::ByteSize;

use super::median;
use crate::{
    exit::{Code, WithCode},
    runtime::block_on,
};

/// Measure how fast large blobs are.
///
/// Sends a blob from one node to another over loopback, as a coordinator sends an input to a provider: encrypted,
/// verified, and written to the disk, which nobody waits for. Beside it, a plain TCP connection sends the same file into
/// another file. And takes the file in as a coordinator does, durably, beside a plain copy that waits for the disk. The
/// measurements take turns, and the medians are printed.
#[derive(clap::Args)]
pub struct Args {
    /// How long the blob is
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    size: ByteSize,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Results {
    bytes: u64,
    rounds: u8,
    /// From node to node.
    mib_per_s: f64,
    /// From socket to socket.
    tcp_mib_per_s: f64,
    /// Taken in durably.
    import_mib_per_s: f64,
    /// Copied, and synced.
    copy_mib_per_s: f64,
}

/// How long anything may keep still.
const PATIENCE: Duration = Duration::from_secs(60);

/// What plain copies read and write at once.
const PIECE_BYTES: usize = 1 << 20;

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory").code(Code::Host)?;
    let results = block_on(measure(args, directory.path()))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
        return Ok(());
    }
    println!("a blob of {}, medians of {}", args.size, results.rounds);
    let row = |what: &str, rate: f64, beside: f64| {
        println!("  {what:<28} {rate:>8.0} MiB/s {:>6.0} %", 100.0 * rate / beside);
    };
    row("plain TCP", results.tcp_mib_per_s, results.tcp_mib_per_s);
    row("from node to node", results.mib_per_s, results.tcp_mib_per_s);
    row("plain copy, synced", results.copy_mib_per_s, results.copy_mib_per_s);
    row("durable import", results.import_mib_per_s, results.copy_mib_per_s);
    Ok(())
}

async fn measure(args: &Args, directory: &Path) -> anyhow::Result<Results> {
    let source = directory.join("source");
    fill(&source, args.size.0).context("cannot write the file to be sent").code(Code::Host)?;
    let link = Link::make().await?;
    let sender = open(&directory.join("sender"), Keeps::Cache).await?;
    let blob = sender.import_file(&source, FileMode::Reference, &Pin::new("bench")?).await?;
    let serving = tokio::spawn({
        let there = link.there.clone();
        async move { sender.serve(there, |_, _| true, 1).await }
    });
    let mib = args.size.0 as f64 / f64::from(1 << 20);
    let (mut quic, mut tcp, mut imports, mut copies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.rounds {
        let place = directory.join(format!("round-{round}"));
        std::fs::create_dir(&place).code(Code::Host)?;
        tcp.push(mib / in_thread(&source, &place, over_tcp).await?.as_secs_f64());
        quic.push(mib / over_quic(&link.here, blob, &place).await?.as_secs_f64());
        copies.push(mib / in_thread(&source, &place, copy).await?.as_secs_f64());
        imports.push(mib / import(&source, &place).await?.as_secs_f64());
        std::fs::remove_dir_all(&place).code(Code::Host)?;
    }
    link.close().await;
    serving.await.code(Code::Host)?;
    Ok(Results {
        bytes: args.size.0,
        rounds: args.rounds,
        mib_per_s: median(&quic),
        tcp_mib_per_s: median(&tcp),
        import_mib_per_s: median(&imports),
        copy_mib_per_s: median(&copies),
    })
}

/// Two nodes, and the two ends of a connection between them.
struct Link {
    nodes: [Node; 2],
    here: Connection,
    there: Connection,
}

impl Link {
    async fn make() -> anyhow::Result<Self> {
        let node = async || -> anyhow::Result<Node> {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).map_err(std::io::Error::from)?;
            let options = NodeOptions {
                bind: Bind::Loopback { port: 0 },
                protocols: vec![BLOBS_ALPN.to_vec()],
                ..NodeOptions::default()
            };
            Ok(Node::bind(&secret, options).await?)
        };
        let (dialer, dialed) = (node().await?, node().await?);
        let ticket = dialed.ticket(Pass::draw()?, PATIENCE).await?;
        let accept = async {
            let incoming = dialed.accept().await.context("the node has closed")?;
            anyhow::Ok(incoming.finish().await?)
        };
        let connect = async { anyhow::Ok(dialer.connect(&ticket, BLOBS_ALPN).await?) };
        let (here, there) = tokio::try_join!(connect, accept)?;
        Ok(Self { nodes: [dialer, dialed], here, there })
    }

    async fn close(self) {
        let [one, two] = &self.nodes;
        tokio::join!(one.close(), two.close());
    }
}

async fn open(folder: &Path, keeps: Keeps) -> anyhow::Result<Blobs> {
    Ok(Blobs::open(folder, BlobOptions { keeps, budget: u64::MAX, stall: PATIENCE }).await?)
}

async fn over_quic(connection: &Connection, blob: BlobRef, place: &Path) -> anyhow::Result<Duration> {
    let blobs = open(&place.join("receiver"), Keeps::Cache).await?;
    let pin = Pin::new("bench")?;
    let begun = Instant::now();
    blobs.fetch(connection, blob, &pin, |_| {}).await?;
    Ok(begun.elapsed())
}

async fn import(source: &Path, place: &Path) -> anyhow::Result<Duration> {
    let blobs = open(&place.join("durable"), Keeps::Durable).await?;
    let pin = Pin::new("bench")?;
    let begun = Instant::now();
    blobs.import_file(source, FileMode::Copy, &pin).await?;
    Ok(begun.elapsed())
}

/// How long something takes that blocks.
async fn in_thread(
    source: &Path,
    place: &Path,
    work: fn(&Path, &Path) -> std::io::Result<()>,
) -> anyhow::Result<Duration> {
    let (source, place) = (source.to_owned(), place.to_owned());
    let timed = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        work(&source, &place).map(|()| begun.elapsed())
    });
    timed.await.code(Code::Host)?.code(Code::Host)
}

/// Sends the file through a socket into another file.
fn over_tcp(source: &Path, place: &Path) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let mut to = TcpStream::connect(address)?;
            pour(&mut File::open(source)?, &mut to)
        });
        let (mut from, _) = listener.accept()?;
        pour(&mut from, &mut File::create(place.join("tcp"))?)?;
        sending.join().map_err(|_| std::io::Error::other("the sender panicked"))?
    })
}

fn copy(source: &Path, place: &Path) -> std::io::Result<()> {
    let mut to = File::create(place.join("copy"))?;
    pour(&mut File::open(source)?, &mut to)?;
    to.sync_data()
}

fn pour(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut piece)? {
            0 => return to.flush(),
            read => to.write_all(&piece[..read])?,
        }
    }
}

/// A file of bytes that no disk or socket can make less of.
fn fill(path: &Path, len: u64) -> std::io::Result<()> {
    let mut bytes = blake3::Hasher::new().finalize_xof();
    let mut file = File::create(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = len;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        bytes.fill(&mut piece[..most]);
        file.write_all(&piece[..most])?;
        left -= most as u64;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_are_measured() {
        let directory = tempfile::tempdir().expect("a folder");
        let args = Args { size: ByteSize(3 << 20), rounds: 1, json: true };
        let results = block_on(measure(&args, directory.path())).expect("loopback and a disk");
        let rates =
            [results.mib_per_s, results.tcp_mib_per_s, results.import_mib_per_s, results.copy_mib_per_s];
        assert!(rates.iter().all(|rate| rate.is_finite() && *rate > 0.0), "{rates:?}");
        assert_eq!(results.bytes, 3 << 20);
    }
}
