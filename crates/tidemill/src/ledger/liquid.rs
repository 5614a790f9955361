//! What the commands of the liquid stake have in common.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use tidemill_api as api;
use tidemill_ledger::liquid::{Call, Exit, Liquid, LiquidError};

use super::{Ledger, Purse, Sent, when};
use crate::exit::{Code, Exit as Ended, WithCode};

/// The options of what asks before it signs.
#[derive(clap::Args)]
pub struct Asking {
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Show the quote, and do nothing
    #[arg(long, conflicts_with = "yes")]
    pub quote: bool,
}

impl Asking {
    /// Asks whether to go on, after the quote was shown.
    ///
    /// # Errors
    /// With [`Code::Interrupted`] when it is not wanted, with [`Code::Usage`] when nobody is there to be asked.
    pub fn agree(&self) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Ended::new(Code::Usage, "nobody is there to be asked")
                .hint("say `--yes` to do it, or `--quote` to see the quote alone")
                .into());
        }
        eprint!("go on? [y/N] ");
        io::stderr().flush().code(Code::Host)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).code(Code::Host)?;
        match answer.trim() {
            "y" | "yes" => Ok(()),
            _ => Err(Ended::new(Code::Interrupted, "not done").into()),
        }
    }
}

/// The liquid stake of a ledger.
///
/// # Errors
/// With [`Code::Usage`] when the ledger has none: its contracts are of an earlier version.
pub fn liquid(ledger: &Ledger) -> anyhow::Result<Liquid> {
    Liquid::new(ledger.chain.clone(), &ledger.book)
        .with_context(|| format!("the ledger {} has no liquid stake", ledger.url))
        .code(Code::Usage)
}

/// An error of the liquid stake, with its code.
pub fn failed(error: LiquidError) -> anyhow::Error {
    let code = match &error {
        LiquidError::Book(_) | LiquidError::TooLittle { .. } => Code::Usage,
        LiquidError::Read { .. } | LiquidError::TooMuch { .. } => Code::Host,
    };
    Ended::new(code, tidemill_types::causes(&error)).into()
}

/// Sends calls, one after the other.
///
/// # Errors
/// As those of [`Purse::call`].
pub async fn send_all(purse: &Purse, calls: Vec<Call>) -> anyhow::Result<Vec<Sent>> {
    let mut sent = Vec::with_capacity(calls.len());
    for Call { label, to, data } in calls {
        sent.push(purse.call(&label, to, data).await?);
    }
    Ok(sent)
}

/// An exit as one line for a person.
pub fn exit_in_words(exit: &Exit, now: u64) -> String {
    match exit.claimable {
        Some(pays) => format!("exit {} pays {pays}: `tidemill claim`", exit.id),
        None => {
            let until = match exit.latest_claim_at > now {
                true => format!("at the latest in {}", when(exit.latest_claim_at, now)),
                false => "due: `tidemill claim` makes it so".to_owned(),
            };
            format!("exit {} waits in place {}, pays {} at most, {until}", exit.id, exit.place, exit.assets)
        }
    }
}

/// An exit for scripts.
pub fn exit_summary(exit: &Exit) -> api::ExitRequest {
    api::ExitRequest {
        id: exit.id.to_string(),
        shares_wei: exit.shares,
        most_wei: exit.assets,
        requested_at_unix_s: exit.requested_at,
        latest_claim_unix_s: exit.latest_claim_at,
        place: exit.place,
        claimable_wei: exit.claimable,
    }
}
