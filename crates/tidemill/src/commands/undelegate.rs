//! `tidemill undelegate`: stake behind somebody else, on its way out.

use tidemill_ledger::{
    Address,
    staking::{Pool, Staking},
};

use super::bond;
use crate::{
    exit::{self, Code, Exit, WithCode},
    ledger::{Acting, Part, Purse, address_of, leave},
    runtime,
};

/// Let stake behind a provider thaw. It stays at risk until the thaw period is over; then `tidemill withdraw` pays it
/// out.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// How much, like "500 TIDE", or `all`
    amount: Part,
    /// The provider: an address, or the name of an account of this home
    provider: String,
    /// The stake that `tidemill redelegate` brought there and that still answers for another provider, all of it
    #[arg(long)]
    moved: bool,
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let provider = address_of(&args.provider)?;
    if args.moved {
        return leave_moved(args, provider);
    }
    leave(&args.acting, args.amount, "undelegate", |_| Ok(Pool::Delegation(provider)))
}

/// Lets all stake thaw that moved to a provider: each move is one request.
fn leave_moved(args: &Args, provider: Address) -> anyhow::Result<()> {
    if args.amount != Part::All {
        return Err(Exit::new(Code::Usage, "stake that moved leaves whole: say `all`").into());
    }
    let account = args.acting.account.unlock()?;
    let sent = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let leaving = async {
            let staking = Staking::new(purse.ledger.chain.clone(), &purse.ledger.book).code(Code::Usage)?;
            let portfolio = staking.portfolio(purse.address()).await.code(Code::Host)?;
            let of = portfolio.moves.iter().filter(|moved| moved.to == provider && !moved.leaves);
            let mut sent = Vec::new();
            for moved in of {
                let label = format!("undelegate {} that moved to {provider}", moved.value);
                sent.push(purse.call(&label, staking.address(), Staking::leave_moved(moved)).await?);
            }
            if sent.is_empty() {
                let message = format!("no stake that moved is with {provider}");
                return Err(Exit::new(Code::Usage, message).into());
            }
            Ok(sent)
        };
        let sent = leaving.await;
        purse.close().await;
        sent
    })?;
    bond::print(&sent, args.acting.json);
    Ok(())
}
