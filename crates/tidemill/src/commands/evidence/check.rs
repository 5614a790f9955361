//! `tidemill evidence check`: whether a file proves what it says, without a network.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tidemill_api as api;
use tidemill_net::endpoint::verify;
use tidemill_types::{Evidence, MAX_EVIDENCE_BYTES};

use crate::{
    exit::{Code, Exit, WithCode},
    json,
};

/// What a file has beside its content: a few lines of words.
const MOST_WORDS_BYTES: usize = 64 << 10;

/// Check a file of evidence: whether both providers signed what it says, for the specification that it holds, and whether
/// their results contradict each other.
///
/// It needs no network. It says nothing of which result is right: running the specification again does.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The file, as `tidemill evidence JOB TASK` writes it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

const HELP: &str = "Example:
  tidemill evidence check 3f2a91c0-12-507.evidence

Exit codes:
  0    the evidence is valid
  1    it is not
  2    wrong usage, or the file cannot be read";

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let bytes =
        read(&args.file).with_context(|| format!("cannot read {}", args.file.display())).code(Code::Usage)?;
    let evidence = Evidence::from_file(&bytes)
        .and_then(|evidence| evidence.check(verify).map(|()| evidence))
        .with_context(|| format!("{} is no valid evidence", args.file.display()))
        .code(Code::Failed)?;
    if args.json {
        let leaf = &evidence.accused.leaf;
        json::print(&api::CheckedEvidence {
            valid: true,
            job_id: leaf.terms.job.to_string(),
            task: leaf.terms.task.0,
            node: leaf.terms.provider.to_string(),
            result_key: evidence.accused.binding.address.to_string(),
            accepted_node: evidence.accepted.leaf.terms.provider.to_string(),
            accepted_result_key: evidence.accepted.binding.address.to_string(),
            words: evidence.words(),
        });
        return Ok(());
    }
    println!("valid: both results are signed, and at most one of them is right");
    print!("{}", evidence.words());
    Ok(())
}

/// A file that is no longer than evidence may be.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let most = MAX_EVIDENCE_BYTES + MOST_WORDS_BYTES;
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(Exit::new(Code::Failed, format!("it is longer than {most} bytes")).into());
    }
    Ok(bytes)
}
