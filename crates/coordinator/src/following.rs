//! What followed attempts write, from their providers to who follows: past the core and the store, bounded, and dropped
//! for followers that do not keep up.

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidemill_net::wire::{Answer, FollowedChunk, Reply, TaskNews, ToProvider};
use tidemill_types::{LeaseId, NodeId};

use crate::{
    clock::unix_ms,
    event::{Caller, SessionId},
    outbox::{Outboxes, Outgoing},
};

/// The follows that are under way. The core says which.
#[derive(Debug)]
pub struct Following(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of the last follow.
    last: u64,
    follows: HashMap<NonZeroU64, Follow>,
    by_lease: HashMap<LeaseId, NonZeroU64>,
}

/// An attempt that is followed.
#[derive(Debug)]
struct Follow {
    lease: LeaseId,
    /// Its provider's session.
    session: SessionId,
    callers: Vec<Caller>,
    /// What the number and the offset of its next piece are at least.
    next: (u64, u64),
}

impl Default for Following {
    /// Numbered from the time, so that no number of an earlier process comes again: a provider that has outlived that one
    /// begins a follow anew only where it has another number.
    fn default() -> Self {
        Self::after(unix_ms().saturating_mul(1000))
    }
}

impl Following {
    /// None is under way, and this was the last number.
    fn after(last: u64) -> Self {
        Self(Mutex::new(State { last, ..State::default() }))
    }

    /// Carries out [`crate::event::Effect::Follow`]: the callers are told of the attempt, and from now on of what it
    /// writes. Its provider is told when nobody followed it before.
    pub fn begin(
        &self,
        outboxes: &Outboxes,
        (session, node): (SessionId, NodeId),
        lease: LeaseId,
        callers: Vec<Caller>,
    ) {
        let mut state = self.lock();
        // Before any piece that another thread relays.
        for caller in &callers {
            tell(outboxes, caller, TaskNews::Attempt { lease, node });
        }
        let under_way = state.by_lease.get(&lease).copied();
        if let Some(number) = under_way
            && let Some(follow) = state.follows.get_mut(&number)
        {
            follow.callers.extend(callers);
            return;
        }
        state.last += 1;
        let Some(number) = NonZeroU64::new(state.last) else { return };
        state.by_lease.insert(lease, number);
        state.follows.insert(number, Follow { lease, session, callers, next: (0, 0) });
        if let Some(outbox) = outboxes.get(session) {
            outbox.put(Outgoing::ToProvider(ToProvider::Follow { lease, follow: number }));
        }
    }

    /// Carries out [`crate::event::Effect::Unfollow`]: the callers are told no more of the attempt. Its provider is told
    /// when nobody follows it any more.
    pub fn end(&self, outboxes: &Outboxes, lease: LeaseId, callers: &[Caller]) {
        let mut state = self.lock();
        let Some(number) = state.by_lease.get(&lease).copied() else { return };
        let Some(follow) = state.follows.get_mut(&number) else { return };
        follow.callers.retain(|caller| !callers.contains(caller));
        if !follow.callers.is_empty() {
            return;
        }
        let session = follow.session;
        state.follows.remove(&number);
        state.by_lease.remove(&lease);
        if let Some(outbox) = outboxes.get(session) {
            outbox.put(Outgoing::ToProvider(ToProvider::Unfollow { lease }));
        }
    }

    /// Passes on what a provider has sent. Pieces of follows that are over, or not of this session, are of no meaning.
    ///
    /// # Errors
    /// With what is wrong when pieces of a follow go back: then the provider breaks the protocol.
    pub fn relay(
        &self,
        outboxes: &Outboxes,
        session: SessionId,
        chunks: Vec<FollowedChunk>,
    ) -> Result<(), String> {
        let mut state = self.lock();
        for FollowedChunk { follow, chunk } in chunks {
            let Some(follow) = state.follows.get_mut(&follow).filter(|follow| follow.session == session)
            else {
                continue;
            };
            let (number, offset) = follow.next;
            if chunk.number < number || chunk.offset < offset {
                return Err(format!("its pieces of the output of lease {} go back", follow.lease));
            }
            follow.next = (chunk.number.saturating_add(1), chunk.end());
            for caller in &follow.callers {
                if let Some(outbox) = outboxes.get(caller.session) {
                    outbox.offer(answer(caller, TaskNews::Chunk(chunk.clone())));
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(outboxes: &Outboxes, caller: &Caller, news: TaskNews) {
    if let Some(outbox) = outboxes.get(caller.session) {
        outbox.put(answer(caller, news));
    }
}

fn answer(caller: &Caller, news: TaskNews) -> Outgoing {
    Outgoing::Answer(Box::new(Answer { id: caller.call, reply: Ok(Reply::Followed(news)) }))
}

/// How many bytes of pieces a second a provider may send, and how many at once. One of ours sends 640 KiB a second, and
/// more at once only after its link stood still.
const BYTES_PER_S: u64 = 1 << 20;
const BURST_BYTES: u64 = 4 << 20;

/// What a message of pieces counts at least: an empty one is work too.
const LEAST_BYTES: u64 = 1 << 10;

/// What a provider may still send of what its attempts write.
#[derive(Debug)]
pub struct Allowance {
    bytes: u64,
    since: Instant,
}

impl Allowance {
    /// All of it, from now on.
    pub fn new(now: Instant) -> Self {
        Self { bytes: BURST_BYTES, since: now }
    }

    /// Takes what a message costs, and gives for how long nothing more is read from its sender: no time for one that
    /// keeps to its rate.
    pub fn take(&mut self, chunks: &[FollowedChunk], now: Instant) -> Duration {
        let sent: u64 = chunks.iter().map(|followed| followed.chunk.bytes.len() as u64).sum();
        let cost = sent.max(LEAST_BYTES);
        let passed = now.saturating_duration_since(self.since).as_micros();
        let gained = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(BYTES_PER_S) / 1_000_000;
        self.bytes = self.bytes.saturating_add(gained).min(BURST_BYTES);
        let missing = cost.saturating_sub(self.bytes);
        self.bytes = self.bytes.saturating_sub(cost);
        let pause = Duration::from_micros(missing.saturating_mul(1_000_000) / BYTES_PER_S);
        // What comes in by the end of the pause is spent.
        self.since = self.since.max(now) + pause;
        pause
    }
}

#[cfg(test)]
mod tests;
