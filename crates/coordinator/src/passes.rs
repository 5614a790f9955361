//! Who is let in with which pass, and as what. Passes are named, for a role, and can be revoked: the sessions that were begun
//! with one end then.
//!
//! They are in a file of the coordinator's directory, one on each line, by their hashes: whoever reads the file cannot join with
//! it. `tidemill pass` changes it, and a coordinator that runs looks at it every second.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tidemill_net::{
    ticket::Pass,
    wire::{Role, ToProvider},
};
use tidemill_types::NodeId;

use crate::{event::SessionId, outbox::Outgoing, shared::Shared};

/// The file, in a coordinator's directory.
const FILE: &str = "passes";

/// Its first line.
const HEAD: &str = "tidemill passes 1";

/// How often a coordinator that runs looks at the file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest name of a pass, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// The most passes of one coordinator, those that were revoked included.
pub const MAX_PASSES: usize = 10_000;

/// The file is no longer than these need.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What a pass lets its bearer do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PassRole {
    /// Lend machines.
    Lend,
    /// Submit jobs.
    Submit,
    /// Both.
    Both,
}

/// A pass that was given to somebody, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedPass {
    /// What its giver calls it. No two that are not revoked have the same name.
    pub name: String,
    /// What it is for.
    pub role: PassRole,
    /// The BLAKE3 hash of its secret.
    pub digest: [u8; 32],
    /// When it was made, in seconds since 1970.
    pub made_s: u64,
    /// When it was revoked.
    pub revoked_s: Option<u64>,
}

/// Why the file of passes is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PassesError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else is in it.
    #[error("{} holds something else than passes, at line {line}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first line that is none.
        line: usize,
    },
}

/// A name that no pass may have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "\"{0}\" cannot be the name of a pass: it has 1 to {MAX_NAME_BYTES} letters, digits, dots, dashes and underscores"
)]
pub struct NameError(String);

impl PassRole {
    fn word(self) -> &'static str {
        match self {
            Self::Lend => "lend",
            Self::Submit => "submit",
            Self::Both => "both",
        }
    }

    fn admits(self, comes_for: Purpose) -> bool {
        matches!(
            (self, comes_for),
            (Self::Both, _) | (Self::Lend, Purpose::Lend) | (Self::Submit, Purpose::Submit)
        )
    }
}

impl fmt::Display for PassRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for PassRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Lend, Self::Submit, Self::Both];
        let found = all.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| format!("\"{text}\" is not one of lend, submit, both"))
    }
}

impl NamedPass {
    /// A pass that is given now.
    ///
    /// # Errors
    /// [`NameError`]
    pub fn new(name: &str, role: PassRole, pass: &Pass, made_s: u64) -> Result<Self, NameError> {
        if !is_name(name) {
            return Err(NameError(name.to_owned()));
        }
        let digest = *blake3::hash(pass.as_bytes()).as_bytes();
        Ok(Self { name: name.to_owned(), role, digest, made_s, revoked_s: None })
    }

    fn line(&self) -> String {
        let Self { name, role, digest, made_s, revoked_s } = self;
        let revoked = revoked_s.map_or_else(|| "-".to_owned(), |at| at.to_string());
        format!("{} {role} {made_s} {revoked} {name}", blake3::Hash::from_bytes(*digest).to_hex())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let digest = *blake3::Hash::from_hex(words.next()?).ok()?.as_bytes();
        let role = words.next()?.parse().ok()?;
        let made_s = words.next()?.parse().ok()?;
        let revoked_s = match words.next()? {
            "-" => None,
            at => Some(at.parse().ok()?),
        };
        let name = words.next().filter(|name| is_name(name) && words.next().is_none())?.to_owned();
        Some(Self { name, role, digest, made_s, revoked_s })
    }
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(fits)
}

/// Where the passes of a coordinator with this directory are.
pub fn file(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// The passes of a coordinator; none without a file.
///
/// # Errors
/// [`PassesError`]
pub fn read(directory: &Path) -> Result<Vec<NamedPass>, PassesError> {
    let path = file(directory);
    let text = match fs::metadata(&path).and_then(|metadata| match metadata.len() > MAX_FILE_BYTES {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => fs::read_to_string(&path),
    }) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(PassesError::Read { path, source }),
    };
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err(PassesError::Damaged { path, line: 1 });
    }
    let parsed = lines.zip(2..).map(|(line, number)| NamedPass::parse(line).ok_or(number));
    parsed.collect::<Result<_, _>>().map_err(|line| PassesError::Damaged { path, line })
}

