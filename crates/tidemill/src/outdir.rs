//! The directory that a job's output is put into: whole or not at all.
//!
//! Files are laid beside it and take its name in one step when all are there. A directory that Tidemill
//! did not make is never replaced: ours hold the file [`MANIFEST`].

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;
use tidemill_types::Archive;

use crate::exit::{Code, Exit, WithCode};

/// The file that marks a directory as an output of Tidemill.
pub const MANIFEST: &str = "tidemill.json";

/// A directory for an output.
pub struct OutDir {
    path: PathBuf,
    fresh: PathBuf,
}

/// One file of an output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OutFile {
    /// The path below the directory.
    pub path: String,
    /// The length in bytes.
    pub bytes: u64,
}

impl OutDir {
    /// Claims a directory. It must not exist, be empty, or be an earlier output.
    ///
    /// # Errors
    /// With [`Code::Usage`] when it holds something else, with [`Code::Host`] when it cannot be looked at.
    pub fn claim(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).code(Code::Usage)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let (Some(name), Some(parent)) = (name, path.parent()) else {
            return Err(
                Exit::new(Code::Usage, format!("{} is no directory for an output", path.display())).into()
            );
        };
        match fs::read_dir(&path) {
            Ok(mut listing) => {
                if listing.next().is_some() && !path.join(MANIFEST).is_file() {
                    return Err(Exit::new(
                        Code::Usage,
                        format!("{} has files in it that are no output of Tidemill", path.display()),
                    )
                    .hint("name another directory with `--out`; only earlier outputs are replaced")
                    .into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(Exit::new(Code::Usage, format!("{} is a file", path.display()))
                    .hint("name a directory with `--out`")
                    .into());
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot look into {}", path.display()))
                    .code(Code::Host);
            }
        }
        let fresh = parent.join(format!(".{name}.new"));
        Ok(Self { path, fresh })
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory beside this one, for what is needed while the output is made.
    pub fn work_path(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!(".{name}.work"))
    }

    /// Begins to lay out the new output.
    ///
    /// # Errors
    /// With [`Code::Host`] when the disk does not take it.
    pub fn begin(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(&self.fresh),
        }
        .with_context(|| format!("cannot make {}", self.fresh.display()))
        .code(Code::Host)
    }

    /// Lays out an archive's files below `prefix` (empty for the directory itself).
    ///
    /// # Errors
    /// With [`Code::Host`] when the archive cannot be read or the disk does not take its files.
    pub fn unpack(&self, archive: &Path, prefix: &str) -> anyhow::Result<Vec<OutFile>> {
        let mut files = Vec::new();
        let mut unpack = || -> anyhow::Result<()> {
            let (mut file, index) = open_archive(archive)?;
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
                anyhow::ensure!(copied == entry.len, "{} ends early", archive.display());
                files.push(OutFile { path, bytes: entry.len });
            }
            Ok(())
        };
        unpack().code(Code::Host)?;
        Ok(files)
    }

    /// Gives the new output its name, in place of an earlier one.
    ///
    /// # Errors
    /// With [`Code::Host`] when the disk does not take it; the earlier output then stays.
    pub fn finish(&self, manifest: &impl Serialize) -> anyhow::Result<()> {
        let finish = || -> anyhow::Result<()> {
            let text = serde_json::to_string_pretty(manifest)?;
            fs::write(self.fresh.join(MANIFEST), text + "\n")?;
            let old = self.fresh.with_extension("old");
            match fs::remove_dir_all(&old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            match fs::rename(&self.path, &old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            if let Err(error) = fs::rename(&self.fresh, &self.path) {
                // Back to where it was, if the disk still takes that.
                let _ = fs::rename(&old, &self.path);
                return Err(error.into());
            }
            match fs::remove_dir_all(&old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        };
        finish()
            .with_context(|| format!("cannot put the output into {}", self.path.display()))
            .code(Code::Host)
    }
}

/// Opens an archive and reads its index.
///
/// # Errors
/// When it cannot be read, or is no archive.
pub fn open_archive(path: &Path) -> anyhow::Result<(File, Archive)> {
    let open = || -> anyhow::Result<(File, Archive)> {
        let mut file = File::open(path)?;
        let mut header = [0; Archive::HEADER_BYTES];
        file.read_exact(&mut header)?;
        let mut index = vec![0; Archive::index_len(&header)?];
        file.read_exact(&mut index)?;
        let archive = Archive::parse_index(&index, file.metadata()?.len())?;
        Ok((file, archive))
    };
    open().with_context(|| format!("cannot read the archive {}", path.display()))
}
