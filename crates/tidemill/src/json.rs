//! What commands print for scripts.

use serde::Serialize;

/// Prints one JSON document to standard output. The types are those of `tidemill_api`.
pub fn print(printed: &impl Serialize) {
    println!("{}", text(serde_json::to_string_pretty(printed)));
}

/// One event on one line.
pub fn line(event: &impl Serialize) -> String {
    text(serde_json::to_string(event))
}

fn text(written: serde_json::Result<String>) -> String {
    written.expect("keys are strings, and writing to memory does not fail")
}
