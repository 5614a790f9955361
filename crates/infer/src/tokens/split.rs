//! Where byte-level vocabularies cut a text before they merge: patterns by the names that files use.

use std::ops::Range;

use fancy_regex::Regex;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A text is cut by each pattern in turn; what is between matches is a word as well.
#[derive(Debug)]
pub struct Splitter(Vec<Regex>);

impl Splitter {
    pub fn by_name(name: &str) -> Option<Self> {
        let patterns: &[&str] = match name {
            "gpt-2" => &[GPT2],
            "smollm" => &[r"\p{N}", GPT2],
            "llama-bpe" => &[LLAMA3],
            "qwen2" => &[QWEN2],
            _ => return None,
        };
        Some(Self(patterns.iter().map(|pattern| Regex::new(pattern).expect("a pattern of ours")).collect()))
    }

    pub fn split<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let whole = 0..text.len();
        let mut words = vec![whole];
        for pattern in &self.0 {
            words = words.into_iter().flat_map(|word| cut(pattern, text, word)).collect();
        }
        words.into_iter().map(|word| &text[word]).collect()
    }
}

fn cut(pattern: &Regex, text: &str, word: Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut done = word.start;
    // Our patterns fail on no text; should one, the rest stays a word.
    for found in pattern.find_iter(&text[word.clone()]).map_while(Result::ok) {
        let found = word.start + found.start()..word.start + found.end();
        if found.start > done {
            words.push(done..found.start);
        }
        done = found.end;
        words.push(found);
    }
    if done < word.end {
        words.push(done..word.end);
    }
    words
}
