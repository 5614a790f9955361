//! `tidemill models list`

use std::fs;

use tidemill_api as api;
use tidemill_types::ByteSize;

use super::failed;
use crate::{json, serving, table::Table};

/// List the models of this home.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON array instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let models = serving::models()?.list().map_err(failed)?;
    let described = models.into_iter().map(|(name, model)| api::NamedModel {
        name,
        kind: model.kind.to_string(),
        context: model.context,
        bytes: fs::metadata(&model.path).ok().map(|metadata| metadata.len()),
        file: model.path.to_string_lossy().into_owned(),
    });
    let described: Vec<api::NamedModel> = described.collect();
    if args.json {
        json::print(&described);
        return Ok(());
    }
    if described.is_empty() {
        println!("there are no models: `tidemill models add NAME FILE` adds one");
        return Ok(());
    }
    let mut table = Table::new(&["name ", "makes ", "context", "size", "file "]);
    for model in described {
        let size = model.bytes.map_or_else(|| "missing".to_owned(), |bytes| ByteSize(bytes).to_string());
        table.row(vec![model.name, model.kind, model.context.to_string(), size, model.file]);
    }
    table.print("");
    Ok(())
}
