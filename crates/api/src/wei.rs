//! How amounts look in the schema.

use schemars::JsonSchema;

/// A number of wei (10^-18 TIDE, or of a chain's own coin) as a decimal string: many readers of JSON round numbers of
/// that size. In Rust the fields are `Amount` and `Coin`, which print so.
#[derive(JsonSchema)]
#[schemars(extend("pattern" = "^[0-9]+$"))]
pub struct Wei(pub String);
