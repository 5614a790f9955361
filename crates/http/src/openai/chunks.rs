//! The chunks of a streamed answer: what a provider writes while it computes, and then what it signed.
//!
//! What was written is provisional. At the end it is compared with the signed answer, of which what was not sent yet follows.
//! Where the two differ, the stream ends in an error: nothing that was not signed is ever made to look like an answer.

use serde_json::{Value, json};
use tidemill_infer::api::OutlineForm;

/// Makes chunks of one answer.
#[derive(Debug)]
pub struct Chunks {
    id: String,
    created_s: u64,
    model: String,
    is_chat: bool,
    /// What comes while it is computed is text of the answer.
    is_plain: bool,
    has_usage: bool,
    choices: Vec<Choice>,
    has_begun: bool,
}

#[derive(Clone, Debug, Default)]
struct Choice {
    /// What the client has.
    sent: String,
    /// What the attempt that is followed has written.
    written: String,
    /// Of that attempt pieces are missing, or it writes something else than an earlier one.
    is_broken: bool,
}

/// The signed answer is not the one that was streamed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OtherAnswer;

impl Chunks {
    /// For a request of this form, with so many choices. `has_usage`: whether the last chunk is to have the usage.
    pub fn new(
        form: OutlineForm,
        choices: usize,
        has_usage: bool,
        (id, created_s, model): (String, u64, String),
    ) -> Self {
        let (is_chat, is_plain) = match form {
            OutlineForm::Chat { is_plain } => (true, is_plain),
            OutlineForm::Completion { is_plain } => (false, is_plain),
            OutlineForm::Embedding => (false, false),
        };
        let choices = vec![Choice::default(); choices];
        Self { id, created_s, model, is_chat, is_plain, has_usage, choices, has_begun: false }
    }

    /// Whether the client has anything of the answer.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// An attempt begins: what an earlier one has written is void, though the client has it.
    pub fn attempt(&mut self) {
        for choice in &mut self.choices {
            choice.written.clear();
            choice.is_broken = false;
        }
    }

    /// Some of what the attempt has written is missing: the rest comes with the signed answer.
    pub fn missing(&mut self) {
        for choice in &mut self.choices {
            choice.is_broken = true;
        }
    }

    /// The attempt has written some text of a choice.
    pub fn text(&mut self, index: usize, text: &str) -> Vec<Value> {
        if !self.is_plain {
            return Vec::new();
        }
        let Some(choice) = self.choices.get_mut(index).filter(|choice| !choice.is_broken) else {
            return Vec::new();
        };
        choice.written.push_str(text);
        let (sent, written) = (choice.sent.as_str(), choice.written.as_str());
        let Some(new) = written.strip_prefix(sent) else {
            // As long as it is behind what the client has, it must at least be the same.
            choice.is_broken = !sent.starts_with(written);
            return Vec::new();
        };
        if new.is_empty() {
            return Vec::new();
        }
        let new = new.to_owned();
        choice.sent.push_str(&new);
        let mut chunks = self.begin();
        chunks.push(self.delta(index, &new, &Value::Null));
        chunks
    }

