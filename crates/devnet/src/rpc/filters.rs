//! Filters that clients poll. A plain structure: the chain and the clock are arguments.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use alloy::primitives::U256;
use alloy::rpc::types::Filter;

use crate::shared::Cursor;

/// As other nodes: a client that has not asked for so long is gone.
const LIFETIME: Duration = Duration::from_secs(300);

/// What a filter looks for, and where it goes on.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Logs of the blocks that were not read yet.
    Logs { filter: Box<Filter>, cursor: Cursor },
    /// Blocks that were not read yet.
    Blocks { cursor: Cursor },
    /// Transactions after so many.
    Pending { seen: u64 },
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    used: Instant,
}

/// The filters of all clients: HTTP has no connections to count them by.
#[derive(Debug)]
pub(super) struct Filters {
    limit: usize,
    entries: HashMap<U256, Entry>,
}

impl Filters {
    pub(super) fn new(limit: usize) -> Filters {
        Filters { limit, entries: HashMap::new() }
    }

    /// Adds a filter; none if there are too many. `id` must be drawn: who guesses it reads along.
    pub(super) fn add(&mut self, id: U256, kind: Kind, now: Instant) -> Option<U256> {
        if self.entries.len() >= self.limit {
            self.entries.retain(|_, entry| now.saturating_duration_since(entry.used) < LIFETIME);
        }
        if self.entries.len() >= self.limit {
            return None;
        }
        self.entries.insert(id, Entry { kind, used: now });
        Some(id)
    }

    pub(super) fn get(&mut self, id: &U256, now: Instant) -> Option<&mut Kind> {
        let entry = self.entries.get_mut(id)?;
        if now.saturating_duration_since(entry.used) >= LIFETIME {
            self.entries.remove(id);
            return None;
        }
        let entry = self.entries.get_mut(id)?;
        entry.used = now;
        Some(&mut entry.kind)
    }

    pub(super) fn remove(&mut self, id: &U256) -> bool {
        self.entries.remove(id).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_bounded_and_go_when_nobody_asks() {
        let mut filters = Filters::new(2);
        let begin = Instant::now();
        let ids = [U256::from(1), U256::from(2), U256::from(3)];
        assert!(filters.add(ids[0], Kind::Blocks { cursor: Cursor::default() }, begin).is_some());
        assert!(filters.add(ids[1], Kind::Blocks { cursor: Cursor::default() }, begin).is_some());
        assert!(
            filters.add(ids[2], Kind::Blocks { cursor: Cursor::default() }, begin).is_none(),
            "no third one"
        );
        let later = begin + LIFETIME / 2;
        assert!(filters.get(&ids[0], later).is_some());
        let end = begin + LIFETIME;
        assert!(filters.get(&ids[1], end).is_none(), "nobody asked for it");
        assert!(filters.add(ids[2], Kind::Blocks { cursor: Cursor::default() }, end).is_some());
        assert!(filters.get(&ids[0], end).is_some() && filters.remove(&ids[0]) && !filters.remove(&ids[0]));
    }
}
