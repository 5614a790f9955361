//! Sessions between real endpoints: they open, or are refused with the reason that is theirs.

use std::time::{Duration, Instant};

use tidemill_net::{
    endpoint::{
        Bind, ConnectError, Connection, Node, NodeOptions, RecvStream, SendStream, finish, peer, verify,
    },
    frame::{FrameError, FrameReader, FrameWriter},
    opening::{self, LayoutError, OpeningError},
    probe,
    ticket::{MAX_ADDRESSES, Pass, Ticket},
};
use tidemill_types::NodeId;

use crate::support::{PATIENCE, Pair, SESSION, node, ticket};

const LIMIT: usize = 4096;

type Reader = FrameReader<RecvStream>;
type Writer = FrameWriter<SendStream>;

fn framed((send, recv): (SendStream, RecvStream)) -> (Reader, Writer) {
    (FrameReader::new(recv, LIMIT), FrameWriter::new(send, LIMIT))
}

async fn dial(connection: &Connection) -> (Reader, Writer) {
    framed(connection.open_bi().await.expect("a stream"))
}

async fn hear(connection: &Connection, patience: Duration) -> Result<(u32, String), OpeningError> {
    let (mut reader, mut writer) = framed(connection.accept_bi().await.expect("a stream"));
    let heard = opening::hear(&mut reader, &mut writer, (2, 3), patience).await;
    finish(&mut writer.into_inner(), PATIENCE).await;
    heard
}

#[tokio::test]
async fn a_session_opens_and_messages_flow() {
    let pair = Pair::new(SESSION).await;
    assert_eq!(peer(&pair.here), pair.dialed.id());
    assert_eq!(peer(&pair.there), pair.dialer.id());
    assert_eq!(pair.there.alpn(), SESSION);
    let dialed = async {
        let (mut reader, mut writer) = framed(pair.there.accept_bi().await.expect("a stream"));
        let heard = opening::hear::<_, _, String>(&mut reader, &mut writer, (1, 3), PATIENCE).await;
        let (version, hello) = heard.expect("a good dialer");
        assert_eq!((version, hello.as_str()), (2, "hello"));
        opening::welcome(&mut writer, version, &"welcome").await.expect("open");
        while let Some(number) = reader.next::<u64>().await.expect("numbers") {
            writer.send(&(number * 2)).await.expect("open");
        }
        finish(&mut writer.into_inner(), PATIENCE).await;
    };
    let dialer = async {
        let (mut reader, mut writer) = dial(&pair.here).await;
        let (version, words): (u32, String) =
            opening::open(&mut reader, &mut writer, (1, 2), &"hello", PATIENCE).await.expect("let in");
        assert_eq!((version, words.as_str()), (2, "welcome"));
        for number in 0..1000u64 {
            writer.push(&number).expect("short");
        }
        writer.flush().await.expect("open");
        writer.into_inner().finish().expect("open");
        for number in 0..1000 {
            assert_eq!(reader.next::<u64>().await.expect("numbers"), Some(number * 2));
        }
        assert_eq!(reader.next::<u64>().await.expect("a clean end"), None);
    };
    tokio::join!(dialed, dialer);
    pair.close().await;
}

#[tokio::test]
async fn a_foreign_protocol_is_refused_at_once() {
    let (dialer, dialed) = (node(1).await, node(2).await);
    let ticket = ticket(&dialed).await;
    let accept = async { dialed.accept().await.expect("open").finish().await.map(drop) };
    let begun = Instant::now();
    let (refused, accepted) = tokio::join!(dialer.connect(&ticket, b"tidemill/session/99"), accept);
    let error = refused.expect_err("nobody speaks it");
    assert!(matches!(error, ConnectError::NoSuchProtocol { .. }), "{error:?}");
    assert!(!error.may_pass());
    accepted.expect_err("no protocol in common");
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
    tokio::join!(dialer.close(), dialed.close());
}

