//! The models that a network serves by name: a file for each in a folder, which commands write and a server reads. What it
//! names stays where it is.

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use tidemill_coordinator::LocalSessions;
use tidemill_types::{BlobRef, ProgramKind};

/// Models that a folder may have.
pub const MOST_MODELS: usize = 256;

/// What a model does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// It continues texts.
    Text,
    /// It makes vectors of texts.
    Embedding,
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Embedding => "embedding",
        })
    }
}

/// A model, as its file has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Model {
    /// The file that it is.
    pub path: PathBuf,
    /// What sort of program runs it: a model is its own program.
    pub program: ProgramKind,
    /// What it does.
    pub kind: ModelKind,
    /// The most tokens of a prompt and its answer.
    pub context: u64,
    /// Bytes that it keeps of each token, while it answers; zero for what keeps none.
    #[serde(default)]
    pub token_bytes: u64,
    /// When it was added, in seconds since 1970.
    pub added_s: u64,
}

/// Why there is no such model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The name is none.
    #[error("{0:?} is no name of a model: it has 1 to 100 letters, digits, and -_.:/ between them")]
    Name(String),
    /// It is not known.
    #[error("no model {0:?} is served here")]
    Unknown(String),
    /// There are too many.
    #[error("there are {MOST_MODELS} models: remove some first")]
    Full,
    /// The folder cannot be read or written.
    #[error("cannot use {path}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The models of a folder.
#[derive(Clone, Debug)]
pub struct Models {
    folder: PathBuf,
    held: Arc<Mutex<HashMap<String, Held>>>,
}

/// A model that this process has made a blob of.
#[derive(Clone, Debug)]
struct Held {
    /// Which state of its file.
    of: (PathBuf, SystemTime, u64),
    blob: Option<BlobRef>,
}

/// Whether a model can be asked.
#[derive(Clone, Debug)]
pub enum Readiness {
    /// It can.
    Ready(Model, BlobRef),
    /// Its file is being read.
    Loading,
    /// Its file cannot be read, for this reason.
    Broken(String),
}

impl Models {
    /// Those of this folder, which need not be there.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), held: Arc::default() }
    }

    /// All models, by name. Files that hold none are left out.
    ///
    /// # Errors
    /// [`ModelError::Disk`] where the folder cannot be read.
    pub fn list(&self) -> Result<Vec<(String, Model)>, ModelError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(disk(&self.folder, source)),
        };
        let mut models = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| disk(&self.folder, source))?.path();
            let stem = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"));
            let Some(name) = stem.and_then(name_of_file) else { continue };
            if let Some(model) = read(&path) {
                models.push((name, model));
            }
        }
        models.sort_by(|a, b| a.0.cmp(&b.0));
        models.truncate(MOST_MODELS);
        Ok(models)
    }

    /// A model by its name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`]
    pub fn get(&self, name: &str) -> Result<Model, ModelError> {
        let unknown = || ModelError::Unknown(name.chars().take(200).collect());
        let path = self.path(name).map_err(|_| unknown())?;
        read(&path).ok_or_else(unknown)
    }

    /// Serves a model under a name, in the place of one that had it.
    ///
    /// # Errors
    /// [`ModelError`]
    pub fn add(&self, name: &str, model: &Model) -> Result<(), ModelError> {
        use std::io::Write;
        let path = self.path(name)?;
        if !path.exists() && self.list()?.len() >= MOST_MODELS {
            return Err(ModelError::Full);
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|source| disk(&self.folder, source))?;
        let draft = path.with_extension("part");
        let write = || {
            let mut file = fs::File::create(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(model).map_err(io::Error::other)?)?;
            tidemill_disk::sync_all(&file)?;
            fs::rename(&draft, &path)
        };
        write().map_err(|source| disk(&path, source))
    }

    /// Serves a model no more.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], [`ModelError::Disk`]
    pub fn remove(&self, name: &str) -> Result<(), ModelError> {
        let path = self.path(name).map_err(|_| ModelError::Unknown(name.to_owned()))?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ModelError::Unknown(name.to_owned()))
            }
            Err(source) => Err(disk(&path, source)),
        }
    }

    /// Whether a model can be asked now. The first question about one begins to read its file.
    pub(crate) fn ready(&self, sessions: &LocalSessions, name: &str, model: Model) -> Readiness {
        let metadata =
            fs::metadata(&model.path).and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
        let (modified, len) = match metadata {
            Ok(state) => state,
            Err(error) => return Readiness::Broken(format!("{}: {error}", model.path.display())),
        };
        let of = (model.path.clone(), modified, len);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get(name).filter(|held| held.of == of) {
            Some(Held { blob: Some(blob), .. }) => return Readiness::Ready(model, *blob),
            Some(Held { blob: None, .. }) => return Readiness::Loading,
            None => {}
        }
        held.insert(name.to_owned(), Held { of: of.clone(), blob: None });
        drop(held);
        let (all, sessions, name) = (self.held.clone(), sessions.clone(), name.to_owned());
        tokio::spawn(async move {
            let kept = sessions.keep_file(&name, &of.0).await;
            let mut held = all.lock().unwrap_or_else(PoisonError::into_inner);
            match kept {
                Ok(blob) => {
                    if let Some(held) = held.get_mut(&name).filter(|held| held.of == of) {
                        held.blob = Some(blob);
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        model = name,
                        error = &error as &dyn std::error::Error,
                        "a model cannot be read"
                    );
                    // The next question tries again.
                    held.remove(&name);
                }
            }
        });
        Readiness::Loading
    }

    fn path(&self, name: &str) -> Result<PathBuf, ModelError> {
        let file = file_of_name(name).ok_or_else(|| ModelError::Name(name.chars().take(200).collect()))?;
        Ok(self.folder.join(format!("{file}.json")))
    }
}

