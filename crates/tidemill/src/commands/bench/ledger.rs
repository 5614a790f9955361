//! `tidemill bench ledger`: the embedded ledger beside anvil, and how long it takes to come back.

mod load;
mod node;

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use tidemill_scratch::Scratch;

use self::{
    load::Load,
    node::{Node, find_anvil},
};
use super::median;
use crate::{
    exit::{self, Code, Exit, WithCode},
    runtime,
};

/// Measure the embedded ledger: ERC-20 transfers through its JSON-RPC, beside anvil, and a restart over many blocks.
///
/// Both nodes run as processes of their own with one block as soon as there are transactions, and get the same
/// signed transactions from ten accounts, one request each. The embedded ledger has every block on disk before it
/// answers for it; anvil keeps its blocks in memory. Runs of the two take turns.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// Transfers in each run
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    transfers: u32,
    /// Runs of each node
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Blocks over which the embedded ledger is started again; 0 leaves that out
    #[arg(long, default_value_t = 10_000)]
    blocks: u32,
    /// The program anvil [default: that of contracts/node_modules below this directory, else of the PATH]
    #[arg(long, value_name = "FILE")]
    anvil: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// No run takes longer, but one that has come to a stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run of a node came to, in transfers a second.
struct Rates {
    own: Vec<f64>,
    anvil: Vec<f64>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let anvil = match &args.anvil {
        Some(anvil) => Some(anvil.clone()),
        None => find_anvil(),
    };
    if anvil.is_none() {
        eprintln!(
            "anvil is not there, so the embedded ledger runs alone: `npm ci` in contracts/ installs it"
        );
    }
    let load = Load::sign(args.transfers).code(Code::Host)?;
    let (rates, restart) = runtime::block_on(async {
        let mut rates = Rates { own: Vec::new(), anvil: Vec::new() };
        for _ in 0..args.runs {
            rates.own.push(measure(Node::own(None).await?, &load).await?);
            if let Some(anvil) = &anvil {
                // Of more than some thousand transfers anvil at times forgets some.
                match measure(Node::anvil(anvil).await?, &load).await {
                    Ok(rate) => rates.anvil.push(rate),
                    Err(error) => {
                        eprintln!("anvil did not come to the end of a run, which is left out: {error:#}")
                    }
                }
            }
        }
        let restart = if args.blocks == 0 { None } else { Some(restart(args.blocks).await?) };
        anyhow::Ok((rates, restart))
    })?;
    print(args, &rates, restart);
    Ok(())
}

async fn measure(node: Node, load: &Load) -> anyhow::Result<f64> {
    let rate = tokio::time::timeout(PATIENCE, load.run(node.url())).await;
    node.stop().await?;
    let message = || format!("it took longer than {} s", PATIENCE.as_secs());
    rate.map_err(|_| Exit::new(Code::Failed, message()))?
}

/// Makes a ledger of so many blocks with a transfer each, and times its start on them to the first answer.
async fn restart(blocks: u32) -> anyhow::Result<Duration> {
    let directory = Scratch::temporary().code(Code::Host)?;
    let node = Node::own(Some(directory.path())).await?;
    let made = Load::sign(blocks).code(Code::Host)?.one_by_one(node.url()).await;
    // Killed, not stopped: an orderly end writes a snapshot.
    node.kill().await?;
    made?;
    let started = std::time::Instant::now();
    let node = Node::own(Some(directory.path())).await?;
    let took = started.elapsed();
    let height = load::height(node.url()).await?;
    node.stop().await?;
    if height < u64::from(blocks) {
        return Err(Exit::new(Code::Failed, format!("only {height} blocks of {blocks} came back")).into());
    }
    Ok(took)
}

fn print(args: &Args, rates: &Rates, restart: Option<Duration>) {
    let (own, anvil) = (median(&rates.own), median(&rates.anvil));
    let has_anvil = !rates.anvil.is_empty();
    if args.json {
        let text = json!({
            "tx_per_s": own,
            "anvil_tx_per_s": has_anvil.then_some(anvil),
            "restart_s": restart.map(|took| took.as_secs_f64()),
            "transfers": args.transfers,
            "runs": { "own": rates.own, "anvil": rates.anvil },
            "blocks": args.blocks,
        });
        println!("{text:#}");
        return;
    }
    println!("{} ERC-20 transfers through JSON-RPC, median of {} runs in turns", args.transfers, args.runs);
    println!("  embedded ledger  {own:>8.0} /s, every block on disk");
    if has_anvil {
        println!("  anvil            {anvil:>8.0} /s, in memory: {:.2} times", own / anvil);
    }
    if let Some(took) = restart {
        println!("a start over {} blocks, after a kill: {:.2} s", args.blocks, took.as_secs_f64());
    }
}
