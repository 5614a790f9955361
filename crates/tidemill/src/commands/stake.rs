//! `tidemill stake`: TIDE into the liquid stake.

use tidemill_api::Staked;
use tidemill_ledger::liquid::sttide;
use tidemill_types::Amount;

use crate::{
    exit::{self, Code, Exit},
    json,
    ledger::{Acting, Asking, Purse, Sent, liquid_failed, liquid_of, send_all},
    runtime,
};

/// Stake TIDE behind many providers at once, and get stTIDE, which can be sent, sold and pledged meanwhile.
///
/// Each stTIDE is worth ever more TIDE as the providers behind it earn, and less when one of them is slashed
/// (docs/staking.md). `tidemill unstake` turns it back. Shows what comes out, then asks.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// How much, like "500 TIDE"
    amount: Amount,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    acting: Acting,
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill stake \"500 TIDE\"\n  tidemill stake \"500 TIDE\" --quote\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let account = args.acting.account.unlock()?;
    let staked = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let staked = stake(args, &purse).await;
        purse.close().await;
        staked
    })?;
    if args.acting.json {
        json::print(&staked);
    } else if let Some(shares) = staked.shares_wei {
        println!("staked {} for {}", staked.amount_wei, sttide(shares));
    }
    Ok(())
}

async fn stake(args: &Args, purse: &Purse) -> anyhow::Result<Staked> {
    let (liquid, account) = (liquid_of(&purse.ledger)?, purse.address());
    let room = liquid.entry_room(account).await.map_err(liquid_failed)?;
    if args.amount > room {
        let message = format!("the liquid stake takes only {room} more now, not {}", args.amount);
        return Err(Exit::new(Code::Failed, message)
            .hint("its providers take no more, or are not looked at; `tidemill delegate` backs one of them")
            .into());
    }
    let quoted = liquid.quote_entry(args.amount).await.map_err(liquid_failed)?;
    let pot = liquid.pot().await.map_err(liquid_failed)?;
    eprintln!("{} gives {} (one stTIDE is worth {})", args.amount, sttide(quoted), pot.rate);
    let mut staked = Staked {
        amount_wei: args.amount,
        quoted_shares_wei: quoted,
        shares_wei: None,
        transactions: Vec::new(),
    };
    if args.asking.quote {
        return Ok(staked);
    }
    args.asking.agree()?;
    let before = liquid.holding(account).await.map_err(liquid_failed)?.shares;
    let call = liquid.enter(purse.account.signer(), args.amount).await.map_err(liquid_failed)?;
    let sent = send_all(purse, vec![call]).await?;
    let after = liquid.holding(account).await.map_err(liquid_failed)?.shares;
    staked.shares_wei = Some(after.checked_sub(before).unwrap_or(Amount::ZERO));
    staked.transactions = sent.iter().map(Sent::summary).collect();
    Ok(staked)
}
