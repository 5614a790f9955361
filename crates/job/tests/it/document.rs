//! The examples of the user's guide, and those that come with Tidemill, are job files.

use std::{fs, path::Path};

use tidemill_job::JobFile;

const GUIDE: &str = include_str!("../../../../docs/job-file.md");

#[test]
fn every_example_of_the_guide_is_a_right_job_file() {
    let mut examples = 0;
    for block in GUIDE.split("```toml\n").skip(1) {
        let example = block.split("```").next().expect("a split has a first piece");
        if let Err(mistakes) = JobFile::parse(example) {
            panic!("{example}\n{mistakes}");
        }
        examples += 1;
    }
    assert!(examples >= 8, "{examples}");
}

#[test]
fn the_guide_s_mistakes_are_what_is_said() {
    let (_, rest) = GUIDE.split_once("```text wrong\n").expect("the guide shows a wrong file");
    let (wrong, rest) = rest.split_once("```").expect("a block ends");
    let (_, rest) = rest.split_once("```text said\n").expect("the guide shows what is said");
    let (said, _) = rest.split_once("```").expect("a block ends");
    let mistakes = JobFile::parse(wrong).expect_err("the file is wrong");
    assert_eq!(format!("{mistakes}\n"), said);
}

#[test]
fn every_example_job_is_right() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for entry in fs::read_dir(examples).expect("the examples are there") {
        let path = entry.expect("a directory can be read").path().join("job.toml");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if let Err(mistakes) = JobFile::parse(&text) {
            panic!("{}", mistakes.in_file(&path.display().to_string()));
        }
    }
}
