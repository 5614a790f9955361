//! How deep a text nests, found before a parser goes down as deep.
//!
//! naga's parser and lowering call themselves for each bracket, operator and `else if`, so a text of 20,000 minus signs
//! would overflow any stack. This counts tokens, and knows nothing else of the language: what it lets through nests at most
//! so deep, and no program of a person comes near.

use naga::Span;

use crate::mistake::{Mistake, Refusal};

/// How many levels may be open at once.
const MOST: u64 = 600;

/// What is open between a bracket and the one that closes it.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// Operators since the last separator: each may hold all before it.
    operators: u64,
    /// Branches of one chain: each stands in the one before.
    branches: u64,
}

/// Refuses a text that nests too deep.
pub(crate) fn check(text: &str) -> Result<(), Mistake> {
    let bytes = text.as_bytes();
    let mut levels = vec![Level::default()];
    let mut outer = 0_u64;
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        at += 1;
        let inside = levels.len() > 1;
        let level = levels.last_mut().expect("the outermost level is never closed");
        match bytes[start] {
            b'/' if bytes.get(at) == Some(&b'/') => {
                at = bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| at + end);
            }
            b'/' if bytes.get(at) == Some(&b'*') => at = end_of_comment(bytes, start),
            b'(' | b'[' | b'{' => {
                level.operators += 1;
                outer += level.operators + level.branches;
                levels.push(Level::default());
            }
            b')' | b']' | b'}' if inside => {
                levels.pop();
                let level = levels.last_mut().expect("there was more than one");
                outer -= level.operators + level.branches;
                if bytes[start] == b'}' {
                    level.operators = 0;
                }
            }
            b',' => level.operators = 0,
            b';' => *level = Level::default(),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'!' | b'~' | b'<' | b'>' | b'='
            | b'.' | b'@' => {
                level.operators += 1;
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => {
                let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                at += bytes[at..].iter().position(|byte| !is_word(byte)).unwrap_or(bytes.len() - at);
                level.branches += u64::from(&bytes[start..at] == b"else");
            }
            _ => {}
        }
        let level = levels.last().expect("the outermost level is never closed");
        let depth = outer + level.operators + level.branches;
        if depth > MOST {
            let refusal = Refusal::Size { what: "how deep the text nests", found: depth, most: MOST };
            let span = Span::new(start as u32, start as u32 + 1);
            return Err(Mistake::refused_at(refusal, span, text));
        }
    }
    Ok(())
}

/// Comments nest in WGSL.
fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_is_counted_and_what_follows_is_not() {
        let many = |part: &str| part.repeat(5_000);
        for flat in [
            many("a = b + c; "),
            format!("f({})", many("-1, ")),
            many("if (a) { b(); } else { c(); } d();"),
            format!("// {}\n", many("(")),
            format!("/* {} /* */ {} */", many("("), many("-")),
            many("{ }"),
            many("(a); "),
        ] {
            assert_eq!(check(&flat), Ok(()), "{}", &flat[..20]);
        }
        for deep in [
            many("("),
            many("{"),
            many("-"),
            many("a + "),
            many("(a) + "),
            many("a[0]"),
            many(".x"),
            many("array<"),
            many("if (a) { b(); } else "),
            many("-(b, "),
        ] {
            assert!(check(&deep).is_err(), "{}", &deep[..20]);
        }
    }
}
