//! `tidemill api-key`: who may use the HTTP API of the networks of this home.

mod fund;
mod list;
mod new;
mod revoke;

/// Make, fund, list and revoke keys for the HTTP API that `serve --api` and `up` serve.
///
/// A key counts at once, and no more at once when it is revoked, for every network that is served from this home.
#[derive(clap::Args)]
#[command(
    after_help = "The keys are in the folder api-keys of this home, as hashes: a key is shown when it is made, and never again."
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    New(new::Args),
    Fund(fund::Args),
    List(list::Args),
    Revoke(revoke::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::New(args) => new::run(args),
        What::Fund(args) => fund::run(args),
        What::List(args) => list::run(args),
        What::Revoke(args) => revoke::run(args),
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// The error of a key that cannot be had.
fn failed(error: tidemill_http::KeyError) -> anyhow::Error {
    use tidemill_http::KeyError;

    use crate::exit::{Code, Exit, causes};
    let exit = match &error {
        KeyError::Full | KeyError::Bounds(_) | KeyError::Form => Exit::new(Code::Usage, error.to_string()),
        KeyError::Unknown => Exit::new(Code::Usage, "there is no such API key")
            .hint("`tidemill api-key list` shows those of this home"),
        _ => Exit::new(Code::Host, causes(&error.into())),
    };
    exit.into()
}
