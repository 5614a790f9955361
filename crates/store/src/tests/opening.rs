//! What is opened, and what is refused.

use std::{fs, path::Path};

use redb::{Database, TableDefinition};

use super::fixture::{job, submitted};
use crate::{Options, Store, StoreError, schema::VERSION};

fn open(directory: &Path) -> Result<Store, StoreError> {
    Store::open(directory, Options::default())
}

#[test]
fn a_store_keeps_what_it_holds_when_it_is_opened_again() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("not/there/yet");
    open(&directory).unwrap().commit(&[submitted(1, 1)]).unwrap();
    assert_eq!(open(&directory).unwrap().job_spec(job(1)).unwrap(), Some(vec![1; 100]));
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_look() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("state");
    open(&directory).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for entry in fs::read_dir(&directory).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a_store_is_open_once() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path()).unwrap();
    let error = open(scratch.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }) && !error.is_retryable());
    assert!(error.to_string().contains("another process has it open"), "{error}");
    drop(store);
    open(scratch.path()).unwrap();
}

#[test]
fn a_newer_store_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    drop(open(scratch.path()).unwrap());
    let db = Database::open(scratch.path().join("state.redb")).unwrap();
    let write = db.begin_write().unwrap();
    write
        .open_table(TableDefinition::<&str, u64>::new("counters"))
        .unwrap()
        .insert("version", VERSION + 1)
        .unwrap();
    write.commit().unwrap();
    drop(db);
    let error = open(scratch.path()).unwrap_err();
    let is_newer = |found, known| (found, known) == (VERSION + 1, VERSION);
    assert!(matches!(error, StoreError::Newer { found, known, .. } if is_newer(found, known)), "{error}");
    assert!(error.to_string().ends_with("update tidemill"), "{error}");
}

#[test]
fn a_damaged_file_is_reported_with_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    drop(open(scratch.path()).unwrap());
    let path = scratch.path().join("state.redb");
    let whole = fs::read(&path).unwrap();
    for damaged in [&[][..], b"not a database", &whole[..100], &whole[..whole.len() / 2]] {
        fs::write(&path, damaged).unwrap();
        let error = open(scratch.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error} for {} bytes", damaged.len());
        assert!(error.to_string().contains("restore the directory from a copy"), "{error}");
    }
}

#[test]
fn a_creation_that_was_cut_short_begins_again() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("state.redb.new"), [0; 5000]).unwrap();
    open(scratch.path()).unwrap().commit(&[submitted(1, 1)]).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("state")).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }) && error.to_string().contains("file/state"), "{error}");
}
