//! The project's own commands, run as `cargo xtask <command>`: what is checked before a commit, and what
//! is built once and committed. One file per command; nothing here is part of what users install.

mod contracts;
mod cycle;
mod features;
mod guests;
mod models;
mod process;
mod test;
mod tidy;
mod wasi_testsuite;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check and every test, and count them
    Test(test::Args),
    /// Measure how long a developer waits for builds after an edit
    Cycle(cycle::Args),
    /// Check what the compiler does not: layering, licences, file sizes, links, forbidden calls, plain English
    Tidy(tidy::Args),
    /// Make each dependency's features the same whichever crates are built, or check that they are
    Features(features::Args),
    /// Build the guest programs of the examples, or check that the built ones are current
    Guests(guests::Args),
    /// Fetch the models of the tests and examples, and print where they are
    Models(models::Args),
    /// Build the contracts, their committed artifacts and gas figures, or check that these are current
    Contracts(contracts::Args),
    /// Run the public WASI test suite's preview 1 programs in the sandbox
    WasiTestsuite(wasi_testsuite::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    let workspace = workspace::Workspace::find()?;
    match Cli::parse().command {
        Command::Test(args) => test::run(&workspace, &args),
        Command::Cycle(args) => cycle::run(&workspace, &args),
        Command::Tidy(args) => tidy::run(&workspace, &args),
        Command::Features(args) => features::run(&workspace, &args),
        Command::Guests(args) => guests::run(&workspace, &args),
        Command::Models(args) => models::run(&workspace, &args),
        Command::Contracts(args) => contracts::run(&workspace, &args),
        Command::WasiTestsuite(args) => wasi_testsuite::run(&workspace, &args),
    }
}
