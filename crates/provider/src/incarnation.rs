//! Which process of its node this provider is, so that a coordinator tells it from one with a copy of its directory.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use tidemill_net::wire::Incarnation;

/// A name that Linux draws anew at each start of a machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The incarnation of this process, which has locked `directory`.
///
/// # Errors
/// When the system has no randomness to give.
pub(crate) fn incarnation(directory: &Path, node_key: &[u8; 32]) -> io::Result<Incarnation> {
    let mut process = [0; 16];
    getrandom::fill(&mut process)?;
    // A place that nobody else can be in: such a process is never taken for the successor of another.
    let place = place(directory, node_key).unwrap_or(process);
    Ok(Incarnation { process, place })
}

/// The name of a directory on this machine since its start. It is hashed with the node's key: a coordinator can compare
/// it and learns nothing else from it.
fn place(directory: &Path, node_key: &[u8; 32]) -> io::Result<[u8; 16]> {
    let folder = fs::metadata(directory)?;
    let boot = fs::read(BOOT_ID)?;
    let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key("tidemill 2026 provider place", node_key));
    hasher.update(&folder.dev().to_le_bytes());
    hasher.update(&folder.ino().to_le_bytes());
    hasher.update(&boot);
    let mut place = [0; 16];
    hasher.finalize_xof().fill(&mut place);
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_place_and_its_copy_is_another() {
        let (first, copy) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let key = [7; 32];
        let killed = incarnation(first.path(), &key).expect("randomness");
        let restarted = incarnation(first.path(), &key).expect("randomness");
        let copied = incarnation(copy.path(), &key).expect("randomness");
        assert_ne!(killed.process, restarted.process);
        assert!(restarted.succeeds(&killed));
        assert!(!copied.succeeds(&killed));
        let other = incarnation(first.path(), &[8; 32]).expect("randomness");
        assert_ne!(other.place, killed.place, "a place says nothing to others");
    }
}
