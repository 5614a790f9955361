//! `tidemill provide`: this machine, lent to a network.

mod money;
mod telling;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tidemill_exec::{Cancel, Capabilities, Control, Executor, Prepared, Report, Task};
use tidemill_ledger::evm;
use tidemill_net::endpoint::node_id;
use tidemill_provider::{
    Ending, EngineConfig, Notice, Provider, ProviderConfig, ProviderError, measure, memory_available, pay,
};
use tidemill_types::{
    Amount, ByteSize, Capacity, Failure, Metered as Work, Millis, RateCard, TokenRate, WorkRate, one_line,
};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use self::telling::Telling;
use super::cores;
use crate::{
    announce::Announcer,
    exit::{Code, Exit, WithCode},
    home::{data_directory, identity, model_host, worker_pool},
    hosting::cannot_listen,
    interrupt::{Signals, tell_syncs},
    ledger::{Ledger, LedgerArgs, kept, unreachable},
    listen::Listen,
    logging, models, money as paying, network,
    node_state::StateDirectory,
    runtime,
};

/// Lend this machine's cores to a network: run tasks of others, each in a sandbox, and send back the results.
///
/// A machine may work for several coordinators at a time: name each with a `--join` of its own. Its slots go to those that
/// pay more, and evenly to those that pay the same; what one leaves idle, the others use.
///
/// Ctrl-C takes no more work, finishes what runs and ends; a second one ends at once. When a coordinator cannot be
/// reached it is dialed again and again. Where work is paid for, a provider registers itself on the ledger, and waits until
/// its account has coins for that.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A network to work for: a ticket, or a file that holds one; may be given several times [default: $TIDEMILL_JOIN, else
    /// that of `tidemill join`, else the one whose coordinator runs in this home]
    #[arg(long, value_name = "TICKET")]
    join: Vec<OsString>,
    /// Tasks that run at the same time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    cpus: Option<u32>,
    /// Memory for all tasks together [default: three quarters of what is available]
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Room for programs, inputs and outputs [default: a tenth of what is free, at most 50 GiB]
    #[arg(long, value_name = "SIZE")]
    disk: Option<ByteSize>,
    /// What lists call this machine [default: its host name]
    #[arg(long)]
    name: Option<String>,
    /// Where its state is; each provider has its own [default: `provider` in the directory of this home]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    listen: Listen,
    /// Measure how fast this machine is, even if that was done within a day
    #[arg(long)]
    measure: bool,
    /// Join a network that is free, whatever ledger is configured: nobody is paid there
    #[arg(long, conflicts_with_all = ["ledger", "account"])]
    free: bool,
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    models: Models,
    #[command(flatten)]
    asks: Asks,
    /// Print one JSON object a line for each event: confinement, offer, joined, working, task, paid, idle, lost, draining, ...
    #[arg(long)]
    json: bool,
    /// For a child of another tidemill: end when standard input does
    #[arg(long, hide = true)]
    parent_stdin: bool,
    /// For a child of another tidemill: sign results with a key of the directory, not that of the home
    #[arg(long, hide = true)]
    own_keys: bool,
    /// For a child of another tidemill: do not measure, but take it that a core burns so much fuel a second
    #[arg(long, hide = true, value_name = "FUEL")]
    assume_fuel_rate: Option<u64>,
}

/// How a machine is lent to language models.
#[derive(clap::Args)]
struct Models {
    /// Answer requests with language models too: those of jobs, which are fetched and kept as programs are (docs/inference.md)
    #[arg(long)]
    infer: bool,
    /// A model to hold from the start, whose file stays where it is: a GGUF file, or a name of this home; may be given
    /// several times
    #[arg(long, value_name = "FILE|NAME", requires = "infer")]
    model: Vec<String>,
    /// Memory for models and their texts, all tasks together, which other programs do not get [default: half of `--memory`]
    #[arg(long, value_name = "SIZE", requires = "infer")]
    model_memory: Option<ByteSize>,
    /// Threads that models compute with [default: as many as `--cpus`]
    #[arg(long, value_name = "N", requires = "infer", value_parser = clap::value_parser!(u32).range(1..=4096))]
    model_threads: Option<u32>,
    /// Tasks whose requests are answered together [default: 16]
    #[arg(long, value_name = "N", requires = "infer", value_parser = clap::value_parser!(u32).range(1..=1024))]
    model_tasks: Option<u32>,
}

