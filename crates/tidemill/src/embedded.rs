//! A whole network in this process tree: a coordinator here, providers as child processes of this program.
//!
//! Each child has a directory and keys of its own, so that the coordinator takes them for distinct operators, and
//! its own process group, so that Ctrl-C in a terminal is for this process alone. A child's standard input is a
//! pipe that this process holds open and never writes to: its end, however this process ends, ends the child.

mod place;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use tidemill_coordinator::{Coordinator, Pace, Trust};
use tidemill_ledger::keystore::Account;
use tidemill_net::ticket::Ticket;
use tidemill_provider::memory_available;
use tidemill_types::ByteSize;
use tokio::{
    process::Child,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

pub use self::place::PLACES;
use self::place::{ChildLedger, Place};
use crate::{
    child::{last_words, this_program},
    commands::cores,
    exit::{Code, WithCode},
    home::check_address_space,
    hosting::{self, Room},
    ledger::Ledger,
    listen::Reach,
    money::PayArgs,
    network,
    node_state::StateDirectory,
};

/// Providers that trust each other.
const PROVIDERS: u16 = 3;

/// And where they check each other: six of whom nothing is known must agree at the default assurance.
const STRANGERS: u16 = 7;

/// How many providers an embedded network has unless something else is asked for.
pub fn usual_providers(strangers: bool) -> u16 {
    if strangers { STRANGERS } else { PROVIDERS }
}

/// The file in a network's directory that says how many providers it has.
const PROVIDERS_NOTE: &str = "providers";

/// Fuel a second of each core that the coordinator begins with: of the right order, which is enough, since placement
/// goes on with what it observes. Measuring would take longer than many jobs.
const ASSUMED_FUEL_PER_S: u64 = 5_000_000_000;

/// How long a child may take to finish what it is at.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// A child that lived for so long did not fail to start.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// A child that ended so often in a row, each time after a short life, will not do better.
const MOST_SHORT_LIVES: u32 = 6;

/// The first pause before a child is started again, which doubles up to the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// A network of this process's own. Dropped, it ends at once, and what it has confirmed is on disk.
pub struct Embedded {
    /// Its coordinator.
    pub coordinator: Coordinator,
    /// What it is joined with.
    pub ticket: Ticket,
    /// How many providers it has.
    pub providers: u16,
    /// Set when the children are to end.
    ending: watch::Sender<bool>,
    children: JoinSet<()>,
    failure: watch::Receiver<Option<String>>,
    /// The ledger that it pays on, and the account that pays there.
    payer: Option<(Ledger, Account)>,
    _state: StateDirectory,
    _place: Option<Place>,
}

/// How large a network of this process's own is.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its providers.
    pub providers: u16,
    /// The most memory that one of its tasks may take.
    pub task_memory: ByteSize,
    /// What it runs of models; nothing where it runs none.
    pub models: Option<ModelShape>,
    /// Whether its providers are treated like those of strangers, although they are this machine's own.
    pub strangers: bool,
}

/// What a network of this process's own runs of models.
#[derive(Clone, Default, Debug)]
pub struct ModelShape {
    /// The most memory that a task of one may take, its model among it.
    pub task_memory: ByteSize,
    /// Models that all of its nodes hold, by names under which no two are; their files stay where they are.
    pub held: Vec<(String, PathBuf)>,
}

impl Embedded {
    /// Starts a network that pays, on the ledger and in the name of the account that are meant, or a free one. Where no
    /// ledger is configured, that of this home is made and runs at least as long as the network.
    ///
    /// # Errors
    /// With a code when this machine cannot do its part, or the ledger or the account is not usable.
    pub async fn start_for(
        directory: &Path,
        shape: Shape,
        money: Option<&PayArgs>,
        quiet: bool,
    ) -> anyhow::Result<Self> {
        check_address_space()?;
        let Some(args) = money else { return Self::start(directory, shape, None).await };
        let ledger = args.ledger.connect_or_make(quiet).await?;
        let providers = shape.providers.max(earlier_providers(directory));
        if providers > shape.providers && !quiet {
            eprintln!(
                "note: {providers} providers start, as many as in the run before: each has to release what it has earned"
            );
        }
        Self::start(directory, Shape { providers, ..shape }, Some((ledger, args.payer()?))).await
    }

