//! No code: `cargo xtask features` writes the manifest of this crate, and says why.
