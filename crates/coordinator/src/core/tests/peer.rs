//! A provider: what a task's result is, how it is signed, and what is known of leases there.

use std::collections::BTreeMap;

use tidemill_net::wire::{
    FromProvider, HeldLease, Lease, LogBody, MAX_INLINE_OUTPUT_BYTES, OutputBody, ResultBatch, TaskResult,
    ToProvider,
};
use tidemill_types::{
    Address, ArchiveBuilder, BatchTerms, BlobId, ByteSize, Capacity, Chain, Claim, ClaimedOutput, Engine,
    Failure, FloatClass, Fuel, GuestPath, JobId, KeyBinding, Leaf, LeaseId, NodeId, Offer, Outcome,
    ProgramKind, RateCard, ResultKey, SpecHash, TaskId, TaskNumber, Terms, Usage, WorkTerms, merkle,
};

use super::world::{COORDINATOR, World};
use crate::event::{Event, Network, SessionId};

/// A provider as it sees itself.
pub struct Peer {
    pub node: NodeId,
    pub key: ResultKey,
    pub session: Option<SessionId>,
    pub slots: u32,
    pub credits: u32,
    pub network: Option<Network>,
    pub hardware_class: Option<String>,
    pub rates: RateCard,
    /// By how much its outputs of noisy tasks differ from those of others.
    pub noise: u8,
    /// What it was given and has not done, in order.
    pub leases: Vec<Lease>,
    /// Results that were sent and are not settled, by batch.
    pub sent: BTreeMap<u64, Vec<TaskResult>>,
    next_sequence: u64,
    /// The outputs that do not travel in messages.
    outputs: BTreeMap<BlobId, Vec<u8>>,
}

/// The fuel that every honest attempt at a task burns.
pub const FUEL: Fuel = Fuel(1_000_000);

/// The bytes of a file whose archive does not travel in a message.
pub const LARGE: usize = MAX_INLINE_OUTPUT_BYTES + 1;

/// The output of every honest attempt at a task: an archive of one file, large for some tasks.
pub fn output_of(spec: SpecHash) -> Vec<u8> {
    let seed = spec.as_bytes();
    let len = match seed[0] % 8 {
        0 => LARGE,
        1 => 12_000,
        _ => 40,
    };
    archive(&seed.iter().copied().cycle().take(len).collect::<Vec<u8>>())
}

/// An argument of tasks whose outputs differ a little from machine to machine: in the last byte, by up to 2.
pub const NOISY: &str = "noisy";

/// The outputs of honest attempts at a task, by how noisy they are.
pub fn outputs_of(spec: SpecHash) -> [Vec<u8>; 3] {
    [0, 1, 2].map(|noise| {
        let mut output = output_of(spec);
        *output.last_mut().expect("it is not empty") = noise;
        output
    })
}

/// What stands for the signature of a node, whose names here are no keys.
pub fn node_signature(node: NodeId) -> [u8; 64] {
    [node.0[0]; 64]
}

/// A lease as a provider says that it holds it.
pub fn held(lease: &Lease) -> HeldLease {
    held_of(lease.id, lease.job, lease.task)
}

pub fn held_of(lease: LeaseId, job: JobId, task: TaskNumber) -> HeldLease {
    HeldLease { lease, task: TaskId { job, task } }
}

/// An archive of one file with these bytes.
pub fn archive(content: &[u8]) -> Vec<u8> {
    let mut builder = ArchiveBuilder::default();
    builder.add(GuestPath::new("out").expect("a plain name"), content.len() as u64);
    let (mut archive, _) = builder.finish().expect("one file clashes with none");
    archive.extend_from_slice(content);
    archive
}

pub fn failed(code: u32) -> Outcome {
    Outcome::Failed(Failure::Exit { code, stderr: String::new() })
}

pub fn broke() -> Outcome {
    Outcome::Failed(Failure::WorkerDied { reason: "a test wants it so".to_owned() })
}

impl Peer {
    /// A provider whose node and operator are its own.
    pub fn new(number: u8) -> Self {
        Self::of(number, number)
    }

    /// A provider of an operator that may have others.
    pub fn of(number: u8, operator: u8) -> Self {
        Self {
            node: NodeId([number; 32]),
            key: ResultKey::from_bytes(&[operator; 32]).expect("the bytes are a key"),
            session: None,
            slots: 2,
            credits: 4,
            network: None,
            hardware_class: None,
            rates: RateCard::default(),
            noise: number % 3,
            leases: Vec::new(),
            sent: BTreeMap::new(),
            next_sequence: 1,
            outputs: BTreeMap::new(),
        }
    }

    /// A provider that has joined.
    pub fn joined(number: u8, world: &mut World) -> Self {
        let mut peer = Self::new(number);
        peer.join(world, vec![]);
        peer
    }

    pub fn operator(&self) -> Address {
        self.key.address()
    }

    pub fn session(&self) -> SessionId {
        self.session.expect("the peer has joined")
    }

    pub fn offer(&self) -> Offer {
        Offer {
            name: format!("peer {}", self.node.0[0]),
            disk: ByteSize::mib(16_384),
            down_bytes_per_s: 1 << 24,
            engines: vec![self.engine()],
        }
    }

    pub fn engine(&self) -> Engine {
        Engine {
            kind: ProgramKind::Wasm,
            floats: vec![FloatClass::Native, FloatClass::Canonical],
            hardware_class: self.hardware_class.clone(),
            exec_version: ProgramKind::Wasm.version(),
            slots: self.slots,
            memory: ByteSize::mib(16_384),
            capacity: Capacity { single_fuel_per_s: 1 << 30, all_fuel_per_s: 1 << 30 },
            rates: self.rates,
            models: Vec::new(),
        }
    }

