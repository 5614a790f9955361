//! Results that wait for checks of earlier ones.

use std::collections::BTreeMap;

use tidemill_types::TaskNumber;

/// The results of one operator in one job, in the order in which they came, as far as checks of them are open: while one is,
/// nothing that came after it is accepted on the operator's word.
///
/// So what a liar gets accepted before it is caught does not grow with how many results it gives while a check takes its
/// time. `T`: what is noted of each that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Turns<T> {
    next: u64,
    /// Those that a check was drawn for, and that have no verdict.
    drawn: BTreeMap<u64, TaskNumber>,
    /// Those that wait for such a check.
    held: BTreeMap<u64, (TaskNumber, T)>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { next: 0, drawn: BTreeMap::new(), held: BTreeMap::new() }
    }
}

impl<T: Copy> Turns<T> {
    /// A check is drawn for a result of this task. Its turn.
    pub fn draw(&mut self, task: TaskNumber) -> u64 {
        let turn = self.turn();
        self.drawn.insert(turn, task);
        turn
    }

    /// A result of this task, which would be accepted, waits if a check is open. Its turn then.
    pub fn hold(&mut self, task: TaskNumber, note: T) -> Option<u64> {
        if self.drawn.is_empty() {
            return None;
        }
        let turn = self.turn();
        self.held.insert(turn, (task, note));
        Some(turn)
    }

    /// A result has a verdict, or is of no use any more.
    pub fn end(&mut self, turn: u64) {
        self.drawn.remove(&turn);
        self.held.remove(&turn);
    }

    /// A result that waits is checked itself: others wait for it now.
    pub fn check(&mut self, turn: u64) {
        if let Some((task, _)) = self.held.remove(&turn) {
            self.drawn.insert(turn, task);
        }
    }

    /// The first that waits for no check any more: all that were drawn before it are in.
    pub fn first_free(&self) -> Option<TaskNumber> {
        let (turn, (task, _)) = self.held.first_key_value()?;
        let is_free = self.drawn.first_key_value().is_none_or(|(first, _)| first > turn);
        is_free.then_some(*task)
    }

    /// The one that has waited longest, with what is noted of it.
    pub fn first_held(&self) -> Option<(TaskNumber, T)> {
        self.held.values().next().copied()
    }

    /// The tasks with an open check.
    pub fn drawn(&self) -> impl ExactSizeIterator<Item = TaskNumber> {
        self.drawn.values().copied()
    }

    /// The tasks whose results wait.
    pub fn held(&self) -> impl ExactSizeIterator<Item = TaskNumber> {
        self.held.values().map(|(task, _)| *task)
    }

    /// Whether nothing waits and no check is open.
    pub fn is_empty(&self) -> bool {
        self.drawn.is_empty() && self.held.is_empty()
    }

    fn turn(&mut self) -> u64 {
        let turn = self.next;
        self.next += 1;
        turn
    }
}