/// What the file holds that has these passes.
pub fn text(passes: &[NamedPass]) -> String {
    let lines = passes.iter().map(NamedPass::line);
    std::iter::once(HEAD.to_owned()).chain(lines).map(|line| line + "\n").collect()
}

/// What somebody comes for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Lend,
    Submit,
}

impl Purpose {
    fn of(role: &Role) -> Self {
        match role {
            Role::Provider { .. } => Self::Lend,
            Role::Requester => Self::Submit,
        }
    }
}

/// The passes of a coordinator that runs, and the sessions that were begun with them.
#[derive(Debug)]
pub struct Passes {
    directory: PathBuf,
    /// That of its own ticket, for both.
    own: [u8; 32],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    named: Vec<NamedPass>,
    /// The file as `named` has it.
    read: Option<Stamp>,
    /// The file as it was when sessions were last held against it.
    seen: Option<Stamp>,
    sessions: HashMap<SessionId, Shown>,
}

/// When a file was changed last, and its length.
type Stamp = (SystemTime, u64);

/// What was shown for a session.
#[derive(Clone, Copy, Debug)]
struct Shown {
    node: NodeId,
    digest: blake3::Hash,
    comes_for: Purpose,
}

/// A session that was let in with a pass, for as long as it lasts.
#[derive(Debug)]
pub struct LetIn<'a> {
    passes: &'a Passes,
    session: SessionId,
}

impl Drop for LetIn<'_> {
    fn drop(&mut self) {
        self.passes.lock().sessions.remove(&self.session);
    }
}

impl Passes {
    /// Those of a directory, beside the coordinator's own.
    ///
    /// # Errors
    /// [`PassesError`]
    pub fn open(directory: &Path, own: &Pass) -> Result<Self, PassesError> {
        let seen = stamp(&file(directory));
        let state = State { named: read(directory)?, read: seen, seen, ..State::default() };
        let own = *blake3::hash(own.as_bytes()).as_bytes();
        Ok(Self { directory: directory.to_owned(), own, state: Mutex::new(state) })
    }

