//! The directory that a job's output is put into: whole or not at all.
//!
//! Files are laid beside it and take its name when all are there and on disk. A directory that Tidemill
//! did not make is never replaced: ours hold the file [`MANIFEST`]. While a command has claimed a
//! directory, no other can: its lock is a file beside it, which goes with the claim. What a command that was killed
//! left is swept by the next one that claims a directory beside it.
//!
//! Some directories cannot be replaced, or should not be: a mount point (a volume of a container), one whose parent
//! nothing can be made in, and the current one, which a shell would lose. There, all that is otherwise beside the
//! directory is within it, and the new output's files take the places of the old one's. A crash meanwhile leaves a
//! mark, [`PARTIAL`], by which the next claim knows the directory as ours.

mod lock;

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidemill_api::OutputFile;
use tidemill_net::blobs::Lent;
use tidemill_types::{Archive, BlobId};

use crate::exit::{Code, Exit, WithCode};

/// The file that marks a directory as an output of Tidemill.
pub const MANIFEST: &str = "tidemill.json";

/// The file that marks an output of which not all files are in their places yet.
const PARTIAL: &str = ".tidemill.partial";

/// How the names begin that Tidemill uses within a directory that cannot be replaced.
const WITHIN: &str = ".tidemill.";

/// A claimed directory for an output.
pub struct OutDir {
    path: PathBuf,
    /// Whether it stays, and only what is in it is replaced.
    stays: bool,
    /// Where the new output is laid out.
    fresh: PathBuf,
    /// Where an earlier output waits until the new one has its place.
    old: PathBuf,
    /// For what is needed while the output is made.
    work: PathBuf,
    lock: PathBuf,
    _locked: File,
    /// The lock of the work directory, where that is one which another claim has left.
    adopted: Option<(PathBuf, File)>,
    /// The directory above, if it was made for this claim.
    made_parent: Option<PathBuf>,
}

impl OutDir {
    /// Claims a directory. It must not exist, be empty, or be an earlier output.
    ///
    /// # Errors
    /// With [`Code::Usage`] when it holds something else or another command has claimed it, with
    /// [`Code::Host`] when it cannot be looked at.
    pub fn claim(path: &Path) -> anyhow::Result<Self> {
        let mut path = std::path::absolute(path).code(Code::Usage)?;
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
            // What the link leads to is replaced, not the link.
            path = fs::canonicalize(&path)
                .with_context(|| format!("the link {} leads nowhere", path.display()))
                .code(Code::Usage)?;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let (Some(name), Some(parent)) = (name, path.parent()) else {
            let message = format!("{} is no directory for an output", path.display());
            return Err(Exit::new(Code::Usage, message).into());
        };
        // First a look, so that a wrong `--out` leaves no traces.
        check_ours(&path)?;
        let made_parent = (!parent.exists()).then(|| parent.to_owned());
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot make {}", parent.display()))
            .code(Code::Host)?;
        let stays = path.is_dir() && (is_mount_point(&path) || holds_current(&path) || !takes_files(parent));
        let beside = |what: &str| match stays {
            true => path.join(format!("{WITHIN}{what}")),
            false => parent.join(format!(".{name}.{what}")),
        };
        let lock = beside("lock");
        let locked = lock::lock_file(&lock, &path)?;
        if !stays {
            lock::sweep(parent);
        }
        let claimed = Self {
            stays,
            fresh: beside("new"),
            old: beside("old"),
            work: beside("work"),
            path,
            lock,
            _locked: locked,
            adopted: None,
            made_parent,
        };
        // A command that ended between taking the earlier output away and putting the new one in its place.
        if !claimed.path.exists() && claimed.old.exists() {
            fs::rename(&claimed.old, &claimed.path).code(Code::Host)?;
        }
        check_ours(&claimed.path)?;
        claimed.can_be_placed()?;
        Ok(claimed)
    }

