//! Keccak Merkle trees over the leaves of a batch, as OpenZeppelin's `MerkleProof.verify` checks them.
//!
//! An inner node is the hash of its two children, the smaller first, so that a path needs no sides. The last
//! node of a level of odd length moves up unchanged. Leaves have to be hashes of something that is not 64
//! bytes long; [`crate::Leaf::hash`] sees to that.

use alloy_primitives::keccak256;

/// The root of the tree over these leaves. Of no leaves it is zero, which is the root of nothing else that
/// anyone could find.
pub fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = parents(&level);
    }
    level.first().copied().unwrap_or_default()
}

/// The hashes that lead from a leaf to the root, the leaf's neighbour first; none where there is no such leaf.
pub fn path(leaves: &[[u8; 32]], index: usize) -> Option<Vec<[u8; 32]>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut level, mut index, mut path) = (leaves.to_vec(), index, Vec::new());
    while level.len() > 1 {
        path.extend(level.get(index ^ 1));
        level = parents(&level);
        index /= 2;
    }
    Some(path)
}

/// Whether the path leads from the leaf to the root.
pub fn verify(root: &[u8; 32], leaf: &[u8; 32], path: &[[u8; 32]]) -> bool {
    path.iter().fold(*leaf, |node, other| parent(&node, other)) == *root
}

/// The length of the longest path in a tree of so many leaves.
pub fn depth(count: u32) -> u32 {
    u32::BITS - count.saturating_sub(1).leading_zeros()
}

fn parents(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let node = |pair: &[[u8; 32]]| match pair {
        [left, right] => parent(left, right),
        // `chunks` gives one alone at the end of an odd level.
        alone => alone[0],
    };
    level.chunks(2).map(node).collect()
}

fn parent(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    let mut both = [0; 64];
    both[..32].copy_from_slice(first);
    both[32..].copy_from_slice(second);
    keccak256(both).0
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn leaves() -> impl Strategy<Value = Vec<[u8; 32]>> {
        vec(any::<[u8; 32]>(), 1..70)
    }

    #[test]
    fn five_leaves_make_the_tree_that_a_contract_checks() {
        let leaf = |byte| [byte; 32];
        let leaves = [leaf(1), leaf(2), leaf(4), leaf(3), leaf(5)];
        // Each pair with its smaller hash first; the fifth moves up twice.
        let ab = keccak256([[1; 32], [2; 32]].concat()).0;
        let cd = keccak256([[3; 32], [4; 32]].concat()).0;
        let (low, high) = if ab < cd { (ab, cd) } else { (cd, ab) };
        let abcd = keccak256([low, high].concat()).0;
        let top = if abcd < leaf(5) { [abcd, leaf(5)] } else { [leaf(5), abcd] };
        let expected = keccak256(top.concat()).0;

        assert_eq!(root(&leaves), expected);
        assert_eq!(path(&leaves, 2), Some(vec![leaf(3), ab, leaf(5)]));
        assert_eq!(path(&leaves, 4), Some(vec![abcd]));
        assert!(verify(&expected, &leaf(4), &[leaf(3), ab, leaf(5)]));
        assert!(verify(&expected, &leaf(5), &[abcd]));
    }

    #[test]
    fn small_trees() {
        assert_eq!(root(&[]), [0; 32]);
        assert_eq!(path(&[], 0), None);
        assert_eq!(root(&[[7; 32]]), [7; 32]);
        assert_eq!(path(&[[7; 32]], 0), Some(vec![]));
        assert_eq!(path(&[[7; 32]], 1), None);
    }

    #[test]
    fn a_tree_is_as_deep_as_its_longest_path() {
        for count in 1..40 {
            let leaves = vec![[9; 32]; count];
            let paths = (0..count).filter_map(|index| path(&leaves, index));
            let longest = paths.map(|path| path.len()).max();
            assert_eq!(longest, Some(depth(count as u32) as usize), "{count} leaves");
        }
        assert_eq!((depth(0), depth(u32::MAX)), (0, 32));
    }

    proptest! {
        #[test]
        fn the_path_of_every_leaf_leads_to_the_root(leaves in leaves()) {
            let root = root(&leaves);
            for (index, leaf) in leaves.iter().enumerate() {
                let path = path(&leaves, index).expect("there is such a leaf");
                prop_assert!(verify(&root, leaf, &path));
            }
        }

        #[test]
        fn a_path_is_of_one_leaf_alone(leaves in leaves(), a: prop::sample::Index, other: [u8; 32]) {
            let at = a.index(leaves.len());
            let path = path(&leaves, at).expect("there is such a leaf");
            prop_assume!(other != leaves[at]);
            prop_assert!(!verify(&root(&leaves), &other, &path));
            for (index, leaf) in leaves.iter().enumerate() {
                // Two neighbours would have each other's place in the path, not in the leaf.
                prop_assert!(index == at || *leaf == leaves[at] || !verify(&root(&leaves), leaf, &path));
            }
        }

        #[test]
        fn any_changed_byte_breaks_the_path(leaves in leaves(), a: prop::sample::Index, byte in 0usize..32, bit in 0u8..8) {
            let at = a.index(leaves.len());
            let (root, path) = (root(&leaves), path(&leaves, at).expect("there is such a leaf"));
            for step in 0..path.len() {
                let mut changed = path.clone();
                changed[step][byte] ^= 1 << bit;
                prop_assert!(!verify(&root, &leaves[at], &changed));
            }
            if !path.is_empty() {
                prop_assert!(!verify(&root, &leaves[at], &path[1..]));
            }
        }
    }
}
