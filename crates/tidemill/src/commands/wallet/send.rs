//! `tidemill wallet send`: TIDE or coins to another account.

use tidemill_ledger::{SolCall, U256, contracts::Tide};
use tidemill_types::{Amount, Coin};

use crate::{
    exit::{self, Code, Exit, WithCode},
    json,
    ledger::{Acting, Purse, address_of},
    runtime,
};

/// Send TIDE, or the chain's own coin, to an account.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// How much, with its unit
    #[arg(value_parser = Sum::parse)]
    amount: Sum,
    /// To whom: an address, or the name of an account of this home
    to: String,
    #[command(flatten)]
    acting: Acting,
}

/// An amount of one of the two kinds of money.
#[derive(Clone, Copy)]
enum Sum {
    Tide(Amount),
    Coin(Coin),
}

impl Sum {
    fn parse(text: &str) -> Result<Self, String> {
        let of_coin = text.parse::<Coin>().map(Self::Coin);
        text.parse::<Amount>().map(Self::Tide).or(of_coin).map_err(|_| {
            format!("{text:?} is no amount: write a number and its unit, like \"1.5 TIDE\" or \"0.01 ETH\"")
        })
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill wallet send \"1.5 TIDE\" ann\n  tidemill wallet send \"0.01 ETH\" 0x70997970C51812dc3A010C7d01b50e0d17dc79C8\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let to = address_of(&args.to).code(Code::Usage)?;
    let account = args.acting.account.unlock()?;
    let sent = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        if let Some((name, _)) = purse.ledger.book.addresses().find(|(_, at)| *at == to) {
            let message = format!("{to} is the contract {name}: what is sent to it is lost");
            return Err(Exit::new(Code::Usage, message).hint("`tidemill bond` and `delegate` stake").into());
        }
        let sent = match args.amount {
            Sum::Tide(amount) => {
                let call = Tide::transferCall { to, value: U256::from(amount.wei()) };
                let tide = purse.ledger.book.address("Tide").code(Code::Usage)?;
                purse.call(&format!("send {amount} to {to}"), tide, call.abi_encode()).await
            }
            Sum::Coin(coin) => purse.send(&format!("send {coin} to {to}"), to, coin, Vec::new()).await,
        };
        purse.close().await;
        sent
    })?;
    if args.acting.json {
        json::print(&sent.summary())
    } else {
        sent.print()
    }
    Ok(())
}
