//! FASTQ: `@` and a name, lines of sequence, `+`, and as many characters of quality.
//!
//! A quality line may begin with `@`, so records cannot be told from the middle of a file: all of it is
//! read, and checked on the way.

use std::io::{Read, Seek};

use super::{PiecesBuilder, SplitError, lone_return, named, window::Window};

const ONE_EACH: &str = "one for each base";

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
            let found = format!("a record that begins with {}", named(first));
            return Err(SplitError::Format { line, found, expected: "`@` and the record's name" });
        }
        if head.has_return {
            return Err(lone_return(line));
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

/// Reads a record after its first line; where it ends. Errors about all of it are at its first line.
fn record<R: Read + Seek>(window: &mut Window<R>, mut at: u64, line: &mut u64) -> Result<u64, SplitError> {
    let begin = *line;
    let mut sequence = 0;
    loop {
        let Some(next) = window.line(at)? else {
            let found = "the file ends within the record that begins here".to_owned();
            return Err(SplitError::Format { line: begin, found, expected: "a line that begins with `+`" });
        };
        *line += 1;
        at = next.end;
        if next.has_return {
            return Err(lone_return(*line));
        }
        if next.first == Some(b'+') {
            break;
        }
        sequence += window.trimmed(next)?;
    }
    let mut quality = 0;
    while quality < sequence {
        let Some(next) = window.line(at)? else {
            let found = format!("the file ends after {quality} of {sequence} characters of quality");
            return Err(SplitError::Format { line: begin, found, expected: ONE_EACH });
        };
        *line += 1;
        at = next.end;
        quality += window.trimmed(next)?;
    }
    if quality > sequence {
        let found =
            format!("the record that begins here has {quality} characters of quality for {sequence} bases");
        return Err(SplitError::Format { line: begin, found, expected: ONE_EACH });
    }
    Ok(at)
}
