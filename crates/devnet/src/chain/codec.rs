//! How blocks and states are written down: fixed-width integers in little endian, lengths before bytes.
//!
//! One encoding serves the log, the snapshots and the state's commitment, so it must have exactly one form for
//! one value; maps are written in the order of their keys.

use alloy::primitives::{Address, B256, Bytes, U256};

/// Bytes that are not what this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes end early or are not in the form that this version writes")]
pub struct CodecError;

pub(crate) trait Put {
    fn u8(&mut self, value: u8);
    fn u32(&mut self, value: u32);
    fn u64(&mut self, value: u64);
    fn fixed(&mut self, value: &[u8]);
    fn bytes(&mut self, value: &[u8]);
    fn u256(&mut self, value: U256);
}

impl Put for Vec<u8> {
    fn u8(&mut self, value: u8) {
        self.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn fixed(&mut self, value: &[u8]) {
        self.extend_from_slice(value);
    }

    fn bytes(&mut self, value: &[u8]) {
        let length = u32::try_from(value.len()).expect("gas bounds every field to far under 4 GiB");
        self.u32(length);
        self.extend_from_slice(value);
    }

    fn u256(&mut self, value: U256) {
        self.extend_from_slice(&value.to_be_bytes::<32>());
    }
}

/// Reads what [`Put`] wrote.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CodecError)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        self.take(N)?.try_into().map_err(|_| CodecError)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of items that each take at least `least` bytes, so that a wrong count cannot reserve memory.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, CodecError> {
        let count = self.u32()? as usize;
        if count.saturating_mul(least) > self.rest.len() { Err(CodecError) } else { Ok(count) }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(crate) fn owned(&mut self) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(self.bytes()?))
    }

    pub(crate) fn address(&mut self) -> Result<Address, CodecError> {
        Ok(Address::from(self.array::<20>()?))
    }

    pub(crate) fn b256(&mut self) -> Result<B256, CodecError> {
        Ok(B256::from(self.array::<32>()?))
    }

    pub(crate) fn u256(&mut self) -> Result<U256, CodecError> {
        Ok(U256::from_be_bytes(self.array::<32>()?))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError),
        }
    }

    pub(crate) fn end(&self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError) }
    }
}
