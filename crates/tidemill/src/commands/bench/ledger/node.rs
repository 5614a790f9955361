//! The nodes that are measured, as processes.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::load;
use crate::exit::{Code, Exit, WithCode};

/// A node that answers.
pub struct Node {
    process: Child,
    url: String,
}

/// However busy the machine is, a node that has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where npm puts anvil, below the repository's root.
const ANVIL: &str = "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";

/// The program anvil, if it is there.
pub fn find_anvil() -> Option<PathBuf> {
    let installed = PathBuf::from(ANVIL);
    if installed.is_file() {
        return Some(installed);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join("anvil")).find(|file| file.is_file())
}

impl Node {
    /// An embedded ledger with development keys, in this directory or in one that is gone at its end.
    pub async fn own(directory: Option<&Path>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().code(Code::Host)?;
        let mut command = Command::new(program);
        command.args(["ledger", "start", "--dev", "--listen", "127.0.0.1:0", "--json"]);
        if let Some(directory) = directory {
            command.arg("--directory").arg(directory);
        }
        let mut process = spawn(command.stdout(Stdio::piped()))?;
        let output = process.stdout.take().context("its output was not captured").code(Code::Host)?;
        let mut lines = BufReader::new(output).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                let event: Value = serde_json::from_str(&line)?;
                if event["event"] == "listening" {
                    return Ok(event["url"].as_str().map(str::to_owned));
                }
            }
            anyhow::Ok(None)
        };
        let url = timeout(PATIENCE, listening).await.code(Code::Host)?.code(Code::Host)?;
        let url = url.ok_or_else(|| Exit::new(Code::Host, "the embedded ledger ended before it listened"))?;
        // What it says later is of no interest, but the pipe must not fill.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { process, url })
    }

    /// An anvil.
    pub async fn anvil(program: &Path) -> anyhow::Result<Self> {
        // It says nothing that a program could read, so a free port is looked for first.
        let port = TcpListener::bind("127.0.0.1:0")
            .await
            .and_then(|port| port.local_addr())
            .code(Code::Host)?
            .port();
        let mut command = Command::new(program);
        command.args(["--silent", "--port", &port.to_string()]);
        let process = spawn(command.stdout(Stdio::null()))?;
        let url = format!("http://127.0.0.1:{port}");
        let answers = async {
            while load::height(&url).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, answers).await.context("anvil does not answer").code(Code::Host)?;
        Ok(Self { process, url })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.process.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            rustix::process::kill_process(id, rustix::process::Signal::TERM).code(Code::Host)?;
        }
        self.process.wait().await.code(Code::Host)?;
        Ok(())
    }

    /// Kills it.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill().await.code(Code::Host)
    }
}

fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    let spawned = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).spawn();
    spawned.with_context(|| format!("cannot run {:?}", command.as_std().get_program())).code(Code::Host)
}
