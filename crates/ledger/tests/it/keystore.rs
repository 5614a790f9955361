//! Keys that other programs can read.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use alloy::signers::local::PrivateKeySigner;
use tempfile::TempDir;
use tidemill_ledger::keystore::{
    AccountName, Cost, Keystore, KeystoreError, Password, PasswordError, PasswordSource, SealError, SecretKey,
};

use crate::foundry;

fn keystore() -> (TempDir, Keystore) {
    let directory = tempfile::tempdir().expect("there is room");
    let keystore = Keystore::new(directory.path().join("accounts")).with_cost(Cost::LIGHT);
    (directory, keystore)
}

fn name(text: &str) -> AccountName {
    text.parse().expect("a name")
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).expect("not empty")
}

#[test]
fn an_account_is_found_by_name_and_by_address() {
    let (_directory, keystore) = keystore();
    let made = keystore.create(&name("alice"), &password("tide")).expect("there is room");
    let by_name = keystore.unlock("alice", &password("tide")).expect("the password is right");
    let by_address = keystore.unlock(&made.address().to_string(), &password("tide")).expect("it is there");
    assert_eq!(by_name.address(), made.address());
    assert_eq!(by_address.name().as_str(), "alice");
    let listed = keystore.list().expect("it can be read");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].address, Some(made.address()));
}

#[test]
fn a_wrong_password_and_an_unknown_name_are_told_apart() {
    let (_directory, keystore) = keystore();
    keystore.create(&name("alice"), &password("tide")).expect("there is room");
    let error = keystore.unlock("alice", &password("mill")).expect_err("another password");
    assert!(matches!(error, KeystoreError::Sealed { source: SealError::WrongPassword, .. }), "{error}");
    let error = keystore.unlock("bob", &password("tide")).expect_err("nobody").to_string();
    assert!(error.contains("\"bob\"") && error.contains("there are: alice"), "{error}");
}

#[test]
fn nothing_is_overwritten_and_no_key_is_there_twice() {
    let (_directory, keystore) = keystore();
    let key: SecretKey = "11".repeat(32).parse().expect("a key");
    keystore.import(&name("alice"), &key, &password("tide")).expect("there is room");
    let again = keystore.create(&name("alice"), &password("tide")).expect_err("taken");
    assert!(matches!(again, KeystoreError::Exists { .. }), "{again}");
    let same = keystore.import(&name("bob"), &key, &password("tide")).expect_err("the same key");
    assert!(matches!(same, KeystoreError::SameKey { .. }), "{same}");
    assert_eq!(fs::read_dir(keystore.directory()).expect("it is there").count(), 1, "no drafts are left");
}

#[test]
fn keys_are_for_their_owners_eyes() {
    let (_directory, keystore) = keystore();
    let account = keystore.create(&name("alice"), &password("tide")).expect("there is room");
    let path = keystore.directory().join("alice.json");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let error = keystore.unlock("alice", &password("tide")).expect_err("others could read it");
    assert!(matches!(error, KeystoreError::Open { mode: 0o644, .. }), "{error}");
    let secret = format!("{:x}", account.signer().to_bytes());
    assert!(!format!("{account:?}{:?}", account.signer()).contains(&secret));
    assert_eq!(format!("{:?}", password("tide")), "Password(..)");
}

#[test]
fn the_customary_library_reads_it() {
    let (_directory, keystore) = keystore();
    let account = keystore.create(&name("alice"), &password("tide")).expect("there is room");
    let path = keystore.directory().join("alice.json");
    let theirs = PrivateKeySigner::decrypt_keystore(path, "tide").expect("it is the same format");
    assert_eq!(theirs.address(), account.address());
}

#[test]
fn cast_reads_ours_and_we_read_casts() {
    let (directory, keystore) = keystore();
    let account = keystore.create(&name("alice"), &password("tide")).expect("there is room");
    let cast = || Command::new(foundry::program("cast"));
    let ours = keystore.directory().join("alice.json");
    let output =
        cast().args(["wallet", "address", "--keystore"]).arg(&ours).args(["--password", "tide"]).output();
    let said = String::from_utf8(output.expect("cast runs").stdout).expect("it is text");
    assert_eq!(said.trim(), account.address().to_string());

    let theirs = directory.path().join("theirs");
    fs::create_dir(&theirs).expect("there is room");
    let key = format!("0x{:x}", account.signer().to_bytes());
    let import = ["wallet", "import", "alice.json", "--unsafe-password", "mill", "--private-key", &key];
    let status = cast().args(import).arg("--keystore-dir").arg(&theirs).output().expect("cast runs").status;
    assert!(status.success());
    fs::set_permissions(theirs.join("alice.json"), fs::Permissions::from_mode(0o600)).expect("it is ours");
    let read = Keystore::new(theirs).unlock("alice", &password("mill")).expect("it is the same format");
    assert_eq!(read.address(), account.address());
}

#[test]
fn damaged_files_are_refused_and_not_listed() {
    let (_directory, keystore) = keystore();
    keystore.create(&name("alice"), &password("tide")).expect("there is room");
    let path = keystore.directory().join("alice.json");
    let text = fs::read_to_string(&path).expect("it is there");
    let dear = text.replace("\"n\":4096", "\"n\":1073741824");
    fs::write(&path, dear).expect("it is ours");
    let error = keystore.unlock("alice", &password("tide")).expect_err("it would take a terabyte");
    assert!(matches!(error, KeystoreError::Sealed { source: SealError::Unsupported(_), .. }), "{error}");
    for end in 0..text.len() - 2 {
        fs::write(&path, &text[..end]).expect("it is ours");
        assert!(keystore.list().expect("the directory is fine").is_empty());
    }
}

#[test]
fn names_are_plain() {
    for bad in ["", "-a", "../a", "a/b", "A", "0x12", "a b", "ä", &"a".repeat(33)] {
        assert!(bad.parse::<AccountName>().is_err(), "{bad}");
    }
    for good in ["a", "lab-7", "2nd.account_x"] {
        assert!(good.parse::<AccountName>().is_ok(), "{good}");
    }
}

#[test]
fn secret_keys_are_read_with_care() {
    let zero = "00".repeat(32);
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    for bad in ["", "0x", "12", &zero, order, &"zz".repeat(32)] {
        assert!(bad.parse::<SecretKey>().is_err(), "{bad}");
    }
    assert!(format!(" 0x{}\n", "1a".repeat(32)).parse::<SecretKey>().is_ok());
}

#[test]
fn passwords_come_from_where_they_are_said_to() {
    let directory = tempfile::tempdir().expect("there is room");
    let nobody = || panic!("nobody is asked");
    let file = |text: &str| -> PathBuf {
        let path = directory.path().join("password");
        fs::write(&path, text).expect("there is room");
        path
    };
    let read = |text: &str| PasswordSource::File(file(text)).read(nobody);
    assert!(read("tide\r\n").expect("one line") == password("tide"));
    assert!(matches!(read("tide\nmill\n"), Err(PasswordError::NotALine(_))));
    assert!(matches!(read("\n"), Err(PasswordError::Empty)));
    let unset = PasswordSource::Environment("TIDEMILL_NO_SUCH_VARIABLE".to_owned());
    assert!(matches!(unset.read(nobody), Err(PasswordError::Environment(_))));
    let asked = PasswordSource::Prompt.read(|| Ok("tide".to_owned()));
    assert!(asked.expect("a person answered") == password("tide"));
}
