//! A file of more than 600 lines has to know why.

use super::{Finding, texts};
use crate::workspace::SourceFile;

/// What a person can still hold in mind at once; most files are far shorter.
const MOST_LINES: usize = 600;

/// Longer files, each with the reason why it is not split.
const ALLOWED: &[(&str, &str)] = &[];

/// Checks all Rust files, tests included, and that each exception is still needed.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    check_with(files, ALLOWED)
}

fn check_with(files: &[SourceFile], allowed: &[(&str, &str)]) -> Vec<Finding> {
    let long: Vec<(&str, usize)> = texts(files)
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|&(_, lines)| lines > MOST_LINES)
        .collect();
    let unexplained = long.iter().filter(|(path, _)| allowed.iter().all(|(at, _)| at != path));
    let unexplained = unexplained.map(|(path, lines)| {
        let message = format!(
            "{lines} lines, more than {MOST_LINES}: split the file, or give the reason in \
             xtask/src/tidy/length.rs"
        );
        Finding::new(path, MOST_LINES + 1, message)
    });
    let stale = allowed.iter().filter(|(path, _)| long.iter().all(|(at, _)| at != path));
    let stale = stale.map(|(path, _)| {
        let message = format!("no longer over {MOST_LINES} lines: remove it from xtask/src/tidy/length.rs");
        Finding::new(path, 1, message)
    });
    unexplained.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, lines: usize) -> SourceFile {
        SourceFile { path: path.into(), text: Some("//\n".repeat(lines)) }
    }

    #[test]
    fn long_files_are_found_unless_explained() {
        let files = [file("a.rs", 600), file("b.rs", 601), file("c.rs", 700), file("d.md", 900)];
        let findings = check_with(&files, &[("c.rs", "one table")]);
        assert_eq!(findings.iter().map(|finding| finding.path.as_str()).collect::<Vec<_>>(), ["b.rs"]);
    }

    #[test]
    fn an_exception_that_is_not_needed_is_found() {
        let findings = check_with(&[file("a.rs", 10)], &[("a.rs", "was long"), ("gone.rs", "was long")]);
        assert_eq!(findings.len(), 2);
    }
}
