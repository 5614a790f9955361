//! What commands that go on tell: one JSON object a line for each event, named by its field `event`.
//!
//! A line of a command is one of several groups of events: those of the command itself, those of everything that is
//! hosted until it is told to stop, and the counters of the disk.

mod follow;
mod provide;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::Coin;

pub use self::follow::FollowLine;
pub use self::provide::{Lack, ProvideEvent, ProvideNotice, TaskEnd};
use crate::wei::Wei;

/// A line of `tidemill serve`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ServeLine {
    /// Of the coordinator.
    Serve(Box<ServeEvent>),
    /// Of its end.
    Hosting(HostingEvent),
    /// Of the disk.
    Disk(DiskEvent),
}

/// A line of `tidemill up`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum UpLine {
    /// Of the network.
    Up(UpEvent),
    /// Of its end.
    Hosting(HostingEvent),
}

/// A line of `tidemill ledger start`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LedgerLine {
    /// Of the ledger.
    Ledger(LedgerEvent),
    /// Of its end.
    Hosting(HostingEvent),
}

/// A line of `tidemill provide`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ProvideLine {
    /// Of the provider.
    Provide(ProvideNotice),
    /// Of the disk.
    Disk(DiskEvent),
}

/// The end of something that a command hosts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum HostingEvent {
    /// It was told to stop, and does.
    Stopping,
    /// It has stopped.
    Stopped,
    /// It cannot go on; the command ends with an error.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What the disk was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum DiskEvent {
    /// How often the process has waited for the disk so far; told at the signal `USR1`.
    Syncs {
        /// For the bytes of a file (`fdatasync`).
        data: u64,
        /// For the bytes of a file and all that is known of it (`fsync`).
        all: u64,
        /// For the entries of a directory (`fsync`).
        directories: u64,
        /// For a whole file system (`syncfs`).
        file_systems: u64,
    },
}

/// What a coordinator tells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ServeEvent {
    /// Others can join.
    Listening {
        /// Its node.
        node: String,
        /// The addresses in its ticket.
        addresses: Vec<String>,
        /// The addresses that are not.
        left_out: Vec<LeftOut>,
        /// The ticket. Whoever has it can join.
        ticket: String,
        /// The directory of its state.
        directory: String,
        /// Whether nobody is paid.
        free: bool,
        /// Whether no result is checked.
        trusts_everybody: bool,
        /// The accounts of operators whose results are not checked.
        trusted: Vec<String>,
        /// The account that signs vouchers; null where nobody is paid.
        account: Option<String>,
        /// The coins that it has for gas; null where nobody is paid.
        #[schemars(with = "Option<Wei>")]
        coins_wei: Option<Coin>,
        /// What clients of its HTTP API take for the address of OpenAI's; null where none is served.
        api: Option<String>,
        /// Where its pages are, for a browser, with the token that lets one in where work is paid for; null where HTTP is off.
        page: Option<String>,
    },
}

/// An address that is not in a ticket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// The address.
    pub address: String,
    /// Why it is not.
    pub why: WhyLeftOut,
}

/// Why an address is not in a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyLeftOut {
    /// The ticket holds no more.
    NoRoom,
    /// Only this machine reaches it.
    Loopback,
    /// Only this machine's link reaches it.
    LinkLocal,
}

/// What a network on one machine tells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum UpEvent {
    /// Commands can use it.
    Listening {
        /// The node of its coordinator.
        node: String,
        /// The ticket. Whoever has it can join.
        ticket: String,
        /// How many providers it has.
        providers: u64,
        /// The directory of its state.
        directory: String,
        /// Where its ledger is reached; null where nobody is paid.
        ledger: Option<String>,
        /// Whether nobody is paid.
        free: bool,
        /// What clients of its HTTP API take for the address of OpenAI's; null where none is served.
        api: Option<String>,
        /// Where its pages are, for a browser, with the token that lets one in where work is paid for; null where HTTP is off.
        page: Option<String>,
    },
}

/// What an embedded ledger tells.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LedgerEvent {
    /// It was made.
    Made(LedgerMade),
    /// It was there, and goes on.
    Opened {
        /// The number of its last whole block.
        block: u64,
        /// Blocks that were applied on top of its last snapshot.
        replayed_blocks: u64,
        /// Bytes of a block that was not whole, which were cut off.
        dropped_bytes: u64,
        /// How long it took, in seconds.
        seconds: f64,
    },
    /// It can be used.
    Listening {
        /// Where it listens.
        address: String,
        /// Where this machine reaches it.
        url: String,
        /// The id of its chain.
        chain_id: u64,
        /// The number of its last block.
        block: u64,
        /// The directory that it is kept in.
        directory: String,
    },
}

/// A ledger that was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LedgerMade {
    /// The id of its chain.
    pub chain_id: u64,
    /// The address that has what exists on the first day.
    pub treasury: String,
    /// The name of that account in this home; null where it has none.
    pub account: Option<String>,
    /// Whether the account's password was drawn, and lies beside its key.
    pub password_beside_key: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_flat_and_names_its_event() {
        let made =
            LedgerMade { chain_id: 7, treasury: "0x1".to_owned(), account: None, password_beside_key: false };
        let line = LedgerLine::Ledger(LedgerEvent::Made(made));
        let text = serde_json::to_string(&line).expect("it is plain data");
        let expected =
            r#"{"event":"made","chain_id":7,"treasury":"0x1","account":null,"password_beside_key":false}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<LedgerLine>(&text).expect("it reads back"), line);
    }

    #[test]
    fn each_group_of_events_is_told_from_the_others() {
        let line = |text: &str| serde_json::from_str::<ServeLine>(text).expect("a line");
        assert_eq!(line(r#"{"event":"stopping"}"#), ServeLine::Hosting(HostingEvent::Stopping));
        let syncs = DiskEvent::Syncs { data: 1, all: 2, directories: 3, file_systems: 4 };
        let text = r#"{"event":"syncs","data":1,"all":2,"directories":3,"file_systems":4}"#;
        assert_eq!(line(text), ServeLine::Disk(syncs));
        assert!(serde_json::from_str::<ServeLine>(r#"{"event":"joined"}"#).is_err());
    }
}
