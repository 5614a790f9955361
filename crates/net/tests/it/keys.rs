//! Key files.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    sync::Barrier,
    thread,
};

use tidemill_net::key::{KeyError, KeyKind, load_or_create};

#[test]
fn a_key_is_made_once_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.key");
    let key = load_or_create(&path, KeyKind::Node).expect("made");
    assert_eq!(load_or_create(&path, KeyKind::Node).expect("read"), key);
    let mode = fs::metadata(&path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let text = fs::read_to_string(&path).expect("text");
    assert!(text.starts_with("tidemill node key 1\n"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no draft stays");
}

#[test]
fn all_who_make_it_at_once_get_the_same_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.key");
    let start = Barrier::new(8);
    let keys: Vec<_> = thread::scope(|scope| {
        let make = || {
            start.wait();
            load_or_create(&path, KeyKind::Node).expect("a key")
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn what_is_no_secret_key_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.key");
    load_or_create(&path, KeyKind::Node).expect("made");
    let good = fs::read(&path).expect("text");

    let foreign = load_or_create(&path, KeyKind::Result).expect_err("another kind");
    assert!(matches!(foreign, KeyError::Foreign { .. }), "{foreign}");

    for damaged in
        [&good[..good.len() - 10], &[&good[..], b"00"].concat(), b"tidemill node key 1\n", &good[..30]]
    {
        fs::write(&path, damaged).expect("written");
        let error = load_or_create(&path, KeyKind::Node).expect_err("damaged");
        assert!(matches!(error, KeyError::Damaged(_)), "{error}");
        assert!(error.hint().is_some());
    }
    fs::write(&path, "").expect("written");
    assert!(matches!(load_or_create(&path, KeyKind::Node), Err(KeyError::Foreign { .. })));

    fs::write(&path, &good).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
    let open = load_or_create(&path, KeyKind::Node).expect_err("open to its group");
    assert!(matches!(open, KeyError::Open { mode: 0o640, .. }), "{open}");
    assert!(open.hint().expect("a hint").contains("chmod 600"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");

    let link = folder.path().join("link.key");
    symlink(&path, &link).expect("linked");
    assert!(matches!(load_or_create(&link, KeyKind::Node), Err(KeyError::Link(_))));
    assert!(matches!(load_or_create(folder.path(), KeyKind::Node), Err(KeyError::NotAFile(_))));
    let nowhere = folder.path().join("missing/node.key");
    assert!(matches!(load_or_create(&nowhere, KeyKind::Node), Err(KeyError::Make { .. })));
}
