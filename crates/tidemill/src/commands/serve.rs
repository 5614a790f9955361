//! `tidemill serve`: a coordinator on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context;
use tidemill_api::{self as api, ServeEvent, WhyLeftOut};
use tidemill_coordinator::{Coordinator, Keep, MoneyConfig, Pace, Trust};
use tidemill_ledger::evm;
use tidemill_net::{
    addresses::{LeftOut, Why},
    ticket::{MAX_ADDRESSES, Ticket},
};
use tidemill_types::{Address, ByteSize, Coin, Millis, ResultKey};
use tidemill_verify::SlashOdds;

use super::bond::{Ppm, percent};
use crate::{
    announce::Announcer,
    exit::{Code, WithCode},
    home::{Identity, data_directory, identity},
    hosting::{self, Room, Words},
    interrupt::{Signals, tell_syncs},
    ledger::{Ledger, unreachable},
    listen::Reach,
    logging,
    money::{self, PayArgs},
    network,
    node_state::StateDirectory,
    runtime,
    serving::{HttpArgs, Serving, WithHttp, page_in_words},
    summary::plural,
};

/// Run a coordinator: it takes jobs, places their tasks on providers, and keeps what came of them.
///
/// Providers are paid in TIDE on a ledger (`tidemill ledger start` or `use`): the coordinator signs vouchers and settles
/// escrows, and needs some of the chain's coin for that. `--free` does without money, and says so to everybody.
///
/// It prints a ticket. Whoever has the ticket can lend a machine and run jobs, so pass it on with care. Its state is
/// on disk: started again on the same directory it has the same ticket and goes on with the jobs.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    http: HttpArgs,
    /// Room for the inputs and outputs of jobs [default: half of what is free]
    #[arg(long, value_name = "SIZE")]
    disk: Option<ByteSize>,
    /// Where its state is [default: `coordinator` in the directory of this home]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Write the ticket into this file once others can join, and remove it at the end
    #[arg(long, value_name = "FILE")]
    ticket_file: Option<PathBuf>,
    /// Without money: nobody is paid. For machines of one's own, a lab's for one
    #[arg(long, conflicts_with_all = ["fee", "account", "ledger", "slash_odds"])]
    free: bool,
    /// Do not check the results of this operator's providers, and let them decide where others are checked; `all` where
    /// every machine is your own. May be given several times [default: everybody's results are checked, as far as jobs ask for it]
    #[arg(long, value_name = "OPERATOR|all")]
    trust: Vec<Trusted>,
    /// What the coordinator keeps of every payment, in percent, up to 20
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = fee)]
    fee: Ppm,
    /// Settlements wait while a unit of gas costs more than this, unless a window is about to close
    #[arg(long, value_name = "PRICE", default_value = "100 gwei")]
    comfortable_gas_price: Coin,
    /// How likely it is that a provider whose result is found to be wrong is slashed, above 0 and up to 1: the less likely, the
    /// oftener results are checked. It counts on ledgers where a contract may slash providers
    #[arg(long, value_name = "ODDS", default_value_t = SlashOdds::USUAL)]
    slash_odds: SlashOdds,
    /// How long to keep evidence that a result contradicts the accepted one, even if its job is removed; see
    /// `tidemill evidence`
    #[arg(long, value_name = "TIME", default_value = "30d")]
    keep_evidence: Millis,
    /// How long to keep a job after its end, with its outputs and logs; then it is removed
    #[arg(long, value_name = "TIME", default_value = "30d")]
    keep: Millis,
    /// How many jobs to keep for one requester, running and ended; a requester that has as many must remove some before it
    /// brings another
    #[arg(long, value_name = "COUNT", default_value_t = Keep::default().jobs)]
    keep_jobs: u64,
    /// How much to keep for one requester: the outputs and logs of its jobs, the jobs themselves, and the inputs of those that
    /// run. A requester that has as much must remove some jobs before it brings another, and one of its jobs ends if what they
    /// make comes to more
    #[arg(long, value_name = "SIZE", default_value_t = Keep::default().bytes)]
    keep_bytes: ByteSize,
    /// How much of the disk to leave to jobs that run: while less is free, no other job is taken in
    #[arg(long, value_name = "SIZE", default_value_t = Keep::default().reserve)]
    disk_reserve: ByteSize,
    #[command(flatten)]
    pay: PayArgs,
    /// Print one JSON object a line for each event: listening, stopping, stopped, and syncs at the signal USR1
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pace: PaceArgs,
}

