//! The one task that owns all state: it hears the coordinator and the threads, decides, and speaks.

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
    frame::FrameError,
    recall::{Recalls, recalled},
    ticket::Ticket,
    wire::{Incarnation, ReturnReason, TaskResult, ToProvider},
};
use tidemill_types::{BlobId, LeaseId, Offer, ResultKey};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    capacity::Bandwidth,
    chunks::Pieces,
    event::{Ending, Event},
    idle::Idle,
    inputs::InputError,
    queue::{self, Queue},
    report::Reports,
    room::{Fetched, Room},
    run::{Ended, LentEngine, Parties, Runners},
    session::{Link, LinkError, closed, flush, hear},
    wants::Wants,
};

use self::pay::PayDone;
pub(crate) use self::pay::Purse;

/// Attempts handed to the threads ahead of time, for each slot: a thread that ends a task of 50 µs finds the next one
/// without waiting for this task.
const AHEAD_PER_SLOT: usize = 4;

/// Blobs that are fetched at once.
const FETCHES: usize = 8;

/// Inputs stay pinned for so long after their last lease, since the next is often of the same job.
const KEEP_UNUSED: Duration = Duration::from_secs(60);

/// How often it is looked which those are.
const SWEEP: Duration = Duration::from_secs(20);

/// While leases of more than so many bytes wait and something runs, nothing more is read from the coordinator.
const MOST_LEASE_BYTES: usize = 64 << 20;

/// While results of more than so many bytes are not settled, nothing more is started: a coordinator whose disk is slow is
/// waited for.
const MOST_RESULT_BYTES: usize = 64 << 20;

/// Ends of attempts that are taken in at once.
const MOST_ENDS: usize = 256;

/// After the room for blobs ran out, no leases are taken for so long.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(10);

/// How often what followed attempts have written is sent: at most 640 KiB a second for all of them.
const PIECES_EVERY: Duration = Duration::from_millis(100);

/// How long cancelled tasks are waited for at the end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Who it is, whom it joins, and what it says of itself.
pub(crate) struct Setting {
    pub(crate) node: Node,
    pub(crate) key: Arc<ResultKey>,
    pub(crate) ticket: Ticket,
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
    room: Room,
    /// None where it is not set up to be paid.
    pay: Option<Purse>,
    events: broadcast::Sender<Event>,
    runners: Runners,
    ended: mpsc::Receiver<Ended>,
    /// Dialing, fetching, keeping outputs.
    chores: JoinSet<Done>,
    /// What attempts that are followed have written.
    pieces: Arc<Pieces>,
    /// When pieces may be sent again.
    next_pieces: Instant,
    queue: Queue,
    wants: Wants,
    reports: Reports,
    /// Leases that go back with the next message.
    returns: Vec<(ReturnReason, Vec<LeaseId>)>,
    bandwidth: Bandwidth,
    idle: Idle,
    backoff: Backoff,
    link: LinkState,
    recalls: Option<Recalls>,
    draining: bool,
    /// Until when, and why, no leases are taken.
    no_room: Option<(Instant, String)>,
    /// The credits that the coordinator was told of last.
    told_credits: u32,
    /// When its owner was told last that a copy was turned away.
    told_of_copy: Option<Instant>,
    /// Whether the coordinator was listened to in the last wait.
    reads: bool,
    next_sweep: Instant,
    done: u64,
}

/// What is known of the session while there is none.
struct LinkState {
    dialing: bool,
    /// When to dial next.
    retry: Option<Instant>,
    /// When the leases that are held will be someone else's, the session being lost.
    forsaken: Option<Instant>,
    /// How long leases outlive a session, in the words of the last one.
    lease: Duration,
    /// When the last one was lost.
    lost: Option<Instant>,
    /// Why there is none.
    reason: String,
}

/// A chore that is done.
enum Done {
    Dialed(Result<Box<Link>, LinkError>),
    Fetched { blob: tidemill_job::BlobRef, result: Result<Fetched, FetchError>, broken: bool },
    Kept { result: Box<TaskResult>, kept: Result<(), BlobError> },
    Forgotten,
    Rechecked { lease: LeaseId, error: InputError, damaged: Vec<BlobId> },
    Pay(PayDone),
}

/// What woke the owner.
enum Wake {
    Stop,
    Drain,
    Ended,
    Heard(Result<Option<ToProvider>, FrameError>),
    Flushed(Result<(), FrameError>),
    Chore(Done),
    Closed(String),
    Recalled,
    Time,
}

impl Owner {
    pub(crate) fn new(
        mut setting: Setting,
        room: Room,
        executors: Vec<Arc<dyn Executor>>,
        events: broadcast::Sender<Event>,
        orders: Orders,
    ) -> io::Result<Self> {
        let engines = &setting.offer.engines;
        let starts = |slots: u32| slots as usize * (1 + AHEAD_PER_SLOT);
        let rooms = engines
            .iter()
            .map(|engine| queue::Room { starts: starts(engine.slots), memory: engine.memory.0 });
        let queue = Queue::new(rooms);
        let lent = engines.iter().zip(executors).map(|(engine, executor)| LentEngine {
            executor,
            slots: engine.slots,
            hardware_class: engine.hardware_class.clone(),
        });
        let lent: Vec<LentEngine> = lent.collect();
        let parties = Arc::new(Parties { coordinator: setting.ticket.node(), provider: setting.node.id() });
        // Each attempt that was started ends once, so a thread never waits here.
        let (sender, ended) = mpsc::channel(starts(setting.offer.slots()));
        let pieces = Arc::default();
        let runners = Runners::new(&lent, &parties, &sender, &pieces)?;
        let now = Instant::now();
        let link = LinkState {
            dialing: false,
            retry: Some(now),
            forsaken: None,
            lease: Duration::ZERO,
            lost: None,
            reason: "the coordinator is being dialed".to_owned(),
        };
        Ok(Self {
            room,
            pay: setting.pay.take(),
            events,
            runners,
            ended,
            chores: JoinSet::new(),
            pieces,
            next_pieces: now,
            queue,
            wants: Wants::new(FETCHES),
            reports: Reports::new(first_sequence()),
            returns: Vec::new(),
            bandwidth: Bandwidth::new(setting.offer.down_bytes_per_s),
            idle: Idle::new(setting.idle_report, now),
            backoff: Backoff::default(),
            link,
            recalls: setting.node.recalls(),
            draining: false,
            no_room: None,
            told_credits: 0,
            told_of_copy: None,
            reads: true,
            next_sweep: now + SWEEP,
            done: 0,
            orders,
            setting,
        })
    }

