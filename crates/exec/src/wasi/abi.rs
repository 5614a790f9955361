//! The numbers and layouts of WASI preview 1, as its witx definition fixes them.

/// An error number that a WASI call returns to the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Errno {
    Badf = 8,
    Exist = 20,
    Fault = 21,
    Fbig = 22,
    Ilseq = 25,
    Inval = 28,
    Isdir = 31,
    Loop = 32,
    Mfile = 33,
    Mlink = 34,
    Nametoolong = 37,
    Noent = 44,
    Nomem = 48,
    Notdir = 54,
    Notempty = 55,
    Notsock = 57,
    Notsup = 58,
    Perm = 63,
    Rofs = 69,
    Spipe = 70,
    Notcapable = 76,
}

/// What a file descriptor or a directory entry refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum FileType {
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SymbolicLink = 7,
}

/// What may be done through a file descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rights(pub(crate) u64);

impl Rights {
    const FD_DATASYNC: u64 = 1 << 0;
    pub(crate) const READ: Self = Self(1 << 1);
    const FD_SEEK: u64 = 1 << 2;
    const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    const FD_SYNC: u64 = 1 << 4;
    const FD_TELL: u64 = 1 << 5;
    pub(crate) const WRITE: Self = Self(1 << 6);
    const FD_ADVISE: u64 = 1 << 7;
    const FD_ALLOCATE: u64 = 1 << 8;
    const FD_READDIR: u64 = 1 << 14;
    const FD_FILESTAT_GET: u64 = 1 << 21;
    const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
    const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
    /// Truncating a file while opening it.
    pub(crate) const PATH_FILESTAT_SET_SIZE: Self = Self(1 << 19);
    const POLL_FD_READWRITE: u64 = 1 << 27;
    /// All path operations: create directory and file, link, open, readdir, readlink, rename, stat, set
    /// size and times, symlink, remove directory, unlink.
    const PATHS: u64 = (0b1111 << 9) | (0b1_1111 << 15) | (1 << 20) | (0b111 << 24) | (1 << 13);

    pub(crate) const NONE: Self = Self(0);
    /// What a regular file can be asked.
    pub(crate) const FILE: Self = Self(
        Self::FD_DATASYNC
            | Self::READ.0
            | Self::FD_SEEK
            | Self::FD_FDSTAT_SET_FLAGS
            | Self::FD_SYNC
            | Self::FD_TELL
            | Self::WRITE.0
            | Self::FD_ADVISE
            | Self::FD_ALLOCATE
            | Self::FD_FILESTAT_GET
            | Self::FD_FILESTAT_SET_SIZE
            | Self::FD_FILESTAT_SET_TIMES
            | Self::POLL_FD_READWRITE,
    );
    /// What a directory can be asked.
    pub(crate) const DIRECTORY: Self = Self(
        Self::FD_FDSTAT_SET_FLAGS
            | Self::FD_SYNC
            | Self::FD_ADVISE
            | Self::PATHS
            | Self::FD_READDIR
            | Self::FD_FILESTAT_GET
            | Self::FD_FILESTAT_SET_TIMES
            | Self::POLL_FD_READWRITE,
    );
    /// What standard streams can be asked; no seeking, so that libc knows them for streams.
    pub(crate) const INPUT_STREAM: Self =
        Self(Self::READ.0 | Self::FD_FILESTAT_GET | Self::POLL_FD_READWRITE);
    pub(crate) const OUTPUT_STREAM: Self =
        Self(Self::WRITE.0 | Self::FD_FILESTAT_GET | Self::POLL_FD_READWRITE);

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `fdflags`.
pub(crate) mod fdflags {
    pub(crate) const APPEND: u16 = 1;
    pub(crate) const ALL: u16 = 0b1_1111;
}

/// `oflags` of `path_open`.
pub(crate) mod oflags {
    pub(crate) const CREAT: u32 = 1;
    pub(crate) const DIRECTORY: u32 = 2;
    pub(crate) const EXCL: u32 = 4;
    pub(crate) const TRUNC: u32 = 8;
}

/// `lookupflags`.
pub(crate) const SYMLINK_FOLLOW: u32 = 1;

/// `fstflags` of the calls that set times.
pub(crate) mod fstflags {
    pub(crate) const ATIM: u32 = 1;
    pub(crate) const ATIM_NOW: u32 = 2;
    pub(crate) const MTIM: u32 = 4;
    pub(crate) const MTIM_NOW: u32 = 8;
    pub(crate) const ALL: u32 = 0b1111;
}

/// Clock ids.
pub(crate) mod clock {
    pub(crate) const REALTIME: u32 = 0;
    pub(crate) const MONOTONIC: u32 = 1;
    pub(crate) const PROCESS_CPUTIME: u32 = 2;
    pub(crate) const THREAD_CPUTIME: u32 = 3;
}

/// `subclockflags`: the timeout is a point in time, not a span.
pub(crate) const CLOCK_ABSTIME: u16 = 1;

/// Event types of `poll_oneoff`.
pub(crate) mod eventtype {
    pub(crate) const CLOCK: u8 = 0;
    pub(crate) const FD_READ: u8 = 1;
    pub(crate) const FD_WRITE: u8 = 2;
}

/// Sizes of the records that calls exchange, in bytes.
pub(crate) const SUBSCRIPTION_BYTES: u32 = 48;
pub(crate) const EVENT_BYTES: u32 = 32;

/// The attributes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileStat {
    pub(crate) inode: u64,
    pub(crate) file_type: FileType,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) times: Times,
}

/// Access, modification and change time, in nanoseconds of the virtual clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Times {
    pub(crate) access: u64,
    pub(crate) modification: u64,
    pub(crate) change: u64,
}

impl FileStat {
    pub(crate) const BYTES: usize = 64;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        // The device number, bytes 0 to 8, is 1 for all: a task sees one file system.
        bytes[0..8].copy_from_slice(&1u64.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.inode.to_le_bytes());
        bytes[16] = self.file_type as u8;
        bytes[24..32].copy_from_slice(&self.links.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.times.access.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.times.modification.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.times.change.to_le_bytes());
        bytes
    }
}

/// The state of a file descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FdStat {
    pub(crate) file_type: FileType,
    pub(crate) flags: u16,
    pub(crate) base: Rights,
    pub(crate) inheriting: Rights,
}

impl FdStat {
    pub(crate) const BYTES: usize = 24;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = self.file_type as u8;
        bytes[2..4].copy_from_slice(&self.flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.inheriting.0.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_have_the_bits_of_the_witx_definition() {
        // path_create_directory..fd_readdir are bits 9 to 14, path_readlink..path_filestat_set_times 15 to 20,
        // path_symlink, path_remove_directory, path_unlink_file 24 to 26.
        let paths: u64 = (9..=13).chain(15..=20).chain(24..=26).map(|bit| 1u64 << bit).sum();
        assert_eq!(Rights::PATHS, paths);
    }
}
