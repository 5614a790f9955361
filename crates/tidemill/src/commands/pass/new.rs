//! `tidemill pass new`

use std::path::PathBuf;

use anyhow::Context;
use tidemill_api as api;
use tidemill_coordinator::passes::{self, MAX_PASSES, NamedPass, PassRole};
use tidemill_net::ticket::{Pass, Ticket};

use super::{DEFAULT, Of, summary, write};
use crate::{
    exit::{Code, Exit, WithCode},
    json, network,
    node_state::unix_seconds,
};

/// Make a pass, and print the ticket that holds it.
///
/// The ticket is shown once: only the hash of its pass is kept.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  tidemill pass new workshop --role lend\n  tidemill pass new ann --role submit --ticket-file ann.ticket"
)]
pub struct Args {
    /// What to call it
    name: String,
    /// What it is for: lend, submit or both
    #[arg(long, default_value = "both")]
    role: PassRole,
    /// Write the ticket into this file instead
    #[arg(long, value_name = "FILE")]
    ticket_file: Option<PathBuf>,
    #[command(flatten)]
    of: Of,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let directory = args.of.directory()?;
    let ticket = network::of_coordinator(&directory)?;
    let mut all = passes::read(&directory).code(Code::Host)?;
    if args.name == DEFAULT || all.iter().any(|pass| pass.name == args.name && pass.revoked_s.is_none()) {
        return Err(Exit::new(Code::Usage, format!("there is a pass called {} already", args.name))
            .hint("give the new one another name, or revoke that one first")
            .into());
    }
    if all.len() >= MAX_PASSES {
        return Err(Exit::new(Code::Usage, format!("{MAX_PASSES} passes were made already")).into());
    }
    let secret = Pass::draw().context("cannot draw a pass").code(Code::Host)?;
    let pass = NamedPass::new(&args.name, args.role, &secret, unix_seconds()).code(Code::Usage)?;
    let ticket = Ticket::new(ticket.node(), ticket.addresses().to_vec(), secret).code(Code::Host)?;
    all.push(pass.clone());
    write(&directory, &all)?;
    if let Some(file) = &args.ticket_file {
        network::write(file, &ticket)
            .with_context(|| format!("cannot write the ticket to {}", file.display()))
            .code(Code::Host)?;
    }
    if args.json {
        json::print(&api::NewPass { pass: summary(&pass), ticket: ticket.to_string() });
        return Ok(());
    }
    match &args.ticket_file {
        Some(file) => println!("the ticket of {} (for: {}) is in {}", pass.name, pass.role, file.display()),
        None => println!("ticket of {} (for: {}), which is not shown again:\n{ticket}", pass.name, pass.role),
    }
    Ok(())
}
