//! The crate from outside: the same bits however a model is run, and models that are wrong.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

mod batch;
mod encoder;
mod golden;
mod hostile;
mod minilm;
mod safetensors;
mod smollm2;

/// The folder of one of the models that `cargo xtask models` fetches, if it is there.
fn fetched_model(name: &str) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("TIDEMILL_HOME")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("tidemill")))
        .or_else(|| Some(variable("HOME")?.join(".cache/tidemill")))?;
    let folder = cache.join("models").join(name);
    if !folder.is_dir() {
        eprintln!("not tested: {} is not there; `cargo xtask models` fetches it", folder.display());
        return None;
    }
    Some(folder)
}
