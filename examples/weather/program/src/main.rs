//! The command: `weather` as the sandbox runs it, with `/` as the root of all guest paths.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match example_weather::run(&args, Path::new("/")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weather: {error}");
            ExitCode::FAILURE
        }
    }
}
