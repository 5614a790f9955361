//! One version of each direct dependency, declared once in the root manifest.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::Metadata;

use super::Finding;
use super::manifest::{Manifest, Shared};
use crate::features::UNIFIER;

/// The versions of each package that a member of the workspace depends on directly.
pub type Direct = BTreeMap<String, BTreeSet<String>>;

/// The direct dependencies of all members, as they are resolved. The crate that holds features together is left out:
/// what it depends on is chosen by the dependencies of others.
pub fn direct(metadata: &Metadata) -> Direct {
    let mut direct = Direct::new();
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    for node in nodes.filter(|node| metadata.workspace_members.contains(&node.id)) {
        if metadata[&node.id].name.as_str() == UNIFIER {
            continue;
        }
        for dependency in &node.deps {
            let package = &metadata[&dependency.pkg];
            direct.entry(package.name.to_string()).or_default().insert(package.version.to_string());
        }
    }
    direct
}

/// Checks that members agree on the version. What their dependencies use in turn is not ours to choose.
pub fn one_version(direct: &Direct, lock: &str) -> Vec<Finding> {
    let doubled = direct.iter().filter(|(_, versions)| versions.len() > 1);
    doubled
        .map(|(package, versions)| {
            let versions: Vec<_> = versions.iter().map(String::as_str).collect();
            let message = format!(
                "members use {package} in versions {}: declare it once in [workspace.dependencies]",
                versions.join(" and ")
            );
            Finding::new("Cargo.lock", lock_line(lock, package, versions[0]), message)
        })
        .collect()
}

/// Checks that a dependency which the root manifest declares is taken from there.
pub fn inherited(path: &str, manifest: &Manifest, shared: &Shared) -> Vec<Finding> {
    if manifest.package == UNIFIER {
        return Vec::new();
    }
    let own = manifest.dependencies.iter().filter(|dependency| !dependency.inherited);
    own.filter_map(|dependency| {
        let key = shared.iter().find(|(_, package)| **package == dependency.package)?.0;
        let message =
            format!("{} is in [workspace.dependencies]: write `{key}.workspace = true`", dependency.key);
        Some(Finding::new(path, dependency.line, message))
    })
    .collect()
}

/// The line of a package in the lock file, or the first where it is not there.
pub fn lock_line(lock: &str, package: &str, version: &str) -> usize {
    let name = format!("name = \"{package}\"");
    let version = format!("version = \"{version}\"");
    let mut lines = lock.lines().zip(lock.lines().skip(1)).enumerate();
    lines.find(|(_, (first, second))| *first == name && *second == version).map_or(1, |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::manifest;

    #[test]
    fn two_versions_of_a_direct_dependency_are_found() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
        let mut direct = Direct::from([("a".into(), BTreeSet::from(["2.0.0".into()]))]);
        assert_eq!(one_version(&direct, lock), []);
        direct.entry("a".into()).or_default().insert("1.0.0".into());
        let findings = one_version(&direct, lock);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 2);
        assert_eq!(lock_line(lock, "a", "2.0.0"), 6);
    }

    #[test]
    fn a_shared_dependency_declared_again_is_found() {
        let shared = Shared::from([("serde".into(), "serde".into())]);
        let text = "[package]\nname = \"a\"\n[dependencies]\nserde = \"1\"\nown = \"1\"\n";
        let manifest = manifest::parse("a/Cargo.toml", text, &shared).expect("the manifest is TOML");
        let findings = inherited("a/Cargo.toml", &manifest, &shared);
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [4]);

        let text = "[package]\nname = \"a\"\n[dependencies]\nserde = { workspace = true, features = [] }\n";
        let manifest = manifest::parse("a/Cargo.toml", text, &shared).expect("the manifest is TOML");
        assert_eq!(inherited("a/Cargo.toml", &manifest, &shared), []);
    }
}
