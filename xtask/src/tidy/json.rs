//! Commands print types of `tidemill-api`: JSON that is written by hand has no schema, and drifts from what other
//! commands print.

use super::source::Source;
use super::{Finding, texts};
use crate::workspace::SourceFile;

/// The binary, whose commands print JSON.
const COMMANDS: &str = "crates/tidemill/src/";

/// What makes JSON by hand.
const BY_HAND: &str = "json!";

/// Folders that may, each with the reason.
const ALLOWED: &[(&str, &str)] = &[
    (
        "crates/tidemill/src/commands/bench/",
        "measurements change with what is measured, and no script relies on them",
    ),
    (
        "crates/tidemill/src/commands/sim/",
        "measurements change with what is measured, and no script relies on them",
    ),
];

/// Checks the binary, except its tests, and that each exception is still needed.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    check_with(files, ALLOWED)
}

fn check_with(files: &[SourceFile], allowed: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = Vec::new();
    for (path, text) in texts(files).filter(|(path, _)| path.starts_with(COMMANDS) && path.ends_with(".rs")) {
        let (source, _) = Source::read(text).without_tests();
        let lines: Vec<usize> = source.words(BY_HAND).map(|place| place.line).collect();
        match allowed.iter().find(|(folder, _)| path.starts_with(folder)) {
            Some((folder, _)) if !lines.is_empty() => needed.push(*folder),
            Some(_) => {}
            None => findings.extend(lines.into_iter().map(|line| {
                let message = format!(
                    "`{BY_HAND}` in a command: print a type of tidemill-api, which has docs and a schema"
                );
                Finding::new(path, line, message)
            })),
        }
    }
    let stale = allowed.iter().filter(|(folder, _)| !needed.contains(folder));
    findings.extend(stale.map(|(folder, _)| {
        let message = format!("nothing here writes `{BY_HAND}`: remove it from xtask/src/tidy/json.rs");
        Finding::new(folder, 1, message)
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    const TWICE: &str = "fn a() {\n b(json!({}));\n c(serde_json::json!([]));\n}\n";

    fn lines(path: &str, text: &str, allowed: &[(&str, &str)]) -> Vec<usize> {
        let file = SourceFile { path: path.into(), text: Some(text.into()) };
        check_with(&[file], allowed).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn json_by_hand_is_found_in_the_binary_alone() {
        assert_eq!(lines("crates/tidemill/src/commands/a.rs", TWICE, &[]), [2, 3]);
        assert_eq!(lines("crates/tidemill/src/a.rs", TWICE, &[]), [2, 3]);
        assert_eq!(lines("crates/devnet/src/a.rs", TWICE, &[]), NONE);
        assert_eq!(lines("crates/tidemill/tests/it/a.rs", TWICE, &[]), NONE);
    }

    #[test]
    fn json_in_unit_tests_and_texts_is_not() {
        let text =
            "//! json!\nfn a() { b(\"json!\"); }\n#[cfg(test)]\nmod tests {\n fn c() { json!(1); }\n}\n";
        assert_eq!(lines("crates/tidemill/src/a.rs", text, &[]), NONE);
    }

    #[test]
    fn an_exception_that_is_not_needed_is_found() {
        let allowed = [("crates/tidemill/src/commands/bench/", "measurements")];
        assert_eq!(lines("crates/tidemill/src/commands/bench/a.rs", TWICE, &allowed), NONE);
        assert_eq!(lines("crates/tidemill/src/commands/bench/a.rs", "fn a() {}\n", &allowed), [1]);
    }
}
