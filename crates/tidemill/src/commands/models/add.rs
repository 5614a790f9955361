//! `tidemill models add`

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use tidemill_http::{Model, ModelError, ModelKind};
use tidemill_infer::{Config, FileSource, Gguf, PAGE, Sequence};
use tidemill_types::ProgramKind;

use super::failed;
use crate::{
    exit::{Code, Exit, WithCode},
    home::cache_directory,
    serving,
};

/// Serve a model under a name, in the place of one that has it.
///
/// The head of the file is read, to see that it is a model which runs here. A network that is up serves it at once.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  tidemill models add smollm2                      as `cargo xtask models` fetched it\n  \
                  tidemill models add smollm2 ~/models/SmolLM2-135M-Instruct.Q4_1.gguf"
)]
pub struct Args {
    /// What requests call it: letters, digits, and -_.:/ between them
    #[arg(value_name = "NAME")]
    name: String,
    /// Its file: a model in the format GGUF, or a program of WebAssembly that answers requests (docs/api.md) [default: the one
    /// that `cargo xtask models` fetched under this name]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => fetched(&args.name)?,
    };
    let model = add(&args.name, &file)?;
    println!(
        "{} is served by the networks of this home: {}, {} tokens",
        args.name, model.kind, model.context
    );
    Ok(())
}

/// Sees to it that a model of this name is served: one that is known, or was fetched.
///
/// # Errors
/// With [`Code::Usage`] when there is none.
pub fn ensure(name: &str) -> anyhow::Result<()> {
    match serving::models()?.get(name) {
        Ok(_) => Ok(()),
        Err(ModelError::Unknown(_)) => add(name, &fetched(name)?).map(drop),
        Err(error) => Err(failed(error)),
    }
}

fn add(name: &str, file: &Path) -> anyhow::Result<Model> {
    let path = std::path::absolute(file).code(Code::Usage)?;
    let Head { program, kind, context, token_bytes } = head(&path)?;
    let added_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let model = Model { path, program, kind, context, token_bytes, added_s };
    serving::models()?.add(name, &model).map_err(failed)?;
    Ok(model)
}

/// The file of a model that was fetched, in the folder where `cargo xtask models` puts them.
fn fetched(name: &str) -> anyhow::Result<PathBuf> {
    let is_plain =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let file = cache_directory().code(Code::Host)?.join("models").join(name).join("model.gguf");
    if is_plain && file.is_file() {
        return Ok(file);
    }
    let message = format!("no model {name:?} is known, and none was fetched");
    Err(Exit::new(Code::Usage, message)
        .hint("`tidemill models add NAME FILE` adds a file; `cargo xtask models smollm2` fetches one")
        .into())
}

/// A program says nothing of how much it reads.
const CONTEXT_OF_PROGRAMS: u64 = 1 << 20;

/// What a file is, as its head says.
struct Head {
    program: ProgramKind,
    kind: ModelKind,
    context: u64,
    token_bytes: u64,
}

fn head(path: &Path) -> anyhow::Result<Head> {
    let cannot_read = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot_read).code(Code::Usage)?;
    if !file.metadata().with_context(cannot_read).code(Code::Usage)?.is_file() {
        return Err(Exit::new(Code::Usage, format!("{} is not a file", path.display())).into());
    }
    let mut magic = [0; 4];
    let is_program = (&file).read_exact(&mut magic).is_ok() && magic == *b"\0asm";
    if is_program {
        let (kind, context) = (ModelKind::Text, CONTEXT_OF_PROGRAMS);
        return Ok(Head { program: ProgramKind::Wasm, kind, context, token_bytes: 0 });
    }
    let program = ProgramKind::Infer;
    let source = FileSource::new(file).with_context(cannot_read).code(Code::Usage)?;
    let no_model = || format!("{} is no model that runs here", path.display());
    let gguf = Gguf::read(&source).with_context(no_model).code(Code::Usage)?;
    let architecture =
        gguf.metadata().text("general.architecture").with_context(no_model).code(Code::Usage)?;
    if architecture == Some("bert") {
        let context = gguf.metadata().get("bert.context_length").and_then(|value| value.as_u64());
        let context = context.with_context(|| "it does not say how long its texts may be");
        let context = context.with_context(no_model).code(Code::Usage)?;
        return Ok(Head { program, kind: ModelKind::Embedding, context, token_bytes: 0 });
    }
    let config = Config::read(&gguf).with_context(no_model).code(Code::Usage)?;
    let token_bytes = Sequence::page_bytes(&config).div_ceil(PAGE) as u64;
    Ok(Head { program, kind: ModelKind::Text, context: config.context as u64, token_bytes })
}
