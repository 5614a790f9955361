//! `tidemill bench dispatch`: what it costs to get a task to a provider and its result back.

mod data;
mod empty;
mod network;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;
use tidemill_ledger::{evm, ours};
use tidemill_net::{
    client::Replies,
    wire::{JobPay, JobPhase, JobReport, NetworkTerms, Reply},
};
use tidemill_scratch::Scratch;
use tidemill_types::{
    Amount, ByteSize, Coin, EscrowId, EscrowTerms, Mandate, NodeId, RateCard, ResultKey, Signable, UnitError,
};

use self::{
    data::Payload,
    network::{Network, WaitsATask},
};
use super::{
    bank::{Bank, call, send},
    median, percentile,
};
use crate::{home::Identity, node_state::result_key, runtime::block_on};

/// Measure what it costs to get a task to a provider and its result back.
///
/// Starts a coordinator and providers of one slot each as processes of their own, which talk over QUIC on this host.
/// Every task runs in a sandbox of its own, has a durable lease and a durable result, and its leaf is signed. The
/// programs do nothing, or read and write as many bytes as --input and --output say, each task bytes of its own: then the
/// time is that of `tidemill run`, from reading the job file to having the last output, without laying outputs out as
/// files.
#[derive(clap::Args)]
pub struct Args {
    /// Tasks of the one large job
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    tasks: u32,
    /// Providers, each with one slot
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    providers: u16,
    /// Give each task so many bytes of input, 16 B to 64 MiB, which it reads to the end
    #[arg(long, value_name = "SIZE", value_parser = size)]
    input: Option<ByteSize>,
    /// Have each task write so many bytes of output, 16 B to 64 MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    output: Option<ByteSize>,
    /// Jobs of one task each that are submitted without waiting for one another [default: a quarter of --tasks; none with
    /// --input or --output]
    #[arg(long, value_name = "N", conflicts_with_all = ["input", "output"], value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    submissions: Option<u32>,
    /// Jobs of one task each that are run one after another on an idle network
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    singles: u32,
    /// Pay for the tasks: a ledger, an escrow, vouchers that providers check and write down
    #[arg(long)]
    paid: bool,
    /// Measure so many times without and with paying, in turns, and print what paying costs
    #[arg(long, value_name = "N", conflicts_with = "paid", value_parser = clap::value_parser!(u16).range(1..=100))]
    compare: Option<u16>,
    /// Keep everything below this directory, on the disk to be measured [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Results {
    tasks: u32,
    providers: u16,
    /// Of each task.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_bytes: Option<u64>,
    /// Of one mapped job, from its submission to its end; with data, from its job file to its last output.
    tasks_per_s: f64,
    /// Inputs and outputs together, in the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    mib_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submissions: Option<u32>,
    /// Separate jobs, pipelined, from the first submission to the last end.
    #[serde(skip_serializing_if = "Option::is_none")]
    submit_per_s: Option<f64>,
    /// Of jobs of one task, one after another, each measured as the mapped job is.
    single_task_ms: Latency,
    /// How often each role waited for the disk during the mapped job.
    syncs_per_task: WaitsATask,
    /// The same during the jobs of one task.
    syncs_per_single_task: WaitsATask,
    /// What the disk below takes to make 4 KiB durable, in the middle of the samples.
    fdatasync_ms: f64,
    /// Resident memory of the coordinator at the end.
    coordinator_rss_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

/// What is locked for all tasks of a measurement.
const BUDGET: Amount = Amount::tide(10_000_000);

/// Tasks that are run before anything is measured.
const WARM_UP: u32 = 1_000;

/// Samples of the disk.
const SYNCS: usize = 200;

/// How long anything may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(600);

impl Args {
    /// What tasks read and write, where they do.
    fn payload(&self) -> Option<Payload> {
        let is_any = self.input.is_some() || self.output.is_some();
        is_any.then_some(Payload { input: self.input, output: self.output })
    }

    /// The data of a task, for people.
    fn data_in_words(&self) -> String {
        let part = |size: Option<ByteSize>, way| size.map(|size| format!(" {size} {way}"));
        let parts: Vec<String> =
            [part(self.input, "in"), part(self.output, "out")].into_iter().flatten().collect();
        if parts.is_empty() { String::new() } else { format!(" of{}", parts.join(" and")) }
    }

