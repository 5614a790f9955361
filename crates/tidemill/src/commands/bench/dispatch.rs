//! `tidemill bench dispatch`: what it costs to get a task to a provider and its result back.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;
use tidemill_job::{JobFile, JobSpec, expand, seal};
use tidemill_ledger::{evm, ours};
use tidemill_net::{
    blobs::{BLOBS_ALPN, BlobOptions, Blobs, FileMode, Keeps, Pin},
    client::{Client, Replies},
    endpoint::{Bind, Node, NodeOptions},
    ticket::Ticket,
    wire::{JobPay, JobPhase, Reply, Request, SpecBody},
};
use tidemill_scratch::Scratch;
use tidemill_types::{
    Amount, BlobRef, Coin, Content, EscrowId, EscrowTerms, JobId, Mandate, NodeId, RateCard, ResultKey,
    Segment, Signable,
};
use tokio::task::JoinSet;

use super::{
    bank::{Bank, call, send},
    median,
    noop::NOOP,
    percentile,
};
use crate::{
    exit::{Code, Exit, WithCode},
    node_state::result_key,
    runtime::block_on,
};

/// Measure what it costs to get a task to a provider and its result back.
///
/// Starts a coordinator and providers of one slot each as processes of their own, which talk over QUIC on this host.
/// Every task runs in a sandbox of its own, has a durable lease and a durable result, and its leaf is signed. The
/// programs do nothing.
#[derive(clap::Args)]
pub struct Args {
    /// Tasks of the one large job
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    tasks: u32,
    /// Providers, each with one slot
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    providers: u16,
    /// Jobs of one task each that are submitted without waiting for one another [default: a quarter of --tasks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
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
    /// Of one mapped job, from its submission to its end.
    tasks_per_s: f64,
    submissions: u32,
    /// Separate jobs, pipelined, from the first submission to the last end.
    submit_per_s: f64,
    /// From a submission to the end of the job.
    single_task_ms: Latency,
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

/// Submissions that wait for their end at a time.
const PIPELINED: usize = 512;

/// Samples of the disk.
const SYNCS: usize = 200;

/// How long anything may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(600);

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
    println!("{} tasks over {} providers of one slot each", results.tasks, results.providers);
    println!("  one mapped job        {:>9.0} tasks/s", results.tasks_per_s);
    println!(
        "  separate submissions  {:>9.0} jobs/s ({} of them)",
        results.submit_per_s, results.submissions
    );
    println!(
        "  a single task         {:>9.2} ms p50, {:.2} ms p99",
        results.single_task_ms.p50, results.single_task_ms.p99
    );
    println!("  fdatasync             {:>9.2} ms", results.fdatasync_ms);
    if let Some(bytes) = results.coordinator_rss_bytes {
        println!("  coordinator's memory  {:>9}", tidemill_types::ByteSize(bytes).to_string());
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
    /// The same of separate jobs.
    submissions_slower_percent: f64,
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
        submissions_slower_percent: less(|results| results.submit_per_s),
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
    println!("{} tasks over {} providers of one slot each, in turns", args.tasks, args.providers);
    line("free", &comparison.free);
    line("paid", &comparison.paid);
    println!(
        "  paying costs {} % of the tasks a second, {} % of the separate jobs, and {} % of a single task's time",
        comparison.tasks_slower_percent,
        comparison.submissions_slower_percent,
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
    let requester = Requester::connect(directory, &network.ticket, bank.as_ref()).await?;
    let results = measure_with(args, &network, &requester, fdatasync_ms).await;
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
    network: &Network,
    requester: &Requester,
    fdatasync_ms: f64,
) -> anyhow::Result<Results> {
    // The first tasks start the workers, load the code and fill the pools.
    let warm_up = requester.spec(1_000)?;
    requester.run(&warm_up).await?;

    let job = requester.spec(args.tasks)?;
    let begun = Instant::now();
    requester.run(&job).await?;
    let tasks_per_s = f64::from(args.tasks) / begun.elapsed().as_secs_f64();

    let single = requester.spec(1)?;
    let submissions = args.submissions.unwrap_or(args.tasks.div_ceil(4));
    let begun = Instant::now();
    requester.run_many(&single, submissions).await?;
    let submit_per_s = f64::from(submissions) / begun.elapsed().as_secs_f64();

    let mut times = Vec::new();
    for _ in 0..args.singles {
        let begun = Instant::now();
        requester.run(&single).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let single_task_ms =
        Latency { p50: rounded(percentile(&times, 0.5)), p99: rounded(percentile(&times, 0.99)) };
    Ok(Results {
        tasks: args.tasks,
        providers: args.providers,
        tasks_per_s: tasks_per_s.round(),
        submissions,
        submit_per_s: submit_per_s.round(),
        single_task_ms,
        fdatasync_ms,
        coordinator_rss_bytes: resident_bytes(network.coordinator.0.id()),
    })
}

/// The processes. They end when this is dropped.
struct Network {
    coordinator: Process,
    _providers: Vec<Process>,
    ticket: Ticket,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // What they keep is of no use any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Network {
    /// `ledger`: where work is paid for.
    fn start(directory: &Path, providers: u16, ledger: Option<&str>) -> anyhow::Result<Self> {
        let money = ledger.map_or_else(|| vec!["--free"], |url| vec!["--ledger", url]);
        let ticket_file = directory.join("ticket");
        let home = |name: &str| -> anyhow::Result<PathBuf> {
            let home = directory.join(name);
            fs::create_dir_all(&home)?;
            Ok(home)
        };
        let (mut coordinator, mut said) = start(
            Command::new(this_program()?)
                .args(["serve", "--trust", "all", "--loopback", "--json", "--ticket-file"])
                .arg(&ticket_file)
                .args(&money)
                .env("TIDEMILL_HOME", home("coordinator")?),
        )?;
        wait_for(&mut said, "listening", &mut coordinator)?;
        let text = fs::read_to_string(&ticket_file).context("the coordinator wrote no ticket")?;
        let ticket: Ticket = text.trim().parse()?;
        let mut started = Vec::new();
        for number in 0..providers {
            let (mut provider, mut said) = start(
                Command::new(this_program()?)
                    .args(["provide", "--loopback", "--json", "--cpus", "1", "--memory", "1 GiB", "--join"])
                    .arg(&ticket_file)
                    .args(&money)
                    .env("TIDEMILL_HOME", home(&format!("provider-{number}"))?),
            )?;
            wait_for(&mut said, "joined", &mut provider)?;
            // Whatever it says from now on is read, so that it never waits for a reader.
            std::thread::spawn(move || said.for_each(drop));
            started.push(provider);
        }
        std::thread::spawn(move || said.for_each(drop));
        Ok(Self { coordinator, _providers: started, ticket })
    }
}

type Lines = std::io::Lines<BufReader<std::process::ChildStdout>>;

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

fn start(command: &mut Command) -> anyhow::Result<(Process, Lines)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let stdout = child.stdout.take().context("a process has no output")?;
    Ok((Process(child), BufReader::new(stdout).lines()))
}

/// Reads what a process says until it tells of an event.
fn wait_for(said: &mut Lines, event: &str, process: &mut Process) -> anyhow::Result<()> {
    let wanted = format!("\"event\":\"{event}\"");
    for line in said {
        if line?.replace(' ', "").contains(&wanted) {
            return Ok(());
        }
    }
    let status = process.0.wait()?;
    let message = format!("a process of the network ended before it was {event}: {status}");
    Err(Exit::new(Code::Host, message).into())
}

/// Who submits the jobs.
struct Requester {
    client: Client,
    _node: Node,
    blobs: Blobs,
    directory: PathBuf,
    pay: Option<JobPay>,
}

/// What is locked for all tasks of a measurement.
const BUDGET: Amount = Amount::tide(10_000_000);

impl Requester {
    async fn connect(directory: &Path, ticket: &Ticket, bank: Option<&Bank>) -> anyhow::Result<Self> {
        let mut secrets = [[0; 32]; 2];
        for secret in &mut secrets {
            getrandom::fill(secret).map_err(std::io::Error::from)?;
        }
        let options = NodeOptions { bind: Bind::Loopback { port: 0 }, ..NodeOptions::default() };
        let node = Node::bind(&secrets[0], options).await?;
        let client = Client::connect(&node, &ResultKey::from_bytes(&secrets[1])?, ticket).await?;
        let options = BlobOptions { keeps: Keeps::Cache, budget: u64::MAX, stall: PATIENCE };
        let blobs = Blobs::open(&directory.join("requester"), options).await?;
        let connection = node.connect(ticket, BLOBS_ALPN).await?;
        let with = blobs.clone();
        tokio::spawn(async move { with.serve(connection, |_, _| true, 16).await });
        let program = directory.join("noop.wasm");
        fs::write(&program, NOOP).code(Code::Host)?;
        blobs.import_file(&program, FileMode::Copy, &Pin::new("noop")?).await?;
        let pay = match bank {
            Some(bank) => Some(Self::lock(&client, node.id(), bank).await?),
            None => None,
        };
        Ok(Self { client, _node: node, blobs, directory: directory.to_owned(), pay })
    }

    /// Opens an escrow that pays for all jobs.
    async fn lock(client: &Client, node: NodeId, bank: &Bank) -> anyhow::Result<JobPay> {
        let Reply::Terms(terms) = client.call(Request::Terms { stages: Vec::new() }).await? else {
            anyhow::bail!("the coordinator does not say how it pays")
        };
        let money = terms.money.context("the network is free")?;
        let (rich, _) = &bank.keys;
        let terms = EscrowTerms {
            coordinator: money.account,
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

    /// A job of so many tasks that do nothing.
    fn spec(&self, tasks: u32) -> anyhow::Result<Vec<u8>> {
        let text = format!(
            "name = \"noop\"\n[program]\npath = \"noop.wasm\"\n[tasks]\nrange = {{ from = 0, to = {tasks} }}\n\
             [limits]\nmemory = \"1 MiB\"\n"
        );
        let file =
            JobFile::parse(&text).map_err(|mistakes| anyhow::anyhow!("{}", mistakes.in_file("job.toml")))?;
        let plan = expand(&file, &self.directory)?;
        let spec: JobSpec = seal(&plan, &file, &mut |content| self.blob(content))?;
        Ok(spec.encode())
    }

    fn blob(&self, content: &Content) -> anyhow::Result<BlobRef> {
        let [Segment::File { path, .. }] = content.segments.as_slice() else {
            anyhow::bail!("the job has no input but its program")
        };
        let bytes = fs::read(path)?;
        let blob = BlobRef { id: tidemill_types::BlobId::of(&bytes), len: bytes.len() as u64 };
        anyhow::ensure!(self.blobs.has(blob.id).is_some(), "the program was not imported");
        Ok(blob)
    }

    /// Submits a job. What follows tells of its end.
    async fn submit(&self, encoded: &[u8]) -> anyhow::Result<Replies> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(std::io::Error::from)?;
        let spec = SpecBody::Inline(encoded.to_vec());
        Ok(self.client.follow(Request::Submit { job: JobId(id), spec, follow: true, pay: self.pay }).await?)
    }

    async fn run(&self, encoded: &[u8]) -> anyhow::Result<()> {
        ended(self.submit(encoded).await?).await
    }

    /// Submits jobs without waiting for one another.
    async fn run_many(&self, encoded: &[u8], count: u32) -> anyhow::Result<()> {
        let mut under_way = JoinSet::new();
        for _ in 0..count {
            if under_way.len() >= PIPELINED
                && let Some(one) = under_way.join_next().await
            {
                one??;
            }
            let replies = self.submit(encoded).await?;
            under_way.spawn(ended(replies));
        }
        while let Some(one) = under_way.join_next().await {
            one??;
        }
        Ok(())
    }
}

/// Waits for the end of a job.
async fn ended(mut replies: Replies) -> anyhow::Result<()> {
    loop {
        if let Reply::Ended(report) = replies.next().await? {
            anyhow::ensure!(report.phase == JobPhase::Done, "a job ended as {:?}", report.phase);
            return Ok(());
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

/// Resident memory of a process, where the system says.
fn resident_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
