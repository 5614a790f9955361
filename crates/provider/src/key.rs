//! Which coordinator, and which of its leases: each coordinator counts its leases for itself.

use std::fmt;

use tidemill_types::LeaseId;

/// A coordinator, by its place among those that this provider was told to join.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct CoordinatorIndex(pub(crate) u8);

/// A lease, by who gave it and by that coordinator's number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LeaseKey {
    pub(crate) coordinator: CoordinatorIndex,
    pub(crate) lease: LeaseId,
}

impl CoordinatorIndex {
    /// The first so many coordinators.
    pub(crate) fn first(count: usize) -> impl Iterator<Item = Self> + use<> {
        (0..u8::try_from(count).unwrap_or(u8::MAX)).map(Self)
    }

    /// Its place in a list of all coordinators.
    pub(crate) fn place(self) -> usize {
        usize::from(self.0)
    }

    /// One of its leases.
    pub(crate) fn lease(self, lease: LeaseId) -> LeaseKey {
        LeaseKey { coordinator: self, lease }
    }
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of coordinator {}", self.lease, self.coordinator.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A lease of the first coordinator.
    pub(crate) fn key(lease: u64) -> LeaseKey {
        CoordinatorIndex(0).lease(LeaseId(lease))
    }

    #[test]
    fn the_same_number_of_two_coordinators_is_two_leases() {
        let other = CoordinatorIndex(1).lease(LeaseId(7));
        assert_ne!(key(7), other);
        assert_eq!((key(7).lease, key(7).coordinator.place()), (other.lease, 0));
        assert!(key(9) < other, "the leases of a coordinator stand together");
        assert_eq!(other.to_string(), "7 of coordinator 1");
    }
}
