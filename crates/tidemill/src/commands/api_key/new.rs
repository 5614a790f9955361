//! `tidemill api-key new`

use tidemill_api as api;
use tidemill_http::{Limit, NewKey, Scope};
use tidemill_types::{Amount, Millis};

use super::{
    failed,
    fund::{Source, in_words},
    now_s,
};
use crate::{json, serving};

/// Make an API key, and print it: it cannot be shown again.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// What to call it
    #[arg(long, default_value = "key")]
    name: String,
    /// What it is good for: `models` asks models, `jobs` brings jobs, `read` sees its own jobs and the network, `operator`
    /// sees the jobs of all and the metrics. May be given several times
    #[arg(long, value_name = "SCOPE", default_values_t = [Scope::Models, Scope::Jobs, Scope::Read])]
    scope: Vec<Scope>,
    /// It is good for so long [default: until it is revoked]
    #[arg(long, value_name = "TIME")]
    expires_in: Option<Millis>,
    /// Requests a minute
    #[arg(long, value_name = "COUNT", default_value_t = Limit::default().requests)]
    requests: u32,
    /// Tokens a minute, of prompts and answers
    #[arg(long, value_name = "COUNT", default_value_t = Limit::default().tokens)]
    tokens: u32,
    /// Requests at a time
    #[arg(long, value_name = "COUNT", default_value_t = Limit::default().at_once)]
    at_once: u32,
    /// Lock so much, like "5 TIDE", to pay for what it asks: a network where work is paid for answers no key without money
    #[arg(long, value_name = "AMOUNT")]
    budget: Option<Amount>,
    #[command(flatten)]
    source: Source,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

const HELP: &str = "Examples:
  tidemill api-key new --name laptop
  tidemill api-key new --name demo --scope models --expires-in 1d --requests 20
  tidemill api-key new --name app --budget \"5 TIDE\" --account treasury

A client takes it as OPENAI_API_KEY, with OPENAI_BASE_URL as `tidemill up` or `serve --api` prints it.";

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let now_s = now_s();
    let expires_s = args.expires_in.map(|time| now_s.saturating_add(time.0.div_ceil(1000)));
    let limit = Limit { requests: args.requests, tokens: args.tokens, at_once: args.at_once };
    let new = NewKey { name: args.name.clone(), scopes: args.scope.clone(), expires_s, limit };
    let keys = serving::keys()?;
    let (id, key) = keys.make(new, now_s).map_err(failed)?;
    let funded = match args.budget {
        None => None,
        Some(budget) => match args.source.fund(&keys, id, budget) {
            Ok(funded) => Some((budget, funded)),
            Err(error) => {
                // Nobody has seen it: a key without its money would only be in the way.
                let _ = keys.revoke(id);
                return Err(error);
            }
        },
    };
    if args.json {
        let escrow = funded.map(|(_, (escrow, _))| escrow.to_string());
        json::print(&api::MadeApiKey { id: id.to_string(), key, escrow });
    } else {
        println!("{key}");
        eprintln!("keep it: it cannot be shown again. `tidemill api-key revoke {id}` ends it");
        if let Some((budget, (escrow, _))) = funded {
            eprintln!("{}", in_words(id, budget, escrow));
        }
    }
    Ok(())
}
