//! What long-running commands log to standard error, for whoever looks into them.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The environment variable that says what is logged: `warn`, `info`, `tidemill_coordinator=debug`, ...
pub const VARIABLE: &str = "TIDEMILL_LOG";

/// Logs `default` unless [`VARIABLE`] says otherwise. Commands that do not call this log nothing.
pub fn start(default: &str) {
    let asked = std::env::var(VARIABLE).ok().filter(|asked| !asked.is_empty());
    let filter = asked.as_deref().map(EnvFilter::try_new).transpose().unwrap_or_else(|error| {
        eprintln!("warning: {VARIABLE} is not understood and ignored: {error}");
        None
    });
    let filter = filter.unwrap_or_else(|| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // What cannot be logged is not worth a panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    // A second subscriber is refused; there is none.
    let _ = subscriber.try_init();
}
