//! Results that wait to be checked by somebody else.

use std::collections::{BTreeMap, VecDeque};

use tidemill_types::{Address, TaskNumber};

/// How many of the first that wait are looked at for one that an operator may be given.
const LOOKS: usize = 64;

/// Tasks of one job that more results are wanted of, each of an operator that gave none yet.
///
/// Whoever is to be given any task of the job may be given one of these instead: so a check looks like any other task,
/// and goes wherever tasks go.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Checks {
    waiting: VecDeque<TaskNumber>,
    wanted: BTreeMap<TaskNumber, Wanted>,
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Wanted {
    more: u32,
    exclude: Vec<Address>,
}

impl Checks {
    /// Wants so many more results of a task, of operators that are not these.
    pub fn ask(&mut self, task: TaskNumber, more: u32, exclude: &[Address]) {
        if more == 0 {
            return;
        }
        let wanted = self.wanted.entry(task).or_default();
        for _ in 0..more {
            self.waiting.push_back(task);
        }
        wanted.more += more;
        for operator in exclude {
            if !wanted.exclude.contains(operator) {
                wanted.exclude.push(*operator);
            }
        }
    }

    /// The next task that this operator may be given, who is excluded from it then. Only the first of many are looked at.
    pub fn take_for(&mut self, operator: Address) -> Option<TaskNumber> {
        let fits = |task: &TaskNumber| {
            !self.wanted.get(task).is_some_and(|wanted| wanted.exclude.contains(&operator))
        };
        let at = self.waiting.iter().take(LOOKS).position(fits)?;
        let task = self.waiting.remove(at)?;
        self.given(task, operator);
        Some(task)
    }

    /// One of the results that are wanted of a task will be this operator's, whom somebody else has chosen.
    pub fn give(&mut self, task: TaskNumber, operator: Address) {
        if let Some(at) = self.waiting.iter().position(|waiting| *waiting == task) {
            self.waiting.remove(at);
            self.given(task, operator);
        }
    }

    /// How many results of a task are wanted.
    pub fn wanted(&self, task: TaskNumber) -> u32 {
        self.wanted.get(&task).map_or(0, |wanted| wanted.more)
    }

    /// Nobody else is wanted for a task.
    pub fn forget(&mut self, task: TaskNumber) {
        if self.wanted.remove(&task).is_some() {
            self.waiting.retain(|other| *other != task);
        }
    }

    /// How many results are wanted.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is wanted, and of whom not.
    pub fn waiting(&self) -> impl Iterator<Item = (TaskNumber, &[Address])> {
        self.wanted.iter().map(|(task, wanted)| (*task, wanted.exclude.as_slice()))
    }

    fn given(&mut self, task: TaskNumber, operator: Address) {
        let Some(wanted) = self.wanted.get_mut(&task) else { return };
        wanted.more = wanted.more.saturating_sub(1);
        wanted.exclude.push(operator);
        if wanted.more == 0 {
            self.wanted.remove(&task);
        }
    }
}
