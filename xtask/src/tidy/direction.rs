//! Which crate of the workspace may depend on which: the layers of the design, as a table.

use super::Finding;
use super::manifest::Manifest;
use crate::features::UNIFIER;

/// A crate and the workspace crates that it may use.
struct Rule {
    package: &'static str,
    may_use: &'static [&'static str],
}

const TYPES: &str = "tidemill-types";

/// Temporary directories, for whoever makes files.
const SCRATCH: &str = "tidemill-scratch";

/// Waits for the disk, for whoever keeps files.
const DISK: &str = "tidemill-disk";

/// What stands on the shared words alone and is pure: `sched` and `verify`.
const PURE: &[&str] = &[TYPES];

/// What makes files as well: `job` reads and splits job files, `exec` runs programs. None of the first row needs
/// another, so none may use another.
const FIRST: &[&str] = &[TYPES, SCRATCH, DISK];

/// What stands on the first row.
const SECOND: &[&str] =
    &[TYPES, SCRATCH, DISK, "tidemill-sched", "tidemill-verify", "tidemill-job", "tidemill-exec"];

/// What stands beside a coordinator in its process.
const BESIDE: &[&str] = &[
    TYPES,
    SCRATCH,
    DISK,
    "tidemill-sched",
    "tidemill-verify",
    "tidemill-job",
    "tidemill-exec",
    "tidemill-infer",
    "tidemill-net",
    "tidemill-ledger",
    "tidemill-api",
    "tidemill-coordinator",
];

/// What runs an engine in the workers of `exec`.
const HOSTS: &[&str] = &[TYPES, "tidemill-exec", "tidemill-infer"];

/// What puts the parts together.
const THIRD: &[&str] = &[
    TYPES,
    SCRATCH,
    DISK,
    "tidemill-sched",
    "tidemill-verify",
    "tidemill-job",
    "tidemill-exec",
    "tidemill-gpu",
    "tidemill-infer",
    "tidemill-net",
    "tidemill-ledger",
    "tidemill-devnet",
    "tidemill-store",
    "tidemill-api",
];

/// The binary may use any crate, and the native side of the examples, against which its benchmark measures.
const BINARY: &str = "tidemill";

/// Guest programs are what a user would write: they know nothing of Tidemill's crates.
const EXAMPLES: &str = "example-";

/// The project's own commands have to build in seconds, so they use no crate of the workspace either.
const RULES: &[Rule] = &[
    Rule { package: UNIFIER, may_use: &[] },
    Rule { package: TYPES, may_use: &[] },
    Rule { package: SCRATCH, may_use: &[] },
    Rule { package: DISK, may_use: &[] },
    Rule { package: "tidemill-sched", may_use: PURE },
    Rule { package: "tidemill-verify", may_use: PURE },
    Rule { package: "tidemill-job", may_use: FIRST },
    Rule { package: "tidemill-exec", may_use: FIRST },
    Rule { package: "tidemill-gpu", may_use: SECOND },
    Rule { package: "tidemill-infer", may_use: SECOND },
    Rule { package: "tidemill-modelhost", may_use: HOSTS },
    Rule { package: "tidemill-net", may_use: SECOND },
    Rule { package: "tidemill-ledger", may_use: SECOND },
    Rule { package: "tidemill-devnet", may_use: SECOND },
    Rule { package: "tidemill-store", may_use: SECOND },
    Rule { package: "tidemill-api", may_use: SECOND },
    Rule { package: "tidemill-coordinator", may_use: THIRD },
    Rule { package: "tidemill-http", may_use: BESIDE },
    Rule { package: "tidemill-web", may_use: BESIDE },
    Rule { package: "tidemill-provider", may_use: THIRD },
    Rule { package: "tidemill-sim", may_use: THIRD },
    Rule { package: "xtask", may_use: &[] },
];

