//! Whether what the binary prints is what the types of `tidemill_api` say.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tidemill_api as api;

/// Checks that a value is of this type: nothing is missing, and nothing is there that the type does not know.
#[track_caller]
fn is_a<T: Serialize + DeserializeOwned>(value: &Value) {
    let typed =
        serde_json::from_value::<T>(value.clone()).unwrap_or_else(|error| panic!("{error} in {value}"));
    assert_eq!(serde_json::to_value(typed).expect("it is plain data"), *value);
}

/// Checks a line of a command that goes on.
#[track_caller]
pub fn is_a_line(value: &Value) {
    fn is<T: Serialize + DeserializeOwned>(value: &Value) -> bool {
        let typed = serde_json::from_value::<T>(value.clone());
        typed.is_ok_and(|typed| serde_json::to_value(typed).is_ok_and(|again| again == *value))
    }
    let is_any = is::<api::ServeLine>(value)
        || is::<api::ProvideLine>(value)
        || is::<api::UpLine>(value)
        || is::<api::LedgerLine>(value)
        || is::<api::FollowLine>(value);
    assert!(is_any, "no command says that it tells this: {value}");
}

/// Checks what a command with these arguments printed, if that was JSON.
#[track_caller]
pub fn check(args: &[String], stdout: &str) {
    // What follows `--` is for the program that it runs.
    let args: Vec<&str> = args.iter().map(String::as_str).take_while(|arg| *arg != "--").collect();
    if stdout.is_empty() || !args.contains(&"--json") {
        return;
    }
    let parse = |text: &str| -> Value {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
    };
    match args.as_slice() {
        // Measurements: they change with what is measured.
        ["bench" | "sim", ..] => {}
        ["provide" | "serve" | "up", ..] | ["ledger", "start", ..] => {
            stdout.lines().for_each(|line| is_a_line(&parse(line)));
        }
        ["logs", ..] if args.contains(&"--follow") => {
            stdout.lines().for_each(|line| is_a_line(&parse(line)));
        }
        args => is_printed_by(args, &parse(stdout)),
    }
}

/// `args`: the words of the command come first.
#[track_caller]
fn is_printed_by(args: &[&str], value: &Value) {
    match args {
        ["api-key", "fund", ..] => is_a::<api::OpenedEscrow>(value),
        ["api-key", "list", ..] => is_a::<Vec<api::ApiKey>>(value),
        ["api-key", "new", ..] => is_a::<api::MadeApiKey>(value),
        ["bond" | "delegate" | "unbond" | "undelegate" | "withdraw", ..] => is_a::<api::Transactions>(value),
        ["doctor", ..] => is_a::<api::Doctor>(value),
        ["earnings", ..] => is_a::<api::Earnings>(value),
        ["escrow", "end", ..] if value.get("payment").is_some() => is_a::<api::SettledEscrow>(value),
        ["escrow", "end" | "refund" | "top-up", ..] => is_a::<api::Transactions>(value),
        ["escrow", "list", ..] => is_a::<api::Escrows>(value),
        ["escrow", "open", ..] => is_a::<api::OpenedEscrow>(value),
        ["collect", ..] => is_a::<api::Collected>(value),
        ["evidence", "check", ..] => is_a::<api::CheckedEvidence>(value),
        ["evidence", ..] => is_a::<api::WrittenEvidence>(value),
        ["exec", ..] => is_a::<api::Exec>(value),
        ["explain", ..] => is_a::<api::Explanation>(value),
        ["join", ..] => is_a::<api::RememberedNetwork>(value),
        ["keys", ..] => is_a::<api::Keys>(value),
        ["ledger", "deploy", ..] => is_a::<api::DeployedLedger>(value),
        ["ledger", "status", ..] => is_a::<api::LedgerStatus>(value),
        ["ledger", "use", ..] => is_a::<api::RememberedLedger>(value),
        ["logs", ..] => is_a::<api::Log>(value),
        ["models", "list", ..] => is_a::<Vec<api::NamedModel>>(value),
        ["pass", "list", ..] => is_a::<Vec<api::Pass>>(value),
        ["pass", "new", ..] => is_a::<api::NewPass>(value),
        ["pass", "revoke", ..] => is_a::<api::Pass>(value),
        ["providers", ..] => is_a::<Vec<api::Provider>>(value),
        ["receipt", ..] => is_a::<api::Receipt>(value),
        ["reputation", ..] => is_a::<api::Reputation>(value),
        ["run", ..] if args.contains(&"--dry-run") => is_a::<api::DryRun>(value),
        ["run", ..] => is_a::<api::Run>(value),
        ["status", ..] if value.is_array() => is_a::<Vec<api::Job>>(value),
        ["status" | "cancel" | "fetch" | "remove", ..] => is_a::<api::Job>(value),
        ["submit", ..] => is_a::<api::Submitted>(value),
        ["wallet", "balance", ..] => is_a::<Vec<api::Balance>>(value),
        ["wallet", "import" | "new", ..] => is_a::<api::Account>(value),
        ["wallet", "list", ..] => is_a::<Vec<api::Account>>(value),
        ["wallet", "pending", ..] => is_a::<api::PendingTransactions>(value),
        ["wallet", "send", ..] => is_a::<api::Transaction>(value),
        _ => panic!("tests/it/typed.rs does not say what `tidemill {}` prints", args.join(" ")),
    }
}
