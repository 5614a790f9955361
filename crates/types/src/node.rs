//! Who takes part, and the names of what they exchange.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A node of the network: its ed25519 public key. Prints as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub [u8; 32]);

/// An account of a ledger, and so the name of a secp256k1 key: the last 20 bytes of the keccak hash of its
/// public key. Prints as `0x` and 40 hexadecimal digits, whose capital letters are a checksum (EIP-55).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Address(pub [u8; 20]);

/// A job, by a number that its requester drew. Prints as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub [u8; 16]);

/// A task's place among all of its job: the map's tasks from 0, then those of the reduce, level by level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TaskNumber(pub u64);

/// The half of a job that a task is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// The tasks that it fans out into.
    Map,
    /// The tasks that merge outputs.
    Reduce,
}

/// A task of the network. Prints as `job/number`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TaskId {
    /// Its job.
    pub job: JobId,
    /// Its place there.
    pub task: TaskNumber,
}

/// One attempt at a task: a number that its coordinator never uses twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LeaseId(pub u64);

/// A text that does not name what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has other digits, or not as many.
    #[error("{found:?} is not {what}: {digits} hexadecimal digits are expected")]
    Digits {
        /// The text, shortened to 80 characters.
        found: String,
        /// What it should name.
        what: &'static str,
        /// How many are expected.
        digits: usize,
    },
    /// Capital letters among its digits are a checksum (EIP-55), and it is wrong.
    #[error("{found} was mistyped: its capital letters are a checksum, and it is wrong")]
    Checksum {
        /// The text.
        found: String,
    },
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

pub(crate) fn read_hex<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], NameError> {
    let error = || NameError::Digits { found: text.chars().take(80).collect(), what, digits: 2 * N };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(error());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = digit(pair[0]).zip(digit(pair[1])).ok_or_else(error)?;
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

impl NodeId {
    /// The first digits, enough to tell nodes apart in a list.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl JobId {
    /// The first digits, enough to tell jobs apart in a list.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&alloy_primitives::Address::from(self.0).to_checksum(None))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::Reduce => "reduce",
        })
    }
}

impl fmt::Display for TaskNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.task)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for NodeId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        read_hex(text, "a node").map(Self)
    }
}

impl FromStr for JobId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        read_hex(text, "a job").map(Self)
    }
}

impl FromStr for Address {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let address = Self(read_hex(digits, "an address")?);
        let is_mixed = |is_it: fn(&char) -> bool| digits.chars().any(|digit| is_it(&digit));
        if is_mixed(char::is_ascii_lowercase)
            && is_mixed(char::is_ascii_uppercase)
            && address.to_string().strip_prefix("0x") != Some(digits)
        {
            return Err(NameError::Checksum { found: text.to_owned() });
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_print_and_parse() {
        let node = NodeId([0xab; 32]);
        assert_eq!(node.to_string().parse(), Ok(node));
        let job = JobId([7; 16]);
        assert_eq!(job.to_string().to_uppercase().parse(), Ok(JobId([7; 16])));
        // What EIP-55 gives as examples, and what other wallets show.
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
            "0x0000000000000000000000000000000000000001",
        ] {
            let address: Address = text.to_lowercase().parse().expect("an address");
            assert_eq!(address.to_string(), text);
            assert_eq!(format!("{address:?}"), format!("Address({text})"));
        }
        assert_eq!(TaskId { job, task: TaskNumber(12) }.to_string(), format!("{job}/12"));
    }

    #[test]
    fn an_address_that_was_mistyped_is_refused() {
        // Examples of EIP-55.
        for right in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0xde709f2102306220921060314715629080e2fb77",
        ] {
            let address: Address = right.parse().expect("it is right");
            for same in [right.to_lowercase(), right[2..].to_uppercase(), right[2..].to_owned()] {
                assert_eq!(same.parse(), Ok(address), "{same}");
            }
        }
        let wrong = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed";
        assert_eq!(wrong.parse::<Address>(), Err(NameError::Checksum { found: wrong.to_owned() }));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "07", "zz", "ß7070707070707070707070707070707", "+7070707070707070707070707070707"]
        {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        let error = "07".parse::<JobId>().expect_err("too short");
        assert_eq!(error.to_string(), "\"07\" is not a job: 32 hexadecimal digits are expected");
    }
}
