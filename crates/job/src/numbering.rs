//! The numbers of a job's tasks: those of the map from 0, then those of the reduce, level by level.

use crate::{Node, ReduceTree};

/// Which number each task of a job has. It holds one number a level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Numbering {
    map_count: u64,
    tree: Option<ReduceTree>,
    /// The number of the first reduce task of each level, and at the end that of all tasks.
    level_starts: Vec<u64>,
}

impl Numbering {
    pub(crate) fn new(map_count: u64, tree: Option<ReduceTree>) -> Self {
        let mut level_starts = vec![map_count];
        let mut total = map_count;
        if let Some(tree) = &tree {
            for level in 0..tree.levels() {
                total += tree.width(level);
                level_starts.push(total);
            }
        }
        Self { map_count, tree, level_starts }
    }

    pub(crate) fn map_count(&self) -> u64 {
        self.map_count
    }

    pub(crate) fn tree(&self) -> Option<&ReduceTree> {
        self.tree.as_ref()
    }

    /// The number of all tasks.
    pub(crate) fn total(&self) -> u64 {
        self.level_starts.last().copied().unwrap_or(self.map_count)
    }

    /// A task's number; none where the job has no such task.
    pub(crate) fn number(&self, node: Node) -> Option<u64> {
        match node {
            Node::Map(index) => (index < self.map_count).then_some(index),
            Node::Reduce { level, index } => {
                self.tree.as_ref().filter(|tree| tree.contains(node))?;
                Some(self.level_starts[level as usize] + index)
            }
        }
    }

    /// The task of a number below [`Self::total`]; none beyond.
    pub(crate) fn node(&self, number: u64) -> Option<Node> {
        if number >= self.total() {
            return None;
        }
        // How many levels begin at or before it: none of them is the map's.
        match self.level_starts.partition_point(|start| *start <= number).checked_sub(1) {
            None => Some(Node::Map(number)),
            Some(level) => {
                let index = number - self.level_starts[level];
                Some(Node::Reduce { level: u32::try_from(level).ok()?, index })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_levels_follow_the_map() {
        let numbering = Numbering::new(5, Some(ReduceTree::new(5, 2)));
        assert_eq!(numbering.total(), 11);
        for (number, node) in [
            (4, Node::Map(4)),
            (5, Node::Reduce { level: 0, index: 0 }),
            (8, Node::Reduce { level: 1, index: 0 }),
            (10, Node::Reduce { level: 2, index: 0 }),
        ] {
            assert_eq!((numbering.node(number), numbering.number(node)), (Some(node), Some(number)));
        }
        assert_eq!(numbering.node(11), None);
        assert_eq!(numbering.number(Node::Reduce { level: 3, index: 0 }), None);
        assert_eq!(Numbering::new(2, None).node(2), None);
    }

    proptest! {
        #[test]
        fn every_number_is_one_task_s(maps in 1u64..2000, fan_in in 0u64..50) {
            let numbering = Numbering::new(maps, (fan_in >= 2).then(|| ReduceTree::new(maps, fan_in)));
            for number in 0..numbering.total() {
                let node = numbering.node(number);
                prop_assert_eq!(node.and_then(|node| numbering.number(node)), Some(number));
            }
        }
    }
}
