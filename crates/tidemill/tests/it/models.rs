//! Language models: jobs of the kind `infer` as a person runs them, with a model of a megabyte that is made here, and the
//! worker that hosts models, with the binary as the worker.

mod host;
mod jobs;

use std::fmt::Write;

use serde_json::{Value, json};

/// A model file.
fn model(seed: u64) -> Vec<u8> {
    tidemill_infer::tiny::model("qwen3", seed)
}

/// A line of OpenAI's Batch format that asks a model of this name to go on with a text, for so many tokens.
fn line(number: usize, name: &str, text: &str, tokens: u32) -> String {
    let body = json!({"model": name, "prompt": text, "max_tokens": tokens, "temperature": 0.7});
    json!({"custom_id": format!("r{number}"), "method": "POST", "url": "/v1/completions", "body": body})
        .to_string()
}

/// So many lines, which begin alike.
fn lines(count: usize, name: &str, tokens: u32) -> String {
    let mut all = String::new();
    for number in 0..count {
        let text = format!("Once upon a time there was a mill by the sea, and its number was {number}.");
        let _ = writeln!(all, "{}", line(number, name, &text, tokens));
    }
    all
}

/// The lines of an output.
fn answers(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("answers are text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// The text of an answer, which must be one.
#[track_caller]
fn text_of(answer: &Value) -> &str {
    assert_eq!(answer["response"]["status_code"], 200, "{answer}");
    answer["response"]["body"]["choices"][0]["text"].as_str().expect("a text")
}