    /// Tries what [`Self::finish`] will do, before any work is done or paid for.
    fn can_be_placed(&self) -> anyhow::Result<()> {
        let context = || format!("cannot put an output into {}", self.path.display());
        self.begin()?;
        let tried = || -> io::Result<()> {
            fs::write(self.fresh.join(MANIFEST), "")?;
            if self.stays {
                let there = self.path.join(format!("{WITHIN}tried"));
                fs::rename(self.fresh.join(MANIFEST), &there)?;
                fs::remove_file(there)?;
            } else if self.path.exists() {
                remove_tree(&self.old)?;
                fs::rename(&self.path, &self.old)?;
                fs::rename(&self.old, &self.path)?;
            }
            Ok(())
        };
        let tried = tried();
        let removed = remove_tree(&self.fresh);
        tried.and(removed).with_context(context).code(Code::Host)
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory beside this one, for what is needed while the output is made.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// The file whose lock says who works in [`Self::work`].
    pub fn work_lock(&self) -> &Path {
        self.adopted.as_ref().map_or(&self.lock, |(lock, _)| lock)
    }

    /// Works in the directory that another claim has left, unless that one still lives. Says whether.
    pub fn adopt(&mut self, work: &Path, lock: &Path) -> bool {
        if work == self.work || !work.is_dir() {
            return false;
        }
        let Ok(locked) = lock::lock_file(lock, work) else { return false };
        self.adopted = Some((lock.to_owned(), locked));
        self.work = work.to_owned();
        true
    }

    /// Begins to lay out the new output.
    ///
    /// # Errors
    /// With [`Code::Host`] when the disk does not take it.
    pub fn begin(&self) -> anyhow::Result<()> {
        remove_tree(&self.fresh)
            .and_then(|()| fs::create_dir_all(&self.fresh))
            .with_context(|| format!("cannot make {}", self.fresh.display()))
            .code(Code::Host)
    }

    /// Lays out an archive's files below `prefix` (empty for the directory itself).
    ///
    /// # Errors
    /// With [`Code::Host`] when the archive cannot be read or the disk does not take its files.
    pub fn unpack(&self, archive: &Path, prefix: &str) -> anyhow::Result<Vec<OutputFile>> {
        let (file, index) = open_archive(archive).code(Code::Host)?;
        self.lay_out(file, &index, prefix)
    }

    /// Lays out the files of an archive that is a blob.
    ///
    /// # Errors
    /// As [`Self::unpack`].
    pub fn unpack_blob(&self, archive: &Lent, prefix: &str) -> anyhow::Result<Vec<OutputFile>> {
        let open = || {
            let mut reader = archive.open()?;
            let index = Archive::read_index(&mut reader, archive.len())?;
            io::Result::Ok((reader, index))
        };
        let context = || format!("cannot read the archive in {}", archive.path().display());
        let (reader, index) = open().with_context(context).code(Code::Host)?;
        self.lay_out(reader, &index, prefix)
    }

    /// Lays out the files of an archive that is held in memory.
    ///
    /// # Errors
    /// With [`Code::Host`] when it is no archive or the disk does not take its files.
    pub fn unpack_bytes(&self, archive: &[u8], prefix: &str) -> anyhow::Result<Vec<OutputFile>> {
        let mut reader = io::Cursor::new(archive);
        let index = Archive::read_index(&mut reader, archive.len() as u64).context("an output is no archive");
        self.lay_out(reader, &index.code(Code::Host)?, prefix)
    }

    fn lay_out(
        &self,
        mut file: impl Read + Seek,
        index: &Archive,
        prefix: &str,
    ) -> anyhow::Result<Vec<OutputFile>> {
        let mut files = Vec::new();
        let mut unpack = || -> anyhow::Result<()> {
            for (entry, start) in index.files() {
                if prefix.is_empty() && entry.path.components().next() == Some(MANIFEST) {
                    return Err(Exit::new(Code::Failed, format!("the output holds a file named {MANIFEST}"))
                        .hint(
                            "Tidemill marks its outputs by a file of this name; let the program use another",
                        )
                        .into());
                }
                let path = if prefix.is_empty() {
                    entry.path.to_string()
                } else {
                    format!("{prefix}/{}", entry.path)
                };
                let target = self.fresh.join(&path);
                if let Some(parent) = target.parent() {
                    fs::create_dir_all(parent)?;
                }
                file.seek(SeekFrom::Start(start))?;
                let mut target = File::create_new(&target).with_context(|| format!("cannot make {path}"))?;
                let copied = io::copy(&mut (&mut file).take(entry.len), &mut target)?;
                anyhow::ensure!(copied == entry.len, "an archive ends early");
                files.push(OutputFile { path, bytes: entry.len });
            }
            Ok(())
        };
        unpack().code(Code::Host)?;
        Ok(files)
    }

    /// Gives the new output its name, in place of an earlier one.
    ///
    /// # Errors
    /// With [`Code::Host`] when the disk does not take it, with [`Code::Usage`] when something that is not
    /// ours has appeared in its place. What was there then stays.
    pub fn finish(&self, manifest: &impl Serialize) -> anyhow::Result<()> {
        let context = || format!("cannot put the output into {}", self.path.display());
        let text = serde_json::to_string_pretty(manifest)? + "\n";
        fs::write(self.fresh.join(MANIFEST), text).with_context(context).code(Code::Host)?;
        tidemill_disk::sync_tree(&self.fresh).with_context(context).code(Code::Host)?;
        if self.stays {
            check_ours(&self.path)?;
            return self.replace_within().with_context(context).code(Code::Host);
        }
        remove_tree(&self.old).with_context(context).code(Code::Host)?;
        match fs::rename(&self.path, &self.old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(context).code(Code::Host);
            }
            _ => {}
        }
        // Hours may have passed since the directory was claimed.
        let placed = check_ours(&self.old)
            .and_then(|()| fs::rename(&self.fresh, &self.path).with_context(context).code(Code::Host));
        if let Err(error) = placed {
            // Back to where it was, if the disk still takes that.
            let _ = fs::rename(&self.old, &self.path);
            return Err(error);
        }
        remove_tree(&self.old).with_context(context).code(Code::Host)
    }
}

