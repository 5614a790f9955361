//! Keys for the HTTP API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key that was made. `tidemill api-key new` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MadeApiKey {
    /// What names it.
    pub id: String,
    /// All of it, which nobody can show again.
    pub key: String,
    /// The escrow that pays for what it asks; null where none was opened.
    pub escrow: Option<String>,
}

/// A key of this home. `tidemill api-key list` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApiKey {
    /// What names it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_unix_s: u64,
    /// From when it is good no more; null where it does not expire.
    pub expires_unix_s: Option<u64>,
    /// How many requests it may send in a minute.
    pub requests_per_minute: u32,
    /// How many tokens its prompts and answers may have in a minute.
    pub tokens_per_minute: u32,
    /// How many requests of it are answered at a time.
    pub requests_at_once: u32,
    /// The escrow that pays for what it asks; null where it has no money.
    pub escrow: Option<String>,
}
