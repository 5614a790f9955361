//! Splits a Rust file into code and comments, so that rules on code do not trip over words in texts.

use std::ops::Range;

use super::line_at;

/// A Rust file with its comments and literals set apart.
pub struct Source {
    /// The file with comments and the insides of literals blanked, byte for byte and line for line.
    pub code: String,
    /// The comments alone, blanked everywhere else.
    pub comments: String,
}

impl Source {
    /// Reads a file. A file that is not valid Rust gives some split, which is good enough: it fails elsewhere.
    pub fn read(text: &str) -> Self {
        let mut code = text.as_bytes().to_vec();
        let mut comments = text.as_bytes().to_vec();
        let bytes = text.as_bytes();
        let mut at = 0;
        // The code between two pieces, blanked in the comments when the next piece is found.
        let mut code_from = 0;
        while at < bytes.len() {
            let Some((kind, end)) = piece_at(bytes, at) else {
                at += 1;
                continue;
            };
            blank(&mut comments, code_from..at);
            match kind {
                Piece::Comment => blank(&mut code, at..end),
                Piece::Literal => {
                    blank(&mut comments, at..end);
                    blank(&mut code, at + 1..end.saturating_sub(1).max(at + 1));
                }
                Piece::Word => blank(&mut comments, at..end),
            }
            at = end;
            code_from = end;
        }
        blank(&mut comments, code_from..bytes.len());
        Self { code: text_of(code), comments: text_of(comments) }
    }

    /// Blanks what stands behind `#[cfg(test)]`, and gives the names of the modules declared there (`mod tests;`),
    /// whose files are tests too.
    pub fn without_tests(mut self) -> (Self, Vec<String>) {
        let mut modules = Vec::new();
        let mut from = 0;
        while let Some(start) = find_test_attribute(&self.code, from) {
            let end = end_of_item(&self.code, start);
            let item = &self.code[start..end];
            if let Some(name) = item.strip_suffix(';').and_then(|item| item.split_once("mod ")) {
                modules.push(name.1.trim().to_owned());
            }
            let mut bytes = self.code.into_bytes();
            blank(&mut bytes, start..end);
            self.code = text_of(bytes);
            from = end;
        }
        (self, modules)
    }

    /// The lines on which a word stands in the code, that is, not as a part of a longer word.
    pub fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = Word<'a>> {
        let ends_in_name = word.ends_with(is_name);
        let starts_in_name = word.starts_with(is_name);
        self.code.match_indices(word).filter_map(move |(at, _)| {
            let (before, after) = (&self.code[..at], &self.code[at + word.len()..]);
            let inside =
                starts_in_name && before.ends_with(is_name) || ends_in_name && after.starts_with(is_name);
            (!inside).then(|| Word { line: line_at(&self.code, at), before, after })
        })
    }
}

/// A place where a word stands in the code.
pub struct Word<'a> {
    /// The line, from 1.
    pub line: usize,
    /// The code before it.
    pub before: &'a str,
    /// The code behind it.
    pub after: &'a str,
}

/// Whether a character may be part of a name.
pub fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

enum Piece {
    Comment,
    Literal,
    /// A name, skipped as a whole so that `r` or `b` at its end starts no literal.
    Word,
}

/// The comment, literal or name that starts at a byte, and its end.
fn piece_at(bytes: &[u8], at: usize) -> Option<(Piece, usize)> {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return Some((Piece::Comment, at + line_length(rest)));
    }
    if rest.starts_with(b"/*") {
        return Some((Piece::Comment, at + block_comment_length(rest)));
    }
    let prefix = rest.iter().take_while(|&&byte| is_name_byte(byte)).count();
    let (name, behind) = rest.split_at(prefix);
    let hashes = behind.iter().take_while(|&&byte| byte == b'#').count();
    if matches!(name, b"r" | b"br" | b"cr") && behind.get(hashes) == Some(&b'"') {
        let body = at + prefix + hashes + 1;
        let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
        let length = bytes[body..].windows(close.len()).position(|window| window == close);
        return Some((Piece::Literal, length.map_or(bytes.len(), |length| body + length + close.len())));
    }
    match (name, behind.first()) {
        (b"" | b"b" | b"c", Some(b'"')) => Some((Piece::Literal, end_of_quoted(bytes, at + prefix, b'"'))),
        (b"" | b"b", Some(b'\'')) if is_character(&behind[1..]) => {
            Some((Piece::Literal, end_of_quoted(bytes, at + prefix, b'\'')))
        }
        (b"", _) => None,
        _ => Some((Piece::Word, at + prefix)),
    }
}

/// After a single quote: a character literal, and not a lifetime or a label.
fn is_character(rest: &[u8]) -> bool {
    let width = match rest.first() {
        None => return false,
        Some(b'\\') => return true,
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        Some(_) => 1,
    };
    rest.get(width) == Some(&b'\'')
}

fn end_of_quoted(bytes: &[u8], open: usize, quote: u8) -> usize {
    let mut at = open + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
}

fn block_comment_length(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn find_test_attribute(code: &str, from: usize) -> Option<usize> {
    let found = |pattern: &str| code[from..].find(pattern).map(|at| from + at);
    ["#[cfg(test)]", "#[cfg(all(test,"].into_iter().filter_map(found).min()
}

/// The end of the item whose attributes start at a byte: its `;` or the `}` of its body.
pub fn end_of_item(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if byte == b'}' && depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Writes spaces over a range, except over line ends.
fn blank(bytes: &mut [u8], range: Range<usize>) {
    for byte in &mut bytes[range] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Pieces begin and end between characters, and blanks are ASCII, so what was a text still is one.
fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let text = "let a = \"x // y\"; // z\nlet b = 'c'; /* d /* e */ f */ g::<'h>(r#\"i\"j\"#, b\"k\\\"l\", '\\'');";
        let source = Source::read(text);
        assert_eq!(source.code.len(), text.len());
        for word in ["let", "a", "g"] {
            assert!(source.words(word).next().is_some(), "{word} in {}", source.code);
        }
        for word in ["x", "y", "z", "c", "d", "e", "f", "i", "j", "k", "l"] {
            assert!(source.words(word).next().is_none(), "{word} in {}", source.code);
        }
        assert!(source.code.contains("'h>"));
        assert_eq!(
            source.comments.split_whitespace().collect::<Vec<_>>().join(" "),
            "// z /* d /* e */ f */"
        );
    }

    #[test]
    fn words_are_whole_and_know_their_line() {
        let source = Source::read("a_b\nb\nab b.c()");
        assert_eq!(source.words("b").map(|word| word.line).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(source.words(".c()").count(), 1);
    }

    #[test]
    fn tests_are_blanked_and_their_files_named() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[allow(x)]\nmod more {\n fn b() { [0; 2]; }\n}\nfn c() {}\n";
        let (source, modules) = Source::read(text).without_tests();
        assert_eq!(modules, ["tests"]);
        assert!(source.words("b").next().is_none());
        assert_eq!(source.words("c").next().map(|word| word.line), Some(9));
    }

    #[test]
    fn other_alphabets_survive() {
        let text = "// größer – ok\nlet ä = 'é'; let s = \"日本\";\n";
        let source = Source::read(text);
        assert_eq!(source.code.lines().count(), 2);
        assert!(source.comments.contains("größer – ok"));
    }
}
