//! The coordinator's double, programs, and a provider for each test.

use std::{collections::BTreeMap, future::Future, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use tidemill_exec::{
    Backend, Cancel, Capabilities, Control, Executor, Layout, Output, OutputBody, Prepared, Report, Task,
    WasmExecutor,
};
use tidemill_job::{BlobRef, BlobSource};
use tidemill_net::{
    blobs::{self, BLOBS_ALPN, BlobOptions, Blobs, Keeps, Pin},
    endpoint::{Bind, Connection, Node, NodeOptions},
    opening,
    session::{Session, bind_keys},
    ticket::{Pass, Ticket},
    wire::{
        Bounded, FromProvider, Hello, Lease, Money, Process, ResultBatch, Role, SESSION_ALPN, Source,
        TaskResult, ToProvider, Welcome,
    },
};
use tidemill_provider::{Ending, EngineConfig, Event, Notice, Provider, ProviderConfig};
use tidemill_types::{
    BatchTerms, BlobId, ByteSize, Capacity, Chain, EngineIndex, Failure, FloatClass, GuestPath, InputSpec,
    JobId, Leaf, LeaseId, Limits, Millis, NodeId, Outcome, ProgramKind, RateCard, ResultKey, TaskNumber,
    TaskSpec, Terms, Usage, WorkTerms, merkle, verify_batch,
};
use tokio::sync::broadcast;

/// Long enough for a loaded machine; nothing waits for it unless something is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Ends at once.
pub const NOOP: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// Runs until it is cancelled.
pub const SPIN: &str =
    r#"(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))"#;

/// Prints 128 KiB.
pub const LARGE: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 131072))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))))"#;

/// What should happen soon, or has failed to.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it should have happened by now")
}

pub struct Coordinator {
    pub node: Node,
    pub blobs: Blobs,
    key: ResultKey,
    _folder: TempDir,
}

/// A provider that has been taken in.
pub struct Joined {
    pub session: Session,
    pub hello: Hello,
    /// The connection for blobs, which the provider dialed.
    pub lent: Connection,
    coordinator: NodeId,
    leased: BTreeMap<LeaseId, Lease>,
    /// The number of the last batch.
    pub sequence: u64,
    /// The credits that came before it.
    credits: Option<u32>,
}

impl Coordinator {
    pub async fn new() -> Self {
        Self::with_key(200).await
    }

    /// A coordinator whose keys are made from this, which is another one for each.
    pub async fn with_key(key: u8) -> Self {
        let options = NodeOptions {
            bind: Bind::Loopback { port: 0 },
            protocols: vec![SESSION_ALPN.to_vec(), BLOBS_ALPN.to_vec()],
            ..NodeOptions::default()
        };
        let node = Node::bind(&[key; 32], options).await.expect("loopback is there");
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = open(folder.path()).await;
        let key = ResultKey::from_bytes(&[key + 1; 32]).expect("a key");
        Self { node, blobs, key, _folder: folder }
    }

    pub async fn ticket(&self) -> Ticket {
        self.node.ticket(Pass::from_bytes([7; 16]), PATIENCE).await.expect("it listens")
    }

    pub async fn keep(&self, bytes: &[u8]) -> BlobRef {
        let pin = Pin::new("test").expect("a plain name");
        let kept = self.blobs.import_bytes(bytes.to_vec(), &pin).await.expect("there is room");
        BlobRef { id: kept.id, len: kept.len }
    }

    pub async fn program(&self, text: &str) -> BlobRef {
        self.keep(&wat::parse_str(text).expect("the module is valid")).await
    }

    /// The next provider that says hello.
    pub async fn hear(&self) -> (Session, u32, Hello) {
        let incoming = soon(self.node.accept()).await.expect("the node is open");
        let connection = soon(incoming.finish()).await.expect("a good dialer");
        assert_eq!(connection.alpn(), SESSION_ALPN);
        soon(Session::hear(connection)).await.expect("a good hello")
    }

    /// Takes the next provider in, into a network that is free.
    pub async fn join(&self) -> Joined {
        self.join_paid(None).await
    }

    /// Takes the next provider in, into a network that pays like this.
    pub async fn join_paid(&self, money: Option<Money>) -> Joined {
        self.join_beating(money, Millis(60_000)).await
    }

    /// The same, with heartbeats at this interval.
    pub async fn join_beating(&self, money: Option<Money>, heartbeat: Millis) -> Joined {
        let (mut session, version, hello) = self.hear().await;
        let welcome = Welcome {
            software: "a double".to_owned(),
            process: Process([1; 16]),
            binding: bind_keys(&self.node, &self.key, &Chain::default()),
            chain: Chain::default(),
            heartbeat,
            lease: Millis(60_000),
            money,
        };
        opening::welcome(&mut session.writer, version, &welcome).await.expect("it listens");
        let incoming = soon(self.node.accept()).await.expect("the node is open");
        let lent = soon(incoming.finish()).await.expect("a good dialer");
        assert_eq!(lent.alpn(), BLOBS_ALPN);
        let (blobs, connection) = (self.blobs.clone(), lent.clone());
        tokio::spawn(async move { blobs.serve(connection, |_, _| true, 16).await });
        let (coordinator, leased) = (self.node.id(), BTreeMap::new());
        Joined { session, hello, lent, coordinator, leased, sequence: 0, credits: None }
    }

