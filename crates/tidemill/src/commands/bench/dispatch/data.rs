//! Jobs of tasks that have data, run as `tidemill run` runs them: from reading the job file to the last output.
//!
//! The outputs end in the requester's hands, each checked against its hash, and are not laid out as files: how long that
//! takes is a matter of the file system, and others that hand out tasks do not do it either.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tidemill_job::{JobFile, expand};
use tidemill_net::{
    ticket::Ticket,
    wire::{JobPay, JobReport, Request},
};
use tidemill_types::{Archive, ByteSize, JobId};

use super::{ended, lock};
use crate::{
    commands::bench::bank::Bank,
    exit::{Code, WithCode},
    home::Identity,
    outdir::open_archive,
    output::Piece,
    requester::{self, draw},
};

/// What the tasks run, in `payload.wat` as text.
const PAYLOAD: &[u8] = include_bytes!("payload.wasm");

/// What each task reads and writes.
#[derive(Clone, Copy)]
pub struct Payload {
    /// How much of its own input it is given.
    pub input: Option<ByteSize>,
    /// How much it writes.
    pub output: Option<ByteSize>,
}

/// Who submits the jobs, one after another.
pub struct Requester {
    session: requester::Requester,
    directory: PathBuf,
    payload: Payload,
    pay: Option<JobPay>,
}

impl Payload {
    /// Of one task, both ways together.
    pub fn bytes(&self) -> u64 {
        self.input_bytes() + self.output_bytes()
    }

    fn input_bytes(&self) -> u64 {
        self.input.map_or(0, |size| size.0)
    }

    fn output_bytes(&self) -> u64 {
        self.output.map_or(0, |size| size.0)
    }
}

impl Requester {
    /// Joins a network as somebody. `bank`: where to lock the money for all jobs, in a network that pays.
    pub async fn connect(
        identity: Identity,
        directory: &Path,
        ticket: &Ticket,
        bank: Option<&Bank>,
        payload: Payload,
    ) -> anyhow::Result<Self> {
        let folder = directory.join("requester");
        let mut session = requester::Requester::connect_as(identity, folder, ticket.clone()).await?;
        fs::write(directory.join("payload.wasm"), PAYLOAD).code(Code::Host)?;
        let pay = match bank {
            Some(bank) => {
                let terms = session.terms_of(Vec::new()).await?;
                Some(lock(terms, session.node(), bank).await?)
            }
            None => None,
        };
        Ok(Self { session, directory: directory.to_owned(), payload, pay })
    }

    /// Runs a job of so many tasks, no two of which read or write the same. Gives the time from reading the job file to
    /// having the last output.
    pub async fn run(&mut self, tasks: u32) -> anyhow::Result<Duration> {
        let job = draw()?;
        let lines = self.directory.join(format!("lines-{job}"));
        if let Some(size) = self.payload.input {
            write_lines(&lines, tasks, size).with_context(|| format!("cannot write {}", lines.display()))?;
        }
        let text = self.text(tasks, job);
        let begun = Instant::now();
        let file =
            JobFile::parse(&text).map_err(|mistakes| anyhow::anyhow!("{}", mistakes.in_file("job.toml")))?;
        let plan = Arc::new(expand(&file, &self.directory)?);
        anyhow::ensure!(
            plan.task_count() == u64::from(tasks),
            "the input was cut otherwise than it is meant"
        );
        let sealed = self.session.seal(&Arc::new(file), &plan).await?;
        self.session.hand_in(job, &sealed, self.pay).await?;
        let replies = self.session.follow(Request::Watch { job }).await;
        let report = ended(replies.context("the connection to the coordinator was lost")?).await?;
        let (mut names, mut bytes) = (HashSet::new(), 0);
        let outputs = self.session.outputs(&report, |id, piece| {
            names.insert(id);
            bytes += archive(piece)?.data_len();
            Ok(())
        });
        outputs.await?;
        let time = begun.elapsed();
        self.check(&report, tasks, names.len(), bytes)?;
        if self.payload.input.is_some() {
            fs::remove_file(&lines).with_context(|| format!("cannot remove {}", lines.display()))?;
        }
        Ok(time)
    }

    fn text(&self, tasks: u32, job: JobId) -> String {
        let output = self.payload.output_bytes();
        let (input, source) = match self.payload.input {
            Some(size) => (
                r#", "{input}""#,
                format!("split = {{ input = \"lines-{job}\", by = \"lines\", size = \"{} B\" }}", size.0),
            ),
            None => ("", format!("range = {{ from = 0, to = {tasks} }}")),
        };
        format!(
            "name = \"payload\"\n\
             [program]\npath = \"payload.wasm\"\nargs = [\"{output}\", \"{job}.{{index}}\"{input}]\n\
             [tasks]\n{source}\n\
             [limits]\nmemory = \"1 MiB\"\n"
        )
    }

    /// That every task read all of its input and wrote an output of its own: a figure for less would be wrong.
    fn check(&self, report: &JobReport, tasks: u32, names: usize, bytes: u64) -> anyhow::Result<()> {
        let read = u64::from(tasks) * self.payload.input_bytes();
        anyhow::ensure!(
            report.usage.read.0 == read,
            "the tasks read {} of {read} bytes",
            report.usage.read.0
        );
        let written = u64::from(tasks) * self.payload.output_bytes();
        anyhow::ensure!(bytes == written, "the tasks wrote {bytes} of {written} bytes");
        let distinct = if self.payload.output.is_some() { tasks as usize } else { 1 };
        anyhow::ensure!(names == distinct, "{tasks} tasks wrote {names} different outputs, not {distinct}");
        Ok(())
    }
}

/// The index of an output.
fn archive(piece: &Piece<'_>) -> anyhow::Result<Archive> {
    Ok(match piece {
        Piece::Bytes(bytes) => Archive::parse(bytes)?,
        Piece::Blob(lent) => Archive::read_index(&mut lent.open()?, lent.len())?,
        Piece::File(path) => open_archive(path)?.1,
    })
}

/// Writes lines of this length, line feed included, no two alike: each becomes one task's input.
fn write_lines(path: &Path, lines: u32, size: ByteSize) -> io::Result<()> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    let mut random = blake3::Hasher::new_keyed(&key).finalize_xof();
    let mut line = vec![0; usize::try_from(size.0).map_err(io::Error::other)?];
    let mut file = BufWriter::new(File::create(path)?);
    for _ in 0..lines {
        random.fill(&mut line);
        // 64 characters, none of which ends a line, and none a file that would be taken for a compressed one.
        line.iter_mut().for_each(|byte| *byte = b'0' + (*byte & 0x3f));
        if let Some(last) = line.last_mut() {
            *last = b'\n';
        }
        file.write_all(&line)?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_made_from_its_text() {
        let made = wat::parse_str(include_str!("payload.wat")).expect("the text is well formed");
        assert!(
            made == PAYLOAD,
            "payload.wasm is not payload.wat: `wasm-tools parse payload.wat -o payload.wasm` makes it"
        );
    }

    #[test]
    fn lines_are_of_their_length_and_all_different() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("lines");
        write_lines(&path, 100, ByteSize(16)).expect("a disk");
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(text.len(), 1600);
        let lines: HashSet<&str> = text.lines().collect();
        assert_eq!(lines.len(), 100);
        assert!(lines.iter().all(|line| line.len() == 15));
    }
}