    /// Lets a dialer in, and notes its session.
    ///
    /// # Errors
    /// Why it is not let in, for a person.
    pub fn admit(
        &self,
        pass: &[u8; 16],
        role: &Role,
        (node, session): (NodeId, SessionId),
    ) -> Result<LetIn<'_>, String> {
        self.read_anew();
        let shown = Shown { node, digest: blake3::hash(pass), comes_for: Purpose::of(role) };
        let mut state = self.lock();
        self.may_stay(&state, &shown)?;
        state.sessions.insert(session, shown);
        drop(state);
        Ok(LetIn { passes: self, session })
    }

    /// Reads the file again if it has changed: who was just given a ticket is let in at once. A file that cannot be read is
    /// left to [`Self::look`], which says so.
    fn read_anew(&self) {
        let is = stamp(&file(&self.directory));
        if self.lock().read != is
            && let Ok(named) = read(&self.directory)
        {
            let mut state = self.lock();
            (state.named, state.read) = (named, is);
        }
    }

    /// Whether somebody who showed this may come, or stay.
    fn may_stay(&self, state: &State, shown: &Shown) -> Result<(), String> {
        // `blake3::Hash` compares in constant time.
        let mut of_it = state.named.iter().filter(|pass| shown.digest == pass.digest);
        let found = match of_it.next_back() {
            Some(pass) if pass.revoked_s.is_some() => None,
            Some(pass) => Some(pass.role),
            None => (shown.digest == self.own).then_some(PassRole::Both),
        };
        match (found, shown.comes_for) {
            (None, _) => {
                Err("the ticket's pass is not this network's, or was revoked: ask for a new ticket"
                    .to_owned())
            }
            (Some(role), comes_for) if role.admits(comes_for) => Ok(()),
            (Some(_), Purpose::Lend) => {
                Err("the ticket's pass is for submitting jobs alone: ask for one that is for lending"
                    .to_owned())
            }
            (Some(_), Purpose::Submit) => {
                Err("the ticket's pass is for lending machines alone: ask for one that is for submitting"
                    .to_owned())
            }
        }
    }

    /// Looks at the file, if it has changed. Gives the sessions that have no pass any more, and why.
    fn look(&self) -> Result<Vec<(SessionId, NodeId, bool, String)>, PassesError> {
        let seen = stamp(&file(&self.directory));
        if self.lock().seen == seen {
            return Ok(Vec::new());
        }
        let named = read(&self.directory)?;
        let mut state = self.lock();
        (state.named, state.read, state.seen) = (named, seen, seen);
        let over = state.sessions.iter().filter_map(|(session, shown)| {
            let reason = self.may_stay(&state, shown).err()?;
            Some((*session, shown.node, shown.comes_for == Purpose::Lend, reason))
        });
        Ok(over.collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Ends the sessions whose passes are revoked while the coordinator runs.
pub async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shared.stop.cancelled() => return,
        }
        let over = match shared.passes.look() {
            Ok(over) => over,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the passes cannot be read: those that were known stay as they are");
                continue;
            }
        };
        for (session, node, is_provider, reason) in over {
            tracing::warn!(node = %node.short(), reason, "a session ends: its pass was revoked");
            if let Some(outbox) = shared.outboxes.get(session) {
                if is_provider {
                    outbox.put(Outgoing::ToProvider(ToProvider::Bye { reason }));
                }
                outbox.put(Outgoing::End);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Pass = Pass::from_bytes([1; 16]);

    fn pass(byte: u8) -> Pass {
        Pass::from_bytes([byte; 16])
    }

    fn named(name: &str, role: PassRole, byte: u8) -> NamedPass {
        NamedPass::new(name, role, &pass(byte), 1_000).expect("a name")
    }

    fn write(directory: &Path, passes: &[NamedPass]) {
        fs::write(file(directory), text(passes)).expect("a file can be written");
    }

    fn admits(passes: &Passes, byte: u8, comes_for: Purpose) -> bool {
        let shown = Shown { node: NodeId([1; 32]), digest: blake3::hash(&[byte; 16]), comes_for };
        passes.may_stay(&passes.lock(), &shown).is_ok()
    }

    #[test]
    fn a_pass_admits_for_its_role_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let all = [
            named("lender", PassRole::Lend, 2),
            named("submitter", PassRole::Submit, 3),
            named("friend", PassRole::Both, 4),
            NamedPass { revoked_s: Some(2_000), ..named("gone", PassRole::Both, 5) },
        ];
        write(directory.path(), &all);
        assert_eq!(read(directory.path()).expect("they can be read"), all);
        let passes = Passes::open(directory.path(), &OWN).expect("they can be read");
        let admitted =
            |byte| [Purpose::Lend, Purpose::Submit].map(|comes_for| admits(&passes, byte, comes_for));
        assert_eq!(admitted(1), [true; 2], "its own is for both");
        assert_eq!((admitted(2), admitted(3), admitted(4)), ([true, false], [false, true], [true; 2]));
        assert_eq!((admitted(5), admitted(6)), ([false; 2], [false; 2]));
    }

    #[test]
    fn sessions_of_a_pass_that_is_revoked_are_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut all = vec![named("a", PassRole::Both, 2), named("b", PassRole::Both, 3)];
        write(directory.path(), &all);
        let passes = Passes::open(directory.path(), &OWN).expect("they can be read");
        let admit = |byte: u8| {
            let who = (NodeId([byte; 32]), SessionId(byte.into()));
            passes.admit(&[byte; 16], &Role::Requester, who).expect("it is let in")
        };
        let sessions = [admit(1), admit(2), admit(3)];
        assert!(passes.look().expect("they can be read").is_empty());
        all[0].revoked_s = Some(3_000);
        // Its own too.
        let own = named("default", PassRole::Both, 1);
        all.push(NamedPass { revoked_s: Some(3_000), ..own });
        write(directory.path(), &all);
        let mut over: Vec<u64> =
            passes.look().expect("they can be read").iter().map(|(session, ..)| session.0).collect();
        over.sort_unstable();
        assert_eq!(over, [1, 2]);
        assert!(!admits(&passes, 1, Purpose::Submit) && admits(&passes, 3, Purpose::Submit));
        drop(sessions);
        assert!(passes.lock().sessions.is_empty());
    }

    #[test]
    fn what_is_no_file_of_passes_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(read(directory.path()).expect("there is none").is_empty());
        for (content, at) in [("", 1), ("passes", 1), ("tidemill passes 1\nnonsense", 2)] {
            fs::write(file(directory.path()), content).expect("a file can be written");
            assert!(
                matches!(read(directory.path()), Err(PassesError::Damaged { line, .. }) if line == at),
                "{content}"
            );
        }
        assert!(
            ["", "a b", "ä", &"n".repeat(65)]
                .iter()
                .all(|name| { NamedPass::new(name, PassRole::Lend, &OWN, 0).is_err() })
        );
    }
}
