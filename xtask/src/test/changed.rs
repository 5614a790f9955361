//! What a change touches: which packages, and which of the slow tests.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use cargo_metadata::Metadata;

use crate::workspace::Workspace;

/// The package of the binary, whose end-to-end tests take longer than all others together.
pub const BINARY: &str = "tidemill";

/// The folder of the end-to-end tests, from the workspace's root.
const END_TO_END: &str = "crates/tidemill/tests/it/";

/// Files outside of packages that the tests of one read.
const READ_BY: &[(&str, &str)] = &[("docs/job-file.md", "tidemill-job")];

/// What has to be tested after a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Packages that changed themselves.
    pub changed: BTreeSet<String>,
    /// These, and all that are built on them.
    pub affected: BTreeSet<String>,
    /// Modules of the end-to-end tests that changed.
    pub end_to_end: BTreeSet<String>,
    /// Whether the contracts changed.
    pub contracts: bool,
}

/// What the files that are not committed touch, or, where all are, what the last commit touched.
pub fn touched(workspace: &Workspace, metadata: &Metadata) -> Result<Touched> {
    let mut paths = changed_paths(workspace, &["diff", "--name-only", "-z", "HEAD"])?;
    paths.extend(changed_paths(workspace, &["ls-files", "-z", "--others", "--exclude-standard"])?);
    if paths.is_empty() {
        paths = changed_paths(workspace, &["diff", "--name-only", "-z", "HEAD~1", "HEAD"])?;
    }
    Ok(of_paths(&paths, &packages(metadata)))
}

fn changed_paths(workspace: &Workspace, args: &[&str]) -> Result<Vec<String>> {
    let output = workspace.command("git").args(args).output().context("cannot run git")?;
    ensure!(output.status.success(), "git {}: {}", args[0], String::from_utf8_lossy(&output.stderr).trim());
    let paths = output.stdout.split(|&byte| byte == 0).filter(|path| !path.is_empty());
    Ok(paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
}

/// A member, where it is, and which members it is built on.
struct Member {
    name: String,
    /// From the workspace's root, with a slash at the end.
    folder: String,
    uses: Vec<String>,
}

fn packages(metadata: &Metadata) -> Vec<Member> {
    let members = metadata.workspace_packages();
    let names: BTreeSet<String> = members.iter().map(|package| package.name.to_string()).collect();
    let folder = |package: &cargo_metadata::Package| {
        let folder = package.manifest_path.parent()?.strip_prefix(&metadata.workspace_root).ok()?;
        Some(format!("{folder}/"))
    };
    let of = |package: &&cargo_metadata::Package| Member {
        name: package.name.to_string(),
        folder: folder(package).unwrap_or_default(),
        uses: package
            .dependencies
            .iter()
            .map(|used| used.name.clone())
            .filter(|name| names.contains(name))
            .collect(),
    };
    members.iter().map(of).collect()
}

fn of_paths(paths: &[String], members: &[Member]) -> Touched {
    let mut touched = Touched::default();
    for path in paths {
        if path.starts_with("contracts/") {
            touched.contracts = true;
        }
        if let Some(module) = path.strip_prefix(END_TO_END) {
            touched.end_to_end.insert(module.split(['/', '.']).next().unwrap_or(module).to_owned());
        } else if matches!(path.as_str(), "Cargo.toml" | "Cargo.lock") || path.starts_with(".cargo/") {
            touched.changed.extend(members.iter().map(|member| member.name.clone()));
        } else if let Some(member) = members.iter().find(|member| path.starts_with(&member.folder)) {
            touched.changed.insert(member.name.clone());
        }
        let readers = READ_BY.iter().filter(|(read, _)| read == path);
        touched.changed.extend(readers.map(|(_, reader)| (*reader).to_owned()));
    }
    touched.affected = touched.changed.clone();
    if !touched.end_to_end.is_empty() {
        touched.changed.insert(BINARY.to_owned());
    }
    loop {
        let reached = members.iter().filter(|member| {
            !touched.affected.contains(&member.name)
                && member.uses.iter().any(|used| touched.affected.contains(used))
        });
        let reached: Vec<_> = reached.map(|member| member.name.clone()).collect();
        if reached.is_empty() {
            return touched;
        }
        touched.affected.extend(reached);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<Member> {
        let member = |name: &str, folder: &str, uses: &[&str]| Member {
            name: name.into(),
            folder: folder.into(),
            uses: uses.iter().map(|&name| name.to_owned()).collect(),
        };
        vec![
            member("tidemill-types", "crates/types/", &[]),
            member("tidemill-net", "crates/net/", &["tidemill-types"]),
            member("tidemill-job", "crates/job/", &["tidemill-types"]),
            member(BINARY, "crates/tidemill/", &["tidemill-net"]),
        ]
    }

    fn of(paths: &[&str]) -> Touched {
        let paths: Vec<_> = paths.iter().map(|&path| path.to_owned()).collect();
        of_paths(&paths, &members())
    }

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    #[test]
    fn what_is_built_on_a_change_is_affected() {
        let touched = of(&["crates/net/src/lib.rs"]);
        assert_eq!(names(&touched.changed), ["tidemill-net"]);
        assert_eq!(names(&touched.affected), ["tidemill", "tidemill-net"]);
        assert_eq!(of(&["crates/types/src/id.rs"]).affected.len(), 4);
        assert!(!touched.contracts && touched.end_to_end.is_empty());
    }

    #[test]
    fn an_end_to_end_test_affects_nothing_but_itself() {
        let touched = of(&["crates/tidemill/tests/it/pay/stakes.rs", "crates/tidemill/tests/it/run.rs"]);
        assert_eq!(names(&touched.end_to_end), ["pay", "run"]);
        assert!(touched.affected.is_empty());
        assert_eq!(names(&touched.changed), [BINARY]);
    }

    #[test]
    fn the_root_manifest_touches_everything_and_a_document_its_reader() {
        assert_eq!(of(&["Cargo.lock"]).affected.len(), 4);
        assert_eq!(names(&of(&["docs/job-file.md"]).affected), ["tidemill-job"]);
        assert_eq!(of(&["README.md"]), Touched::default());
        assert!(of(&["contracts/src/Tide.sol"]).contracts);
    }
}
