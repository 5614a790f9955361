//! A provider that keeps to the protocol, runs what it is given, and says something else.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tempfile::TempDir;
use tidemill_exec::{
    Backend, Cancel, Capabilities, Control, Executor, Layout, Output, OutputBody, Prepared, Program, Report,
    Task, WasmExecutor,
};
use tidemill_net::endpoint::Bind;
use tidemill_provider::{EngineConfig, Event, Notice, Provider, ProviderConfig};
use tidemill_types::{BlobId, ByteSize, Capacity, Failure, FloatClass, Fuel, Outcome, RateCard, ResultKey};
use tokio::runtime::Runtime;

use crate::{puppet::puppet, support::Place};

/// How it lies.
#[derive(Clone, Debug)]
pub enum Manner {
    /// One bit of the output is another.
    FlipsABit,
    /// The output is one of another task.
    GivesAnother,
    /// The output is as long as it should be, and empty of sense.
    GivesNothing,
    /// It says that the program failed.
    Fails,
    /// Every large output is wrong, and the small ones are right.
    SpoilsLarge,
    /// After so many right results all are wrong.
    AfterRight(u64),
    /// Every output is wrong in the same way as that of all who do this.
    Colludes,
    /// Every output is right, and the bill is for twice the work.
    Overbills,
}

/// Such a provider, in a runtime of its own.
pub struct Liar {
    pub name: String,
    lies: Arc<AtomicU64>,
    provider: Provider,
    runtime: Runtime,
    _directory: TempDir,
}

struct Lying {
    manner: Manner,
    honest: Arc<dyn Executor>,
    results: AtomicU64,
    lies: Arc<AtomicU64>,
}

impl Liar {
    /// Joins the network whose ticket is in the file `ticket`.
    pub fn join(place: &Place, number: u8, manner: Manner) -> Self {
        let honest = WasmExecutor::new(Backend::Sandbox, Layout::Task);
        // So that it is as quick as the others, and gets its part of the tasks.
        let program = Program::wasm(puppet().to_vec());
        honest
            .prepare(&Task::of(program, FloatClass::Native), &Cancel::default())
            .expect("the program can be run");
        Self::join_with(place, number, manner, Arc::new(honest))
    }

    /// The same, of one that runs programs by this executor.
    pub fn join_with(place: &Place, number: u8, manner: Manner, honest: Arc<dyn Executor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ticket = fs::read_to_string(place.path("ticket")).expect("a ticket");
        let name = format!("liar-{number}");
        let lies = Arc::new(AtomicU64::new(0));
        let executor = Lying { manner, honest, results: AtomicU64::new(0), lies: lies.clone() };
        let config = ProviderConfig {
            name: name.clone(),
            tickets: vec![ticket.parse().expect("a ticket")],
            node_key: [number; 32],
            result_key: ResultKey::from_bytes(&[number; 32]).expect("the bytes are a key"),
            bind: Bind::Loopback { port: 0 },
            engines: vec![EngineConfig {
                executor: Arc::new(executor),
                slots: 1,
                memory: ByteSize::mib(8_192),
                capacity: Some(Capacity { single_fuel_per_s: 1_000_000_000, all_fuel_per_s: 1_000_000_000 }),
                rates: RateCard::FREE,
                models: Vec::new(),
            }],
            disk: ByteSize::mib(512),
            directory: directory.path().to_owned(),
            idle_report: ProviderConfig::IDLE_REPORT,
            pay: None,
        };
        let provider = runtime.block_on(async {
            let (provider, mut events) = Provider::start(config).await.expect("the provider starts");
            let joined = async {
                while !matches!(events.recv().await, Ok(Notice { event: Event::Joined { .. }, .. })) {}
            };
            tokio::time::timeout(Duration::from_secs(60), joined).await.expect("it joins");
            provider
        });
        Self { name, lies, provider, runtime, _directory: directory }
    }

    /// How often it has lied.
    pub fn lies(&self) -> u64 {
        self.lies.load(SeqCst)
    }

    pub fn stop(self) {
        self.runtime.block_on(self.provider.stop());
    }
}

impl Executor for Lying {
    fn capabilities(&self) -> Capabilities {
        self.honest.capabilities()
    }

    fn prepare(&self, task: &Task, cancel: &Cancel) -> Result<Prepared, Failure> {
        self.honest.prepare(task, cancel)
    }

    fn run(&self, task: &Task, control: &Control) -> Report {
        let mut report = self.honest.run(task, control);
        let number = self.results.fetch_add(1, SeqCst);
        let Some(mut bytes) = report.output.take().map(|output| bytes_of(&output)) else { return report };
        let right = bytes.clone();
        let last = bytes.len() - 1;
        match &self.manner {
            Manner::FlipsABit => bytes[last] ^= 1,
            // The puppet writes its arguments, so one changed digit makes it another task's.
            Manner::GivesAnother => bytes[last - 1] = if bytes[last - 1] == b'7' { b'8' } else { b'7' },
            Manner::GivesNothing => {
                let content = bytes.len() - 8;
                bytes[content..].fill(0);
            }
            Manner::Fails => {
                self.lies.fetch_add(1, SeqCst);
                let failure = Failure::Exit { code: 3, stderr: "it does not work".to_owned() };
                return Report { outcome: Outcome::Failed(failure), ..report };
            }
            Manner::SpoilsLarge if bytes.len() > 1 << 16 => bytes[last] ^= 1,
            Manner::AfterRight(right) if number >= *right => bytes[last] ^= 1,
            Manner::Colludes => bytes[last] ^= 4,
            Manner::Overbills => {
                self.lies.fetch_add(1, SeqCst);
                report.usage.fuel = Fuel(2 * report.usage.fuel.0);
            }
            Manner::SpoilsLarge | Manner::AfterRight(_) => {}
        }
        if bytes != right {
            self.lies.fetch_add(1, SeqCst);
        }
        let (id, len) = (BlobId::of(&bytes), bytes.len() as u64);
        report.output = Some(Output { id, len, body: OutputBody::Bytes(bytes) });
        report
    }
}

fn bytes_of(output: &Output) -> Vec<u8> {
    match &output.body {
        OutputBody::Bytes(bytes) => bytes.clone(),
        OutputBody::File(path) => fs::read(path).expect("the output can be read"),
    }
}
