//! The one task that owns all state: it hears the coordinators and the threads, decides, and speaks.

mod act;
mod leases;
mod link;
mod pay;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidemill_exec::Executor;
use tidemill_net::{
    blobs::{BlobError, FetchError},
    endpoint::Node,
    ticket::Ticket,
    wire::{Incarnation, TaskResult},
};
use tidemill_types::{BlobId, LeaseId, Offer, ResultKey};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    chunks::Pieces,
    credits::Credits,
    event::{Ending, Event, Notice},
    idle::Idle,
    inputs::InputError,
    key::{CoordinatorIndex, LeaseKey},
    link::{Link, Stir, stirred},
    queue::{self, Queue},
    room::{Fetched, Room},
    run::{Ended, LentEngine, Parties, Runners},
    session::{LinkError, OpenLink},
};

use self::pay::PayDone;
pub(crate) use self::pay::Purse;

/// Attempts handed to the threads ahead of time, for each slot: a thread that ends a task of 50 µs finds the next one
/// without waiting for this task.
const AHEAD_PER_SLOT: usize = 4;

/// Blobs that are fetched at once, from all coordinators together.
const FETCHES: usize = 8;

/// Inputs stay pinned for so long after their last lease, since the next is often of the same job.
const KEEP_UNUSED: Duration = Duration::from_secs(60);

/// How often it is looked which those are.
const SWEEP: Duration = Duration::from_secs(20);

/// While leases of more than so many bytes wait and something runs, nothing more is read. Each coordinator has a part.
const MOST_LEASE_BYTES: usize = 64 << 20;

/// While results of more than so many bytes are not settled, nothing more is started: a coordinator whose disk is slow is
/// waited for. Each coordinator has a part.
const MOST_RESULT_BYTES: usize = 64 << 20;

/// Ends of attempts that are taken in at once.
const MOST_ENDS: usize = 256;

/// A chore that is done comes first once in so many times: the blobs of one coordinator do not wait until another one
/// stops talking.
const MOST_STIRS: u32 = 64;

/// After the room for blobs ran out, no leases are taken for so long.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(10);

/// How often what followed attempts have written is sent: at most 640 KiB a second to a coordinator.
const PIECES_EVERY: Duration = Duration::from_millis(100);

/// How long cancelled tasks are waited for at the end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Who it is, which coordinators it joins, and what it says of itself.
pub(crate) struct Setting {
    pub(crate) node: Node,
    pub(crate) key: Arc<ResultKey>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) offer: Offer,
    pub(crate) credits: u32,
    pub(crate) incarnation: Incarnation,
    pub(crate) idle_report: Duration,
    pub(crate) pay: Option<Purse>,
}

/// What the handle asks for.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) drain: CancellationToken,
    pub(crate) stop: CancellationToken,
}

pub(crate) struct Owner {
    setting: Setting,
    orders: Orders,
    machine: Machine,
    /// The coordinators, by their indices.
    links: Vec<Link>,
    /// How many leases each of them may give.
    credits: Credits,
    /// None where it is not set up to be paid.
    pay: Option<Purse>,
    events: broadcast::Sender<Notice>,
    /// Dialing, fetching, keeping outputs.
    chores: JoinSet<Done>,
    idle: Idle,
    draining: bool,
    next_sweep: Instant,
    /// Whose link is looked at first.
    turn: usize,
    /// How often it was woken since a chore was last looked for first.
    stirs: u32,
}

/// What is lent, to all coordinators together.
struct Machine {
    queue: Queue,
    runners: Runners,
    ended: mpsc::Receiver<Ended>,
    /// Results since the start.
    done: u64,
}

/// A chore that is done.
enum Done {
    Dialed {
        by: CoordinatorIndex,
        dialed: Result<Box<OpenLink>, LinkError>,
    },
    Fetched {
        of: CoordinatorIndex,
        blob: tidemill_job::BlobRef,
        fetched: Result<Fetched, FetchError>,
        broken: bool,
    },
    Kept {
        lease: LeaseKey,
        result: Box<TaskResult>,
        kept: Result<(), BlobError>,
    },
    Forgotten,
    Rechecked {
        lease: LeaseKey,
        error: InputError,
        damaged: Vec<BlobId>,
    },
    Pay(PayDone),
}

