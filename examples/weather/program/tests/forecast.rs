//! The whole way from members to the picture, below a temporary root.

// The helpers below are tests too, though the lint does not see that.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn root(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    for folder in ["in/parts", "out"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    root
}

fn run(root: &Path, args: &str) -> Result<(), String> {
    let args: Vec<String> = args.split_whitespace().map(String::from).collect();
    example_weather::run(&args, root).map_err(|e| e.to_string())
}

fn member(root: &Path, number: usize, more: &str) {
    run(root, &format!("member --member {number} --nx 64 --ny 32 {more}")).unwrap();
    let folder = root.join(format!("in/parts/{number:06}"));
    fs::create_dir_all(&folder).unwrap();
    fs::rename(root.join("out/member.bin"), folder.join("member.bin")).unwrap();
}

#[test]
fn members_become_a_picture_and_a_summary() {
    let root = root("members");
    for number in 0..3 {
        member(&root, number, "--hours 24");
    }
    run(&root, "draw --parts /in/parts").unwrap();
    let summary = fs::read_to_string(root.join("out/summary.txt")).unwrap();
    assert!(summary.starts_with("members               3\n"), "{summary}");
    assert!(summary.contains("forecast              24.0 h"), "{summary}");
    assert_eq!(&fs::read(root.join("out/weather.png")).unwrap()[1..4], b"PNG");
}

#[test]
fn errors_say_what_is_wrong() {
    let root = root("faults");
    assert!(run(&root, "draw --parts /in/parts").unwrap_err().contains("there are no members"));
    assert!(run(&root, "member --nx 64").unwrap_err().starts_with("--member is missing"));
    assert!(run(&root, "member --member 0 --nx 3").unwrap_err().contains("--nx must be"));
    member(&root, 0, "--steps 5");
    member(&root, 1, "--steps 6");
    assert!(run(&root, "draw --parts /in/parts").unwrap_err().contains("another forecast"));
    fs::write(root.join("in/parts/000001/member.bin"), b"tmwthr1\n").unwrap();
    assert!(run(&root, "draw --parts /in/parts").unwrap_err().starts_with("/in/parts/000001/member.bin: "));
}
