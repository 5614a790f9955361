//! Vocabularies of words and pieces of words, as BERT has them: a text is cleaned, cut at spaces and punctuation, and each
//! word is the longest pieces from its beginning on.

use std::collections::HashMap;

use fancy_regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::{SPACE, Scheme, TOKENS, Tokenizer, kind};
use crate::file::FileError;
use crate::gguf::{Value, Writer};

/// A vocabulary's way of telling a word's beginning from what continues it.
#[derive(Clone, Debug)]
pub struct Words {
    /// Before a token that begins a word, and before one that continues a word.
    pub begins: String,
    /// The same for what continues a word.
    pub continues: String,
    /// What a word becomes that the vocabulary cannot say.
    pub unknown: u32,
    /// A word of more letters is unknown.
    pub most_letters: usize,
    /// How texts are cleaned.
    pub cleaning: Cleaning,
    /// The tokens that every text begins and ends with.
    pub begin: u32,
    /// The last one.
    pub end: u32,
}

/// What is done with a text before it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleaning {
    /// Control characters are left out, and all kinds of spaces become one.
    pub cleans: bool,
    /// Chinese characters are words.
    pub separates_chinese: bool,
    /// Accents are left out.
    pub strips_accents: bool,
    /// Letters become small.
    pub lowers: bool,
}

impl Cleaning {
    /// That of models which know no capitals.
    pub const UNCASED: Self =
        Self { cleans: true, separates_chinese: true, strips_accents: true, lowers: true };
}

/// Classes of characters beyond ASCII.
#[derive(Debug)]
pub struct Classes {
    punctuation: Regex,
    control: Regex,
    accent: Regex,
}

impl Classes {
    pub fn new() -> Self {
        let class = |pattern: &str| Regex::new(pattern).expect("a pattern of ours");
        // Not the characters that are still unassigned: these become letters in later versions of Unicode.
        Self {
            punctuation: class(r"\p{P}"),
            control: class(r"[\p{Cc}\p{Cf}\p{Co}]"),
            accent: class(r"\p{Mn}"),
        }
    }

    fn is_punctuation(&self, c: char) -> bool {
        if c.is_ascii() { c.is_ascii_punctuation() } else { is(&self.punctuation, c) }
    }

    fn is_control(&self, c: char) -> bool {
        if c.is_ascii() { c.is_ascii_control() } else { is(&self.control, c) }
    }

    fn is_accent(&self, c: char) -> bool {
        !c.is_ascii() && is(&self.accent, c)
    }
}

fn is(class: &Regex, c: char) -> bool {
    // A class of single characters cannot fail.
    class.is_match(c.encode_utf8(&mut [0; 4])).unwrap_or(false)
}

fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f
        | 0x2b740..=0x2b81f | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}

impl Words {
    /// Adds a text's tokens, without those that begin and end it.
    pub fn encode(&self, classes: &Classes, ids: &HashMap<String, u32>, text: &str, tokens: &mut Vec<u32>) {
        let mut word = String::new();
        for c in self.clean(classes, text).chars() {
            if c.is_whitespace() {
                self.end_word(ids, &mut word, tokens);
            } else if classes.is_punctuation(c) {
                self.end_word(ids, &mut word, tokens);
                word.push(c);
                self.end_word(ids, &mut word, tokens);
            } else {
                word.push(c);
            }
        }
        self.end_word(ids, &mut word, tokens);
    }

    fn clean(&self, classes: &Classes, text: &str) -> String {
        let Cleaning { cleans, separates_chinese, strips_accents, lowers } = self.cleaning;
        let mut cleaned = String::with_capacity(text.len());
        for c in text.chars() {
            let is_space = c.is_whitespace();
            if cleans && !is_space && (c == '\u{fffd}' || classes.is_control(c)) {
                continue;
            }
            match () {
                () if cleans && is_space => cleaned.push(' '),
                () if separates_chinese && is_chinese(c) => cleaned.extend([' ', c, ' ']),
                () => cleaned.push(c),
            }
        }
        if strips_accents {
            cleaned = cleaned.nfd().filter(|&c| !classes.is_accent(c)).collect();
        }
        if lowers {
            // Letter by letter, as the tokenizers are that vocabularies were made with: a final sigma is like any other.
            cleaned = cleaned.chars().flat_map(char::to_lowercase).collect();
        }
        cleaned
    }

    /// Takes a word that is whole: the longest piece that the vocabulary has, again and again.
    fn end_word(&self, ids: &HashMap<String, u32>, word: &mut String, tokens: &mut Vec<u32>) {
        if word.is_empty() {
            return;
        }
        let before = tokens.len();
        let mut rest = word.as_str();
        let mut prefix = self.begins.as_str();
        if rest.chars().count() > self.most_letters {
            tokens.push(self.unknown);
            rest = "";
        }
        while !rest.is_empty() {
            let mut piece = format!("{prefix}{rest}");
            let found = loop {
                match ids.get(&piece) {
                    Some(&id) => break Some(id),
                    None if piece.len() <= prefix.len() => break None,
                    None => piece.pop(),
                };
            };
            match found {
                Some(id) if piece.len() > prefix.len() => {
                    tokens.push(id);
                    rest = &rest[piece.len() - prefix.len()..];
                    prefix = &self.continues;
                }
                _ => {
                    tokens.truncate(before);
                    tokens.push(self.unknown);
                    break;
                }
            }
        }
        word.clear();
    }
}

