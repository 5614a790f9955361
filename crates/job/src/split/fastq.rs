//! FASTQ: `@` and a name, lines of sequence, `+`, and as many characters of quality.
//!
//! A quality line may begin with `@`, so records cannot be told from the middle of a file: all of it is
//! read, and checked on the way.

use std::io::{Read, Seek};

use super::{PiecesBuilder, SplitError, window::Window};

/// Cuts before records: each piece ends where the first record after `size` bytes begins.
pub(super) fn split<R: Read + Seek>(
    window: &mut Window<R>,
    size: u64,
    pieces: &mut PiecesBuilder,
) -> Result<(), SplitError> {
    let (mut start, mut at, mut line) = (0, 0, 0);
    let mut any = false;
    while let Some(head) = window.line(at)? {
        line += 1;
        let Some(first) = head.first else {
            // Blank lines between records belong to what is before them.
            at = head.end;
            continue;
        };
        if first != b'@' {
            let found = format!("a record that begins with {:?}", char::from(first));
            return Err(SplitError::Format { line, found, expected: "`@` and the record's name" });
        }
        if any && at - start >= size {
            pieces.push(&[(start, at)])?;
            start = at;
        }
        any = true;
        at = record(window, head.end, &mut line)?;
    }
    if any { pieces.push(&[(start, window.len())]) } else { Ok(()) }
}

/// Reads a record after its first line; where it ends.
fn record<R: Read + Seek>(window: &mut Window<R>, mut at: u64, line: &mut u64) -> Result<u64, SplitError> {
    let mut sequence = 0;
    loop {
        let Some(next) = window.line(at)? else {
            let found = "the file ends within a record".to_owned();
            return Err(SplitError::Format { line: *line, found, expected: "a line that begins with `+`" });
        };
        *line += 1;
        at = next.end;
        if next.first == Some(b'+') {
            break;
        }
        sequence += next.content_len;
    }
    let mut quality = 0;
    while quality < sequence {
        let Some(next) = window.line(at)? else {
            let found = format!("the file ends after {quality} of {sequence} characters of quality");
            return Err(SplitError::Format { line: *line, found, expected: "one for each base" });
        };
        *line += 1;
        at = next.end;
        quality += next.content_len;
    }
    if quality > sequence {
        let found = format!("{quality} characters of quality for {sequence} bases");
        return Err(SplitError::Format { line: *line, found, expected: "one for each base" });
    }
    Ok(at)
}
