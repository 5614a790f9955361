//! What holds blobs.

use std::fmt;

use tidemill_types::is_steering;

use super::error::BlobError;

/// The longest name of a pin, in bytes.
pub const MAX_PIN_BYTES: usize = 200;

/// What keeps blobs from being evicted, by name: say `job/` and a job's id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pin(String);

impl Pin {
    /// A pin of this name.
    ///
    /// # Errors
    /// [`BlobError::PinName`] when it is empty, over [`MAX_PIN_BYTES`], or no plain text of one line.
    pub fn new(name: impl Into<String>) -> Result<Self, BlobError> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_PIN_BYTES || name.contains(is_steering) {
            return Err(BlobError::PinName(name.chars().take(80).collect()));
        }
        Ok(Self(name))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
