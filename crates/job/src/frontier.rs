//! Which tasks of a job may run next.
//!
//! Pure bookkeeping: the owner takes what is ready, runs it, and says what became of it. A map task needs
//! two bits and a reduce task four bytes more, so ten million tasks need a few megabytes.

use std::{cmp::Reverse, collections::BTreeSet};

use crate::{Node, ReduceTree, numbering::Numbering, order::Order};

/// Map tasks whose outputs become one are shuffled among about so many.
const SHUFFLED: u64 = 4096;

/// The state of each task of a job: waiting for its parts, ready, running or done.
#[derive(Clone, Debug)]
pub struct Frontier {
    numbering: Numbering,
    /// In which order map tasks are handed out.
    order: Order,
    /// The place in that order before which all map tasks were handed out or restored; the others were not handed out.
    next_map: u64,
    /// How many map tasks from there on were restored as running or done, and so are not to be handed out.
    restored: u64,
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
    /// Of these, tasks of the map.
    map_done: u64,
}

impl Frontier {
    /// Nothing ran yet: every map task is ready.
    pub fn new(map_count: u64, tree: Option<ReduceTree>) -> Self {
        let mut waiting_for = Vec::new();
        for level in 0..tree.as_ref().map_or(0, ReduceTree::levels) {
            let tree = tree.as_ref().expect("levels were counted in a tree");
            for index in 0..tree.width(level) {
                let children = tree.children(Node::Reduce { level, index }).len();
                waiting_for
                    .push(u32::try_from(children).expect("a list of so many parts fits into no memory"));
            }
        }
        let numbering = Numbering::new(map_count, tree);
        let total = numbering.total();
        Self {
            numbering,
            order: Order::ascending(map_count),
            next_map: 0,
            restored: 0,
            returned: BTreeSet::new(),
            ready_reduces: BTreeSet::new(),
            waiting_for,
            running: Bits::new(total),
            done: Bits::new(total),
            running_count: 0,
            done_count: 0,
            map_done: 0,
        }
    }

    /// Hands map tasks out in an order that only who has the key can tell. None must have been handed out; some may have
    /// been restored. Those of a reduce come near each other all the same.
    pub fn shuffle(&mut self, key: [u8; 32]) {
        let count = self.numbering.map_count();
        let block = match self.numbering.tree() {
            Some(tree) => tree.fan_in().saturating_mul(SHUFFLED.div_ceil(tree.fan_in())),
            None => count,
        };
        self.order = Order::shuffled(count, block, key);
    }

    /// Hands out a task that is ready, which then is running: a reduce task if there is one, otherwise
    /// the next map task: the one with the lowest index, unless they are shuffled.
    pub fn take_ready(&mut self) -> Option<Node> {
        if let Some(reduce) = self.take_ready_reduce() {
            return Some(reduce);
        }
        let index = match self.returned.pop_first() {
            Some(index) => index,
            None => self.next_map()?,
        };
        self.start(index);
        Some(Node::Map(index))
    }

    /// Hands out a reduce task that is ready, if there is one; see [`Self::take_ready`].
    pub fn take_ready_reduce(&mut self) -> Option<Node> {
        let (Reverse(level), index) = self.ready_reduces.pop_first()?;
        let node = Node::Reduce { level, index };
        self.start(self.numbering.number(node).expect("only this job's tasks become ready"));
        Some(node)
    }

    /// The first map task that was neither handed out nor restored.
    fn next_map(&mut self) -> Option<u64> {
        while self.next_map < self.numbering.map_count() {
            let index = self.order.at(self.next_map);
            self.next_map += 1;
            // The number of a map task is its index.
            if !self.running.get(index) && !self.done.get(index) {
                return Some(index);
            }
            self.restored -= 1;
        }
        None
    }

    /// Whether a map task's turn has not come yet.
    fn is_ahead(&self, index: u64) -> bool {
        self.next_map == 0 || self.order.place(index) >= self.next_map
    }

    fn start(&mut self, number: u64) {
        self.running.set(number, true);
        self.running_count += 1;
    }

    /// Takes up that a task was done before. Tasks are restored before any is handed out; of those that are
    /// done, the parts of a reduce task come before it.
    pub fn restore_done(&mut self, node: Node) {
        self.restore_running(node);
        self.finish(node);
    }

    /// Takes up that a task was handed out before, and so is running. Nothing happens when it is, or is done.
    pub fn restore_running(&mut self, node: Node) {
        let Some(number) = self.numbering.number(node) else { return };
        if self.running.get(number) || self.done.get(number) {
            return;
        }
        match node {
            Node::Map(index) => self.restored += u64::from(self.is_ahead(index)),
            Node::Reduce { level, index } => {
                self.ready_reduces.remove(&(Reverse(level), index));
            }
        }
        self.start(number);
    }

    /// A running task is done. Gives the reduce task whose parts are all there by it: it became ready, or is running
    /// and waited for that part to be looked at again. What is not running stays as it is, so a result that comes twice
    /// counts once.
    pub fn finish(&mut self, node: Node) -> Option<Node> {
        let number = self.stop(node)?;
        self.done.set(number, true);
        self.done_count += 1;
        self.map_done += u64::from(matches!(node, Node::Map(_)));

        let (parent, place) = self.parent(node)?;
        self.waiting_for[place] -= 1;
        let number = self.numbering.number(parent)?;
        if self.waiting_for[place] > 0 || self.done.get(number) {
            return None;
        }
        if let Node::Reduce { level, index } = parent
            && !self.running.get(number)
        {
            self.ready_reduces.insert((Reverse(level), index));
        }
        Some(parent)
    }