/// On what terms a machine is lent.
#[derive(clap::Args)]
struct Asks {
    /// What a billion units of fuel cost
    #[arg(long, value_name = "AMOUNT", default_value_t = RateCard::default().work.fuel)]
    price_fuel: Amount,
    /// What a million tokens of prompts cost
    #[arg(long, value_name = "AMOUNT", default_value_t = TokenRate::default().input)]
    price_input_tokens: Amount,
    /// What a million tokens of prompts cost that an earlier prompt of the same task begins with as well
    #[arg(long, value_name = "AMOUNT", default_value_t = TokenRate::default().cached)]
    price_cached_tokens: Amount,
    /// What a million tokens of answers cost
    #[arg(long, value_name = "AMOUNT", default_value_t = TokenRate::default().output)]
    price_output_tokens: Amount,
    /// What holding a GiB of memory, as a task's limits declare it, over a million tokens costs
    #[arg(long, value_name = "AMOUNT", default_value_t = TokenRate::default().memory)]
    price_token_memory: Amount,
    /// What holding a GiB of memory over a billion units of fuel costs
    #[arg(long, value_name = "AMOUNT", default_value_t = RateCard::default().memory)]
    price_memory: Amount,
    /// What a GiB of inputs and outputs costs
    #[arg(long, value_name = "AMOUNT", default_value_t = RateCard::default().transfer)]
    price_transfer: Amount,
    /// Work is done ahead of a coordinator's vouchers up to so much, for each coordinator; then it waits
    #[arg(long, value_name = "AMOUNT", default_value_t = Amount::tide(1))]
    max_exposure: Amount,
    /// Work only for a coordinator that has bonded at least so much
    #[arg(long, value_name = "AMOUNT", default_value_t = Amount::ZERO)]
    min_bond: Amount,
    /// Collect what a coordinator has promised once an escrow has ended and it was silent for so long
    #[arg(long, value_name = "TIME", default_value_t = Millis(600_000))]
    collect_after: Millis,
}

const HELP: &str = "Examples:
  tidemill provide --join ticket                 all cores of this machine; `ticket` is a ticket or its file
  tidemill provide --join ticket --price-fuel \"0.0002 TIDE\" --min-bond \"1000 TIDE\"
  tidemill provide --join lab.ticket --join public.ticket    for two coordinators at a time
  tidemill provide --join ticket --free          in a network without money
  tidemill provide --join ticket --cpus 4 --memory 8GiB --disk 20GiB --name workshop
  tidemill provide --join ticket --infer --model ~/models/smollm2.gguf --model-memory 4GiB    language models too

What it logs to standard error is set by TIDEMILL_LOG (warn, info, tidemill_provider=debug, ...).
The signal USR1 makes it tell how often it has waited for the disk.

Exit codes:
  0    ended as asked, with all its work reported
  2    wrong usage, no such network, or no coordinator takes this provider in, as when its directory is a copy of
       that of a provider that works
  4    this machine could not do its part (disk, memory, port, permissions)
  130  ended at once by a second Ctrl-C; its tasks are given to others";

/// Tasks whose requests are answered together, where nobody says.
const MODEL_TASKS: u32 = 16;

/// What placement takes a model to do in a second until it has seen better: one task of a small model on a core of an old
/// processor, and many together.
const ASSUMED_TOKENS_PER_S: [u64; 2] = [20, 60];

/// Memory that programs of WebAssembly have where models have all the rest: that of a task that says nothing of memory.
const LEAST_MEMORY: ByteSize = ByteSize::mib(512);

/// The most room that is taken for blobs without being asked for.
const MOST_DISK: ByteSize = ByteSize(50 << 30);

/// Of the room that is free, a provider takes one part in so many.
const PART_OF_DISK: u64 = 10;

/// How long an end may take that is to be at once: long enough to tell the coordinator.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// How often the line of progress changes.
const PROGRESS: Duration = Duration::from_secs(1);

/// How often a provider without coins looks whether it has been sent some.
const COINS_LOOK: Duration = Duration::from_secs(1);

/// Who wants the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// A person or a service manager, in order.
    Drain,
    /// The same, at once.
    AtOnce,
    /// The parent is gone.
    Orphaned,
}

