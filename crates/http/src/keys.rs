//! API keys: a file for each in a folder, which commands write and a server reads, so that a key is good, or no more, at
//! once and without a word between the two.
//!
//! A key is `tm-`, the 16 digits that name it, `-`, and 43 characters that nobody can guess. The file holds the hash of the
//! secret part: whoever reads the folder can use no key of it.

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use tidemill_net::wire::JobPay;
use tidemill_types::{NodeId, Principal};

use crate::limits::Limit;

/// How every key begins.
const PREFIX: &str = "tm-";

/// The bytes of a key's secret part.
const SECRET_BYTES: usize = 32;

/// Keys that a folder may have.
pub const MOST_KEYS: usize = 1024;

/// The longest file of a key.
const MOST_FILE_BYTES: u64 = 64 << 10;

/// Names a key. Prints as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

/// What a key is good for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To ask models.
    Models,
    /// To submit, cancel and remove jobs of its own, and to bring blobs.
    Jobs,
    /// To see its own jobs and their outputs, and what everybody in the network may see.
    Read,
    /// To see the jobs of all requesters, and the server's metrics.
    Operator,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Models, Self::Jobs, Self::Read, Self::Operator];
}

/// A key, as its file has it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Key {
    /// What people call it.
    pub name: String,
    /// BLAKE3 of its secret part, in 64 hexadecimal digits.
    hash: String,
    /// What it is good for, sorted, each once.
    pub scopes: Vec<Scope>,
    /// When it was made, in seconds since 1970.
    pub created_s: u64,
    /// From when it is good no more, in seconds since 1970.
    pub expires_s: Option<u64>,
    /// How much it may ask for.
    #[serde(default)]
    pub limit: Limit,
    /// What jobs of it are submitted with, as JSON; nothing in a network that is free.
    #[serde(default)]
    pay: Option<String>,
}

/// A key that is to be made.
#[derive(Clone, PartialEq, Debug)]
pub struct NewKey {
    /// What people call it, 1 to 80 characters.
    pub name: String,
    /// What it is good for, at least one thing.
    pub scopes: Vec<Scope>,
    /// From when it is good no more, in seconds since 1970.
    pub expires_s: Option<u64>,
    /// How much it may ask for.
    pub limit: Limit,
}

