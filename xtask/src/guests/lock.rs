//! `examples/guests.lock`: what the built programs are, and what they were built from.
//!
//! Each line is `<BLAKE3>  <bytes>  <path>`, sorted by path. The path of a built program is its file; the path
//! of its sources is their folder, whose hash covers the names and contents of all of them.

use crate::tidy::Finding;

/// A line of the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    path: String,
    bytes: u64,
    hash: String,
}

impl Entry {
    /// The entry of one file.
    pub fn of_bytes(path: String, bytes: &[u8]) -> Self {
        Self { path, bytes: bytes.len() as u64, hash: blake3::hash(bytes).to_hex().to_string() }
    }

    /// The entry of a folder of sources, given sorted by path. Names and lengths go into the hash, so that no
    /// two different sets of files have the same input.
    pub fn of_sources(path: String, files: &[(&str, Vec<u8>)]) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        for (name, content) in files {
            for part in [name.as_bytes(), content] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            bytes += content.len() as u64;
        }
        Self { path, bytes, hash: hasher.finalize().to_hex().to_string() }
    }
}

/// The text of the lock file.
pub fn write(entries: &[Entry]) -> String {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries.iter().map(|entry| format!("{}  {}  {}\n", entry.hash, entry.bytes, entry.path)).collect()
}

/// Compares the lock file with what is there. `expected` is what has to be listed: the program and the sources
/// of each guest.
pub fn compare(lock: &str, text: &str, actual: &[Entry], expected: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut listed = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some(entry) = parse(line) else {
            let message = "not a line `<hash>  <bytes>  <path>`: run cargo xtask guests";
            findings.push(Finding::new(lock, at + 1, message));
            continue;
        };
        let message = match actual.iter().find(|there| there.path == entry.path) {
            Some(there) if *there == entry => None,
            Some(_) if entry.path.ends_with(".wasm") => Some("is not the program that was built"),
            Some(_) => Some("changed since the program was built"),
            None => Some("is listed, but not there"),
        };
        if let Some(message) = message {
            findings.push(Finding::new(
                lock,
                at + 1,
                format!("{} {message}: run cargo xtask guests", entry.path),
            ));
        }
        listed.push(entry.path);
    }
    let mut needed: Vec<&String> = actual.iter().map(|entry| &entry.path).chain(expected).collect();
    needed.sort();
    needed.dedup();
    for path in needed.into_iter().filter(|path| !listed.contains(path)) {
        findings.push(Finding::new(lock, 1, format!("{path} is not listed: run cargo xtask guests")));
    }
    findings
}

fn parse(line: &str) -> Option<Entry> {
    let mut parts = line.split("  ");
    let (hash, bytes, path) = (parts.next()?, parts.next()?, parts.next()?);
    let entry = Entry { path: path.to_owned(), bytes: bytes.parse().ok()?, hash: hash.to_owned() };
    parts.next().is_none().then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            Entry::of_sources("examples/a/program".into(), &[("src/main.rs", b"fn main() {}".to_vec())]),
            Entry::of_bytes("examples/a/a.wasm".into(), b"\0asm"),
        ]
    }

    fn expected() -> Vec<String> {
        vec!["examples/a/a.wasm".into(), "examples/a/program".into()]
    }

    fn messages(text: &str, actual: &[Entry]) -> Vec<String> {
        compare("lock", text, actual, &expected()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_written_is_current() {
        let text = write(&entries());
        let paths: Vec<_> = text.lines().filter_map(|line| line.split("  ").nth(2)).collect();
        assert_eq!(paths, ["examples/a/a.wasm", "examples/a/program"]);
        assert_eq!(messages(&text, &entries()), Vec::<String>::new());
    }

    #[test]
    fn a_changed_program_and_a_changed_source_are_found() {
        let text = write(&entries());
        let mut changed = entries();
        changed[0] = Entry::of_sources("examples/a/program".into(), &[("src/main.rs", b"".to_vec())]);
        assert_eq!(
            messages(&text, &changed),
            ["lock:2: examples/a/program changed since the program was built: run cargo xtask guests"]
        );
        let mut changed = entries();
        changed[1] = Entry::of_bytes("examples/a/a.wasm".into(), b"\0ASM");
        assert_eq!(
            messages(&text, &changed),
            ["lock:1: examples/a/a.wasm is not the program that was built: run cargo xtask guests"]
        );
    }

    #[test]
    fn a_missing_or_unlisted_program_is_found() {
        let text = write(&entries());
        assert_eq!(messages(&text, &entries()[..1]).len(), 1);
        assert_eq!(messages("", &entries()).len(), 2);
        assert_eq!(messages("", &[]).len(), 2);
        assert_eq!(messages("nonsense\n", &[]).len(), 3);
    }

    #[test]
    fn the_hash_of_sources_covers_names_and_borders() {
        let hash = |files: &[(&str, Vec<u8>)]| Entry::of_sources(String::new(), files).hash;
        let a = hash(&[("a", b"b".to_vec())]);
        assert_ne!(a, hash(&[("ab", b"".to_vec())]));
        assert_ne!(a, hash(&[("a", b"".to_vec()), ("b", b"".to_vec())]));
    }
}
