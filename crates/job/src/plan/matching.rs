//! The files that a pattern matches.
//!
//! A pattern is matched one name at a time, down from a directory. `**` does not follow links to directories, so a
//! link to a directory above ends nothing and repeats nothing; any other part of a pattern follows them, as shells do.
//! File names are bytes, and a name that is no text is an error only where the pattern would match it.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Component, Path, PathBuf},
};

use glob::{MatchOptions, Pattern};

/// Why the files of a pattern cannot be told.
#[derive(Debug)]
pub(super) enum MatchError {
    /// A directory cannot be listed.
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that the pattern matches is not UTF-8.
    NotText(PathBuf),
    /// More files match than allowed.
    TooMany,
}

/// Whether a text is a pattern, rather than a path alone.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The files below `dir` that a pattern matches, at most `most`. Directories that match are left out.
///
/// # Errors
/// [`MatchError`].
pub(super) fn files(pattern: &str, dir: &Path, most: u64) -> Result<BTreeSet<PathBuf>, MatchError> {
    let mut start = dir.to_owned();
    let mut parts = Vec::new();
    for component in Path::new(pattern).components() {
        match component {
            // Before the first part with a wildcard, names are taken as they are.
            Component::Normal(name) => match name.to_str() {
                Some(name) if is_pattern(name) || !parts.is_empty() => parts.push(Part::of(name)),
                _ => start.push(name),
            },
            Component::ParentDir if !parts.is_empty() => parts.push(Part::Parent),
            other => start.push(other),
        }
    }
    // Twice the same directories are the directories.
    parts.dedup_by(|a, b| matches!((a, b), (Part::Directories, Part::Directories)));
    // `a/**` is all files below `a`: `**` alone stands for directories.
    if matches!(parts.last(), Some(Part::Directories)) {
        parts.push(Part::of("*"));
    }
    let mut walk = Walk { found: BTreeSet::new(), most };
    walk.below(&start, &parts)?;
    Ok(walk.found)
}

/// A part of a pattern between two slashes.
enum Part {
    /// `**`: any number of directories.
    Directories,
    /// `..`
    Parent,
    /// A name with wildcards.
    Name(Pattern),
    /// A name without any.
    Literal(String),
}

impl Part {
    fn of(name: &str) -> Self {
        match Pattern::new(name) {
            _ if name == "**" => Self::Directories,
            Ok(pattern) if is_pattern(name) => Self::Name(pattern),
            _ => Self::Literal(name.to_owned()),
        }
    }
}

struct Walk {
    found: BTreeSet<PathBuf>,
    most: u64,
}

impl Walk {
    /// Adds what the parts match below a directory.
    fn below(&mut self, directory: &Path, parts: &[Part]) -> Result<(), MatchError> {
        let Some((part, rest)) = parts.split_first() else {
            return Ok(());
        };
        match part {
            Part::Parent => self.below(&directory.join(".."), rest),
            Part::Literal(name) => self.take(directory.join(name), rest),
            Part::Name(pattern) => {
                for name in names(directory)? {
                    if is_match(pattern, &name) {
                        self.take(directory.join(&name), rest)?;
                    }
                }
                Ok(())
            }
            Part::Directories => {
                self.below(directory, rest)?;
                for name in names(directory)? {
                    let path = directory.join(&name);
                    let is_hidden = name.as_encoded_bytes().starts_with(b".");
                    let is_directory = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
                    if is_directory && !is_hidden {
                        self.below(&path, parts)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Takes a path that matches so far: a file that matches to the end, or a directory to go on in.
    fn take(&mut self, path: PathBuf, rest: &[Part]) -> Result<(), MatchError> {
        if !rest.is_empty() {
            // What is no directory, or was removed meanwhile, has nothing below it.
            return if path.is_dir() { self.below(&path, rest) } else { Ok(()) };
        }
        if path.is_file() {
            if path.file_name().is_some_and(|name| name.to_str().is_none()) {
                return Err(MatchError::NotText(path));
            }
            self.found.insert(path);
            if self.found.len() as u64 > self.most {
                return Err(MatchError::TooMany);
            }
        }
        Ok(())
    }
}

/// Whether a name matches. One that is no text is looked at with `U+FFFD` in the place of what is not.
fn is_match(pattern: &Pattern, name: &OsStr) -> bool {
    const OPTIONS: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: false,
        require_literal_leading_dot: true,
    };
    pattern.matches_with(&name.to_string_lossy(), OPTIONS)
}

/// The names in a directory; none where there is no directory.
fn names(directory: &Path) -> Result<Vec<OsString>, MatchError> {
    let unreadable = |source| MatchError::Unreadable { path: directory.to_owned(), source };
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(error)),
    };
    listing.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>().map_err(unreadable)
}
