//! `tidemill receipt`: who gave an answer, and whether they signed it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use data_encoding::BASE64;
use tidemill_api as api;
use tidemill_net::endpoint::verify;
use tidemill_types::{Archive, JobId, MAX_RECEIPT_BYTES, Receipt, lines};

use super::read_file;
use crate::{
    api_client::ApiAccess,
    exit::{Code, Exit, WithCode},
    follow::unless_stopped,
    interrupt::Signals,
    json, runtime,
};

/// Show the receipt of an answer that the HTTP API gave, and check it: whether its provider signed this answer to this
/// request.
///
/// The API names the receipt in the header x-tidemill-receipt of each answer. The check needs no network: a receipt that was
/// kept with `--out` can be checked by anybody, anywhere. On what grounds the coordinator accepted the answer, and what it
/// cost, is the coordinator's word.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The receipt: an id, or a file
    #[arg(value_name = "ID|FILE")]
    receipt: String,
    #[command(flatten)]
    api: ApiAccess,
    /// Keep the receipt in this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

const HELP: &str = "Examples:
  tidemill receipt 3f2a91c04be1d7705a6c1f0e9b8d2a44 --out answer.receipt
  tidemill receipt answer.receipt

Exit codes:
  0    the receipt is valid
  1    it is not
  2    wrong usage, or there is no such receipt
  4    the API cannot be asked";

/// What a file has beside its content: a few lines of words.
const MOST_WORDS_BYTES: u64 = 64 << 10;

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = Path::new(&args.receipt);
    let bytes = match args.receipt.to_ascii_lowercase().parse::<JobId>() {
        Ok(id) if !file.exists() => fetch(&args.api, id)?,
        _ => read_file(file, MAX_RECEIPT_BYTES as u64 + MOST_WORDS_BYTES).code(Code::Usage)?,
    };
    let receipt = Receipt::from_file(&bytes)
        .and_then(|receipt| receipt.check(verify).map(|()| receipt))
        .with_context(|| format!("{} is no valid receipt", args.receipt))
        .code(Code::Failed)?;
    if let Some(out) = &args.out {
        fs::write(out, &bytes).with_context(|| format!("cannot write {}", out.display())).code(Code::Host)?;
    }
    if args.json {
        json::print(&api::Receipt::from(&receipt));
        return Ok(());
    }
    println!("valid: the provider signed this answer");
    print!("{}", receipt.words());
    if let Some(output) = &receipt.output {
        show(output);
    }
    Ok(())
}

fn fetch(api: &ApiAccess, id: JobId) -> anyhow::Result<Vec<u8>> {
    let client = api.client()?;
    runtime::block_on(async {
        let asking = async {
            let answer = client.get(&format!("/receipts/{id}")).await?;
            let file = answer["file"].as_str().and_then(|file| BASE64.decode(file.as_bytes()).ok());
            file.ok_or_else(|| Exit::new(Code::Host, "the API's answer has no receipt").into())
        };
        unless_stopped(&mut Signals::listen()?, asking).await
    })
}

/// The answer itself, as far as it is text.
fn show(archive: &[u8]) {
    let Ok(index) = Archive::parse(archive) else { return };
    for (entry, offset) in index.files() {
        let bytes = usize::try_from(offset).ok().zip(usize::try_from(entry.len).ok());
        let bytes = bytes.and_then(|(start, len)| archive.get(start..start.checked_add(len)?));
        if let Some(Ok(text)) = bytes.map(std::str::from_utf8) {
            println!("\n{}:\n{}", entry.path, lines(text.trim_end()));
        }
    }
}
