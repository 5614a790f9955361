//! The tools that build and test contracts, from the npm registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

/// Installed tools.
pub struct Tools {
    contracts: PathBuf,
    forge: PathBuf,
}

/// The file in `node_modules` that says which lock file was installed.
const INSTALLED: &str = "node_modules/.installed-lock";

impl Tools {
    /// Installs what contracts/package-lock.json names, unless it is there already.
    pub fn install(workspace: &Workspace) -> Result<Self> {
        let platform = (std::env::consts::OS, std::env::consts::ARCH);
        ensure!(
            platform == ("linux", "x86_64"),
            "the contracts' tools are installed for Linux on x86-64 alone"
        );
        let contracts = workspace.root().join("contracts");
        let lock = std::fs::read(contracts.join("package-lock.json"))
            .context("cannot read contracts/package-lock.json")?;
        let wanted = blake3::hash(&lock).to_hex().to_string();
        let installed = std::fs::read_to_string(contracts.join(INSTALLED)).unwrap_or_default();
        if installed != wanted {
            npm_ci(&contracts)?;
            std::fs::write(contracts.join(INSTALLED), wanted)
                .context("cannot write in contracts/node_modules")?;
        }
        let forge = contracts.join("node_modules/@foundry-rs/forge-linux-amd64/bin/forge");
        ensure!(
            forge.is_file(),
            "{} is not there: remove contracts/node_modules and try again",
            forge.display()
        );
        Ok(Self { contracts, forge })
    }

    /// A forge command in the folder of the contracts.
    pub fn forge(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.forge);
        command.current_dir(&self.contracts).args(args);
        command
    }

    /// Compiles the sources and the tests.
    pub fn build(&self) -> Result<()> {
        let status = self.forge(&["build"]).status().context("cannot run forge")?;
        ensure!(status.success(), "forge build failed");
        Ok(())
    }
}

/// Install scripts are not run: the binaries come in packages of their own.
fn npm_ci(contracts: &Path) -> Result<()> {
    println!("installing forge, anvil, solc and the libraries of contracts/package-lock.json");
    let npm = Command::new("npm")
        .current_dir(contracts)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .status()
        .context("cannot run npm: install Node.js 20 or later with npm (Debian: apt install nodejs npm)")?;
    ensure!(npm.success(), "`npm ci` failed in contracts/");
    Ok(())
}
