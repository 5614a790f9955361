//! The link to one coordinator: its session, and all that is this coordinator's alone. What one of them does or fails to
//! do changes nothing in the link of another.

use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use tidemill_net::{
    endpoint::Node,
    frame::FrameError,
    recall::{Recalls, recalled},
    ticket::Ticket,
    wire::{ReturnReason, ToProvider},
};
use tidemill_types::{LeaseId, NodeId, Release, Signed};

use crate::{
    backoff::Backoff,
    capacity::Bandwidth,
    chunks::Pieces,
    event::Ending,
    key::CoordinatorIndex,
    report::Reports,
    room::Room,
    session::{OpenLink, closed, flush, hear},
    wants::Wants,
};

/// What there is of one coordinator.
pub(crate) struct Link {
    pub(crate) ticket: Ticket,
    /// The session and its connections, while there are any.
    pub(crate) open: Option<Box<OpenLink>>,
    pub(crate) away: Away,
    pub(crate) backoff: Backoff,
    pub(crate) recalls: Option<Recalls>,
    pub(crate) room: Room,
    pub(crate) wants: Wants,
    pub(crate) reports: Reports,
    /// Leases that go back with the next message.
    pub(crate) returns: Vec<(ReturnReason, Vec<LeaseId>)>,
    /// Releases to be sent.
    pub(crate) releases: Vec<Signed<Release>>,
    /// What attempts that the coordinator follows have written.
    pub(crate) pieces: Arc<Pieces>,
    /// When pieces may be sent again.
    pub(crate) next_pieces: Instant,
    pub(crate) bandwidth: Bandwidth,
    /// What the coordinator was told last.
    pub(crate) told: Told,
    /// Why it has no work for this provider, in its own words.
    pub(crate) idle_reason: Option<String>,
    /// Until when, and why, none of its leases are taken.
    pub(crate) no_room: Option<(Instant, String)>,
    /// Whether the coordinator was listened to in the last wait.
    pub(crate) reads: bool,
    /// It will not have this provider, for good.
    pub(crate) ending: Option<Ending>,
}

/// What is known of the session while there is none.
pub(crate) struct Away {
    pub(crate) dialing: bool,
    /// When to dial next.
    pub(crate) retry: Option<Instant>,
    /// When the leases that are held will be someone else's, the session being lost.
    pub(crate) forsaken: Option<Instant>,
    /// How long leases outlive a session, in the words of the last one.
    pub(crate) lease: Duration,
    /// When the last one was lost.
    pub(crate) lost: Option<Instant>,
    /// Why there is none.
    pub(crate) reason: String,
}

/// What a coordinator, or the owner on its account, was told last.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) credits: u32,
    /// How fast blobs come from it, in bytes a second; 0 while that is not known.
    pub(crate) down_bytes_per_s: u64,
    /// When the owner was told that a copy was turned away.
    pub(crate) of_copy: Option<Instant>,
}

/// What happened on a link.
pub(crate) enum Stir {
    Heard(Result<Option<ToProvider>, FrameError>),
    Flushed(Result<(), FrameError>),
    Closed(String),
    Recalled,
    Pieces,
}

impl Link {
    /// A link that is to be dialed at once. Batches of results are numbered from `first_sequence`; at most `fetches`
    /// blobs are fetched at once.
    pub(crate) fn new(
        ticket: Ticket,
        node: &Node,
        room: Room,
        fetches: usize,
        first_sequence: u64,
        now: Instant,
    ) -> Self {
        let away = Away {
            dialing: false,
            retry: Some(now),
            forsaken: None,
            lease: Duration::ZERO,
            lost: None,
            reason: "the coordinator is being dialed".to_owned(),
        };
        Self {
            recalls: node.recalls(ticket.node()),
            ticket,
            open: None,
            away,
            backoff: Backoff::default(),
            room,
            wants: Wants::new(fetches),
            reports: Reports::new(first_sequence),
            returns: Vec::new(),
            releases: Vec::new(),
            pieces: Arc::default(),
            next_pieces: now,
            bandwidth: Bandwidth::new(0),
            told: Told::default(),
            idle_reason: None,
            no_room: None,
            reads: true,
            ending: None,
        }
    }

    /// The coordinator.
    pub(crate) fn coordinator(&self) -> NodeId {
        self.ticket.node()
    }

    /// Whether nothing is left to be told. What was returned while there is no session needs no telling, but for what the
    /// coordinator is just being told that it is held.
    pub(crate) fn has_told(&self) -> bool {
        match &self.open {
            Some(open) => self.returns.is_empty() && self.releases.is_empty() && open.writer.waiting() == 0,
            None => !self.away.dialing || self.returns.is_empty(),
        }
    }

    /// Whether pieces of outputs wait, and nothing that matters more waits in its session.
    pub(crate) fn has_pieces(&self, open: &OpenLink) -> bool {
        open.writer.waiting() == 0 && !self.pieces.is_empty()
    }

    /// What happens next.
    async fn stir(&mut self) -> Stir {
        let (reader, writer, blobs) = match self.open.as_deref_mut() {
            Some(OpenLink { reader, writer, blobs, .. }) => {
                (self.reads.then_some(reader), Some(writer), Some(&*blobs))
            }
            None => (None, None, None),
        };
        tokio::select! {
            biased;
            // While it is dialed, whoever dials hears it.
            () = recalled(self.recalls.as_mut()), if !self.away.dialing => Stir::Recalled,
            heard = hear(reader) => Stir::Heard(heard),
            reason = closed(blobs) => Stir::Closed(format!("the connection for blobs ended: {reason}")),
            flushed = flush(writer) => Stir::Flushed(flushed),
            () = self.pieces.came() => Stir::Pieces,
        }
    }
}

/// What happens next on any of these links. The one whose turn it is, by `turn`, is looked at first, so that none is kept
/// from being heard by another that never stops talking.
pub(crate) async fn stirred(links: &mut [Link], turn: usize) -> (CoordinatorIndex, Stir) {
    let mut stirs: Vec<_> = links.iter_mut().map(|link| Box::pin(link.stir())).collect();
    poll_fn(|context| {
        let count = stirs.len();
        for place in (0..count).map(|at| (turn + at) % count) {
            if let Poll::Ready(stir) = stirs[place].as_mut().poll(context) {
                let index = u8::try_from(place).expect("there are few coordinators");
                return Poll::Ready((CoordinatorIndex(index), stir));
            }
        }
        Poll::Pending
    })
    .await
}
