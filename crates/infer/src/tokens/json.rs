//! Vocabularies from `tokenizer.json`, the file of the library `tokenizers`.
//!
//! Two kinds are read: words and their pieces (BERT), and merged bytes (Llama 3, Qwen, SmolLM). What the file says of how
//! texts are cleaned and cut must be one of the ways that are known here: a way that was guessed would make other tokens
//! than the model was trained with.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::split::Splitter;
use super::words::{Cleaning, Words};
use super::{Parts, Scheme, Tokenizer, kind};
use crate::file::FileError;
use crate::json::{Object, parse};

const FILE: &str = "tokenizer.json";
const CONFIG: &str = "config.json";

/// The largest files have some dozen megabytes.
const LONGEST: usize = 1 << 27;

/// The largest vocabularies have a quarter of a million.
const MOST_TOKENS: usize = 1 << 22;

/// All models have 100; the time that a word takes grows with its square.
const MOST_LETTERS: usize = 1_000;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Model {
    WordPiece {
        unk_token: String,
        continuing_subword_prefix: String,
        max_input_chars_per_word: usize,
        vocab: HashMap<String, u32>,
    },
    #[serde(rename = "BPE")]
    Merges {
        #[serde(default)]
        ignore_merges: bool,
        #[serde(default)]
        byte_fallback: bool,
        vocab: HashMap<String, u32>,
        merges: Vec<Merge>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Text(String),
    Pair([String; 2]),
}

/// Patterns of pre-tokenizers, by the names that GGUF files have for them.
const PATTERNS: [(&str, &str); 2] = [
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "llama-bpe",
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "qwen2",
    ),
];

impl Tokenizer {
    /// Reads a model's `tokenizer.json`; `config`, the text of its `config.json`, says which tokens begin and end texts.
    ///
    /// # Errors
    ///
    /// The vocabulary is of a kind that is not supported, or its parts do not fit each other.
    pub fn read_json(text: &str, config: Option<&str>) -> Result<Self, FileError> {
        if text.len() > LONGEST {
            return Err(error(format!("has more than {LONGEST} bytes")));
        }
        let mut file: File = serde_json::from_str(text).map_err(|reason| error(reason.to_string()))?;
        let vocab = match &mut file.model {
            Model::WordPiece { vocab, .. } | Model::Merges { vocab, .. } => std::mem::take(vocab),
        };
        let (texts, kinds) = list(vocab, &file.added_tokens)?;
        let ids = super::ids(&texts);
        let ends = Ends::read(config)?;
        let (scheme, composes, begin) = match &file.model {
            Model::WordPiece { .. } => (file.words(&ids)?, false, None),
            Model::Merges { .. } => {
                let (scheme, composes) = file.merged(&ids)?;
                (scheme, composes, file.begin()?)
            }
        };
        let mut named = begin.iter().chain(&ends.begin).chain(&ends.ends);
        if let Some(id) = named.find(|&&id| id as usize >= texts.len()) {
            return Err(error(format!("there is no token {id}")));
        }
        let adds_begin = begin.is_some();
        let (begin, ends) = (begin.or(ends.begin), ends.ends);
        Ok(Self::of(Parts { texts, kinds, ids, scheme, begin, adds_begin, ends, composes }))
    }
}

fn error(problem: impl Into<String>) -> FileError {
    FileError::json(FILE, problem)
}

/// Tokens in the order of their numbers, with their kinds.
fn list(vocab: HashMap<String, u32>, added: &[Added]) -> Result<(Vec<String>, Vec<i64>), FileError> {
    let most = vocab.len() + added.len();
    if most > MOST_TOKENS {
        return Err(error(format!("has {most} tokens, more than {MOST_TOKENS}")));
    }
    let mut texts: Vec<Option<String>> = vec![None; most];
    let mut kinds = vec![1; most];
    for (text, id) in vocab {
        let place = texts.get_mut(id as usize);
        let place = place.ok_or_else(|| error(format!("{text:?} is token {id}, of {most}")))?;
        if let Some(other) = place {
            return Err(error(format!("{text:?} and {other:?} are both token {id}")));
        }
        *place = Some(text);
    }
    for Added { id, content, special } in added {
        let at = *id as usize;
        let place = texts.get_mut(at).filter(|place| place.as_ref().is_none_or(|text| text == content));
        let place = place.ok_or_else(|| error(format!("{content:?} cannot be token {id}")))?;
        *place = Some(content.clone());
        kinds[at] = if *special { kind::CONTROL } else { kind::USER_DEFINED };
    }
    // Added tokens may be in the vocabulary as well, so the list may end before.
    let len = texts.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    texts.truncate(len);
    kinds.truncate(len);
    let texts =
        (0..).zip(texts).map(|(id, text)| text.ok_or_else(|| error(format!("there is no token {id}"))));
    Ok((texts.collect::<Result<_, _>>()?, kinds))
}

