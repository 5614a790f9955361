//! The ledger that this home remembers.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidemill_ledger::AddressBook;

use crate::{
    commands::read_file,
    exit::{Code, Exit, WithCode},
    home::data_directory,
    node_state,
};

/// What is remembered of a ledger.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    /// Its node.
    pub url: String,
    /// Another node, which must say the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
    /// Where its contracts are.
    pub book: AddressBook,
}

const FILE: &str = "ledger.json";

const MAX_BYTES: u64 = 128 << 10;

/// The ledger of this home, if there is one.
///
/// # Errors
/// With [`Code::Host`] when what was written down cannot be read.
pub fn kept() -> anyhow::Result<Option<Kept>> {
    let file = data_directory().code(Code::Host)?.join(FILE);
    if !file.exists() {
        return Ok(None);
    }
    let read = || -> anyhow::Result<Kept> { Ok(serde_json::from_slice(&read_file(&file, MAX_BYTES)?)?) };
    read().map(Some).map_err(|error| {
        Exit::new(Code::Host, format!("{} cannot be read: {error:#}", file.display()))
            .hint("remove it, and say `tidemill ledger use URL` once more")
            .into()
    })
}

/// Remembers a ledger: wholly, or not at all.
///
/// # Errors
/// With [`Code::Host`] when the disk does not take it.
pub fn keep(kept: &Kept) -> anyhow::Result<()> {
    let file = data_directory().code(Code::Host)?.join(FILE);
    let text = serde_json::to_vec_pretty(kept).code(Code::Host)?;
    node_state::replace(&file, &text)
        .with_context(|| format!("cannot write {}", file.display()))
        .code(Code::Host)
}