    /// The ledger that it pays on.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.payer.as_ref().map(|(ledger, _)| ledger)
    }

    /// The same, and the account that pays there: unlocking it takes time, by intent.
    pub fn payer(&self) -> Option<(Ledger, Account)> {
        self.payer.clone()
    }

    /// Starts a coordinator that listens on this host alone and so many providers, all of whose state is below
    /// `directory`. What is there already is taken up: jobs go on, keys and port stay the same. The providers
    /// join in the background. There are fewer where memory would not go round: a task of `task_memory`, the most
    /// that one may take, must fit each. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// With a code, when this machine cannot do its part, or another process has the directory.
    async fn start(directory: &Path, shape: Shape, payer: Option<(Ledger, Account)>) -> anyhow::Result<Self> {
        let Shape { providers, task_memory, models, strangers } = shape;
        let directory = std::path::absolute(directory).code(Code::Usage)?;
        network::private_directory(&directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))
            .code(Code::Host)?;
        let state = StateDirectory::claim(&directory.join("coordinator"))?;
        let key = state.result_key()?;
        // Accounts outlive the network: what is earned stays theirs, and so do the coins for gas.
        let place = payer.as_ref().map(|_| Place::claim(&directory)).transpose()?;
        let paying = payer.as_ref().zip(place.as_ref());
        let model_memory = models.as_ref().map_or(ByteSize(0), |models| models.task_memory);
        let each = ByteSize(task_memory.0.saturating_add(model_memory.0));
        let share = Share::of(providers, cores(), memory_available(), each);
        let fund = async {
            match paying {
                Some(((ledger, account), place)) => place.fund(ledger, account, share.providers).await,
                None => Ok(()),
            }
        };
        let host = async {
            let money = match paying {
                Some(((ledger, _), place)) => Some(place.coordinator(ledger).await?),
                None => None,
            };
            let (reach, trust) = (Reach::loopback(), Trust { everybody: !strangers, ..Trust::default() });
            hosting::start(&state, &key, &reach, Room::default(), Pace::default(), trust, money).await
        };
        // A coordinator needs coins only once something is to be settled, its providers before they join.
        let ((), coordinator) = tokio::try_join!(fund, host)?;
        let child_ledger = paying.map(|((ledger, _), place)| place.ledger(ledger)).transpose()?;
        let note = directory.join(PROVIDERS_NOTE);
        fs::write(&note, share.providers.to_string())
            .with_context(|| format!("cannot write {}", note.display()))
            .code(Code::Host)?;
        for (name, path) in models.iter().flat_map(|models| &models.held) {
            let kept = coordinator.local().keep_file(name, path).await;
            kept.with_context(|| format!("cannot hold the model {}", path.display())).code(Code::Host)?;
        }
        let ticket = coordinator.ticket().clone();
        // In a file and not among the arguments, which all users of this machine can read.
        let ticket_file = state.path().join(network::TICKET);
        network::write(&ticket_file, &ticket)
            .with_context(|| format!("cannot write {}", ticket_file.display()))
            .code(Code::Host)?;

        let (ending, ended) = watch::channel(false);
        let (failed, failures) = mpsc::channel(1);
        let mut children = JoinSet::new();
        for number in 1..=share.providers {
            let own = format!("provider-{number}");
            let provider = ChildProvider {
                directory: place.as_ref().map_or(directory.as_path(), Place::path).join(own),
                name: format!("local-{number}"),
                ticket_file: ticket_file.clone(),
                share,
                models: models.clone(),
                ledger: child_ledger.clone(),
            };
            // The first start is made here, so that a machine that cannot start programs is found out at once.
            let child = provider.start().code(Code::Host)?;
            children.spawn(provider.keep_running(child, ended.clone(), failed.clone()));
        }
        let (told, failure) = watch::channel(None);
        children.spawn(tell_first(failures, told));
        Ok(Self {
            coordinator,
            ticket,
            providers: share.providers,
            ending,
            children,
            failure,
            payer,
            _state: state,
            _place: place,
        })
    }

    /// Waits until the network cannot go on, and says why; for ever, when all goes well.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        let of_children = async {
            match failure.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                Err(_) => std::future::pending().await,
            }
        };
        let of_ledger = async {
            match self.ledger() {
                Some(ledger) => ledger.lost().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            reason = self.coordinator.failed() => reason,
            reason = of_children => reason,
            reason = of_ledger => reason,
        }
    }

    /// Ends it: the providers finish what they are at where that does not take long, and all is on disk.
    pub async fn stop(mut self) {
        self.ending.send_replace(true);
        while self.children.join_next().await.is_some() {}
        self.coordinator.stop().await;
    }
}

/// How many providers the network in a directory had before: without one that has earned something, an escrow closes only
/// after its collect window.
fn earlier_providers(directory: &Path) -> u16 {
    let noted = fs::read_to_string(directory.join(PROVIDERS_NOTE));
    noted.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

async fn tell_first(mut failures: mpsc::Receiver<String>, told: watch::Sender<Option<String>>) {
    if let Some(reason) = failures.recv().await {
        told.send_replace(Some(reason));
    }
}

/// What each provider of a machine is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Share {
    providers: u16,
    cores: usize,
    memory: ByteSize,
}

impl Share {
    /// Every provider has a core, even where there are fewer cores than providers. They have three quarters of the
    /// memory together; the last one left may have all of it, and what a task takes even if that is more.
    fn of(providers: u16, cores: usize, memory: Option<ByteSize>, task_memory: ByteSize) -> Self {
        let memory = memory.unwrap_or(ByteSize(task_memory.0.saturating_mul(providers.into())));
        let for_tasks = memory.0 / 4 * 3;
        let fitting = for_tasks / task_memory.0.max(1);
        let providers = providers.min(u16::try_from(fitting).unwrap_or(u16::MAX)).max(1);
        let memory = ByteSize((for_tasks / u64::from(providers)).max(task_memory.0));
        Self { providers, cores: (cores / usize::from(providers)).max(1), memory }
    }
}