/// The tokens that `config.json` names.
#[derive(Default)]
struct Ends {
    begin: Option<u32>,
    ends: Vec<u32>,
}

impl Ends {
    fn read(config: Option<&str>) -> Result<Self, FileError> {
        let Some(config) = config else { return Ok(Self::default()) };
        let value = parse(CONFIG, config)?;
        let keys = Object::new(CONFIG, &value)?;
        let ends = match keys.get("eos_token_id") {
            Some(Value::Array(all)) => {
                let ids = all.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()));
                ids.collect::<Option<_>>()
                    .ok_or_else(|| keys.error("eos_token_id", "must be numbers of tokens"))?
            }
            _ => keys.token("eos_token_id")?.into_iter().collect(),
        };
        Ok(Self { begin: keys.token("bos_token_id")?, ends })
    }
}

/// The steps of a part that may be a sequence of some.
fn steps(value: &Value) -> Vec<&Value> {
    match kind_of(value) {
        "Sequence" => {
            let parts = ["normalizers", "pretokenizers", "processors"];
            let all = parts.iter().find_map(|part| value.get(part)?.as_array());
            all.map_or_else(Vec::new, |all| all.iter().collect())
        }
        "" => Vec::new(),
        _ => vec![value],
    }
}

fn kind_of(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("")
}

fn flag(value: &Value, key: &str) -> Option<bool> {
    value.get(key).and_then(Value::as_bool)
}

impl File {
    fn words(&self, ids: &HashMap<String, u32>) -> Result<Scheme, FileError> {
        let Model::WordPiece { unk_token, continuing_subword_prefix, max_input_chars_per_word, .. } =
            &self.model
        else {
            return Err(error("is no vocabulary of words"));
        };
        if kind_of(&self.normalizer) != "BertNormalizer" {
            return Err(error("the normalizer is not supported: BertNormalizer is"));
        }
        if kind_of(&self.pre_tokenizer) != "BertPreTokenizer" {
            return Err(error("the pre_tokenizer is not supported: BertPreTokenizer is"));
        }
        let lowers = flag(&self.normalizer, "lowercase").unwrap_or(true);
        let cleaning = Cleaning {
            cleans: flag(&self.normalizer, "clean_text").unwrap_or(true),
            separates_chinese: flag(&self.normalizer, "handle_chinese_chars").unwrap_or(true),
            strips_accents: flag(&self.normalizer, "strip_accents").unwrap_or(lowers),
            lowers,
        };
        if *max_input_chars_per_word > MOST_LETTERS {
            return Err(error(format!("max_input_chars_per_word may be {MOST_LETTERS} at most")));
        }
        let unknown = ids.get(unk_token).ok_or_else(|| error(format!("there is no token {unk_token:?}")))?;
        let (begin, end) = self.brackets(ids)?;
        Ok(Scheme::words(Words {
            begins: String::new(),
            continues: continuing_subword_prefix.clone(),
            unknown: *unknown,
            most_letters: *max_input_chars_per_word,
            cleaning,
            begin,
            end,
        }))
    }

    /// The tokens that a text is put between.
    fn brackets(&self, ids: &HashMap<String, u32>) -> Result<(u32, u32), FileError> {
        let processor = &self.post_processor;
        let names = match kind_of(processor) {
            "BertProcessing" => ["cls", "sep"].map(|key| processor.get(key)?.get(0)?.as_str()),
            "TemplateProcessing" => match template(processor)[..] {
                [Part::Token(begin), Part::Text, Part::Token(end)] => [Some(begin), Some(end)],
                _ => [None, None],
            },
            _ => [None, None],
        };
        match names.map(|name| name.and_then(|name| ids.get(name))) {
            [Some(&begin), Some(&end)] => Ok((begin, end)),
            _ => Err(error("the post_processor is not supported: a token before and one after a text is")),
        }
    }