/// Why there is no such key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It has not the form of one.
    #[error("it has not the form of an API key of Tidemill")]
    Form,
    /// It is not known, or its secret part is wrong.
    #[error("no such API key is known here")]
    Unknown,
    /// Its time is over.
    #[error("the API key has expired")]
    Expired,
    /// There are too many.
    #[error("there are {MOST_KEYS} API keys: revoke some first")]
    Full,
    /// What is asked of it is not within its bounds.
    #[error("{0}")]
    Bounds(&'static str),
    /// The folder cannot be read or written.
    #[error("cannot use {path}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold a key.
    #[error("{path} does not hold an API key")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The system gives no randomness.
    #[error("the system has no randomness to give")]
    Randomness(#[source] getrandom::Error),
}

/// The keys of a folder.
#[derive(Clone, Debug)]
pub struct Keys {
    folder: PathBuf,
    seen: Arc<Mutex<HashMap<KeyId, Seen>>>,
}

/// A key as it was read, and which state of its file that was.
#[derive(Debug)]
struct Seen {
    state: (SystemTime, u64),
    key: Arc<Key>,
}

impl Key {
    /// What pays for what it asks, where anything does.
    pub fn paid_by(&self) -> Option<JobPay> {
        serde_json::from_str(self.pay.as_ref()?).ok()
    }
}

impl Keys {
    /// Those of this folder, which need not be there.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), seen: Arc::default() }
    }

    /// Makes a key, and gives all of it: nobody can show it again.
    ///
    /// # Errors
    /// [`KeyError::Full`], [`KeyError::Bounds`], [`KeyError::Disk`], [`KeyError::Randomness`]
    pub fn make(&self, new: NewKey, now_s: u64) -> Result<(KeyId, String), KeyError> {
        let NewKey { name, mut scopes, expires_s, limit } = new;
        if name.is_empty() || name.chars().count() > 80 || name.contains(char::is_control) {
            return Err(KeyError::Bounds("the name must have 1 to 80 characters, and no control characters"));
        }
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(KeyError::Bounds("the key must be good for something"));
        }
        if limit.requests == 0 || limit.tokens == 0 || limit.at_once == 0 {
            return Err(KeyError::Bounds("limits must be at least 1"));
        }
        if self.list()?.len() >= MOST_KEYS {
            return Err(KeyError::Full);
        }
        let (mut id, mut secret) = ([0; 8], [0; SECRET_BYTES]);
        getrandom::fill(&mut id).map_err(KeyError::Randomness)?;
        getrandom::fill(&mut secret).map_err(KeyError::Randomness)?;
        let (id, secret) = (KeyId(id), BASE64URL_NOPAD.encode(&secret));
        let hash = hash(&secret).to_hex().to_string();
        let key = Key { name, hash, scopes, created_s: now_s, expires_s, limit, pay: None };
        self.write(id, &key)?;
        Ok((id, format!("{PREFIX}{id}-{secret}")))
    }

    /// Says what pays for what a key asks from now on. The mandate in it must be for [`KeyId::node`].
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::Disk`]
    pub fn set_pay(&self, id: KeyId, pay: &JobPay) -> Result<(), KeyError> {
        let key = self.get(id)?;
        let pay = serde_json::to_string(pay);
        let pay = pay.map_err(|source| KeyError::File { path: self.path(id), source })?;
        self.write(id, &Key { pay: Some(pay), ..key })
    }

    /// A key by its name.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::Disk`]
    pub fn get(&self, id: KeyId) -> Result<Key, KeyError> {
        self.read(id).map(|key| Key::clone(&key))
    }

    /// All keys, the oldest first. Files that hold none are left out.
    ///
    /// # Errors
    /// [`KeyError::Disk`] where the folder cannot be read.
    pub fn list(&self) -> Result<Vec<(KeyId, Key)>, KeyError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.disk(&self.folder, source)),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| self.disk(&self.folder, source))?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            let Some(id) = id else { continue };
            match self.read(id) {
                Ok(key) => keys.push((id, Key::clone(&key))),
                Err(KeyError::Unknown | KeyError::File { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        keys.sort_by_key(|(id, key)| (key.created_s, *id));
        Ok(keys)
    }

    /// Ends a key, now.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::Disk`]
    pub fn revoke(&self, id: KeyId) -> Result<(), KeyError> {
        match fs::remove_file(self.path(id)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeyError::Unknown),
            Err(source) => Err(self.disk(&self.path(id), source)),
        }
    }

    /// The key that this text is, if it is good at this time.
    ///
    /// # Errors
    /// [`KeyError`] says why it is none.
    pub fn check(&self, text: &str, now_s: u64) -> Result<(KeyId, Arc<Key>), KeyError> {
        let (id, secret) = parse(text).ok_or(KeyError::Form)?;
        let key = self.read(id)?;
        let known = blake3::Hash::from_hex(&key.hash).map_err(|_| KeyError::Unknown)?;
        // Hashes of BLAKE3 are compared in constant time.
        if hash(secret) != known {
            return Err(KeyError::Unknown);
        }
        match key.expires_s {
            Some(expires_s) if expires_s <= now_s => Err(KeyError::Expired),
            _ => Ok((id, key)),
        }
    }

    /// True for a text that means to be a key of ours, so that a wrong one is not taken for none.
    pub fn is_like_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    fn path(&self, id: KeyId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// A key by its name. The file is looked at each time, and read when it has changed: keys are few, and a look at a file
    /// costs less than the request that it is for.
    fn read(&self, id: KeyId) -> Result<Arc<Key>, KeyError> {
        let path = self.path(id);
        let missing = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyError::Unknown,
            _ => self.disk(&path, source),
        };
        let metadata = fs::metadata(&path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                seen.remove(&id);
                return Err(missing(error));
            }
        };
        let modified = metadata.modified().map_err(|source| self.disk(&path, source))?;
        let state = (modified, metadata.len());
        if let Some(seen) = seen.get(&id).filter(|seen| seen.state == state) {
            return Ok(seen.key.clone());
        }
        if metadata.len() > MOST_FILE_BYTES {
            return Err(self.disk(&path, io::Error::other("it is too long")));
        }
        let text = fs::read(&path).map_err(missing)?;
        let key: Key =
            serde_json::from_slice(&text).map_err(|source| KeyError::File { path: path.clone(), source })?;
        let key = Arc::new(key);
        if seen.len() >= 2 * MOST_KEYS {
            seen.clear();
        }
        seen.insert(id, Seen { state, key: key.clone() });
        Ok(key)
    }

    /// Writes a key: whole, or not at all.
    fn write(&self, id: KeyId, key: &Key) -> Result<(), KeyError> {
        use std::io::Write;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|source| self.disk(&self.folder, source))?;
        let (path, draft) = (self.path(id), self.folder.join(format!("{id}.part")));
        let write = || {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            let text = serde_json::to_vec_pretty(key).map_err(io::Error::other)?;
            file.write_all(&text)?;
            tidemill_disk::sync_all(&file)?;
            fs::rename(&draft, &path)
        };
        write().map_err(|source| self.disk(&path, source))
    }

    fn disk(&self, path: &Path, source: io::Error) -> KeyError {
        KeyError::Disk { path: path.to_owned(), source }
    }
}