/// For tests, which cannot wait as long as networks must.
#[derive(clap::Args)]
struct PaceArgs {
    #[arg(long, hide = true)]
    lease: Option<Millis>,
    #[arg(long, hide = true)]
    heartbeat: Option<Millis>,
    #[arg(long, hide = true)]
    second_opinion: Option<Millis>,
    #[arg(long, hide = true)]
    undecided: Option<Millis>,
    #[arg(long, hide = true)]
    ban: Option<Millis>,
}

/// Whose results need no check.
#[derive(Clone, Copy, Debug)]
enum Trusted {
    Everybody,
    Operator(Address),
}

impl FromStr for Trusted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::Everybody),
            text => text.parse().map(Self::Operator).map_err(|error| {
                format!("{error}; say an operator's account, as in `tidemill providers --json`, or `all`")
            }),
        }
    }
}

const HELP: &str = "Examples:
  tidemill serve                                 on all addresses of this machine, paying on the configured ledger
  tidemill serve --free --trust all              without money, on machines that are all your own
  tidemill serve --account ann --fee 5           ann signs vouchers, and keeps 5 % of payments
  tidemill serve --loopback --port 4433          for this machine alone
  tidemill serve --bind 192.168.1.7 --disk 200GiB
  tidemill serve --port 4433 --advertise 203.0.113.7    behind a NAT that passes UDP port 4433 on to this machine
  tidemill serve --free --trust all --api 127.0.0.1:8400    models over HTTP too, with OpenAI's API
  tidemill serve --keep 7d --keep-jobs 1000      a job goes a week after its end; 1,000 for each requester

What it logs to standard error is set by TIDEMILL_LOG (warn, info, tidemill_coordinator=debug, ...).
The signal USR1 makes it tell how often it has waited for the disk.

Exit codes:
  0    ended as asked, by Ctrl-C or the signal to terminate
  2    wrong usage, or another process works in its directory
  4    this machine could not do its part (disk, port, permissions)
  130  a second Ctrl-C ended it at once; nothing that it has confirmed is lost";

impl PaceArgs {
    fn pace(&self) -> Pace {
        let usual = Pace::default();
        Pace {
            lease: self.lease.unwrap_or(usual.lease),
            heartbeat: self.heartbeat.unwrap_or(usual.heartbeat),
            second_opinion: self.second_opinion.unwrap_or(usual.second_opinion),
            undecided: self.undecided.unwrap_or(usual.undecided),
            keep_evidence: usual.keep_evidence,
            ban: self.ban.unwrap_or(usual.ban),
            policy: usual.policy,
        }
    }
}

impl Args {
    /// How much it keeps.
    fn room(&self) -> Room {
        let (time, jobs, bytes) = (self.keep, self.keep_jobs, self.keep_bytes);
        Room { disk: self.disk, keep: Keep { time, jobs, bytes, reserve: self.disk_reserve } }
    }

    /// Whose results it does not check.
    fn trust(&self) -> Trust {
        let mut trust = Trust::default();
        for trusted in &self.trust {
            match trusted {
                Trusted::Everybody => trust.everybody = true,
                Trusted::Operator(operator) => drop(trust.operators.insert(*operator)),
            }
        }
        trust
    }

