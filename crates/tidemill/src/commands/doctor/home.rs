//! The home: its directory, its keys.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use tidemill_api::{Check, Grade};
use tidemill_net::{endpoint::node_id, key::KeyKind};
use tidemill_types::ResultKey;

use super::Findings;
use crate::{
    exit::{Exit, causes},
    home::{self, RESULT_KEY, data_directory},
};

/// Looks at the home of this user.
pub fn look(findings: &mut Findings) {
    match data_directory() {
        Ok(directory) => {
            findings.add(directory_check(&directory));
            findings.add(keys(&directory.join("keys")));
        }
        Err(error) => findings.add(broken("home", &error)),
    }
}

/// Something that the product itself could not do, with its own hint.
pub fn broken(name: &str, error: &anyhow::Error) -> Check {
    let check = Check::new(name, Grade::Fault, causes(error));
    match error.downcast_ref::<Exit>().and_then(Exit::hint_text) {
        Some(hint) => check.mend(hint),
        None => check,
    }
}

/// A directory that its owner alone may enter.
fn directory_check(directory: &Path) -> Check {
    let shown = directory.display();
    match fs::metadata(directory) {
        Err(error) => Check::new("home", Grade::Fault, format!("{shown} cannot be read: {error}"))
            .mend("set TIDEMILL_HOME to a directory of yours"),
        Ok(metadata) if !metadata.is_dir() => {
            Check::new("home", Grade::Fault, format!("{shown} is not a directory"))
                .mend("set TIDEMILL_HOME to a directory of yours")
        }
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            let mode = metadata.mode() & 0o777;
            let found = format!("{shown} is open to other users (its mode is {mode:03o})");
            Check::new("home", Grade::Warning, found).mend(format!("chmod 700 {shown}"))
        }
        Ok(_) => Check::new("home", Grade::Good, format!("{shown}, which its owner alone may enter")),
    }
}

/// The keys, which are read and not made.
fn keys(directory: &Path) -> Check {
    let (node, result) = (directory.join("node.key"), directory.join(RESULT_KEY));
    if !node.exists() && !result.exists() {
        let found = "there are none yet; the first command that needs them makes them";
        return Check::new("keys", Grade::Note, found);
    }
    for file in [&node, &result] {
        if !file.exists() {
            let found = format!("{} is missing, and the other key is there", file.display());
            return Check::new("keys", Grade::Warning, found)
                .mend("restore it from a copy; without one, a new key is made, under another identity");
        }
    }
    let read = || -> anyhow::Result<String> {
        let node = node_id(&home::key(&node, KeyKind::Node)?);
        let account = ResultKey::from_bytes(&home::key(&result, KeyKind::Result)?)?.address();
        Ok(format!("node {}, account {account}; only their owner may read them", node.short()))
    };
    match read() {
        Ok(found) => Check::new("keys", Grade::Good, found),
        Err(error) => broken("keys", &error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn a_directory_that_others_may_enter_is_named() {
        let place = tempfile::tempdir().expect("a directory");
        mode(place.path(), 0o700);
        assert_eq!(directory_check(place.path()).grade, Grade::Good);
        mode(place.path(), 0o755);
        let open = directory_check(place.path());
        assert_eq!(open.grade, Grade::Warning);
        assert!(open.mend.expect("a command").starts_with("chmod 700 "));
        assert_eq!(directory_check(&place.path().join("missing")).grade, Grade::Fault);
    }

    #[test]
    fn keys_are_read_and_never_made() {
        let place = tempfile::tempdir().expect("a directory");
        assert_eq!(keys(place.path()).grade, Grade::Note);
        assert_eq!(fs::read_dir(place.path()).expect("it is there").count(), 0, "nothing was made");
        for (name, kind) in [("node.key", KeyKind::Node), (RESULT_KEY, KeyKind::Result)] {
            home::key(&place.path().join(name), kind).expect("a new key");
        }
        assert_eq!(keys(place.path()).grade, Grade::Good);
        mode(&place.path().join(RESULT_KEY), 0o644);
        let open = keys(place.path());
        assert_eq!(open.grade, Grade::Fault);
        assert!(open.mend.expect("a hint").contains("chmod 600"));
        fs::remove_file(place.path().join("node.key")).expect("it is there");
        assert_eq!(keys(place.path()).grade, Grade::Warning);
    }
}