/// Checks that the crate is known and depends, in tests too, only on what its rule allows.
pub fn check(path: &str, manifest: &Manifest) -> Vec<Finding> {
    let package = manifest.package.as_str();
    if !is_known(package) {
        let message = format!("the crate {package} has no layer yet: add it to xtask/src/tidy/direction.rs");
        return vec![Finding::new(path, 1, message)];
    }
    let of_workspace = manifest.dependencies.iter().filter(|dependency| is_of_workspace(&dependency.package));
    of_workspace
        .filter(|dependency| !may_use(package, &dependency.package))
        .map(|dependency| {
            let kind = if dependency.dev { "in its tests" } else { "at all" };
            let message = format!(
                "{package} may not use {} {kind}: move what is needed into a crate below both, or change the \
                 layers in xtask/src/tidy/direction.rs and in ARCHITECTURE.md",
                dependency.package
            );
            Finding::new(path, dependency.line, message)
        })
        .collect()
}

fn may_use(package: &str, dependency: &str) -> bool {
    if package == BINARY {
        return true;
    }
    // It holds no code, only features together.
    if dependency == UNIFIER {
        return is_of_workspace(package) && package != UNIFIER && !package.starts_with(EXAMPLES);
    }
    RULES.iter().any(|rule| rule.package == package && rule.may_use.contains(&dependency))
}

fn is_known(package: &str) -> bool {
    package == BINARY || package.starts_with(EXAMPLES) || RULES.iter().any(|rule| rule.package == package)
}

/// By name, so that a crate that does not exist yet, or is missing from the table, is caught as well.
fn is_of_workspace(package: &str) -> bool {
    package == BINARY
        || package == "xtask"
        || package.starts_with("tidemill-")
        || package.starts_with(EXAMPLES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::manifest::Declared;

    fn depends(package: &str, on: &str, dev: bool) -> Vec<Finding> {
        let dependency = Declared { line: 7, key: on.into(), package: on.into(), dev, inherited: true };
        check("x/Cargo.toml", &Manifest { package: package.into(), dependencies: vec![dependency] })
    }

    #[test]
    fn downwards_is_allowed() {
        for (package, on) in [
            ("tidemill-exec", "tidemill-types"),
            ("tidemill-exec", "tidemill-scratch"),
            ("tidemill-store", "tidemill-disk"),
            ("tidemill-store", "tidemill-job"),
            ("tidemill-coordinator", "tidemill-sched"),
            ("tidemill", "tidemill-coordinator"),
            ("tidemill-sched", "tidemill-features"),
            ("xtask", "tidemill-features"),
            ("tidemill", "example-render"),
            ("example-render", "png"),
            ("xtask", "clap"),
        ] {
            assert_eq!(depends(package, on, false), [], "{package} uses {on}");
        }
    }

    #[test]
    fn upwards_and_sideways_are_found() {
        for (package, on) in [
            ("tidemill-types", "tidemill-exec"),
            ("tidemill-sched", "tidemill-exec"),
            ("tidemill-sched", "tidemill-scratch"),
            ("tidemill-verify", "tidemill-disk"),
            ("tidemill-disk", "tidemill-types"),
            ("tidemill-job", "tidemill-exec"),
            ("tidemill-net", "tidemill-store"),
            ("tidemill-provider", "tidemill-coordinator"),
            ("tidemill-exec", "tidemill"),
            ("tidemill-exec", "example-render"),
            ("example-render", "tidemill-types"),
            ("xtask", "tidemill-types"),
            ("example-render", "tidemill-features"),
        ] {
            let findings = depends(package, on, true);
            assert_eq!(findings.len(), 1, "{package} uses {on}");
            assert_eq!(findings[0].line, 7);
        }
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        assert_eq!(depends("tidemill-new", "serde", false).len(), 1);
    }

    #[test]
    fn the_table_has_no_cycle_and_no_unknown_name() {
        for (at, rule) in RULES.iter().enumerate() {
            for used in rule.may_use {
                let below = RULES[..at].iter().any(|lower| lower.package == *used);
                assert!(below, "{} uses {used}, which is not above it in the table", rule.package);
            }
        }
    }
}
