//! Texts to tokens and back, by the vocabulary of a model's file.

mod json;
mod merge;
mod split;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::file::FileError;
use crate::gguf::Metadata;
use crate::grammar::{GrammarError, Grammars};
use merge::{Piece, merge};
use split::Splitter;
use unicode_normalization::UnicodeNormalization;
use words::{Classes, Cleaning, Words};

/// Kinds of tokens, as files number them.
mod kind {
    pub const UNKNOWN: i64 = 2;
    pub const CONTROL: i64 = 3;
    pub const USER_DEFINED: i64 = 4;
    pub const BYTE: i64 = 6;
}

/// A space, in vocabularies of SentencePiece.
const SPACE: &str = "\u{2581}";

/// A model's vocabulary.
#[derive(Debug)]
pub struct Tokenizer {
    /// Each token's bytes in a text.
    bytes: Vec<Vec<u8>>,
    is_control: Vec<bool>,
    ids: HashMap<String, u32>,
    /// Tokens that are found in a text before it is split, longest first.
    marks: Vec<(String, u32)>,
    scheme: Scheme,
    begin: Option<u32>,
    adds_begin: bool,
    ends: Vec<u32>,
    /// Letters and their accents are put together before a text is cut.
    composes: bool,
    /// Made when the first request needs them.
    grammars: OnceLock<Result<Grammars, GrammarError>>,
}

/// What a file says of its vocabulary.
struct Parts {
    texts: Vec<String>,
    kinds: Vec<i64>,
    ids: HashMap<String, u32>,
    scheme: Scheme,
    begin: Option<u32>,
    adds_begin: bool,
    ends: Vec<u32>,
    composes: bool,
}

#[derive(Debug)]
enum Scheme {
    /// Bytes, merged in the order of a list.
    Bytes { splitter: Splitter, ranks: HashMap<(u32, u32), (u32, u32)>, whole_words: bool },
    /// Letters, merged by the scores of tokens.
    Scores { scores: Vec<f32>, adds_space: bool, byte_tokens: HashMap<u8, u32>, unknown: Option<u32> },
    /// Words, and pieces of words.
    Words { words: Box<Words>, classes: Box<Classes> },
}

impl Tokenizer {
    /// Reads a file's vocabulary.
    ///
    /// # Errors
    ///
    /// The vocabulary is of a kind that is not supported, or its parts do not fit each other.
    pub fn read(metadata: &Metadata) -> Result<Self, FileError> {
        let texts = required(metadata.texts(TOKENS)?, TOKENS)?;
        let kinds = match metadata.integers("tokenizer.ggml.token_type")? {
            None => vec![1; texts.len()],
            Some(kinds) if kinds.len() == texts.len() => kinds.to_vec(),
            Some(_) => {
                return Err(FileError::key(
                    "tokenizer.ggml.token_type",
                    "has another length than the tokens",
                ));
            }
        };
        let ids = ids(texts);
        let scheme = required(metadata.text("tokenizer.ggml.model")?, "tokenizer.ggml.model")?;
        let scheme = match scheme {
            "gpt2" => Scheme::bytes(metadata, &ids)?,
            "llama" => Scheme::scores(metadata, texts, &kinds)?,
            "bert" => Scheme::words_of_gguf(metadata)?,
            other => {
                let problem = format!("{other:?} is not supported: gpt2, llama and bert are");
                return Err(FileError::key("tokenizer.ggml.model", problem));
            }
        };
        let token = |key: &str| -> Result<Option<u32>, FileError> {
            match metadata.u32(key)? {
                Some(id) if id as usize >= texts.len() => {
                    Err(FileError::key(key, format!("there is no token {id}")))
                }
                id => Ok(id),
            }
        };
        let mut ends = Vec::new();
        for key in
            ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"]
        {
            ends.extend(token(key)?);
        }
        let begin = token("tokenizer.ggml.bos_token_id")?;
        let adds_begin = metadata.bool("tokenizer.ggml.add_bos_token")?;
        let adds_begin = adds_begin.unwrap_or(matches!(scheme, Scheme::Scores { .. })) && begin.is_some();
        let texts = texts.to_vec();
        Ok(Self::of(Parts { texts, kinds, ids, scheme, begin, adds_begin, ends, composes: false }))
    }

