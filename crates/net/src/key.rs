//! Secret keys in files that their owner alone may read.
//!
//! A key file is two lines: what it is, and 32 bytes in hexadecimal. It is made whole under another name and then
//! linked to its own, so that neither a crash nor a second process ever leaves half a key or two different ones.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use rustix::fs::{Mode, OFlags};

/// What a key is for, which is the first line of its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// The ed25519 key that names a node.
    Node,
    /// The secp256k1 key that signs results.
    Result,
}

/// A key that could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is a symbolic link.
    #[error("{0} is a link, and a key must be a file of its own")]
    Link(PathBuf),
    /// The path names no regular file.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Others may read or change the file.
    #[error("{path} is open to others (its mode is {mode:03o})")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else, or another kind of key.
    #[error("{path} does not begin with {expected:?}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The first line that was expected.
        expected: &'static str,
    },
    /// The file holds no whole key.
    #[error("{0} is damaged: its second and last line must be 64 hexadecimal digits")]
    Damaged(PathBuf),
    /// The file could not be read.
    #[error("cannot read the key {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be made.
    #[error("cannot make the key {path}")]
    Make {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl KeyError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open { path, .. } => Some(format!(
                "if nobody has read it: chmod 600 {}; otherwise remove it, and a new one is made",
                path.display()
            )),
            Self::Link(path) => Some(format!("put the key itself at {}", path.display())),
            Self::Foreign { path, .. } | Self::Damaged(path) => Some(format!(
                "restore {} from a copy; if there is none, move it away and a new one is made, under another identity",
                path.display()
            )),
            Self::NotAFile(_) | Self::Read { .. } | Self::Make { .. } => None,
        }
    }
}

/// The longest file that can be a key; what is longer is not read to its end.
const MAX_FILE_BYTES: u64 = 256;

impl KeyKind {
    /// What stands in the first line of its file; the digits of the key are in the second.
    pub fn first_line(self) -> &'static str {
        match self {
            Self::Node => "tidemill node key 1",
            Self::Result => "tidemill result key 1",
        }
    }
}

/// The key in this file, which is made with mode 0600 when there is none. Of several processes that make it at the
/// same time all get the same key. The folder must exist.
///
/// # Errors
/// [`KeyError`] when the file is no key of this kind or not its owner's secret, or when it cannot be read or made.
pub fn load_or_create(path: &Path, kind: KeyKind) -> Result<[u8; 32], KeyError> {
    match load(path, kind) {
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    create(path, kind).map_err(|source| KeyError::Make { path: path.to_owned(), source })?;
    // Read back, since another process may have been first.
    load(path, kind)
}

fn load(path: &Path, kind: KeyKind) -> Result<[u8; 32], KeyError> {
    let read_error = |source| KeyError::Read { path: path.to_owned(), source };
    // NONBLOCK, so that a pipe in the key's place does not hang the program.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => return Err(KeyError::Link(path.to_owned())),
        Err(error) => return Err(read_error(error.into())),
    };
    let metadata = file.metadata().map_err(read_error)?;
    if !metadata.is_file() {
        return Err(KeyError::NotAFile(path.to_owned()));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    (&mut file).take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(read_error)?;
    parse(&text, kind).map_err(|wrong| match wrong {
        Wrong::FirstLine => KeyError::Foreign { path: path.to_owned(), expected: kind.first_line() },
        Wrong::Secret => KeyError::Damaged(path.to_owned()),
    })
}

enum Wrong {
    FirstLine,
    Secret,
}

fn parse(text: &[u8], kind: KeyKind) -> Result<[u8; 32], Wrong> {
    let rest = text.strip_prefix(kind.first_line().as_bytes()).ok_or(Wrong::FirstLine)?;
    let rest = rest.strip_prefix(b"\n").ok_or(Wrong::FirstLine)?;
    let digits = rest.strip_suffix(b"\n").unwrap_or(rest);
    let secret = HEXLOWER.decode(digits).map_err(|_| Wrong::Secret)?;
    let secret: [u8; 32] = secret.try_into().map_err(|_| Wrong::Secret)?;
    // What a crash of another program, or a hole in a file system, would leave.
    if secret == [0; 32] { Err(Wrong::Secret) } else { Ok(secret) }
}

fn create(path: &Path, kind: KeyKind) -> io::Result<()> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let draft = folder.join(format!(".{name}.{}", HEXLOWER.encode(&suffix)));
    let made = write_draft(&draft, kind, &secret).and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    });
    // The draft goes whether or not the key was made; an error of that is of less interest.
    let removed = std::fs::remove_file(&draft);
    made?;
    removed?;
    tidemill_disk::sync_dir(folder)
}

fn write_draft(draft: &Path, kind: KeyKind, secret: &[u8; 32]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(draft, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(format!("{}\n{}\n", kind.first_line(), HEXLOWER.encode(secret)).as_bytes())?;
    tidemill_disk::sync_all(&file)
}
