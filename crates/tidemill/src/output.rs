//! A job's output in its directory: the same bytes and names however the job was run.

use std::collections::BTreeMap;

use serde::Serialize;
use tidemill_net::blobs::Lent;
use tidemill_types::{BlobId, EXEC_VERSION};

use crate::{
    outdir::{OutDir, OutFile},
    summary::OutputSummary,
};

/// Marks the output. It says nothing that differs from one run of the job to the next.
#[derive(Serialize)]
struct Manifest<'a> {
    job: &'a str,
    output: String,
    exec_version: u32,
    /// What each task's directory is of, by its name; none in the output of a reduce.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tasks: BTreeMap<String, &'a str>,
}

/// What an output is made of.
pub enum Shape {
    /// That of the last reduce task.
    Reduced,
    /// Those of the map tasks that people call so, each in a directory of its own.
    Map(Vec<String>),
}

/// Lays out the outputs of a job's last tasks, one after another.
pub struct Placing<'a> {
    out: &'a OutDir,
    job: &'a str,
    shape: Shape,
    files: Vec<OutFile>,
    ids: Vec<BlobId>,
}

/// A task's output.
pub enum Piece<'a> {
    /// An archive in a file.
    File(&'a std::path::Path),
    /// An archive that is a blob.
    Blob(&'a Lent),
    /// An archive in memory.
    Bytes(&'a [u8]),
}

impl<'a> Placing<'a> {
    /// Begins to lay out the output of a job of this name.
    ///
    /// # Errors
    /// With [`crate::exit::Code::Host`] when the disk does not take it.
    pub fn begin(out: &'a OutDir, job: &'a str, shape: Shape) -> anyhow::Result<Self> {
        out.begin()?;
        Ok(Self { out, job, shape, files: Vec::new(), ids: Vec::new() })
    }

    /// How many outputs are still to come.
    pub fn missing(&self) -> u64 {
        let whole = match &self.shape {
            Shape::Reduced => 1,
            Shape::Map(labels) => labels.len(),
        };
        whole.saturating_sub(self.ids.len()) as u64
    }

    /// Lays out the output of the next task, in the order of their numbers.
    ///
    /// # Errors
    /// With [`crate::exit::Code::Host`] when it cannot be read or the disk does not take it.
    pub fn add(&mut self, id: BlobId, piece: &Piece<'_>) -> anyhow::Result<()> {
        let prefix = match &self.shape {
            Shape::Reduced => String::new(),
            Shape::Map(labels) => task_directory(labels.len(), self.ids.len()),
        };
        let files = match piece {
            Piece::File(archive) => self.out.unpack(archive, &prefix)?,
            Piece::Blob(archive) => self.out.unpack_blob(archive, &prefix)?,
            Piece::Bytes(archive) => self.out.unpack_bytes(archive, &prefix)?,
        };
        self.files.extend(files);
        self.ids.push(id);
        Ok(())
    }

    /// Gives the output its place.
    ///
    /// # Errors
    /// As [`OutDir::finish`].
    pub fn finish(self) -> anyhow::Result<OutputSummary> {
        let id = match (&self.shape, self.ids.as_slice()) {
            (Shape::Reduced, [id]) => *id,
            (_, ids) => {
                let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
                BlobId::of(&bytes)
            }
        };
        let tasks = match &self.shape {
            Shape::Reduced => BTreeMap::new(),
            Shape::Map(labels) => {
                let named = labels.iter().enumerate();
                named.map(|(index, label)| (task_directory(labels.len(), index), label.as_str())).collect()
            }
        };
        self.out.finish(&Manifest {
            job: self.job,
            output: id.to_string(),
            exec_version: EXEC_VERSION,
            tasks,
        })?;
        Ok(OutputSummary { id: id.to_string(), directory: self.out.path().to_owned(), files: self.files })
    }
}

/// `tasks/07` of a hundred: the number in as many digits as the last one has, so that names sort.
fn task_directory(count: usize, index: usize) -> String {
    let digits = count.saturating_sub(1).to_string().len();
    format!("tasks/{index:0digits$}")
}
