//! Counts canonical k-mers of FASTA and FASTQ files.
//!
//! `count` turns one file into a sorted run of k-mers with counts; `merge` makes one run of several,
//! and of the last one the report.

pub mod error;
pub mod kmer;
pub mod merge;
pub mod report;
pub mod run_file;
pub mod sequence;
pub mod sort;

use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};

pub use error::Error;
use kmer::{K, Roller};
use merge::Source;
use report::Report;
use run_file::{Entry, RunReader, RunWriter, Sink};
use sequence::{Letters, Reader};

const USAGE: &str = "usage:
  kmer count --input FILE --k N [--out FILE]
  kmer merge --parts DIR --last true|false [--out DIR]";

/// K-mers sorted at a time: 64 MiB, and as much again for the sort.
const BATCH: usize = 8 << 20;
const PIECE: usize = 256 << 10;

fn flag<'a>(rest: &'a [String], name: &str) -> Result<Option<&'a str>, Error> {
    match rest.iter().position(|a| a == name) {
        None => Ok(None),
        Some(i) => match rest.get(i + 1) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::Usage(format!("{name} needs a value\n{USAGE}"))),
        },
    }
}

fn need<'a>(rest: &'a [String], name: &str) -> Result<&'a str, Error> {
    flag(rest, name)?.ok_or_else(|| Error::Usage(format!("{name} is missing\n{USAGE}")))
}

fn check(rest: &[String], known: &[&str]) -> Result<(), Error> {
    match rest.iter().step_by(2).find(|a| !known.contains(&a.as_str())) {
        Some(other) => Err(Error::Usage(format!("unknown argument \"{other}\"\n{USAGE}"))),
        None => Ok(()),
    }
}

/// A guest path and its place below the root.
#[derive(Clone)]
struct Guest {
    path: String,
    place: PathBuf,
}

impl Guest {
    fn new(root: &Path, path: &str) -> Guest {
        Guest { path: path.to_string(), place: root.join(path.trim_start_matches('/')) }
    }

    fn error(&self, why: std::io::Error) -> Error {
        Error::File { path: self.path.clone(), why }
    }

    fn open(&self) -> Result<File, Error> {
        File::open(&self.place).map_err(|why| self.error(why))
    }

    fn run_writer(&self, k: K) -> Result<RunWriter<BufWriter<File>>, Error> {
        let file = File::create(&self.place).map_err(|why| self.error(why))?;
        RunWriter::new(BufWriter::with_capacity(1 << 16, file), k).map_err(|why| self.error(why))
    }

    fn write(&self, text: &str) -> Result<(), Error> {
        std::fs::write(&self.place, text).map_err(|why| self.error(why))
    }

    fn source(self) -> Result<Source<File>, Error> {
        let run = RunReader::new(self.open()?).map_err(|why| self.error(why))?;
        Ok(Source { path: self.path, run })
    }
}

/// Runs the program with the arguments after its name; guest paths are taken below `root`.
pub fn run(args: &[String], root: &Path) -> Result<(), Error> {
    let Some((command, rest)) = args.split_first() else { return Err(Error::Usage(USAGE.into())) };
    match command.as_str() {
        "count" => {
            check(rest, &["--input", "--k", "--out"])?;
            let text = need(rest, "--k")?;
            let k = text.parse().ok().and_then(K::new);
            let k = k.ok_or_else(|| Error::Usage(format!("--k must be from 1 to 31, not \"{text}\"")))?;
            let out = flag(rest, "--out")?.unwrap_or("/out/run.bin");
            count(root, &Guest::new(root, need(rest, "--input")?), k, &Guest::new(root, out))
        }
        "merge" => {
            check(rest, &["--parts", "--last", "--out"])?;
            let last = match need(rest, "--last")? {
                "true" => true,
                "false" => false,
                other => return Err(Error::Usage(format!("--last must be true or false, not \"{other}\""))),
            };
            merge_parts(root, need(rest, "--parts")?, last, flag(rest, "--out")?.unwrap_or("/out"))
        }
        other => Err(Error::Usage(format!("unknown command \"{other}\"\n{USAGE}"))),
    }
}

/// Takes letters and keeps their k-mers.
struct Collector {
    roller: Roller,
    found: Vec<u64>,
}

