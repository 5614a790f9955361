//! `tidemill api-key list`

use tidemill_api as api;
use tidemill_http::Key;
use tidemill_types::{EscrowId, Millis};

use super::{failed, now_s};
use crate::{json, serving, table::Table};

/// List the API keys of this home.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON array instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let keys = serving::keys()?.list().map_err(failed)?;
    if args.json {
        let described = keys.iter().map(|(id, key)| api::ApiKey {
            id: id.to_string(),
            name: key.name.clone(),
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            created_unix_s: key.created_s,
            expires_unix_s: key.expires_s,
            requests_per_minute: key.limit.requests,
            tokens_per_minute: key.limit.tokens,
            requests_at_once: key.limit.at_once,
            escrow: escrow(key).map(|escrow| escrow.to_string()),
        });
        json::print(&described.collect::<Vec<_>>());
        return Ok(());
    }
    if keys.is_empty() {
        println!("there are no API keys: `tidemill api-key new` makes one");
        return Ok(());
    }
    let now_s = now_s();
    let mut table = Table::new(&["id ", "name ", "expires ", "good for ", "paid by "]);
    for (id, key) in keys {
        let scopes: Vec<String> = key.scopes.iter().map(ToString::to_string).collect();
        let expires = match key.expires_s {
            None => "never".to_owned(),
            Some(at) if at <= now_s => "expired".to_owned(),
            Some(at) => format!("in {}", Millis((at - now_s).saturating_mul(1000))),
        };
        let paid = escrow(&key).map_or_else(|| "-".to_owned(), |escrow| escrow.short());
        table.row(vec![id.to_string(), key.name, expires, scopes.join(", "), paid]);
    }
    table.print("");
    Ok(())
}

/// The escrow that pays for what a key asks.
fn escrow(key: &Key) -> Option<EscrowId> {
    key.paid_by().map(|pay| pay.escrow)
}
