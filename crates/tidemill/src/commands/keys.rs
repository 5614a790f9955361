//! `tidemill keys`: who this home is to others.

use tidemill_api as api;
use tidemill_net::endpoint::node_id;

use crate::{
    exit::{Code, WithCode},
    home::{RESULT_KEY, identity, keys_directory},
    json,
};

/// Show the keys that this home is known by, and make them if there are none.
///
/// The node key names this home as a requester of jobs; a coordinator and a provider have node keys of their own in
/// their directories. The result key signs results and is the account that they are for. Whoever has these files
/// can pretend to be you: keep them to yourself, and keep a copy.
#[derive(clap::Args)]
#[command(after_help = "The keys are in $TIDEMILL_HOME/keys, else $XDG_DATA_HOME/tidemill/keys, else \
~/.local/share/tidemill/keys.")]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let directory = keys_directory().code(Code::Host)?;
    let (node_file, result_file) = (directory.join("node.key"), directory.join(RESULT_KEY));
    let made = !node_file.exists() || !result_file.exists();
    let identity = identity()?;
    let node = node_id(&identity.node);
    let address = identity.result.address();
    if args.json {
        json::print(&api::Keys {
            node: node.to_string(),
            address: address.to_string(),
            node_key: node_file.to_string_lossy().into_owned(),
            result_key: result_file.to_string_lossy().into_owned(),
            made,
        });
        return Ok(());
    }
    if made {
        println!("made new keys");
    }
    println!("node     {node}\n         {}", node_file.display());
    println!("account  {address}\n         {}", result_file.display());
    Ok(())
}
