//! Tickets: all that a program needs to reach a node and be let in, as one word.
//!
//! A ticket's text is `tidemill1`, then, in base32 without padding, the postcard form of [`Ticket`] and four bytes
//! of checksum. Upper and lower case mean the same.

use std::{fmt, net::SocketAddr, str::FromStr};

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use tidemill_types::NodeId;

/// The most addresses of a ticket.
pub const MAX_ADDRESSES: usize = 16;

const NAME: &str = "tidemill";
const VERSION: &str = "1";
const CHECKSUM_BYTES: usize = 4;

/// The longest text that is looked at; a ticket with every address is under 800 characters.
const MAX_TEXT_BYTES: usize = 1024;

/// What lets its bearer in: 16 bytes that cannot be guessed. Does not print.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pass([u8; 16]);

/// Where a node is and what it lets in with. Prints as its text, pass included: a secret to pass on with care.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    node: NodeId,
    addresses: Vec<SocketAddr>,
    pass: Pass,
}

/// A text that is no ticket, or addresses that make none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TicketError {
    /// The text is something else.
    #[error("this is not a ticket: a ticket begins with \"tidemill1\"")]
    NotATicket,
    /// A later version of Tidemill made it.
    #[error("this ticket is from a newer version of Tidemill")]
    Newer,
    /// A part is missing or mistyped.
    #[error("this ticket is damaged: a part of it is missing or mistyped")]
    Damaged,
    /// It has no address, or too many.
    #[error("a ticket has 1 to {MAX_ADDRESSES} addresses, and this one {0}")]
    Addresses(usize),
}

impl Pass {
    /// A new pass.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn draw() -> Result<Self, std::io::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// A pass that was kept.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The secret itself.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether these bytes are the pass, in a time that does not say how far they agree.
    pub fn matches(&self, bytes: &[u8; 16]) -> bool {
        // `blake3::Hash` compares in constant time.
        blake3::hash(&self.0) == blake3::hash(bytes)
    }
}

impl PartialEq for Pass {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Pass {}

impl Ticket {
    /// A ticket for a node at these addresses, the best first.
    ///
    /// # Errors
    /// [`TicketError::Addresses`]
    pub fn new(node: NodeId, addresses: Vec<SocketAddr>, pass: Pass) -> Result<Self, TicketError> {
        if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
            return Err(TicketError::Addresses(addresses.len()));
        }
        Ok(Self { node, addresses, pass })
    }

    /// Whom it leads to.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where that node was when the ticket was made, the best first. Never empty.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it lets in with.
    pub fn pass(&self) -> &Pass {
        &self.pass
    }

    /// Whether these bytes are its pass, in a time that does not say how far they agree.
    pub fn matches(&self, pass: &[u8; 16]) -> bool {
        self.pass.matches(pass)
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let key = blake3::derive_key("tidemill ticket 1", bytes);
    *key.first_chunk().expect("a key has 32 bytes")
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = postcard::to_stdvec(self).map_err(|_| fmt::Error)?;
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        write!(f, "{NAME}{VERSION}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > MAX_TEXT_BYTES {
            return Err(TicketError::NotATicket);
        }
        let text = text.to_ascii_lowercase();
        let after_name = text.strip_prefix(NAME).ok_or(TicketError::NotATicket)?;
        let Some(digits) = after_name.strip_prefix(VERSION) else {
            let newer = after_name.starts_with(|next: char| next.is_ascii_digit() && next != '0');
            return Err(if newer { TicketError::Newer } else { TicketError::NotATicket });
        };
        let bytes =
            BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| TicketError::Damaged)?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TicketError::Damaged)?;
        if checksum(body) != *sum {
            return Err(TicketError::Damaged);
        }
        match postcard::take_from_bytes::<Self>(body) {
            Ok((ticket, [])) => Self::new(ticket.node, ticket.addresses, ticket.pass),
            _ => Err(TicketError::Damaged),
        }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass(secret)")
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("node", &self.node)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
