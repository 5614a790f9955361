//! Nodes and folders for tests.

use std::{path::Path, time::Duration};

use tempfile::TempDir;
use tidemill_net::{
    blobs::{BLOBS_ALPN, BlobOptions, Blobs, Keeps, Pin},
    endpoint::{Bind, Connection, Node, NodeOptions},
    ticket::{Pass, Ticket},
};

pub const SESSION: &[u8] = b"tidemill/test/1";

/// Long enough for a loaded machine; nothing waits for it unless something is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub async fn node(secret: u8) -> Node {
    let options = NodeOptions {
        bind: Bind::Loopback { port: 0 },
        protocols: vec![SESSION.to_vec(), BLOBS_ALPN.to_vec()],
        ..NodeOptions::default()
    };
    Node::bind(&[secret; 32], options).await.expect("loopback is there")
}

pub async fn ticket(node: &Node) -> Ticket {
    node.ticket(Pass::from_bytes([7; 16]), PATIENCE).await.expect("it listens")
}

/// Two nodes and a connection between them: its ends at the dialer and at the node that was dialed.
pub struct Pair {
    pub dialer: Node,
    pub dialed: Node,
    pub here: Connection,
    pub there: Connection,
}

impl Pair {
    pub async fn new(protocol: &[u8]) -> Self {
        let (dialer, dialed) = (node(1).await, node(2).await);
        let ticket = ticket(&dialed).await;
        let accept = async { dialed.accept().await.expect("open").finish().await.expect("a good dialer") };
        let (here, there) = tokio::join!(dialer.connect(&ticket, protocol), accept);
        Self { here: here.expect("reachable"), there, dialer, dialed }
    }

    pub async fn close(self) {
        tokio::join!(self.dialer.close(), self.dialed.close());
    }
}

pub fn pin(name: &str) -> Pin {
    Pin::new(name).expect("a plain name")
}

pub fn options(budget: u64) -> BlobOptions {
    BlobOptions { keeps: Keeps::Durable, budget, stall: PATIENCE }
}

pub async fn open(folder: &Path, budget: u64) -> Blobs {
    Blobs::open(folder, options(budget)).await.expect("a folder of our own")
}

pub async fn open_cache(folder: &Path, budget: u64) -> Blobs {
    let options = BlobOptions { keeps: Keeps::Cache, ..options(budget) };
    Blobs::open(folder, options).await.expect("a folder of our own")
}

/// A folder of blobs that goes with the test.
pub async fn folder(budget: u64) -> (Blobs, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    (open(folder.path(), budget).await, folder)
}

/// Bytes that do not repeat.
pub fn bytes(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes
}
