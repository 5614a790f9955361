//! A coordinator that was started anew is heard by those who had sessions with it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tidemill_net::{
    client::Client,
    endpoint::{Bind, Node, NodeOptions},
    opening,
    recall::recall,
    session::{SOFTWARE, Session, bind_keys},
    wire::{Process, SESSION_ALPN, Welcome},
};
use tidemill_types::{Chain, Millis, ResultKey};
use tokio::time::timeout;

use crate::support::{PATIENCE, node, ticket};

/// Two processes of the coordinator.
const BEFORE: Process = Process([1; 16]);
const NOW: Process = Process([2; 16]);

/// A node that dials these coordinators, and where it is.
async fn caller(coordinators: &[&Node]) -> (Node, SocketAddr) {
    let options = NodeOptions {
        bind: Bind::Loopback { port: 0 },
        recalled_by: coordinators.iter().map(|coordinator| coordinator.id()).collect(),
        ..NodeOptions::default()
    };
    let node = Node::bind(&[1; 32], options).await.expect("loopback is there");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, node.port().expect("it is open")));
    (node, address)
}

#[tokio::test]
async fn a_recall_is_heard_from_the_coordinator_alone() {
    let (coordinator, stranger) = (node(2).await, node(3).await);
    let (called, address) = caller(&[&coordinator]).await;
    let mut recalls = called.recalls(coordinator.id()).expect("it listens");
    assert!(
        !recall(&stranger, NOW, called.id(), address, PATIENCE, || true).await,
        "it is nobody's business"
    );
    assert!(
        !recall(&coordinator, NOW, called.id(), address, PATIENCE, || false).await,
        "it came back by itself"
    );
    assert!(recall(&coordinator, NOW, called.id(), address, PATIENCE, || true).await);
    timeout(PATIENCE, recalls.next()).await.expect("it was told");
    tokio::join!(coordinator.close(), stranger.close(), called.close());
}

#[tokio::test]
async fn a_recall_is_that_of_the_coordinator_that_called() {
    let (one, other) = (node(2).await, node(3).await);
    let (called, address) = caller(&[&one, &other]).await;
    let mut of_one = called.recalls(one.id()).expect("it listens");
    let mut of_other = called.recalls(other.id()).expect("it listens");
    assert!(recall(&other, NOW, called.id(), address, PATIENCE, || true).await);
    timeout(PATIENCE, of_other.next()).await.expect("it was told");
    assert!(timeout(Duration::ZERO, of_one.next()).await.is_err(), "the other one called");
    assert!(recall(&one, NOW, called.id(), address, PATIENCE, || true).await);
    timeout(PATIENCE, of_one.next()).await.expect("it was told");
    tokio::join!(one.close(), other.close(), called.close());
}

#[tokio::test]
async fn who_came_back_by_itself_goes_on() {
    let coordinator = node(2).await;
    let (called, address) = caller(&[&coordinator]).await;
    let mut recalls = called.recalls(coordinator.id()).expect("it listens");
    recalls.begun(NOW);
    // The call goes to where it was before, and it came back from elsewhere.
    assert!(recall(&coordinator, NOW, called.id(), address, PATIENCE, || true).await, "it hears");
    assert!(timeout(Duration::ZERO, recalls.next()).await.is_err(), "and has nothing to come back from");
    assert!(recall(&coordinator, BEFORE, called.id(), address, PATIENCE, || true).await);
    timeout(PATIENCE, recalls.next()).await.expect("another process is news");
    tokio::join!(coordinator.close(), called.close());
}

#[tokio::test]
async fn a_recall_ends_a_requesters_session_with_the_process_before() {
    let options = NodeOptions {
        bind: Bind::Loopback { port: 0 },
        protocols: vec![SESSION_ALPN.to_vec()],
        ..NodeOptions::default()
    };
    let coordinator = Node::bind(&[2; 32], options).await.expect("loopback is there");
    let (requester, address) = caller(&[&coordinator]).await;
    let ticket = ticket(&coordinator).await;
    let key = ResultKey::from_bytes(&[7; 32]).expect("a key");
    let welcome = Welcome {
        software: SOFTWARE.to_owned(),
        process: BEFORE,
        binding: bind_keys(&coordinator, &key, &Chain::default()),
        chain: Chain::default(),
        heartbeat: Millis(3_000),
        lease: Millis(15_000),
        money: None,
    };
    let take_in = async {
        let connection = coordinator.accept().await.expect("open").finish().await.expect("a good dialer");
        let (mut session, version, _) = Session::hear(connection).await.expect("a good requester");
        opening::welcome(&mut session.writer, version, &welcome).await.expect("it listens");
        session
    };
    let (client, _session) = tokio::join!(Client::connect(&requester, &key, &ticket), take_in);
    let client = client.expect("let in");
    assert!(recall(&coordinator, NOW, requester.id(), address, PATIENCE, || true).await);
    timeout(PATIENCE, client.lost()).await.expect("the session is over");
    tokio::join!(coordinator.close(), requester.close());
}