/// What stands for a slash in the name of a file.
const SLASH: char = '+';

fn file_of_name(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let good = (1..=100).contains(&name.len())
        && name.chars().all(is_plain)
        && is_edge(name.chars().next())
        && is_edge(name.chars().next_back());
    good.then(|| name.replace('/', &SLASH.to_string()))
}

fn name_of_file(file: &str) -> Option<String> {
    let name = file.replace(SLASH, "/");
    file_of_name(&name).filter(|back| back == file)?;
    Some(name)
}

fn read(path: &Path) -> Option<Model> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn disk(path: &Path, source: io::Error) -> ModelError {
    ModelError::Disk { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model {
            path: "/models/a.gguf".into(),
            program: ProgramKind::Wasm,
            kind: ModelKind::Text,
            context: 2048,
            token_bytes: 0,
            added_s: 1_700_000_000,
        }
    }

    #[test]
    fn models_are_listed_by_name_until_they_are_removed() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let models = Models::in_folder(folder.path().join("models"));
        assert!(models.list().expect("no folder is no models").is_empty());
        for name in ["smol", "HuggingFaceTB/SmolLM2-135M", "a:b_c.d"] {
            models.add(name, &model()).expect("it can be written");
        }
        let names: Vec<String> =
            models.list().expect("it is there").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["HuggingFaceTB/SmolLM2-135M", "a:b_c.d", "smol"]);
        assert_eq!(models.get("HuggingFaceTB/SmolLM2-135M").expect("it is served"), model());
        models.remove("smol").expect("it is there");
        assert!(matches!(models.get("smol"), Err(ModelError::Unknown(_))));
        assert!(matches!(models.remove("smol"), Err(ModelError::Unknown(_))));
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let models = Models::in_folder(folder.path());
        for wrong in ["", "..", "../a", "a/", "/a", "a b", "a\0", "a+b", &"a".repeat(101)] {
            assert!(matches!(models.add(wrong, &model()), Err(ModelError::Name(_))), "{wrong:?}");
            assert!(matches!(models.get(wrong), Err(ModelError::Unknown(_))), "{wrong:?}");
        }
    }
}
