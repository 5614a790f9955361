//! No stream, environment, argument or limit makes the binary panic or end without a code of its own.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::unix::{ffi::OsStrExt, process::ExitStatusExt},
    process::{Command, Stdio},
};

use crate::support::{Place, TIDEMILL};

/// One call of each command that ends soon, most of them with an error.
const CALLS: &[&[&str]] = &[
    &[],
    &["--help"],
    &["--version"],
    &["no-such-command"],
    &["run", "job.toml", "--dry-run"],
    &["run", "job.toml", "--dry-run", "--json"],
    &["run", "job.toml", "--here", "--out", "o"],
    &["run", "missing.toml"],
    &["run", "wrong.toml"],
    &["submit", "job.toml"],
    &["status"],
    &["logs", "0000", "0"],
    &["fetch", "0000"],
    &["cancel", "0000"],
    &["remove", "0000"],
    &["explain", "0000"],
    &["providers"],
    &["reputation"],
    &["join", "no-ticket"],
    &["provide", "--join", "no-ticket"],
    &["serve", "--bind", "no-address"],
    &["up", "--providers", "0"],
    &["escrow", "list"],
    &["earnings"],
    &["collect"],
    &["keys"],
    &["doctor"],
    &["ledger", "status"],
    &["ledger", "start", "--dev", "--listen", "0.0.0.0:0"],
    &["wallet", "list"],
    &["wallet", "balance", "nobody"],
    &["bond", "1 TIDE"],
    &["unbond", "1 TIDE"],
    &["delegate", "1 TIDE", "nobody"],
    &["undelegate", "1 TIDE", "nobody"],
    &["withdraw"],
    &["exec", "puppet.wasm", "--", "exit"],
    &["exec", "missing.wasm"],
    &["bench"],
    &["sim"],
];

fn place() -> Place {
    let place = Place::at_home("home");
    place.job("name = \"robust\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"quick\"]\n");
    place.write("wrong.toml", b"name = \"\xff\"\n= =\n[tasks]\nfiles = 1\n");
    place
}

/// Runs every command as `change` makes it, and requires that it ends by itself and without a panic.
fn all(what: &str, change: impl Fn(&mut Command)) {
    let place = place();
    for args in CALLS {
        let mut command = place.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        change(&mut command);
        let status = command.status().expect("the binary starts");
        assert_eq!(status.signal(), None, "{what}: {args:?}");
        assert_ne!(status.code(), Some(101), "{what}: {args:?} panicked");
    }
}

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("a full device")
}

#[test]
fn no_full_device_makes_a_command_panic() {
    all("a full standard error", |command| {
        command.stderr(full());
    });
    all("a full standard output", |command| {
        command.stdout(full());
    });
}

#[test]
fn a_full_standard_error_does_not_change_the_exit_code() {
    let place = place();
    let code = |args: &[&str], stderr: Stdio| {
        let mut command = place.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).status().expect("it starts").code()
    };
    for (args, expected) in [
        (&["run", "missing.toml"][..], 2),
        (&["run", "job.toml", "--here", "--out", "o"], 0),
        (&["exec", "puppet.wasm", "--", "exit"], 1),
    ] {
        assert_eq!(code(args, Stdio::null()), Some(expected), "{args:?}");
        assert_eq!(code(args, full().into()), Some(expected), "{args:?} on a full device");
    }
}

#[test]
fn a_job_is_paid_for_where_paths_are_not_utf8() {
    let place = place();
    let odd = place.path("").join(OsStr::from_bytes(b"odd \xff"));
    fs::create_dir(&odd).expect("a directory");
    for name in ["job.toml", "puppet.wasm"] {
        fs::copy(place.path(name), odd.join(name)).expect("a copy");
    }
    let mut command = place.command(&["run", "job.toml", "--json", "--out", "o"]);
    let ran = command.current_dir(&odd).env("TIDEMILL_HOME", odd.join("home")).output().expect("it starts");
    let words = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{words}");
    let summary: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    assert_eq!(summary["outcome"], "done", "{summary}");
}