#[tokio::test]
async fn a_node_that_is_not_there_is_named_after_a_while() {
    let options = NodeOptions {
        bind: Bind::Loopback { port: 0 },
        connect_timeout: Duration::from_millis(200),
        ..NodeOptions::default()
    };
    let dialer = Node::bind(&[1; 32], options).await.expect("loopback");
    let gone = node(2).await;
    let ticket_to_gone = ticket(&gone).await;
    gone.close().await;
    drop(gone);
    let error = dialer.connect(&ticket_to_gone, SESSION).await.expect_err("nobody is there");
    assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error:?}");
    assert!(error.may_pass());

    let itself = dialer.connect(&ticket(&dialer).await, SESSION).await.expect_err("no use");
    assert!(matches!(itself, ConnectError::Itself(_)), "{itself}");
    let nobody =
        (0..=255u8).map(|byte| NodeId([byte; 32])).find(|id| !verifiable(*id)).expect("half are no keys");
    let no_key = Ticket::new(nobody, ticket_to_gone.addresses().to_vec(), Pass::from_bytes([0; 16]))
        .expect("addresses");
    let error = dialer.connect(&no_key, SESSION).await.expect_err("no key");
    assert!(matches!(error, ConnectError::NotANode(_)), "{error}");
    dialer.close().await;
}

fn verifiable(id: NodeId) -> bool {
    iroh::PublicKey::from_bytes(&id.0).is_ok()
}

#[tokio::test]
async fn another_node_under_the_same_address_is_not_taken_for_it() {
    let (dialer, dialed) = (node(1).await, node(2).await);
    let real = ticket(&dialed).await;
    let other = node(3).await;
    let false_ticket =
        Ticket::new(other.id(), real.addresses().to_vec(), real.pass().clone()).expect("addresses");
    other.close().await;
    let accept = async { dialed.accept().await.expect("open").finish().await.map(drop) };
    let (connected, _) = tokio::join!(dialer.connect(&false_ticket, SESSION), accept);
    let error = connected.expect_err("another node");
    assert!(matches!(error, ConnectError::Failed { .. }), "{error:?}");
    tokio::join!(dialer.close(), dialed.close());
}

#[tokio::test]
async fn no_version_in_common_is_said_to_both() {
    let pair = Pair::new(SESSION).await;
    let dialer = async {
        let (mut reader, mut writer) = dial(&pair.here).await;
        opening::open::<_, _, _, String>(&mut reader, &mut writer, (4, 9), &"hello", PATIENCE).await
    };
    let (dialed, dialer) = tokio::join!(hear(&pair.there, PATIENCE), dialer);
    assert!(
        matches!(dialed, Err(OpeningError::NoCommonVersion { ours: (2, 3), theirs: (4, 9) })),
        "{dialed:?}"
    );
    let OpeningError::Refused { reason } = dialer.expect_err("refused") else { panic!("no reason") };
    assert!(reason.contains("versions 4 to 9"), "{reason}");
    pair.close().await;
}

#[tokio::test]
async fn silence_is_not_waited_for_for_ever() {
    let pair = Pair::new(SESSION).await;
    let patience = Duration::from_millis(50);
    // A stream is seen by the other side once something is sent on it.
    let dialer = async {
        let (mut send, recv) = pair.here.open_bi().await.expect("a stream");
        send.write_all(&[1, 0]).await.expect("open");
        let (mut reader, writer) = framed((send, recv));
        let answer = reader.next_bytes().await.expect("whole").expect("an answer");
        drop(writer);
        opening::Answer::decode(&answer)
    };
    let (dialed, told) = tokio::join!(hear(&pair.there, patience), dialer);
    assert!(matches!(dialed, Err(OpeningError::Silent(_))), "{dialed:?}");
    assert!(matches!(told, Ok(opening::Answer::Refused { .. })), "{told:?}");

    // The dialer does not wait for ever either.
    let (mut reader, mut writer) = dial(&pair.here).await;
    let error = opening::open::<_, _, _, String>(&mut reader, &mut writer, (1, 1), &"hello", patience).await;
    let error = error.expect_err("nobody answers");
    assert!(matches!(error, OpeningError::Silent(_)), "{error:?}");
    assert!(error.may_pass());
    pair.close().await;
}

