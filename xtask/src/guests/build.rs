//! Calls a cargo that can build for `wasm32-wasip1`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::Guest;
use crate::tidy::paths;
use crate::workspace::Workspace;

const TARGET: &str = "wasm32-wasip1";

/// Compiler flags of every guest program, beside those on paths.
const FLAGS: &[&str] = &["-C", "target-feature=+simd128"];

/// Builds guest programs with one toolchain.
pub struct Builder<'a> {
    workspace: &'a Workspace,
    /// The program that `GUEST_CARGO` names: like cargo, but it adds the target and its own flags.
    wrapper: Option<OsString>,
    /// Apart from other builds: another compiler may be at work here, and neither should rebuild for the other.
    target_dir: PathBuf,
    /// Folders of this machine, each with the name that it gets in the program.
    folders: Vec<(String, &'static str)>,
}

impl<'a> Builder<'a> {
    /// Takes the cargo that `GUEST_CARGO` names, or else this one if its toolchain has the target.
    pub fn find(workspace: &'a Workspace) -> Result<Self> {
        let wrapper = std::env::var_os("GUEST_CARGO").filter(|name| !name.is_empty());
        let mut rustc = workspace.command("rustc");
        rustc.args(["--print", "sysroot"]);
        let sysroot = PathBuf::from(workspace.output_of(rustc)?);
        if wrapper.is_none() && !sysroot.join("lib/rustlib").join(TARGET).is_dir() {
            bail!(
                "this toolchain cannot build for {TARGET}: either run `rustup target add {TARGET}`, or set \
                 GUEST_CARGO to a program that takes cargo's arguments and builds for that target"
            );
        }
        let target_dir = workspace.metadata()?.target_directory.join("guests").into_std_path_buf();
        let folders = folders(workspace, &sysroot, &target_dir)?;
        Ok(Self { workspace, wrapper, target_dir, folders })
    }

    /// Builds one program and gives its bytes.
    pub fn build(&self, guest: &Guest) -> Result<Vec<u8>> {
        let mut command = match &self.wrapper {
            Some(wrapper) => {
                let mut command = self.workspace.command(wrapper);
                command.arg("build");
                command
            }
            None => {
                let mut command = self.workspace.cargo();
                command.args(["build", "--target", TARGET]);
                command
            }
        };
        let package = guest.package();
        command.args(["--profile", "guest", "--package", &package, "--config", &rustflags(&self.folders)?]);
        command.arg("--target-dir").arg(&self.target_dir);
        let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
        ensure!(status.success(), "{package} does not build for {TARGET}");

        let built = self.target_dir.join(TARGET).join("guest").join(format!("{package}.wasm"));
        let wasm = std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
        ensure!(wasm.starts_with(b"\0asm"), "{} is not WebAssembly", built.display());
        let own =
            self.folders.iter().map(|(folder, _)| folder).find(|folder| contains(&wasm, folder.as_bytes()));
        if let Some(path) = own.cloned().or_else(|| paths::first_in(&wasm)) {
            bail!(
                "{package} holds the path {path} of this machine: map its folder in xtask/src/guests/build.rs"
            );
        }
        Ok(wasm)
    }
}

/// The folders whose names would end up in panic messages, each with the name that it gets there. The compiler
/// takes the last that fits, so the home folder, which usually holds the others, comes first.
fn folders(workspace: &Workspace, sysroot: &Path, target_dir: &Path) -> Result<Vec<(String, &'static str)>> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let home = variable("HOME");
    let cargo_home = variable("CARGO_HOME").or_else(|| Some(home.as_ref()?.join(".cargo")));
    let mut folders = Vec::new();
    folders.extend(home.map(|folder| (folder, "~")));
    // Where a wrapper may keep its own toolchain, whose library is built from source with the program.
    folders.extend(variable("GUEST_TOOLCHAIN").map(|folder| (folder, "rust")));
    folders.push((sysroot.to_path_buf(), "rust"));
    folders.extend(cargo_home.map(|folder| (folder, "cargo")));
    folders.push((workspace.root().to_path_buf(), "tidemill"));
    folders.push((target_dir.to_path_buf(), "target"));
    // A container may set HOME to the root folder, in which every path would be found.
    folders.retain(|(folder, _)| folder.parent().is_some());
    let name = |folder: PathBuf| folder.into_os_string().into_string();
    folders
        .into_iter()
        .map(|(folder, short)| match name(folder) {
            Ok(folder) => Ok((folder, short)),
            Err(folder) => bail!("the folder {folder:?} has a name that is not UTF-8"),
        })
        .collect()
}

/// The flags as a cargo setting: it adds to the flags that a wrapper sets in the environment for the target,
/// while the variable RUSTFLAGS would take their place.
fn rustflags(folders: &[(String, &str)]) -> Result<String> {
    let maps = folders.iter().map(|(folder, name)| format!("--remap-path-prefix={folder}={name}"));
    let flags: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).chain(maps).collect();
    ensure!(flags.iter().all(|flag| !flag.contains('\'')), "a folder's name contains a quote: {flags:?}");
    let quoted: Vec<String> = flags.iter().map(|flag| format!("'{flag}'")).collect();
    Ok(format!("target.{TARGET}.rustflags=[{}]", quoted.join(", ")))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_setting_of_the_target() {
        let setting = rustflags(&[("/a b".to_owned(), "c")]).expect("no quote");
        assert_eq!(
            setting,
            "target.wasm32-wasip1.rustflags=['-C', 'target-feature=+simd128', '--remap-path-prefix=/a b=c']"
        );
        assert!(rustflags(&[("/it's".to_owned(), "c")]).is_err());
    }

    #[test]
    fn folders_are_found_in_programs() {
        assert!(contains(b"\0asm/srv/x/lib.rs", b"/srv/x"));
        assert!(!contains(b"\0asm", b"/srv/x"));
    }
}
