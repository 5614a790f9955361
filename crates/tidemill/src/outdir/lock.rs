//! The lock of an output directory, and what commands that were killed have left beside theirs.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
    process::geteuid,
};

use super::{has_manifest, remove_tree};
use crate::exit::{Code, Exit, WithCode};

/// What is in a lock, by which it is known as ours.
const MARK: &[u8] = b"While this file is locked, a command of Tidemill makes the output beside it.\n";

/// How long a lock is tried for: another command may just be sweeping what a killed one left.
const PATIENCE: Duration = Duration::from_millis(500);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Opens and locks a file for the output directory `out`. Whoever had the lock before may have removed the file since it
/// was opened here, and then the lock is worth nothing: so its place is looked at once more.
pub(super) fn lock_file(lock: &Path, out: &Path) -> anyhow::Result<File> {
    let context = || format!("cannot lock {}", lock.display());
    let begun = Instant::now();
    loop {
        let file = open(OpenOptions::new().create(true).truncate(false), lock)
            .with_context(context)
            .code(Code::Host)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) if begun.elapsed() < PATIENCE => {
                thread::sleep(PAUSE);
                continue;
            }
            Err(Errno::WOULDBLOCK) => {
                let message = format!("another run is using {}", out.display());
                return Err(Exit::new(Code::Usage, message)
                    .hint("wait for it, or give this run another `--out`")
                    .into());
            }
            Err(error) => return Err(error).with_context(context).code(Code::Host),
        }
        if !is_at(&file, lock) {
            continue;
        }
        if file.metadata().with_context(context).code(Code::Host)?.len() > 0 && !is_marked(&file) {
            let message =
                format!("{} is not a file of Tidemill, and is where its lock would be", lock.display());
            return Err(Exit::new(Code::Usage, message).hint("give this run another `--out`").into());
        }
        file.write_all_at(MARK, 0).with_context(context).code(Code::Host)?;
        return Ok(file);
    }
}

/// Removes what commands that were killed have left in a directory: their locks, and outputs that were never whole.
/// What a run keeps for the next one of its job stays. Trouble here is no one's trouble.
pub(super) fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".lock")) else {
            continue;
        };
        // Held until all is gone.
        let Some(_lock) = abandoned(&entry.path()) else { continue };
        let beside = |what: &str| parent.join(format!(".{name}.{what}"));
        let _ = remove_tree(&beside("new"));
        // The earlier output is needed only where the new one has not its place.
        if parent.join(name).exists() && has_manifest(&beside("old")) {
            let _ = remove_tree(&beside("old"));
        }
        let _ = fs::remove_file(entry.path());
    }
}

/// A lock that is ours and that no command holds, locked.
fn abandoned(path: &Path) -> Option<File> {
    // Most files are told by their look alone.
    let metadata = fs::symlink_metadata(path).ok()?;
    let is_ours = metadata.is_file() && metadata.uid() == geteuid().as_raw();
    if !is_ours || metadata.len() != MARK.len() as u64 {
        return None;
    }
    let file = open(&mut OpenOptions::new(), path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    (is_marked(&file) && is_at(&file, path)).then_some(file)
}

/// Opens a lock: not through a link, and without waiting at a pipe.
fn open(options: &mut OpenOptions, path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Whether a file is still the one at its path.
fn is_at(file: &File, path: &Path) -> bool {
    let here = file.metadata().map(|metadata| metadata.ino());
    here.is_ok_and(|here| fs::metadata(path).is_ok_and(|there| there.ino() == here))
}

fn is_marked(file: &File) -> bool {
    let mut mark = [0; MARK.len()];
    file.read_exact_at(&mut mark, 0).is_ok() && mark == MARK
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn place() -> TempDir {
        tempfile::tempdir().expect("a directory")
    }

    fn write(path: PathBuf, content: &[u8]) {
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    #[test]
    fn what_killed_commands_left_is_swept_and_nothing_else() {
        let place = place();
        let at = |name: &str| place.path().join(name);
        let manifest = format!("{{\"output\": \"{}\"}}", tidemill_types::BlobId::of(b""));
        // One was killed while it laid out its output, one when that had its place, one between the two.
        for name in ["laid", "placed", "between"] {
            write(at(&format!(".{name}.lock")), MARK);
        }
        write(at(".laid.new/file"), b"half");
        write(at(".laid.work/kept"), b"for the next run");
        write(at("placed/file"), b"new");
        for old in [".placed.old", ".between.old"] {
            write(at(old).join("tidemill.json"), manifest.as_bytes());
        }
        // A command that works, and files of others.
        let held = lock_file(&at(".works.lock"), &at("works")).expect("nobody has it");
        write(at(".works.new/file"), b"half");
        write(at(".cargo.lock"), b"");
        write(at(".other.lock"), &[b'x'; MARK.len()]);
        sweep(place.path());
        for gone in [".laid.lock", ".laid.new", ".placed.lock", ".placed.old", ".between.lock"] {
            assert!(!at(gone).exists(), "{gone}");
        }
        for there in [".laid.work/kept", "placed/file", ".between.old/tidemill.json", ".works.lock"] {
            assert!(at(there).exists(), "{there}");
        }
        for there in [".works.new/file", ".cargo.lock", ".other.lock"] {
            assert!(at(there).exists(), "{there}");
        }
        drop(held);
    }

    #[test]
    fn a_file_of_something_else_is_no_lock() {
        let place = place();
        let lock = place.path().join(".out.lock");
        write(lock.clone(), b"precious");
        let error = lock_file(&lock, &place.path().join("out")).expect_err("it is not ours");
        assert!(error.to_string().contains("not a file of Tidemill"), "{error}");
        assert_eq!(fs::read(&lock).expect("it is there"), b"precious");
        // Of a command that was killed before it wrote its mark.
        write(lock.clone(), b"");
        lock_file(&lock, &place.path().join("out")).expect("it is nobody's");
    }
}
