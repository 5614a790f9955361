//! Blocks that a development client may want to go back to (`evm_snapshot`, `evm_revert`). A plain structure: the
//! chain and the clocks are arguments.

use crate::clock::Clock;

/// How things were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkpoint {
    id: u64,
    /// The last block.
    pub number: u64,
    pub clock: Clock,
    /// What the wall clock said.
    pub wall: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    /// In the order of their ids, and so in that of their blocks.
    taken: Vec<Checkpoint>,
    last: u64,
}

impl Checkpoints {
    /// Remembers how things are; gives the name to come back by.
    pub(crate) fn take(&mut self, number: u64, clock: Clock, wall: u64) -> u64 {
        self.last += 1;
        self.taken.push(Checkpoint { id: self.last, number, clock, wall });
        self.last
    }

    /// What has this name, if anything has. It and all that were taken after it are forgotten: they are of a time that
    /// will not have been.
    pub(crate) fn go_back(&mut self, id: u64) -> Option<Checkpoint> {
        let at = self.taken.iter().position(|checkpoint| checkpoint.id == id)?;
        let checkpoint = self.taken[at];
        self.taken.truncate(at);
        Some(checkpoint)
    }

    /// The lowest block that a snapshot may go back to.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.taken.first().map(|checkpoint| checkpoint.number)
    }
}

#[cfg(test)]
mod tests {
    use super::Checkpoints;
    use crate::clock::Clock;

    #[test]
    fn going_back_forgets_what_came_after() {
        let mut checkpoints = Checkpoints::default();
        let mut take = |number| checkpoints.take(number, Clock::default(), 100);
        assert_eq!([take(3), take(5), take(5)], [1, 2, 3]);
        assert_eq!(checkpoints.lowest(), Some(3));
        assert_eq!(checkpoints.go_back(2).map(|checkpoint| checkpoint.number), Some(5));
        assert!(checkpoints.go_back(2).is_none() && checkpoints.go_back(3).is_none());
        assert_eq!(checkpoints.take(4, Clock::default(), 100), 4, "names are not given twice");
        assert_eq!(checkpoints.go_back(1).map(|checkpoint| checkpoint.number), Some(3));
        assert!(checkpoints.go_back(4).is_none());
        assert_eq!(checkpoints.lowest(), None);
    }
}