impl Models {
    /// The engine for models, if there is to be one, and the memory of so much that is left for other programs.
    fn lend(
        &self,
        cpus: u32,
        memory: ByteSize,
        spool: &Path,
    ) -> anyhow::Result<(Option<EngineConfig>, ByteSize)> {
        if !self.infer {
            return Ok((None, memory));
        }
        let own = self.model_memory.unwrap_or(ByteSize(memory.0 / 2));
        let threads = self.model_threads.unwrap_or(cpus) as usize;
        let host = model_host(threads, own, spool).code(Code::Host)?;
        // What keeps it from starting is said now, and not with the first task.
        host.confinement().context("cannot start a worker for models").code(Code::Host)?;
        let [single, all] = ASSUMED_TOKENS_PER_S.map(|tokens| tokens.saturating_mul(Work::UNITS_OF_TOKEN));
        let engine = EngineConfig {
            executor: Arc::new(host),
            slots: self.model_tasks.unwrap_or(MODEL_TASKS),
            memory: own,
            capacity: Some(Capacity { single_fuel_per_s: single, all_fuel_per_s: all }),
            rates: RateCard::FREE,
            models: self.model.iter().map(|model| models::held(model)).collect::<anyhow::Result<_>>()?,
        };
        // Where models may have all, the others get what is left of it: a provider has an engine for them all the same.
        Ok((Some(engine), ByteSize(memory.0.saturating_sub(own.0).max(LEAST_MEMORY.0))))
    }
}

impl Asks {
    fn rates(&self) -> RateCard {
        RateCard {
            work: WorkRate {
                fuel: self.price_fuel,
                tokens: TokenRate {
                    input: self.price_input_tokens,
                    cached: self.price_cached_tokens,
                    output: self.price_output_tokens,
                    memory: self.price_token_memory,
                },
            },
            memory: self.price_memory,
            transfer: self.price_transfer,
        }
    }
}

impl Args {
    /// How it is paid, where a ledger is configured, and the ledger that it needs as long: in the name of the account that
    /// its result key is bound to, which is the key's own if nobody else has registered it.
    async fn pay(
        &self,
        config: &ProviderConfig,
        state: &StateDirectory,
        telling: &mut Telling,
    ) -> anyhow::Result<Option<(pay::Config, Ledger)>> {
        if self.free || (self.ledger.ledger.is_none() && kept()?.is_none()) {
            return Ok(None);
        }
        let ledger = self.ledger.connect().await.map_err(|error| {
            error.context("a provider is paid on a ledger; `--free` is for networks without money")
        })?;
        let escrows = paying::escrows(&ledger).await?;
        let key = &config.result_key;
        let sender = paying::provider_sender(&ledger, key, state.path()).await?;
        let operator = loop {
            if let Some(operator) = escrows.operator_of(key.address()).await.code(Code::Host)? {
                break operator;
            }
            let account = evm(key.address());
            if !ledger.chain.balance(account).await.map_err(unreachable)?.is_zero() {
                paying::register(&ledger, &sender, key, node_id(&config.node_key)).await?;
                break key.address();
            }
            telling.waits_for_coins(account);
            sleep(COINS_LOOK).await;
        };
        let config = pay::Config {
            escrows,
            operator,
            max_exposure: self.asks.max_exposure,
            min_bond: self.asks.min_bond,
            confirmations: ledger.settings.confirmations,
            poll: paying::poll(&ledger),
            collect_after: self.asks.collect_after.duration(),
            sender: Some(sender),
        };
        Ok(Some((config, ledger)))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    logging::start("warn");
    let parent = args.parent_stdin.then(watch_parent).transpose()?;
    let tickets = network::all_required(&args.join)?;
    let slots = args.cpus.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(u32::MAX));
    let memory = args.memory.map_or_else(default_memory, Ok)?;
    let directory = match &args.directory {
        Some(directory) => directory.clone(),
        None => data_directory().code(Code::Host)?.join("provider"),
    };
    let state = StateDirectory::claim(&directory)?;
    let result_key = if args.own_keys { state.result_key()? } else { identity()?.result };
    let address = result_key.address();
    let disk = match args.disk {
        Some(disk) => disk,
        None => state.share_of_disk(PART_OF_DISK)?.min(MOST_DISK),
    };
    let spool = fresh_spool(state.path()).code(Code::Host)?;
    let (models, memory) = args.models.lend(slots, memory, &spool)?;
    let pool = worker_pool(usize::try_from(slots).unwrap_or(usize::MAX), &spool).code(Code::Host)?;
    let confinement = pool.confinement().context("cannot start a worker").code(Code::Host)?;
    let executor = Arc::new(Metered { executor: pool, fuel: AtomicU64::new(0) });

