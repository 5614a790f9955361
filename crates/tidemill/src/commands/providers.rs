//! `tidemill providers`: who lends what to a network.

use tidemill_net::wire::ProviderReport;
use tidemill_types::{Fuel, one_line};
use tidemill_web::told;

use crate::{
    asking::ask,
    contributions::UNJUDGED,
    exit, json,
    network::Join,
    table::{Table, shorten},
};

/// List the providers of a network: what they lend, and what they do.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    #[command(flatten)]
    join: Join,
    /// Print a JSON array instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let providers = ask(&args.join, async |requester| requester.providers().await)?;
    if args.json {
        let list: Vec<_> = providers.iter().map(told::provider).collect();
        json::print(&list);
    } else if providers.is_empty() {
        println!("no provider has joined; `tidemill provide --join TICKET` lends a machine");
    } else {
        print(&providers);
    }
    Ok(())
}

fn print(providers: &[ProviderReport]) {
    let is_any_unjudged = providers.iter().any(|provider| provider.unjudged > 0);
    let mut heads = vec!["provider ", "name ", "cpus", "memory", "has", "done"];
    heads.extend(is_any_unjudged.then_some(UNJUDGED));
    heads.extend(["lost", "fuel/s", "state "]);
    let mut table = Table::new(&heads);
    for provider in providers {
        let offer = &provider.offer;
        let state = match (provider.connected, &provider.idle) {
            (false, _) => "gone".to_owned(),
            (true, Some(_)) => "idle".to_owned(),
            (true, None) => "busy".to_owned(),
        };
        let rates = offer.engines.iter().zip(&provider.observed_fuel_per_s).map(|pair| match pair {
            (engine, 0) => engine.capacity.single_fuel_per_s,
            (_, observed) => *observed,
        });
        let rates: Vec<String> = rates.map(|rate| Fuel(rate).to_string()).collect();
        let mut cells = vec![
            provider.node.short(),
            shorten(&offer.name, 16),
            offer.slots().to_string(),
            offer.memory().to_string(),
            provider.leased.to_string(),
            provider.accepted.to_string(),
        ];
        cells.extend(is_any_unjudged.then(|| provider.unjudged.to_string()));
        cells.extend([provider.lost_attempts.to_string(), rates.join(", "), state]);
        table.row(cells);
    }
    table.print("");
    for provider in providers.iter().filter(|provider| provider.connected) {
        if let Some(reason) = &provider.idle {
            println!("{} is idle: {}", provider.node.short(), one_line(reason, 240));
        }
    }
}
