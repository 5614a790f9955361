//! `cargo xtask tidy`: the rules of the project that no compiler checks.
//!
//! Each rule is a function over paths and texts that returns findings; this file reads the tree, calls
//! them all, and prints what they found. No rule stops at its first finding.

mod dependencies;
mod direction;
mod english;
mod json;
mod length;
mod licences;
mod links;
mod manifest;
pub mod paths;
mod rust;
mod source;
mod spdx;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

use crate::features;
use crate::workspace::{SourceFile, Workspace};

/// Options of `cargo xtask tidy`.
#[derive(clap::Args)]
pub struct Args {}

/// Something that a person has to change, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    /// A finding at a line, counted from 1; the message says what is wrong and what to do.
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Checks the tree and fails when anything was found.
pub fn run(workspace: &Workspace, _args: &Args) -> Result<ExitCode> {
    Ok(if report(workspace)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints every finding; true when there are none.
pub fn report(workspace: &Workspace) -> Result<bool> {
    let files = workspace.files()?;
    let metadata = workspace.metadata()?;

    let mut findings = over_texts(&files);
    let lock = text_of(&files, "Cargo.lock");
    findings.extend(licences::check(&licences::packages(&metadata), lock));
    findings.extend(dependencies::one_version(&dependencies::direct(&metadata), lock));
    let features = features::problems(workspace, &metadata)?;
    findings.extend(features.into_iter().map(|problem| Finding::new("Cargo.lock", 1, problem)));
    findings.sort();
    findings.dedup();

    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} files, {} findings", files.len(), findings.len());
    Ok(findings.is_empty())
}

/// The rules that need nothing but the files.
fn over_texts(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = manifests(files);
    findings.extend(rust::check(files));
    findings.extend(json::check(files));
    findings.extend(length::check(files));
    findings.extend(links::check(files));
    findings.extend(english::check(files));
    for (path, text) in texts(files) {
        findings.extend(paths::check(path, text));
    }
    findings
}

fn manifests(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shared = match manifest::workspace_dependencies(text_of(files, "Cargo.toml")) {
        Ok(shared) => shared,
        Err(finding) => return vec![finding],
    };
    for (path, text) in texts(files) {
        if !path.ends_with("/Cargo.toml") {
            continue;
        }
        match manifest::parse(path, text, &shared) {
            Ok(manifest) => {
                findings.extend(direction::check(path, &manifest));
                findings.extend(dependencies::inherited(path, &manifest, &shared));
            }
            Err(finding) => findings.push(finding),
        }
    }
    findings
}

fn texts(files: &[SourceFile]) -> impl Iterator<Item = (&str, &str)> {
    files.iter().filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?)))
}

/// The text of one file; empty where there is no such file, which then fails the rule that reads it.
fn text_of<'a>(files: &'a [SourceFile], path: &str) -> &'a str {
    texts(files).find(|(at, _)| *at == path).map_or("", |(_, text)| text)
}

/// The line, counted from 1, of a byte in a text.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_editors_expect() {
        assert_eq!(Finding::new("a/b.rs", 3, "no").to_string(), "a/b.rs:3: no");
    }

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!(line_at("a\nb\nc", 0), 1);
        assert_eq!(line_at("a\nb\nc", 2), 2);
    }

    #[test]
    fn a_manifest_that_is_no_toml_is_found() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: Some(text.into()) };
        let files = [file("Cargo.toml", "[workspace]\n"), file("xtask/Cargo.toml", "[package]\nname =\n")];
        let findings = manifests(&files);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "xtask/Cargo.toml");
    }
}
