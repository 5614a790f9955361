//! The file tree: inputs, outputs, and paths that try to get out.

use tidemill_types::{Content, Failure, Outcome, Segment, Weight};

use super::support::{command, command_with};

const READ: u64 = 2;
const WRITE: u64 = 0x1ff_ffff;

/// Places a text at address 0 and opens it as a path, expecting the given error number.
fn open(path: &str, oflags: u32, rights: u64, errno: u32) -> Outcome {
    let data = format!("(data (i32.const 0) {path:?})");
    let body = format!(
        "(call $expect (call $open (i32.const 0) (i32.const {}) (i32.const {oflags}) (i64.const {rights})) (i32.const {errno}))",
        path.len()
    );
    command_with(&data, &body).input("in.txt", b"input").run().outcome
}

#[test]
fn the_tree_has_in_out_and_tmp() {
    for path in ["in", "out", "tmp", ".", "in/in.txt", "./out/../in/in.txt"] {
        assert_eq!(open(path, 0, READ, 0), Outcome::Done, "{path}");
    }
    for path in ["etc/passwd", "proc/self/exe", "home", "out/x"] {
        assert_eq!(open(path, 0, READ, 44), Outcome::Done, "{path}: ENOENT");
    }
}

#[test]
fn no_path_leaves_the_tree() {
    for path in ["..", "../x", "/", "/etc/passwd", "out/../../x", "out/../../../../etc/passwd"] {
        assert_eq!(open(path, 0, READ, 63), Outcome::Done, "{path}: EPERM");
    }
    // A link that points out is refused when it is made or when it is followed.
    let data =
        r#"(data (i32.const 0) "/etc/passwd") (data (i32.const 20) "../../x") (data (i32.const 40) "out/l")"#;
    let link = |target: u32, len: u32, errno: u32| {
        format!(
            "(call $expect (call $path_symlink (i32.const {target}) (i32.const {len}) (i32.const 3) (i32.const 40)
                (i32.const 5)) (i32.const {errno}))"
        )
    };
    let follow =
        "(call $expect (call $open (i32.const 40) (i32.const 5) (i32.const 0) (i64.const 2)) (i32.const 63))
        (call $check (call $path_unlink_file (i32.const 3) (i32.const 40) (i32.const 5)))";
    let body = format!("{} {} {follow}", link(0, 11, 63), link(20, 7, 0));
    assert_eq!(command_with(data, &body).files(), []);
}

#[test]
fn inputs_and_the_root_cannot_be_changed() {
    const EROFS: u32 = 69;
    for (path, oflags, rights) in
        [("in/in.txt", 0, WRITE), ("in/in.txt", 8, READ), ("in/new", 1, WRITE), ("new", 1, WRITE)]
    {
        assert_eq!(open(path, oflags, rights, EROFS), Outcome::Done, "{path}");
    }
    let data =
        r#"(data (i32.const 0) "in/in.txt") (data (i32.const 20) "out/x") (data (i32.const 40) "out")"#;
    for call in [
        "(call $path_unlink_file (i32.const 3) (i32.const 0) (i32.const 9))",
        "(call $path_rename (i32.const 3) (i32.const 0) (i32.const 9) (i32.const 3) (i32.const 20) (i32.const 5))",
        "(call $path_link (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 3) (i32.const 20) (i32.const 5))",
        "(call $path_remove_directory (i32.const 3) (i32.const 40) (i32.const 3))",
    ] {
        let body = format!("(call $expect {call} (i32.const {EROFS}))");
        let attempt = command_with(data, &body).input("in.txt", b"input");
        assert_eq!(attempt.run().outcome, Outcome::Done, "{call}");
    }
}

/// Copies the input to standard output in reads of `step` bytes.
fn copy(step: u32) -> String {
    format!(
        "(local $n i32)
        (call $check (call $open (i32.const 0) (i32.const 4) (i32.const 0) (i64.const 2)))
        (loop $l
            (i32.store (i32.const 100) (i32.const 1000)) (i32.store (i32.const 104) (i32.const {step}))
            (call $check (call $fd_read (call $fd) (i32.const 100) (i32.const 1) (i32.const 108)))
            (local.set $n (i32.load (i32.const 108)))
            (call $check (call $write (i32.const 1) (i32.const 1000) (local.get $n)))
            (br_if $l (local.get $n)))"
    )
}

#[test]
fn inputs_are_read_by_offset_from_segments() {
    let whole: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &whole).expect("a write");
    let segment = |offset, len| Segment::File { path: file.path().to_owned(), offset, len };
    for step in [1, 7, 4096] {
        let mut attempt = command_with(r#"(data (i32.const 0) "in/a")"#, &copy(step)).input("a", &whole);
        attempt.contents = vec![Content {
            segments: vec![segment(0, 1), Segment::Bytes(whole[1..10].to_vec()), segment(10, 4_990)],
        }];
        assert_eq!(attempt.files(), [("stdout".to_owned(), whole.clone())]);
        assert_eq!(attempt.run().usage.read.0, 5_000);
    }
}

