//! Reads of a `Cargo.toml` what the rules on dependencies need, with line numbers.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Finding, line_at};

/// A member's manifest.
#[derive(Debug)]
pub struct Manifest {
    /// The package's name.
    pub package: String,
    /// All dependencies, of all kinds and targets.
    pub dependencies: Vec<Declared>,
}

/// A dependency as a manifest declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The line of the manifest.
    pub line: usize,
    /// The key in the table, which is the name unless the dependency is renamed.
    pub key: String,
    /// The name of the package depended on.
    pub package: String,
    /// Whether it stands in `[dev-dependencies]`.
    pub dev: bool,
    /// Whether it says `workspace = true`.
    pub inherited: bool,
}

/// The keys of `[workspace.dependencies]`, each with the name of the package that it stands for.
pub type Shared = BTreeMap<String, String>;

/// Reads `[workspace.dependencies]` of the root manifest.
pub fn workspace_dependencies(text: &str) -> Result<Shared, Finding> {
    let document = document("Cargo.toml", text)?;
    let table = table(document.get_ref(), "workspace").and_then(|workspace| table(workspace, "dependencies"));
    let entries = table.into_iter().flatten();
    Ok(entries.map(|(key, value)| (key.get_ref().to_string(), package_of(key.get_ref(), value))).collect())
}

/// Reads a member's manifest.
pub fn parse(path: &str, text: &str, shared: &Shared) -> Result<Manifest, Finding> {
    let document = document(path, text)?;
    let root = document.get_ref();
    let package = table(root, "package")
        .and_then(|package| package.get("name"))
        .and_then(|name| name.get_ref().as_str())
        .ok_or_else(|| Finding::new(path, 1, "the manifest has no package name: add `[package] name`"))?;

    let targets = table(root, "target").into_iter().flatten();
    let tables = targets.filter_map(|(_, value)| value.get_ref().as_table()).chain([root]);
    let mut dependencies = Vec::new();
    for holder in tables {
        for (kind, dev) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            for (key, value) in table(holder, kind).into_iter().flatten() {
                let inherited =
                    value.get_ref().get("workspace").is_some_and(|on| on.get_ref().as_bool() == Some(true));
                let name = key.get_ref().to_string();
                let package = match shared.get(&name) {
                    Some(package) if inherited => package.clone(),
                    _ => package_of(&name, value),
                };
                let line = line_at(text, key.span().start);
                dependencies.push(Declared { line, key: name, package, dev, inherited });
            }
        }
    }
    Ok(Manifest { package: package.to_owned(), dependencies })
}

fn document<'a>(path: &str, text: &'a str) -> Result<Spanned<DeTable<'a>>, Finding> {
    DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        Finding::new(path, line, format!("not TOML: {}", error.message()))
    })
}

fn table<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    table.get(key)?.get_ref().as_table()
}

fn package_of(key: &str, value: &Spanned<DeValue<'_>>) -> String {
    let renamed = value.get_ref().get("package").and_then(|package| package.get_ref().as_str());
    renamed.unwrap_or(key).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_dependencies_are_read() {
        let text = "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true\n\
                    c = { version = \"1\", package = \"d\" }\n[dev-dependencies]\ne = \"1\"\n\
                    [target.'cfg(unix)'.dependencies]\nf = \"1\"\n";
        let shared =
            workspace_dependencies("[workspace.dependencies]\nb = { package = \"bb\", path = \"b\" }")
                .expect("the root manifest is TOML");
        let manifest = parse("a/Cargo.toml", text, &shared).expect("the manifest is TOML");
        let mut read: Vec<_> =
            manifest.dependencies.iter().map(|d| (d.line, d.package.as_str(), d.dev, d.inherited)).collect();
        read.sort_unstable();
        assert_eq!(
            read,
            [(4, "bb", false, true), (5, "d", false, false), (7, "e", true, false), (9, "f", false, false)]
        );
    }

    #[test]
    fn a_broken_manifest_is_a_finding_at_its_line() {
        let finding = parse("a/Cargo.toml", "[package]\nname = \n", &Shared::new()).expect_err("not TOML");
        assert_eq!(finding.line, 2);
    }
}