impl Tokenizer {
    /// Puts a vocabulary of words into a GGUF file, in which what begins a word has a mark, and what continues one has none.
    ///
    /// # Errors
    ///
    /// It is no such vocabulary, or one that treats texts in a way of its own.
    pub(crate) fn put_words(&self, writer: &mut Writer) -> Result<(), FileError> {
        let problem =
            |problem: &str| FileError::json("tokenizer.json", format!("GGUF has no word for {problem}"));
        let Scheme::Words { words, .. } = &self.scheme else {
            return Err(problem("a vocabulary that is not of words and their pieces, beside an encoder"));
        };
        if words.cleaning != Cleaning::UNCASED || words.most_letters != 100 || !words.begins.is_empty() {
            return Err(problem("the way in which it cleans and cuts texts"));
        }
        let mut tokens = vec![None; self.bytes.len()];
        for (text, &id) in &self.ids {
            tokens[id as usize] = Some(text);
        }
        let text = |(text, &is_control): (Option<&String>, &bool)| {
            let text = text?;
            Some(match text.strip_prefix(&words.continues) {
                _ if is_control => text.clone(),
                Some(rest) => rest.to_owned(),
                None => format!("{SPACE}{text}"),
            })
        };
        let texts: Option<Vec<String>> = tokens.into_iter().zip(&self.is_control).map(text).collect();
        let texts = texts.ok_or_else(|| problem("two tokens with one text"))?;
        let kinds =
            self.is_control.iter().map(|&is_control| if is_control { kind::CONTROL } else { 1 }).collect();
        writer.key("tokenizer.ggml.model", Value::Text("bert".into()));
        writer.key(TOKENS, Value::Texts(texts));
        writer.key("tokenizer.ggml.token_type", Value::Integers(kinds));
        for (key, id) in [("unknown", words.unknown), ("cls", words.begin), ("seperator", words.end)] {
            writer.key(format!("tokenizer.ggml.{key}_token_id"), Value::Integer(i64::from(id)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: [&str; 16] = [
        "?", "[", "]", "tide", "##s", "mill", "##ing", "un", "##believ", "##able", "cafe", "海", "洋", ",",
        "##", "straße",
    ];

    fn encode_with(cleaning: Cleaning, text: &str) -> Vec<String> {
        let ids = (0..).zip(VOCABULARY).map(|(id, token)| (token.to_owned(), id)).collect();
        let words = Words {
            begins: String::new(),
            continues: "##".into(),
            unknown: 0,
            most_letters: 20,
            cleaning,
            begin: 0,
            end: 0,
        };
        let mut tokens = Vec::new();
        words.encode(&Classes::new(), &ids, text, &mut tokens);
        tokens.iter().map(|&id| VOCABULARY[id as usize].to_owned()).collect()
    }

    fn encode(text: &str) -> Vec<String> {
        encode_with(Cleaning::UNCASED, text)
    }

    #[test]
    fn words_are_their_longest_pieces() {
        assert_eq!(encode("tides milling"), ["tide", "##s", "mill", "##ing"]);
        assert_eq!(encode("Unbelievable"), ["un", "##believ", "##able"]);
        assert_eq!(encode("tidex unbeliev mill"), ["?", "un", "##believ", "mill"]);
        assert_eq!(encode("mill##s"), ["mill", "?", "?", "?"]);
        assert_eq!(encode(""), [""; 0]);
    }

    #[test]
    fn texts_are_cut_at_spaces_punctuation_and_chinese_letters() {
        assert_eq!(encode("tide,mill\u{a0}\t[tide]"), ["tide", ",", "mill", "[", "tide", "]"]);
        assert_eq!(encode("海洋tide"), ["海", "洋", "tide"]);
        assert_eq!(encode("tide—mill"), ["tide", "?", "mill"]);
    }

    #[test]
    fn texts_are_cleaned() {
        assert_eq!(encode("CAFÉ cafe\u{301} ti\u{200b}d\u{0}e\u{fffd}"), ["cafe", "cafe", "tide"]);
        let cased = Cleaning { lowers: false, strips_accents: false, ..Cleaning::UNCASED };
        assert_eq!(encode_with(cased, "Tide tide café"), ["?", "tide", "?"]);
        assert_eq!(encode("STRASSE straße"), ["?", "straße"]);
    }

    #[test]
    fn long_words_are_unknown_at_once() {
        assert_eq!(encode("tidemillingtidemillings"), ["?"]);
        assert_eq!(encode(&"x".repeat(1_000_000)), ["?"]);
    }
}
