//! `tidemill models`: the models that networks of this home serve by name.

mod add;
mod list;
mod remove;

pub use add::ensure;
use tidemill_http::ModelError;

use crate::exit::{Code, Exit, causes};

/// List, add and remove models that the networks of this home serve by name.
#[derive(clap::Args)]
#[command(
    after_help = "Names and files are in the folder models of this home. A file stays where it is, and must stay as it is."
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    List(list::Args),
    Add(add::Args),
    Remove(remove::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::List(args) => list::run(args),
        What::Add(args) => add::run(args),
        What::Remove(args) => remove::run(args),
    }
}

/// The error of a model that cannot be had.
fn failed(error: ModelError) -> anyhow::Error {
    let exit = match &error {
        ModelError::Name(_) | ModelError::Full => Exit::new(Code::Usage, error.to_string()),
        ModelError::Unknown(_) => {
            Exit::new(Code::Usage, error.to_string()).hint("`tidemill models list` shows those of this home")
        }
        ModelError::Disk { .. } => Exit::new(Code::Host, causes(&error.into())),
    };
    exit.into()
}