    /// How many tasks to begin with: of tasks with data not more than are measured.
    fn warm_up(&self) -> u32 {
        self.payload().map_or(WARM_UP, |_| WARM_UP.min(self.tasks))
    }
}

/// A size that a task's data may have: at least what sets a million of them apart.
fn size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error: UnitError| error.to_string())?;
    if (16..=64 << 20).contains(&size.0) { Ok(size) } else { Err("it must be 16 B to 64 MiB".to_owned()) }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let temporary;
    let directory = match &args.directory {
        Some(directory) => {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
            directory.as_path()
        }
        None => {
            temporary = Scratch::temporary().context("cannot make a temporary directory")?;
            temporary.path()
        }
    };
    if let Some(times) = args.compare {
        return compare(args, directory, times);
    }
    let results =
        block_on(async { tokio::time::timeout(PATIENCE, measure(args, directory, args.paid)).await? })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
        return Ok(());
    }
    println!(
        "{} tasks{} over {} providers of one slot each",
        results.tasks,
        args.data_in_words(),
        results.providers
    );
    println!("  one mapped job        {:>9.0} tasks/s", results.tasks_per_s);
    if let Some(rate) = results.mib_per_s {
        println!("  inputs and outputs    {rate:>9.1} MiB/s");
    }
    if let (Some(rate), Some(count)) = (results.submit_per_s, results.submissions) {
        println!("  separate submissions  {rate:>9.0} jobs/s ({count} of them)");
    }
    println!(
        "  a single task         {:>9.2} ms p50, {:.2} ms p99",
        results.single_task_ms.p50, results.single_task_ms.p99
    );
    println!("  fdatasync             {:>9.2} ms", results.fdatasync_ms);
    println!("  syncs a task          {}", results.syncs_per_task);
    println!("  syncs a single task   {}", results.syncs_per_single_task);
    if let Some(bytes) = results.coordinator_rss_bytes {
        println!("  coordinator's memory  {:>9}", ByteSize(bytes).to_string());
    }
    Ok(())
}

/// What paying costs, in parts of what it is without.
#[derive(Serialize)]
struct Comparison {
    free: Vec<Results>,
    paid: Vec<Results>,
    /// How many tasks fewer a second are done, by the medians.
    tasks_slower_percent: f64,
    /// The same of separate jobs, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    submissions_slower_percent: Option<f64>,
    /// How much longer a single task takes in the middle.
    single_longer_percent: f64,
}

fn compare(args: &Args, directory: &Path, times: u16) -> anyhow::Result<()> {
    let (mut free, mut paid) = (Vec::new(), Vec::new());
    for time in 0..times {
        for pays in [false, true] {
            let place = directory.join(format!("{time}-{}", if pays { "paid" } else { "free" }));
            fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
            let measured =
                block_on(async { tokio::time::timeout(PATIENCE, measure(args, &place, pays)).await? })?;
            if pays { paid.push(measured) } else { free.push(measured) }
        }
    }
    let middle =
        |of: &[Results], value: fn(&Results) -> f64| median(&of.iter().map(value).collect::<Vec<f64>>());
    let less =
        |value: fn(&Results) -> f64| rounded(100.0 * (1.0 - middle(&paid, value) / middle(&free, value)));
    let comparison = Comparison {
        tasks_slower_percent: less(|results| results.tasks_per_s),
        submissions_slower_percent: args
            .payload()
            .is_none()
            .then(|| less(|results| results.submit_per_s.unwrap_or(f64::NAN))),
        single_longer_percent: -less(|results| results.single_task_ms.p50),
        free,
        paid,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
        return Ok(());
    }
    let line = |what: &str, of: &[Results]| {
        let rates: Vec<String> = of.iter().map(|results| format!("{:.0}", results.tasks_per_s)).collect();
        println!("  {what}  {} tasks/s", rates.join(", "));
    };
    let (tasks, data, providers) = (args.tasks, args.data_in_words(), args.providers);
    println!("{tasks} tasks{data} over {providers} providers of one slot each, in turns");
    line("free", &comparison.free);
    line("paid", &comparison.paid);
    let separate = comparison.submissions_slower_percent;
    println!(
        "  paying costs {} % of the tasks a second,{} and {} % of a single task's time",
        comparison.tasks_slower_percent,
        separate.map_or_else(String::new, |percent| format!(" {percent} % of the separate jobs,")),
        comparison.single_longer_percent
    );
    Ok(())
}

async fn measure(args: &Args, directory: &Path, pays: bool) -> anyhow::Result<Results> {
    let fdatasync_ms = fdatasync_ms(directory)?;
    let bank = match pays {
        true => Some(Bank::open(&directory.join("ledger")).await?),
        false => None,
    };
    if let Some(bank) = &bank {
        fund_all(bank, directory, args.providers).await?;
    }
    let url = bank.as_ref().map(Bank::url);
    let network = Network::start(directory, args.providers, url.as_deref())?;
    let results = measure_with(args, directory, &network, bank.as_ref(), fdatasync_ms).await;
    drop(network);
    if let Some(bank) = bank {
        bank.close().await;
    }
    results
}

/// The coordinator and the providers have coins for gas, so that they can settle and register.
async fn fund_all(bank: &Bank, directory: &Path, providers: u16) -> anyhow::Result<()> {
    let treasury = bank.sender(&bank.keys.0).await?;
    let homes = std::iter::once("coordinator".to_owned());
    for home in homes.chain((0..providers).map(|number| format!("provider-{number}"))) {
        let keys = directory.join(home).join("keys");
        fs::create_dir_all(&keys)?;
        let key = result_key(&keys)?;
        let coins = Coin::from_wei(1_000_000_000_000_000_000);
        send(&treasury, evm(key.address()), coins, Vec::new()).await?;
    }
    treasury.close().await;
    Ok(())
}