/// What woke the owner.
enum Wake {
    Stop,
    Drain,
    Ended,
    Stirred(CoordinatorIndex, Stir),
    Chore(Done),
    Time,
}

impl Machine {
    fn new(setting: &Setting, executors: Vec<Arc<dyn Executor>>, links: &[Link]) -> io::Result<Self> {
        let engines = &setting.offer.engines;
        let starts = |slots: u32| slots as usize * (1 + AHEAD_PER_SLOT);
        let rooms = engines.iter().map(|engine| queue::Room {
            starts: starts(engine.slots),
            memory: engine.memory.0,
            is_shared: engine.kind.shares_memory(),
        });
        let queue = Queue::new(setting.tickets.len(), rooms);
        let lent = engines.iter().zip(executors).map(|(engine, executor)| LentEngine {
            executor,
            slots: engine.slots,
            hardware_class: engine.hardware_class.clone(),
        });
        let lent: Vec<LentEngine> = lent.collect();
        let coordinators = setting.tickets.iter().map(Ticket::node).collect();
        let parties = Arc::new(Parties { coordinators, provider: setting.node.id() });
        // Each attempt that was started ends once, so a thread never waits here.
        let (sender, ended) = mpsc::channel(starts(setting.offer.slots()));
        let pieces: Vec<Arc<Pieces>> = links.iter().map(|link| link.pieces.clone()).collect();
        let runners = Runners::new(&lent, &parties, &sender, &pieces)?;
        Ok(Self { queue, runners, ended, done: 0 })
    }
}

impl Owner {
    pub(crate) fn new(
        mut setting: Setting,
        room: &Room,
        executors: Vec<Arc<dyn Executor>>,
        events: broadcast::Sender<Notice>,
        orders: Orders,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let coordinators = setting.tickets.len();
        let fetches = (FETCHES / coordinators).max(1);
        let tickets = CoordinatorIndex::first(coordinators).zip(&setting.tickets);
        let link = |(index, ticket): (CoordinatorIndex, &Ticket)| {
            let room = room.beside(index);
            Link::new(ticket.clone(), &setting.node, room, fetches, first_sequence(), now)
        };
        let links: Vec<Link> = tickets.map(link).collect();
        Ok(Self {
            machine: Machine::new(&setting, executors, &links)?,
            links,
            credits: Credits::new(setting.credits, setting.offer.slots(), coordinators),
            pay: setting.pay.take(),
            events,
            chores: JoinSet::new(),
            idle: Idle::new(setting.idle_report, now),
            draining: false,
            next_sweep: now + SWEEP,
            turn: 0,
            stirs: 0,
            orders,
            setting,
        })
    }

    /// Works until the end.
    pub(crate) async fn run(mut self) -> Ending {
        let mut ends = Vec::with_capacity(MOST_ENDS);
        loop {
            if let Some(ending) = self.act() {
                return self.end(ending).await;
            }
            match self.wake(&mut ends).await {
                Wake::Stop => return self.end(Ending::Stopped).await,
                Wake::Drain => self.begin_to_drain(),
                Wake::Ended => {
                    for ended in ends.drain(..) {
                        self.attempt_ended(ended);
                    }
                }
                Wake::Stirred(of, stir) => self.stirred(of, stir),
                Wake::Chore(done) => {
                    if let Some(ending) = self.chore_done(done) {
                        return self.end(ending).await;
                    }
                }
                Wake::Time => {}
            }
        }
    }