    /// How it pays, and the ledger that it needs as long: in the name of the account that is meant, or of the result key of
    /// this home.
    async fn money(&self, directory: &Path, identity: &Identity) -> anyhow::Result<(MoneyConfig, Ledger)> {
        let ledger = self.pay.ledger.connect().await.map_err(|error| {
            error.context("a coordinator pays on a ledger; `--free` is for networks without money")
        })?;
        let secret = match self.pay.account.is_given() {
            true => self.pay.account.unlock()?.signer().to_bytes().0,
            false => identity.result.to_bytes(),
        };
        let key = ResultKey::from_bytes(&secret).code(Code::Host)?;
        let Ppm(fee) = self.fee;
        let price = self.comfortable_gas_price;
        let config = money::coordinator(&ledger, key, directory, fee, price, self.slash_odds).await?;
        Ok((config, ledger))
    }
}

/// The most that an escrow gives its coordinator, as contracts/src/JobEscrow.sol has it.
const MOST_FEE_PPM: u32 = 200_000;

fn fee(text: &str) -> Result<Ppm, String> {
    let fee = percent(text)?;
    if fee.0 > MOST_FEE_PPM {
        return Err(format!("a coordinator keeps at most 20 percent of a payment, not {text}"));
    }
    Ok(fee)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    logging::start("warn,tidemill=info,tidemill_coordinator=info,tidemill_net=info");
    let directory = match &args.directory {
        Some(directory) => directory.clone(),
        None => data_directory().code(Code::Host)?.join("coordinator"),
    };
    args.reach.check()?;
    args.http.know_models()?;
    let state = StateDirectory::claim(&directory)?;
    let identity = identity()?;
    runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let _syncs = tell_syncs(args.json)?;
        let pace = Pace { keep_evidence: args.keep_evidence, ..args.pace.pace() };
        let (money, _ledger) = match args.free {
            true => (None, None),
            false => {
                let (money, ledger) = args.money(state.path(), &identity).await?;
                (Some(money), Some(ledger))
            }
        };
        let account = match &money {
            Some(money) => {
                let address = money.key.address();
                let coins = money.escrows.chain().balance(evm(address)).await.map_err(unreachable)?;
                Some((address, coins))
            }
            None => None,
        };
        let coordinator =
            hosting::start(&state, &identity.result, &args.reach, args.room(), pace, args.trust(), money)
                .await?;
        let file = args.ticket_file.as_deref().map(|path| TicketFile::write(path, coordinator.ticket()));
        let own = TicketFile::write(&state.path().join(network::TICKET), coordinator.ticket());
        let announcer = Announcer::new(args.json);
        // The one in its own directory is for the commands of this home.
        let files = file.transpose().and_then(|file| Ok((file, own?)));
        let served = match &files {
            Ok(_) => args.http.start(&coordinator, true).await,
            Err(_) => Ok(None),
        };
        match files.and_then(|files| Ok((files, served?))) {
            Ok(((file, _own), serving)) => {
                let told = Told {
                    file: file.as_ref(),
                    api: serving.as_ref().map(Serving::url),
                    page: serving.as_ref().map(Serving::page),
                };
                tell_listening(&announcer, &state, &coordinator, &told, account, &args.trust());
                let words = Words { what: "coordinator", again: "start it again on the same directory" };
                hosting::stay(WithHttp { hosted: coordinator, serving }, &mut signals, &announcer, &words)
                    .await
            }
            Err(error) => {
                coordinator.stop().await;
                Err(error)
            }
        }
    })
}

/// Where others find it.
struct Told<'a> {
    /// The file that a person wanted its ticket in.
    file: Option<&'a TicketFile>,
    /// Where its HTTP API is.
    api: Option<String>,
    /// Where its pages are.
    page: Option<String>,
}