    /// Works until the end.
    pub(crate) async fn run(mut self) -> Ending {
        let mut link: Option<Box<Link>> = None;
        let mut ends = Vec::with_capacity(MOST_ENDS);
        loop {
            if let Some(ending) = self.act(&mut link) {
                return self.end(ending, link).await;
            }
            match self.wake(&mut link, &mut ends).await {
                Wake::Stop => return self.end(Ending::Stopped, link).await,
                Wake::Drain => self.begin_to_drain(),
                Wake::Ended => {
                    for ended in ends.drain(..) {
                        self.attempt_ended(ended);
                    }
                }
                Wake::Heard(heard) => self.heard(heard, &mut link),
                Wake::Flushed(Ok(())) => {}
                Wake::Flushed(Err(error)) => self.lost(&mut link, crate::session::words(&error)),
                Wake::Closed(reason) => self.lost(&mut link, reason),
                Wake::Recalled => self.recalled(&mut link),
                Wake::Chore(done) => {
                    if let Some(ending) = self.chore_done(done, &mut link) {
                        return self.end(ending, link).await;
                    }
                }
                Wake::Time => {}
            }
        }
    }

    async fn wake(&mut self, link: &mut Option<Box<Link>>, ends: &mut Vec<Ended>) -> Wake {
        let deadline = self.deadline(link.as_deref());
        let may_read = self.may_read();
        self.reads = may_read;
        let (reader, writer, blobs) = match link.as_deref_mut() {
            Some(Link { reader, writer, blobs, .. }) => {
                (may_read.then_some(reader), Some(writer), Some(&*blobs))
            }
            None => (None, None, None),
        };
        tokio::select! {
            biased;
            () = self.orders.stop.cancelled() => Wake::Stop,
            () = self.orders.drain.cancelled(), if !self.draining => Wake::Drain,
            _ = self.ended.recv_many(ends, MOST_ENDS) => Wake::Ended,
            // While it is dialed, whoever dials hears it.
            () = recalled(self.recalls.as_mut()), if !self.link.dialing => Wake::Recalled,
            heard = hear(reader) => Wake::Heard(heard),
            // Before the chores, or fetches that fail over it would be begun again over it.
            reason = closed(blobs) => Wake::Closed(format!("the connection for blobs ended: {reason}")),
            Some(done) = self.chores.join_next() => match done {
                Ok(done) => Wake::Chore(done),
                // None is aborted before the end.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            flushed = flush(writer) => Wake::Flushed(flushed),
            () = self.pieces.came() => Wake::Time,
            () = sleep_until(deadline.into()) => Wake::Time,
        }
    }

    /// Whether to read on. Not while many bytes of leases wait; but when nothing runs, what would make room again may
    /// be among what has not been read.
    fn may_read(&self) -> bool {
        self.queue.bytes() < MOST_LEASE_BYTES || self.queue.running() == 0
    }

    fn say(&self, event: Event) {
        // An error is that nobody listens.
        let _ = self.events.send(event);
    }

    /// Ends what runs and the session.
    async fn end(mut self, ending: Ending, link: Option<Box<Link>>) -> Ending {
        for attempt in self.queue.attempts() {
            attempt.cancel.cancel();
        }
        for lease in self.runners.withdraw() {
            self.queue.not_begun(lease);
        }
        let (node, room) = (self.setting.node.clone(), self.room.clone());
        if let Some(link) = link {
            link.farewell().await;
        }
        self.save_the_rest().await;
        self.chores.shutdown().await;
        let _ = timeout(END_PATIENCE, async {
            while self.queue.running() > 0 {
                let Some(ended) = self.ended.recv().await else { return };
                if let crate::run::Ran::Result(_, Some(output)) = ended.result
                    && let tidemill_exec::OutputBody::File(path) = output.body
                {
                    let _ = tokio::fs::remove_file(path).await;
                }
                self.queue.ran(ended.lease);
            }
        })
        .await;
        drop(room);
        node.close().await;
        if ending == Ending::Drained {
            self.say(Event::Drained);
        }
        ending
    }

    /// Lets the output of a result go.
    fn forget_output(&mut self, lease: LeaseId, output: Option<BlobId>) {
        let Some(output) = output else { return };
        let room = self.room.clone();
        self.chores.spawn(async move {
            room.forget(lease, output).await;
            Done::Forgotten
        });
    }
}

/// Batches are numbered from the time in microseconds, so that the numbers go on rising when the program is started
/// anew, without a file to keep them in.
fn first_sequence() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(1)
}
