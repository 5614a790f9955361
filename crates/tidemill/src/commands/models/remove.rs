//! `tidemill models remove`

use super::failed;
use crate::serving;

/// Serve a model no more. Its file stays.
#[derive(clap::Args)]
pub struct Args {
    /// The name under which it is served
    #[arg(value_name = "NAME")]
    name: String,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    serving::models()?.remove(&args.name).map_err(failed)?;
    println!("{} is served no more", args.name);
    Ok(())
}
