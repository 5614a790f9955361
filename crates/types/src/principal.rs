//! Who owns a job.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Address, NodeId};

/// Who owns a job: it is theirs alone to cancel, to remove and to fetch. Prints as the node or the account does, which the
/// `0x` of an account tells apart.
///
/// Both encodings are stable, that of serde and [`Self::to_bytes`]: a new sort, such as an API key, is a new variant at the
/// end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Principal {
    /// A node that submits jobs over sessions of its own.
    Node(NodeId),
    /// An account of a ledger, whatever node or service acts for it.
    Account(Address),
}

impl Principal {
    /// The length of [`Self::to_bytes`].
    pub const BYTES: usize = 33;

    /// The node that it is, which has a job's inputs; nothing of one that is not a node.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(*node),
            Self::Account(_) => None,
        }
    }

    /// The first digits, enough to tell requesters apart in a list.
    pub fn short(&self) -> String {
        match self {
            Self::Node(node) => node.short(),
            Self::Account(account) => account.to_string()[..10].to_owned(),
        }
    }

    /// A key for tables, all of one length: a byte for the sort, then the name, then zeros.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let (sort, name): (u8, &[u8]) = match self {
            Self::Node(NodeId(name)) => (0, name),
            Self::Account(Address(name)) => (1, name),
        };
        let mut bytes = [0; Self::BYTES];
        bytes[0] = sort;
        bytes[1..=name.len()].copy_from_slice(name);
        bytes
    }

    /// The principal of a key; nothing where it is none.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (sort, name) = bytes.split_first()?;
        match sort {
            0 => Some(Self::Node(NodeId(name.try_into().ok()?))),
            1 => {
                let (name, rest) = name.split_first_chunk()?;
                rest.iter().all(|byte| *byte == 0).then_some(Self::Account(Address(*name)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Account(account) => account.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Principal = Principal::Node(NodeId([0xab; 32]));
    const ACCOUNT: Principal = Principal::Account(Address([0xcd; 20]));

    #[test]
    fn keys_are_of_one_length_and_lead_back() {
        for principal in [NODE, ACCOUNT] {
            assert_eq!(Principal::from_bytes(&principal.to_bytes()), Some(principal));
        }
        let key = ACCOUNT.to_bytes();
        assert_eq!((key[0], &key[1..21], &key[21..]), (1, &[0xcd; 20][..], &[0; 12][..]));
        assert_eq!((NODE.to_bytes()[0], &NODE.to_bytes()[1..]), (0, &[0xab; 32][..]));
    }

    #[test]
    fn what_is_no_key_is_nobody() {
        let mut key = ACCOUNT.to_bytes();
        key[32] = 1;
        assert_eq!(Principal::from_bytes(&key), None);
        key = NODE.to_bytes();
        key[0] = 2;
        assert_eq!(Principal::from_bytes(&key), None);
    }

    /// Stores and messages hold them.
    #[test]
    fn the_encoding_is_stable() {
        let encoded = |principal| postcard::to_stdvec(&principal).expect("it is plain data");
        assert_eq!(encoded(NODE), [&[0][..], &[0xab; 32][..]].concat());
        assert_eq!(encoded(ACCOUNT), [&[1][..], &[0xcd; 20][..]].concat());
    }

    #[test]
    fn people_see_the_node_or_the_account() {
        assert_eq!(NODE.to_string(), "ab".repeat(32));
        assert_eq!((NODE.short(), ACCOUNT.short().len()), ("abababab".to_owned(), 10));
        assert!(ACCOUNT.to_string().starts_with("0x") && ACCOUNT.to_string().starts_with(&ACCOUNT.short()));
        assert_eq!((NODE.node(), ACCOUNT.node()), (Some(NodeId([0xab; 32])), None));
    }
}
