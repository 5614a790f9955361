//! `tidemill unbond`: stake of one's own, on its way out.

use tidemill_ledger::staking::{Pool, Role};

use super::bond::As;
use crate::{
    exit,
    ledger::{Acting, Part, leave},
};

/// Let stake of your own thaw. It stays at risk until the thaw period is over; then `tidemill withdraw` pays it out.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// How much, like "500 TIDE", or `all`
    amount: Part,
    /// Which bond
    #[arg(long = "as", value_enum, default_value_t = As::Provider, value_name = "ROLE")]
    role: As,
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let role = Role::from(args.role);
    leave(&args.acting, args.amount, "unbond", |owner| Ok(Pool::Bond(role, owner)))
}