    fn merged(&self, ids: &HashMap<String, u32>) -> Result<(Scheme, bool), FileError> {
        let Model::Merges { ignore_merges, byte_fallback, merges, .. } = &self.model else {
            return Err(error("is no vocabulary of merges"));
        };
        if *byte_fallback {
            return Err(error("byte_fallback is not supported: vocabularies of bytes are"));
        }
        let composes = match kind_of(&self.normalizer) {
            "" => false,
            "NFC" => true,
            other => return Err(error(format!("the normalizer {other:?} is not supported: NFC is"))),
        };
        let name = self.splitter()?;
        let splitter = Splitter::by_name(name).ok_or_else(|| error(format!("{name:?} is not supported")))?;
        let pairs = merges.iter().map(|merge| match merge {
            Merge::Text(text) => text.split_once(' ').unwrap_or((text, "")),
            Merge::Pair([a, b]) => (a.as_str(), b.as_str()),
        });
        let scheme = Scheme::merged(pairs, ids, splitter, *ignore_merges).map_err(error)?;
        Ok((scheme, composes))
    }

    /// GGUF's name for the way in which texts are cut.
    fn splitter(&self) -> Result<&'static str, FileError> {
        let steps = steps(&self.pre_tokenizer);
        let is_bytes = |step: &Value, cuts: bool| {
            kind_of(step) == "ByteLevel"
                && flag(step, "use_regex").unwrap_or(true) == cuts
                && !flag(step, "add_prefix_space").unwrap_or(true)
        };
        let name = match steps[..] {
            [bytes] if is_bytes(bytes, true) => Some("gpt-2"),
            [digits, bytes]
                if kind_of(digits) == "Digits"
                    && flag(digits, "individual_digits") == Some(true)
                    && is_bytes(bytes, true) =>
            {
                Some("smollm")
            }
            [split, bytes] if kind_of(split) == "Split" && is_bytes(bytes, false) => {
                let isolates = split.get("behavior").and_then(Value::as_str) == Some("Isolated");
                let pattern = split.pointer("/pattern/Regex").and_then(Value::as_str);
                let known = PATTERNS.iter().find(|(known, _)| pattern == Some(known));
                known.filter(|_| isolates && flag(split, "invert") != Some(true)).map(|row| row.1)
            }
            _ => None,
        };
        name.ok_or_else(|| {
            error("the pre_tokenizer is not supported: those of GPT-2, SmolLM, Llama 3 and Qwen are")
        })
    }

    /// The token that is put before every text.
    fn begin(&self) -> Result<Option<u32>, FileError> {
        let mut begin = None;
        for step in steps(&self.post_processor) {
            match kind_of(step) {
                "ByteLevel" => {}
                "TemplateProcessing" => match template(step)[..] {
                    [Part::Text] => {}
                    [Part::Token(name), Part::Text] => {
                        let added = self.added_tokens.iter().find(|token| token.content == name);
                        let token = added.ok_or_else(|| error(format!("there is no token {name:?}")))?;
                        begin = Some(token.id);
                    }
                    _ => return Err(error("the post_processor is not supported: a token before a text is")),
                },
                other => return Err(error(format!("the post_processor {other:?} is not supported"))),
            }
        }
        Ok(begin)
    }
}

/// A part of a template for one text.
enum Part<'a> {
    Text,
    Token(&'a str),
    Other,
}

fn template(processor: &Value) -> Vec<Part<'_>> {
    let parts = processor.get("single").and_then(Value::as_array);
    parts.map_or_else(Vec::new, |parts| parts.iter().map(part).collect())
}

