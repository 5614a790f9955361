//! `tidemill wallet`: accounts on ledgers, and what they have.

mod balance;
mod import;
mod list;
mod new;
mod pending;
mod send;

/// Make accounts, see what they have, and send from them.
///
/// An account is a key in an encrypted file (Web3 Secret Storage, as geth and cast use it) in this home. Its address is
/// the same on every ledger.
#[derive(clap::Args)]
#[command(
    after_help = "The accounts are in $TIDEMILL_HOME/wallet, else $XDG_DATA_HOME/tidemill/wallet, else \
~/.local/share/tidemill/wallet. Whoever loses the file or its password loses what the account has: keep a copy of both."
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    New(new::Args),
    Import(import::Args),
    List(list::Args),
    Balance(balance::Args),
    Send(send::Args),
    Pending(pending::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::New(args) => new::run(args),
        What::Import(args) => import::run(args),
        What::List(args) => list::run(args),
        What::Balance(args) => balance::run(args),
        What::Send(args) => send::run(args),
        What::Pending(args) => pending::run(args),
    }
}
