//! The packages that a selection of crates is built from, with their features, as cargo itself resolves them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// A package from a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, without build metadata, which a requirement cannot name.
    pub version: String,
}

/// Packages from registries and the features with which they are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph(BTreeMap<Package, BTreeSet<String>>);

impl Graph {
    /// What the whole workspace is built from.
    pub fn of_workspace(workspace: &Workspace) -> Result<Self> {
        Self::of(workspace, &["--workspace"])
    }

    /// What one member is built from, with its tests.
    pub fn of_package(workspace: &Workspace, member: &str) -> Result<Self> {
        Self::of(workspace, &["--package", member])
    }

    fn of(workspace: &Workspace, selection: &[&str]) -> Result<Self> {
        let mut tree = workspace.cargo();
        tree.args(["tree", "--quiet", "--prefix", "none", "--edges", "normal,build,dev"]);
        tree.args(["--format", "{p}|{f}"]).args(selection);
        parse(&workspace.output_of(tree)?)
    }

    /// Its packages whose features the other has differently.
    pub fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Package> {
        let known = self.0.iter();
        known
            .filter(|(package, features)| other.0.get(package) != Some(*features))
            .map(|(package, _)| package)
    }

    /// Takes a package over from another graph; false where it was there.
    pub fn take(&mut self, package: &Package, from: &Self) -> bool {
        let features = from.0.get(package).cloned().unwrap_or_default();
        self.0.insert(package.clone(), features).is_none()
    }

    /// Takes the features of its packages from another graph.
    pub fn refresh(&mut self, from: &Self) {
        for (package, features) in &mut self.0 {
            if let Some(current) = from.0.get(package) {
                features.clone_from(current);
            }
        }
    }

    /// The packages in order, each with its features.
    pub fn iter(&self) -> impl Iterator<Item = (&Package, &BTreeSet<String>)> {
        self.0.iter()
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Reads lines like `serde v1.0.229 (proc-macro)|derive,std (*)`; what has a path is a member, and left out.
fn parse(tree: &str) -> Result<Graph> {
    let mut graph = Graph::default();
    for line in tree.lines().filter(|line| !line.is_empty() && !line.starts_with('[')) {
        let (package, features) =
            line.split_once('|').with_context(|| format!("cargo tree printed `{line}`"))?;
        if package.contains(" (/") {
            continue;
        }
        let mut words = package.split(' ');
        let (name, version) = (words.next(), words.next().and_then(|version| version.strip_prefix('v')));
        let (Some(name), Some(version)) = (name, version) else {
            anyhow::bail!("cargo tree printed `{line}`");
        };
        let version = version.split('+').next().unwrap_or(version);
        let features = features.trim_end_matches(" (*)").trim();
        let features = features.split(',').filter(|feature| !feature.is_empty()).map(str::to_owned);
        let package = Package { name: name.to_owned(), version: version.to_owned() };
        graph.0.entry(package).or_default().extend(features);
    }
    Ok(graph)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cargo_tree_are_read() {
        let tree = "own v0.1.0 (/x/own)|\na v1.0.0|b,c\n\n[dev-dependencies]\nd v2.0.0 (proc-macro)|\ne v1.1.5+spec-1.1|z (*)\n";
        let graph = parse(tree).expect("a tree");
        let read: Vec<_> =
            graph.iter().map(|(package, features)| (package.to_string(), features.len())).collect();
        assert_eq!(read, [("a 1.0.0".to_owned(), 2), ("d 2.0.0".to_owned(), 0), ("e 1.1.5".to_owned(), 1)]);
        assert!(parse("nonsense").is_err());
    }

    #[test]
    fn other_features_are_a_difference() {
        let (few, many) = (parse("a v1.0.0|b").expect("a tree"), parse("a v1.0.0|b,c").expect("a tree"));
        assert_eq!(few.differing(&many).count(), 1);
        assert_eq!(many.differing(&many).count(), 0);
    }

    #[test]
    fn features_are_taken_from_the_whole() {
        let whole = parse("a v1.0.0|b,c").expect("a tree");
        let mut graph = Graph::default();
        let package = whole.iter().next().expect("a package").0.clone();
        assert!(graph.take(&package, &whole));
        assert!(!graph.take(&package, &whole));
        graph.refresh(&parse("a v1.0.0|b,c,d").expect("a tree"));
        assert_eq!(graph.iter().next().expect("a package").1.len(), 3);
    }
}
