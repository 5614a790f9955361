//! The test binaries that cargo builds, and where it would run them.

use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Message, Metadata};

/// A built test binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The package and, but for the tests of a library, the target: `tidemill-net`, `tidemill-net::it`.
    pub name: String,
    /// The binary.
    pub path: PathBuf,
    /// The package's folder, in which cargo runs its tests.
    pub directory: PathBuf,
    /// Which of its tests run: those whose name holds one of these; all where there are none.
    pub filters: Vec<String>,
}

/// Builds test binaries with a `cargo test --no-run` command, and gives them in the order in which they were built.
pub fn build(mut cargo: Command, metadata: &Metadata) -> Result<Vec<Binary>> {
    cargo.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    let mut child = cargo.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {cargo:?}"))?;
    let stdout = child.stdout.take().context("the output of cargo was not captured")?;
    let mut binaries = Vec::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message.context("cannot read what cargo says")? {
            let Some(path) = artifact.executable.filter(|_| artifact.profile.test) else { continue };
            let package = &metadata[&artifact.package_id];
            let directory = package.manifest_path.parent().context("a manifest is in a folder")?;
            let is_lib = artifact.target.is_lib() || artifact.target.name == package.name.as_str();
            let suffix = if is_lib { String::new() } else { format!("::{}", artifact.target.name) };
            binaries.push(Binary {
                name: format!("{}{suffix}", package.name),
                path: path.into(),
                directory: directory.into(),
                filters: Vec::new(),
            });
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    ensure!(status.success(), "the tests do not build");
    Ok(binaries)
}
