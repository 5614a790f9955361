//! Paths inside a task's file tree.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::is_steering;

/// A relative path of a file inside a task's tree: components joined by `/`, none of them empty, `.` or
/// `..`, without control characters or backslashes. Such a path cannot leave the directory that it is
/// joined to, on any system.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestPath(String);

/// Why a text is not a [`GuestPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path is empty.
    #[error("a path must not be empty")]
    Empty,
    /// The path begins with `/`.
    #[error("{0:?} must be relative: leave out the leading `/`")]
    Absolute(String),
    /// One of the components is empty, `.` or `..`, or too long.
    #[error(
        "{path:?} holds the component {component:?}; a component is a name of 1 to 255 bytes, not `.` or `..`"
    )]
    Component {
        /// The whole path.
        path: String,
        /// The component that is not allowed.
        component: String,
    },
    /// The path holds a character that names must not have.
    #[error("{0:?} holds a control character, one that changes the direction of text, or a backslash")]
    Character(String),
    /// The path is longer than 4,096 bytes.
    #[error("a path of {0} bytes is too long: at most 4096 are allowed")]
    TooLong(usize),
}

impl GuestPath {
    /// Longest path, in bytes.
    pub const MAX_BYTES: usize = 4096;
    /// Longest component, in bytes.
    pub const MAX_COMPONENT_BYTES: usize = 255;

    /// Checks a text and takes it as a path.
    ///
    /// # Errors
    /// [`PathError`] says which rule the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, PathError> {
        let text = text.into();
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong(text.len()));
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute(text));
        }
        if text.chars().any(|c| !Self::allows(c)) {
            return Err(PathError::Character(text));
        }
        let bad = |c: &&str| matches!(*c, "" | "." | "..") || c.len() > Self::MAX_COMPONENT_BYTES;
        if let Some(component) = text.split('/').find(bad) {
            return Err(PathError::Component { component: component.to_owned(), path: text });
        }
        Ok(Self(text))
    }

    /// Whether a name may hold this character: any but those that steer a terminal, and the backslash,
    /// which other systems take for a separator.
    pub fn allows(c: char) -> bool {
        !is_steering(c) && c != '\\'
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components from the outermost directory to the file's name.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component: the file's own name.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }

    /// The path of the directory that the file is in; none for a path of one component.
    pub fn directory(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(directory, _)| directory)
    }

    /// The first of these paths that cannot be there because one before it is the same, or one of the two
    /// is a directory on the way to the other.
    pub fn first_clash<'a>(paths: impl IntoIterator<Item = &'a Self>) -> Option<&'a Self> {
        let (mut files, mut directories) = (BTreeSet::new(), BTreeSet::new());
        for path in paths {
            let above = path.0.match_indices('/').map(|(end, _)| &path.0[..end]);
            if directories.contains(path.as_str()) || above.clone().any(|directory| files.contains(directory))
            {
                return Some(path);
            }
            directories.extend(above);
            if !files.insert(path.as_str()) {
                return Some(path);
            }
        }
        None
    }

    /// This path inside the directory `directory`.
    ///
    /// # Errors
    /// [`PathError::TooLong`] when the two together are too long.
    pub fn within(&self, directory: &str) -> Result<Self, PathError> {
        Self::new(format!("{directory}/{}", self.0))
    }
}

impl TryFrom<String> for GuestPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::new(text)
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> Self {
        path.0
    }
}

impl FromStr for GuestPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::new(text)
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_paths() {
        for text in ["a", "a/b.txt", "tile 3/ünï.png", "..a", "a..", "..."] {
            assert_eq!(GuestPath::new(text).map(|p| p.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_path_is_a_name_in_a_directory() {
        let parts = |text: &str| {
            let path = GuestPath::new(text).expect("a path");
            (path.directory().map(str::to_owned), path.name().to_owned())
        };
        assert_eq!(parts("a/b/c.fa"), (Some("a/b".to_owned()), "c.fa".to_owned()));
        assert_eq!(parts("c.fa"), (None, "c.fa".to_owned()));
    }

    #[test]
    fn paths_that_cannot_be_together_are_found() {
        let clash = |names: &[&str]| {
            let paths: Vec<_> = names.iter().map(|name| GuestPath::new(*name).expect("a path")).collect();
            GuestPath::first_clash(&paths).map(ToString::to_string)
        };
        assert_eq!(clash(&["a", "b/a", "a!", "b/c"]), None);
        assert_eq!(clash(&["a", "b", "a"]).as_deref(), Some("a"));
        assert_eq!(clash(&["a", "a!", "a/b/c"]).as_deref(), Some("a/b/c"));
        assert_eq!(clash(&["a/b/c", "a"]).as_deref(), Some("a"));
    }

    #[test]
    fn no_path_leaves_its_directory() {
        for text in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "a\u{202e}b",
            "a\0b",
            "a\nb",
        ] {
            assert!(GuestPath::new(text).is_err(), "{text:?}");
        }
        assert!(GuestPath::new("x".repeat(256)).is_err());
        assert!(GuestPath::new("x/".repeat(2500) + "x").is_err());
    }
}
