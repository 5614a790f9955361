//! Which tasks of a job may run next.
//!
//! Pure bookkeeping: the owner takes what is ready, runs it, and says what became of it. A map task needs
//! two bits and a reduce task four bytes more, so ten million tasks need a few megabytes.

use std::{cmp::Reverse, collections::BTreeSet};

use crate::{Node, ReduceTree};

/// The state of each task of a job: waiting for its parts, ready, running or done.
#[derive(Clone, Debug)]
pub struct Frontier {
    map_count: u64,
    tree: Option<ReduceTree>,
    /// The number of the first reduce task of each level: nodes are numbered from the map upwards.
    level_starts: Vec<u64>,
    /// The first map task that was never handed out. All before it were.
    next_map: u64,
    /// Map tasks that were handed out and came back.
    returned: BTreeSet<u64>,
    /// Reduce tasks that may run, those nearest to the root first: they free the most parts.
    ready_reduces: BTreeSet<(Reverse<u32>, u64)>,
    /// For each reduce task, how many of its parts are not done yet.
    waiting_for: Vec<u32>,
    running: Bits,
    done: Bits,
    running_count: u64,
    done_count: u64,
}

impl Frontier {
    /// Nothing ran yet: every map task is ready.
    pub fn new(map_count: u64, tree: Option<ReduceTree>) -> Self {
        let mut level_starts = Vec::new();
        let mut waiting_for = Vec::new();
        let mut total = map_count;
        for level in 0..tree.as_ref().map_or(0, ReduceTree::levels) {
            let tree = tree.as_ref().expect("levels were counted in a tree");
            level_starts.push(total);
            for index in 0..tree.width(level) {
                let children = tree.children(Node::Reduce { level, index }).len();
                waiting_for
                    .push(u32::try_from(children).expect("a list of so many parts fits into no memory"));
            }
            total += tree.width(level);
        }
        Self {
            map_count,
            tree,
            level_starts,
            next_map: 0,
            returned: BTreeSet::new(),
            ready_reduces: BTreeSet::new(),
            waiting_for,
            running: Bits::new(total),
            done: Bits::new(total),
            running_count: 0,
            done_count: 0,
        }
    }

    /// Hands out a task that is ready, which then is running: a reduce task if there is one, otherwise
    /// the map task with the lowest index.
    pub fn take_ready(&mut self) -> Option<Node> {
        let node = if let Some((Reverse(level), index)) = self.ready_reduces.pop_first() {
            Node::Reduce { level, index }
        } else if let Some(index) = self.returned.pop_first() {
            Node::Map(index)
        } else if self.next_map < self.map_count {
            self.next_map += 1;
            Node::Map(self.next_map - 1)
        } else {
            return None;
        };
        let number = self.number(node).expect("only this job's tasks become ready");
        self.running.set(number, true);
        self.running_count += 1;
        Some(node)
    }

    /// A running task is done. Gives the reduce task that became ready by it. What is not running stays
    /// as it is, so a result that comes twice counts once.
    pub fn finish(&mut self, node: Node) -> Option<Node> {
        let number = self.stop(node)?;
        self.done.set(number, true);
        self.done_count += 1;

        let parent = self.tree.as_ref()?.parent(node)?;
        let Node::Reduce { level, index } = parent else { return None };
        let place = usize::try_from(self.number(parent)? - self.map_count).ok()?;
        self.waiting_for[place] -= 1;
        if self.waiting_for[place] > 0 {
            return None;
        }
        self.ready_reduces.insert((Reverse(level), index));
        Some(parent)
    }

    /// An attempt failed: a running task is ready again. What is not running stays as it is.
    pub fn give_back(&mut self, node: Node) {
        if self.stop(node).is_none() {
            return;
        }
        match node {
            Node::Map(index) => self.returned.insert(index),
            Node::Reduce { level, index } => self.ready_reduces.insert((Reverse(level), index)),
        };
    }

    /// Whether every task is done.
    pub fn is_done(&self) -> bool {
        self.done_count == self.total()
    }

    /// Whether a task is done.
    pub fn is_node_done(&self, node: Node) -> bool {
        self.number(node).is_some_and(|number| self.done.get(number))
    }

    /// The number of tasks, map and reduce.
    pub fn total(&self) -> u64 {
        self.map_count + self.waiting_for.len() as u64
    }

    /// The number of tasks that are done.
    pub fn done_count(&self) -> u64 {
        self.done_count
    }

    /// The number of tasks that were handed out and are neither done nor given back.
    pub fn running_count(&self) -> u64 {
        self.running_count
    }

    /// The number of tasks that [`Self::take_ready`] would give one after another.
    pub fn ready_count(&self) -> u64 {
        (self.map_count - self.next_map) + (self.returned.len() + self.ready_reduces.len()) as u64
    }

    /// Takes a task out of the running ones; its number, if it was one.
    fn stop(&mut self, node: Node) -> Option<u64> {
        let number = self.number(node).filter(|number| self.running.get(*number))?;
        self.running.set(number, false);
        self.running_count -= 1;
        Some(number)
    }