    /// A task that was done is running again: whether its result is right is looked at anew. The task that is made from
    /// it stays as it is, but that it does not become ready before this one is done.
    pub fn reopen(&mut self, node: Node) {
        if let Some(number) = self.undone(node) {
            self.start(number);
        }
    }

    /// A reduce task that is running or done is as if nobody had begun it. One of its parts must not be done.
    pub fn reset(&mut self, node: Node) {
        if self.stop(node).is_none() {
            self.undone(node);
        }
    }

    /// Whether all parts of a task are done.
    pub fn has_parts(&self, node: Node) -> bool {
        match (node, self.numbering.number(node)) {
            (Node::Reduce { .. }, Some(number)) => self.waiting_for[self.place(number)] == 0,
            _ => true,
        }
    }

    /// Takes a task out of those that are done; its number, if it was one.
    fn undone(&mut self, node: Node) -> Option<u64> {
        let number = self.numbering.number(node).filter(|number| self.done.get(*number))?;
        self.done.set(number, false);
        self.done_count -= 1;
        self.map_done -= u64::from(matches!(node, Node::Map(_)));
        if let Some((parent, place)) = self.parent(node) {
            self.waiting_for[place] += 1;
            if let Node::Reduce { level, index } = parent {
                self.ready_reduces.remove(&(Reverse(level), index));
            }
        }
        Some(number)
    }

    /// The task that is made from this one, with its place among the reduce tasks.
    fn parent(&self, node: Node) -> Option<(Node, usize)> {
        let parent = self.numbering.tree()?.parent(node)?;
        Some((parent, self.place(self.numbering.number(parent)?)))
    }

    /// The place of a reduce task among them.
    fn place(&self, number: u64) -> usize {
        usize::try_from(number - self.numbering.map_count()).expect("a plan bounds the number of tasks")
    }

    /// An attempt failed: a running task is ready again. What is not running stays as it is.
    pub fn give_back(&mut self, node: Node) {
        if self.stop(node).is_none() {
            return;
        }
        match node {
            Node::Map(index) if self.is_ahead(index) => {
                // It was restored, and is as if it had never been handed out.
                self.restored -= 1;
                true
            }
            Node::Map(index) => self.returned.insert(index),
            // Where a part of it is looked at again, it waits for that one.
            Node::Reduce { level, index } => {
                self.has_parts(node) && self.ready_reduces.insert((Reverse(level), index))
            }
        };
    }

    /// Whether every task is done.
    pub fn is_done(&self) -> bool {
        self.done_count == self.total()
    }

    /// Whether every task of the map is done.
    pub fn is_map_done(&self) -> bool {
        self.map_done == self.numbering.map_count()
    }

    /// Whether a task is done.
    pub fn is_node_done(&self, node: Node) -> bool {
        self.numbering.number(node).is_some_and(|number| self.done.get(number))
    }

    /// The number of tasks, map and reduce.
    pub fn total(&self) -> u64 {
        self.numbering.total()
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
        let untouched = self.numbering.map_count() - self.next_map - self.restored;
        untouched + (self.returned.len() + self.ready_reduces.len()) as u64
    }

    /// Takes a task out of the running ones; its number, if it was one.
    fn stop(&mut self, node: Node) -> Option<u64> {
        let number = self.numbering.number(node).filter(|number| self.running.get(*number))?;
        self.running.set(number, false);
        self.running_count -= 1;
        Some(number)
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
            key in prop::option::of(any::<[u8; 32]>()),
            steps in prop::collection::vec((0u8..8, any::<prop::sample::Index>()), 50),
        ) {
            let tree = (fan_in >= 2).then(|| ReduceTree::new(maps, fan_in));
            let mut frontier = Frontier::new(maps, tree.clone());
            key.into_iter().for_each(|key| frontier.shuffle(key));
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
                            prop_assert!(frontier.has_parts(node));
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
                    // A result is looked at again, and what was made from it is made anew where it was wrong.
                    6 if round < 200 && !done.is_empty() => {
                        let node = *done.iter().nth(which.index(done.len())).expect("there are so many");
                        frontier.reopen(node);
                        done.remove(&node);
                        running.push(node);
                        *attempts.entry(node).or_default() += 1;
                        *given_back.entry(node).or_default() += 1;
                        let mut next = tree.as_ref().and_then(|tree| tree.parent(node));
                        while let Some(parent) = next.filter(|_| round % 2 == 0) {
                            if done.remove(&parent) || running.contains(&parent) {
                                frontier.reset(parent);
                                running.retain(|other| *other != parent);
                                *given_back.entry(parent).or_default() += 1;
                            }
                            next = tree.as_ref().and_then(|tree| tree.parent(parent));
                        }
                    }
                    // The owner forgets it all, and takes it up again.
                    5 if which.index(4) == 0 => {
                        frontier = Frontier::new(maps, tree.clone());
                        done.iter().for_each(|node| frontier.restore_done(*node));
                        running.iter().for_each(|node| frontier.restore_running(*node));
                        key.into_iter().for_each(|key| frontier.shuffle(key));
                        let open = maps + tree.as_ref().map_or(0, |tree| tree.task_count());
                        prop_assert!(frontier.ready_count() + (running.len() + done.len()) as u64 <= open);
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
