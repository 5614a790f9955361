//! `tidemill wallet import`: an account with a key that exists.

use std::{
    io::{self, IsTerminal, Read},
    path::PathBuf,
};

use anyhow::Context;
use tidemill_ledger::keystore::{AccountName, SecretKey};
use tidemill_net::key::KeyKind;

use super::new::print;
use crate::{
    commands::read_file,
    exit::{Code, Exit, WithCode},
    ledger::{NewPassword, keystore, refused},
};

/// Take a key that you have into this home: 64 hexadecimal digits, from a file or from standard input.
///
/// An encrypted key file of geth or cast needs no import: put it into the directory of accounts as NAME.json.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill wallet import ann --key-file key.txt
  tidemill wallet import ann                           asks for the key, without showing it
  tidemill wallet import node --key-file keys/result.key
                                                       the key of this home's node (`tidemill keys` says where it is),
                                                       to withdraw what its providers have earned
Never give a key as an argument: others on the machine, and the shell's history, would see it.")]
pub struct Args {
    /// What the account is to be called here: a-z, 0-9, '.', '-', '_'
    name: AccountName,
    /// The file with the key [default: standard input]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    password: NewPassword,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// The digits in a text: a node's file with its key has a line before them that says what it is.
fn digits(text: &str) -> &str {
    match text.split_once('\n') {
        Some((head, digits)) if head == KeyKind::Result.first_line() => digits.trim(),
        _ => text.trim(),
    }
}

/// Far more than the digits of a key.
const MAX_KEY_BYTES: u64 = 1 << 10;

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let text = match &args.key_file {
        Some(file) => {
            String::from_utf8(read_file(file, MAX_KEY_BYTES).code(Code::Usage)?).unwrap_or_default()
        }
        None if io::stdin().is_terminal() => {
            let asked = rpassword::prompt_password(format!("secret key of {}: ", args.name));
            asked.context("cannot ask for the key").code(Code::Host)?
        }
        None => {
            let mut text = String::new();
            let read = io::stdin().take(MAX_KEY_BYTES).read_to_string(&mut text);
            read.context("cannot read the key from standard input").code(Code::Usage)?;
            text
        }
    };
    let key: SecretKey = digits(&text).parse().map_err(|error| {
        Exit::new(Code::Usage, format!("{error}")).hint("a key is 64 hexadecimal digits, with or without 0x")
    })?;
    let password = args.password.read(&args.name)?;
    let account = keystore()?.import(&args.name, &key, &password).map_err(refused)?;
    print(&account, args.json)
}