    async fn wake(&mut self, ends: &mut Vec<Ended>) -> Wake {
        let deadline = self.deadline();
        for of in self.everyone() {
            self.links[of.place()].reads = self.may_read(of);
        }
        self.turn = (self.turn + 1) % self.links.len();
        self.stirs += 1;
        if self.stirs >= MOST_STIRS {
            self.stirs = 0;
            if let Some(done) = self.chores.try_join_next() {
                return Wake::Chore(unwound(done));
            }
        }
        tokio::select! {
            biased;
            () = self.orders.stop.cancelled() => Wake::Stop,
            () = self.orders.drain.cancelled(), if !self.draining => Wake::Drain,
            _ = self.machine.ended.recv_many(ends, MOST_ENDS) => Wake::Ended,
            // Before the chores, or fetches that fail over a lost connection would be begun again over it.
            (of, stir) = stirred(&mut self.links, self.turn) => Wake::Stirred(of, stir),
            Some(done) = self.chores.join_next() => Wake::Chore(unwound(done)),
            () = sleep_until(deadline.into()) => Wake::Time,
        }
    }

    /// All coordinators.
    fn everyone(&self) -> impl Iterator<Item = CoordinatorIndex> + use<> {
        CoordinatorIndex::first(self.links.len())
    }

    /// Whether to read on. Not while many bytes of a coordinator's leases wait; but when none of them runs, what would make
    /// room again may be among what has not been read.
    fn may_read(&self, of: CoordinatorIndex) -> bool {
        let queue = &self.machine.queue;
        queue.bytes_of(of) < MOST_LEASE_BYTES / self.links.len()
            || queue.running_each_of(of).sum::<usize>() == 0
    }

    /// Tells what happened to the machine.
    fn say(&self, event: Event) {
        self.notify(None, event);
    }

    /// Tells what happened with a coordinator.
    fn say_of(&self, of: CoordinatorIndex, event: Event) {
        self.notify(Some(of), event);
    }

    fn notify(&self, of: Option<CoordinatorIndex>, event: Event) {
        let coordinator = of.map(|of| self.links[of.place()].coordinator());
        // An error is that nobody listens.
        let _ = self.events.send(Notice { coordinator, event });
    }

    /// Ends what runs and the sessions.
    async fn end(mut self, ending: Ending) -> Ending {
        for attempt in self.machine.queue.attempts() {
            attempt.cancel.cancel();
        }
        let mut farewells = JoinSet::new();
        for of in self.everyone() {
            self.take_back(of);
            if let Some(open) = self.links[of.place()].open.take() {
                farewells.spawn(open.farewell());
            }
        }
        farewells.join_all().await;
        self.save_the_rest().await;
        self.chores.shutdown().await;
        let _ = timeout(END_PATIENCE, async {
            while self.machine.queue.running() > 0 {
                let Some(ended) = self.machine.ended.recv().await else { return };
                if let crate::run::Ran::Result(_, Some(output)) = ended.result
                    && let tidemill_exec::OutputBody::File(path) = output.body
                {
                    let _ = tokio::fs::remove_file(path).await;
                }
                self.machine.queue.ran(ended.lease);
            }
        })
        .await;
        self.setting.node.close().await;
        if ending == Ending::Drained {
            self.say(Event::Drained);
        }
        ending
    }

    /// Takes back from the threads what they have not begun of a coordinator's.
    fn take_back(&mut self, of: CoordinatorIndex) {
        for lease in self.machine.runners.withdraw(of) {
            self.machine.queue.not_begun(lease);
        }
    }

    /// Lets the output of a result go.
    fn forget_output(&mut self, of: CoordinatorIndex, lease: LeaseId, output: Option<BlobId>) {
        let Some(output) = output else { return };
        let room = self.links[of.place()].room.clone();
        self.chores.spawn(async move {
            room.forget(lease, output).await;
            Done::Forgotten
        });
    }
}

/// What a chore came to.
fn unwound(done: Result<Done, tokio::task::JoinError>) -> Done {
    match done {
        Ok(done) => done,
        // None is aborted before the end.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Batches are numbered from the time in microseconds, so that the numbers go on rising when the program is started
/// anew, without a file to keep them in.
fn first_sequence() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(1)
}
