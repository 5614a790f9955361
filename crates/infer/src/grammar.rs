//! What an answer may be at all: JSON of a schema, or calls of tools.
//!
//! A grammar says after each token which may follow. It is a pure function of shape and tokens so far: its bounds count
//! steps, not time, and an answer's grammar starts anew wherever the answer is computed or checked.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::Arc;

use llguidance::api::{StopReason, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::tokens::Tokenizer;

/// What begins and what ends a call, as models of the Hermes, Qwen and SmolLM families write it.
pub const CALL: (&str, &str) = ("<tool_call>", "</tool_call>");

/// Schemas of more bytes, tools together, are refused: people's have some kilobytes.
const LONGEST_SCHEMA: usize = 1 << 18;

/// A token of more bytes is never allowed: the parser goes down a token byte by byte.
const LONGEST_TOKEN: usize = 255;

/// The most bytes that a vocabulary's tokens have together: the parser's tree of them has room for 2^22 nodes. Gemma's
/// have two million.
const MOST_BYTES: usize = (1 << 22) - 2;

/// An answer's shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// An object of JSON.
    Object,
    /// JSON of this schema.
    Schema(Value),
    /// Calls of tools.
    Calls(Calls),
}

/// Which tools an answer may call, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls {
    /// The tools.
    pub tools: Vec<Tool>,
    /// The answer is calls only; otherwise it is a text in which there may be calls.
    pub required: bool,
    /// There may be more than one.
    pub parallel: bool,
}

/// A tool that may be called.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name: letters, digits, `_` and `-`, 64 at most.
    pub name: String,
    /// The schema of its arguments.
    pub parameters: Value,
}

/// Why there is no grammar.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GrammarError {
    /// The model's vocabulary is beyond bounds.
    #[error("the vocabulary is too large for grammars")]
    Vocabulary,
    /// The schema is wrong, or uses what is not supported.
    #[error("the schema cannot be used: {0}")]
    Schema(String),
    /// A tool's name is not one.
    #[error("{0:?} is not a tool's name: letters, digits, _ and -, 64 at most")]
    Name(String),
    /// The grammar became too complex within an answer, or allows nothing that could follow.
    #[error("the grammar cannot go on: {0}")]
    Stuck(String),
}

/// Grammars over a model's tokens.
pub struct Grammars(ParserFactory);

/// One answer's grammar, as far as the answer has come.
pub struct Grammar(Matcher);

/// The tokens that may follow.
pub struct Mask(SimpleVob);

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammars")
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammar")
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask of {} tokens", self.0.num_set())
    }
}

impl Grammars {
    /// Over a vocabulary; this takes some dozen milliseconds.
    ///
    /// # Errors
    ///
    /// The vocabulary is beyond bounds.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, GrammarError> {
        let len = u32::try_from(tokenizer.len()).map_err(|_| GrammarError::Vocabulary)?;
        // Control tokens have no text, so that no text of a grammar can call for one. Of tokens that have the same text the
        // first is the one that may be used: a tree in which one place has many is slow to make.
        let mut known = HashSet::new();
        let mut words: Vec<Vec<u8>> = Vec::with_capacity(tokenizer.len());
        for token in 0..len {
            let bytes = tokenizer.bytes(token);
            let is_used = bytes.len() <= LONGEST_TOKEN && known.insert(bytes);
            words.push(if is_used { bytes.to_vec() } else { Vec::new() });
        }
        let total: usize = words.iter().map(Vec::len).sum();
        if words.is_empty() || total.max(words.len()) > MOST_BYTES {
            return Err(GrammarError::Vocabulary);
        }
        let ends = tokenizer.ends();
        let info = TokRxInfo::new(len, ends.first().copied().unwrap_or(INVALID_TOKEN));
        let mut trie = TokTrie::from(&info, &words);
        if !ends.is_empty() {
            trie = trie.with_eos_tokens(ends);
        }
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment).map_err(|_| GrammarError::Vocabulary)?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self(factory))
    }

    /// An answer's grammar, before its first token.
    ///
    /// # Errors
    ///
    /// The shape is wrong, or too complex.
    pub fn begin(&self, shape: &Shape) -> Result<Grammar, GrammarError> {
        let grammar = match shape {
            Shape::Object => TopLevelGrammar::from_json_schema(compact(&json!({"type": "object"}))?),
            Shape::Schema(schema) => TopLevelGrammar::from_json_schema(compact(schema)?),
            Shape::Calls(calls) => TopLevelGrammar::from_lark(calls.grammar()?),
        };
        let parser = self.0.create_parser(grammar).map_err(|error| GrammarError::Schema(words(&error)))?;
        Ok(Grammar(Matcher::new(Ok(parser))))
    }
}

