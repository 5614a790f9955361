//! A small disk that a test can fill: a file system in memory that one process alone sees, and that ends with it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
    sync::LazyLock,
};

use super::process::Process;
use crate::support::{Place, TIDEMILL};

/// How this machine lets a test have file systems of its own: as root, or as what looks like root to it.
static WAY: LazyLock<Option<&str>> = LazyLock::new(|| {
    let place = tempfile::tempdir().expect("a directory");
    ["-m", "-rm"].into_iter().find(|way| {
        let mut probe = Command::new("unshare");
        probe.args([way, "mount", "-t", "tmpfs", "tmpfs"]).arg(place.path());
        probe.output().is_ok_and(|output| output.status.success())
    })
});

/// A command of the binary for which the directory `name` is a disk of so many MiB. Nothing, and the reason is
/// printed, where the machine does not let tests have one.
pub fn with_disk(place: &Place, name: &str, mib: u32, args: &[impl AsRef<OsStr>]) -> Option<Command> {
    let Some(way) = *WAY else {
        println!("skipped: neither root nor `unshare -rm` may mount a file system here");
        return None;
    };
    fs::create_dir_all(place.path(name)).expect("a directory");
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size={mib}m,mode=700 tmpfs {name} && exec \"$@\"");
    command.args([way, "sh", "-c", &script, "sh", TIDEMILL]).args(args);
    let inner = place.command(&[] as &[&str]);
    command.current_dir(inner.get_current_dir().expect("a place has a directory"));
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(command)
}

/// What takes all the room of a disk.
pub struct Filler(PathBuf);

impl Filler {
    /// Fills the disk `name` that this process has, but for so many KiB.
    pub fn fill(process: &Process, place: &Place, name: &str, but_kib: usize) -> Self {
        let disk = place.path(name);
        let inside = disk.strip_prefix("/").expect("an absolute path");
        let path = PathBuf::from(format!("/proc/{}/root", process.id())).join(inside).join("filler");
        let mut file = File::create(&path).expect("a file");
        let block = [0; 4096];
        let mut blocks: u64 = 0;
        while file.write_all(&block).is_ok() {
            blocks += 1;
        }
        file.set_len((blocks * 4096).saturating_sub(but_kib as u64 * 1024)).expect("a shorter file");
        Self(path)
    }

    /// Makes room.
    pub fn remove(self) {
        fs::remove_file(self.0).expect("a file of ours");
    }
}
