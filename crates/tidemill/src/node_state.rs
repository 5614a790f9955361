//! What a node keeps in its directory beside what its crate keeps there: the claim to it, its key, its pass, its
//! port, what was measured.
//!
//! The node key is in the directory and not among the keys of the home, since one process has a directory, and a
//! coordinator cannot be dialed under its own name. The result key is that of the home: it says whose node it is.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use tidemill_net::{key::KeyKind, ticket::Pass};
use tidemill_provider::disk_free;
use tidemill_types::{ByteSize, Capacity, ResultKey};

use crate::{
    commands::read_file,
    exit::{Code, Exit, WithCode},
    home,
    network::private_directory,
};

/// A directory that no other process works in while this is held.
pub struct StateDirectory {
    path: PathBuf,
    _lock: File,
}

/// A measurement that was kept.
#[derive(Serialize, Deserialize)]
struct Measured {
    version: String,
    slots: u32,
    at_unix_s: u64,
    capacity: Capacity,
}

/// How long a measurement counts: long enough for restarts, and short enough that a machine which has become
/// another is found out.
const MEASURED_LASTS_S: u64 = 24 * 60 * 60;

/// The file that whoever works in a directory has locked.
const LOCK: &str = "lock";

/// Longer than a look at the lock takes: who only looks whether a directory is claimed has the lock for a moment.
const A_LOOK: Duration = Duration::from_millis(20);

/// The file with the pass of a coordinator's own ticket.
const PASS: &str = "pass";

/// No file that is read here is longer.
const MAX_FILE_BYTES: u64 = 4 << 10;

impl StateDirectory {
    /// Claims a directory, which is made for its owner alone when it is not there.
    ///
    /// # Errors
    /// With [`Code::Usage`] when another process works there, with [`Code::Host`] when it cannot be used.
    pub fn claim(path: &Path) -> anyhow::Result<Self> {
        Self::claim_within(path, A_LOOK)
    }

    /// The same, when whoever works there may be about to end.
    ///
    /// # Errors
    /// As those of [`Self::claim`].
    pub fn claim_within(path: &Path, patience: Duration) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).code(Code::Usage)?;
        private_directory(&path)
            .with_context(|| format!("cannot make the directory {}", path.display()))
            .code(Code::Host)?;
        let file = path.join(LOCK);
        let context = || format!("cannot lock {}", file.display());
        let lock = File::create(&file).with_context(context).code(Code::Host)?;
        let begun = Instant::now();
        let mut locked = flock(&lock, FlockOperation::NonBlockingLockExclusive);
        while locked == Err(Errno::WOULDBLOCK) && begun.elapsed() < patience {
            std::thread::sleep(A_LOOK);
            locked = flock(&lock, FlockOperation::NonBlockingLockExclusive);
        }
        match locked {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(Errno::WOULDBLOCK) => {
                let message = format!("another tidemill process works in {}", path.display());
                Err(Exit::new(Code::Usage, message)
                    .hint("end that one, or give this one another `--directory`")
                    .into())
            }
            Err(error) => Err(error).with_context(context).code(Code::Host),
        }
    }

    /// Its path, which is absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key that names the node.
    ///
    /// # Errors
    /// With [`Code::Host`] when it cannot be read or made.
    pub fn node_key(&self) -> anyhow::Result<[u8; 32]> {
        home::key(&self.path.join("node.key"), KeyKind::Node)
    }

    /// A result key of the node's own, for one that is not to stand for this home.
    ///
    /// # Errors
    /// With [`Code::Host`] when it cannot be read or made.
    pub fn result_key(&self) -> anyhow::Result<ResultKey> {
        result_key(&self.path)
    }

    /// What lets others in, which is drawn once.
    ///
    /// # Errors
    /// With [`Code::Host`] when it cannot be read or made.
    pub fn pass(&self) -> anyhow::Result<Pass> {
        match self.path.join(PASS).exists() {
            true => pass_of(&self.path),
            false => draw_pass(&self.path),
        }
    }

    /// The port of the last start.
    pub fn port(&self) -> Option<u16> {
        read_text(&self.path.join("port")).ok()?.trim().parse().ok().filter(|port| *port != 0)
    }

    /// Keeps the port that the node listens on, to which its ticket leads.
    pub fn keep_port(&self, port: u16) {
        if self.port() != Some(port) {
            self.keep("port", format!("{port}\n").as_bytes());
        }
    }

    /// What was measured lately, by this version and for so many slots.
    pub fn measured(&self, slots: u32) -> Option<Capacity> {
        let measured: Measured =
            serde_json::from_str(&read_text(&self.path.join("measured.json")).ok()?).ok()?;
        let age = unix_seconds().checked_sub(measured.at_unix_s)?;
        let counts = measured.version == env!("CARGO_PKG_VERSION")
            && measured.slots == slots
            && age < MEASURED_LASTS_S;
        counts.then_some(measured.capacity)
    }

    /// Keeps a measurement.
    pub fn keep_measured(&self, slots: u32, capacity: Capacity) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let measured = Measured { version, slots, at_unix_s: unix_seconds(), capacity };
        if let Ok(text) = serde_json::to_vec(&measured) {
            self.keep("measured.json", &text);
        }
    }

    /// Room for blobs: one part in so many of what is free or already has them.
    ///
    /// # Errors
    /// With [`Code::Host`] when the file system does not say.
    pub fn share_of_disk(&self, part: u64) -> anyhow::Result<ByteSize> {
        let free = disk_free(&self.path)
            .with_context(|| format!("cannot find out how much room {} has", self.path.display()))
            .code(Code::Host)?;
        Ok(ByteSize(free.0.saturating_add(bytes_in(&self.path.join("blobs"))) / part))
    }

    /// Keeps what can be done without: its loss costs time, so a disk that does not take it is no error.
    fn keep(&self, name: &str, content: &[u8]) {
        if let Err(error) = replace(&self.path.join(name), content) {
            tracing::warn!(%error, "cannot keep {name} in {}", self.path.display());
        }
    }
}

