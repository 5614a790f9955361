//! `tidemill wallet list`: the accounts of this home.

use tidemill_api as api;
use tidemill_ledger::keystore::Entry;

use crate::{json, ledger::accounts, table::Table};

/// List the accounts of this home. No password is needed.
#[derive(clap::Args)]
pub struct Args {
    /// Print a JSON array instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let accounts = accounts()?;
    if args.json {
        let summary = |entry: &Entry| api::Account {
            name: entry.name.to_string(),
            address: entry.address.map(|address| address.to_string()),
            file: entry.path.to_string_lossy().into_owned(),
        };
        let list: Vec<_> = accounts.iter().map(summary).collect();
        json::print(&list);
    } else if accounts.is_empty() {
        println!("no account yet; `tidemill wallet new NAME` makes one");
    } else {
        let mut table = Table::new(&["account ", "address "]);
        for entry in accounts {
            let address = entry
                .address
                .map_or_else(|| "(said by the key alone)".to_owned(), |address| address.to_string());
            table.row(vec![entry.name.to_string(), address]);
        }
        table.print("");
    }
    Ok(())
}