fn hash(secret: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key("tidemill 2026 api key", secret.as_bytes()))
}

fn parse(text: &str) -> Option<(KeyId, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('-')?;
    let is_secret = BASE64URL_NOPAD.decode(secret.as_bytes()).is_ok_and(|bytes| bytes.len() == SECRET_BYTES);
    is_secret.then_some((id.parse().ok()?, secret))
}

impl KeyId {
    /// The node in whose name jobs of the key are brought, and to which a mandate for its money is given. No machine has its
    /// secret, so none can pass for it.
    pub fn node(self) -> NodeId {
        NodeId(blake3::derive_key("tidemill 2026 node of an api key", &self.0))
    }

    /// Who owns what the key asks for.
    pub fn principal(self) -> Principal {
        Principal::Node(self.node())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| KeyError::Form)?;
        Ok(Self(bytes.try_into().map_err(|_| KeyError::Form)?))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Models => "models",
            Self::Jobs => "jobs",
            Self::Read => "read",
            Self::Operator => "operator",
        })
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|scope| scope.to_string() == text);
        known.ok_or_else(|| format!("{text:?} is no scope: say models, jobs, read or operator"))
    }
}

#[cfg(test)]
mod tests {
    use tidemill_types::{EscrowId, RateCard, Signature65};

    use super::*;

    fn new() -> NewKey {
        NewKey {
            name: "ann's laptop".into(),
            scopes: vec![Scope::Read, Scope::Models, Scope::Read],
            expires_s: Some(2_000),
            limit: Limit::default(),
        }
    }

    #[test]
    fn a_key_is_good_until_it_expires_or_is_revoked() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let (commands, server) =
            (Keys::in_folder(folder.path().join("keys")), Keys::in_folder(folder.path().join("keys")));
        assert!(server.list().expect("no folder is no keys").is_empty());
        let (id, text) = commands.make(new(), 1_000).expect("it can be written");
        let (found, key) = server.check(&text, 1_999).expect("it is good");
        assert_eq!((found, &key.scopes[..]), (id, &[Scope::Models, Scope::Read][..]));
        assert!(matches!(server.check(&text, 2_000), Err(KeyError::Expired)));
        let pay = JobPay {
            escrow: EscrowId([7; 32]),
            mandate: Signature65([8; 65]),
            ceiling: RateCard::default(),
            max_price: None,
            close: false,
        };
        commands.set_pay(id, &pay).expect("it can be written");
        let paid = server.check(&text, 1_000).expect("it is good").1;
        assert_eq!(paid.paid_by(), Some(pay), "a change counts at once");
        commands.revoke(id).expect("it is there");
        assert!(matches!(server.check(&text, 1_000), Err(KeyError::Unknown)));
        assert!(matches!(commands.revoke(id), Err(KeyError::Unknown)));
    }

    #[test]
    fn what_is_stored_is_no_key() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let keys = Keys::in_folder(folder.path());
        let (id, text) = keys.make(new(), 1_000).expect("it can be written");
        let stored = fs::read_to_string(folder.path().join(format!("{id}.json"))).expect("it is there");
        let secret = &text[20..];
        assert!(!stored.contains(secret), "{stored}");
        let mode = {
            use std::os::unix::fs::PermissionsExt;
            fs::metadata(folder.path().join(format!("{id}.json"))).expect("it is there").permissions().mode()
        };
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn other_texts_are_no_keys() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let keys = Keys::in_folder(folder.path());
        let (_, text) = keys.make(new(), 1_000).expect("it can be written");
        let (_, other) = keys.make(new(), 1_000).expect("it can be written");
        // The name of one key with the secret of another.
        let crossed = format!("{}{}", &text[..20], &other[20..]);
        assert!(matches!(keys.check(&crossed, 1_000), Err(KeyError::Unknown)));
        for wrong in ["", "sk-123", "tm-", "tm-0123456789abcdef-", &text[..text.len() - 1], "tm-../../etc-x"]
        {
            assert!(matches!(keys.check(wrong, 1_000), Err(KeyError::Form)), "{wrong:?}");
        }
        fs::write(folder.path().join("0123456789abcdef.json"), "{}").expect("it can be written");
        assert_eq!(keys.list().expect("the folder is there").len(), 2, "a file that is no key is left out");
    }

    #[test]
    fn bounds_are_checked() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let keys = Keys::in_folder(folder.path());
        for wrong in [
            NewKey { name: String::new(), ..new() },
            NewKey { name: "a\u{1b}".into(), ..new() },
            NewKey { scopes: Vec::new(), ..new() },
            NewKey { limit: Limit { at_once: 0, ..Limit::default() }, ..new() },
        ] {
            assert!(matches!(keys.make(wrong.clone(), 1_000), Err(KeyError::Bounds(_))), "{wrong:?}");
        }
    }
}
