//! `tidemill rate`: what stTIDE is worth, and what stands behind it.

use tidemill_api as api;
use tidemill_ledger::liquid::{Pot, sttide};
use tidemill_types::Amount;

use crate::{
    exit, json,
    ledger::{LedgerArgs, liquid_failed, liquid_of, when},
    runtime,
};

/// Show what stTIDE is worth, and what stands behind it.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let pot = runtime::block_on(async {
        let liquid = liquid_of(&args.ledger.connect().await?)?;
        liquid.pot().await.map_err(liquid_failed)
    })?;
    if args.json {
        json::print(&summary(&pot));
    } else {
        print(&pot);
    }
    Ok(())
}

fn print(pot: &Pot) {
    println!("one stTIDE  is worth {}", pot.rate);
    println!("all         {} are worth {}", sttide(pot.shares), pot.assets);
    if pot.streaming > Amount::ZERO {
        println!("earnings    {} stream in, for {} more", pot.streaming, when(pot.stream_end, pot.now));
    }
    if pot.to_recover > Amount::ZERO {
        println!("losses      {} are not earned back", pot.to_recover);
    }
    println!("buffer      {}, of {} that it aims at", pot.buffer, pot.buffer_target);
    match pot.waits_for_a_case {
        true => println!("at once     nobody leaves: a case is open that could cost more than the fee"),
        false => println!("at once     {} can leave", pot.instant_room),
    }
    println!("queue       {} wait, {} can be claimed", sttide(pot.queued), pot.claimable);
    println!("counted     {} ago", when(pot.now, pot.counted_at));
}

fn summary(pot: &Pot) -> api::Rate {
    api::Rate {
        rate_wei: pot.rate,
        shares_wei: pot.shares,
        assets_wei: pot.assets,
        streaming_wei: pot.streaming,
        stream_end_unix_s: pot.stream_end,
        buffer_wei: pot.buffer,
        buffer_target_wei: pot.buffer_target,
        instant_room_wei: pot.instant_room,
        waits_for_a_case: pot.waits_for_a_case,
        to_recover_wei: pot.to_recover,
        queued_shares_wei: pot.queued,
        claimable_wei: pot.claimable,
        counted_at_unix_s: pot.counted_at,
        now_unix_s: pot.now,
    }
}
