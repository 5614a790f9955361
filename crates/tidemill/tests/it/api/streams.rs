//! Answers that come in pieces.

use std::thread;

use super::*;
use crate::parrot::PIECES;

/// The same, asked for in pieces.
fn streamed(text: &str) -> Value {
    let mut body = chat(text);
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    body
}

/// The text that the events of a stream come to.
fn text_of(events: &[String]) -> String {
    let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    chunks
        .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_stream_is_one_of_openai() {
    let (world, _provider) = World::with_provider();
    let mut stream = world.client.stream("/chat/completions", &streamed("Hello"));
    let head = stream.head.to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("x-tidemill-receipt: "), "{head}");
    let events = stream.rest();
    let (done, chunks) = events.split_last().expect("there are events");
    assert_eq!(done, "[DONE]");
    let chunks: Vec<Value> =
        chunks.iter().map(|chunk| serde_json::from_str(chunk).expect("a chunk is JSON")).collect();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let [.., end, usage] = &chunks[..] else { panic!("{chunks:?}") };
    assert_eq!(
        (&end["choices"][0]["delta"], &end["choices"][0]["finish_reason"]),
        (&json!({}), &"stop".into())
    );
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &6.into()));
    for chunk in &chunks {
        assert_eq!((&chunk["id"], &chunk["object"]), (&chunks[0]["id"], &"chat.completion.chunk".into()));
        assert!(chunk["usage"].is_null() != (chunk == usage), "{chunk}");
    }
    assert_eq!(text_of(&events), words());
    // What is wrong before anything was said is no stream.
    let stream = world.client.stream("/chat/completions", &streamed("too long @x"));
    assert!(stream.head.starts_with("HTTP/1.1 400"), "{}", stream.head);
    world.end();
}

#[test]
fn an_answer_goes_on_elsewhere_when_its_provider_dies() {
    let (world, one) = World::with_provider();
    let mut stream = world.client.stream("/chat/completions", &streamed("slowly @s"));
    assert_eq!(stream.json()["choices"][0]["delta"]["role"], "assistant");
    let first = stream.json()["choices"][0]["delta"]["content"].clone();
    assert!(words().starts_with(first.as_str().expect("a text")), "{first}");
    one.kill();
    let _two = world.provide("two");
    let events = stream.rest();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{events:?}");
    let text = format!("{}{}", first.as_str().expect("a text"), text_of(&events));
    assert_eq!(text, words(), "nothing is said twice, and nothing is missing");
    world.end();
}

#[test]
fn a_stream_that_was_not_the_answer_ends_in_an_error() {
    let (world, _provider) = World::with_provider();
    let mut stream = world.client.stream("/chat/completions", &streamed("otherwise @o"));
    let events = stream.rest();
    // Where nothing was seen before it ended, the signed answer is all there is.
    if text_of(&events) == "Something else." {
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    } else {
        let last: Value = serde_json::from_str(events.last().expect("an event")).expect("JSON");
        assert_eq!(last["error"]["code"], "answer_rejected", "{events:?}");
        assert!(!events.contains(&"[DONE]".to_owned()));
    }
    world.end();
}

#[test]
fn a_client_that_leaves_takes_its_work_along() {
    let (world, _provider) = World::with_provider();
    let mut stream = world.client.stream("/chat/completions", &streamed("for ever @h"));
    stream.json();
    assert_eq!(stream.json()["choices"][0]["delta"]["content"], PIECES[0]);
    drop(stream);
    // The only slot is free again.
    let answer = world.client.post("/chat/completions", &chat("Hello"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let metrics = world.client.root("/metrics").body;
    assert!(metrics.contains("tidemill_answers_given_up_total 1\n"), "{metrics}");
    world.end();
}

#[test]
fn two_hundred_streams_at_a_time() {
    const STREAMS: usize = 200;
    let (world, _provider) = World::with_provider();
    // One that never reads keeps nobody from anything.
    let _silent = world.client.stream("/chat/completions", &streamed("Hello"));
    let streams: Vec<_> = (0..STREAMS)
        .map(|number| {
            let client = world.client.clone();
            thread::spawn(move || client.stream("/chat/completions", &streamed(&number.to_string())).rest())
        })
        .collect();
    for stream in streams {
        let events = stream.join().expect("it ends");
        assert_eq!(
            (text_of(&events), events.last().map(String::as_str)),
            (words(), Some("[DONE]")),
            "{events:?}"
        );
    }
    world.end();
}