    fn of(parts: Parts) -> Self {
        let Parts { texts, kinds, ids, scheme, begin, adds_begin, mut ends, composes } = parts;
        let is_mark = |kind: i64| matches!(kind, kind::CONTROL | kind::USER_DEFINED);
        let mut marks: Vec<(String, u32)> = (0u32..)
            .zip(texts.iter().zip(&kinds))
            .filter(|(_, (text, kind))| is_mark(**kind) && !text.is_empty())
            .map(|(id, (text, _))| (text.clone(), id))
            .collect();
        marks.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        let bytes = texts.iter().zip(&kinds).map(|(text, &kind)| token_bytes(&scheme, text, kind)).collect();
        // Files of chat models that name only the end of a text have these as well.
        ends.extend(
            ["<|im_end|>", "<|eot_id|>", "<end_of_turn>"]
                .iter()
                .filter_map(|text| ids.get(*text).filter(|&&id| kinds[id as usize] == kind::CONTROL)),
        );
        ends.sort_unstable();
        ends.dedup();
        let is_control = kinds.iter().map(|&kind| kind == kind::CONTROL).collect();
        let grammars = OnceLock::new();
        Self { bytes, is_control, ids, marks, scheme, begin, adds_begin, ends, composes, grammars }
    }

    /// Tokens.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The token that begins a text, and whether texts begin with it that do not say so.
    pub fn begin(&self) -> (Option<u32>, bool) {
        (self.begin, self.adds_begin)
    }

    /// Tokens that end an answer.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Grammars over this vocabulary.
    ///
    /// # Errors
    ///
    /// The vocabulary is too large for them.
    pub fn grammars(&self) -> Result<&Grammars, GrammarError> {
        self.grammars.get_or_init(|| Grammars::new(self)).as_ref().map_err(Clone::clone)
    }

    /// The token of exactly that text.
    pub fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    /// A token's bytes in a text; control tokens have none. Not each token alone is valid UTF-8.
    pub fn bytes(&self, token: u32) -> &[u8] {
        let token = token as usize;
        if self.is_control.get(token).copied().unwrap_or(true) { &[] } else { &self.bytes[token] }
    }

    /// The text of a token, control tokens too.
    pub fn text(&self, token: u32) -> String {
        self.bytes
            .get(token as usize)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }

