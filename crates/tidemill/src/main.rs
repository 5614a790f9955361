//! The binary `tidemill`: one file per command under [`commands`].

/// Standard error for people. The standard library's macro panics where it is closed or its disk is full; a command
/// goes on without it, and ends with its own code.
macro_rules! eprintln {
    () => {
        $crate::exit::say(format_args!(""))
    };
    ($($words:tt)*) => {
        $crate::exit::say(format_args!($($words)*))
    };
}

mod announce;
mod api_client;
mod asking;
mod child;
mod commands;
mod contributions;
mod embedded;
mod exit;
mod follow;
mod here;
mod home;
mod hosting;
mod interrupt;
mod jobfile;
mod json;
mod ledger;
mod listen;
mod logging;
mod models;
mod money;
mod network;
mod node_state;
mod outdir;
mod output;
mod progress;
mod reliance;
mod requester;
mod runtime;
mod serving;
mod summary;
mod table;
mod unfinished;

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
    Submit(commands::submit::Args),
    Status(commands::status::Args),
    Logs(commands::logs::Args),
    Fetch(commands::fetch::Args),
    Cancel(commands::cancel::Args),
    Remove(commands::remove::Args),
    Explain(commands::explain::Args),
    Evidence(commands::evidence::Args),
    Providers(commands::providers::Args),
    Reputation(commands::reputation::Args),
    Join(commands::join::Args),
    Provide(commands::provide::Args),
    Serve(commands::serve::Args),
    Up(commands::up::Args),
    Chat(commands::chat::Args),
    Models(commands::models::Args),
    Receipt(commands::receipt::Args),
    ApiKey(commands::api_key::Args),
    Pass(commands::pass::Args),
    Escrow(commands::escrow::Args),
    Earnings(commands::earnings::Args),
    Collect(commands::collect::Args),
    Keys(commands::keys::Args),
    CoordinatorKey(commands::coordinator_key::Args),
    Doctor(commands::doctor::Args),
    Ledger(commands::ledger::Args),
    Wallet(commands::wallet::Args),
    Bond(commands::bond::Args),
    Unbond(commands::unbond::Args),
    Delegate(commands::delegate::Args),
    Undelegate(commands::undelegate::Args),
    Redelegate(commands::redelegate::Args),
    Withdraw(commands::withdraw::Args),
    Stake(commands::stake::Args),
    Unstake(commands::unstake::Args),
    Claim(commands::claim::Args),
    Rate(commands::rate::Args),
    Apy(commands::apy::Args),
    Exec(commands::exec::Args),
    Bench(commands::bench::Args),
    Sim(commands::sim::Args),
}

fn main() -> ExitCode {
    // Workers are started often and by this program alone, so they skip the reading of arguments.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == home::WORKER_ARGUMENT) {
        return tidemill_exec::worker_main_with(&[tidemill_modelhost::host()]);
    }
    exit::end_quietly_when_nobody_reads();
    exit::get_errors_for_long_files();
    let result = match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Submit(args) => commands::submit::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Logs(args) => commands::logs::run(&args),
        Command::Fetch(args) => commands::fetch::run(&args),
        Command::Cancel(args) => commands::cancel::run(&args),
        Command::Remove(args) => commands::remove::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Evidence(args) => commands::evidence::run(&args),
        Command::Providers(args) => commands::providers::run(&args),
        Command::Reputation(args) => commands::reputation::run(&args),
        Command::Join(args) => commands::join::run(&args),
        Command::Provide(args) => commands::provide::run(&args),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Up(args) => commands::up::run(&args),
        Command::Chat(args) => commands::chat::run(&args),
        Command::Models(args) => commands::models::run(&args),
        Command::Receipt(args) => commands::receipt::run(&args),
        Command::ApiKey(args) => commands::api_key::run(&args),
        Command::Pass(args) => commands::pass::run(&args),
        Command::Escrow(args) => commands::escrow::run(&args),
        Command::Earnings(args) => commands::earnings::run(&args),
        Command::Collect(args) => commands::collect::run(&args),
        Command::Keys(args) => commands::keys::run(&args),
        Command::CoordinatorKey(args) => commands::coordinator_key::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Ledger(args) => commands::ledger::run(&args),
        Command::Wallet(args) => commands::wallet::run(&args),
        Command::Bond(args) => commands::bond::run(&args),
        Command::Unbond(args) => commands::unbond::run(&args),
        Command::Delegate(args) => commands::delegate::run(&args),
        Command::Undelegate(args) => commands::undelegate::run(&args),
        Command::Redelegate(args) => commands::redelegate::run(&args),
        Command::Withdraw(args) => commands::withdraw::run(&args),
        Command::Stake(args) => commands::stake::run(&args),
        Command::Unstake(args) => commands::unstake::run(&args),
        Command::Claim(args) => commands::claim::run(&args),
        Command::Rate(args) => commands::rate::run(&args),
        Command::Apy(args) => commands::apy::run(&args),
        Command::Exec(args) => commands::exec::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Sim(args) => commands::sim::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
