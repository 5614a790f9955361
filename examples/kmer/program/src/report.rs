//! What people want to know about the k-mers of a sample.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write;
use std::io;

use crate::kmer::{K, spell};
use crate::run_file::{Entry, Sink};

/// How many of the most frequent k-mers are listed.
const TOP: usize = 100;

/// Collects the final report from the merged k-mers.
pub struct Report {
    k: K,
    total: u64,
    distinct: u64,
    most: u64,
    histogram: BTreeMap<u64, u64>,
    /// The most frequent so far; the least of them, and among equals the last, on top.
    top: BinaryHeap<(Reverse<u64>, u64)>,
}

impl Report {
    /// An empty report.
    pub fn new(k: K) -> Report {
        Report { k, total: 0, distinct: 0, most: 0, histogram: BTreeMap::new(), top: BinaryHeap::new() }
    }

    /// The most frequent k-mers: word and count, by count and then alphabetically.
    pub fn top(&self) -> String {
        let mut list: Vec<_> = self.top.iter().collect();
        list.sort();
        let mut text = String::from("kmer\tcount\n");
        for (Reverse(count), code) in list {
            let _ = writeln!(text, "{}\t{count}", spell(*code, self.k));
        }
        text
    }

    /// How many distinct k-mers occur so and so often.
    pub fn histogram(&self) -> String {
        let mut text = String::from("multiplicity\tkmers\n");
        for (count, kmers) in &self.histogram {
            let _ = writeln!(text, "{count}\t{kmers}");
        }
        text
    }

    /// The numbers of the whole sample.
    pub fn summary(&self) -> String {
        let unique = self.histogram.get(&1).copied().unwrap_or(0);
        format!(
            "k         {}\ntotal     {}\ndistinct  {}\nunique    {unique}\nmax count {}\n",
            self.k, self.total, self.distinct, self.most
        )
    }
}

impl Sink for Report {
    fn entry(&mut self, entry: Entry) -> io::Result<()> {
        self.total += entry.count;
        self.distinct += 1;
        self.most = self.most.max(entry.count);
        *self.histogram.entry(entry.count).or_insert(0) += 1;
        let own = (Reverse(entry.count), entry.code);
        if self.top.len() < TOP {
            self.top.push(own);
        } else if self.top.peek().is_some_and(|worst| own < *worst) {
            self.top.pop();
            self.top.push(own);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_orders_and_sums() {
        let k = K::new(4).unwrap();
        let mut report = Report::new(k);
        for code in 0..200 {
            report.entry(Entry { code, count: if code == 7 { 9 } else { 1 + code % 2 } }).unwrap();
        }
        let top = report.top();
        let lines: Vec<&str> = top.lines().collect();
        assert_eq!(lines.len(), 101);
        assert_eq!(lines[1], "AACT\t9");
        assert_eq!(lines[2], "AAAC\t2");
        assert_eq!(lines[100], "TACT\t2");
        assert_eq!(report.histogram(), "multiplicity\tkmers\n1\t100\n2\t99\n9\t1\n");
        assert!(report.summary().contains("total     307\ndistinct  200\nunique    100\nmax count 9"));
    }
}
