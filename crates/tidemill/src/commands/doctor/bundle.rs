//! What a bug report needs, in one text that a person can read before it is sent: no keys, tickets and passwords.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use tidemill_api::Doctor;
use tidemill_types::lines;

use crate::{
    exit::{Code, WithCode},
    home::data_directory,
};

/// What stands in the place of a secret.
const REMOVED: &str = "(removed)";

/// A run of letters and digits of this length may be a key, a ticket or a pass. Addresses have 40 digits and are public.
const SECRET_LEN: usize = 41;

/// What of a log is taken: its end.
const LOG_BYTES: u64 = 64 << 10;

/// Files of a home that are listed; a report is for people.
const MOST_FILES: usize = 400;

/// How deep a home is looked into.
const DEEP: usize = 4;

/// Variables whose values say nothing secret.
const PLAIN: &[&str] =
    &["TIDEMILL_HOME", "TIDEMILL_LOG", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TMPDIR", "LANG"];

/// Files of the system that say what machine it is.
const SYSTEM: &[&str] = &["/etc/os-release", "/proc/version", "/proc/self/limits", "/proc/self/cgroup"];

/// Writes the bundle, for its owner's eyes.
///
/// # Errors
/// With [`Code::Host`] when the disk does not take it.
pub fn write(file: &Path, report: &Doctor) -> anyhow::Result<()> {
    let home = data_directory().code(Code::Host)?;
    let text = text(&home, report);
    let context = || format!("cannot write {}", file.display());
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    let mut opened = opened.with_context(context).code(Code::Host)?;
    std::io::Write::write_all(&mut opened, text.as_bytes()).with_context(context).code(Code::Host)
}

fn text(home: &Path, report: &Doctor) -> String {
    let mut text = String::new();
    let findings = serde_json::to_string_pretty(report).unwrap_or_default();
    section(&mut text, "tidemill doctor", &findings);
    for path in SYSTEM {
        section(&mut text, path, &fs::read_to_string(path).unwrap_or_default());
    }
    section(
        &mut text,
        "/proc/cpuinfo",
        &first_processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
    );
    section(&mut text, "environment", &environment(std::env::vars_os()));
    let mut files = Vec::new();
    list(home, Path::new(""), DEEP, &mut files);
    files.sort();
    section(&mut text, "the home", &listing(home, &files));
    for log in files.iter().filter(|path| path.file_name().is_some_and(|name| name == "log")) {
        section(&mut text, &log.display().to_string(), &end(&home.join(log)));
    }
    let text = without_secrets(&text);
    match std::env::var("HOME") {
        Ok(user) if user.len() > 1 => text.replace(&user, "~"),
        _ => text,
    }
}

fn section(text: &mut String, head: &str, body: &str) {
    let _ = writeln!(text, "== {head}\n{}\n", lines(body.trim_end()));
}

/// The first of the processors, which are alike.
fn first_processor(text: &str) -> String {
    text.split("\n\n").next().unwrap_or_default().to_owned()
}

/// Tidemill's variables; of others nothing is told.
fn environment(variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>) -> String {
    let mut told: Vec<String> = variables
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let is_plain = PLAIN.contains(&name.as_str());
            match (is_plain, name.starts_with("TIDEMILL_")) {
                (true, _) => Some(format!("{name}={}", value.to_string_lossy())),
                (false, true) => Some(format!("{name}={REMOVED}")),
                (false, false) => None,
            }
        })
        .collect();
    told.sort();
    told.join("\n")
}

fn list(home: &Path, below: &Path, deep: usize, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(home.join(below)).into_iter().flatten().flatten();
    for entry in entries {
        if found.len() >= MOST_FILES {
            return;
        }
        let path = below.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && deep > 1 => list(home, &path, deep - 1, found),
            _ => found.push(path),
        }
    }
}

