//! The shape of a reduce: which tasks' outputs each reduce task takes.
//!
//! Level 0 takes the outputs of map tasks, each further level those of the level before, in groups of
//! `fan_in` neighbours; the last group of a level may be smaller. The last level has one task, whose
//! output is the job's.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tidemill_types::Stage;

/// A task of a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Node {
    /// A task of the map, by its index.
    Map(u64),
    /// A task of the reduce.
    Reduce {
        /// Its level, from 0.
        level: u32,
        /// Its place within the level, from 0.
        index: u64,
    },
}

impl Node {
    /// The half of the job that it is in.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Map(_) => Stage::Map,
            Self::Reduce { .. } => Stage::Reduce,
        }
    }
}

/// The tree over a number of map tasks. It holds one number a level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReduceTree {
    leaves: u64,
    fan_in: u64,
    /// The number of tasks of each level; the last is 1.
    widths: Vec<u64>,
}

impl ReduceTree {
    /// The tree over `leaves` map tasks in groups of `fan_in`. Fewer than one leaf are taken as one, a
    /// smaller `fan_in` than 2 as 2: the tree of no tasks and the tree that never narrows do not exist.
    pub fn new(leaves: u64, fan_in: u64) -> Self {
        let (leaves, fan_in) = (leaves.max(1), fan_in.max(2));
        let mut widths = vec![leaves.div_ceil(fan_in)];
        while let Some(&width) = widths.last().filter(|width| **width > 1) {
            widths.push(width.div_ceil(fan_in));
        }
        Self { leaves, fan_in, widths }
    }

    /// The number of map tasks.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The most parts of one task, at least 2.
    pub(crate) fn fan_in(&self) -> u64 {
        self.fan_in
    }

    /// The number of levels, at least 1.
    pub fn levels(&self) -> u32 {
        u32::try_from(self.widths.len()).expect("a tree over 64-bit leaves has at most 64 levels")
    }

    /// The number of tasks of a level; 0 where there is no such level.
    pub fn width(&self, level: u32) -> u64 {
        self.widths.get(level as usize).copied().unwrap_or(0)
    }

    /// The number of reduce tasks of all levels.
    pub fn task_count(&self) -> u64 {
        self.widths.iter().sum()
    }

    /// The task whose output is the job's.
    pub fn root(&self) -> Node {
        Node::Reduce { level: self.levels() - 1, index: 0 }
    }

    /// Whether the tree has this task.
    pub fn contains(&self, node: Node) -> bool {
        match node {
            Node::Map(index) => index < self.leaves,
            Node::Reduce { level, index } => index < self.width(level),
        }
    }

    /// The task that takes a task's output; none for the root and for what is not in the tree.
    pub fn parent(&self, node: Node) -> Option<Node> {
        let (level, index) = match node {
            Node::Map(index) => (0, index),
            Node::Reduce { level, index } => (level.checked_add(1)?, index),
        };
        let parent = Node::Reduce { level, index: index / self.fan_in };
        (self.contains(node) && self.contains(parent)).then_some(parent)
    }

    /// The tasks whose outputs a reduce task takes, in order; none for a map task.
    pub fn children(&self, node: Node) -> impl ExactSizeIterator<Item = Node> + use<> {
        let (below, range) = self.child_range(node);
        // A level has at most as many tasks as there are leaves, a group at most a `usize` of them.
        let len = usize::try_from(range.end - range.start).unwrap_or(0);
        (0..len).map(move |i| {
            let index = range.start + i as u64;
            below.map_or(Node::Map(index), |level| Node::Reduce { level, index })
        })
    }

    /// A task's children as a level (none: the map) and a range of places within it.
    fn child_range(&self, node: Node) -> (Option<u32>, Range<u64>) {
        let Node::Reduce { level, index } = node else { return (None, 0..0) };
        if !self.contains(node) {
            return (None, 0..0);
        }
        let below = level.checked_sub(1);
        let width = below.map_or(self.leaves, |level| self.width(level));
        let start = index * self.fan_in;
        (below, start..start.saturating_add(self.fan_in).min(width))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_are_consecutive_and_the_last_may_be_smaller() {
        let tree = ReduceTree::new(5, 2);
        assert_eq!(
            (tree.levels(), tree.width(0), tree.width(1), tree.width(2), tree.width(3)),
            (3, 3, 2, 1, 0)
        );
        let children = |level, index| tree.children(Node::Reduce { level, index }).collect::<Vec<_>>();
        assert_eq!(children(0, 1), [Node::Map(2), Node::Map(3)]);
        assert_eq!(children(0, 2), [Node::Map(4)]);
        assert_eq!(children(1, 1), [Node::Reduce { level: 0, index: 2 }]);
        assert_eq!(children(7, 0), []);
    }

    #[test]
    fn one_part_is_reduced_too() {
        let tree = ReduceTree::new(1, 10);
        assert_eq!((tree.task_count(), tree.parent(Node::Map(0))), (1, Some(tree.root())));
        assert_eq!(tree.parent(tree.root()), None);
        assert_eq!(ReduceTree::new(0, 0), ReduceTree::new(1, 2));
        assert_eq!(ReduceTree::new(u64::MAX, 2).levels(), 64);
    }

    proptest! {
        #[test]
        fn parents_and_children_agree(leaves in 1u64..2000, fan_in in 2u64..50) {
            let tree = ReduceTree::new(leaves, fan_in);
            let mut seen = Vec::new();
            for level in 0..tree.levels() {
                for index in 0..tree.width(level) {
                    let node = Node::Reduce { level, index };
                    let children: Vec<_> = tree.children(node).collect();
                    prop_assert!((1..=fan_in).contains(&(children.len() as u64)));
                    prop_assert!(children.iter().all(|child| tree.parent(*child) == Some(node)));
                    seen.extend(children);
                }
            }
            seen.push(tree.root());
            let mut once = seen.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), seen.len());
            prop_assert_eq!(seen.len() as u64, leaves + tree.task_count());
        }
    }
}
