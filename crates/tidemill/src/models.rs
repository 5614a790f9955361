//! The models that job files name.

use std::path::{Path, PathBuf};

use tidemill_exec::{Cancel, Program};
use tidemill_http::ModelError;
use tidemill_job::{JobFile, MODEL_ROOM, Plan, ProgramSource};
use tidemill_types::{BlobId, ByteSize, Content, Limits, MAX_MODEL_NAME_BYTES, MAX_MODELS, ProgramKind};

use crate::{
    embedded::ModelShape,
    exit::{Code, Exit, WithCode},
    here::hash_content,
    home::cache_directory,
    serving,
};

/// Finds the file of a job's model where the job file gives its name or its hash, among the models of this home, and sees to
/// it that a task may have the memory that the model takes. Jobs without a model are left as they are.
///
/// # Errors
/// With [`Code::Usage`] where no model of this home has the name or the hash, or its file is gone.
pub fn find(file: &mut JobFile, directory: &Path) -> anyhow::Result<()> {
    if file.program.kind != ProgramKind::Infer {
        return Ok(());
    }
    match &file.program.source {
        ProgramSource::Named(name) => {
            file.program.source = ProgramSource::File(named(name)?);
        }
        ProgramSource::Blob(id) => {
            for (_, model) in serving::models()?.list().code(Code::Host)? {
                if hash(&model.path).is_ok_and(|(found, _)| found == *id) {
                    file.program.source = ProgramSource::File(model.path);
                    break;
                }
            }
        }
        ProgramSource::File(_) => {}
    }
    // What cannot be read is told of with the job's other files.
    let len = file.program.source.file().and_then(|path| directory.join(path).metadata().ok());
    if let Some(metadata) = len {
        file.fit_model(metadata.len());
    }
    Ok(())
}

/// The models of this home, for a network that serves them: those that can be read, and memory for the largest.
///
/// # Errors
/// With [`Code::Host`] where the folder cannot be read.
pub fn of_this_home() -> anyhow::Result<ModelShape> {
    let mut shape = ModelShape { task_memory: Limits::default().memory, held: Vec::new() };
    for (name, model) in serving::models()?.list().code(Code::Host)? {
        let Ok(metadata) = model.path.metadata() else { continue };
        if model.program != ProgramKind::Infer {
            continue;
        }
        if shape.held.len() < MAX_MODELS {
            shape.task_memory = shape.task_memory.max(ByteSize(metadata.len().saturating_add(MODEL_ROOM.0)));
            shape.held.push((name, model.path));
        }
    }
    Ok(shape)
}

/// What a network of a job's own runs of models, if that is what the job runs.
pub fn of_job(file: &JobFile, plan: &Plan) -> Option<ModelShape> {
    (file.program.kind == ProgramKind::Infer).then(|| ModelShape {
        task_memory: file.resources.memory,
        held: vec![(file.program.arg0.clone(), plan.map_program().to_owned())],
    })
}

/// A model that a provider is to hold, by its file or its name in this home: the name under which it is offered, and its file.
///
/// # Errors
/// With [`Code::Usage`] where there is none.
pub fn held(model: &str) -> anyhow::Result<(String, PathBuf)> {
    if !(model.contains('/') || model.ends_with(".gguf")) {
        return Ok((model.to_owned(), named(model)?));
    }
    let path = std::path::absolute(model).code(Code::Usage)?;
    if !path.is_file() {
        let message = format!("the model {} is not a file", path.display());
        return Err(Exit::new(Code::Usage, message).into());
    }
    let mut name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    name.truncate(name.floor_char_boundary(MAX_MODEL_NAME_BYTES));
    Ok((name, path))
}

/// The file of a model by its name: one of this home's, or one that `cargo xtask models` has fetched.
fn named(name: &str) -> anyhow::Result<PathBuf> {
    let known = match serving::models()?.get(name) {
        Ok(model) => return Ok(model.path),
        Err(error) => unknown(&error),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !name.is_empty() && name.chars().all(is_plain) {
        let fetched = cache_directory().code(Code::Host)?.join("models").join(name).join("model.gguf");
        if fetched.is_file() {
            return Ok(fetched);
        }
    }
    Err(known.into())
}

fn unknown(error: &ModelError) -> Exit {
    Exit::new(Code::Usage, error.to_string())
        .hint("`tidemill models list` has the names; `tidemill models add NAME FILE` adds one; a path has a slash or ends with .gguf")
}

/// A model as a program, whose file stays where it is.
///
/// # Errors
/// With [`Code::Usage`] where the file cannot be read or is longer than a model may be.
pub fn read(path: &Path) -> anyhow::Result<Program> {
    let (id, len) = hash(path).code(Code::Usage)?;
    let most = ProgramKind::Infer.most_program_bytes();
    if len > most {
        let message = format!("{} has more than {}", path.display(), ByteSize(most));
        return Err(Exit::new(Code::Usage, message).into());
    }
    Ok(Program::new(id, ProgramKind::Infer, Content::file(path, len)))
}

fn hash(path: &Path) -> anyhow::Result<(BlobId, u64)> {
    let metadata =
        path.metadata().map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
    anyhow::ensure!(metadata.is_file(), "{} is not a file", path.display());
    let content = Content::file(path, metadata.len());
    Ok((hash_content(&content, &Cancel::default())?, metadata.len()))
}
