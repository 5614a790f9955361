//! Ctrl-C: the first asks for an orderly end, the second ends at once.

use std::sync::OnceLock;

use tidemill_exec::Cancel;

/// Set when the person asked for the end.
static INTERRUPTED: OnceLock<Cancel> = OnceLock::new();

/// A flag that Ctrl-C, or the signal to terminate, sets. Worker processes end when this one does, so the
/// second signal needs no care.
///
/// # Errors
/// When the handler cannot be installed.
pub fn on_interrupt() -> anyhow::Result<Cancel> {
    if let Some(cancel) = INTERRUPTED.get() {
        return Ok(cancel.clone());
    }
    let cancel = Cancel::default();
    let flag = cancel.clone();
    ctrlc::set_handler(move || {
        if flag.is_cancelled() {
            std::process::exit(crate::exit::Code::Interrupted as i32);
        }
        flag.cancel();
    })?;
    Ok(INTERRUPTED.get_or_init(|| cancel).clone())
}