#[tokio::test]
async fn garbage_and_oversized_frames_are_refused() {
    async fn heard(first_bytes: &[u8]) -> OpeningError {
        let pair = Pair::new(SESSION).await;
        let dialer = async {
            let (mut send, mut recv) = pair.here.open_bi().await.expect("a stream");
            send.write_all(first_bytes).await.expect("open");
            send.finish().expect("open");
            recv.read_to_end(LIMIT).await.expect("a refusal")
        };
        let (heard, told) = tokio::join!(hear(&pair.there, PATIENCE), dialer);
        assert!(told.windows(8).any(|bytes| bytes == b"tidemill"), "it is told: {told:?}");
        pair.close().await;
        heard.expect_err("refused")
    }
    let foreign = heard(&[8, 0, 0, 0, b'G', b'E', b'T', b' ', b'/', b' ', b'H', b'T']).await;
    assert!(matches!(foreign, OpeningError::Layout(LayoutError::Foreign)), "{foreign:?}");
    let oversized = heard(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(matches!(oversized, OpeningError::Stream(FrameError::Oversized { .. })), "{oversized:?}");
    let short = heard(&[9, 0, 0, 0, b't', b'i', b'd', b'e', b'm', b'i', b'l', b'l', 1]).await;
    assert!(matches!(short, OpeningError::Layout(LayoutError::Short)), "{short:?}");
    let good = opening::Opening { versions: (1, 9), body: vec![200, 1, 2].into() }.encode();
    let body = heard(&[&(good.len() as u32).to_le_bytes()[..], &good].concat()).await;
    assert!(matches!(body, OpeningError::Body(_)), "{body:?}");
    let nothing = heard(&[]).await;
    assert!(matches!(nothing, OpeningError::HungUp), "{nothing:?}");
}

#[tokio::test]
async fn a_refusal_reaches_the_dialer_before_the_connection_ends() {
    let pair = Pair::new(SESSION).await;
    let dialed = async {
        let (mut reader, mut writer) = framed(pair.there.accept_bi().await.expect("a stream"));
        let heard = opening::hear::<_, _, String>(&mut reader, &mut writer, (1, 1), PATIENCE).await;
        heard.expect("a good dialer");
        opening::refuse(&mut writer, "the pass is\u{1b}[2J not right").await.expect("open");
        finish(&mut writer.into_inner(), PATIENCE).await;
        pair.there.close(0u8.into(), b"");
    };
    let dialer = async {
        let (mut reader, mut writer) = dial(&pair.here).await;
        opening::open::<_, _, _, String>(&mut reader, &mut writer, (1, 1), &"hello", PATIENCE).await
    };
    let ((), refused) = tokio::join!(dialed, dialer);
    let error = refused.expect_err("refused");
    assert_eq!(error.to_string(), "refused: the pass is\u{fffd}[2J not right");
    pair.close().await;
}

/// A provider that turns up a second time is told from one that comes back.
#[tokio::test]
async fn a_copy_is_refused_by_name_and_does_not_try_again() {
    let pair = Pair::new(SESSION).await;
    let dialed = async {
        let (mut reader, mut writer) = framed(pair.there.accept_bi().await.expect("a stream"));
        let heard = opening::hear::<_, _, String>(&mut reader, &mut writer, (1, 1), PATIENCE).await;
        heard.expect("a good dialer");
        opening::refuse_copy(&mut writer, "copied directory?").await.expect("open");
        finish(&mut writer.into_inner(), PATIENCE).await;
    };
    let dialer = async {
        let (mut reader, mut writer) = dial(&pair.here).await;
        opening::open::<_, _, _, String>(&mut reader, &mut writer, (1, 1), &"hello", PATIENCE).await
    };
    let ((), refused) = tokio::join!(dialed, dialer);
    let error = refused.expect_err("refused");
    assert!(matches!(&error, OpeningError::Taken { reason } if reason == "copied directory?"), "{error:?}");
    assert!(!error.may_pass());
    pair.close().await;
}

/// More often than a connection may have streams, so that none of them may be left over.
#[tokio::test]
async fn a_peer_that_lives_says_so_as_often_as_it_is_asked() {
    let pair = Pair::new(SESSION).await;
    let answering = tokio::spawn(probe::answer(pair.here.clone()));
    for _ in 0..200 {
        assert!(probe::lives(&pair.there, PATIENCE).await);
    }
    pair.close().await;
    answering.await.expect("it ends with the connection");
}

#[tokio::test]
async fn a_peer_that_is_gone_or_stands_still_does_not_say_that_it_lives() {
    let pair = Pair::new(SESSION).await;
    assert!(!probe::lives(&pair.there, Duration::from_millis(50)).await, "nobody answers");
    pair.here.close(0u8.into(), b"");
    pair.there.closed().await;
    assert!(!probe::lives(&pair.there, PATIENCE).await, "the connection is closed");
    pair.close().await;
}

#[tokio::test]
async fn a_node_signs_and_others_check() {
    let node = node(1).await;
    let signature = node.sign(b"these words");
    assert!(verify(node.id(), b"these words", &signature));
    assert!(!verify(node.id(), b"other words", &signature));
    assert!(!verify(NodeId([2; 32]), b"these words", &signature));
    assert!(!verify(node.id(), b"these words", &[0; 64]));
    node.close().await;
}

#[tokio::test]
async fn a_node_on_all_interfaces_is_reached_by_its_ticket() {
    let options = NodeOptions { protocols: vec![SESSION.to_vec()], ..NodeOptions::default() };
    let dialed = Node::bind(&[2; 32], options).await.expect("some interface");
    let dialer = node(1).await;
    let ticket = ticket(&dialed).await;
    let [others @ .., last] = ticket.addresses() else { panic!("no address: {ticket:?}") };
    assert!(others.iter().all(|address| !address.ip().is_loopback()), "it comes last: {ticket:?}");
    assert!(last.ip().is_loopback() || ticket.addresses().len() == MAX_ADDRESSES, "{ticket:?}");
    assert!(ticket.addresses().iter().any(|address| Some(address.port()) == dialed.port()), "{ticket:?}");
    let accept = async { dialed.accept().await.expect("open").finish().await.map(drop) };
    let (connected, accepted) = tokio::join!(dialer.connect(&ticket, SESSION), accept);
    connected.expect("reachable");
    accepted.expect("a good dialer");
    tokio::join!(dialer.close(), dialed.close());
    assert!(dialed.accept().await.is_none(), "closed");
}

/// Prints what a connection costs: `cargo test --release -p tidemill-net -- --ignored --nocapture costs`.
#[tokio::test]
#[ignore = "a measurement"]
async fn what_a_connection_costs() {
    for _ in 0..5 {
        let begun = Instant::now();
        let (dialer, dialed) = (node(1).await, node(2).await);
        let bound = begun.elapsed();
        let ticket = ticket(&dialed).await;
        let known = begun.elapsed();
        let accept = async { dialed.accept().await.expect("open").finish().await.expect("a good dialer") };
        let (here, _there) = tokio::join!(dialer.connect(&ticket, SESSION), accept);
        here.expect("reachable");
        let connected = begun.elapsed();
        tokio::join!(dialer.close(), dialed.close());
        let closed = begun.elapsed();
        println!(
            "bind both {bound:?}, ticket {:?}, connect {:?}, close {:?}",
            known - bound,
            connected - known,
            closed - connected
        );
    }
    let (begun, used) = (Instant::now(), rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime));
    let pair = Pair::new(SESSION).await;
    let _ = tokio::time::timeout(Duration::from_secs(10), pair.here.closed()).await;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_ms = (now.tv_sec - used.tv_sec) * 1000 + (now.tv_nsec - used.tv_nsec) / 1_000_000;
    println!("a pair of connected nodes, {:?} idle: {cpu_ms} ms of CPU", begun.elapsed());
    pair.close().await;
}
