//! Which network a command is for: `--join`, else `TIDEMILL_JOIN`, else what `tidemill join` wrote down, else the one whose
//! coordinator runs in this home.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use tidemill_net::ticket::{Ticket, TicketError};
use tidemill_types::one_line;

use crate::{
    commands::read_file,
    exit::{Code, Exit, WithCode},
    home::data_directory,
    node_state,
};

/// The environment variable that names a network where `--join` does not.
pub const VARIABLE: &str = "TIDEMILL_JOIN";

/// The option `--join` of every command that is for a network.
#[derive(clap::Args)]
pub struct Join {
    /// The network: a ticket, or a file that holds one [default: $TIDEMILL_JOIN, else that of `tidemill join`; of most
    /// commands else the one whose coordinator runs in this home]
    #[arg(long, value_name = "TICKET")]
    pub join: Option<OsString>,
}

/// The longest file that is read as a ticket; tickets are shorter than a page.
const MAX_TICKET_FILE_BYTES: u64 = 4 << 10;

/// Where the coordinators of a home keep their state, below its directory: that of `tidemill serve`, and of `tidemill up`.
const COORDINATORS: [&str; 2] = ["coordinator", "up/coordinator"];

/// The file in which a coordinator keeps its ticket while others can join.
pub const TICKET: &str = "ticket";

/// The ticket of the network that a command is given or that is configured. `None`: there is none such.
///
/// # Errors
/// With [`Code::Usage`] when what is there is no ticket.
pub fn ticket(option: Option<&OsStr>) -> anyhow::Result<Option<Ticket>> {
    if let Some(text) = option {
        return parse(text, "--join").map(Some);
    }
    if let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) {
        return parse(&text, VARIABLE).map(Some);
    }
    let file = configured()?;
    if file.exists() { read(&file).map(Some) } else { Ok(None) }
}

/// The same, or else the network whose coordinator runs in this home.
///
/// # Errors
/// With [`Code::Usage`] when what is there is no ticket.
pub fn known(option: Option<&OsStr>) -> anyhow::Result<Option<Ticket>> {
    match ticket(option)? {
        Some(ticket) => Ok(Some(ticket)),
        None => served(&data_directory().code(Code::Host)?),
    }
}

/// The ticket of a coordinator that runs in a home.
fn served(home: &Path) -> anyhow::Result<Option<Ticket>> {
    // One that was killed leaves its ticket behind.
    let runs = |directory: &PathBuf| directory.join(TICKET).is_file() && node_state::is_claimed(directory);
    match COORDINATORS.iter().map(|name| home.join(name)).find(runs) {
        Some(directory) => read(&directory.join(TICKET)).map(Some),
        None => Ok(None),
    }
}

/// The ticket of a coordinator with this directory, while it runs.
///
/// # Errors
/// With [`Code::Usage`] when it does not run.
pub fn of_coordinator(directory: &Path) -> anyhow::Result<Ticket> {
    let file = directory.join(TICKET);
    if !file.is_file() || !node_state::is_claimed(directory) {
        let message = format!("no coordinator with the state in {} runs", directory.display());
        return Err(Exit::new(Code::Usage, message)
            .hint("start it first (`tidemill serve`): its addresses are in its ticket")
            .into());
    }
    read(&file)
}

/// The ticket of the network that a command is for, which cannot do without one.
///
/// # Errors
/// With [`Code::Usage`] when there is none.
pub fn required(option: Option<&OsStr>) -> anyhow::Result<Ticket> {
    known(option)?.ok_or_else(|| {
        Exit::new(Code::Usage, "no network is given or configured")
            .hint(
                "give its ticket with `--join`, or once and for all with `tidemill join TICKET`; in the home of a coordinator \
                 that runs (`tidemill serve` or `up`) it is found by itself",
            )
            .into()
    })
}

/// The tickets of all networks that a command is given; without any, that of the network that is configured.
///
/// # Errors
/// With [`Code::Usage`] when there is none, or what is there is no ticket.
pub fn all_required(options: &[OsString]) -> anyhow::Result<Vec<Ticket>> {
    if options.is_empty() {
        return Ok(vec![required(None)?]);
    }
    options.iter().map(|option| required(Some(option.as_os_str()))).collect()
}

/// The file with the ticket of the configured network, whether or not it is there.
///
/// # Errors
/// When the environment names no place for it.
pub fn configured() -> anyhow::Result<PathBuf> {
    Ok(data_directory().code(Code::Host)?.join("network"))
}

/// Writes a ticket into a file that its owner alone may read: whole, or not at all.
///
/// # Errors
/// When the disk does not take it.
pub fn write(file: &Path, ticket: &Ticket) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".part");
    let _ = fs::remove_file(&draft);
    let mut written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(written, "{ticket}")?;
    tidemill_disk::sync_all(&written)?;
    fs::rename(&draft, file)
}

/// Makes a directory that its owner alone may enter, if it is not there.
///
/// # Errors
/// When the system does not let it be made.
pub fn private_directory(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The ticket that a text is, or that is in the file that it names.
///
/// # Errors
/// With [`Code::Usage`], which says that it came from `from`.
pub fn parse(text: &OsStr, from: &str) -> anyhow::Result<Ticket> {
    // The path of a file may be anything.
    let word = text.to_string_lossy();
    match word.parse::<Ticket>() {
        Ok(ticket) => Ok(ticket),
        // What does not even look like a ticket is the path of one.
        Err(TicketError::NotATicket) if Path::new(text).exists() => read(Path::new(text)),
        Err(error @ TicketError::NotATicket) => {
            let text = one_line(&word, 80);
            Err(wrong(error, &format!("{from} {text:?}, which is not a file either")))
        }
        Err(error) => Err(wrong(error, from)),
    }
}

fn read(file: &Path) -> anyhow::Result<Ticket> {
    let bytes = read_file(file, MAX_TICKET_FILE_BYTES).context("the ticket").code(Code::Usage)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    text.parse().map_err(|error| wrong(error, &file.display().to_string()))
}

fn wrong(error: TicketError, from: &str) -> anyhow::Error {
    let hint = match error {
        TicketError::NotATicket => {
            "give a ticket, a word that `tidemill serve` and `tidemill up` print, or the path of a file that holds one"
        }
        TicketError::Newer => "update tidemill here to the version that made it",
        TicketError::Damaged | TicketError::Addresses(_) => "copy the whole ticket once more, it is one word",
    };
    Exit::new(Code::Usage, format!("{from}: {error}")).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use tidemill_net::ticket::Pass;
    use tidemill_types::NodeId;

    use super::*;
    use crate::node_state::StateDirectory;

    #[test]
    fn the_coordinator_of_a_home_is_found_while_it_runs() {
        let home = tempfile::tempdir().expect("a directory");
        let found =
            || served(home.path()).expect("what is there is a ticket").map(|ticket| ticket.to_string());
        assert_eq!(found(), None);
        let state = StateDirectory::claim(&home.path().join("up/coordinator")).expect("a new directory");
        assert_eq!(found(), None, "nobody can join yet");
        let address = "127.0.0.1:4433".parse().expect("an address");
        let ticket =
            Ticket::new(NodeId([7; 32]), vec![address], Pass::from_bytes([1; 16])).expect("a ticket");
        write(&state.path().join(TICKET), &ticket).expect("a file");
        assert_eq!(found(), Some(ticket.to_string()));
        drop(state);
        assert_eq!(found(), None, "it has ended without a farewell");
    }
}
