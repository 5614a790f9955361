//! Files that their owner alone may read, and that are never overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use tidemill_scratch::Scratch;

/// The longest file that can be an account; what is longer is not read to its end.
const MAX_BYTES: u64 = 64 << 10;

/// Reads a file that should hold an account.
pub(super) fn read(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for an account"));
    }
    Ok(text)
}

/// Who may read the file, as its permission bits; on systems without them, its owner.
pub(super) fn mode(path: &Path) -> io::Result<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok(fs::metadata(path)?.mode() & 0o777)
    }
    #[cfg(not(unix))]
    {
        fs::metadata(path).map(|_| 0o600)
    }
}

/// Makes the file whole or not at all; one that is there stays and is an error.
pub(super) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // The draft goes whether or not the file is made, also if this process is killed.
    let scratch = Scratch::within(directory)?;
    let draft = scratch.path().join("draft");
    write(&draft, bytes)?;
    // A link, unlike a renaming, fails where the name is taken.
    fs::hard_link(&draft, path)?;
    tidemill_disk::sync_dir(directory)
}

fn write(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    file.write_all(bytes)?;
    tidemill_disk::sync_all(&file)
}
