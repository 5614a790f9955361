//! Peers that do not keep to the protocol: each is refused or cut off, the log says why, and the job of an honest
//! requester on honest providers goes on meanwhile.

mod attacker;

use std::num::NonZeroU64;

use tidemill_net::{
    blobs::{BLOBS_ALPN, BlobOptions, BlobRef, Blobs, FetchError, Keeps, Pin},
    client::{CallError, Client},
    endpoint::{Node, NodeOptions},
    frame::FrameWriter,
    opening::{self, Answer, OPENING_PATIENCE, OpeningError},
    session::{Session, SessionError, bind_keys},
    ticket::{Pass, Ticket},
    wire::{
        Chunk, FollowedChunk, FromProvider, Hello, Lease, MAX_CHUNK_BYTES, MAX_FRAME_BYTES, Refusal, Reply,
        Request, ResultBatch, Role, SESSION_VERSIONS, Welcome,
    },
};
use tidemill_types::{BlobId, Chain, FloatClass, JobId, LeaseId, ResultKey, Signature65, TaskId, TaskNumber};

use self::attacker::{Attacker, Stream, farewell, farewell_after, lease, say};
use crate::{
    faults::{
        cluster::{ends_well, provide, serve, slow_job, submit},
        process::Process,
    },
    puppet::puppet,
    support::Place,
};

/// Lets somebody attack a network that has a job, which must take no harm. All the words must come in the log.
fn withstands(attack: impl AsyncFnOnce(Attacker, JobId), words: &[&str]) {
    let place = Place::new();
    place.job(&slow_job(6));
    let mut coordinator = serve(&place);
    let providers = ["one", "two"].map(|name| provide(&place, name));
    let job = submit(&place);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let attacker = Attacker::of(&place).await;
        attack(attacker, job.parse().expect("the id of a job")).await;
    });
    for words in words {
        coordinator.until_it_logs(words);
    }
    ends_well(&place, &job);
    providers.into_iter().for_each(Process::stop);
    coordinator.stop();
}

