//! `tidemill undelegate`: stake behind somebody else, on its way out.

use tidemill_ledger::staking::Pool;

use crate::{
    exit,
    ledger::{Acting, Part, address_of, leave},
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
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let provider = address_of(&args.provider)?;
    leave(&args.acting, args.amount, "undelegate", |_| Ok(Pool::Delegation(provider)))
}