impl Grammar {
    /// The tokens that may follow, those that end an answer among them.
    ///
    /// # Errors
    ///
    /// None may, or the grammar is too complex.
    pub fn mask(&mut self) -> Result<Mask, GrammarError> {
        self.0.compute_mask().map(Mask).map_err(|error| GrammarError::Stuck(words(&error)))
    }

    /// Goes on by a token, other than one that ends the answer.
    ///
    /// # Errors
    ///
    /// The token may not follow, or the grammar is too complex; it stays stuck.
    pub fn take(&mut self, token: u32) -> Result<(), GrammarError> {
        self.0.consume_token(token).map_err(|error| GrammarError::Stuck(words(&error)))
    }

    /// True where nothing more may follow: the answer is whole.
    pub fn is_complete(&self) -> bool {
        matches!(self.0.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
    }
}

impl Mask {
    /// True for a token that may follow.
    pub fn allows(&self, token: u32) -> bool {
        (token as usize) < self.0.len() && self.0.is_allowed(token)
    }
}

/// The first line of an error, without what the parser says of itself.
fn words(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// A schema whose JSON has at most one space after commas and colons: a model that may write spaces may do so for ever.
fn compact(schema: &Value) -> Result<Value, GrammarError> {
    let mut object = match schema {
        Value::Object(object) => object.clone(),
        Value::Bool(true) => Map::new(),
        _ => return Err(GrammarError::Schema("a schema is an object".into())),
    };
    if schema.to_string().len() > LONGEST_SCHEMA {
        return Err(GrammarError::Schema(format!("it has more than {LONGEST_SCHEMA} bytes")));
    }
    let options = json!({"whitespace_flexible": false, "item_separator": ", ?", "key_separator": ": ?"});
    object.insert("x-guidance".into(), options);
    Ok(Value::Object(object))
}

impl Calls {
    fn grammar(&self) -> Result<String, GrammarError> {
        if self.tools.is_empty() {
            return Err(GrammarError::Schema("there are no tools".into()));
        }
        let (begin, end) = CALL;
        let mut rules = match (self.required, self.parallel) {
            (true, false) => "start: call\n".to_owned(),
            (true, true) => "start: call (\"\\n\" call)*\n".to_owned(),
            (false, false) => "start: call | TEXT\n".to_owned(),
            (false, true) => "start: call* rest\nrest: TEXT\n".to_owned(),
        };
        if self.required {
            let _ = writeln!(rules, "call: \"{begin}\\n\" tool \"\\n{end}\"");
        } else {
            let _ = writeln!(rules, "TEXT: /(.|\\n)*/\nopen[lazy]: TEXT \"{begin}\"");
            let _ = writeln!(rules, "call: open \"\\n\" tool \"\\n{end}\"");
        }
        let numbers: Vec<String> = (0..self.tools.len()).map(|number| format!("tool_{number}")).collect();
        let _ = writeln!(rules, "tool: {}", numbers.join(" | "));
        for (number, Tool { name, parameters }) in self.tools.iter().enumerate() {
            let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
            if name.is_empty() || name.len() > 64 || !name.chars().all(is_letter) {
                return Err(GrammarError::Name(name.chars().take(80).collect()));
            }
            // Each tool's schema is a root of its own, so that references within it are found.
            let parameters = compact(parameters)?;
            let before = format!("{{\"name\": \"{name}\", \"arguments\": ");
            let _ = writeln!(rules, "tool_{number}: {} arguments_{number} \"}}\"", Value::String(before));
            let _ = writeln!(rules, "arguments_{number}: %json {parameters}");
        }
        if rules.len() > LONGEST_SCHEMA {
            return Err(GrammarError::Schema(format!("the tools have more than {LONGEST_SCHEMA} bytes")));
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Gguf;
    use crate::tiny;

    fn tokenizer() -> Tokenizer {
        Tokenizer::read(Gguf::read(&tiny::model("llama", 1)).unwrap().metadata()).unwrap()
    }

    /// How a text fares under a shape.
    #[derive(Debug, PartialEq)]
    enum Fate {
        /// Nothing may follow it.
        Complete,
        /// It may end, or go on.
        MayEnd,
        /// It must go on.
        Open,
        /// So many of its bytes are allowed.
        Refused(usize),
    }

    fn fate(shape: &Shape, text: &str) -> Fate {
        let tokenizer = tokenizer();
        let mut grammar = tokenizer.grammars().unwrap().begin(shape).unwrap();
        for (done, byte) in text.bytes().enumerate() {
            let token = tokenizer.id(&crate::tokens::byte_letter(byte).to_string()).unwrap();
            if grammar.is_complete() || !grammar.mask().unwrap().allows(token) {
                return Fate::Refused(done);
            }
            grammar.take(token).unwrap();
        }
        match () {
            () if grammar.is_complete() => Fate::Complete,
            () if grammar.mask().unwrap().allows(tokenizer.ends()[0]) => Fate::MayEnd,
            () => Fate::Open,
        }
    }

    #[test]
    fn objects_are_whole() {
        assert_eq!(fate(&Shape::Object, r#"{"a": [1, {"b": null}]}"#), Fate::Complete);
        assert_eq!(fate(&Shape::Object, r#"{"a": "}"#), Fate::Open);
        assert_eq!(fate(&Shape::Object, "[1]"), Fate::Refused(0));
        assert_eq!(fate(&Shape::Object, "{\n\n"), Fate::Refused(1));
    }

    #[test]
    fn schemas_are_followed() {
        let shape = Shape::Schema(json!({
            "type": "object",
            "properties": {"kind": {"enum": ["tide", "ebb"]}, "depth": {"$ref": "#/$defs/metres"}},
            "required": ["kind", "depth"],
            "additionalProperties": false,
            "$defs": {"metres": {"type": "integer", "minimum": 0, "maximum": 12}},
        }));
        assert_eq!(fate(&shape, r#"{"kind": "tide", "depth": 12}"#), Fate::Complete);
        assert_eq!(fate(&shape, r#"{"kind":"ebb","depth":3}"#), Fate::Complete);
        assert_eq!(fate(&shape, r#"{"kind": "flood"#), Fate::Refused(10));
        assert_eq!(fate(&shape, r#"{"kind": "ebb", "depth": 13"#), Fate::Refused(26));
        assert_eq!(fate(&shape, r#"{"kind": "ebb"}"#), Fate::Refused(14));
        assert_eq!(fate(&Shape::Schema(json!(true)), "12"), Fate::MayEnd);
    }

    fn calls(required: bool, parallel: bool) -> Shape {
        let tool = |name: &str, parameters| Tool { name: name.into(), parameters };
        let defined = json!({"type": "object", "properties": {"at": {"$ref": "#/$defs/port"}}, "required": ["at"],
            "$defs": {"port": {"enum": ["Brest", "Hull"]}}});
        let tools = vec![tool("get_tide", defined), tool("ring", json!({"type": "object"}))];
        Shape::Calls(Calls { tools, required, parallel })
    }

    const FIRST: &str =
        "<tool_call>\n{\"name\": \"get_tide\", \"arguments\": {\"at\": \"Hull\"}}\n</tool_call>";
    const SECOND: &str = "<tool_call>\n{\"name\": \"ring\", \"arguments\": {}}\n</tool_call>";

    #[test]
    fn required_calls_are_all_there_is() {
        assert_eq!(fate(&calls(true, false), FIRST), Fate::Complete);
        assert_eq!(fate(&calls(true, true), FIRST), Fate::MayEnd);
        assert_eq!(fate(&calls(true, true), &format!("{FIRST}\n{SECOND}")), Fate::MayEnd);
        assert_eq!(fate(&calls(true, false), "I call"), Fate::Refused(0));
        let wrong = FIRST.replace("Hull", "Home");
        assert_eq!(fate(&calls(true, true), &wrong), Fate::Refused(wrong.find("ome").unwrap()));
    }

    #[test]
    fn calls_may_be_within_a_text() {
        for parallel in [false, true] {
            assert_eq!(fate(&calls(false, parallel), "No <tool> is needed."), Fate::MayEnd);
            assert_eq!(fate(&calls(false, parallel), "I see. <tool_call>\n{\"name\""), Fate::Open);
            let wrong = "I see. <tool_call>\n[";
            assert_eq!(fate(&calls(false, parallel), wrong), Fate::Refused(wrong.len() - 1));
        }
        assert_eq!(fate(&calls(false, false), &format!("I see. {FIRST}")), Fate::Complete);
        assert_eq!(fate(&calls(false, true), &format!("{FIRST}\nand {SECOND} done")), Fate::MayEnd);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let tokenizer = tokenizer();
        let grammars = tokenizer.grammars().unwrap();
        let refuse = |shape: Shape| grammars.begin(&shape).unwrap_err();
        assert!(matches!(refuse(Shape::Schema(json!([]))), GrammarError::Schema(_)));
        assert!(matches!(refuse(Shape::Schema(json!({"type": "tide"}))), GrammarError::Schema(_)));
        assert!(matches!(
            refuse(Shape::Schema(json!({"$ref": "http://example.org/"}))),
            GrammarError::Schema(_)
        ));
        let long = json!({"const": "x".repeat(LONGEST_SCHEMA)});
        assert!(refuse(Shape::Schema(long)).to_string().contains("more than 262144 bytes"));
        let of = |name: &str| {
            let tools = vec![Tool { name: name.into(), parameters: json!({}) }];
            Shape::Calls(Calls { tools, required: true, parallel: true })
        };
        for name in ["", "a\"b", "a b", &"x".repeat(65)] {
            assert!(matches!(refuse(of(name)), GrammarError::Name(_)), "{name}");
        }
        let none = Calls { tools: vec![], required: true, parallel: true };
        assert!(matches!(refuse(Shape::Calls(none)), GrammarError::Schema(_)));
    }

    fn with_tokens(tokens: Vec<String>) -> Tokenizer {
        use crate::gguf::{Value, Writer};
        let mut writer = Writer::new();
        writer.key("tokenizer.ggml.model", Value::Text("llama".into()));
        writer.key("tokenizer.ggml.scores", Value::Floats(vec![0.0; tokens.len()]));
        writer.key("tokenizer.ggml.tokens", Value::Texts(tokens));
        Tokenizer::read(Gguf::read(&writer.finish()).unwrap().metadata()).unwrap()
    }

    /// A vocabulary of strange tokens, and none that ends an answer.
    #[test]
    fn strange_vocabularies_do_no_harm() {
        let strange = ["{", "}", "\"", ":", "a", "a", "{\"", "", "\u{ff}\u{fe}", &"x".repeat(100_000)];
        let mut tokens: Vec<String> = strange.iter().map(|&token| token.to_owned()).collect();
        tokens.extend(std::iter::repeat_n("{".to_owned(), 300_000));
        let tokenizer = with_tokens(tokens);
        let mut grammar = tokenizer.grammars().unwrap().begin(&Shape::Object).unwrap();
        let allowed = |mask: &Mask| (0..300_010).filter(|&token| mask.allows(token)).collect::<Vec<_>>();
        assert_eq!(allowed(&grammar.mask().unwrap()), [0, 6]);
        grammar.take(0).unwrap();
        assert_eq!(allowed(&grammar.mask().unwrap()), [1, 2]);
        grammar.take(1).unwrap();
        assert!(grammar.is_complete());
        let large = (0..40_000).map(|number| format!("{number:0>120}")).collect();
        assert_eq!(with_tokens(large).grammars().unwrap_err(), GrammarError::Vocabulary);
    }

    /// Whatever was asked before, and how often: the same tokens so far allow the same.
    #[test]
    fn masks_depend_on_nothing_but_shape_and_tokens() {
        let text = "Look: <tool_call>\n{\"name\": \"get_tide\", \"arguments\": {\"at\": \"Br";
        let of = |tokenizer: &Tokenizer, masks_between: bool| -> Vec<bool> {
            let mut grammar = tokenizer.grammars().unwrap().begin(&calls(false, true)).unwrap();
            for token in tokenizer.encode(text) {
                if masks_between {
                    assert!(grammar.mask().unwrap().allows(token));
                }
                grammar.take(token).unwrap();
            }
            let mask = grammar.mask().unwrap();
            (0..tokenizer.len() as u32 + 9).map(|token| mask.allows(token)).collect()
        };
        let tokenizer = tokenizer();
        let first = of(&tokenizer, true);
        assert_eq!(of(&tokenizer, true), first);
        assert_eq!(of(&tokenizer, false), first);
        assert_eq!(of(&super::tests::tokenizer(), true), first);
        let allowed: Vec<u32> =
            (0..).zip(first).filter(|(_, allowed)| *allowed).map(|(token, _)| token).collect();
        assert_eq!(allowed.iter().map(|&token| tokenizer.text(token)).collect::<Vec<_>>(), ["e"]);
    }
}
