//! A directory, and the sweep of those that nobody holds.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::{Errno, retry_on_intr},
    process::geteuid,
};

/// How the names of these directories begin and end. Nobody else has a reason to use both.
const PREFIX: &str = ".tidemill-";
const SUFFIX: &str = ".scratch";

/// The file in each directory whose lock says that its process lives. It is made first and removed last.
const ALIVE: &str = "alive";

/// A directory for what only this process needs, and its owner alone may read. Dropped, it is gone.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _alive: File,
}

impl Scratch {
    /// Makes a directory in that for temporary files, and removes those of processes that are gone.
    ///
    /// # Errors
    /// Where the file system does not take it.
    pub fn temporary() -> io::Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// Makes a directory within another, and removes those there of processes that are gone. A file in it can be
    /// renamed to a name beside it.
    ///
    /// # Errors
    /// Where the file system does not take it.
    pub fn within(parent: &Path) -> io::Result<Self> {
        let parent = std::path::absolute(parent)?;
        sweep(&parent);
        loop {
            let path = tempfile::Builder::new()
                .prefix(PREFIX)
                .suffix(SUFFIX)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&parent)?
                .keep();
            match claim(&path) {
                Ok(alive) => return Ok(Self { path, _alive: alive }),
                // Another process swept it in the moment before it was locked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    remove(&path);
                    return Err(error);
                }
            }
        }
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Locks a directory that was just made.
fn claim(directory: &Path) -> io::Result<File> {
    let path = directory.join(ALIVE);
    let alive = File::create_new(&path)?;
    match retry_on_intr(|| flock(&alive, FlockOperation::LockExclusive)) {
        // Where there are no locks, nobody can sweep either.
        Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    // Whoever had the lock before may have removed the file.
    if fs::metadata(&path)?.ino() == alive.metadata()?.ino() {
        Ok(alive)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Removes what processes that are gone have left in a directory. Trouble here is no one's trouble: something stays
/// that should not.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_named = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        // This does not follow links.
        let is_own = |metadata: fs::Metadata| metadata.is_dir() && metadata.uid() == geteuid().as_raw();
        if !is_named || !entry.metadata().is_ok_and(is_own) {
            continue;
        }
        let path = entry.path();
        let options = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(options.bits().cast_signed())
            .open(path.join(ALIVE));
        match opened {
            Ok(alive) => {
                // The lock is kept until all is gone, so that a process that takes it then finds nothing.
                if flock(&alive, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    remove(&path);
                }
            }
            // Its process was killed before it made the file, or is about to make it and then makes another directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => drop(fs::remove_dir(&path)),
            Err(_) => {}
        }
    }
}

/// Removes a directory with all that is in it, its mark last: should this process be killed meanwhile, the rest can
/// still be known for what it is.
fn remove(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name() == ALIVE {
            continue;
        }
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        drop(if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) });
    }
    let _ = fs::remove_file(directory.join(ALIVE));
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).expect("the directory can be read");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// What a process leaves that is killed: its lock goes, and nothing else.
    fn left(parent: &TempDir) -> PathBuf {
        let killed = std::mem::ManuallyDrop::new(scratch(parent));
        fs::create_dir_all(killed.path.join("deep/er")).expect("a directory");
        fs::write(killed.path.join("deep/er/file"), "data").expect("a file");
        flock(&killed._alive, FlockOperation::Unlock).expect("the lock was held");
        killed.path.clone()
    }

    fn scratch(parent: &TempDir) -> Scratch {
        Scratch::within(parent.path()).expect("a directory")
    }

    fn parent() -> TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn a_directory_goes_with_its_owner() {
        let parent = parent();
        let scratch = scratch(&parent);
        assert!(scratch.path().is_absolute() && scratch.path().is_dir());
        let mode = fs::metadata(scratch.path()).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(scratch.path().join("file"), "data").expect("a file");
        drop(scratch);
        assert_eq!(names(&parent), Vec::<String>::new());
    }

    #[test]
    fn what_a_killed_process_left_is_swept_by_the_next() {
        let parent = parent();
        let (one, other) = (left(&parent), left(&parent));
        assert!(!one.exists() && other.exists(), "the second swept what the first left");
        fs::create_dir(parent.path().join(".tidemill-early.scratch")).expect("a directory");
        let scratch = scratch(&parent);
        assert_eq!(names(&parent), [scratch.path().file_name().expect("a name").to_str().expect("text")]);
    }

    #[test]
    fn what_a_sweep_that_was_killed_left_is_swept_again() {
        let parent = parent();
        let path = left(&parent);
        fs::remove_dir_all(path.join("deep")).expect("it is there");
        drop(scratch(&parent));
        assert!(!path.exists());
    }

    #[test]
    fn what_is_used_or_not_ours_stays() {
        let parent = parent();
        let used = scratch(&parent);
        fs::write(used.path().join("file"), "data").expect("a file");
        // Other names, files, links, and what has no mark.
        for name in [".tidemill-x", "tidemill-1.scratch", ".tidemill-full.scratch"] {
            fs::create_dir(parent.path().join(name)).expect("a directory");
            fs::write(parent.path().join(name).join("file"), "data").expect("a file");
        }
        fs::write(parent.path().join(".tidemill-file.scratch"), "data").expect("a file");
        let outside = self::parent();
        let elsewhere = left(&outside);
        let link = parent.path().join(".tidemill-link.scratch");
        std::os::unix::fs::symlink(&elsewhere, &link).expect("a link");
        let before = names(&parent);
        drop(scratch(&parent));
        assert_eq!(names(&parent), before);
        assert!(used.path().join("file").exists() && elsewhere.join("deep/er/file").exists());
    }

    #[test]
    fn a_directory_that_is_swept_too_early_is_made_again() {
        let parent = parent();
        // As a sweep finds it that comes between the two steps.
        let path = parent.path().join(".tidemill-early.scratch");
        fs::create_dir(&path).expect("a directory");
        sweep(parent.path());
        assert_eq!(claim(&path).map_err(|error| error.kind()).err(), Some(io::ErrorKind::NotFound));
    }
}
