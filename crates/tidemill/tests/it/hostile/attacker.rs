//! A peer that says what it wants.

use std::fs;

use tidemill_net::{
    endpoint::{Bind, Connection, Node, NodeOptions, RecvStream, SendStream},
    frame::{FrameReader, FrameWriter},
    session::{Session, SessionError},
    ticket::Ticket,
    wire::{
        FromProvider, Incarnation, Lease, LogBody, MAX_FRAME_BYTES, ResultBatch, Role, SESSION_ALPN,
        TaskResult, ToProvider,
    },
};
use tidemill_types::{
    BatchTerms, ByteSize, Capacity, Chain, Claim, Engine, Failure, FloatClass, Leaf, Offer, Outcome,
    ProgramKind, RateCard, ResultKey, Terms, Usage, WorkTerms, merkle,
};

use crate::support::Place;

pub struct Attacker {
    pub node: Node,
    pub key: ResultKey,
    pub ticket: Ticket,
}

/// A stream on which nothing has been said.
pub struct Stream {
    pub connection: Connection,
    pub send: SendStream,
    pub reader: FrameReader<RecvStream>,
}

impl Attacker {
    /// One with keys of its own and the ticket in the file `ticket`.
    pub async fn of(place: &Place) -> Self {
        let text = fs::read_to_string(place.path("ticket")).expect("a ticket");
        let options = NodeOptions { bind: Bind::Loopback { port: 0 }, ..NodeOptions::default() };
        Self {
            node: Node::bind(&[66; 32], options).await.expect("a port"),
            key: ResultKey::from_bytes(&[66; 32]).expect("the bytes are a key"),
            ticket: text.parse().expect("a ticket"),
        }
    }

    /// Connects, and has a stream.
    pub async fn connect(&self) -> Stream {
        let connection = self.node.connect(&self.ticket, SESSION_ALPN).await.expect("a connection");
        let (send, receive) = connection.open_bi().await.expect("a stream");
        Stream { connection, send, reader: FrameReader::new(receive, MAX_FRAME_BYTES) }
    }

    /// Joins as a provider that may hold a few leases.
    pub async fn join(&self) -> Result<Session, SessionError> {
        self.join_with(self.offer(vec![FloatClass::Native, FloatClass::Canonical], class())).await
    }

    /// Joins as a provider with an offer.
    pub async fn join_with(&self, offer: Offer) -> Result<Session, SessionError> {
        let incarnation = Incarnation { process: [66; 16], place: [66; 16] };
        let role = Role::Provider { offer, credits: 4, held: Vec::new(), incarnation };
        Session::dial(&self.node, &self.key, &self.ticket, role).await.map(|(session, _)| session)
    }

    /// What it lends, on hardware of a class.
    pub fn offer(&self, floats: Vec<FloatClass>, hardware_class: Option<String>) -> Offer {
        let engine = Engine {
            kind: ProgramKind::Wasm,
            floats,
            hardware_class,
            exec_version: ProgramKind::Wasm.version(),
            slots: 1,
            memory: ByteSize::mib(16_384),
            capacity: Capacity { single_fuel_per_s: 1 << 40, all_fuel_per_s: 1 << 40 },
            rates: RateCard::FREE,
            models: Vec::new(),
        };
        Offer {
            name: "attacker".to_owned(),
            disk: ByteSize::mib(16_384),
            down_bytes_per_s: 1 << 30,
            engines: vec![engine],
        }
    }

    /// What it says came of a lease: that the task broke.
    pub fn result(&self, lease: &Lease) -> TaskResult {
        let outcome = Outcome::Failed(Failure::WorkerDied { reason: "so it says".to_owned() });
        let claim = Claim { outcome, usage: Usage::default(), output: None, hardware_class: class() };
        let terms = Terms {
            escrow: [0; 32],
            coordinator: self.ticket.node(),
            provider: self.node.id(),
            job: lease.job,
            task: lease.task,
            lease: lease.id,
            work: WorkTerms::of(&lease.spec),
        };
        let leaf = Leaf::of(&terms, &claim).expect("a failure has no output").hash();
        let log = LogBody::Whole(Vec::new());
        TaskResult { lease: lease.id, seal: lease.seal, leaf, claim, wall_us: 1, output: None, log }
    }

    /// Results, signed as they should be.
    pub fn batch(&self, results: Vec<TaskResult>) -> ResultBatch {
        self.batch_by(&self.key, results)
    }

    /// Results, signed by a key.
    pub fn batch_by(&self, key: &ResultKey, results: Vec<TaskResult>) -> ResultBatch {
        let leaves: Vec<_> = results.iter().map(|result| result.leaf).collect();
        let terms = BatchTerms {
            root: merkle::root(&leaves),
            count: u32::try_from(leaves.len()).expect("a few"),
            coordinator: self.ticket.node(),
            provider: self.node.id(),
            sequence: 1,
        };
        let signature = key.sign_batch(&Chain::default(), &terms);
        ResultBatch { sequence: 1, results, signature }
    }
}

/// The class of hardware that an honest provider on this host has.
fn class() -> Option<String> {
    tidemill_exec::hardware_class().map(str::to_owned)
}

/// Waits for a lease, and passes over what comes before it.
pub async fn lease(reader: &mut FrameReader<RecvStream>) -> Lease {
    loop {
        let message = reader.next::<ToProvider>().await.expect("a message").expect("a message");
        if let ToProvider::Leases(leases) = message
            && let Some(lease) = leases.into_iter().next()
        {
            return lease;
        }
    }
}

/// Says something, and waits for the farewell that follows from it.
pub async fn farewell_after(mut session: Session, message: &FromProvider) -> String {
    session.writer.send(message).await.expect("a session");
    farewell(&mut session.reader).await
}

/// Waits for a farewell, and passes over what comes before it.
pub async fn farewell(reader: &mut FrameReader<RecvStream>) -> String {
    loop {
        let message = reader.next::<ToProvider>().await.expect("a message").expect("a farewell");
        if let ToProvider::Bye { reason } = message {
            return reason;
        }
    }
}

/// Writes a frame as it should be.
pub async fn say(stream: Stream, frame: &[u8]) -> Stream {
    let Stream { connection, send, reader } = stream;
    let mut writer = FrameWriter::new(send, MAX_FRAME_BYTES);
    writer.push_bytes(frame).expect("a short frame");
    writer.flush().await.expect("a stream");
    Stream { connection, send: writer.into_inner(), reader }
}
