//! `tidemill wallet balance`: all that an account has on a ledger.

use tidemill_api as api;
use tidemill_ledger::{
    Address,
    staking::{Moved, Pool, Portfolio, Position, Role, Staking, Thaw},
};
use tidemill_types::Coin;

use crate::{
    exit::{self, Code, WithCode},
    json,
    ledger::{LedgerArgs, accounts, address_of, when},
    runtime,
    table::Table,
};

/// Show what accounts have: coins, TIDE, stake, thawing stake and earnings. No password is needed.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// Whose: the name of an account of this home, or an address [default: all accounts of this home]
    account: Option<String>,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Print a JSON array instead of text
    #[arg(long)]
    json: bool,
}

/// What one account has.
struct Balance {
    name: String,
    address: Address,
    coins: Coin,
    portfolio: Portfolio,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let whose: Vec<(String, Address)> = match &args.account {
        Some(account) => {
            let address = address_of(account)?;
            let is_address = account.starts_with("0x");
            vec![(if is_address { address.to_string() } else { account.clone() }, address)]
        }
        None => accounts()?
            .into_iter()
            .filter_map(|entry| Some((entry.name.to_string(), entry.address?)))
            .collect(),
    };
    let balances = runtime::block_on(async {
        let ledger = args.ledger.connect().await?;
        let staking = Staking::new(ledger.chain.clone(), &ledger.book).code(Code::Usage)?;
        let mut balances = Vec::new();
        for (name, address) in whose {
            let coins = ledger.chain.balance(address).await.code(Code::Host)?;
            let portfolio = staking.portfolio(address).await.code(Code::Host)?;
            balances.push(Balance { name, address, coins, portfolio });
        }
        anyhow::Ok(balances)
    })?;
    if args.json {
        let list: Vec<_> = balances.iter().map(summary).collect();
        json::print(&list);
    } else if balances.is_empty() {
        println!("no account yet; `tidemill wallet new NAME` makes one");
    } else {
        balances.iter().for_each(print);
    }
    Ok(())
}

fn print(balance: &Balance) {
    let Balance { name, address, coins, portfolio } = balance;
    if name == &address.to_string() {
        println!("{address}");
    } else {
        println!("{name}  {address}");
    }
    // The amounts last: the last column is cut to the width of a terminal if it is words, and addresses must stay whole.
    let mut table = Table::new(&["what ", "where ", "amount"]);
    let mut row = |what: &str, place: String, amount: String| table.row(vec![what.to_owned(), place, amount]);
    row("free", "at its own disposal".to_owned(), portfolio.free.to_string());
    row("coins", "for the fees of transactions".to_owned(), coins.to_string());
    if portfolio.earned > tidemill_types::Amount::ZERO {
        let how = match name == &address.to_string() {
            true => "`tidemill withdraw` pays it out once its key is imported",
            false => "`tidemill withdraw` pays it out",
        };
        row("earned", how.to_owned(), portfolio.earned.to_string());
    }
    for position in &portfolio.positions {
        let what = if matches!(position.pool, Pool::Delegation(_)) { "delegated" } else { "bonded" };
        row(what, place(position.pool, *address), position.value.to_string());
    }
    for thaw in &portfolio.thaws {
        let left = if thaw.end <= portfolio.now {
            "`tidemill withdraw` pays it out".to_owned()
        } else {
            format!("ready in {}", when(thaw.end, portfolio.now))
        };
        row("thawing", left, thaw.value.to_string());
    }
    for moved in &portfolio.moves {
        let left = if moved.end <= portfolio.now {
            "`tidemill withdraw` settles it".to_owned()
        } else {
            format!("to {}, answers for {} for {} more", moved.to, moved.from, when(moved.end, portfolio.now))
        };
        row(if moved.leaves { "leaving" } else { "moved" }, left, moved.value.to_string());
    }
    table.print("  ");
}

fn place(pool: Pool, owner: Address) -> String {
    match pool {
        Pool::Bond(Role::Provider, _) => "as a provider".to_owned(),
        Pool::Bond(Role::Coordinator, _) => "as a coordinator".to_owned(),
        Pool::Delegation(provider) if provider == owner => "to itself".to_owned(),
        Pool::Delegation(provider) => format!("to {provider}"),
    }
}

fn summary(balance: &Balance) -> api::Balance {
    let pool = |pool| match pool {
        Pool::Bond(Role::Provider, operator) => api::Pool::ProviderBond { operator: operator.to_string() },
        Pool::Bond(Role::Coordinator, operator) => {
            api::Pool::CoordinatorBond { operator: operator.to_string() }
        }
        Pool::Delegation(operator) => api::Pool::Delegation { operator: operator.to_string() },
    };
    let Balance { name, address, coins, portfolio } = balance;
    let position = |at: &Position| api::Position {
        pool: pool(at.pool),
        shares: at.shares.to_string(),
        value_wei: at.value,
    };
    let thaw = |thaw: &Thaw| api::Thaw {
        id: thaw.id.to_string(),
        pool: pool(thaw.pool),
        value_wei: thaw.value,
        ends_at_unix_s: thaw.end,
        ready: thaw.end <= portfolio.now,
    };
    let moved = |moved: &Moved| api::Moved {
        id: moved.id.to_string(),
        from: moved.from.to_string(),
        to: moved.to.to_string(),
        value_wei: moved.value,
        ends_at_unix_s: moved.end,
        leaves: moved.leaves,
        ready: moved.end <= portfolio.now,
    };
    api::Balance {
        name: name.clone(),
        address: address.to_string(),
        coins_wei: *coins,
        free_wei: portfolio.free,
        earned_wei: portfolio.earned,
        positions: portfolio.positions.iter().map(position).collect(),
        thaws: portfolio.thaws.iter().map(thaw).collect(),
        moves: portfolio.moves.iter().map(moved).collect(),
    }
}
