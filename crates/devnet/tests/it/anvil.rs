//! Foundry's anvil as a child process: a node that we did not write.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Anvil {
    child: Child,
    pub address: SocketAddr,
}

impl Anvil {
    /// Begins one on a port that the system gives, with the fork whose rules the embedded ledger has.
    pub fn spawn() -> Anvil {
        let mut command = Command::new(program("anvil"));
        command.args(["--port", "0", "--hardfork", "prague"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_string));
        let address = address.expect("anvil says where it listens").parse().unwrap();
        // Nobody reads the rest, and a full pipe would hold it up.
        std::thread::spawn(move || lines.for_each(drop));
        Anvil { child, address }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of Foundry's, from where npm puts it.
pub fn program(name: &str) -> PathBuf {
    let os = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let modules = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../contracts/node_modules/@foundry-rs");
    let program = modules.join(format!("{name}-{os}-{processor}/bin/{name}"));
    assert!(program.is_file(), "{} is not there: run \"npm ci\" in contracts/", program.display());
    program
}