impl Letters for Collector {
    fn restart(&mut self) {
        self.roller.restart();
    }

    fn letters(&mut self, letters: &[u8]) {
        self.roller.slide(letters, &mut self.found);
    }
}

/// Sorts the k-mers found and writes them as a run.
fn spill(found: &mut Vec<u64>, spare: &mut Vec<u64>, k: K, out: &Guest) -> Result<(), Error> {
    sort::radix_sort(found, spare, k.bits());
    let mut writer = out.run_writer(k)?;
    let mut rest = found.as_slice();
    while let Some(&code) = rest.first() {
        let count = rest.iter().take_while(|&&other| other == code).count();
        writer.entry(Entry { code, count: count as u64 }).map_err(|why| out.error(why))?;
        rest = &rest[count..];
    }
    found.clear();
    writer.finish().map_err(|why| out.error(why))
}

fn count(root: &Path, input: &Guest, k: K, out: &Guest) -> Result<(), Error> {
    let mut file = input.open()?;
    let size = file.metadata().map_or(0, |m| m.len());
    let batch = BATCH.min(size as usize + 1);
    let mut collector = Collector { roller: Roller::new(k), found: Vec::with_capacity(batch + PIECE) };
    let mut spare = Vec::new();
    let mut reader = Reader::default();
    let mut runs: Vec<Guest> = Vec::new();
    let mut piece = vec![0u8; PIECE];
    let fault = |f: sequence::Fault| Error::Format { path: input.path.clone(), line: f.line, what: f.what };
    loop {
        let n = file.read(&mut piece).map_err(|why| input.error(why))?;
        if n == 0 {
            break;
        }
        reader.feed(&piece[..n], &mut collector).map_err(fault)?;
        if collector.found.len() >= BATCH {
            let run = Guest::new(root, &format!("/tmp/run-{}.bin", runs.len()));
            spill(&mut collector.found, &mut spare, k, &run)?;
            runs.push(run);
        }
    }
    reader.finish().map_err(fault)?;
    if runs.is_empty() {
        return spill(&mut collector.found, &mut spare, k, out);
    }
    let run = Guest::new(root, &format!("/tmp/run-{}.bin", runs.len()));
    spill(&mut collector.found, &mut spare, k, &run)?;
    runs.push(run);
    let mut sources = runs.iter().cloned().map(Guest::source).collect::<Result<Vec<_>, _>>()?;
    let mut writer = out.run_writer(k)?;
    merge::merge(&mut sources, &out.path, &mut writer)?;
    writer.finish().map_err(|why| out.error(why))?;
    for run in &runs {
        std::fs::remove_file(&run.place).map_err(|why| run.error(why))?;
    }
    Ok(())
}

fn merge_parts(root: &Path, parts: &str, last: bool, out: &str) -> Result<(), Error> {
    let folder = Guest::new(root, parts.trim_end_matches('/'));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder.place).map_err(|why| folder.error(why))? {
        names.push(entry.map_err(|why| folder.error(why))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut sources: Vec<Source<File>> = Vec::new();
    for name in &names {
        let source = Guest::new(root, &format!("{}/{name}/run.bin", folder.path)).source()?;
        if let Some(first) = sources.first().filter(|first| first.run.k() != source.run.k()) {
            let what = format!("k is {}, but {} in {}", source.run.k(), first.run.k(), first.path);
            return Err(Error::Run { path: source.path, what });
        }
        sources.push(source);
    }
    let Some(k) = sources.first().map(|s| s.run.k()) else {
        return Err(Error::Run { path: folder.path, what: "there are no runs to merge".into() });
    };
    let below = |name: &str| Guest::new(root, &format!("{}/{name}", out.trim_end_matches('/')));
    if !last {
        let target = below("run.bin");
        let mut writer = target.run_writer(k)?;
        merge::merge(&mut sources, &target.path, &mut writer)?;
        return writer.finish().map_err(|why| target.error(why));
    }
    let mut report = Report::new(k);
    merge::merge(&mut sources, out, &mut report)?;
    below("top.tsv").write(&report.top())?;
    below("histogram.tsv").write(&report.histogram())?;
    below("summary.txt").write(&report.summary())
}