struct ChildProvider {
    directory: PathBuf,
    name: String,
    ticket_file: PathBuf,
    share: Share,
    /// What it runs of models.
    models: Option<ModelShape>,
    /// Where it is paid; nothing where work is free.
    ledger: Option<ChildLedger>,
}

impl ChildProvider {
    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn start(&self) -> anyhow::Result<Child> {
        let Self { directory, name, ticket_file, share, models, ledger } = self;
        network::private_directory(directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let log = self.log();
        let stderr = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = this_program()?;
        command.arg("provide").arg("--join").arg(ticket_file).arg("--directory").arg(directory);
        command.args(["--name", name, "--cpus", &share.cores.to_string()]);
        command.args(["--memory", &format!("{}B", share.memory.0), "--loopback", "--json"]);
        if let Some(ModelShape { task_memory, held }) = models {
            let own = task_memory.0.max(share.memory.0 / 2);
            command.args(["--infer", "--model-memory", &format!("{own}B")]);
            for (_, path) in held {
                command.arg("--model").arg(path);
            }
        }
        match ledger {
            None => {
                command.arg("--free");
            }
            Some(ChildLedger { url, second, book, confirmations }) => {
                command.arg("--ledger").arg(url).arg("--book").arg(book);
                if let Some(second) = second {
                    command.arg("--second-ledger").arg(second);
                }
                // It works for the one who started it.
                command.args([
                    "--confirmations",
                    &confirmations.to_string(),
                    "--max-exposure",
                    "1000000 TIDE",
                ]);
            }
        }
        command.args(["--parent-stdin", "--own-keys", "--assume-fuel-rate", &ASSUMED_FUEL_PER_S.to_string()]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true);
        command.spawn().with_context(|| format!("cannot start the provider {name}"))
    }

    /// Starts it again whenever it ends, until that is of no use or the network ends.
    async fn keep_running(
        self,
        first: Child,
        mut ending: watch::Receiver<bool>,
        failed: mpsc::Sender<String>,
    ) {
        let mut child = first;
        let (mut short_lives, mut pause) = (0, FIRST_PAUSE);
        loop {
            let begun = Instant::now();
            let Some(status) = live(&mut child, &mut ending).await else { return };
            let reason = self.obituary(&status);
            tracing::warn!("{reason}");
            if begun.elapsed() >= LONG_LIFE {
                (short_lives, pause) = (0, FIRST_PAUSE);
            }
            loop {
                short_lives += 1;
                if short_lives == MOST_SHORT_LIVES {
                    let _ = failed.try_send(reason);
                    return;
                }
                if timeout(pause, ended(&mut ending)).await.is_ok() {
                    return;
                }
                pause = (pause * 2).min(LAST_PAUSE);
                match self.start() {
                    Ok(again) => {
                        child = again;
                        break;
                    }
                    Err(error) => tracing::warn!("{error:#}"),
                }
            }
        }
    }

    /// How it ended, with its last words.
    fn obituary(&self, status: &str) -> String {
        let words = last_words(&self.log());
        let words =
            if words.is_empty() { "it said nothing".to_owned() } else { format!("it said:\n{words}") };
        format!("the provider {} ended ({status}); {words}", self.name)
    }
}

/// Waits for a child's end, and gives how it ended; `None` once the network ends and the child with it.
async fn live(child: &mut Child, ending: &mut watch::Receiver<bool>) -> Option<String> {
    // Waiting for a child closes its standard input, unless that is in other hands.
    let _lifeline = child.stdin.take();
    tokio::select! {
        status = child.wait() => return Some(describe(status)),
        () = ended(ending) => {}
    }
    ask_to_end(child);
    if timeout(DRAIN_PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    None
}

async fn ended(ending: &mut watch::Receiver<bool>) {
    // Whoever would end it is gone: that is an end too.
    let _ = ending.wait_for(|ending| *ending).await;
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Sends a child that was not waited for the signal to terminate.
fn ask_to_end(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn cores_and_memory_are_shared() {
        let share = Share::of(3, 12, Some(ByteSize(16 * GIB)), ByteSize(GIB));
        assert_eq!(share, Share { providers: 3, cores: 4, memory: ByteSize(4 * GIB) });
        let share = Share::of(3, 2, Some(ByteSize(16 * GIB)), ByteSize(GIB));
        assert_eq!((share.providers, share.cores), (3, 1), "each has a core");
    }

    #[test]
    fn there_are_fewer_providers_where_memory_does_not_go_round() {
        let share = Share::of(3, 12, Some(ByteSize(8 * GIB)), ByteSize(3 * GIB));
        assert_eq!(share, Share { providers: 2, cores: 6, memory: ByteSize(3 * GIB) });
        let share = Share::of(3, 12, Some(ByteSize(2 * GIB)), ByteSize(3 * GIB));
        assert_eq!(share, Share { providers: 1, cores: 12, memory: ByteSize(3 * GIB) }, "one tries anyway");
    }
}