impl OutDir {
    /// Puts the new output's files into the places of the old one's.
    fn replace_within(&self) -> io::Result<()> {
        let partial = self.path.join(PARTIAL);
        tidemill_disk::sync_all(&File::create(&partial)?)?;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if is_of_ours_within(&entry.file_name()) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?
            } else {
                fs::remove_file(entry.path())?
            }
        }
        // The manifest last: with it, all others are there.
        let mut names = fs::read_dir(&self.fresh)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<Vec<_>, _>>()?;
        names.sort_by_key(|name| name == MANIFEST);
        for name in names {
            fs::rename(self.fresh.join(&name), self.path.join(&name))?;
        }
        tidemill_disk::sync_dir(&self.path)?;
        fs::remove_file(partial)?;
        remove_tree(&self.fresh)
    }
}

impl Drop for OutDir {
    fn drop(&mut self) {
        // Still under the lock, so nobody can be waiting for this very file and get it.
        let _ = fs::remove_file(&self.lock);
        if let Some((lock, _)) = &self.adopted {
            let _ = fs::remove_file(lock);
        }
        if let Some(parent) = &self.made_parent {
            // Only if nothing came of it: a directory with something in it is not removed.
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Whether a directory may be replaced: it is not there, empty, or an earlier output.
fn check_ours(path: &Path) -> anyhow::Result<()> {
    match fs::read_dir(path) {
        Ok(mut listing) => {
            let is_other = |entry: io::Result<fs::DirEntry>| {
                entry.is_ok_and(|entry| !is_of_ours_within(&entry.file_name()))
            };
            if !listing.any(is_other) || has_manifest(path) || path.join(PARTIAL).is_file() {
                return Ok(());
            }
            let message = format!("{} has files in it that are no output of Tidemill", path.display());
            let hint = "name another directory with `--out`; only earlier outputs are replaced";
            Err(Exit::new(Code::Usage, message).hint(hint).into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let file = path.ancestors().find(|above| above.exists()).unwrap_or(path);
            let message = format!("{} is a file", file.display());
            Err(Exit::new(Code::Usage, message).hint("name a directory with `--out`").into())
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot look into {}", path.display())).code(Code::Host)
        }
    }
}

/// Whether a name is one that Tidemill uses within a directory that cannot be replaced.
fn is_of_ours_within(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(WITHIN.as_bytes())
}

/// Whether a directory is where a file system begins, so that it cannot be renamed.
fn is_mount_point(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS);
        if let Ok(found) = found
            && found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
        {
            return found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        }
    }
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    path.parent().is_some_and(|parent| device(path) != device(parent))
}

/// Whether this process, and so likely the shell that started it, stands in a directory or below it.
fn holds_current(path: &Path) -> bool {
    let current = std::env::current_dir().and_then(fs::canonicalize);
    let path = fs::canonicalize(path);
    current.ok().zip(path.ok()).is_some_and(|(current, path)| current.starts_with(path))
}

/// Whether files can be made in a directory: one without a name, which nothing can leave behind.
fn takes_files(directory: &Path) -> bool {
    tempfile::tempfile_in(directory).is_ok()
}

/// Whether a directory has our mark: a manifest that names an output.
fn has_manifest(directory: &Path) -> bool {
    /// What a manifest must have. It may be long: it names each task's directory.
    #[derive(Deserialize)]
    struct Mark {
        output: String,
    }

    let file = File::open(directory.join(MANIFEST)).map(io::BufReader::new).ok();
    let mark = file.and_then(|file| serde_json::from_reader::<_, Mark>(file).ok());
    mark.is_some_and(|mark| mark.output.parse::<BlobId>().is_ok())
}

/// Removes a directory with all that is in it, if it is there.
///
/// # Errors
/// When the system does not let it go.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens an archive and reads its index.
///
/// # Errors
/// When it cannot be read, or is no archive.
pub fn open_archive(path: &Path) -> anyhow::Result<(File, Archive)> {
    let open = || -> anyhow::Result<(File, Archive)> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        let index = Archive::read_index(&mut file, len)?;
        Ok((file, index))
    };
    open().with_context(|| format!("cannot read the archive {}", path.display()))
}