fn part(part: &Value) -> Part<'_> {
    if part.get("Sequence").is_some() {
        return Part::Text;
    }
    part.pointer("/SpecialToken/id").and_then(Value::as_str).map_or(Part::Other, Part::Token)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::tiny;

    fn read(value: &Value) -> Result<Tokenizer, String> {
        Tokenizer::read_json(&value.to_string(), None).map_err(|error| error.to_string())
    }

    fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        tokenizer.encode(text).iter().map(|&id| tokenizer.text(id)).collect()
    }

    fn words() -> Value {
        parse(FILE, &tiny::encoder(1).tokenizer).unwrap()
    }

    fn bytes() -> Value {
        let letters = (0..=255).map(|byte| super::super::byte_letter(byte).to_string());
        let tokens = letters.chain(["th", "the", "in", "ing"].map(String::from));
        let vocab: serde_json::Map<_, _> = (0..).zip(tokens).map(|(id, text)| (text, json!(id))).collect();
        let id = vocab.len();
        json!({
            "added_tokens": [{"id": id, "content": "<s>", "special": true}],
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERNS[0].0}, "behavior": "Isolated", "invert": false},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
            ]},
            "post_processor": {"type": "Sequence", "processors": [
                {"type": "ByteLevel", "add_prefix_space": true},
                {"type": "TemplateProcessing", "single": [
                    {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                ]},
            ]},
            "model": {"type": "BPE", "vocab": vocab, "merges": ["t h", ["th", "e"], "i n", ["in", "g"]]},
        })
    }

    #[test]
    fn words_are_put_between_their_marks() {
        let tokenizer = read(&words()).unwrap();
        assert_eq!(pieces(&tokenizer, "The tides"), ["[CLS]", "the", "tide", "##s", "[SEP]"]);
        assert_eq!(pieces(&tokenizer, ""), ["[CLS]", "[SEP]"]);
        assert_eq!(pieces(&tokenizer, "mill [MASK]!"), ["[CLS]", "mill", "[MASK]", "!", "[SEP]"]);
    }

    #[test]
    fn the_same_words_in_a_gguf_file_are_the_same_tokens() {
        let gguf = crate::gguf::Gguf::read(&tiny::encoder_gguf(1, false)).unwrap();
        let (ours, theirs) = (Tokenizer::read(gguf.metadata()).unwrap(), read(&words()).unwrap());
        for text in ["The tides", "", "millings; 海 turned!", "it's wheel-turning"] {
            assert_eq!(ours.encode(text), theirs.encode(text), "{text}");
        }
    }

    #[test]
    fn bytes_are_merged_in_the_order_of_the_list() {
        let config = r#"{"bos_token_id": 3, "eos_token_id": [7, 5]}"#;
        let tokenizer = Tokenizer::read_json(&bytes().to_string(), Some(config)).unwrap();
        assert_eq!(pieces(&tokenizer, "the thing"), ["<s>", "the", " ", "th", "ing"]);
        assert_eq!(tokenizer.encode("e\u{301}"), tokenizer.encode("é"));
        assert_eq!(tokenizer.ends(), [5, 7]);
        assert_eq!(tokenizer.begin(), (Some(260), true));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let mut cases: Vec<(Value, &str, Value, &str)> = Vec::new();
        for (pointer, value, problem) in [
            ("/normalizer/type", json!("Lowercase"), "the normalizer is not supported"),
            ("/pre_tokenizer/type", json!("Whitespace"), "the pre_tokenizer is not supported"),
            ("/post_processor/type", json!("RobertaProcessing"), "the post_processor is not supported"),
            ("/model/unk_token", json!("<unk>"), "there is no token \"<unk>\""),
            ("/model/type", json!("Unigram"), "unknown variant"),
            ("/model/vocab/the", json!(2), "are both token 2"),
            ("/model/vocab/the", json!(9_999), "\"the\" is token 9999"),
            ("/model/vocab/the", json!(-1), "tokenizer.json: "),
            ("/model/max_input_chars_per_word", json!(1_000_000), "at most"),
            ("/added_tokens/0/id", json!(70_000), "\"[PAD]\" cannot be token 70000"),
        ] {
            cases.push((words(), pointer, value, problem));
        }
        for (pointer, value, problem) in [
            ("/normalizer/type", json!("NFKC"), "\"NFKC\" is not supported"),
            ("/pre_tokenizer/pretokenizers/0/pattern/Regex", json!("(a+)+"), "the pre_tokenizer is not"),
            ("/model/byte_fallback", json!(true), "byte_fallback is not supported"),
            ("/model/merges/0", json!("q z"), "\"q z\" does not merge two tokens"),
            ("/post_processor/processors/0/type", json!("RobertaProcessing"), "is not supported"),
        ] {
            cases.push((bytes(), pointer, value, problem));
        }
        for (mut file, pointer, value, problem) in cases {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let parent = file.pointer_mut(parent).unwrap();
            match parent {
                Value::Array(all) => all[key.parse::<usize>().unwrap()] = value,
                parent => parent[key] = value,
            }
            let error = read(&file).unwrap_err();
            assert!(error.contains(problem), "{pointer}: {error}");
        }
        assert!(Tokenizer::read_json("{", None).is_err());
        let error = Tokenizer::read_json(&words().to_string(), Some(r#"{"eos_token_id": 1e9}"#)).unwrap_err();
        assert!(error.to_string().starts_with("config.json: "), "{error}");
    }

    proptest! {
        /// A changed file is refused, or makes tokens that it has of any text.
        #[test]
        fn changed_files_do_no_harm(is_words in any::<bool>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), text in "\\PC{0,40}") {
            let mut file = if is_words { words() } else { bytes() }.to_string().into_bytes();
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            if let Ok(tokenizer) = Tokenizer::read_json(&String::from_utf8_lossy(&file), None) {
                let tokens = tokenizer.encode(&text);
                prop_assert!(tokens.iter().all(|&token| (token as usize) < tokenizer.len()));
            }
        }
    }
}