/// The pass of a coordinator's own ticket.
///
/// # Errors
/// With [`Code::Host`] when it cannot be read.
pub fn pass_of(directory: &Path) -> anyhow::Result<Pass> {
    let file = directory.join(PASS);
    let text = read_text(&file).code(Code::Host)?;
    let is_digits = |digits: &&str| digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = Some(text.trim()).filter(is_digits);
    match digits.map(|digits| u128::from_str_radix(digits, 16)) {
        Some(Ok(pass)) => Ok(Pass::from_bytes(pass.to_be_bytes())),
        _ => Err(Exit::new(Code::Host, format!("{} holds no pass", file.display()))
            .hint("remove it, and a new one is drawn; whoever has a ticket then needs the new one")
            .into()),
    }
}

/// Draws the pass of a coordinator's own ticket anew.
///
/// # Errors
/// With [`Code::Host`] when it cannot be drawn or kept.
pub fn draw_pass(directory: &Path) -> anyhow::Result<Pass> {
    let file = directory.join(PASS);
    let pass = Pass::draw().context("cannot draw a pass").code(Code::Host)?;
    let digits = format!("{:032x}\n", u128::from_be_bytes(*pass.as_bytes()));
    replace(&file, digits.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))
        .code(Code::Host)?;
    Ok(pass)
}

/// Whether another process works in a directory.
pub fn is_claimed(directory: &Path) -> bool {
    let lock = File::open(directory.join(LOCK));
    lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}

/// The result key of a directory, which is made when it is missing.
///
/// # Errors
/// With [`Code::Host`] when it cannot be read or made.
pub fn result_key(directory: &Path) -> anyhow::Result<ResultKey> {
    let secret = home::key(&directory.join(home::RESULT_KEY), KeyKind::Result)?;
    ResultKey::from_bytes(&secret).code(Code::Host)
}

fn read_text(file: &Path) -> anyhow::Result<String> {
    let bytes = read_file(file, MAX_FILE_BYTES)?;
    String::from_utf8(bytes).with_context(|| format!("{} is not text", file.display()))
}

/// Writes a file that its owner alone may read: whole, or not at all.
///
/// # Errors
/// When the disk does not take it.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let draft = file.with_extension("part");
    let _ = fs::remove_file(&draft);
    let mut written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    written.write_all(content)?;
    tidemill_disk::sync_all(&written)?;
    fs::rename(&draft, file)
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_in(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
        _ => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_and_what_it_keeps_stays() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("coordinator");
        let state = StateDirectory::claim(&path).expect("a new directory");
        assert!(StateDirectory::claim(&path).is_err(), "it is claimed");
        assert!(is_claimed(&path));
        let (pass, key) = (state.pass().expect("a pass"), state.node_key().expect("a key"));
        drop(state);
        assert!(!is_claimed(&path));
        let state = StateDirectory::claim(&path).expect("it is free again");
        assert!(state.pass().expect("a pass") == pass);
        assert_eq!(state.node_key().expect("a key"), key);
        fs::write(path.join("pass"), "+123456789abcdef0123456789abcdef").expect("a file");
        assert!(state.pass().is_err(), "a damaged pass is not replaced silently");
    }

    #[test]
    fn a_measurement_counts_for_its_slots_and_for_a_day() {
        let place = tempfile::tempdir().expect("a directory");
        let state = StateDirectory::claim(place.path()).expect("a directory");
        let capacity = Capacity { single_fuel_per_s: 7, all_fuel_per_s: 13 };
        assert_eq!(state.measured(2), None);
        state.keep_measured(2, capacity);
        assert_eq!(state.measured(2), Some(capacity));
        assert_eq!(state.measured(3), None);
        let file = place.path().join("measured.json");
        let old = format!("\"at_unix_s\":{}", unix_seconds() - MEASURED_LASTS_S);
        let text = fs::read_to_string(&file).expect("a file");
        let at = text.find("\"at_unix_s\":").expect("its field");
        let end = text[at..].find(',').expect("another field") + at;
        fs::write(&file, format!("{}{old}{}", &text[..at], &text[end..])).expect("a file");
        assert_eq!(state.measured(2), None);
    }
}
