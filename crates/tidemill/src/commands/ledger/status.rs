//! `tidemill ledger status`: a ledger, and what its contracts hold.

use std::time::{SystemTime, UNIX_EPOCH};

use tidemill_api as api;
use tidemill_ledger::{
    Address, B256, SolCall, U256,
    contracts::{ProviderStaking, Tide},
};
use tidemill_types::Amount;

use crate::{
    exit::{self, Code, WithCode},
    json,
    ledger::{Ledger, LedgerArgs, unreachable, when},
    runtime,
    table::Table,
};

/// Show the ledger that commands are for: its chain, its newest block, and what Tidemill's contracts there hold.
///
/// The contracts' code is compared with the address book first.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What is shown.
struct Status {
    url: String,
    chain_id: u64,
    genesis: B256,
    block: u64,
    time: u64,
    supply: Amount,
    thaw_s: u32,
    ratio: u8,
    entries_closed_until: u64,
    contracts: Vec<(String, Address, Amount)>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let status = runtime::block_on(async { ask(args.ledger.connect().await?).await })?;
    if args.json {
        json::print(&status.summary());
    } else {
        status.print();
    }
    Ok(())
}

async fn ask(ledger: Ledger) -> anyhow::Result<Status> {
    let Ledger { url, chain, book, .. } = ledger;
    let tide = book.address("Tide").code(Code::Usage)?;
    let staking = book.address("ProviderStaking").code(Code::Usage)?;
    let mut contracts = Vec::new();
    for (name, at) in book.addresses() {
        let held = read(&chain, tide, Tide::balanceOfCall { account: at }).await?;
        contracts.push((name.to_owned(), at, amount(held)?));
    }
    Ok(Status {
        chain_id: chain.chain_id(),
        genesis: chain.genesis(),
        block: chain.head().await.map_err(unreachable)?,
        time: chain.now().await.map_err(unreachable)?,
        supply: amount(read(&chain, tide, Tide::totalSupplyCall {}).await?)?,
        thaw_s: read(&chain, staking, ProviderStaking::thawPeriodCall {}).await?,
        ratio: read(&chain, staking, ProviderStaking::delegationRatioCall {}).await?,
        entries_closed_until: read(&chain, staking, ProviderStaking::pausedUntilCall {}).await?.to(),
        contracts,
        url,
    })
}

async fn read<C: SolCall>(chain: &tidemill_ledger::Chain, at: Address, call: C) -> anyhow::Result<C::Return> {
    chain.read(at, &call).await.map_err(unreachable)
}

fn amount(wei: U256) -> anyhow::Result<Amount> {
    u128::try_from(wei).map(Amount::from_wei).code(Code::Host)
}

impl Status {
    fn print(&self) {
        println!("ledger  {}\nchain   {}, from block {}", self.url, self.chain_id, self.genesis);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        println!("block   {}, made {} ago", self.block, when(now, self.time));
        println!("supply  {} of at most {}", self.supply, Amount::CAP);
        println!(
            "stake   thaws for {} days; at most {} times an own bond may be delegated",
            self.thaw_s / 86_400,
            self.ratio
        );
        if self.entries_closed_until > self.time {
            println!(
                "entries are closed by the guardian for {} s more",
                self.entries_closed_until - self.time
            );
        }
        let mut table = Table::new(&["contract ", "address ", "holds"]);
        for (name, at, held) in &self.contracts {
            table.row(vec![name.clone(), at.to_string(), held.to_string()]);
        }
        table.print("");
    }

    fn summary(self) -> api::LedgerStatus {
        let contract = |(name, at, held): (String, Address, Amount)| api::TokenContract {
            name,
            address: at.to_string(),
            holds_wei: held,
        };
        api::LedgerStatus {
            url: self.url,
            chain_id: self.chain_id,
            genesis: self.genesis.to_string(),
            block: self.block,
            time_unix_s: self.time,
            supply_wei: self.supply,
            thaw_period_s: self.thaw_s,
            delegation_ratio: self.ratio,
            entries_closed_until_unix_s: self.entries_closed_until,
            contracts: self.contracts.into_iter().map(contract).collect(),
        }
    }
}