    /// Fetches an output from the provider.
    pub async fn fetch(&self, from: &Joined, result: &TaskResult) -> Vec<u8> {
        let output = result.claim.output.expect("the task is done");
        let wanted = blobs::BlobRef { id: output.id, len: output.len };
        let pin = Pin::new("outputs").expect("a plain name");
        soon(self.blobs.fetch(&from.lent, wanted, &pin, |_| {})).await.expect("the provider has it");
        self.blobs.read(output.id, output.len).await.expect("it was fetched")
    }
}

async fn open(folder: &Path) -> Blobs {
    let options = BlobOptions { keeps: Keeps::Cache, budget: 64 << 20, stall: PATIENCE };
    Blobs::open(folder, options).await.expect("a folder of our own")
}

impl Joined {
    pub async fn say(&mut self, message: ToProvider) {
        message.check().expect("the double keeps to the bounds");
        soon(self.session.writer.send(&message)).await.expect("the provider listens");
    }

    pub async fn lease(&mut self, leases: Vec<Lease>) {
        self.leased.extend(leases.iter().map(|lease| (lease.id, lease.clone())));
        self.say(ToProvider::Leases(leases)).await;
    }

    /// What the provider says next, signs of life and rates aside. `None`: the session is over.
    pub async fn next(&mut self) -> Option<FromProvider> {
        loop {
            let message: FromProvider = soon(self.session.reader.next()).await.ok()??;
            message.check().expect("the provider keeps to the bounds");
            let passing = matches!(
                message,
                FromProvider::Heartbeat { .. } | FromProvider::Offer(_) | FromProvider::Running(_)
            );
            if !passing {
                return Some(message);
            }
        }
    }

    /// The next batch, checked as a coordinator checks it.
    pub async fn batch(&mut self) -> ResultBatch {
        let batch = loop {
            match self.next().await {
                Some(FromProvider::Results(batch)) => break batch,
                Some(FromProvider::Credits(credits)) => self.credits = Some(credits),
                other => panic!("results were expected: {other:?}"),
            }
        };
        let leaves: Vec<_> = batch.results.iter().map(|result| self.leaf(result)).collect();
        let terms = BatchTerms {
            root: merkle::root(&leaves),
            count: leaves.len() as u32,
            coordinator: self.coordinator,
            provider: self.session.peer,
            sequence: batch.sequence,
        };
        let signer = self.hello.binding.address;
        verify_batch(&Chain::default(), &terms, &batch.signature, signer).expect("signed by its result key");
        assert!(batch.sequence > self.sequence, "numbers rise");
        self.sequence = batch.sequence;
        batch
    }

    /// Waits until the provider has so many credits.
    pub async fn credited(&mut self, credits: u32) {
        if self.credits.take() != Some(credits) {
            assert_eq!(self.next().await, Some(FromProvider::Credits(credits)));
        }
    }

    /// The next batch, as it comes.
    pub async fn batch_unchecked(&mut self) -> ResultBatch {
        let Some(FromProvider::Results(batch)) = self.next().await else { panic!("results were expected") };
        batch
    }

    /// So many results, without settling them.
    pub async fn results(&mut self, count: usize) -> Vec<TaskResult> {
        let mut results = Vec::new();
        while results.len() < count {
            results.extend(self.batch().await.results);
        }
        results.sort_by_key(|result| result.lease);
        results
    }

    /// So many results, each batch settled.
    pub async fn settle(&mut self, count: usize) -> Vec<TaskResult> {
        let mut results = Vec::new();
        while results.len() < count {
            let batch = self.batch().await;
            results.extend(batch.results);
            self.say(ToProvider::Settled { sequence: batch.sequence }).await;
        }
        results.sort_by_key(|result| result.lease);
        results
    }

    /// The leases that the provider says it holds.
    pub fn held(&self) -> Vec<u64> {
        let Role::Provider { held, .. } = &self.hello.role else { panic!("a provider was expected") };
        held.iter().map(|held| held.lease.0).collect()
    }

    /// Remembers what was leased in an earlier session.
    pub fn recall(&mut self, earlier: &Self) {
        self.leased = earlier.leased.clone();
        self.sequence = earlier.sequence;
    }

    fn leaf(&self, result: &TaskResult) -> [u8; 32] {
        let lease = self.leased.get(&result.lease).expect("it was leased");
        assert_eq!(result.seal, lease.seal);
        let terms = Terms {
            escrow: lease.pay.map_or([0; 32], |pay| pay.escrow.0),
            coordinator: self.coordinator,
            provider: self.session.peer,
            job: lease.job,
            task: lease.task,
            lease: lease.id,
            work: WorkTerms::of(&lease.spec),
        };
        let leaf = Leaf::of(&terms, &result.claim).expect("the claim is sound").hash();
        assert_eq!(leaf, result.leaf, "the leaf is of what was leased");
        leaf
    }
}

