//! `tidemill join`: the network that commands are for when they do not say.

use std::fs;

use anyhow::Context;
use tidemill_api::RememberedNetwork;

use crate::{
    exit::{self, Code, WithCode},
    follow::unless_stopped,
    interrupt::Signals,
    json, network,
    requester::Requester,
    runtime,
};

/// Remember a network, so that other commands need no `--join`.
///
/// The network is called once, to see whether the ticket lets in. `--join` and TIDEMILL_JOIN still go before it.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The network's ticket, or a file that holds it
    #[arg(value_name = "TICKET", required_unless_present = "forget")]
    ticket: Option<std::ffi::OsString>,
    /// Forget the network that was remembered
    #[arg(long, conflicts_with = "ticket")]
    forget: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!("Examples:\n  tidemill join ticket.txt\n  tidemill join --forget\n\n{}", exit::HELP)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = network::configured()?;
    let context = || format!("cannot write {}", file.display());
    let Some(text) = args.ticket.as_deref().filter(|_| !args.forget) else {
        match fs::remove_file(&file) {
            Ok(()) => say(args, None, "the network is forgotten"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                say(args, None, "no network was remembered");
            }
            Err(error) => return Err(error).with_context(context).code(Code::Host),
        }
        return Ok(());
    };
    let ticket = network::parse(text, "TICKET")?;
    let called = ticket.clone();
    runtime::block_on(async {
        let calling = async {
            Requester::connect(called).await?.close().await;
            Ok(())
        };
        unless_stopped(&mut Signals::listen()?, calling).await
    })?;
    network::write(&file, &ticket).with_context(context).code(Code::Host)?;
    let node = ticket.node();
    say(
        args,
        Some(node.to_string()),
        &format!(
            "the network of {} is remembered; `tidemill run`, `status` and the others are for it now",
            node.short()
        ),
    );
    Ok(())
}

fn say(args: &Args, coordinator: Option<String>, words: &str) {
    if args.json {
        json::print(&RememberedNetwork { coordinator });
    } else {
        println!("{words}");
    }
}
