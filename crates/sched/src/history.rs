//! What tasks of earlier jobs took: a first guess at a new job's, by the program that both run.

use std::collections::BTreeMap;

use tidemill_types::BlobId;

use crate::estimate::Average;

/// What tasks of a program took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Learnt {
    /// Fuel of a task.
    pub fuel: Average,
    /// Time of a task, in µs, that its fuel does not explain.
    pub overhead: Average,
}

/// The programs that ran last.
#[derive(Debug, Default)]
pub(crate) struct History {
    programs: BTreeMap<BlobId, (Learnt, u64)>,
    /// The same by when they ran last, the longest ago first.
    by_use: BTreeMap<u64, BlobId>,
    uses: u64,
}

impl History {
    /// What is known of a program.
    pub fn get(&self, program: BlobId) -> Option<&Learnt> {
        self.programs.get(&program).map(|(learnt, _)| learnt)
    }

    /// A task of a program took so much fuel, and so much time in µs besides. Of more than `most` programs the one
    /// that has not run for longest is forgotten.
    pub fn observe(&mut self, program: BlobId, fuel: f64, overhead: f64, most: usize) {
        self.uses += 1;
        let (learnt, used) = self.programs.entry(program).or_default();
        learnt.fuel.observe(fuel);
        learnt.overhead.observe(overhead);
        self.by_use.remove(used);
        *used = self.uses;
        self.by_use.insert(self.uses, program);
        if self.programs.len() > most
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.programs.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_ran_longest_ago_is_forgotten() {
        let mut history = History::default();
        let program = |number: u8| BlobId::of(&[number]);
        for number in [1, 2, 1, 3] {
            history.observe(program(number), 10.0, 1.0, 2);
        }
        assert!(history.get(program(2)).is_none());
        assert_eq!(history.get(program(1)).and_then(|learnt| learnt.fuel.get()), Some(10.0));
    }
}
