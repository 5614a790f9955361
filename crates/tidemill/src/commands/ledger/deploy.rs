//! `tidemill ledger deploy`: Tidemill's contracts on a chain that is there.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tidemill_api as api;
use tidemill_ledger::{
    Address, AddressBook, Chain,
    deploy::{DeployError, Deployment, Params},
    keystore::Account,
    sender::Settings,
};
use tidemill_types::Coin;

use crate::{
    exit::{self, Code, Exit, WithCode},
    home::data_directory,
    json,
    ledger::{AccountArgs, Kept, address_of, keep, open_sender, read_book, unreachable},
    runtime,
};

/// Put Tidemill's contracts on a chain, and write down where they are.
///
/// Says what it will do and what that costs, then asks. Interrupted at any point, the same command goes on: what is
/// there is not deployed twice. The deployer keeps no rights.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// A node of the chain, as an http(s) URL
    #[arg(long, value_name = "URL")]
    rpc: String,
    /// Who gets the supply of the first day and governs: an address, or an account of this home [default: the deployer]
    #[arg(long, value_name = "ACCOUNT")]
    treasury: Option<String>,
    /// Where the address book goes
    #[arg(long, value_name = "FILE", default_value = "address-book.json")]
    out: PathBuf,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    account: AccountArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill ledger deploy --rpc https://rpc.example --account deployer --out book.json\n\nWho holds which role on the first day is in docs/economics.md.\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let treasury = args.treasury.as_deref().map(address_of).transpose()?;
    let account = args.account.unlock()?;
    let params = Params::first_day(treasury.unwrap_or_else(|| account.address()));
    let book = runtime::block_on(async {
        let chain = Chain::connect(&args.rpc, None).await.map_err(unreachable)?;
        if let Some(book) = deployed(args, &chain).await? {
            eprintln!("they are there already; give another `--out` to deploy them once more");
            return Ok(book);
        }
        deploy(args, &account, &chain, &params).await
    })?;
    keep(&Kept { url: args.rpc.clone(), second: None, book: book.clone() })?;
    print(args, &book);
    Ok(())
}

async fn deploy(
    args: &Args,
    account: &Account,
    chain: &Chain,
    params: &Params,
) -> anyhow::Result<AddressBook> {
    let file = format!("deployments/{}-{:#x}.json", chain.chain_id(), account.address());
    let file = data_directory().code(Code::Host)?.join(file);
    let sender = open_sender(chain, account, Settings::default()).await?;
    let deploying = async {
        let deployment = Deployment::prepare(params, &sender, &file).await.map_err(failed)?;
        if deployment.is_begun() {
            eprintln!("going on with what was begun");
        } else {
            agree(args, account, chain, &deployment).await?;
        }
        let bar = steps(deployment.plan().steps().len());
        let done = deployment.execute(&sender, |label| {
            bar.set_message(label.to_owned());
            bar.inc(1);
        });
        let book = done.await.map_err(failed);
        bar.finish_and_clear();
        let book = book?;
        book.save(&args.out)
            .with_context(|| format!("cannot write {}", args.out.display()))
            .code(Code::Host)?;
        deployment.finish().map_err(failed)?;
        Ok(book)
    };
    let book = deploying.await;
    sender.close().await;
    book
}

/// What an earlier run has deployed: the address book is there, and so is all that it names.
async fn deployed(args: &Args, chain: &Chain) -> anyhow::Result<Option<AddressBook>> {
    if !args.out.exists() {
        return Ok(None);
    }
    let book = read_book(&args.out)?;
    book.verify(chain).await.map_err(|error| {
        let message = format!(
            "{} is there and is not of this chain: {}",
            args.out.display(),
            tidemill_types::causes(&error)
        );
        Exit::new(Code::Usage, message).hint("give another `--out`, or move it away")
    })?;
    Ok(Some(book))
}

fn failed(error: DeployError) -> anyhow::Error {
    let code = match &error {
        DeployError::OtherParams(_) | DeployError::Busy(_) => Code::Usage,
        DeployError::Step { .. } | DeployError::NonceTaken { .. } => Code::Failed,
        _ => Code::Host,
    };
    Exit::new(code, tidemill_types::causes(&error)).into()
}

fn steps(count: usize) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    let style = ProgressStyle::with_template("{bar:20} {pos} of {len}  {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Says what will be done and what it costs at most, and asks.
async fn agree(args: &Args, account: &Account, chain: &Chain, deployment: &Deployment) -> anyhow::Result<()> {
    let most = deployment.most_cost(chain).await.map_err(unreachable)?;
    let has = chain.balance(account.address()).await.map_err(unreachable)?;
    eprintln!("on chain {} as {} ({has}):", chain.chain_id(), account.address());
    for step in deployment.plan().steps() {
        eprintln!("  {}", step.label);
    }
    eprintln!("for at most {most} in fees");
    if has < most {
        let short = most.checked_sub(has).unwrap_or(Coin::ZERO);
        return Err(Exit::new(Code::Usage, format!("the account lacks {short} for the fees"))
            .hint(format!("send it to {}", account.address()))
            .into());
    }
    if args.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Exit::new(Code::Usage, "nobody is there to be asked")
            .hint("say `--yes` to do it")
            .into());
    }
    eprint!("go on? [y/N] ");
    io::stderr().flush().code(Code::Host)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).code(Code::Host)?;
    if matches!(answer.trim(), "y" | "yes") {
        Ok(())
    } else {
        Err(Exit::new(Code::Interrupted, "not done").into())
    }
}

fn print(args: &Args, book: &AddressBook) {
    if args.json {
        let contract =
            |(name, at): (&str, Address)| api::Contract { name: name.to_owned(), address: at.to_string() };
        json::print(&api::DeployedLedger {
            chain_id: book.chain_id,
            address_book: args.out.to_string_lossy().into_owned(),
            contracts: book.addresses().map(contract).collect(),
        });
        return;
    }
    println!("Tidemill's contracts are on chain {}:", book.chain_id);
    for (name, at) in book.addresses() {
        println!("  {name:<16} {at}");
    }
    println!(
        "their address book is {}; this home uses them from now on\nelsewhere: tidemill ledger use {} --book {}",
        args.out.display(),
        args.rpc,
        args.out.display()
    );
}
