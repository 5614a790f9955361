//! One value of the state through the recent blocks.

/// What a key held since which block. A key that was never written holds `V::default()`.
#[derive(Clone, Debug)]
pub(crate) struct Versions<V> {
    newest: (u64, V),
    /// Superseded values, oldest first; empty for most keys.
    older: Vec<(u64, V)>,
}

impl<V: Clone + Default + PartialEq> Versions<V> {
    pub(crate) fn new(height: u64, value: V) -> Versions<V> {
        Versions { newest: (height, value), older: Vec::new() }
    }

    pub(crate) fn at(&self, height: u64) -> V {
        if self.newest.0 <= height {
            return self.newest.1.clone();
        }
        let older = self.older.iter().rev().find(|(since, _)| *since <= height);
        older.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Heights only grow: a block's changes are written once, after those of its parent.
    pub(crate) fn push(&mut self, height: u64, value: V) {
        let former = std::mem::replace(&mut self.newest, (height, value));
        if former.0 < height {
            self.older.push(former);
        }
    }

    /// Forgets what was written above `height`. Says whether nothing is left to remember.
    pub(crate) fn cut(&mut self, height: u64) -> bool {
        while self.newest.0 > height {
            match self.older.pop() {
                Some(former) => self.newest = former,
                None => return true,
            }
        }
        false
    }

    /// Forgets what no view at `floor` or above can see. Says whether nothing is left to remember.
    pub(crate) fn prune(&mut self, floor: u64) -> bool {
        if self.newest.0 <= floor {
            self.older = Vec::new();
            return self.newest.1 == V::default();
        }
        let needed = self.older.iter().rposition(|(since, _)| *since <= floor);
        if let Some(first) = needed {
            self.older.drain(..first);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::Versions;

    #[test]
    fn a_view_sees_the_last_write_at_or_below_it() {
        let mut versions = Versions::new(3, 30u64);
        versions.push(5, 50);
        versions.push(9, 0);
        let seen = |versions: &Versions<u64>| (2..=10).map(|height| versions.at(height)).collect::<Vec<_>>();
        assert_eq!(seen(&versions), [0, 30, 30, 50, 50, 50, 50, 0, 0]);
        let mut short = versions.clone();
        assert!(!short.cut(8) && short.newest == (5, 50));
        assert!(!short.cut(3) && short.newest == (3, 30));
        short.push(4, 40);
        assert_eq!(seen(&short)[..4], [0, 30, 40, 40]);
        assert!(short.cut(2), "it was not there yet");
        assert!(!versions.prune(6));
        assert_eq!(seen(&versions)[4..], [50, 50, 50, 0, 0]);
        assert!(versions.prune(9), "nothing but the default is left");
    }
}
