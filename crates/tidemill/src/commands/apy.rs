//! `tidemill apy`: what stTIDE has gained.

use tidemill_api as api;
use tidemill_ledger::liquid::Apy;
use tidemill_types::Millis;

use crate::{
    exit::{self, Code, Exit},
    json,
    ledger::{LedgerArgs, liquid_failed, liquid_of, when},
    runtime,
};

/// Show what a share of the liquid stake gained, and what that comes to in a year.
///
/// Computed from what happened: the rate now and the rate at the beginning of the window. It promises nothing of what comes.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// How far back, like 7d; less where the liquid stake is younger
    #[arg(long, value_name = "TIME", default_value = "30d")]
    window: Millis,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let window_s = (args.window.0 / 1_000).max(1);
    let apy = runtime::block_on(async {
        let liquid = liquid_of(&args.ledger.connect().await?)?;
        liquid.apy(window_s).await.map_err(liquid_failed)
    })?;
    let Some(apy) = apy else {
        return Err(
            Exit::new(Code::Failed, "nothing has happened yet that a yield could be told from").into()
        );
    };
    if args.json {
        json::print(&summary(&apy));
    } else {
        println!(
            "{:+.3} % a year, as it was for {}\n  one stTIDE went from {} to {}: {:+.4} %",
            apy.yearly_percent,
            when(apy.window_s, 0),
            apy.before,
            apy.now,
            apy.gained_percent
        );
    }
    Ok(())
}

fn summary(apy: &Apy) -> api::Apy {
    api::Apy {
        since_unix_s: apy.since,
        window_s: apy.window_s,
        rate_before_wei: apy.before,
        rate_wei: apy.now,
        gained_percent: apy.gained_percent,
        yearly_percent: apy.yearly_percent,
    }
}
