//! Where a process that has a folder of blobs can be made to die; see [`crate::failpoint`].

use crate::failpoint;

/// A moment at which files of the folder have changed and more is about to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failpoint {
    SegmentMade,
    SegmentBegun,
    RecordsWritten,
    RecordsSynced,
    RecordsIndexed,
    CleaningBegun,
    CopiesSynced,
    SegmentCopied,
    SegmentForgotten,
    SegmentRemoved,
    BlobDrafted,
    TreeInstalled,
    BlobInstalled,
    BlobSynced,
}

/// The names of all points:
///
/// - `segment-made`: a segment's file is there, and empty;
/// - `segment-begun`: it has its head, and no record;
/// - `records-written`: records are written to a segment, and not synced;
/// - `records-synced`: they are on disk, and not in the index;
/// - `records-indexed`: they are in the index, and nobody has heard of it;
///
/// while a segment is cleaned:
///
/// - `cleaning-begun`: nothing of it is copied;
/// - `copies-synced`: some of it is on disk in the active segment, and the index does not know;
/// - `segment-copied`: all that is needed of it is there too;
/// - `segment-forgotten`: the index does not know the segment any more, and its file is there;
/// - `segment-removed`: its file is gone, and nobody has heard of it;
///
/// and of blobs that have files of their own:
///
/// - `blob-drafted`: the bytes and the hash tree are synced as drafts;
/// - `tree-installed`: the tree is in its place, and the bytes are not;
/// - `blob-installed`: both are, and their directory is not synced;
/// - `blob-synced`: it is, and the blob's pin is not on disk.
pub const FAILPOINTS: [&str; 14] = [
    "segment-made",
    "segment-begun",
    "records-written",
    "records-synced",
    "records-indexed",
    "cleaning-begun",
    "copies-synced",
    "segment-copied",
    "segment-forgotten",
    "segment-removed",
    "blob-drafted",
    "tree-installed",
    "blob-installed",
    "blob-synced",
];

impl Failpoint {
    /// Dies here if that is what the test wants.
    pub fn pass(self) {
        // They are in the order of their names.
        failpoint::pass(FAILPOINTS[self as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_point() {
        // `SegmentForgotten` is `segment-forgotten`.
        let named = |point: Failpoint| {
            let words = format!("{point:?}");
            let name = FAILPOINTS[point as usize].replace('-', "");
            assert_eq!(name, words.to_ascii_lowercase());
        };
        use Failpoint::*;
        let of_segments = [SegmentMade, SegmentBegun, RecordsWritten, RecordsSynced, RecordsIndexed];
        let of_cleaning = [CleaningBegun, CopiesSynced, SegmentCopied, SegmentForgotten, SegmentRemoved];
        let of_large = [BlobDrafted, TreeInstalled, BlobInstalled, BlobSynced];
        of_segments.into_iter().chain(of_cleaning).chain(of_large).for_each(named);
        assert_eq!(BlobSynced as usize + 1, FAILPOINTS.len());
    }
}
