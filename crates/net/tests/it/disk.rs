//! A disk that is full: a small file system of its own, which only root can mount.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;
use tidemill_net::blobs::{BLOBS_ALPN, FileMode};

use crate::support::{Pair, bytes, folder, open, pin};

const AMPLE: u64 = 1 << 30;

/// Unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(kib: u64) -> Option<Self> {
        let point = tempfile::tempdir().expect("a folder");
        let options = format!("size={kib}k");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(point.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(point)),
            other => {
                eprintln!("skipped: cannot mount a small file system: {other:?}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).expect("there").count()
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount(1024) else { return };
    let root = disk.0.path();
    let blobs = open(root, AMPLE).await;
    let small = blobs.import_bytes(bytes(100_000, 1), &pin("a")).await.expect("room");

    let error = blobs.import_bytes(bytes(2 << 20, 2), &pin("a")).await.expect_err("too much");
    assert!(error.is_disk_full(), "{error:?}");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = elsewhere.path().join("input");
    fs::write(&file, bytes(2 << 20, 3)).expect("written");
    let error = blobs.import_file(&file, FileMode::Copy, &pin("a")).await.expect_err("too much");
    assert!(error.is_disk_full(), "{error:?}");

    let pair = Pair::new(BLOBS_ALPN).await;
    let (theirs, _folder) = folder(AMPLE).await;
    let large = theirs.import_bytes(bytes(2 << 20, 4), &pin("a")).await.expect("room");
    let modest = theirs.import_bytes(bytes(300_000, 5), &pin("a")).await.expect("room");
    let serving = tokio::spawn({
        let (theirs, there) = (theirs.clone(), pair.there.clone());
        async move { theirs.serve(there, |_, _| true, 4).await }
    });
    let error = blobs.fetch(&pair.here, large, &pin("a"), |_| {}).await.expect_err("too much");
    assert!(error.is_disk_full(), "{error:?}");

    let usage = blobs.usage();
    assert_eq!((usage.blobs, usage.reserved), (1, 0));
    assert!(usage.used < 110_000, "{usage:?}");
    assert_eq!((files(&root.join("drafts")), files(&root.join("partial"))), (0, 0));
    // Of use as before.
    assert_eq!(blobs.read(small.id, AMPLE).await.expect("here"), bytes(100_000, 1));
    blobs.fetch(&pair.here, modest, &pin("b"), |_| {}).await.expect("room for this");
    assert_eq!(blobs.read(modest.id, AMPLE).await.expect("here"), bytes(300_000, 5));
    pair.close().await;
    serving.await.expect("no panic");
}

#[tokio::test]
async fn small_blobs_on_a_disk_that_runs_full_are_here_or_refused() {
    let Some(disk) = SmallDisk::mount(1024) else { return };
    let root = disk.0.path();
    let blobs = open(root, AMPLE).await;
    let mut here = Vec::new();
    let error = loop {
        let number = here.len() as u8;
        match blobs.import_bytes(bytes(60_000, number), &pin("a")).await {
            Ok(blob) => here.push(blob),
            Err(error) => break error,
        }
    };
    assert!(error.is_disk_full(), "{error:?}");
    assert!(here.len() > 10, "{}", here.len());
    assert_eq!((blobs.usage().blobs, blobs.usage().reserved), (here.len(), 0));
    // What fits is taken, after what did not.
    let small = blobs.import_bytes(bytes(100, 200), &pin("b")).await.expect("room for this");
    drop(blobs);
    let blobs = open(root, AMPLE).await;
    assert_eq!(blobs.read(small.id, AMPLE).await.expect("here"), bytes(100, 200));
    for (number, blob) in here.iter().enumerate() {
        assert_eq!(blobs.read(blob.id, AMPLE).await.expect("acknowledged"), bytes(60_000, number as u8));
    }
    assert_eq!(blobs.pinned(&pin("a")).len(), here.len());
}
