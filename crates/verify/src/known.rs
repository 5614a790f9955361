//! Tasks whose answer is certain, to be asked of somebody as if it were not.

use std::collections::VecDeque;

use tidemill_types::TaskNumber;

/// So many are kept of a job, the newest.
const MOST: usize = 16;

/// Tasks of one job whose answer is known, with what is known of each.
///
/// A provider that is given one cannot tell it from any other task of the job: it is one. Each is asked once more and then
/// forgotten, so that who has been asked cannot tell many others of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownAnswers<T> {
    tasks: VecDeque<(TaskNumber, T)>,
}

impl<T> Default for KnownAnswers<T> {
    fn default() -> Self {
        Self { tasks: VecDeque::new() }
    }
}

impl<T> KnownAnswers<T> {
    /// The answer to a task is certain. Where many are, the oldest is forgotten.
    pub fn add(&mut self, task: TaskNumber, known: T) {
        if self.tasks.len() == MOST {
            self.tasks.pop_front();
        }
        self.tasks.push_back((task, known));
    }

    /// A task is not done any more.
    pub fn forget(&mut self, task: TaskNumber) {
        self.tasks.retain(|(other, _)| *other != task);
    }

    /// Forgets all but these tasks.
    pub fn retain(&mut self, stays: impl Fn(TaskNumber) -> bool) {
        self.tasks.retain(|(task, _)| stays(*task));
    }

    /// Whether there is one that somebody may be tried with.
    pub fn has(&self, fits: impl Fn(&T) -> bool) -> bool {
        self.tasks.iter().any(|(_, known)| fits(known))
    }

    /// The oldest that somebody may be tried with.
    pub fn take(&mut self, fits: impl Fn(&T) -> bool) -> Option<(TaskNumber, T)> {
        let at = self.tasks.iter().position(|(_, known)| fits(known))?;
        self.tasks.remove(at)
    }
}
