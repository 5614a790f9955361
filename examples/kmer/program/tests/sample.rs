//! The whole way from a sequence file to the report, below a temporary root.

// The helpers below are tests too, though the lint does not see that.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// An empty root for one test.
fn root(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    for folder in ["in/parts", "out", "tmp"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    root
}

fn run(root: &Path, args: &str) -> Result<(), String> {
    let args: Vec<String> = args.split_whitespace().map(String::from).collect();
    example_kmer::run(&args, root).map_err(|e| e.to_string())
}

fn part(root: &Path, index: usize) {
    let folder = root.join(format!("in/parts/{index:06}"));
    fs::create_dir_all(&folder).unwrap();
    fs::rename(root.join("out/run.bin"), folder.join("run.bin")).unwrap();
}

#[test]
fn the_sample_has_the_counts_that_jellyfish_finds() {
    let root = root("sample");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample.fa");
    fs::copy(sample, root.join("in/part.fa")).unwrap();
    run(&root, "count --input /in/part.fa --k 21").unwrap();
    part(&root, 0);
    run(&root, "merge --parts /in/parts --last true").unwrap();
    let summary = fs::read_to_string(root.join("out/summary.txt")).unwrap();
    let numbers: Vec<&str> = summary.lines().filter_map(|l| l.split_whitespace().last()).collect();
    assert_eq!(numbers, ["21", "248852", "218344", "216328", "1481"]);
    let top = fs::read_to_string(root.join("out/top.tsv")).unwrap();
    assert_eq!(top.lines().count(), 101);
    assert_eq!(top.lines().nth(1), Some("AAAAAAAAAAAAAAAAAAAAA\t1481"));
}

#[test]
fn a_tree_of_pieces_gives_the_same_as_the_whole() {
    let root = root("tree");
    let k = 5;
    let text: String = (0..400u32).map(|i| char::from(b"ACGT"[(i * i * 7 / 3 % 4) as usize])).collect();
    let report = |root: &Path| {
        run(root, "merge --parts /in/parts --last true").unwrap();
        let read = |name: &str| fs::read_to_string(root.join("out").join(name)).unwrap();
        (read("summary.txt"), read("histogram.tsv"), read("top.tsv"))
    };
    fs::write(root.join("in/a.fa"), format!(">whole\n{text}\n")).unwrap();
    run(&root, "count --input /in/a.fa --k 5").unwrap();
    part(&root, 0);
    let whole = report(&root);
    // Four pieces that overlap by k - 1, merged in pairs, and the pairs merged.
    let mut pairs = Vec::new();
    for pair in 0..2 {
        for half in 0..2 {
            let start = 100 * (2 * pair + half);
            let piece = &text[start..(start + 100 + k - 1).min(text.len())];
            fs::write(root.join("in/a.fa"), format!(">piece\r\n{}\r\n", piece.to_lowercase())).unwrap();
            run(&root, "count --input /in/a.fa --k 5").unwrap();
            part(&root, half);
        }
        run(&root, "merge --parts /in/parts --last false").unwrap();
        pairs.push(fs::read(root.join("out/run.bin")).unwrap());
    }
    for (i, bytes) in pairs.into_iter().enumerate() {
        fs::write(root.join(format!("in/parts/{i:06}/run.bin")), bytes).unwrap();
    }
    assert_eq!(report(&root), whole);
}

#[test]
fn errors_name_file_and_line() {
    let root = root("errors");
    fs::write(root.join("in/x.fq"), "@r\nACGT\n+\nII\n").unwrap();
    let error = run(&root, "count --input /in/x.fq --k 3").unwrap_err();
    assert!(error.starts_with("/in/x.fq, line 5: the file ends within a FASTQ record"), "{error}");
    assert!(run(&root, "count --input /in/no.fa --k 3").unwrap_err().starts_with("/in/no.fa: "));
    assert!(run(&root, "count --input /in/x.fq --k 40").unwrap_err().contains("from 1 to 31"));
    assert!(run(&root, "merge --parts /in/parts --last true").unwrap_err().contains("no runs to merge"));
}