    /// A task's number among all of them; none where the job has no such task.
    fn number(&self, node: Node) -> Option<u64> {
        match node {
            Node::Map(index) => (index < self.map_count).then_some(index),
            Node::Reduce { level, index } => {
                self.tree.as_ref().filter(|tree| tree.contains(node))?;
                Some(self.level_starts[level as usize] + index)
            }
        }
    }
}

/// A set of small numbers, one bit each.
#[derive(Clone, Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: u64) -> Self {
        let words = usize::try_from(len.div_ceil(64)).expect("a plan bounds the number of tasks");
        Self(vec![0; words])
    }

    fn get(&self, at: u64) -> bool {
        self.0[(at / 64) as usize] >> (at % 64) & 1 == 1
    }

    fn set(&mut self, at: u64, value: bool) {
        let (word, bit) = (&mut self.0[(at / 64) as usize], 1 << (at % 64));
        if value { *word |= bit } else { *word &= !bit }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn sanity_check(frontier: &Frontier, running: &[Node], done: &BTreeSet<Node>) {
        assert_eq!(frontier.running_count(), running.len() as u64);
        assert_eq!(frontier.done_count(), done.len() as u64);
        assert!(done.iter().all(|node| frontier.is_node_done(*node)));
        assert!(running.iter().all(|node| !frontier.is_node_done(*node)));
    }

    #[test]
    fn a_reduce_comes_before_the_rest_of_the_map() {
        let mut frontier = Frontier::new(4, Some(ReduceTree::new(4, 2)));
        assert_eq!(frontier.take_ready(), Some(Node::Map(0)));
        assert_eq!(frontier.take_ready(), Some(Node::Map(1)));
        assert_eq!(frontier.finish(Node::Map(1)), None);
        let reduce = Node::Reduce { level: 0, index: 0 };
        assert_eq!(frontier.finish(Node::Map(0)), Some(reduce));
        assert_eq!(frontier.take_ready(), Some(reduce));
        assert_eq!(frontier.take_ready(), Some(Node::Map(2)));
        frontier.give_back(Node::Map(2));
        frontier.give_back(reduce);
        assert_eq!(frontier.ready_count(), 3);
        assert_eq!(frontier.take_ready(), Some(reduce));
        assert_eq!(frontier.take_ready(), Some(Node::Map(2)));
    }

    #[test]
    fn what_is_not_running_cannot_finish() {
        let mut frontier = Frontier::new(2, None);
        let stranger = Node::Reduce { level: 0, index: 0 };
        for node in [Node::Map(0), Node::Map(9), stranger] {
            assert_eq!(frontier.finish(node), None);
            frontier.give_back(node);
        }
        sanity_check(&frontier, &[], &BTreeSet::new());
        frontier.take_ready();
        frontier.finish(Node::Map(0));
        frontier.finish(Node::Map(0));
        sanity_check(&frontier, &[], &BTreeSet::from([Node::Map(0)]));
    }

    proptest! {
        #[test]
        fn every_task_is_done_once_and_after_its_parts(
            maps in 1u64..300,
            fan_in in 0u64..9,
            steps in prop::collection::vec((0u8..8, any::<prop::sample::Index>()), 50),
        ) {
            let tree = (fan_in >= 2).then(|| ReduceTree::new(maps, fan_in));
            let mut frontier = Frontier::new(maps, tree.clone());
            let (mut running, mut done) = (Vec::new(), BTreeSet::new());
            let mut attempts: BTreeMap<Node, u32> = BTreeMap::new();
            let mut given_back: BTreeMap<Node, u32> = BTreeMap::new();
            let mut steps = steps.into_iter().cycle().enumerate();
            while !frontier.is_done() {
                let (round, (what, which)) = steps.next().expect("a cycle does not end");
                match what {
                    0..4 => if let Some(node) = frontier.take_ready() {
                        if let Some(tree) = &tree {
                            prop_assert!(tree.children(node).all(|child| done.contains(&child)));
                        }
                        *attempts.entry(node).or_default() += 1;
                        running.push(node);
                    },
                    // Attempts fail only for a while, so that the job comes to an end.
                    4 if round < 200 && !running.is_empty() => {
                        let node = running.swap_remove(which.index(running.len()));
                        *given_back.entry(node).or_default() += 1;
                        frontier.give_back(node);
                    }
                    _ => {
                        if running.is_empty() {
                            running.extend(frontier.take_ready().inspect(|node| *attempts.entry(*node).or_default() += 1));
                        }
                        let node = running.swap_remove(which.index(running.len()));
                        frontier.finish(node);
                        prop_assert!(done.insert(node), "{node:?} was done twice");
                    }
                }
                sanity_check(&frontier, &running, &done);
            }
            prop_assert!(running.is_empty());
            prop_assert_eq!(frontier.take_ready(), None);
            prop_assert_eq!(done.len() as u64, maps + tree.map_or(0, |tree| tree.task_count()));
            for node in done {
                prop_assert_eq!(attempts[&node], 1 + given_back.get(&node).copied().unwrap_or(0));
            }
        }
    }
}
