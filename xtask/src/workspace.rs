//! Where the workspace is, which files belong to it, and how cargo is called in it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The checkout that the command was called in.
pub struct Workspace {
    root: PathBuf,
}

/// One file of the workspace, by its path from the root with `/` between the parts.
pub struct SourceFile {
    /// The path, as git prints it.
    pub path: String,
    /// The content, unless it is binary.
    pub text: Option<String>,
}

impl Workspace {
    /// Finds the workspace from the manifest directory that cargo sets when it runs this program.
    ///
    /// It is read when the program runs, not when it is compiled: clones may share one target folder, and
    /// a root compiled in would then be that of another clone.
    pub fn find() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set: run this as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("the manifest directory has no parent")?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// The folder of the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A cargo command in the root, with the very cargo that started this program.
    ///
    /// It does not see what that cargo says of the package `xtask`: build scripts of dependencies look at the same
    /// variables, and would run again, with all that rests on them, whenever cargo is called now from here and now by
    /// a person.
    pub fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = self.command(cargo);
        for (name, _) in std::env::vars_os() {
            let is_of_package = name
                .to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
            if is_of_package {
                command.env_remove(name);
            }
        }
        command
    }

    /// A command in the root.
    pub fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.current_dir(&self.root);
        command
    }

    /// The paths of all files that are tracked, or untracked and not ignored, sorted.
    pub fn paths(&self) -> Result<Vec<String>> {
        let output = self
            .command("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .context("cannot run git to list the files")?;
        ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
        let mut paths = BTreeSet::new();
        for path in output.stdout.split(|&byte| byte == 0).filter(|path| !path.is_empty()) {
            let path = String::from_utf8(path.to_vec()).context("a file name is not UTF-8")?;
            // A file deleted but not yet committed is still listed; a link is checked where it points.
            if self.root.join(&path).is_file() {
                paths.insert(path);
            }
        }
        Ok(paths.into_iter().collect())
    }

    /// All files of [`Workspace::paths`] with their text.
    pub fn files(&self) -> Result<Vec<SourceFile>> {
        let mut files = Vec::new();
        for path in self.paths()? {
            // Read one after another: a file may vanish while others work in the tree, which is no error.
            match std::fs::read(self.root.join(&path)) {
                Ok(bytes) => files.push(SourceFile { path, text: text_of(bytes) }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
            }
        }
        Ok(files)
    }

    /// The resolved dependency graph for the platform that the project is tested on.
    pub fn metadata(&self) -> Result<cargo_metadata::Metadata> {
        let mut command = cargo_metadata::MetadataCommand::new();
        command
            .current_dir(&self.root)
            .other_options(["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned()]);
        command.exec().context("cannot read the workspace with cargo metadata")
    }

    /// Runs a command of which only the output matters, and gives what it printed, trimmed.
    pub fn output_of(&self, mut command: Command) -> Result<String> {
        let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
        if !output.status.success() {
            bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout).context("the output is not UTF-8")?.trim().to_owned())
    }
}

/// The text of a file, or nothing where it is binary by git's rule (a NUL byte) or not UTF-8.
fn text_of(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf8_without_nul_is_text() {
        assert_eq!(text_of(b"a\n".to_vec()).as_deref(), Some("a\n"));
        assert_eq!(text_of(b"\0asm".to_vec()), None);
        assert_eq!(text_of(vec![0xff]), None);
    }
}