/// A lease of a program that is given these inputs.
pub fn lease(id: u64, program: BlobRef, inputs: &[(&[u8], Source)]) -> Lease {
    let input = |(at, (content, _)): (usize, &(&[u8], Source))| InputSpec {
        path: GuestPath::new(format!("input {at}")).expect("a path"),
        content: BlobId::of(content),
        len: content.len() as u64,
    };
    let spec = TaskSpec {
        kind: ProgramKind::Wasm,
        program: program.id,
        floats: FloatClass::Canonical,
        args: vec!["program".to_owned(), id.to_string()],
        env: Vec::new(),
        inputs: inputs.iter().enumerate().map(input).collect(),
        limits: Limits { memory: ByteSize::mib(1), ..Limits::default() },
        seed: 0,
    };
    Lease {
        id: LeaseId(id),
        engine: EngineIndex(0),
        seal: [id as u8; 16],
        job: JobId([9; 16]),
        task: TaskNumber(id),
        spec,
        program_len: program.len,
        sources: inputs.iter().map(|(_, source)| source.clone()).collect(),
        within: Millis(600_000),
        pay: None,
        draft: None,
        draft_of: None,
    }
}

pub fn range(blob: BlobRef, offset: u64) -> Source {
    Source::Blob(BlobSource::at(blob, offset))
}

/// A provider with its events and its folder.
pub struct Lender {
    pub provider: Provider,
    pub events: broadcast::Receiver<Notice>,
    folder: TempDir,
}

/// Starts a provider with so many slots.
pub async fn lend(ticket: Ticket, slots: u32) -> Lender {
    lend_with(ticket, slots, |_| {}).await
}

pub async fn lend_with(ticket: Ticket, slots: u32, change: impl FnOnce(&mut ProviderConfig)) -> Lender {
    let executor = Arc::new(WasmExecutor::new(Backend::Sandbox, Layout::Task));
    lend_on(executor, ticket, slots, change).await
}

/// An engine that is not measured.
pub fn engine(executor: Arc<dyn Executor>, slots: u32) -> EngineConfig {
    EngineConfig {
        executor,
        slots,
        memory: ByteSize::mib(64),
        capacity: Some(Capacity::default()),
        rates: RateCard::default(),
        models: Vec::new(),
    }
}

pub async fn lend_on(
    executor: Arc<dyn Executor>,
    ticket: Ticket,
    slots: u32,
    change: impl FnOnce(&mut ProviderConfig),
) -> Lender {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config_in(folder.path(), executor, ticket, slots);
    change(&mut config);
    let (provider, events) = Provider::start(config).await.expect("loopback and a folder are there");
    Lender { provider, events, folder }
}

/// How a provider of one coordinator is set up, with its state in this folder.
pub fn config_in(folder: &Path, executor: Arc<dyn Executor>, ticket: Ticket, slots: u32) -> ProviderConfig {
    ProviderConfig {
        name: "a machine".to_owned(),
        tickets: vec![ticket],
        node_key: [1; 32],
        result_key: ResultKey::from_bytes(&[2; 32]).expect("a key"),
        bind: Bind::Loopback { port: 0 },
        engines: vec![engine(executor, slots)],
        disk: ByteSize::mib(64),
        directory: folder.to_owned(),
        idle_report: ProviderConfig::IDLE_REPORT,
        pay: None,
    }
}

impl Lender {
    /// Where it keeps what it has.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The next event of a kind.
    pub async fn event<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        self.notice(|notice| wanted(notice.event)).await
    }

    /// The same, where it matters whose the event is.
    pub async fn notice<T>(&mut self, mut wanted: impl FnMut(Notice) -> Option<T>) -> T {
        loop {
            let notice = soon(self.events.recv()).await.expect("the provider is there, and few events come");
            if let Some(found) = wanted(notice) {
                return found;
            }
        }
    }

    pub async fn ending(&self) -> Ending {
        soon(self.provider.finished()).await
    }
}

/// An executor that runs nothing and reports what it is made with.
pub struct Made<F>(pub F);

impl<F: Fn() -> Report + Send + Sync> Executor for Made<F> {
    fn capabilities(&self) -> Capabilities {
        Capabilities { kind: ProgramKind::Wasm, floats: vec![FloatClass::Canonical], hardware_class: None }
    }

    fn prepare(&self, _: &Task, _: &Cancel) -> Result<Prepared, Failure> {
        Ok(Prepared { cached: true, took: Duration::ZERO })
    }

    fn run(&self, _: &Task, _: &Control) -> Report {
        (self.0)()
    }
}

/// The report of a task that is done.
pub fn done(id: BlobId, len: u64, body: OutputBody) -> Report {
    Report {
        outcome: Outcome::Done,
        usage: Usage::default(),
        output: Some(Output { id, len, body }),
        log: Vec::new(),
        wall: Duration::ZERO,
    }
}
