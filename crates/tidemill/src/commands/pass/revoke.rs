//! `tidemill pass revoke`

use anyhow::Context;
use tidemill_coordinator::passes::{self, NamedPass, PassRole};
use tidemill_net::ticket::Ticket;

use super::{DEFAULT, Of, summary, write};
use crate::{
    exit::{Code, Exit, WithCode},
    json, network,
    node_state::{self, unix_seconds},
};

/// Take a pass back: nobody joins with it any more, and the sessions that were begun with it end within seconds.
///
/// `default` is the pass of the ticket that `tidemill serve` prints. A new one is drawn for it; this home's own commands know it
/// at once, and `serve` prints its ticket at the next start.
#[derive(clap::Args)]
pub struct Args {
    /// Its name
    name: String,
    #[command(flatten)]
    of: Of,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let directory = args.of.directory()?;
    let mut all = passes::read(&directory).code(Code::Host)?;
    let now = unix_seconds();
    let is_default = args.name == DEFAULT;
    if is_default {
        // The one before may have been drawn by this command too, and be in the list.
        let before = node_state::pass_of(&directory)?;
        let after = node_state::draw_pass(&directory)?;
        let before = NamedPass::new(DEFAULT, PassRole::Both, &before, now).code(Code::Usage)?;
        all.retain(|pass| pass.digest != before.digest);
        all.push(NamedPass { revoked_s: Some(now), ..before });
        if let Ok(ticket) = network::of_coordinator(&directory) {
            let ticket =
                Ticket::new(ticket.node(), ticket.addresses().to_vec(), after.clone()).code(Code::Host)?;
            let file = directory.join(network::TICKET);
            network::write(&file, &ticket)
                .with_context(|| format!("cannot write {}", file.display()))
                .code(Code::Host)?;
        }
        // A coordinator that runs knows only the one that it began with.
        all.push(NamedPass::new(DEFAULT, PassRole::Both, &after, now).code(Code::Usage)?);
    } else {
        let pass = all.iter_mut().find(|pass| pass.name == args.name && pass.revoked_s.is_none());
        let Some(pass) = pass else {
            return Err(Exit::new(Code::Usage, format!("there is no pass called {}", args.name))
                .hint("`tidemill pass list` shows those that there are")
                .into());
        };
        pass.revoked_s = Some(now);
    }
    write(&directory, &all)?;
    let revoked = all.iter().rfind(|pass| pass.name == args.name && pass.revoked_s.is_some());
    match (args.json, revoked) {
        (true, Some(pass)) => json::print(&summary(pass)),
        _ => println!("{} is revoked: whoever joined with it is cut off", args.name),
    }
    Ok(())
}
