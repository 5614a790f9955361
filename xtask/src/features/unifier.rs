//! The crate without code: who depends on it, and how its manifest is written.

use cargo_metadata::Metadata;

use super::graph::Graph;

/// Its name.
pub const UNIFIER: &str = "tidemill-features";

/// Its manifest, from the workspace's root.
pub const MANIFEST: &str = "crates/features/Cargo.toml";

/// The members that use it: not itself, and not the programs of examples, which stand for a user's.
pub fn users(metadata: &Metadata) -> impl Iterator<Item = &str> {
    let members = metadata.workspace_packages().into_iter().map(|package| package.name.as_str());
    members.filter(|name| *name != UNIFIER && !name.starts_with("example-"))
}

/// The manifest that asks for these packages with these features.
pub fn manifest(packages: &Graph) -> String {
    let mut text = format!(
        "# Made by `cargo xtask features`, which says why: not to be edited.\n[package]\nname = \"{UNIFIER}\"\n\
         description = \"No code: one set of features of each dependency, whichever crates are built\"\n\
         version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
         license.workspace = true\npublish.workspace = true\n\n[lib]\ndoctest = false\ntest = false\n\n\
         [lints]\nworkspace = true\n\n\
         # Where the features were looked up; elsewhere packages may be compiled twice.\n\
         [target.'cfg(target_os = \"linux\")'.build-dependencies]\n"
    );
    for (package, features) in packages.iter() {
        let doubled = packages.iter().filter(|(other, _)| other.name == package.name).count() > 1;
        let (key, renamed) = if doubled {
            let key = format!("{}-{}", package.name, package.version.replace('.', "_"));
            (key, format!("package = \"{}\", ", package.name))
        } else {
            (package.name.clone(), String::new())
        };
        let features: Vec<_> = features.iter().map(|feature| format!("\"{feature}\"")).collect();
        text += &format!(
            "{key} = {{ {renamed}version = \"{}\", default-features = false, features = [{}] }}\n",
            package.version,
            features.join(", ")
        );
    }
    text
}
