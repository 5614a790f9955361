//! `tidemill unstake`: out of the liquid stake, at once or through the queue.

use tidemill_api::Unstaked;
use tidemill_ledger::liquid::{ExitQuote, sttide};
use tidemill_types::Amount;

use crate::{
    exit::{self, Code, Exit},
    json,
    ledger::{Acting, Asking, Part, Purse, Sent, liquid_failed, liquid_of, send_all, when},
    runtime,
};

/// Turn stTIDE back into TIDE: through the queue, which costs nothing but time, or at once, for a fee.
///
/// In the queue shares lose what all lose, and are paid no more than they are worth now. `tidemill claim` pays them out.
/// Shows both ways, what they pay and when, then asks.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// How much stTIDE, by what it is worth, like "500 TIDE", or `all`
    amount: Part,
    /// Leave at once, out of the buffer, for a fee
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    acting: Acting,
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill unstake \"500 TIDE\"\n  tidemill unstake all --now\n  tidemill unstake all --quote\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let account = args.acting.account.unlock()?;
    let (unstaked, sent) = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let unstaked = unstake(args, &purse).await;
        purse.close().await;
        unstaked
    })?;
    if args.acting.json {
        json::print(&unstaked);
    } else {
        sent.iter().for_each(Sent::print);
    }
    Ok(())
}

async fn unstake(args: &Args, purse: &Purse) -> anyhow::Result<(Unstaked, Vec<Sent>)> {
    let (liquid, account) = (liquid_of(&purse.ledger)?, purse.address());
    let wanted = match args.amount {
        Part::All => None,
        Part::Amount(amount) => Some(amount),
    };
    let quote = liquid.quote_exit(account, wanted).await.map_err(liquid_failed)?;
    if quote.shares == Amount::ZERO {
        return Err(Exit::new(Code::Usage, format!("the account {account} has no stTIDE")).into());
    }
    let pot = liquid.pot().await.map_err(liquid_failed)?;
    tell(&quote, pot.now);
    let mut unstaked = Unstaked {
        shares_wei: quote.shares,
        worth_wei: quote.worth,
        at_once_wei: quote.at_once,
        latest_claim_unix_s: quote.latest_claim_at,
        before: quote.before,
        transactions: Vec::new(),
    };
    if args.asking.quote {
        return Ok((unstaked, Vec::new()));
    }
    let call = match (args.now, quote.at_once) {
        (false, _) => liquid.ask_to_leave(account, quote.shares),
        (true, Some(pays)) => liquid.leave_at_once(account, pays),
        (true, None) => {
            let why = match pot.waits_for_a_case {
                true => "a case is open that could cost more than the fee".to_owned(),
                false => format!("the buffer has {} for that", pot.instant_room),
            };
            return Err(Exit::new(Code::Failed, format!("nobody can leave with so much at once: {why}"))
                .hint("leave out `--now` to leave through the queue")
                .into());
        }
    };
    args.asking.agree()?;
    let sent = send_all(purse, vec![call]).await?;
    unstaked.transactions = sent.iter().map(Sent::summary).collect();
    Ok((unstaked, sent))
}

fn tell(quote: &ExitQuote, now: u64) {
    eprintln!("{} are worth {}", sttide(quote.shares), quote.worth);
    eprintln!(
        "  through the queue: {} at most, behind {} requests, at the latest in {}",
        quote.worth,
        quote.before,
        when(quote.latest_claim_at, now)
    );
    match quote.at_once {
        Some(pays) => {
            let fee = quote.worth.checked_sub(pays).unwrap_or(Amount::ZERO);
            eprintln!("  at once: {pays}, for a fee of {fee}");
        }
        None => eprintln!("  at once: not to be had now"),
    }
}