fn tell_listening(
    announcer: &Announcer,
    state: &StateDirectory,
    coordinator: &Coordinator,
    Told { file, api, page }: &Told<'_>,
    account: Option<(Address, Coin)>,
    trust: &Trust,
) {
    let ticket = coordinator.ticket();
    let addresses: Vec<_> = ticket.addresses().iter().map(ToString::to_string).collect();
    let event = ServeEvent::Listening {
        node: coordinator.node().to_string(),
        addresses: addresses.clone(),
        left_out: coordinator.left_out().iter().map(left_out).collect(),
        ticket: ticket.to_string(),
        directory: state.path().to_string_lossy().into_owned(),
        free: account.is_none(),
        trusts_everybody: trust.everybody,
        trusted: trust.operators.iter().map(ToString::to_string).collect(),
        account: account.map(|(account, _)| account.to_string()),
        coins_wei: account.map(|(_, coins)| coins),
        api: api.clone(),
        page: page.clone(),
    };
    let pays = match account {
        Some((account, coins)) => {
            let gas = match coins.is_zero() {
                true => format!(
                    "has no coins for gas, without which nobody is paid: `tidemill wallet send \"0.1 ETH\" {account}` sends \
                     it some"
                ),
                false => format!("has {coins} for gas"),
            };
            format!("work is paid for: {account} signs vouchers, and {gas}")
        }
        None => "the network is free: nobody is paid".to_owned(),
    };
    let checks = match (trust.everybody, trust.operators.len()) {
        (true, _) => "results are not checked: every provider is trusted".to_owned(),
        (false, 0) => "results are checked as jobs ask for it: no provider is trusted".to_owned(),
        (false, count) => format!(
            "results are checked as jobs ask for it, but those of {}",
            plural(count as u64, "operator")
        ),
    };
    let join = file.map_or_else(|| ticket.to_string(), |file| file.path().display().to_string());
    let page = page_in_words(page.as_ref());
    let api = api.as_ref().map_or_else(String::new, |url| format!("models over HTTP: {url}\n"));
    let text = format!(
        "{page}{api}coordinator {} is reached at {}\n{}its state is in {}\n\nticket (whoever has it can join):\n{ticket}\n\n\
         lend a machine:  tidemill provide --join {join}\n\
         run a job:       tidemill run JOB.TOML --join {join}\n\n\
         {pays}\n{checks}\n\nCtrl-C ends it",
        coordinator.node().short(),
        addresses.join(", "),
        crowded_out(coordinator.left_out()),
        state.path().display(),
    );
    announcer.tell(&event, &text);
}

/// An address that is not in the ticket, for scripts.
fn left_out(left_out: &LeftOut) -> api::LeftOut {
    let why = match left_out.why {
        Why::NoRoom => WhyLeftOut::NoRoom,
        Why::Loopback => WhyLeftOut::Loopback,
        Why::LinkLocal => WhyLeftOut::LinkLocal,
    };
    api::LeftOut { address: left_out.address.to_string(), why }
}

/// A line about the addresses that others might dial and the ticket has no room for. Nobody else could dial the others
/// that are left out.
fn crowded_out(left_out: &[LeftOut]) -> String {
    let crowded = left_out.iter().filter(|one| one.why == Why::NoRoom).map(|one| one.address.to_string());
    let crowded: Vec<String> = crowded.collect();
    match crowded.len() {
        0 => String::new(),
        _ => format!(
            "not in the ticket, which holds {MAX_ADDRESSES} addresses: {}\n(`--advertise ADDR` puts one of them first, \
             `--bind ADDR` leaves out all others)\n",
            crowded.join(", ")
        ),
    }
}

/// A ticket in a file, for as long as others can join with it.
pub struct TicketFile {
    path: PathBuf,
    text: String,
}

impl TicketFile {
    /// Writes the file: whole, or not at all.
    ///
    /// # Errors
    /// With [`Code::Host`] when the disk does not take it.
    pub fn write(path: &Path, ticket: &Ticket) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).code(Code::Usage)?;
        network::write(&path, ticket)
            .with_context(|| format!("cannot write the ticket to {}", path.display()))
            .code(Code::Host)?;
        Ok(Self { path, text: ticket.to_string() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TicketFile {
    fn drop(&mut self) {
        // Another coordinator may have written its own since.
        if fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
