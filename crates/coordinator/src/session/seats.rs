//! Which process of each provider has its session. A second process with the same key is let in only once the first is
//! known to be gone.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tidemill_net::wire::Incarnation;
use tidemill_types::NodeId;

use crate::event::SessionId;

/// The seats of all providers that are here.
#[derive(Debug)]
pub struct Seats<C>(Mutex<HashMap<NodeId, Seat<C>>>);

/// Who has a provider's session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seat<C> {
    /// The session.
    pub session: SessionId,
    /// The process.
    pub incarnation: Incarnation,
    /// What that process is reached by.
    pub connection: C,
}

impl<C: Clone> Seats<C> {
    /// Gives a provider's seat to a process: when it is free, when its holder is the same process or one that must have
    /// ended, or when the holder's session is the one that was found `dead`.
    ///
    /// # Errors
    /// The holder, of which it is not known whether it lives.
    pub fn take(&self, node: NodeId, seat: Seat<C>, dead: Option<SessionId>) -> Result<(), Seat<C>> {
        let mut seats = self.lock();
        if let Some(holder) = seats.get(&node)
            && !seat.incarnation.succeeds(&holder.incarnation)
            && dead != Some(holder.session)
        {
            return Err(holder.clone());
        }
        seats.insert(node, seat);
        Ok(())
    }

    /// A session is over. Its seat is free, unless another session has it by now.
    pub fn leave(&self, node: NodeId, session: SessionId) {
        let mut seats = self.lock();
        if seats.get(&node).is_some_and(|holder| holder.session == session) {
            seats.remove(&node);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Seat<C>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Default for Seats<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    /// The session with this number, of a process in a place.
    fn seat(session: u64, process: u8, place: u8) -> Seat<()> {
        let incarnation = Incarnation { process: [process; 16], place: [place; 16] };
        Seat { session: SessionId(session), incarnation, connection: () }
    }

    #[test]
    fn a_process_that_comes_back_has_its_seat_at_once() {
        let seats = Seats::default();
        assert_eq!(seats.take(NODE, seat(1, 1, 1), None), Ok(()));
        assert_eq!(seats.take(NODE, seat(2, 1, 1), None), Ok(()), "its connection was lost");
        assert_eq!(seats.take(NODE, seat(3, 2, 1), None), Ok(()), "it was killed and started again");
        assert_eq!(seats.take(NodeId([2; 32]), seat(4, 9, 9), None), Ok(()), "another provider");
    }

    #[test]
    fn a_copy_has_the_seat_once_its_holder_is_dead_or_gone() {
        let seats = Seats::default();
        assert_eq!(seats.take(NODE, seat(1, 1, 1), None), Ok(()));
        let copy = seat(2, 2, 2);
        assert_eq!(seats.take(NODE, copy.clone(), None), Err(seat(1, 1, 1)));
        // While it was looked whether session 1 lives, its process came back with another one.
        assert_eq!(seats.take(NODE, seat(3, 1, 1), None), Ok(()));
        assert_eq!(seats.take(NODE, copy.clone(), Some(SessionId(1))), Err(seat(3, 1, 1)));
        assert_eq!(seats.take(NODE, copy.clone(), Some(SessionId(3))), Ok(()));
        // Who had it before does not take it along.
        seats.leave(NODE, SessionId(3));
        assert_eq!(seats.take(NODE, seat(4, 1, 1), None), Err(copy));
        seats.leave(NODE, SessionId(2));
        assert_eq!(seats.take(NODE, seat(4, 1, 1), None), Ok(()));
    }
}
