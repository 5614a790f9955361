//! `tidemill withdraw`: what has thawed and what was earned.

use tidemill_ledger::staking::{Portfolio, Staking};
use tidemill_types::Amount;

use super::bond;
use crate::{
    exit::{self, Code, WithCode},
    ledger::{Acting, Purse, Sent, when},
    runtime,
};

/// Pay out all stake whose thaw period is over, and what was earned as a provider.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let account = args.acting.account.unlock()?;
    let (sent, portfolio) = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let done = withdraw(&purse).await;
        purse.close().await;
        done
    })?;
    if sent.is_empty() && !args.acting.json {
        println!("nothing to withdraw{}", later(&portfolio));
        return Ok(());
    }
    bond::print(&sent, args.acting.json);
    Ok(())
}

async fn withdraw(purse: &Purse) -> anyhow::Result<(Vec<Sent>, Portfolio)> {
    let staking = Staking::new(purse.ledger.chain.clone(), &purse.ledger.book).code(Code::Usage)?;
    let portfolio = staking.portfolio(purse.address()).await.code(Code::Host)?;
    let Some(call) = Staking::withdraw(&portfolio) else { return Ok((Vec::new(), portfolio)) };
    let ended = portfolio.thaws.iter().filter(|thaw| thaw.end <= portfolio.now);
    let thawed = ended.fold(Amount::ZERO, |sum, thaw| sum.checked_add(thaw.value).unwrap_or(sum));
    let label = format!("withdraw {thawed} of stake and {} of earnings", portfolio.earned);
    let sent = purse.call(&label, staking.address(), call).await?;
    Ok((vec![sent], portfolio))
}

/// When there will be something.
fn later(portfolio: &Portfolio) -> String {
    portfolio.thaws.first().map_or_else(String::new, |next| {
        format!(": the next is {} from {}, in {}", next.value, next.pool, when(next.end, portfolio.now))
    })
}