    let bind = args.listen.choose(None)?;
    let rates = args.asks.rates();
    rates.check().code(Code::Usage)?;
    let config = ProviderConfig {
        engines: Vec::new(),
        pay: None,
        name: args.name.clone().unwrap_or_else(host_name),
        tickets,
        node_key: state.node_key()?,
        result_key,
        bind,
        disk,
        directory: state.path().to_owned(),
        idle_report: ProviderConfig::IDLE_REPORT,
    };
    runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let _syncs = tell_syncs(args.json)?;
        let mut telling = Telling::new(Announcer::with_progress(args.json), config.tickets.len());
        telling.confined(&confinement);
        let begun = async {
            let capacity = capacity(args, &state, &executor, slots).await?;
            let (pay, ledger) = args.pay(&config, &state, &mut telling).await?.unzip();
            let capacity = Some(capacity);
            let mut engines = vec![EngineConfig {
                executor: executor.clone(),
                slots,
                memory,
                capacity,
                rates,
                models: Vec::new(),
            }];
            engines.extend(models.map(|models| EngineConfig { rates, ..models }));
            let config = ProviderConfig { engines, pay, ..config };
            let started = Provider::start(config).await.map_err(explain)?;
            anyhow::Ok((started, ledger))
        };
        let ((provider, mut events), _ledger) = tokio::select! {
            begun = begun => begun?,
            () = signals.next() => return Err(Exit::new(Code::Interrupted, "stopped before it had joined").into()),
        };
        telling.offer(&provider, address, state.path());
        let ending = lend(&provider, &mut events, &executor, &mut signals, parent, &mut telling).await;
        telling.finish();
        ending
    })
}

/// Tells what happens, until the end.
async fn lend(
    provider: &Provider,
    events: &mut broadcast::Receiver<Notice>,
    executor: &Metered<impl Executor>,
    signals: &mut Signals,
    mut parent: Option<watch::Receiver<bool>>,
    telling: &mut Telling,
) -> anyhow::Result<()> {
    let mut ticks = interval(PROGRESS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draining = false;
    let ending = provider.finished();
    tokio::pin!(ending);
    let ending = loop {
        let want = tokio::select! {
            biased;
            () = orphaned(&mut parent) => Want::Orphaned,
            () = signals.next() => if draining { Want::AtOnce } else { Want::Drain },
            event = events.recv() => {
                match event {
                    Ok(notice) => telling.notice(&notice),
                    Err(RecvError::Lagged(missed)) => telling.missed(missed),
                    // The end comes by another way.
                    Err(RecvError::Closed) => break ending.await,
                }
                continue;
            }
            _ = ticks.tick() => {
                telling.progress(executor.fuel.load(Ordering::Relaxed));
                continue;
            }
            ending = &mut ending => break ending,
        };
        match want {
            Want::Drain => {
                draining = true;
                telling.asked_to_drain();
                provider.drain();
            }
            Want::AtOnce => {
                let _ = timeout(STOP_PATIENCE, provider.stop()).await;
                telling.stopped();
                return Err(
                    Exit::new(Code::Interrupted, "ended at once; its tasks are given to others").into()
                );
            }
            Want::Orphaned => {
                let _ = timeout(STOP_PATIENCE, provider.stop()).await;
                telling.stopped();
                return Ok(());
            }
        }
    };
    // What was said before the end and not yet told.
    while let Ok(notice) = events.try_recv() {
        telling.notice(&notice);
    }
    match ending {
        Ending::Drained => Ok(()),
        Ending::Stopped => {
            telling.stopped();
            Ok(())
        }
        Ending::Refused { reason } => Err(refused(&reason)),
        Ending::Copied { reason } => Err(copied(&reason)),
        Ending::Broke => Err(Exit::new(Code::Host, "the provider broke, which is a mistake of this program")
            .hint("please report it, with what TIDEMILL_LOG=debug writes")
            .into()),
    }
}

fn refused(reason: &str) -> anyhow::Error {
    Exit::new(
        Code::Usage,
        format!("the coordinator does not take this provider in: {}", one_line(reason, 500)),
    )
    .hint("ask whoever runs the coordinator for its ticket of today, and run the same version of tidemill")
    .into()
}

fn copied(reason: &str) -> anyhow::Error {
    Exit::new(Code::Usage, one_line(reason, 500))
        .hint(
            "end that one, or give this provider a new directory, where it gets a key of its own: `tidemill provide \
             --directory NEW`",
        )
        .into()
}

fn explain(error: ProviderError) -> anyhow::Error {
    match error {
        ProviderError::Config(error) => Exit::new(Code::Usage, error.to_string()).into(),
        ProviderError::Bind(error) => cannot_listen(error),
        error => Exit::new(Code::Host, crate::exit::causes(&error.into())).into(),
    }
}

/// How fast this machine is: as it is told, as it was measured within a day, or as it is measured now.
async fn capacity<E: Executor + 'static>(
    args: &Args,
    state: &StateDirectory,
    executor: &Arc<Metered<E>>,
    slots: u32,
) -> anyhow::Result<Capacity> {
    if let Some(rate) = args.assume_fuel_rate {
        let all_fuel_per_s = rate.saturating_mul(slots.into());
        return Ok(Capacity { single_fuel_per_s: rate, all_fuel_per_s });
    }
    if let Some(kept) = state.measured(slots).filter(|_| !args.measure) {
        return Ok(kept);
    }
    let with = executor.clone();
    let measured = tokio::task::spawn_blocking(move || measure(&*with, slots)).await;
    let capacity = measured.context("measuring broke")?.context("cannot measure how fast this machine is");
    let capacity = capacity.code(Code::Host)?;
    executor.fuel.store(0, Ordering::Relaxed);
    state.keep_measured(slots, capacity);
    Ok(capacity)
}