/// The reason of the refusal that is the first thing said on a stream.
async fn refusal(mut stream: Stream) -> String {
    let answer = stream.reader.next_bytes().await.expect("a stream").expect("an answer");
    match Answer::decode(&answer).expect("an answer") {
        Answer::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// The reason for which a dialer is not let in.
fn refused<T>(dialed: Result<T, OpeningError>) -> String {
    match dialed {
        Err(OpeningError::Refused { reason }) => reason,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it is let in"),
    }
}

/// The first words of an attacker whose keys vouch for each other if it is this node.
fn hello_of(attacker: &Attacker, node: &Node) -> Hello {
    Hello {
        pass: *attacker.ticket.pass().as_bytes(),
        software: "attacker".to_owned(),
        binding: bind_keys(node, &attacker.key, &Chain::default()),
        role: Role::Requester,
    }
}

#[test]
fn garbage_instead_of_an_opening() {
    withstands(
        async |attacker, _| {
            let mut stream = attacker.connect().await;
            stream.send.write_all(&[0xff; 64]).await.expect("a stream");
            refusal(stream).await;
        },
        &["a session did not come about"],
    );
}

#[test]
fn an_opening_of_another_protocol() {
    withstands(
        async |attacker, _| {
            let stream = say(attacker.connect().await, b"GET / HTTP/1.1\r\nHost: tidemill\r\n\r\n").await;
            let reason = refusal(stream).await;
            assert!(reason.contains("does not speak Tidemill's session protocol"), "{reason}");
        },
        &["a session did not come about", "does not speak Tidemill's session protocol"],
    );
}

#[test]
fn an_opening_of_a_version_that_is_gone() {
    withstands(
        async |attacker, _| {
            let Stream { connection: _connection, send, mut reader } = attacker.connect().await;
            let mut writer = FrameWriter::new(send, MAX_FRAME_BYTES);
            let hello = hello_of(&attacker, &attacker.node);
            let opened: Result<(u32, Welcome), _> =
                opening::open(&mut reader, &mut writer, (0, 0), &hello, OPENING_PATIENCE).await;
            let reason = refused(opened);
            assert!(reason.contains("speaks versions 0 to 0"), "{reason}");
        },
        &["speaks versions 0 to 0"],
    );
}

#[test]
fn a_pass_of_another_network() {
    withstands(
        async |attacker, _| {
            let (node, addresses) = (attacker.ticket.node(), attacker.ticket.addresses().to_vec());
            let ticket = Ticket::new(node, addresses, Pass::from_bytes([7; 16])).expect("an address");
            let dialed = Session::dial(&attacker.node, &attacker.key, &ticket, Role::Requester).await;
            let Err(SessionError::Opening(error)) = dialed else { panic!("it is let in") };
            let reason = refused::<()>(Err(error));
            assert!(reason.contains("pass"), "{reason}");
        },
        &["a peer was turned away", "the ticket's pass is not this network's"],
    );
}

/// A session was enough to have any blob whose hash was known, as that of an output without a verdict.
#[test]
fn a_requester_that_wants_a_blob_of_another_s_job() {
    withstands(
        async |attacker, _| {
            let client = Client::connect(&attacker.node, &attacker.key, &attacker.ticket).await;
            let _session = client.expect("a session");
            let connection = attacker.node.connect(&attacker.ticket, BLOBS_ALPN).await.expect("a connection");
            let folder = tempfile::tempdir().expect("a directory");
            let stall = std::time::Duration::from_secs(20);
            let options = BlobOptions { keeps: Keeps::Cache, budget: 1 << 30, stall };
            let blobs = Blobs::open(folder.path(), options).await.expect("a folder");
            // The job runs this, so that it is there.
            let program = puppet();
            let blob = BlobRef { id: BlobId::of(program), len: program.len() as u64 };
            let pin = Pin::new("stolen").expect("a name");
            let fetched = blobs.fetch(&connection, blob, &pin, |_| {}).await;
            assert!(matches!(fetched, Err(FetchError::NotThere(_))), "{fetched:?}");
        },
        &[],
    );
}

#[test]
fn a_binding_of_another_node() {
    withstands(
        async |attacker, _| {
            let other = Node::bind(&[67; 32], NodeOptions::default()).await.expect("a port");
            let Stream { connection: _connection, send, mut reader } = attacker.connect().await;
            let mut writer = FrameWriter::new(send, MAX_FRAME_BYTES);
            let hello = hello_of(&attacker, &other);
            let opened: Result<(u32, Welcome), _> =
                opening::open(&mut reader, &mut writer, SESSION_VERSIONS, &hello, OPENING_PATIENCE).await;
            let reason = refused(opened);
            assert!(reason.contains("do not vouch for each other"), "{reason}");
        },
        &["a session did not come about", "do not vouch for each other"],
    );
}

#[test]
fn garbage_in_a_session() {
    withstands(
        async |attacker, _| {
            let mut session = attacker.join().await.expect("a session");
            session.writer.push_bytes(&[0xff; 64]).expect("a short frame");
            session.writer.flush().await.expect("a session");
            farewell(&mut session.reader).await;
            let again = attacker.join().await.expect_err("it is kept out for a while");
            assert!(again.to_string().contains("it broke the protocol"), "{again}");
        },
        &["a peer is cut off", "a peer was turned away"],
    );
}

#[test]
fn a_frame_that_is_too_long() {
    withstands(
        async |attacker, _| {
            let mut session = attacker.join().await.expect("a session");
            let mut stream = session.writer.into_inner();
            stream.write_all(&u32::MAX.to_le_bytes()).await.expect("a session");
            let reason = farewell(&mut session.reader).await;
            assert!(reason.contains("4294967295"), "{reason}");
        },
        &["a peer is cut off", "4294967295"],
    );
}

#[test]
fn native_floats_of_no_class_in_a_later_offer() {
    withstands(
        async |attacker, _| {
            let (canonical, native) = (FloatClass::Canonical, FloatClass::Native);
            // It would have been turned away with the second one.
            let session = attacker.join_with(attacker.offer(vec![canonical], None)).await.expect("a session");
            let offer = attacker.offer(vec![native, canonical], None);
            let reason = farewell_after(session, &FromProvider::Offer(offer)).await;
            assert!(reason.contains("native floats of the hardware class"), "{reason}");
        },
        &["a peer is cut off", "native floats of the hardware class"],
    );
}

/// Has the attacker send what it makes of its first lease; it is cut off for this reason.
fn results_are_refused(make: impl FnOnce(&Attacker, Lease) -> ResultBatch, reason: &str) {
    withstands(
        async |attacker, _| {
            let mut session = attacker.join().await.expect("a session");
            let lease = lease(&mut session.reader).await;
            let said = farewell_after(session, &FromProvider::Results(make(&attacker, lease))).await;
            assert!(said.contains(reason), "{said}");
        },
        &["a peer is cut off", reason],
    );
}

#[test]
fn a_result_for_a_lease_that_was_never_given() {
    results_are_refused(
        |attacker, lease| {
            let lease = Lease { id: LeaseId(lease.id.0 + 1_000_000), ..lease };
            attacker.batch(vec![attacker.result(&lease)])
        },
        "never given",
    );
}

#[test]
fn a_result_of_another_task() {
    results_are_refused(
        |attacker, lease| {
            let other = Lease { task: TaskNumber(lease.task.0 + 1), ..lease };
            attacker.batch(vec![attacker.result(&other)])
        },
        "not of the task that was leased",
    );
}

#[test]
fn a_result_under_a_signature_that_does_not_hold() {
    results_are_refused(
        |attacker, lease| {
            let batch = attacker.batch(vec![attacker.result(&lease)]);
            ResultBatch { signature: Signature65([1; 65]), ..batch }
        },
        "not signed by its result key",
    );
}

#[test]
fn a_result_under_another_key() {
    results_are_refused(
        |attacker, lease| {
            let other = ResultKey::from_bytes(&[67; 32]).expect("the bytes are a key");
            let results = vec![attacker.result(&lease)];
            attacker.batch_by(&other, results)
        },
        "not signed by its result key",
    );
}

/// The first means nothing: nobody follows what it has.
#[test]
fn a_piece_of_an_output_that_nobody_follows_and_one_that_is_too_long() {
    withstands(
        async |attacker, _| {
            let mut session = attacker.join().await.expect("a session");
            let pieces = |len| {
                let chunk = Chunk { number: 0, offset: 0, bytes: vec![0; len] };
                FromProvider::Chunks(vec![FollowedChunk { follow: NonZeroU64::MIN, chunk }])
            };
            session.writer.send(&pieces(1)).await.expect("a session");
            let said = farewell_after(session, &pieces(MAX_CHUNK_BYTES + 1)).await;
            assert!(said.contains("a piece of an output"), "{said}");
        },
        &["a peer is cut off", "a piece of an output"],
    );
}

/// To whom a job does not belong it is as if there were none.
#[test]
fn a_requester_that_asks_for_another_s_job() {
    withstands(
        async |attacker, job| {
            let client = Client::connect(&attacker.node, &attacker.key, &attacker.ticket).await;
            let client = client.expect("a session");
            let (from, task, limit) = (TaskNumber(0), TaskNumber(0), 10);
            for request in [
                Request::Job { job },
                Request::Watch { job },
                Request::Tasks { job, from, limit },
                Request::Outputs { job, from, limit },
                Request::Log { job, task },
                Request::Follow(TaskId { job, task }),
                Request::Output(TaskId { job, task }),
                Request::Explain { job, task: Some(task) },
                Request::Remove { job },
                Request::Cancel { job },
            ] {
                let what = format!("{request:?}");
                let answer = client.call(request).await;
                assert_eq!(answer, Err(CallError::Refused(Refusal::NoSuchJob)), "{what}");
            }
            assert_eq!(
                client.call(Request::Jobs { limit, after: None, all: false }).await,
                Ok(Reply::Jobs(Vec::new()))
            );
        },
        &[],
    );
}
