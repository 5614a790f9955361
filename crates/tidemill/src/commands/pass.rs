//! `tidemill pass`: who may join this home's coordinator, and as what.

mod list;
mod new;
mod revoke;

use std::path::PathBuf;

use anyhow::Context;
use tidemill_api as api;
use tidemill_coordinator::passes::{self, NamedPass, PassRole};

use crate::{
    exit::{Code, WithCode},
    home::data_directory,
    node_state::replace,
};

/// Give passes to a coordinator of this home, list them, and take them back.
///
/// The ticket that `tidemill serve` prints lets its bearer lend machines and submit jobs, and is one for all who have it. A pass
/// of its own is for one role, and can be revoked: the sessions that were begun with it end within seconds.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    New(new::Args),
    List(list::Args),
    Revoke(revoke::Args),
}

/// Which coordinator the passes are of.
#[derive(clap::Args)]
pub struct Of {
    /// Where the coordinator's state is [default: `coordinator` in the directory of this home]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Of {
    /// Its directory.
    fn directory(&self) -> anyhow::Result<PathBuf> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => Ok(data_directory().code(Code::Host)?.join("coordinator")),
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::New(args) => new::run(args),
        What::List(args) => list::run(args),
        What::Revoke(args) => revoke::run(args),
    }
}

/// The name by which the pass of the coordinator's own ticket is revoked.
const DEFAULT: &str = "default";

/// Writes the passes of a coordinator down.
fn write(directory: &std::path::Path, passes: &[NamedPass]) -> anyhow::Result<()> {
    let file = passes::file(directory);
    replace(&file, passes::text(passes).as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))
        .code(Code::Host)
}

/// A pass, for scripts.
fn summary(pass: &NamedPass) -> api::Pass {
    api::Pass {
        name: pass.name.clone(),
        role: match pass.role {
            PassRole::Lend => api::PassRole::Lend,
            PassRole::Submit => api::PassRole::Submit,
            PassRole::Both => api::PassRole::Both,
        },
        made_s: pass.made_s,
        revoked_s: pass.revoked_s,
    }
}
