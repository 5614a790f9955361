//! Merges sorted runs into one, a buffer of each in memory at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Read;

use crate::error::Error;
use crate::run_file::{Entry, RunReader, Sink};

/// A run with its name, for messages.
pub struct Source<R> {
    /// The path as the guest sees it.
    pub path: String,
    /// The run.
    pub run: RunReader<R>,
}

impl<R: Read> Source<R> {
    fn entry(&mut self) -> Result<Option<Entry>, Error> {
        self.run.entry().map_err(|why| Error::File { path: self.path.clone(), why })
    }
}

/// Hands the entries of all runs to `sink` in order; the counts of a k-mer in several runs add up.
pub fn merge<R: Read>(sources: &mut [Source<R>], sink_path: &str, sink: &mut dyn Sink) -> Result<(), Error> {
    let mut heap = BinaryHeap::new();
    for (i, source) in sources.iter_mut().enumerate() {
        if let Some(entry) = source.entry()? {
            heap.push(Reverse((entry.code, i, entry.count)));
        }
    }
    let mut pending: Option<Entry> = None;
    let mut give =
        |entry: Entry| sink.entry(entry).map_err(|why| Error::File { path: sink_path.to_string(), why });
    while let Some(mut head) = heap.peek_mut() {
        let Reverse((code, i, count)) = *head;
        match &mut pending {
            Some(entry) if entry.code == code => entry.count += count,
            _ => {
                if let Some(done) = pending.replace(Entry { code, count }) {
                    give(done)?;
                }
            }
        }
        // Replacing the head sifts once; taking and adding would sift twice.
        match sources[i].entry()? {
            Some(next) => *head = Reverse((next.code, i, next.count)),
            None => {
                std::collections::binary_heap::PeekMut::pop(head);
            }
        }
    }
    match pending {
        Some(entry) => give(entry),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmer::K;
    use crate::run_file::RunWriter;
    use std::io;

    impl Sink for Vec<(u64, u64)> {
        fn entry(&mut self, entry: Entry) -> io::Result<()> {
            self.push((entry.code, entry.count));
            Ok(())
        }
    }

    #[test]
    fn counts_add_up_in_order() {
        let run = |entries: &[(u64, u64)]| {
            let mut bytes = Vec::new();
            let mut writer = RunWriter::new(&mut bytes, K::new(5).unwrap()).unwrap();
            for &(code, count) in entries {
                writer.entry(Entry { code, count }).unwrap();
            }
            writer.finish().unwrap();
            bytes
        };
        let bytes = [run(&[(1, 1), (7, 2)]), run(&[]), run(&[(0, 5), (7, 1), (9, 1)]), run(&[(7, 10)])];
        let mut sources: Vec<_> = bytes
            .iter()
            .map(|b| Source { path: "run".into(), run: RunReader::new(b.as_slice()).unwrap() })
            .collect();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        merge(&mut sources, "out", &mut merged).unwrap();
        assert_eq!(merged, [(0, 5), (1, 1), (7, 13), (9, 1)]);
    }
}
