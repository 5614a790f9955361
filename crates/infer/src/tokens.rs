//! Texts to tokens and back, by the vocabulary of a model's file.

mod merge;
mod split;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::gguf::{GgufError, Metadata};
use merge::{Piece, merge};
use split::Splitter;

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
}

#[derive(Debug)]
enum Scheme {
    /// Bytes, merged in the order of a list.
    Bytes { splitter: Splitter, ranks: HashMap<(u32, u32), (u32, u32)>, whole_words: bool },
    /// Letters, merged by the scores of tokens.
    Scores { scores: Vec<f32>, adds_space: bool, byte_tokens: HashMap<u8, u32>, unknown: Option<u32> },
}

impl Tokenizer {
    /// Reads a file's vocabulary.
    ///
    /// # Errors
    ///
    /// The vocabulary is of a kind that is not supported, or its parts do not fit each other.
    pub fn read(metadata: &Metadata) -> Result<Self, GgufError> {
        let texts = required(metadata.texts(TOKENS)?, TOKENS)?;
        let kinds = match metadata.integers("tokenizer.ggml.token_type")? {
            None => vec![1; texts.len()],
            Some(kinds) if kinds.len() == texts.len() => kinds.to_vec(),
            Some(_) => {
                return Err(GgufError::key(
                    "tokenizer.ggml.token_type",
                    "has another length than the tokens",
                ));
            }
        };
        let mut ids = HashMap::with_capacity(texts.len());
        for (id, text) in texts.iter().enumerate() {
            // Should a text be there twice, the first token is the one that is used.
            ids.entry(text.clone()).or_insert(id as u32);
        }
        let scheme = required(metadata.text("tokenizer.ggml.model")?, "tokenizer.ggml.model")?;
        let scheme = match scheme {
            "gpt2" => Scheme::bytes(metadata, &ids)?,
            "llama" => Scheme::scores(metadata, texts, &kinds)?,
            other => {
                let problem = format!("{other:?} is not supported: gpt2 and llama are");
                return Err(GgufError::key("tokenizer.ggml.model", problem));
            }
        };
        let is_mark = |kind: i64| matches!(kind, kind::CONTROL | kind::USER_DEFINED);
        let mut marks: Vec<(String, u32)> = (0u32..)
            .zip(texts.iter().zip(&kinds))
            .filter(|(_, (text, kind))| is_mark(**kind) && !text.is_empty())
            .map(|(id, (text, _))| (text.clone(), id))
            .collect();
        marks.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        let bytes = texts.iter().zip(&kinds).map(|(text, &kind)| token_bytes(&scheme, text, kind)).collect();
        let token = |key: &str| -> Result<Option<u32>, GgufError> {
            match metadata.u32(key)? {
                Some(id) if id as usize >= texts.len() => {
                    Err(GgufError::key(key, format!("there is no token {id}")))
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
        // Files of chat models that name only the end of a text have these as well.
        ends.extend(
            ["<|im_end|>", "<|eot_id|>", "<end_of_turn>"]
                .iter()
                .filter_map(|text| ids.get(*text).filter(|&&id| kinds[id as usize] == kind::CONTROL)),
        );
        ends.sort_unstable();
        ends.dedup();
        let begin = token("tokenizer.ggml.bos_token_id")?;
        let adds_begin = metadata.bool("tokenizer.ggml.add_bos_token")?;
        let adds_begin = adds_begin.unwrap_or(matches!(scheme, Scheme::Scores { .. })) && begin.is_some();
        let is_control = kinds.iter().map(|&kind| kind == kind::CONTROL).collect();
        Ok(Self { bytes, is_control, ids, marks, scheme, begin, adds_begin, ends })
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
        let mut tokens = Vec::new();
        let mut rest = text;
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

fn required<T>(value: Option<T>, key: &str) -> Result<T, GgufError> {
    value.ok_or_else(|| GgufError::key(key, "is missing"))
}

impl Scheme {
    fn bytes(metadata: &Metadata, ids: &HashMap<String, u32>) -> Result<Self, GgufError> {
        const MERGES: &str = "tokenizer.ggml.merges";
        let merges = required(metadata.texts(MERGES)?, MERGES)?;
        let mut ranks = HashMap::with_capacity(merges.len());
        for (rank, merge) in (0u32..).zip(merges) {
            let parts = merge
                .split_once(' ')
                .and_then(|(a, b)| Some(((*ids.get(a)?, *ids.get(b)?), *ids.get(&format!("{a}{b}"))?)));
            let (pair, merged) = parts.ok_or_else(|| {
                GgufError::key(MERGES, format!("{merge:?} does not merge two tokens to a third"))
            })?;
            ranks.entry(pair).or_insert((rank, merged));
        }
        let name = metadata.text("tokenizer.ggml.pre")?.unwrap_or("gpt-2");
        let splitter = Splitter::by_name(name)
            .ok_or_else(|| GgufError::key("tokenizer.ggml.pre", format!("{name:?} is not supported")))?;
        Ok(Self::Bytes { splitter, ranks, whole_words: name == "llama-bpe" })
    }

    fn scores(metadata: &Metadata, texts: &[String], kinds: &[i64]) -> Result<Self, GgufError> {
        const SCORES: &str = "tokenizer.ggml.scores";
        let scores = required(metadata.floats(SCORES)?, SCORES)?;
        if scores.len() != texts.len() {
            return Err(GgufError::key(SCORES, "has another length than the tokens"));
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
