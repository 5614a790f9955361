//! The whole way from batches to a price, below a temporary root.

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
    example_montecarlo::run(&args, root).map_err(|e| e.to_string())
}

fn batch(root: &Path, number: usize, more: &str) {
    run(root, &format!("simulate --batch {number} --paths 200000 {more}")).unwrap();
    let folder = root.join(format!("in/parts/{number:06}"));
    fs::create_dir_all(&folder).unwrap();
    fs::rename(root.join("out/batch.txt"), folder.join("batch.txt")).unwrap();
}

#[test]
fn batches_are_pooled_and_checked() {
    let root = root("pool");
    for number in 0..3 {
        batch(&root, number, "--strike 105 --vol 0.25 --rate 0.03");
    }
    run(&root, "pool --parts /in/parts").unwrap();
    let report = fs::read_to_string(root.join("out/report.txt")).unwrap();
    assert!(report.contains("Black-Scholes   9.121799"), "{report}");
    // A batch that was tampered with makes the job fail.
    let path = root.join("in/parts/000001/batch.txt");
    let text = fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|l| l.starts_with("mean")).unwrap().to_string();
    fs::write(&path, text.replace(&line, "mean 12")).unwrap();
    assert!(run(&root, "pool --parts /in/parts").unwrap_err().contains("standard errors"));
}

#[test]
fn errors_say_what_is_wrong() {
    let root = root("faults");
    assert!(run(&root, "pool --parts /in/parts").unwrap_err().contains("there are no batches"));
    assert!(run(&root, "simulate --batch 0").unwrap_err().starts_with("--paths is missing"));
    assert!(run(&root, "simulate --batch 0 --paths 9 --vol -1").unwrap_err().contains("--vol must be"));
    batch(&root, 0, "");
    batch(&root, 1, "--strike 90");
    assert!(run(&root, "pool --parts /in/parts").unwrap_err().contains("another option"));
}
