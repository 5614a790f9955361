//! A job's output in its directory: the same bytes and names however the job was run.

use std::collections::BTreeMap;

use serde::Serialize;
use tidemill_api::{Output, OutputFile};
use tidemill_net::blobs::Lent;
use tidemill_types::{BlobId, GuestPath, ProgramKind};

use crate::outdir::OutDir;

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
    /// Those of the map tasks, each in a directory of its own.
    Map(Vec<MapTask>),
}

/// What a map task is for.
pub struct MapTask {
    /// What people call it.
    pub label: String,
    /// The file that it is for, where tasks are of whole files.
    pub file: Option<GuestPath>,
}

/// Lays out the outputs of a job's last tasks, one after another.
pub struct Placing<'a> {
    out: &'a OutDir,
    job: &'a str,
    shape: Shape,
    /// The directory of each map task.
    directories: Vec<String>,
    files: Vec<OutputFile>,
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
        let directories = match &shape {
            Shape::Reduced => Vec::new(),
            Shape::Map(tasks) => directories(tasks),
        };
        Ok(Self { out, job, shape, directories, files: Vec::new(), ids: Vec::new() })
    }

    /// Lays out the output of the next task, in the order of their numbers.
    ///
    /// # Errors
    /// With [`crate::exit::Code::Host`] when it cannot be read or the disk does not take it.
    pub fn add(&mut self, id: BlobId, piece: &Piece<'_>) -> anyhow::Result<()> {
        let prefix = self.directories.get(self.ids.len()).map_or("", String::as_str);
        let files = match piece {
            Piece::Blob(archive) => self.out.unpack_blob(archive, prefix)?,
            Piece::File(archive) => self.out.unpack(archive, prefix)?,
            Piece::Bytes(archive) => self.out.unpack_bytes(archive, prefix)?,
        };
        self.files.extend(files);
        self.ids.push(id);
        Ok(())
    }

    /// Gives the output its place.
    ///
    /// # Errors
    /// As [`OutDir::finish`].
    pub fn finish(self) -> anyhow::Result<Output> {
        let id = match (&self.shape, self.ids.as_slice()) {
            (Shape::Reduced, [id]) => *id,
            (_, ids) => {
                let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
                BlobId::of(&bytes)
            }
        };
        let tasks = match &self.shape {
            Shape::Reduced => BTreeMap::new(),
            Shape::Map(tasks) => {
                let labels = tasks.iter().map(|task| task.label.as_str());
                self.directories.iter().cloned().zip(labels).collect()
            }
        };
        self.out.finish(&Manifest {
            job: self.job,
            output: id.to_string(),
            // All programs are of one kind so far.
            exec_version: ProgramKind::Wasm.version(),
            tasks,
        })?;
        Ok(Output {
            id: id.to_string(),
            directory: self.out.path().to_string_lossy().into_owned(),
            files: self.files,
        })
    }
}

/// Where each map task's output lies: `tasks/liver/reads.fq` for that file, so that people find it without a table, and
/// `tasks/07` where there is no such name. What one directory is called says nothing of the others' order, so all have
/// numbers where two files' directories would lie in one another: `../a` and `a` are both seen as `a`.
fn directories(tasks: &[MapTask]) -> Vec<String> {
    let files: Option<Vec<&GuestPath>> = tasks.iter().map(|task| task.file.as_ref()).collect();
    match files.filter(|files| GuestPath::first_clash(files.iter().copied()).is_none()) {
        Some(files) => files.iter().map(|file| format!("tasks/{file}")).collect(),
        None => (0..tasks.len()).map(|index| numbered(tasks.len(), index)).collect(),
    }
}

/// `tasks/07` of a hundred: the number in as many digits as the last one has, so that names sort.
fn numbered(count: usize, index: usize) -> String {
    let digits = count.saturating_sub(1).to_string().len();
    format!("tasks/{index:0digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[&str]) -> Vec<String> {
        let task = |file: &&str| MapTask {
            label: (*file).to_owned(),
            file: Some(GuestPath::new(*file).expect("a path")),
        };
        directories(&files.iter().map(task).collect::<Vec<_>>())
    }

    #[test]
    fn outputs_lie_under_the_paths_of_their_files() {
        assert_eq!(of(&["a.fa"]), ["tasks/a.fa"]);
        assert_eq!(
            of(&["heart 2/reads.fq", "liver/reads.fq"]),
            ["tasks/heart 2/reads.fq", "tasks/liver/reads.fq"]
        );
        assert_eq!(of(&["a", "ab", "a.b/a"]), ["tasks/a", "tasks/ab", "tasks/a.b/a"]);
    }

    #[test]
    fn outputs_that_would_lie_in_one_another_have_numbers() {
        assert_eq!(of(&["b", "a", "a"]), ["tasks/0", "tasks/1", "tasks/2"]);
        assert_eq!(of(&["a", "a/b"]), ["tasks/0", "tasks/1"]);
        assert_eq!(of(&["a/b", "a"]), ["tasks/0", "tasks/1"]);
    }

    #[test]
    fn outputs_of_other_tasks_have_numbers_that_sort() {
        let values: Vec<_> =
            (0..11).map(|value| MapTask { label: format!("value {value}"), file: None }).collect();
        let directories = directories(&values);
        assert_eq!((directories[0].as_str(), directories[10].as_str()), ("tasks/00", "tasks/10"));
        assert!(directories.is_sorted());
    }
}
