//! `tidemill join`: the network that commands are for when they do not say.

use std::fs;

use anyhow::Context;

use crate::{
    exit::{self, Code, WithCode},
    follow::unless_stopped,
    interrupt::Signals,
    network,
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
        return match fs::remove_file(&file) {
            Ok(()) => said(args, None, "the network is forgotten"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                said(args, None, "no network was remembered")
            }
            Err(error) => Err(error).with_context(context).code(Code::Host),
        };
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
    said(
        args,
        Some(node.to_string()),
        &format!(
            "the network of {} is remembered; `tidemill run`, `status` and the others are for it now",
            node.short()
        ),
    )
}

fn said(args: &Args, coordinator: Option<String>, words: &str) -> anyhow::Result<()> {
    if args.json {
        println!("{:#}", serde_json::json!({ "coordinator": coordinator }));
    } else {
        println!("{words}");
    }
    Ok(())
}