async fn measure_with(
    args: &Args,
    directory: &Path,
    network: &Network,
    bank: Option<&Bank>,
    fdatasync_ms: f64,
) -> anyhow::Result<Results> {
    let mut requester = Requester::connect(args, directory, network, bank).await?;
    // The first tasks start the workers, load the code and fill the pools.
    requester.run(args.warm_up()).await?;

    let before = network.waits()?;
    let mapped = requester.run(args.tasks).await?.as_secs_f64();
    let syncs_per_task = network.waits()?.a_task(&before, args.tasks);

    let submissions = match &requester {
        Requester::Empty(requester) => {
            let count = args.submissions.unwrap_or(args.tasks.div_ceil(4));
            let per_s = f64::from(count) / requester.run_many(count).await?.as_secs_f64();
            Some((count, per_s.round()))
        }
        Requester::Data(_) => None,
    };
    let (submissions, submit_per_s) = submissions.unzip();

    let before = network.waits()?;
    let mut times = Vec::new();
    for _ in 0..args.singles {
        times.push(requester.run(1).await?.as_secs_f64() * 1e3);
    }
    let syncs_per_single_task = network.waits()?.a_task(&before, args.singles);
    times.sort_by(f64::total_cmp);
    let single_task_ms =
        Latency { p50: rounded(percentile(&times, 0.5)), p99: rounded(percentile(&times, 0.99)) };

    let mib = |payload: Payload| f64::from(args.tasks) * payload.bytes() as f64 / f64::from(1 << 20);
    Ok(Results {
        tasks: args.tasks,
        providers: args.providers,
        input_bytes: args.input.map(|size| size.0),
        output_bytes: args.output.map(|size| size.0),
        tasks_per_s: (f64::from(args.tasks) / mapped).round(),
        mib_per_s: args.payload().map(|payload| rounded(mib(payload) / mapped)),
        submissions,
        submit_per_s,
        single_task_ms,
        syncs_per_task,
        syncs_per_single_task,
        fdatasync_ms,
        coordinator_rss_bytes: network.coordinator_rss_bytes(),
    })
}

/// Who submits the jobs.
enum Requester {
    Empty(Box<empty::Requester>),
    Data(Box<data::Requester>),
}

impl Requester {
    /// Joins the network as somebody new.
    async fn connect(
        args: &Args,
        directory: &Path,
        network: &Network,
        bank: Option<&Bank>,
    ) -> anyhow::Result<Self> {
        let mut secrets = [[0; 32]; 2];
        for secret in &mut secrets {
            getrandom::fill(secret).map_err(std::io::Error::from)?;
        }
        let identity = Identity { node: secrets[0], result: ResultKey::from_bytes(&secrets[1])? };
        let ticket = &network.ticket;
        Ok(match args.payload() {
            Some(payload) => {
                let session = data::Requester::connect(identity, directory, ticket, bank, payload).await?;
                Self::Data(Box::new(session))
            }
            None => {
                let session = empty::Requester::connect(&identity, directory, ticket, bank).await?;
                Self::Empty(Box::new(session))
            }
        })
    }

    /// Runs a job of so many tasks, and gives the time that it took.
    async fn run(&mut self, tasks: u32) -> anyhow::Result<Duration> {
        match self {
            Self::Empty(requester) => requester.run(tasks).await,
            Self::Data(requester) => requester.run(tasks).await,
        }
    }
}

/// Opens an escrow that pays for all jobs of a node.
async fn lock(terms: NetworkTerms, node: NodeId, bank: &Bank) -> anyhow::Result<JobPay> {
    let money = terms.money.context("the network is free")?;
    let (rich, _) = &bank.keys;
    let terms = EscrowTerms {
        coordinator: money.account,
        voucher_key: money.account,
        budget: BUDGET,
        deadline_s: bank.chain.now().await? + 7 * 86_400,
        fee_ppm: money.fee_ppm,
        spec_hash: [0; 32],
    };
    let escrow = EscrowId::of(ours(rich.address()), &terms, [0; 32]);
    let sender = bank.sender(rich).await?;
    call(&sender, bank.escrows.address(), bank.escrows.open(rich, &terms, [0; 32]).await?).await?;
    sender.close().await;
    let key = ResultKey::from_bytes(&rich.to_bytes().0)?;
    let mandate = Mandate { escrow, node }.sign(&bank.escrows.contract(), &key)?.signature;
    Ok(JobPay { escrow, mandate, ceiling: RateCard::default(), max_price: None, close: false })
}

/// Waits for the end of a job.
async fn ended(mut replies: Replies) -> anyhow::Result<JobReport> {
    loop {
        if let Reply::Ended(report) = replies.next().await? {
            anyhow::ensure!(report.phase == JobPhase::Done, "a job ended as {:?}", report.phase);
            return Ok(report);
        }
    }
}

/// What it takes to append 4 KiB to a file and to make that durable: the median of many.
fn fdatasync_ms(directory: &Path) -> anyhow::Result<f64> {
    let path = directory.join("fdatasync");
    let mut file = File::create(&path).with_context(|| format!("cannot write to {}", directory.display()))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(&path)?;
    Ok(rounded(median(&times)))
}

/// To the hundredth.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
