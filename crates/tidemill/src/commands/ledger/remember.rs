//! `tidemill ledger use`: the ledger that commands mean when they do not say.

use std::path::PathBuf;

use tidemill_api::RememberedLedger;

use crate::{
    exit::{self, Code, Exit},
    follow::unless_stopped,
    interrupt::Signals,
    json,
    ledger::{Kept, connect, keep, read_book},
    runtime,
};

/// Remember a ledger, so that other commands need no `--ledger`.
///
/// The ledger is asked once, to see whether it is the one of the address book and has its contracts. An embedded ledger
/// tells its address book itself: then you trust whoever runs it, as you do anyway. With the URLs of two nodes, commands
/// ask both for all that matters, and end with an error where the two contradict each other.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The node's URL
    url: String,
    /// The URL of a second node of the same ledger, which somebody else runs
    #[arg(value_name = "URL")]
    second: Option<String>,
    /// The address book of the contracts there, which `tidemill ledger deploy` wrote
    #[arg(long, value_name = "FILE")]
    book: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill ledger use http://192.168.1.7:8545\n  tidemill ledger use https://rpc.example --book book.json\n  tidemill ledger use https://rpc.example https://rpc.example.net --book book.json\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let book = args.book.as_deref().map(read_book).transpose()?;
    let second = args.second.as_deref();
    if second == Some(args.url.as_str()) {
        return Err(Exit::new(
            Code::Usage,
            "the second URL is the first: a node that agrees with itself says nothing",
        )
        .hint("name a node that somebody else runs, or leave it out")
        .into());
    }
    let ledger = runtime::block_on(async {
        unless_stopped(&mut Signals::listen()?, connect(&args.url, second, book)).await
    })?;
    let chain_id = ledger.book.chain_id;
    keep(&Kept { url: ledger.url, second: ledger.second, book: ledger.book })?;
    if args.json {
        json::print(&RememberedLedger { url: args.url.clone(), second_url: args.second.clone(), chain_id });
    } else if let Some(second) = second {
        println!(
            "the ledger {} (chain {chain_id}) is remembered, and with it {second}: what matters is asked of both",
            args.url
        );
    } else {
        println!(
            "the ledger {} (chain {chain_id}) is remembered; `tidemill wallet balance` and the others are for it now",
            args.url
        );
    }
    Ok(())
}
