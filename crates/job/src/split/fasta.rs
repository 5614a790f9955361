//! FASTA: records that begin with a line that begins with `>`.

use std::io::{Read, Seek};

use super::{
    PiecesBuilder, SplitError, lone_return, named,
    window::{Line, Window},
};

/// Cuts before records: each piece ends where the first record after `size` bytes begins. With `overlap`,
/// a record of more than `size` bases is cut inside as well.
pub(super) fn split<R: Read + Seek>(
    window: &mut Window<R>,
    size: u64,
    overlap: Option<u64>,
    pieces: &mut PiecesBuilder,
) -> Result<(), SplitError> {
    // A piece has more bases than it repeats, so going back over them stays inside of it.
    let size = size.max(overlap.unwrap_or(0).saturating_add(1));
    let Some((mut at, mut number)) = first_record(window)? else { return Ok(()) };
    let mut open = Open { header: (0, 0), start: 0, is_empty: true };
    while let Some(header) = window.line(at)? {
        if header.has_return {
            return Err(lone_return(number));
        }
        if !open.is_empty && open.len(at) >= size {
            pieces.push(&[open.header, (open.start, at)])?;
            open = Open { header: (0, 0), start: at, is_empty: true };
        }
        number += 1;
        at = match overlap {
            None => end_of_record(window, header, &mut number)?,
            Some(overlap) => cut(window, header, &mut number, (size, overlap), &mut open, pieces)?,
        };
        open.is_empty = false;
    }
    pieces.push(&[open.header, (open.start, window.len())])
}

fn mark_in_sequence(line: u64) -> SplitError {
    let found = "a `>` inside of a sequence".to_owned();
    SplitError::Format { line, found, expected: "a record's `>` at the beginning of a line" }
}

/// The piece that is being made.
struct Open {
    /// The header of the record that it begins inside of; an empty range where it begins with a record.
    header: (u64, u64),
    start: u64,
    /// Whether there is no record in it yet, only blank lines at the beginning of the file.
    is_empty: bool,
}

impl Open {
    fn len(&self, end: u64) -> u64 {
        end - self.start + (self.header.1 - self.header.0)
    }
}

/// Where the first record begins, and at which line; none where there is nothing but blank lines.
fn first_record<R: Read + Seek>(window: &mut Window<R>) -> Result<Option<(u64, u64)>, SplitError> {
    let (mut at, mut number) = (0, 0);
    while let Some(line) = window.line(at)? {
        number += 1;
        match line.first {
            None => at = line.end,
            Some(b'>') => return Ok(Some((at, number))),
            Some(byte) => {
                let found = format!("text before the first record, which begins with {}", named(byte));
                return Err(SplitError::Format {
                    line: number,
                    found,
                    expected: "`>` and the record's name",
                });
            }
        }
    }
    Ok(None)
}

/// Where the next record begins, or the file ends. `number` is the line after the header, and then that of the next
/// record.
fn end_of_record<R: Read + Seek>(
    window: &mut Window<R>,
    header: Line,
    number: &mut u64,
) -> Result<u64, SplitError> {
    let mut at = header.end;
    while let Some(line) = window.line(at)? {
        if line.first == Some(b'>') {
            break;
        }
        if line.has_return {
            return Err(lone_return(*number));
        }
        if line.has_mark {
            return Err(mark_in_sequence(*number));
        }
        *number += 1;
        at = line.end;
    }
    Ok(at)
}

/// Reads a record, cutting it after each `size` bases that others follow; a piece repeats `overlap` of them. Where the
/// record ends. `number` is as in [`end_of_record`].
fn cut<R: Read + Seek>(
    window: &mut Window<R>,
    header: Line,
    number: &mut u64,
    (size, overlap): (u64, u64),
    open: &mut Open,
    pieces: &mut PiecesBuilder,
) -> Result<u64, SplitError> {
    let mut at = header.end;
    // Bases since the last cut, and where the last of them ends.
    let (mut bases, mut border) = (0, header.end);
    let mut before = b'\n';
    loop {
        let bytes = window.bytes(at)?;
        if bytes.is_empty() {
            return Ok(at);
        }
        let mut passed = 0;
        let mut full = false;
        for byte in bytes {
            if *byte == b'>' {
                return if before == b'\n' { Ok(at + passed) } else { Err(mark_in_sequence(*number)) };
            }
            if before == b'\r' && !matches!(*byte, b'\r' | b'\n') {
                return Err(lone_return(*number));
            }
            if is_base(*byte) {
                if bases == size {
                    full = true;
                    break;
                }
                bases += 1;
                border = at + passed + 1;
            }
            *number += u64::from(*byte == b'\n');
            before = *byte;
            passed += 1;
        }
        at += passed;
        if full {
            // What was open before this record ends where the record begins. (After the record's first
            // cut, what is open is the record's own.)
            if !open.is_empty {
                pieces.push(&[open.header, (open.start, header.start)])?;
                *open = Open { header: (0, 0), start: header.start, is_empty: true };
            }
            pieces.push(&[open.header, (open.start, border)])?;
            let start = if overlap == 0 { at } else { bases_back(window, border, overlap)? };
            *open = Open { header: (header.start, header.end), start, is_empty: true };
            // The next base is at `at`, which is no line's `>`: that would have ended the record.
            bases = 0;
        }
    }
}

/// Where the `count`-th base before `border` is. Fewer than `size` are asked for, and the piece before the
/// border has as many of its own, so this never goes back further than one piece.
fn bases_back<R: Read + Seek>(window: &mut Window<R>, border: u64, count: u64) -> Result<u64, SplitError> {
    let (mut end, mut left) = (border, count);
    loop {
        let bytes = window.bytes_before(end)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        for (back, byte) in bytes.iter().rev().enumerate() {
            left -= u64::from(is_base(*byte));
            if left == 0 {
                return Ok(end - back as u64 - 1);
            }
        }
        end -= bytes.len() as u64;
    }
}

fn is_base(byte: u8) -> bool {
    !matches!(byte, b'\n' | b'\r' | b' ')
}
