//! The binary `tidemill`: one file per command under [`commands`].

mod commands;
mod exit;
mod here;
mod home;
mod interrupt;
mod outdir;
mod progress;
mod summary;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Run work on computers you do not trust, and get the same bytes as from your own.
///
/// A job is described by a file (docs/job-file.md). `tidemill run examples/render/job.toml` renders a
/// picture on this machine's cores, each tile in a sandbox of its own.
#[derive(Parser)]
#[command(version, max_term_width = 100, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::Args),
    Exec(commands::exec::Args),
    Bench(commands::bench::Args),
}

fn main() -> ExitCode {
    // Workers are started often and by this program alone, so they skip the reading of arguments.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == home::WORKER_ARGUMENT) {
        return tidemill_exec::worker_main();
    }
    let result = match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Exec(args) => commands::exec::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
