//! Where a model file's bytes come from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes that are read by offset: a file, or memory.
pub trait Source {
    /// How many there are.
    fn len(&self) -> u64;

    /// True where there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `into` with the bytes from `at` on.
    ///
    /// # Errors
    ///
    /// There are fewer bytes, or the system cannot read them.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Source for [u8] {
    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let bytes = rest.get(..into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        Vec::len(self) as u64
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.as_slice().read(at, into)
    }
}

/// A file that is read, not mapped: a mapped file that somebody cuts short ends the process.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    len: u64,
}

impl FileSource {
    /// Takes the file's length as it is now.
    ///
    /// # Errors
    ///
    /// The system does not tell the length.
    pub fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(into)
    }
}