    /// A text's tokens. Names of control tokens within it are the tokens, as chat templates need it; the token that begins
    /// a text is added where the model wants it and the text does not have it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let composed: String;
        let mut rest = text;
        if self.composes {
            composed = text.nfc().collect();
            rest = &composed;
        }
        let mut tokens = Vec::new();
        let mut first = true;
        while !rest.is_empty() {
            let (plain, mark) = self.next_mark(rest);
            if !plain.is_empty() {
                self.encode_plain(plain, first, &mut tokens);
            }
            let Some((len, id)) = mark else { break };
            tokens.push(id);
            first = false;
            rest = &rest[plain.len() + len..];
        }
        if let Scheme::Words { words, .. } = &self.scheme {
            tokens.insert(0, words.begin);
            tokens.push(words.end);
        }
        match self.begin {
            Some(begin) if self.adds_begin && tokens.first() != Some(&begin) => tokens.insert(0, begin),
            _ => {}
        }
        tokens
    }

    /// What comes before the first mark, and the mark's length and token.
    fn next_mark<'a>(&self, text: &'a str) -> (&'a str, Option<(usize, u32)>) {
        for (at, _) in text.char_indices() {
            let found = self.marks.iter().find(|(mark, _)| text[at..].starts_with(mark.as_str()));
            if let Some((mark, id)) = found {
                return (&text[..at], Some((mark.len(), *id)));
            }
        }
        (text, None)
    }

    fn encode_plain(&self, text: &str, first: bool, tokens: &mut Vec<u32>) {
        match &self.scheme {
            Scheme::Bytes { splitter, ranks, whole_words } => {
                for word in splitter.split(text) {
                    let letters: String = word.bytes().map(byte_letter).collect();
                    if *whole_words && let Some(&id) = self.ids.get(&letters) {
                        tokens.push(id);
                        continue;
                    }
                    let merged = merge(self.letters(&letters), |a, b| {
                        let &(rank, id) = ranks.get(&(a.id?, b.id?))?;
                        Some((rank.into(), id))
                    });
                    // Every byte has a letter; a vocabulary without a token for one cannot say it.
                    tokens.extend(merged.iter().filter_map(|piece| piece.id));
                }
            }
            Scheme::Scores { scores, adds_space, byte_tokens, unknown } => {
                let space = if first && *adds_space { SPACE } else { "" };
                let text = format!("{space}{}", text.replace(' ', SPACE));
                let merged = merge(self.letters(&text), |a, b| {
                    let &id = self.ids.get(&text[a.from..b.to])?;
                    Some((descending(scores[id as usize]), id))
                });
                for piece in merged {
                    match piece.id {
                        Some(id) => tokens.push(id),
                        None => {
                            let bytes = text[piece.from..piece.to].bytes();
                            tokens.extend(
                                bytes.filter_map(|byte| byte_tokens.get(&byte).copied().or(*unknown)),
                            );
                        }
                    }
                }
            }
            Scheme::Words { words, classes } => words.encode(classes, &self.ids, text, tokens),
        }
    }

    fn letters(&self, text: &str) -> Vec<Piece> {
        text.char_indices()
            .map(|(from, letter)| {
                let to = from + letter.len_utf8();
                Piece { from, to, id: self.ids.get(&text[from..to]).copied() }
            })
            .collect()
    }
}

const TOKENS: &str = "tokenizer.ggml.tokens";

/// Tokens by their texts. Should a text be there twice, the first token is the one that is used.
fn ids(texts: &[String]) -> HashMap<String, u32> {
    let mut ids = HashMap::with_capacity(texts.len());
    for (id, text) in (0..).zip(texts) {
        ids.entry(text.clone()).or_insert(id);
    }
    ids
}

fn required<T>(value: Option<T>, key: &str) -> Result<T, FileError> {
    value.ok_or_else(|| FileError::key(key, "is missing"))
}

impl Scheme {
    fn bytes(metadata: &Metadata, ids: &HashMap<String, u32>) -> Result<Self, FileError> {
        const MERGES: &str = "tokenizer.ggml.merges";
        let merges = required(metadata.texts(MERGES)?, MERGES)?;
        let name = metadata.text("tokenizer.ggml.pre")?.unwrap_or("gpt-2");
        let splitter = Splitter::by_name(name)
            .ok_or_else(|| FileError::key("tokenizer.ggml.pre", format!("{name:?} is not supported")))?;
        let pairs = merges.iter().map(|merge| merge.split_once(' ').unwrap_or((merge, "")));
        Self::merged(pairs, ids, splitter, name == "llama-bpe")
            .map_err(|problem| FileError::key(MERGES, problem))
    }

