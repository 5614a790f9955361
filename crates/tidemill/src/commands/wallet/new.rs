//! `tidemill wallet new`: an account with a fresh key.

use tidemill_api as api;
use tidemill_ledger::keystore::{Account, AccountName, Cost};

use crate::{
    json,
    ledger::{NewPassword, keystore, refused},
};

/// Make an account with a new key.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill wallet new ann                              asks for a password, twice
  tidemill wallet new ann --password-file ann.txt")]
pub struct Args {
    /// What the account is to be called here: a-z, 0-9, '.', '-', '_'
    name: AccountName,
    #[command(flatten)]
    password: NewPassword,
    /// Make guessing the password cheap, and so unlocking the account quick: for accounts that hold nothing of worth
    #[arg(long)]
    light: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let password = args.password.read(&args.name)?;
    let cost = if args.light { Cost::LIGHT } else { Cost::STANDARD };
    let account = keystore()?.with_cost(cost).create(&args.name, &password).map_err(refused)?;
    print(&account, args.json)
}

/// Says what was made.
pub fn print(account: &Account, json: bool) -> anyhow::Result<()> {
    let entry = keystore()?.find(account.name().as_str()).map_err(refused)?;
    let (name, address) = (account.name(), account.address());
    if json {
        let file = entry.path.to_string_lossy().into_owned();
        json::print(&api::Account { name: name.to_string(), address: Some(address.to_string()), file });
    } else {
        println!(
            "account {name}: {address}\nits key is in {}, encrypted with the password",
            entry.path.display()
        );
    }
    Ok(())
}