#[test]
fn an_input_that_changed_is_no_evidence() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut attempt = command_with(r#"(data (i32.const 0) "in/a")"#, &copy(64)).input("a", b"12345");
    attempt.contents = vec![Content::file(file.path(), 5)];
    let failure = attempt.failure();
    assert!(matches!(&failure, Failure::Input { path, .. } if path == "a"), "{failure:?}");
    assert_eq!(failure.weight(), Weight::Circumstance);
    attempt.contents = vec![Content::bytes(*b"1234")];
    assert!(matches!(attempt.failure(), Failure::Input { .. }));
}

#[test]
fn inputs_that_clash_are_reported() {
    for (first, second) in [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c"), ("a", "a")] {
        let attempt = command("").input(first, b"").input(second, b"");
        assert!(matches!(attempt.failure(), Failure::Input { .. }), "{first} and {second}");
    }
}

#[test]
fn what_is_in_out_is_kept_and_the_rest_is_not() {
    let data =
        r#"(data (i32.const 0) "out/d") (data (i32.const 10) "out/d/f") (data (i32.const 20) "tmp/t")"#;
    let write = "(call $check (call $write (call $fd) (i32.const 10) (i32.const 7)))";
    let body = format!(
        "(call $check (call $path_create_directory (i32.const 3) (i32.const 0) (i32.const 5)))
        (call $check (call $open (i32.const 10) (i32.const 7) (i32.const 1) (i64.const {WRITE}))) {write}
        (call $check (call $open (i32.const 20) (i32.const 5) (i32.const 1) (i64.const {WRITE}))) {write}
        (call $check (call $write (i32.const 1) (i32.const 0) (i32.const 3)))"
    );
    let files = command_with(data, &body).files();
    let expected = [("d/f", &b"out/d/f"[..]), ("stdout", b"out")];
    assert_eq!(files, expected.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));
}

#[test]
fn links_and_clashes_in_out_are_refused() {
    let data = r#"(data (i32.const 0) "x") (data (i32.const 10) "out/stdout")"#;
    let link = "(call $check (call $path_symlink (i32.const 0) (i32.const 1) (i32.const 3) (i32.const 10) (i32.const 10)))";
    assert!(matches!(command_with(data, link).failure(), Failure::BadOutput { .. }));
    let both = format!(
        "(call $check (call $open (i32.const 10) (i32.const 10) (i32.const 1) (i64.const {WRITE})))
        (call $check (call $write (i32.const 1) (i32.const 0) (i32.const 1)))"
    );
    assert!(matches!(command_with(data, &both).failure(), Failure::BadOutput { .. }));
}

#[test]
fn removed_directories_stay_usable_through_their_descriptors() {
    // Opens out/a/b, removes b and a, and goes on using the descriptor: no crash, ENOENT or EPERM.
    let data = r#"(data (i32.const 0) "out/a/b") (data (i32.const 10) "..") (data (i32.const 20) "c") (data (i32.const 40) "out/f")"#;
    let remove = |len| {
        format!("(call $check (call $path_remove_directory (i32.const 3) (i32.const 0) (i32.const {len})))")
    };
    let make = |len| {
        format!("(call $check (call $path_create_directory (i32.const 3) (i32.const 0) (i32.const {len})))")
    };
    let file =
        format!("(call $check (call $open (i32.const 40) (i32.const 5) (i32.const 1) (i64.const {WRITE})))");
    let body = format!(
        "{file} {} {} (call $check (call $open (i32.const 0) (i32.const 7) (i32.const 2) (i64.const 0x4000))) {} {} {}
        (call $expect (call $path_open (call $fd) (i32.const 0) (i32.const 10) (i32.const 2) (i32.const 0)
            (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 200)) (i32.const 63))
        (call $expect (call $path_create_directory (call $fd) (i32.const 20) (i32.const 1)) (i32.const 44))
        (call $expect (call $path_link (i32.const 3) (i32.const 0) (i32.const 40) (i32.const 5) (call $fd) (i32.const 20)
            (i32.const 1)) (i32.const 44))
        (call $check (call $fd_readdir (call $fd) (i32.const 300) (i32.const 100) (i64.const 0) (i32.const 200)))",
        make(5),
        make(7),
        remove(7),
        remove(5),
        make(5),
    );
    assert_eq!(command_with(data, &body).files(), [("f".to_owned(), Vec::new())]);
}

#[test]
fn names_that_no_archive_can_hold_are_refused_when_they_are_made() {
    const EINVAL: u32 = 28;
    let data =
        r#"(data (i32.const 0) "out/f") (data (i32.const 20) "out/\0a") (data (i32.const 40) "out/\5c")"#;
    for at in [20, 40] {
        for call in [
            format!("(call $path_create_directory (i32.const 3) (i32.const {at}) (i32.const 5))"),
            format!(
                "(call $path_rename (i32.const 3) (i32.const 0) (i32.const 5) (i32.const 3) (i32.const {at}) (i32.const 5))"
            ),
            format!(
                "(call $path_link (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 3) (i32.const {at}) (i32.const 5))"
            ),
        ] {
            let body = format!(
                "(call $check (call $open (i32.const 0) (i32.const 5) (i32.const 1) (i64.const {WRITE})))
                (call $expect {call} (i32.const {EINVAL}))"
            );
            assert_eq!(command_with(data, &body).files(), [("f".to_owned(), Vec::new())], "{call}");
        }
    }
}
