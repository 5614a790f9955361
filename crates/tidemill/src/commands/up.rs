//! `tidemill up`: a whole network on this machine, until Ctrl-C.

use std::path::PathBuf;

use tidemill_api::UpEvent;
use tidemill_types::Limits;

use super::serve::TicketFile;
use crate::{
    announce::Announcer,
    embedded::{Embedded, Shape, usual_providers},
    exit::{Code, WithCode},
    home::data_directory,
    hosting::{self, Words},
    interrupt::Signals,
    logging, models,
    money::PayArgs,
    runtime,
    serving::{HttpArgs, Serving, WithHttp, page_in_words},
};

/// Run a whole network on this machine until Ctrl-C: a coordinator and some providers.
///
/// Work is paid for on the ledger of this home, or the one that is configured; `--free` does without money.
///
/// It shows how things work, and is where several jobs of one machine share its cores. Its state is kept: `up` again
/// has the same ticket and goes on with the jobs.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Providers, which share the cores and the memory of this machine [default: 3; 7 that check each other with
    /// --strangers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    providers: Option<u16>,
    /// Where its state is [default: `up` in the directory of this home]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Write the ticket into this file once others can join, and remove it at the end
    #[arg(long, value_name = "FILE")]
    ticket_file: Option<PathBuf>,
    /// Without money: nobody is paid
    #[arg(long, conflicts_with_all = ["account", "ledger"])]
    free: bool,
    /// Check the results of its providers as if they were strangers' machines: at the default assurance six of them must
    /// agree at first
    #[arg(long)]
    strangers: bool,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    pay: PayArgs,
    /// Print one JSON object a line for each event: listening, stopping, stopped
    #[arg(long)]
    json: bool,
}

const HELP: &str = "Examples:
  tidemill up --ticket-file ticket               in one terminal, and in another:
  tidemill run examples/render/job.toml --join ticket
  tidemill providers --join ticket
  tidemill up --free --api 127.0.0.1:9000      models over HTTP at this port; clients take http://127.0.0.1:9000/v1

Exit codes:
  0    ended as asked, by Ctrl-C or the signal to terminate
  2    wrong usage, or another process works in its directory
  4    this machine could not do its part (disk, memory, permissions)
  130  a second Ctrl-C ended it at once; nothing that it has confirmed is lost";

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    logging::start("warn");
    let directory = match &args.directory {
        Some(directory) => directory.clone(),
        None => data_directory().code(Code::Host)?.join("up"),
    };
    args.http.know_models()?;
    runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let shape = Shape {
            providers: args.providers.unwrap_or_else(|| usual_providers(args.strangers)),
            task_memory: Limits::default().memory,
            models: Some(models::of_this_home()?),
            strangers: args.strangers,
        };
        let money = (!args.free).then_some(&args.pay);
        let embedded = Embedded::start_for(&directory, shape, money, args.json).await?;
        let file = args.ticket_file.as_deref().map(|path| TicketFile::write(path, &embedded.ticket));
        let announcer = Announcer::new(args.json);
        let serving = args.http.start(&embedded.coordinator, true).await;
        match file.transpose().and_then(|file| Ok((file, serving?))) {
            Ok((file, serving)) => {
                tell_listening(&announcer, &directory, &embedded, file.as_ref(), serving.as_ref());
                let words = Words { what: "network", again: "start `tidemill up` again" };
                hosting::stay(WithHttp { hosted: embedded, serving }, &mut signals, &announcer, &words).await
            }
            Err(error) => {
                embedded.stop().await;
                Err(error)
            }
        }
    })
}

fn tell_listening(
    announcer: &Announcer,
    directory: &std::path::Path,
    embedded: &Embedded,
    file: Option<&TicketFile>,
    serving: Option<&Serving>,
) {
    let (api, page) = (serving.map(Serving::url), serving.map(Serving::page));
    let ticket = &embedded.ticket;
    let event = UpEvent::Listening {
        node: ticket.node().to_string(),
        ticket: ticket.to_string(),
        providers: embedded.providers.into(),
        directory: directory.to_string_lossy().into_owned(),
        ledger: embedded.ledger().map(|ledger| ledger.url.clone()),
        free: embedded.ledger().is_none(),
        api: api.clone(),
        page: page.clone(),
    };
    let pays = match embedded.ledger() {
        Some(ledger) => format!("work is paid for in TIDE, on the ledger at {}", ledger.url),
        None => "the network is free: nobody is paid".to_owned(),
    };
    let join = file.map_or_else(|| ticket.to_string(), |file| file.path().display().to_string());
    let providers = if embedded.providers == 1 {
        "1 provider".to_owned()
    } else {
        format!("{} providers", embedded.providers)
    };
    let page = page_in_words(page.as_ref());
    let api = api.map_or_else(String::new, |url| format!("models over HTTP: {url}\n"));
    let text = format!(
        "{page}{api}a coordinator and {providers} on this machine; state and logs are in {}\n\n\
         ticket:\n{ticket}\n\n\
         in another terminal:\n  tidemill run JOB.TOML --join {join}\n  tidemill providers --join {join}\n\n\
         {pays}\n\nCtrl-C ends it",
        directory.display(),
    );
    announcer.tell(&event, &text);
}
