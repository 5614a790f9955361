//! Documents are in plain English: phrases that no native engineer would write are refused.

use super::{Finding, line_at, texts};
use crate::workspace::SourceFile;

/// The documents that this rule reads: a path, or a folder that ends with `/` for all Markdown files below it. A
/// document joins the list when it has been rewritten.
const DOCUMENTS: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/decisions/",
    "docs/job-file.md",
    "docs/ledger.md",
    "docs/network.md",
    "docs/verification.md",
    "examples/",
];

/// Phrases that are wrong wherever they stand, each with what to write instead. A phrase that is right in some
/// sentence does not belong here.
const PHRASES: &[(&str, &str)] = &[
    ("ask of others", "`have other operators check`, or name who does what"),
    ("asked of others", "`verified again`, or name the role that does it"),
    ("by a machine's doing", "`because a machine fails`"),
    ("by its own doing", "`because the program fails`"),
    ("in one hand", "`with one owner`, or name the group"),
    ("is no machine that", "`is not a machine that`, or say what it is"),
    ("is none of", "`is not one of`, or say what it is"),
    ("more seldom", "`less often`"),
    ("of one hand", "`of one group`, or `of one owner`"),
    ("of whom nothing is known", "`without a record`, or `newcomer`"),
    ("oftener", "`more often`"),
    ("one more voice", "`one more vote`"),
    ("one's own", "`your own` or `that you own`, or name the owner"),
    ("says something else than", "`contradicts`"),
    ("so and so", "the name or the number"),
    ("somebody of whom", "`a provider without a record`, or name the role"),
    ("what it was believed", "`its unchecked results`"),
    ("whoever is caught", "`a provider caught lying`"),
];

/// Checks the documents of the list, and that each entry still leads to a document.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    check_with(files, DOCUMENTS)
}

fn check_with(files: &[SourceFile], documents: &[&str]) -> Vec<Finding> {
    let markdown: Vec<(&str, &str)> = texts(files).filter(|(path, _)| path.ends_with(".md")).collect();
    let mut findings = Vec::new();
    for (path, text) in &markdown {
        if documents.iter().any(|document| is_in(path, document)) {
            findings.extend(phrases(path, text));
        }
    }
    let is_stale = |document: &&&str| markdown.iter().all(|(path, _)| !is_in(path, document));
    for document in documents.iter().filter(is_stale) {
        findings.push(Finding::new(
            document,
            1,
            "no such document: remove it from xtask/src/tidy/english.rs",
        ));
    }
    findings
}

/// Whether an entry of the list means a file.
fn is_in(path: &str, document: &str) -> bool {
    path == document || document.ends_with('/') && path.starts_with(document)
}

fn phrases(path: &str, text: &str) -> Vec<Finding> {
    let words = words(text);
    let mut findings = Vec::new();
    for (phrase, instead) in PHRASES {
        let parts: Vec<&str> = phrase.split(' ').collect();
        for place in words.windows(parts.len()).filter(|place| is_phrase(text, place, &parts)) {
            let message = format!("`{phrase}` is not plain English: write {instead}");
            findings.push(Finding::new(path, line_at(text, place[0].start), message));
        }
    }
    findings
}

/// A word of a text.
struct Word<'a> {
    /// The byte at which it starts.
    start: usize,
    text: &'a str,
}

impl Word<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The words of a text. An apostrophe is a part of its word.
fn words(text: &str) -> Vec<Word<'_>> {
    let is_between = |character: char| !character.is_alphanumeric() && character != '\'';
    let mut words = Vec::new();
    let mut start = 0;
    for piece in text.split_inclusive(is_between) {
        let word = piece.trim_end_matches(is_between);
        if !word.is_empty() {
            words.push(Word { start, text: word });
        }
        start += piece.len();
    }
    words
}

/// Whether words are a phrase's, in any case, with nothing but white space between them: a line may end within a phrase,
/// a sentence may not.
fn is_phrase(text: &str, words: &[Word<'_>], parts: &[&str]) -> bool {
    let are_same = words.iter().zip(parts).all(|(word, part)| word.text.eq_ignore_ascii_case(part));
    let are_joined = || words.windows(2).all(|pair| text[pair[0].end()..pair[1].start].trim().is_empty());
    are_same && are_joined()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: Some(text.into()) }
    }

    fn lines(text: &str) -> Vec<usize> {
        let findings = check_with(&[file("a.md", text)], &["a.md"]);
        let mut lines: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn every_phrase_is_found_and_says_what_to_write() {
        for (phrase, instead) in PHRASES {
            let findings = check_with(&[file("a.md", &format!("fine\nit {phrase} here"))], &["a.md"]);
            let expected = format!("a.md:2: `{phrase}` is not plain English: write {instead}");
            assert!(findings.iter().any(|finding| finding.to_string() == expected), "{phrase}: {findings:?}");
        }
    }

    #[test]
    fn case_and_line_ends_do_not_hide_a_phrase() {
        assert_eq!(lines("Oftener than that, and\nASKED\n  of others, Oftener"), [1, 2, 3]);
    }

    #[test]
    fn parts_of_words_and_of_two_sentences_are_no_phrase() {
        assert!(lines("softener, someone's own, asked of others' work").is_empty());
        assert!(lines("Here is none. Of these, one more; voice. Asked (of others).").is_empty());
    }

    #[test]
    fn only_the_documents_of_the_list_are_read() {
        let text = "oftener";
        let files = [
            file("docs/a/b.md", text),
            file("docs/a.md", text),
            file("docs/a/b.toml", text),
            file("README.md", text),
        ];
        let findings = check_with(&files, &["docs/a/", "README.md"]);
        let found: Vec<String> = findings.into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["docs/a/b.md", "README.md"]);
    }

    #[test]
    fn an_entry_without_a_document_is_found() {
        let findings = check_with(&[file("a.md", "")], &["a.md", "b.md", "docs/"]);
        let found: Vec<String> = findings.into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["b.md", "docs/"]);
    }
}
