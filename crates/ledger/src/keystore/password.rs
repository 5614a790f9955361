//! Where a password comes from.

use std::{
    env, fmt,
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use zeroize::Zeroizing;

/// A password. Wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// Where to get a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PasswordSource {
    /// A person, who is asked.
    Prompt,
    /// The first line of this file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
}

/// A password that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Nobody could be asked.
    #[error("cannot ask for the password; give it by a file or an environment variable")]
    Prompt(#[source] io::Error),
    /// The file could not be read.
    #[error("cannot read the password from {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds more than one line.
    #[error("{} is no password file: it must hold one line of at most {MAX_BYTES} bytes", .0.display())]
    NotALine(PathBuf),
    /// The variable is not set, or is not text.
    #[error("the environment variable {0} holds no password: it is not set, or not UTF-8")]
    Environment(String),
    /// The password is empty.
    #[error("the password is empty")]
    Empty,
}

/// More than anyone types, and little enough to be read whole.
const MAX_BYTES: usize = 1024;

impl Password {
    /// A password as it was typed.
    ///
    /// # Errors
    /// [`PasswordError::Empty`]: that would protect nothing.
    pub fn new(text: String) -> Result<Self, PasswordError> {
        let text = Zeroizing::new(text);
        if text.is_empty() { Err(PasswordError::Empty) } else { Ok(Self(text)) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl PartialEq for Password {
    /// For a person who typed it twice.
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl PasswordSource {
    /// Gets the password. Only [`PasswordSource::Prompt`] calls `prompt`, which asks a person.
    ///
    /// # Errors
    /// [`PasswordError`] says what to do.
    pub fn read(&self, prompt: impl FnOnce() -> io::Result<String>) -> Result<Password, PasswordError> {
        match self {
            Self::Prompt => Password::new(prompt().map_err(PasswordError::Prompt)?),
            Self::File(path) => {
                let read_error = |source| PasswordError::File { path: path.clone(), source };
                let mut text = Zeroizing::new(String::with_capacity(2 * MAX_BYTES));
                let file = File::open(path).map_err(read_error)?;
                file.take(MAX_BYTES as u64 + 2).read_to_string(&mut text).map_err(read_error)?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let line = line.strip_suffix('\r').unwrap_or(line);
                if line.len() > MAX_BYTES || line.contains('\n') {
                    return Err(PasswordError::NotALine(path.clone()));
                }
                Password::new(line.to_owned())
            }
            Self::Environment(name) => {
                Password::new(env::var(name).map_err(|_| PasswordError::Environment(name.clone()))?)
            }
        }
    }
}