/// An executor, and the fuel that all its tasks have burnt.
struct Metered<E> {
    executor: E,
    fuel: AtomicU64,
}

impl<E: Executor> Executor for Metered<E> {
    fn capabilities(&self) -> Capabilities {
        self.executor.capabilities()
    }

    fn prepare(&self, task: &Task, cancel: &Cancel) -> Result<Prepared, Failure> {
        self.executor.prepare(task, cancel)
    }

    fn run(&self, task: &Task, control: &Control) -> Report {
        let report = self.executor.run(task, control);
        self.fuel.fetch_add(report.usage.fuel.0, Ordering::Relaxed);
        report
    }
}

fn default_memory() -> anyhow::Result<ByteSize> {
    let available = memory_available().ok_or_else(|| {
        Exit::new(Code::Host, "the system does not say how much memory is available")
            .hint("say how much tasks may have: `--memory 4GiB`")
    })?;
    Ok(ByteSize(available.0 / 4 * 3))
}

/// The directory for large outputs, without those of tasks that nobody waits for any more.
fn fresh_spool(directory: &Path) -> anyhow::Result<PathBuf> {
    let spool = directory.join("spool");
    match fs::remove_dir_all(&spool) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", spool.display()));
        }
        _ => {}
    }
    fs::create_dir(&spool).with_context(|| format!("cannot make {}", spool.display()))?;
    Ok(spool)
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = one_line(name.trim(), 64);
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// Watches standard input, which a parent holds open and never writes to. Its end, even by a signal that cannot be
/// caught, is the end of this process: in order where that is quick, and in any case.
fn watch_parent() -> anyhow::Result<watch::Receiver<bool>> {
    let (gone, watched) = watch::channel(false);
    let watching = std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        gone.send_replace(true);
        std::thread::sleep(STOP_PATIENCE * 2);
        std::process::exit(Code::Host as i32);
    });
    watching.context("cannot start a thread").code(Code::Host)?;
    Ok(watched)
}

async fn orphaned(parent: &mut Option<watch::Receiver<bool>>) {
    match parent {
        Some(parent) => {
            let _ = parent.wait_for(|gone| *gone).await;
        }
        None => std::future::pending().await,
    }
}
