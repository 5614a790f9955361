//! Everything that the workspace is built from may be used under licences that suit its own.

use cargo_metadata::Metadata;

use super::dependencies::lock_line;
use super::{Finding, spdx};

/// Licences under which a dependency may be used: permissive ones, and of the copyleft ones only MPL-2.0,
/// which covers its own files and not the program that they are part of.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that name no licence expression but whose licence file was read, with what it was found to be.
const READ_BY_HAND: &[(&str, &str)] = &[];

/// A resolved package and the licence that it states.
#[derive(Clone, Debug)]
pub struct Package {
    name: String,
    version: String,
    licence: Option<String>,
}

/// The packages in the resolved graph, the workspace's own aside.
pub fn packages(metadata: &Metadata) -> Vec<Package> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let packages = nodes.map(|node| &metadata[&node.id]).filter(|package| package.source.is_some());
    packages
        .map(|package| Package {
            name: package.name.to_string(),
            version: package.version.to_string(),
            licence: package.license.clone(),
        })
        .collect()
}

/// Checks the licence of each package, at its line in the lock file.
pub fn check(packages: &[Package], lock: &str) -> Vec<Finding> {
    let found = packages.iter().filter_map(|package| Some((package, problem(package)?)));
    found
        .map(|(package, problem)| {
            let line = lock_line(lock, &package.name, &package.version);
            let message = format!(
                "{} {} {problem}: replace the dependency, or allow the licence in \
                 xtask/src/tidy/licences.rs with a reason",
                package.name, package.version
            );
            Finding::new("Cargo.lock", line, message)
        })
        .collect()
}

fn problem(package: &Package) -> Option<String> {
    let read = READ_BY_HAND.iter().find(|(name, _)| *name == package.name).map(|(_, licence)| *licence);
    let Some(licence) = package.licence.as_deref().or(read) else {
        return Some("states no licence".to_owned());
    };
    match spdx::satisfied(licence, &|licence| ALLOWED.contains(&licence)) {
        Ok(true) => None,
        Ok(false) => Some(format!("is licensed as `{licence}`, which is not allowed")),
        Err(reason) => Some(format!("has a licence that cannot be read, `{licence}` ({reason})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n";

    fn check_one(licence: Option<&str>) -> Vec<Finding> {
        let licence = licence.map(str::to_owned);
        check(&[Package { name: "a".into(), version: "1.0.0".into(), licence }], LOCK)
    }

    #[test]
    fn permissive_licences_pass() {
        for licence in ["MIT OR Apache-2.0", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
            assert_eq!(check_one(Some(licence)), [], "{licence}");
        }
    }

    #[test]
    fn other_licences_are_found_at_their_line() {
        for licence in [None, Some("GPL-3.0-only"), Some("MIT AND AGPL-3.0-only"), Some("MIT OR")] {
            let findings = check_one(licence);
            assert_eq!(findings.len(), 1, "{licence:?}");
            assert_eq!((findings[0].path.as_str(), findings[0].line), ("Cargo.lock", 2));
        }
    }
}
