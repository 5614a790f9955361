//! Access to a guest's linear memory. Every address comes from the guest; one outside gives `EFAULT`.

use super::abi::Errno;

/// The linear memory of the calling guest.
pub(crate) struct Memory<'a>(pub(crate) &'a mut [u8]);

/// One buffer of a scatter or gather list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// The longest scatter or gather list, as in POSIX systems.
const MAX_BUFFERS: u32 = 1024;

type Result<T> = std::result::Result<T, Errno>;

impl Memory<'_> {
    pub(crate) fn slice(&self, start: u32, len: u32) -> Result<&[u8]> {
        let start = start as usize;
        let end = start.checked_add(len as usize).ok_or(Errno::Fault)?;
        self.0.get(start..end).ok_or(Errno::Fault)
    }

    pub(crate) fn slice_mut(&mut self, start: u32, len: u32) -> Result<&mut [u8]> {
        let start = start as usize;
        let end = start.checked_add(len as usize).ok_or(Errno::Fault)?;
        self.0.get_mut(start..end).ok_or(Errno::Fault)
    }

    fn array<const N: usize>(&self, at: u32) -> Result<[u8; N]> {
        let start = at as usize;
        let bytes = self.0.get(start..).and_then(|rest| rest.first_chunk::<N>());
        bytes.copied().ok_or(Errno::Fault)
    }

    pub(crate) fn read_u8(&self, at: u32) -> Result<u8> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    pub(crate) fn read_u16(&self, at: u32) -> Result<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(crate) fn read_u32(&self, at: u32) -> Result<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(crate) fn read_u64(&self, at: u32) -> Result<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.slice_mut(at, len)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Result<()> {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Result<()> {
        self.write(at, &value.to_le_bytes())
    }

    /// A path or other text, copied since the guest's memory changes under the call.
    pub(crate) fn read_text(&self, start: u32, len: u32) -> Result<String> {
        let bytes = self.slice(start, len)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Errno::Ilseq)
    }

    /// A scatter or gather list of `count` entries.
    pub(crate) fn read_buffers(&self, list: u32, count: u32) -> Result<Vec<Buffer>> {
        if count > MAX_BUFFERS {
            return Err(Errno::Inval);
        }
        (0..count)
            .map(|i| {
                let at = list.checked_add(i * 8).ok_or(Errno::Fault)?;
                let len_at = at.checked_add(4).ok_or(Errno::Fault)?;
                let buffer = Buffer { start: self.read_u32(at)?, len: self.read_u32(len_at)? };
                self.slice(buffer.start, buffer.len)?;
                Ok(buffer)
            })
            .collect()
    }
}
