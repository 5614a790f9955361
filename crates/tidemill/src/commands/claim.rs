//! `tidemill claim`: exits from the liquid stake that are due.

use tidemill_api::Claimed;
use tidemill_ledger::liquid::{Exit, Liquid};
use tidemill_types::Amount;

use crate::{
    exit, json,
    ledger::{Acting, Purse, Sent, exit_in_words, exit_summary, liquid_failed, liquid_of, send_all},
    runtime,
};

/// Pay out exits that have come to their end, and show those that wait, each with its place and its latest date.
///
/// Does what anybody may do and somebody has to: takes back what has thawed, and makes exits claimable that can be.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// Show the exits alone
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let account = args.acting.account.unlock()?;
    let (claimed, exits, now, sent) = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let claimed = claim(args, &purse).await;
        purse.close().await;
        claimed
    })?;
    if args.acting.json {
        json::print(&Claimed {
            claimed_wei: claimed,
            exits: exits.iter().map(exit_summary).collect(),
            transactions: sent.iter().map(Sent::summary).collect(),
        });
        return Ok(());
    }
    sent.iter().for_each(Sent::print);
    if claimed > Amount::ZERO {
        println!("claimed {claimed}");
    } else if exits.is_empty() {
        println!("no exit is on its way; `tidemill unstake` begins one");
    }
    exits.iter().for_each(|exit| println!("{}", exit_in_words(exit, now)));
    Ok(())
}

async fn claim(args: &Args, purse: &Purse) -> anyhow::Result<(Amount, Vec<Exit>, u64, Vec<Sent>)> {
    let (liquid, account) = (liquid_of(&purse.ledger)?, purse.address());
    let mut exits = liquid.exits(account).await.map_err(liquid_failed)?;
    let (mut sent, mut claimed) = (Vec::new(), Amount::ZERO);
    if !args.list && !exits.is_empty() {
        if exits.iter().any(|exit| exit.claimable.is_none()) {
            sent = finalise(&liquid, purse).await?;
            exits = liquid.exits(account).await.map_err(liquid_failed)?;
        }
        if let Some(call) = liquid.claim(account, &exits) {
            sent.extend(send_all(purse, vec![call]).await?);
            let pays = exits.iter().filter_map(|exit| exit.claimable);
            claimed = pays.fold(Amount::ZERO, |sum, pays| sum.checked_add(pays).unwrap_or(sum));
            exits = liquid.exits(account).await.map_err(liquid_failed)?;
        }
    }
    let now = liquid.now().await.map_err(liquid_failed)?;
    Ok((claimed, exits, now, sent))
}

/// Makes claimable what can be. Where nothing can, the round that anybody may start is made first: it fetches what has
/// thawed, and lets thaw what the queue waits for.
async fn finalise(liquid: &Liquid, purse: &Purse) -> anyhow::Result<Vec<Sent>> {
    if let Some(call) = liquid.finalise().await.map_err(liquid_failed)? {
        return send_all(purse, vec![call]).await;
    }
    let mut sent = send_all(purse, vec![liquid.tend()]).await?;
    if let Some(call) = liquid.finalise().await.map_err(liquid_failed)? {
        sent.extend(send_all(purse, vec![call]).await?);
    }
    Ok(sent)
}
