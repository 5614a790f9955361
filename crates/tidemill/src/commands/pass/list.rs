//! `tidemill pass list`

use tidemill_coordinator::passes;

use super::{Of, summary};
use crate::{
    exit::{Code, WithCode},
    json,
    table::Table,
};

/// List the passes that were made, and which of them are revoked.
///
/// The pass of the ticket that `tidemill serve` prints is not among them, unless it was revoked: it is called `default`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    of: Of,
    /// Print one JSON list instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let all = passes::read(&args.of.directory()?).code(Code::Host)?;
    if args.json {
        json::print(&all.iter().map(summary).collect::<Vec<_>>());
        return Ok(());
    }
    if all.is_empty() {
        println!("no passes were made; the ticket of `tidemill serve` is for everything");
        return Ok(());
    }
    let mut table = Table::new(&["name", "for", "state"]);
    for pass in &all {
        let state = if pass.revoked_s.is_some() { "revoked" } else { "admits" };
        table.row(vec![pass.name.clone(), pass.role.to_string(), state.to_owned()]);
    }
    table.print("");
    Ok(())
}
