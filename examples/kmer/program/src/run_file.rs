//! Runs: sorted lists of k-mers with their counts, as streams of bytes.
//!
//! A run begins with eight bytes of magic and one of k. Each entry is the distance from the k-mer
//! before (from -1 at first, so it is never 0) and the count, both as variable-length numbers of seven
//! bits a byte. A distance of 0 ends the run; the number of entries follows as a check.

use std::io::{self, Read, Write};

use crate::kmer::K;

const MAGIC: &[u8; 8] = b"tmkmer1\n";

/// A k-mer and how often it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The code of the k-mer.
    pub code: u64,
    /// How often.
    pub count: u64,
}

/// Takes entries in order.
pub trait Sink {
    /// Takes the next entry; its code is above that of the one before.
    fn entry(&mut self, entry: Entry) -> io::Result<()>;
}

/// Writes a run.
pub struct RunWriter<W> {
    out: W,
    /// One more than the last code, 0 at first.
    next: u64,
    entries: u64,
}

impl<W: Write> RunWriter<W> {
    /// Begins a run.
    pub fn new(mut out: W, k: K) -> io::Result<RunWriter<W>> {
        out.write_all(MAGIC)?;
        out.write_all(&[k.get() as u8])?;
        Ok(RunWriter { out, next: 0, entries: 0 })
    }

    fn number(&mut self, mut n: u64) -> io::Result<()> {
        let mut bytes = [0u8; 10];
        let mut used = 0;
        loop {
            bytes[used] = (n & 127) as u8 | if n > 127 { 128 } else { 0 };
            used += 1;
            n >>= 7;
            if n == 0 {
                return self.out.write_all(&bytes[..used]);
            }
        }
    }

    /// Ends the run.
    pub fn finish(mut self) -> io::Result<()> {
        self.number(0)?;
        self.number(self.entries)?;
        self.out.flush()
    }
}

impl<W: Write> Sink for RunWriter<W> {
    fn entry(&mut self, entry: Entry) -> io::Result<()> {
        self.number(entry.code + 1 - self.next)?;
        self.number(entry.count)?;
        self.next = entry.code + 1;
        self.entries += 1;
        Ok(())
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// Reads a run.
pub struct RunReader<R> {
    source: R,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    k: K,
    next: u64,
    entries: u64,
}

impl<R: Read> RunReader<R> {
    /// Opens a run.
    pub fn new(mut source: R) -> io::Result<RunReader<R>> {
        let mut head = [0u8; 9];
        source.read_exact(&mut head).map_err(|_| damaged("this is not a run of k-mers"))?;
        let k = K::new(u32::from(head[8])).filter(|_| head.starts_with(MAGIC));
        let k = k.ok_or_else(|| damaged("this is not a run of k-mers"))?;
        Ok(RunReader { source, buffer: vec![0; 1 << 16], at: 0, filled: 0, k, next: 0, entries: 0 })
    }

    /// The length of the k-mers.
    pub fn k(&self) -> K {
        self.k
    }

    fn byte(&mut self) -> io::Result<u8> {
        if self.at == self.filled {
            self.filled = self.source.read(&mut self.buffer)?;
            self.at = 0;
            if self.filled == 0 {
                return Err(damaged("the run is cut short"));
            }
        }
        self.at += 1;
        Ok(self.buffer[self.at - 1])
    }

    fn number(&mut self) -> io::Result<u64> {
        let (mut n, mut shift) = (0u64, 0u32);
        loop {
            let byte = self.byte()?;
            if shift > 63 {
                return Err(damaged("the run is damaged: a number is too long"));
            }
            n |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(n);
            }
            shift += 7;
        }
    }

    /// The next entry; `None` at the end of the run.
    pub fn entry(&mut self) -> io::Result<Option<Entry>> {
        let distance = self.number()?;
        if distance == 0 {
            return match self.number()? == self.entries {
                true => Ok(None),
                false => Err(damaged("the run is damaged: its number of entries is wrong")),
            };
        }
        let count = self.number()?;
        let next = self.next.checked_add(distance).filter(|&n| n <= 1 << self.k.bits());
        let next = next.ok_or_else(|| damaged("the run is damaged: a k-mer is out of range"))?;
        self.next = next;
        self.entries += 1;
        Ok(Some(Entry { code: next - 1, count }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_back_and_damage_is_found() {
        let k = K::new(31).unwrap();
        let entries = [(0, 1), (1, 300), (1 << 40, 2), ((1 << 62) - 1, u64::MAX >> 1)];
        let mut bytes = Vec::new();
        let mut writer = RunWriter::new(&mut bytes, k).unwrap();
        for (code, count) in entries {
            writer.entry(Entry { code, count }).unwrap();
        }
        writer.finish().unwrap();
        let mut reader = RunReader::new(bytes.as_slice()).unwrap();
        assert_eq!(reader.k(), k);
        for (code, count) in entries {
            assert_eq!(reader.entry().unwrap(), Some(Entry { code, count }));
        }
        assert_eq!(reader.entry().unwrap(), None);
        for cut in 0..bytes.len() {
            let broken = RunReader::new(&bytes[..cut]).and_then(|mut r| {
                while r.entry()?.is_some() {}
                Ok(())
            });
            assert!(broken.is_err(), "cut at {cut}");
        }
    }
}
