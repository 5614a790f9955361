//! The whole state at one block, so that opening need not begin with the first.
//!
//! Losing snapshots loses nothing but time: a bad one is passed over for an older one, and without any the log
//! is applied from the beginning.

use std::fs;
use std::path::{Path, PathBuf};

use alloy::primitives::B256;

use super::layout::write_whole;
use crate::chain::Changes;
use crate::error::DiskError;

const MAGIC: &[u8; 8] = b"TMSTATE1";
/// Magic, number and hash.
const HEAD: usize = 8 + 8 + 32;
/// How many are kept: the newest may be too new to have the window of history after it, or be damaged.
const KEPT: usize = 3;

/// The state after a block.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub number: u64,
    pub hash: B256,
    /// Everything, as changes to nothing.
    pub state: Changes,
}

/// Writes a snapshot, and removes the oldest ones.
pub(crate) fn save(dir: &Path, key: &B256, snapshot: &Snapshot) -> Result<(), DiskError> {
    fs::create_dir_all(dir).map_err(DiskError::io("make", dir))?;
    let mut bytes = Vec::with_capacity(1 << 20);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&snapshot.number.to_le_bytes());
    bytes.extend_from_slice(snapshot.hash.as_slice());
    bytes.extend_from_slice(&snapshot.state.encode());
    let checksum = blake3::keyed_hash(&key.0, &bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    write_whole(dir, &format!("{:012}.state", snapshot.number), &bytes)?;
    for (_, old) in list(dir).into_iter().skip(KEPT) {
        fs::remove_file(&old).map_err(DiskError::io("remove", &old))?;
    }
    Ok(())
}

/// Removes the snapshots of blocks after `number`.
pub(crate) fn discard_after(dir: &Path, number: u64) -> Result<(), DiskError> {
    for (_, late) in list(dir).into_iter().filter(|(of, _)| *of > number) {
        fs::remove_file(&late).map_err(DiskError::io("remove", &late))?;
    }
    Ok(())
}

/// The good snapshot to begin with: the newest at or below block `wished`, so that the window of history after
/// it can be filled, or else the oldest of a later block. `hash` gives the hash of the log's block of some number.
///
/// What is passed over because it is damaged comes back too, to be told.
pub(crate) fn load_best(
    dir: &Path,
    key: &B256,
    wished: u64,
    hash: impl Fn(u64) -> Option<B256>,
) -> (Option<Snapshot>, Vec<PathBuf>) {
    let (mut candidates, mut later): (Vec<_>, Vec<_>) =
        list(dir).into_iter().partition(|(number, _)| *number <= wished);
    later.reverse();
    candidates.append(&mut later);
    let mut damaged = Vec::new();
    for (number, path) in candidates {
        // A snapshot of a block that the log has lost is of no use, though not damaged.
        let Some(hash) = hash(number) else { continue };
        match load(&path, key) {
            Some(snapshot) if snapshot.number == number && snapshot.hash == hash => {
                return (Some(snapshot), damaged);
            }
            _ => damaged.push(path),
        }
    }
    (None, damaged)
}

fn load(path: &Path, key: &B256) -> Option<Snapshot> {
    let bytes = fs::read(path).ok()?;
    let (content, checksum) = bytes.split_last_chunk::<32>()?;
    if blake3::keyed_hash(&key.0, content) != *checksum {
        return None;
    }
    let (head, state) = content.split_at_checked(HEAD)?;
    if head[..8] != *MAGIC {
        return None;
    }
    let number = u64::from_le_bytes(head[8..16].try_into().ok()?);
    let hash = B256::from_slice(&head[16..]);
    Some(Snapshot { number, hash, state: Changes::decode(state).ok()? })
}

/// The snapshots there are, newest first.
fn list(dir: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let number = path.file_name()?.to_str()?.strip_suffix(".state")?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}
