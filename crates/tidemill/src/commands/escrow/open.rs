//! `tidemill escrow open`: a budget for several jobs.

use tidemill_api::OpenedEscrow;
use tidemill_types::{Amount, Millis};

use crate::{
    exit::{self, Code, Exit},
    json,
    money::{PayArgs, Payer},
    network::{self, Join},
    requester::Requester,
    runtime,
};

/// Lock a budget for several jobs in a network. `run --escrow` and `submit --escrow` spend it; they settle together.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// How much, like "10 TIDE"
    amount: Amount,
    /// How long it stays open, at most about 14 days
    #[arg(long, value_name = "TIME", default_value = "7d")]
    open_for: Millis,
    #[command(flatten)]
    join: Join,
    #[command(flatten)]
    pay: PayArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let ticket = network::required(args.join.join.as_deref())?;
    let (escrow, sent) = runtime::block_on(async {
        let mut requester = Requester::connect(ticket).await?;
        let terms = requester.terms_of(Vec::new()).await?;
        let money = terms.money.ok_or_else(|| {
            Exit::new(Code::Usage, "this network is free: no escrow pays for anything there")
        })?;
        let payer = Payer::new(args.pay.ledger.connect().await?, args.pay.payer()?).await?;
        let opened = payer.open_for_any(requester.node(), &money, args.amount, Some(args.open_for)).await?;
        requester.close().await;
        anyhow::Ok(opened)
    })?;
    if args.json {
        json::print(&OpenedEscrow { escrow: escrow.to_string(), transaction: sent.summary() });
    } else {
        sent.print();
        println!(
            "{escrow}\n`tidemill run JOB.TOML --escrow {escrow}` spends it, `tidemill escrow end {escrow}` settles it"
        );
    }
    Ok(())
}
