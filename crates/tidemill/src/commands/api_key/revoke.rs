//! `tidemill api-key revoke`

use tidemill_http::KeyId;

use super::failed;
use crate::serving;

/// End an API key, at once.
#[derive(clap::Args)]
pub struct Args {
    /// The key's id, as `tidemill api-key list` shows it
    #[arg(value_name = "ID")]
    id: KeyId,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let keys = serving::keys()?;
    let pay = keys.get(args.id).ok().and_then(|key| key.paid_by());
    keys.revoke(args.id).map_err(failed)?;
    println!("{} is good no more", args.id);
    if let Some(pay) = pay {
        println!("`tidemill escrow end {}` gives back what is left of its money", pay.escrow.short());
    }
    Ok(())
}