/// The binary by way of a shell, which can close its streams and set its limits first.
fn by_shell(what: &str, script: &str) {
    let place = place();
    for args in CALLS {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{script}\nexec \"$0\" \"$@\""), TIDEMILL]).args(*args);
        command.current_dir(place.path("")).env("TIDEMILL_HOME", place.path("home"));
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let status = status.expect("a shell");
        assert_eq!(status.signal(), None, "{what}: {args:?}");
        assert_ne!(status.code(), Some(101), "{what}: {args:?} panicked");
    }
}

#[test]
fn no_closed_stream_makes_a_command_panic() {
    by_shell("all streams closed", "exec 0<&- 1>&- 2>&-");
    by_shell("standard error closed", "exec 2>&-");
}

#[test]
fn a_limit_on_the_size_of_files_ends_in_words() {
    by_shell("no file may hold anything", "ulimit -f 0");
    let place = place();
    // Compiled code is kept before there is a limit.
    place.tidemill(&["exec", "puppet.wasm", "--out", "o", "--", "quick"]).code(0);
    let mut command = Command::new("sh");
    let script = "ulimit -f 100; exec \"$0\" exec puppet.wasm --out o -- large";
    command
        .args(["-c", script, TIDEMILL])
        .current_dir(place.path(""))
        .env("TIDEMILL_HOME", place.path("home"));
    let ran = command.output().expect("a shell");
    let words = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(4), "{words}");
    assert!(words.contains("File too large") && words.contains("ulimit"), "{words}");
}

#[test]
fn no_environment_makes_a_command_panic() {
    let odd = OsStr::from_bytes(b"\xff\xfe");
    all("no environment", |command| {
        command.env_clear();
    });
    for name in [
        "HOME",
        "TIDEMILL_HOME",
        "TIDEMILL_JOIN",
        "TIDEMILL_LOG",
        "TIDEMILL_PASSWORD",
        "LANG",
        "LC_ALL",
        "TERM",
        "XDG_DATA_HOME",
        "TMPDIR",
    ] {
        for value in [odd, OsStr::new(""), OsStr::new("/nonexistent/\n\u{1b}[31m")] {
            // Where a home is made of such a name, it is below the test's own directory.
            if matches!(name, "HOME" | "TIDEMILL_HOME" | "XDG_DATA_HOME")
                && value.as_bytes().starts_with(b"/")
            {
                continue;
            }
            all(name, |command| {
                command.env(name, value);
            });
        }
    }
}

#[test]
fn no_argument_makes_a_command_panic() {
    let place = place();
    for args in CALLS.iter().filter(|args| !args.is_empty()) {
        for odd in [&b"\xff"[..], b"", b"--", b"--=", b"\n", "\u{202e}".as_bytes(), &[b'a'; 5000]] {
            let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
            args.push(OsStr::from_bytes(odd).to_owned());
            let mut command = place.command(&args);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let status = command.status().expect("the binary starts");
            assert_eq!(status.signal(), None, "{args:?}");
            assert_ne!(status.code(), Some(101), "{args:?} panicked");
        }
    }
}

#[test]
fn a_limit_on_address_space_is_enough_or_named() {
    let place = place();
    let exec = |kib: u64| {
        let mut command = Command::new("sh");
        let script = format!("ulimit -v {kib}; exec \"$0\" exec puppet.wasm --out o -- quick");
        command.args(["-c", &script, TIDEMILL]);
        command.current_dir(place.path("")).env("TIDEMILL_HOME", place.path("home"));
        command.output().expect("a shell")
    };
    let enough = exec(12 << 20);
    assert_eq!(enough.status.code(), Some(0), "{}", String::from_utf8_lossy(&enough.stderr));
    for kib in [4 << 20, 200 << 10] {
        let short = exec(kib);
        let words = String::from_utf8_lossy(&short.stderr);
        assert_eq!(short.status.code(), Some(4), "{words}");
        assert!(words.contains("`ulimit -v`"), "{words}");
    }
}
