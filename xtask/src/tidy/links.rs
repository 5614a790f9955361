//! Links between the documents lead somewhere, and every document is reached by one.

use std::collections::BTreeSet;

use super::{Finding, texts};
use crate::workspace::SourceFile;

/// Checks all Markdown files, and that each example's job has a README beside it.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut findings = Vec::new();
    let mut linked = BTreeSet::new();
    for (path, text) in texts(files).filter(|(path, _)| path.ends_with(".md")) {
        for (line, target) in targets(text) {
            let Some(to) = resolve(path, target) else { continue };
            if exists(&paths, &to) {
                if to != path {
                    linked.insert(to);
                }
            } else {
                let message = format!("the link `{target}` leads to no file: there is no {to}");
                findings.push(Finding::new(path, line, message));
            }
        }
    }
    for path in paths.iter().filter(|path| path.starts_with("docs/") && path.ends_with(".md")) {
        if !linked.contains(*path) {
            let message =
                "no document links here: link it from README.md, ARCHITECTURE.md or its folder's index";
            findings.push(Finding::new(path, 1, message));
        }
    }
    for path in paths.iter().filter(|path| path.starts_with("examples/")) {
        let Some(folder) = path.strip_suffix("/job.toml") else { continue };
        if !paths.contains(format!("{folder}/README.md").as_str()) {
            findings.push(Finding::new(
                path,
                1,
                format!("an example needs its words: write {folder}/README.md"),
            ));
        }
    }
    findings
}

fn exists(paths: &BTreeSet<&str>, to: &str) -> bool {
    let folder = format!("{to}/");
    to.is_empty()
        || paths.contains(to)
        || paths.range(folder.as_str()..).next().is_some_and(|p| p.starts_with(&folder))
}

/// The link targets of a Markdown text, `[…](target)` and `[…]: target`, outside of code.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    let mut fence: Option<&str> = None;
    for (at, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if let Some(open) = fence {
            if start.starts_with(open) {
                fence = None;
            }
            continue;
        }
        fence = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        if fence.is_some() {
            continue;
        }
        targets.extend(targets_of_line(line).into_iter().map(|target| (at + 1, target)));
    }
    targets
}

fn targets_of_line(line: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
        targets.extend(target.split_whitespace().next());
    }
    // Every second piece between backticks is code; the target of [`words`](target) is not.
    for text in line.split('`').step_by(2) {
        for rest in text.split("](").skip(1) {
            let target = rest.split_once(')').map_or(rest, |(target, _)| target);
            targets.extend(target.split_whitespace().next());
        }
    }
    targets
}

/// The path from the root that a link in a file means; nothing for other sites and for the file itself.
fn resolve(from: &str, target: &str) -> Option<String> {
    let target = target.trim_start_matches('<').trim_end_matches('>');
    let (target, _) = target.split_once(['#', '?']).unwrap_or((target, ""));
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (start, rest) = target.strip_prefix('/').map_or((folder, target), |rest| ("", rest));
    let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            // Above the root there is nothing to check against: the link then names a file that is not there.
            ".." if parts.is_empty() => parts.push(".."),
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: Some(text.into()) }
    }

    fn places(files: &[SourceFile]) -> Vec<(String, usize)> {
        check(files).into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let readme =
            "[a](docs/a.md) [c](crates)\n[b](docs/b.md#part)\n\n[d]: gone.md\n[`e`](e.md)\n[f](../f.md)\n";
        let files =
            [file("README.md", readme), file("docs/a.md", "[up](../README.md)"), file("crates/x.rs", "")];
        let at = |line| ("README.md".to_owned(), line);
        assert_eq!(places(&files), [at(2), at(4), at(5), at(6)]);
    }

    #[test]
    fn other_sites_anchors_and_code_are_not_links_to_files() {
        let text = "[a](https://example.org/x) [b](#part) [c](mailto:a@example.org) `[d](gone.md)`\n\
                    ```\n[e](gone.md)\n```\n~~~ md\n[f](gone.md)\n~~~\n";
        assert_eq!(places(&[file("README.md", text)]), []);
    }

    #[test]
    fn a_document_that_nothing_links_to_is_found() {
        let files = [file("README.md", "[d](docs/)"), file("docs/a.md", "[self](a.md)")];
        assert_eq!(places(&files), [("docs/a.md".to_owned(), 1)]);
        let files = [
            file("ARCHITECTURE.md", "[a](docs/a.md)"),
            file("docs/a.md", "[b](b.md)"),
            file("docs/b.md", ""),
        ];
        assert_eq!(places(&files), []);
    }

    #[test]
    fn an_example_without_a_readme_is_found() {
        let files = [
            file("examples/a/job.toml", ""),
            file("examples/b/job.toml", ""),
            file("examples/b/README.md", ""),
        ];
        assert_eq!(places(&files), [("examples/a/job.toml".to_owned(), 1)]);
    }
}
