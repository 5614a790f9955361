//! What somebody could do who has got out of WebAssembly's bounds: this program is its own worker, which goes through
//! all that a worker goes through, and at its first request does its worst instead ([`attempts`]).
//!
//! It has a `main` of its own, since a worker must begin with one thread, which the usual test harness does not.

#[cfg(target_os = "linux")]
mod attempts;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod workers;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match workers::role(&words) {
        Some((kind, attempt)) => tidemill_exec::taken_over_main(kind, move || attempts::make(&attempt)),
        None => harness::run(&words, workers::TESTS),
    }
}

/// Workers are confined on Linux alone.
#[cfg(not(target_os = "linux"))]
fn main() {}