    /// The event of its coming.
    pub fn joining(&self, session: SessionId, held: Vec<HeldLease>) -> Event {
        Event::ProviderJoined {
            session,
            node: self.node,
            binding: KeyBinding {
                address: self.key.address(),
                by_result_key: self.key.sign_binding(&Chain::default(), self.node),
                by_node_key: node_signature(self.node),
            },
            operator: self.operator(),
            network: self.network,
            offer: self.offer(),
            credits: self.credits,
            held,
        }
    }

    pub fn join(&mut self, world: &mut World, held: Vec<HeldLease>) {
        let session = world.new_session();
        self.session = Some(session);
        world.tell(self.joining(session, held));
    }

    pub fn say(&self, world: &mut World, message: FromProvider) {
        world.tell(Event::FromProvider { session: self.session(), message });
    }

    pub fn hear(&mut self, message: ToProvider) {
        match message {
            ToProvider::Leases(leases) => self.leases.extend(leases),
            ToProvider::Cancel(leases) => self.leases.retain(|lease| !leases.contains(&lease.id)),
            ToProvider::Settled { sequence } => {
                self.sent.remove(&sequence);
            }
            ToProvider::Heartbeat { .. }
            | ToProvider::Bye { .. }
            | ToProvider::CopyRefused { .. }
            | ToProvider::Decided { .. }
            | ToProvider::Follow { .. }
            | ToProvider::Unfollow { .. }
            | ToProvider::ReleaseWanted(_) => {}
        }
    }

    /// Does all that it has, as it should be done.
    pub fn do_all(&mut self, world: &mut World) {
        let leases = std::mem::take(&mut self.leases);
        let results: Vec<_> = leases.iter().map(|lease| self.done(lease)).collect();
        let message = if results.is_empty() {
            FromProvider::Heartbeat { running: 0, waiting: 0 }
        } else {
            self.batch(results)
        };
        self.say(world, message);
    }

    /// The honest result of a lease.
    pub fn done(&mut self, lease: &Lease) -> TaskResult {
        let spec = lease.spec.hash();
        let output = match lease.spec.args.iter().any(|arg| arg == NOISY) {
            true => outputs_of(spec)[usize::from(self.noise)].clone(),
            false => output_of(spec),
        };
        self.done_with(lease, output)
    }

    /// The honest result of a lease, with a bill for this much fuel.
    pub fn done_for(&mut self, lease: &Lease, fuel: Fuel) -> TaskResult {
        let done = self.done(lease);
        let usage = Usage { fuel, ..done.claim.usage };
        self.claim(lease, Claim { usage, ..done.claim }, done.output)
    }

    /// A result with this output.
    pub fn done_with(&mut self, lease: &Lease, output: Vec<u8>) -> TaskResult {
        let claimed = ClaimedOutput { id: BlobId::of(&output), len: output.len() as u64 };
        let body = if output.len() > MAX_INLINE_OUTPUT_BYTES {
            self.outputs.insert(claimed.id, output);
            OutputBody::Blob
        } else {
            OutputBody::Inline(output)
        };
        let usage = Usage { fuel: FUEL, ..Usage::default() };
        let claim = Claim {
            outcome: Outcome::Done,
            usage,
            output: Some(claimed),
            hardware_class: self.hardware_class.clone(),
        };
        self.claim(lease, claim, Some(body))
    }

    /// The result of a lease that failed.
    pub fn failure(&self, lease: &Lease, outcome: Outcome) -> TaskResult {
        self.failure_after(lease, outcome, Fuel(0))
    }

    /// The result of a lease that failed after this much fuel.
    pub fn failure_after(&self, lease: &Lease, outcome: Outcome, fuel: Fuel) -> TaskResult {
        let claim = Claim {
            outcome,
            usage: Usage { fuel, ..Usage::default() },
            output: None,
            hardware_class: self.hardware_class.clone(),
        };
        self.claim(lease, claim, None)
    }

    pub fn claim(&self, lease: &Lease, claim: Claim, output: Option<OutputBody>) -> TaskResult {
        let terms = Terms {
            escrow: lease.pay.map_or([0; 32], |pay| pay.escrow.0),
            coordinator: COORDINATOR,
            provider: self.node,
            job: lease.job,
            task: lease.task,
            lease: lease.id,
            work: WorkTerms::of(&lease.spec),
        };
        TaskResult {
            lease: lease.id,
            seal: lease.seal,
            leaf: Leaf::of(&terms, &claim).map(|leaf| leaf.hash()).unwrap_or_default(),
            claim,
            wall_us: 1_000,
            output,
            log: LogBody::Whole(b"log".to_vec()),
        }
    }

    /// Results under its signature, which are then not settled.
    pub fn batch(&mut self, results: Vec<TaskResult>) -> FromProvider {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.sent.insert(sequence, results.clone());
        FromProvider::Results(self.sign(sequence, results))
    }

    pub fn sign(&self, sequence: u64, results: Vec<TaskResult>) -> ResultBatch {
        let leaves: Vec<[u8; 32]> = results.iter().map(|result| result.leaf).collect();
        let terms = BatchTerms {
            root: merkle::root(&leaves),
            count: leaves.len() as u32,
            coordinator: COORDINATOR,
            provider: self.node,
            sequence,
        };
        ResultBatch { sequence, results, signature: self.key.sign_batch(&Chain::default(), &terms) }
    }

    /// An output that it keeps.
    pub fn output(&self, blob: BlobId) -> Option<Vec<u8>> {
        self.outputs.get(&blob).cloned()
    }
}
