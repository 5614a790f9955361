//! Events on their way to the core: bounded in number and in bytes, so that outputs that travel with results take no
//! more memory than there is room for them. Whoever has one more waits, and so does the peer that caused it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::event::Event;

/// Events that wait for the core.
const MOST_EVENTS: usize = 1024;

/// What they bring altogether, in KiB: a few dozen of the longest messages that providers send.
const MOST_KIB: u32 = 64 << 10;

/// Events that the core takes in before it places tasks and hands on what came of them.
const MOST_TAKEN: usize = 256;

/// For the same reason they bring no more than so many bytes, but for the last of them.
const MOST_TAKEN_BYTES: usize = 8 << 20;

/// Where events are put.
#[derive(Clone, Debug)]
pub struct Queue {
    events: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// Where the core takes them out.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Waiting>);

#[derive(Debug)]
struct Waiting {
    event: Event,
    /// What it takes of the room, until the core has it.
    _room: Option<OwnedSemaphorePermit>,
}

/// A queue without events.
pub fn queue() -> (Queue, Events) {
    let (sender, receiver) = mpsc::channel(MOST_EVENTS);
    (Queue { events: sender, room: Arc::new(Semaphore::new(MOST_KIB as usize)) }, Events(receiver))
}

impl Queue {
    /// Puts an event in once there is room for it. Nobody listens any more when the coordinator ends.
    pub async fn put(&self, event: Event) {
        let kib = u32::try_from(event.bytes() >> 10).unwrap_or(u32::MAX).min(MOST_KIB);
        let room = match kib {
            0 => None,
            kib => self.room.clone().acquire_many_owned(kib).await.ok(),
        };
        let _ = self.events.send(Waiting { event, _room: room }).await;
    }
}

impl Events {
    /// Waits until there are some, and takes out as many as one step of the core may have. None: there will be no more.
    /// A call that is dropped in its middle loses nothing.
    pub async fn take(&mut self) -> Option<Vec<Event>> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        let mut next = Some(self.0.recv().await?);
        while let Some(Waiting { event, .. }) = next {
            bytes += event.bytes();
            taken.push(event);
            let is_full = taken.len() >= MOST_TAKEN || bytes >= MOST_TAKEN_BYTES;
            next = if is_full { None } else { self.0.try_recv().ok() };
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use tidemill_net::wire::{FromProvider, LogBody, OutputBody, ResultBatch, TaskResult};
    use tidemill_types::{Claim, LeaseId, Outcome, Signature65, Usage};

    use super::*;
    use crate::event::SessionId;

    /// A batch of one result with so long an output.
    fn batch(len: usize) -> Event {
        let result = TaskResult {
            lease: LeaseId(1),
            seal: [0; 16],
            leaf: [0; 32],
            claim: Claim {
                outcome: Outcome::Done,
                usage: Usage::default(),
                output: None,
                hardware_class: None,
            },
            wall_us: 1,
            output: Some(OutputBody::Inline(vec![0; len])),
            log: LogBody::Whole(Vec::new()),
        };
        let batch = ResultBatch { sequence: 1, results: vec![result], signature: Signature65([0; 65]) };
        Event::FromProvider { session: SessionId(1), message: FromProvider::Results(batch) }
    }

    #[tokio::test]
    async fn a_step_has_so_many_events_and_so_many_bytes() {
        let (queue, mut events) = queue();
        for _ in 0..MOST_TAKEN + 1 {
            queue.put(Event::SessionEnded { session: SessionId(1) }).await;
        }
        for _ in 0..9 {
            queue.put(batch(3 << 20)).await;
        }
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(events.take().await.map(|events| events.len()));
        }
        // The step that takes the last of the small ones has three large ones too: with the third it is full.
        assert_eq!(taken, [Some(MOST_TAKEN), Some(1 + 3), Some(3), Some(3)]);
        drop(queue);
        assert!(events.take().await.is_none());
    }

    #[tokio::test]
    async fn who_brings_more_than_there_is_room_for_waits() {
        let (queue, mut events) = queue();
        for _ in 0..16 {
            queue.put(batch(4 << 20)).await;
        }
        let with = queue.clone();
        let more = tokio::spawn(async move { with.put(batch(4 << 20)).await });
        tokio::task::yield_now().await;
        assert!(!more.is_finished(), "the room is taken");
        queue.put(Event::SessionEnded { session: SessionId(1) }).await;
        assert_eq!(
            events.take().await.map(|events| events.len()),
            Some(2),
            "what brings nothing waits for no room"
        );
        more.await.expect("it does not panic");
    }
}