    /// What comes before anything else.
    fn begin(&mut self) -> Vec<Value> {
        if std::mem::replace(&mut self.has_begun, true) || !self.is_chat {
            return Vec::new();
        }
        let delta = json!({"role": "assistant", "content": ""});
        let first = |index| {
            self.chunk(json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": null}]))
        };
        (0..self.choices.len()).map(first).collect()
    }

    /// The signed answer: what of it was not sent, why each choice ended, and the usage.
    ///
    /// # Errors
    /// [`OtherAnswer`] where the client has something that is not in it.
    pub fn finish(&mut self, answer: &Value) -> Result<Vec<Value>, OtherAnswer> {
        let choices = answer["choices"].as_array().filter(|choices| choices.len() == self.choices.len());
        let choices = choices.ok_or(OtherAnswer)?;
        let mut chunks = self.begin();
        for (index, choice) in choices.iter().enumerate() {
            if choice["index"].as_u64() != Some(index as u64) {
                return Err(OtherAnswer);
            }
            let text = if self.is_chat { &choice["message"]["content"] } else { &choice["text"] };
            let text = text.as_str().unwrap_or("");
            let rest = text.strip_prefix(self.choices[index].sent.as_str()).ok_or(OtherAnswer)?.to_owned();
            let logprobs = &choice["logprobs"];
            if !rest.is_empty() || !logprobs.is_null() {
                chunks.push(self.delta(index, &rest, logprobs));
            }
            for (number, call) in choice["message"]["tool_calls"].as_array().into_iter().flatten().enumerate()
            {
                let mut call = call.clone();
                if let Some(call) = call.as_object_mut() {
                    call.insert("index".to_owned(), number.into());
                }
                let delta = json!({"tool_calls": [call]});
                chunks.push(self.chunk(
                    json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": null}]),
                ));
            }
            let reason = &choice["finish_reason"];
            chunks.push(self.chunk(match self.is_chat {
                true => json!([{"index": index, "delta": {}, "logprobs": null, "finish_reason": reason}]),
                false => json!([{"index": index, "text": "", "logprobs": null, "finish_reason": reason}]),
            }));
        }
        if self.has_usage {
            let mut chunk = self.chunk(json!([]));
            chunk["usage"] = answer["usage"].clone();
            chunks.push(chunk);
        }
        // Whoever signed it says with which seed and by which engine and model, from the first chunk that knows it.
        for chunk in &mut chunks {
            chunk["system_fingerprint"] = answer["system_fingerprint"].clone();
            chunk["seed"] = answer["seed"].clone();
        }
        Ok(chunks)
    }

    fn delta(&self, index: usize, text: &str, logprobs: &Value) -> Value {
        self.chunk(match self.is_chat {
            true => {
                json!([{"index": index, "delta": {"content": text}, "logprobs": logprobs, "finish_reason": null}])
            }
            false => json!([{"index": index, "text": text, "logprobs": logprobs, "finish_reason": null}]),
        })
    }

    fn chunk(&self, choices: Value) -> Value {
        let object = if self.is_chat { "chat.completion.chunk" } else { "text_completion" };
        let mut chunk = json!({
            "id": self.id,
            "object": object,
            "created": self.created_s,
            "model": self.model,
            "system_fingerprint": null,
            "choices": choices,
        });
        if self.has_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: OutlineForm = OutlineForm::Chat { is_plain: true };

    fn chunks(form: OutlineForm, choices: usize, has_usage: bool) -> Chunks {
        Chunks::new(form, choices, has_usage, ("chatcmpl-1".into(), 1_700_000_000, "tiny".into()))
    }

    /// A signed answer whose choices have these texts.
    fn answer(texts: &[&str]) -> Value {
        let choice = |(index, text): (usize, &&str)| {
            json!({"index": index, "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": null, "finish_reason": "stop"})
        };
        json!({"id": "chatcmpl-1", "system_fingerprint": "fp", "seed": 7,
            "choices": texts.iter().enumerate().map(choice).collect::<Vec<_>>(),
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
    }

    /// What a client puts together of chunks: the text of each choice.
    fn texts(chunks: &[Value], count: usize) -> Vec<String> {
        let mut texts = vec![String::new(); count];
        for choice in chunks.iter().flat_map(|chunk| chunk["choices"].as_array().expect("a list")) {
            let index = choice["index"].as_u64().expect("a number") as usize;
            texts[index] += choice["delta"]["content"].as_str().unwrap_or("");
        }
        texts
    }

    #[test]
    fn a_stream_begins_with_the_role_and_ends_with_reason_and_usage() {
        let mut stream = chunks(CHAT, 1, true);
        let mut all = stream.text(0, "Hel");
        assert_eq!(all[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
        all.extend(stream.text(0, "lo"));
        assert_eq!(all.len(), 3);
        all.extend(stream.finish(&answer(&["Hello!"])).expect("it is the same"));
        assert_eq!(texts(&all, 1), ["Hello!"]);
        let [.., rest, end, usage] = &all[..] else { panic!("too few") };
        assert_eq!(rest["choices"][0]["delta"]["content"], "!");
        assert_eq!(end["choices"][0]["delta"], json!({}));
        assert_eq!(end["choices"][0]["finish_reason"], "stop");
        assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(5)));
        for chunk in &all {
            assert_eq!(
                (&chunk["id"], &chunk["object"]),
                (&json!("chatcmpl-1"), &json!("chat.completion.chunk"))
            );
            assert!(chunk.get("usage").is_some(), "each chunk has it: {chunk}");
            assert!(
                chunk["choices"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .all(|one| one.get("finish_reason").is_some())
            );
        }
    }

    #[test]
    fn without_pieces_the_whole_answer_comes_at_the_end() {
        let mut stream = chunks(CHAT, 2, false);
        let all = stream.finish(&answer(&["one", "two"])).expect("nothing was sent");
        assert_eq!(texts(&all, 2), ["one", "two"]);
        assert!(all.iter().all(|chunk| chunk.get("usage").is_none()));
    }

    #[test]
    fn another_attempt_goes_on_from_what_the_client_has() {
        let mut stream = chunks(CHAT, 1, false);
        let mut all = stream.text(0, "Hello, w");
        stream.attempt();
        assert_eq!(stream.text(0, "Hello"), Vec::<Value>::new(), "it has that");
        all.extend(stream.text(0, ", world"));
        all.extend(stream.finish(&answer(&["Hello, world"])).expect("it is the same"));
        assert_eq!(texts(&all, 1), ["Hello, world"]);
    }

    #[test]
    fn what_is_missing_comes_with_the_signed_answer() {
        let mut stream = chunks(CHAT, 1, false);
        let mut all = stream.text(0, "Hel");
        stream.missing();
        assert!(stream.text(0, "world").is_empty());
        all.extend(stream.finish(&answer(&["Hello, world"])).expect("it is the same"));
        assert_eq!(texts(&all, 1), ["Hello, world"]);
    }

    #[test]
    fn an_answer_that_was_not_signed_is_none() {
        let mut stream = chunks(CHAT, 1, false);
        stream.text(0, "I am");
        assert_eq!(stream.finish(&answer(&["You are"])), Err(OtherAnswer));
        let mut stream = chunks(CHAT, 1, false);
        stream.text(0, "Hello");
        stream.attempt();
        assert!(stream.text(0, "Good").is_empty(), "another attempt that says something else is not shown");
        assert!(stream.text(0, " day").is_empty());
        assert_eq!(stream.finish(&answer(&["Good day"])), Err(OtherAnswer));
        let mut stream = chunks(CHAT, 2, false);
        assert_eq!(stream.finish(&answer(&["one"])), Err(OtherAnswer), "a choice is missing");
    }

    #[test]
    fn calls_come_whole() {
        let call = json!({"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\":1}"}});
        let mut stream = chunks(OutlineForm::Chat { is_plain: false }, 1, false);
        assert!(stream.text(0, "<call>{").is_empty(), "what may be a call is not text");
        let mut signed = answer(&[""]);
        signed["choices"][0]["message"] = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        signed["choices"][0]["finish_reason"] = "tool_calls".into();
        let all = stream.finish(&signed).expect("nothing was sent");
        let calls = &all[1]["choices"][0]["delta"]["tool_calls"];
        assert_eq!(
            (&calls[0]["index"], &calls[0]["function"]["arguments"]),
            (&json!(0), &json!("{\"a\":1}"))
        );
        assert_eq!(all[2]["choices"][0]["finish_reason"], "tool_calls");
    }
}
