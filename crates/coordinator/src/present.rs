//! Who is connected, in a file: the process after this one tells those that it is there, whatever ended this one.
//!
//! The file is a list of lines that grows by one for each session that begins or ends, and is written anew when most of it
//! is of the past. It does not wait for the disk: after a power cut the peers find out by themselves, as they do without
//! it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tidemill_types::NodeId;

/// A process of a node, by where it dials from.
pub type Peer = (NodeId, SocketAddr);

/// The file is written anew when it has so many lines more than there are peers.
const MOST_PAST: usize = 4096;

/// Who is connected.
#[derive(Debug)]
pub struct Present(Mutex<State>);

#[derive(Debug)]
struct State {
    path: PathBuf,
    /// None once it could not be written: then the next process knows of nobody.
    file: Option<File>,
    lines: usize,
    /// Sessions of each; none of one that had some with the process before, until it is back or given up.
    peers: BTreeMap<Peer, u32>,
}

impl Present {
    /// Takes up the file in a directory. Gives those who had sessions with the process before.
    pub fn open(directory: &Path) -> (Self, Vec<Peer>) {
        let path = directory.join("present");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut peers = BTreeMap::new();
        for line in text.lines() {
            // What is half written was written by one that was killed.
            match parse(line) {
                Some((true, peer)) => drop(peers.insert(peer, 0)),
                Some((false, peer)) => drop(peers.remove(&peer)),
                None => {}
            }
        }
        let absent = peers.keys().copied().collect();
        let mut state = State { path, file: None, lines: 0, peers };
        state.write_anew();
        (Self(Mutex::new(state)), absent)
    }

    /// A peer has a session.
    pub fn came(&self, peer: Peer) {
        let mut state = self.lock();
        let known = state.peers.get(&peer).copied();
        state.peers.insert(peer, known.unwrap_or(0) + 1);
        if known.is_none() {
            state.note(true, peer);
        }
    }

    /// A session of a peer is over.
    pub fn left(&self, peer: Peer) {
        let mut state = self.lock();
        match state.peers.get_mut(&peer) {
            Some(sessions) if *sessions > 1 => *sessions -= 1,
            _ => {
                state.peers.remove(&peer);
                state.note(false, peer);
            }
        }
    }

    /// One that had a session with the process before does not come back.
    pub fn give_up(&self, peer: Peer) {
        let mut state = self.lock();
        if state.peers.get(&peer) == Some(&0) {
            state.peers.remove(&peer);
            state.note(false, peer);
        }
    }

    /// Whether a peer has a session.
    pub fn is_here(&self, peer: Peer) -> bool {
        self.lock().peers.get(&peer).is_some_and(|sessions| *sessions > 0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, here: bool, peer: Peer) {
        if self.lines > self.peers.len() + MOST_PAST {
            return self.write_anew();
        }
        let Some(file) = &mut self.file else { return };
        match file.write_all(line(here, peer).as_bytes()) {
            Ok(()) => self.lines += 1,
            Err(error) => self.stop(&error),
        }
    }

    fn write_anew(&mut self) {
        let text: String = self.peers.keys().map(|peer| line(true, *peer)).collect();
        match write(&self.path, text.as_bytes()) {
            Ok(file) => (self.file, self.lines) = (Some(file), self.peers.len()),
            Err(error) => self.stop(&error),
        }
    }

    fn stop(&mut self, error: &io::Error) {
        tracing::warn!(%error, "cannot note who is connected: after a crash they find out late that this is back");
        self.file = None;
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a file whole, and gives it to go on with.
fn write(path: &Path, text: &[u8]) -> io::Result<File> {
    let draft = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text)?;
    fs::rename(&draft, path)?;
    Ok(file)
}

fn line(here: bool, (node, address): Peer) -> String {
    format!("{} {node} {address}\n", if here { '+' } else { '-' })
}

fn parse(line: &str) -> Option<(bool, Peer)> {
    let mut words = line.split(' ');
    let here = match words.next()? {
        "+" => true,
        "-" => false,
        _ => return None,
    };
    let peer = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some((here, peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> Peer {
        (NodeId([number; 32]), SocketAddr::from(([127, 0, 0, 1], 1000 + u16::from(number))))
    }

    fn open(directory: &Path) -> (Present, Vec<Peer>) {
        Present::open(directory)
    }

    #[test]
    fn the_next_process_knows_who_had_sessions_with_this_one() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (present, absent) = open(place.path());
        assert!(absent.is_empty());
        for number in 1..=3 {
            present.came(peer(number));
        }
        // It came back with a new connection before the old one was found dead.
        present.came(peer(3));
        present.left(peer(3));
        present.left(peer(2));
        assert!(present.is_here(peer(1)) && present.is_here(peer(3)) && !present.is_here(peer(2)));
        drop(present);

        let (present, absent) = open(place.path());
        assert_eq!(absent, [peer(1), peer(3)]);
        assert!(!present.is_here(peer(1)), "not yet");
        present.came(peer(1));
        present.give_up(peer(1));
        present.give_up(peer(3));
        assert!(present.is_here(peer(1)));
        drop(present);
        assert_eq!(open(place.path()).1, [peer(1)]);
    }

    #[test]
    fn one_that_is_killed_again_before_anybody_was_told_leaves_the_list_as_it_was() {
        let place = tempfile::tempdir().expect("a temporary directory");
        open(place.path()).0.came(peer(1));
        assert_eq!(open(place.path()).1, [peer(1)]);
        assert_eq!(open(place.path()).1, [peer(1)]);
    }

    #[test]
    fn half_a_line_is_passed_over() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let whole = line(true, peer(1)) + &line(true, peer(2));
        for end in 0..=whole.len() {
            fs::write(place.path().join("present"), &whole[..end]).expect("a file");
            let absent = open(place.path()).1;
            assert!(absent.len() <= 2, "{absent:?}");
            assert_eq!(absent.contains(&peer(1)), end >= line(true, peer(1)).len() - 1, "{end}");
        }
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (present, _) = open(place.path());
        present.came(peer(1));
        for _ in 0..2 * MOST_PAST {
            present.came(peer(2));
            present.left(peer(2));
        }
        let length = fs::metadata(place.path().join("present")).expect("a file").len();
        let most = (MOST_PAST + 3) * line(true, peer(1)).len();
        assert!(length <= most as u64, "{length} bytes");
        assert_eq!(open(place.path()).1, [peer(1)]);
    }
}