/// Modes, sizes and names: no content.
fn listing(home: &Path, files: &[PathBuf]) -> String {
    let line = |path: &PathBuf| match fs::symlink_metadata(home.join(path)) {
        Ok(metadata) => format!("{:03o} {:>12} {}", metadata.mode() & 0o777, metadata.len(), path.display()),
        Err(error) => format!("{} ({error})", path.display()),
    };
    files.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The end of a log.
fn end(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(LOG_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| error.to_string())
}

/// A text without what may be a secret: long runs of letters and digits, and logins in URLs. Hashes go with the keys that
/// they look like.
fn without_secrets(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(at) = rest.find(is_word) {
        let (before, from) = rest.split_at(at);
        clean.push_str(before);
        let len = from.find(|c| !is_word(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(len);
        let digits = word.strip_prefix("0x").unwrap_or(word);
        let is_name = !word.bytes().any(|byte| byte.is_ascii_digit());
        clean.push_str(if digits.len() >= SECRET_LEN && !is_name { REMOVED } else { word });
        rest = after;
    }
    clean.push_str(rest);
    clean.split_inclusive([' ', '\n', '"']).map(without_login).collect()
}

/// A URL without the name and password before its host, and without what stands behind its path: keys of services are
/// written there.
pub fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', ' ', '"', '\n']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    let place = match place.rsplit_once('@') {
        Some((_, host)) => format!("{REMOVED}@{host}"),
        None => place.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, query)) => {
            let after = query.find([' ', '"', '\n']).map_or("", |at| &query[at..]);
            format!("{path}?{REMOVED}{after}")
        }
        None => path.to_owned(),
    };
    format!("{scheme}://{place}{path}")
}

#[cfg(test)]
mod tests {
    use tidemill_api::{Check, Grade};
    use tidemill_net::{
        key::KeyKind,
        ticket::{Pass, Ticket},
    };
    use tidemill_types::NodeId;

    use super::*;
    use crate::home::key;

    #[test]
    fn keys_tickets_and_logins_are_removed() {
        let address = "127.0.0.1:4433".parse().expect("an address");
        let pass = Pass::from_bytes([1; 16]);
        let ticket = Ticket::new(NodeId([7; 32]), vec![address], pass).expect("a ticket").to_string();
        let secret = "ab12".repeat(16);
        let account = "0x52908400098527886E0F7030069857D2E4169EE7";
        let text =
            format!("join {ticket}, key 0x{secret} {secret}; {account} http://ann:pw@host:1/v1?key=abc end");
        let clean = without_secrets(&text);
        for secret in [ticket.as_str(), &secret, "ann:pw", "key=abc"] {
            assert!(!clean.contains(secret), "{clean}");
        }
        for kept in ["join ", account, "@host:1/v1", " end"] {
            assert!(clean.contains(kept), "{kept}: {clean}");
        }
        assert_eq!(without_login("http://127.0.0.1:8545"), "http://127.0.0.1:8545");
    }

    #[test]
    fn a_bundle_tells_of_files_and_not_what_is_in_them() {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir(home.path().join("keys")).expect("a directory");
        let secret = key(&home.path().join("keys/node.key"), KeyKind::Node).expect("a new key");
        let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::create_dir(home.path().join("ledger")).expect("a directory");
        fs::write(home.path().join("ledger/log"), format!("began\nwith {digits}\n")).expect("a file");
        let report = Doctor::of("1", vec![Check::new("disk", Grade::Good, "there is room")]);
        let text = text(home.path(), &report);
        assert!(text.contains("600") && text.contains("keys/node.key"), "{text}");
        assert!(text.contains("began") && text.contains("there is room"), "{text}");
        assert!(!text.contains(&digits), "the log had the key");
    }

    #[test]
    fn of_the_environment_only_plain_values_are_told() {
        let variables = [("TIDEMILL_LOG", "info"), ("TIDEMILL_PASSWORD", "hunter2"), ("AWS_SECRET", "x")];
        let told = environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(told, "TIDEMILL_LOG=info\nTIDEMILL_PASSWORD=(removed)");
    }
}