    /// Of pairs that are merged, the first first; or what is wrong with one.
    fn merged<'a>(
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
        ids: &HashMap<String, u32>,
        splitter: Splitter,
        whole_words: bool,
    ) -> Result<Self, String> {
        let mut ranks = HashMap::new();
        for (rank, (a, b)) in (0u32..).zip(pairs) {
            let parts = || Some(((*ids.get(a)?, *ids.get(b)?), *ids.get(&format!("{a}{b}"))?));
            let (pair, merged) =
                parts().ok_or_else(|| format!("\"{a} {b}\" does not merge two tokens to a third"))?;
            ranks.entry(pair).or_insert((rank, merged));
        }
        Ok(Self::Bytes { splitter, ranks, whole_words })
    }

    fn words(words: Words) -> Self {
        Self::Words { words: Box::new(words), classes: Box::new(Classes::new()) }
    }

    /// Files of GGUF mark what begins a word, and not what continues one; all their models know no capitals.
    fn words_of_gguf(metadata: &Metadata) -> Result<Self, FileError> {
        let token = |names: [&str; 3]| {
            for name in names {
                if let Some(id) = metadata.u32(&format!("tokenizer.ggml.{name}_token_id"))? {
                    return Ok(id);
                }
            }
            Err(FileError::key(format!("tokenizer.ggml.{}_token_id", names[0]), "is missing"))
        };
        let (unknown, begin) = (token(["unknown"; 3])?, token(["cls", "bos", "bos"])?);
        // The second is how the format's own library wrote it for years.
        let end = token(["separator", "seperator", "eos"])?;
        let len = required(metadata.texts(TOKENS)?, TOKENS)?.len();
        if let Some(id) = [unknown, begin, end].into_iter().find(|&id| id as usize >= len) {
            return Err(FileError::key(TOKENS, format!("there is no token {id}")));
        }
        Ok(Self::words(Words {
            begins: SPACE.into(),
            continues: String::new(),
            unknown,
            most_letters: 100,
            cleaning: Cleaning::UNCASED,
            begin,
            end,
        }))
    }

    fn scores(metadata: &Metadata, texts: &[String], kinds: &[i64]) -> Result<Self, FileError> {
        const SCORES: &str = "tokenizer.ggml.scores";
        let scores = required(metadata.floats(SCORES)?, SCORES)?;
        if scores.len() != texts.len() {
            return Err(FileError::key(SCORES, "has another length than the tokens"));
        }
        let tokens = || (0u32..).zip(texts.iter().zip(kinds));
        let byte_tokens = tokens().filter(|(_, (_, kind))| **kind == kind::BYTE);
        let byte_tokens = byte_tokens.filter_map(|(id, (text, _))| Some((byte_of(text)?, id))).collect();
        let unknown = tokens().find(|(_, (_, kind))| **kind == kind::UNKNOWN).map(|(id, _)| id);
        let adds_space = metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        Ok(Self::Scores { scores: scores.to_vec(), adds_space, byte_tokens, unknown })
    }
}

fn token_bytes(scheme: &Scheme, text: &str, kind: i64) -> Vec<u8> {
    if matches!(kind, kind::CONTROL | kind::USER_DEFINED) {
        return text.into();
    }
    match scheme {
        Scheme::Bytes { .. } => {
            let bytes: Option<Vec<u8>> = text.chars().map(letter_byte).collect();
            bytes.unwrap_or_else(|| text.into())
        }
        Scheme::Words { .. } => text.into(),
        Scheme::Scores { .. } => match byte_of(text).filter(|_| kind == kind::BYTE) {
            Some(byte) => vec![byte],
            None => text.replace(SPACE, " ").into(),
        },
    }
}

/// The byte of a token such as `<0x0A>`.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// A key whose order is that of falling scores.
fn descending(score: f32) -> u64 {
    let bits = (-score).to_bits();
    let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    ordered.into()
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

/// The letter that stands for a byte in byte-level vocabularies, which have no unprintable letters.
pub(crate) fn byte_letter(byte: u8) -> char {
    if is_printable(byte) {
        return char::from(byte);
    }
    // The others follow in order from U+0100 on: 0 to 32, 127 to 160, 173.
    let number = match byte {
        0..=0x20 => u32::from(byte),
        0x7f..=0xa0 => 0x21 + u32::from(byte - 0x7f),
        _ => 0x43,
    };
    char::from_u32(0x100 + number).expect("below the surrogates")
}

fn letter_byte(letter: char) -> Option<u8> {
    match u32::from(letter) {
        code @ 0..=0xff => u8::try_from(code).ok().filter(|&byte| is_printable(byte)),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121) as u8 + 0x7f),
        0x143 => Some(0xad),
        _ => None,
    }
}
