//! Answers in chunks, against whole ones.

use super::*;
use crate::batch::{Batch, Event};

/// All chunks of a request's answer.
fn chunks(decoder: &Decoder, url: &str, body: &Value) -> Vec<Value> {
    let served = decoder.served();
    let Ok(Asked::Answers(asked)) = served.read(url, body, "one", SETTING) else { panic!("a request") };
    assert!(asked.is_streamed());
    let engine = Engine::new(InstructionSet::best(), 1);
    let mut batch = Batch::new(&decoder.model, &decoder.tokenizer, engine, BOUNDS);
    let ids: Vec<_> = asked.requests().iter().map(|request| batch.join(request.clone()).unwrap()).collect();
    let choice = |id| ids.iter().position(|other| *other == id).unwrap();
    let mut chunks = Chunks::new(&asked, served, SETTING);
    let mut all = chunks.begin();
    while !batch.is_empty() {
        for event in batch.step().unwrap() {
            all.extend(match event {
                Event::Token { request, token, text, likelihood } => {
                    chunks.token(choice(request), token, &text, likelihood.as_ref())
                }
                Event::End { request, claim, .. } => chunks.end(choice(request), claim.finish),
            });
        }
    }
    all.extend(chunks.finish(0));
    all
}

fn streamed(more: Value) -> Value {
    merged(more, json!({"stream": true, "stream_options": {"include_usage": true}}))
}

#[test]
fn chunks_make_the_whole_answer() {
    let decoder = Decoder::new();
    let request = chat(json!({"n": 2, "seed": 5, "max_tokens": 20, "logprobs": true}));
    let whole = decoder.body(CHAT, &request);
    let all = chunks(&decoder, CHAT, &streamed(request));
    let last = all.last().unwrap();
    assert_eq!(
        (&last["choices"], &last["usage"]["total_tokens"]),
        (&json!([]), &whole["usage"]["total_tokens"])
    );
    for number in 0..2 {
        let of_choice = |chunk: &&Value| chunk["choices"][0]["index"] == number;
        let own: Vec<&Value> = all.iter().filter(of_choice).collect();
        assert_eq!(own[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
        let mut text = String::new();
        let mut logprobs = Vec::new();
        for chunk in &own[1..] {
            assert_eq!((&chunk["object"], &chunk["usage"]), (&json!("chat.completion.chunk"), &Value::Null));
            assert_eq!(chunk["id"], all[0]["id"]);
            let choice = &chunk["choices"][0];
            assert!(choice["delta"].get("role").is_none());
            text.push_str(choice["delta"]["content"].as_str().unwrap_or(""));
            logprobs.extend(choice["logprobs"]["content"].as_array().cloned().unwrap_or_default());
        }
        let expected = &whole["choices"][number];
        assert_eq!(expected["message"]["content"], text);
        assert_eq!(expected["logprobs"]["content"], json!(logprobs));
        let end = &own.last().unwrap()["choices"][0];
        assert_eq!((&end["delta"], &end["finish_reason"]), (&json!({}), &expected["finish_reason"]));
        assert!(own[..own.len() - 1].iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
    }
    assert_eq!(all[0]["seed"], 5);
}

#[test]
fn calls_come_whole_in_chunks() {
    let decoder = Decoder::new();
    let choice = json!({"type": "function", "function": {"name": "turn"}});
    let request = chat(tools(json!({"tool_choice": choice, "parallel_tool_calls": false, "seed": 2})));
    let whole = decoder.body(CHAT, &request);
    let all = chunks(&decoder, CHAT, &streamed(request));
    assert_eq!(all.len(), 4, "role, call, end, usage: {all:?}");
    let call = &all[1]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!((&call["index"], &call["type"]), (&json!(0), &json!("function")));
    assert_eq!(call["function"], whole["choices"][0]["message"]["tool_calls"][0]["function"]);
    assert_eq!(all[2]["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn completions_come_in_chunks() {
    let decoder = Decoder::new();
    let request =
        json!({"model": "tiny", "prompt": ["the", "and"], "max_tokens": 6, "seed": 1, "logprobs": 1});
    let whole = decoder.body(COMPLETION, &request);
    let all = chunks(&decoder, COMPLETION, &merged(request, json!({"stream": true})));
    for number in 0..2 {
        let own: Vec<&Value> = all.iter().filter(|chunk| chunk["choices"][0]["index"] == number).collect();
        let text: String = own.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
        assert_eq!(whole["choices"][number]["text"], text);
        let offsets: Vec<&Value> = own
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["logprobs"]["text_offset"].as_array())
            .flatten()
            .collect();
        assert_eq!(whole["choices"][number]["logprobs"]["text_offset"], json!(offsets));
        assert!(own.iter().all(|chunk| chunk.get("usage").is_none()));
    }
}

#[test]
fn text_that_may_begin_a_call_is_held_back() {
    let mut splitter = crate::api::tools::Splitter::default();
    let mut push = |text: &str| splitter.push(text);
    assert_eq!(push("a <to"), ("a ".into(), vec![]));
    assert_eq!(push("ast> <tool_"), ("<toast> ".into(), vec![]));
    assert_eq!(push("call>{\"name\": \"f\", "), (String::new(), vec![]));
    assert_eq!(push("\"arguments\": {}}</tool_call>é<"), ("é".into(), vec![("f".into(), "{}".into())]));
    assert_eq!(splitter.finish(), "<");
}
