//! Bodies that nobody would send.

use proptest::prelude::*;

use super::*;
use crate::batch::{Batch, JoinError};

/// Any value, as deep as bodies are.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-5i64..200).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z<>{}/_ \\n]{0,12}".prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(WORDS), inner), 0..5)
                .prop_map(|all| all.into_iter().collect::<Value>()),
        ]
    })
}

/// What fields and values are called.
const WORDS: &[&str] = &[
    "tiny",
    "model",
    "messages",
    "role",
    "user",
    "assistant",
    "tool",
    "content",
    "type",
    "text",
    "function",
    "name",
    "arguments",
    "parameters",
    "tools",
    "tool_choice",
    "tool_calls",
    "required",
    "object",
    "properties",
    "response_format",
    "json_schema",
    "json_object",
    "schema",
    "stop",
    "seed",
    "n",
    "max_tokens",
    "temperature",
    "top_p",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "prompt",
    "echo",
    "stream",
    "stream_options",
    "$ref",
    "enum",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A body is refused by the field that is wrong, or its requests fit the model.
    #[test]
    fn any_body_is_refused_or_fits(is_chat in any::<bool>(), more in prop::collection::vec((prop::sample::select(WORDS), any_value()), 0..4)) {
        thread_local!(static DECODER: Decoder = Decoder::new());
        DECODER.with(|decoder| {
            let (url, mut body) =
                if is_chat { (CHAT, chat(json!({}))) } else { (COMPLETION, json!({"model": "tiny", "prompt": "a"})) };
            for (key, value) in more {
                body[key] = value;
            }
            match decoder.served().read(url, &body, "", SETTING) {
                Err(error) => prop_assert!(matches!(error.status, 400 | 404) && error.param.is_some(), "{error:?}"),
                Ok(Asked::Answers(asked)) => {
                    let engine = Engine::new(InstructionSet::best(), 1);
                    let mut batch = Batch::new(&decoder.model, &decoder.tokenizer, engine, BOUNDS);
                    for request in asked.requests() {
                        let joined = batch.join(request.clone());
                        let fits = matches!(joined, Ok(_) | Err(JoinError::Full | JoinError::Grammar(_)));
                        prop_assert!(fits, "{joined:?}");
                    }
                }
                Ok(Asked::Vectors(_)) => prop_assert!(false, "a decoder makes no vectors"),
            }
            Ok(())
        })?;
    }
}
