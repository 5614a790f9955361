//! Models that networks of a home serve by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A model of this home. `tidemill models list` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NamedModel {
    /// What requests call it.
    pub name: String,
    /// What it does: `text` continues texts, `embedding` makes vectors of them.
    pub kind: String,
    /// The most tokens of a prompt and its answer.
    pub context: u64,
    /// The length of its file; null where the file is not there.
    pub bytes: Option<u64>,
    /// Its file. Bytes of the path that are not UTF-8 are replaced.
    pub file: String,
}
