//! Real language models, of a megabyte, that are made here: their answers are the engine's own.

use super::*;

/// A free network that holds a decoder and an encoder.
fn network() -> (Node, Client, Place) {
    let place = Place::at_home("home");
    for (name, bytes) in [
        ("tiny", tidemill_infer::tiny::model("qwen3", 5)),
        ("vectors", tidemill_infer::tiny::encoder_gguf(5, false)),
    ] {
        let file = format!("{name}.gguf");
        place.write(&file, bytes);
        place.tidemill(&["models", "add", name, &file]).code(0);
    }
    let mut node = Node::start(&place, &["up", "--free", "--providers", "1", "--api", "127.0.0.1:0"]);
    let listening = node.until("listening");
    let client = Client::new(listening["api"].as_str().expect("it has an API"));
    client.until_answered("/completions", &json!({"model": "tiny", "prompt": "a", "max_tokens": 1}));
    client.until_answered("/embeddings", &json!({"model": "vectors", "input": "a"}));
    (node, client, place)
}

/// The texts of a streamed answer, put together, and its last event but `[DONE]`.
#[track_caller]
fn streamed(client: &Client, route: &str, body: &Value) -> (String, Value) {
    let mut body = body.clone();
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let events = client.stream(route, &body).rest();
    let (done, chunks) = events.split_last().expect("there are events");
    assert_eq!(done, "[DONE]", "{events:?}");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).expect("JSON")).collect();
    let text_of = |chunk: &Value| {
        let choice = &chunk["choices"][0];
        choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or_default().to_owned()
    };
    (chunks.iter().map(text_of).collect(), chunks.last().expect("there are chunks").clone())
}

#[test]
fn a_language_model_answers() {
    let (mut node, client, place) = network();
    let chat = json!({"model": "tiny", "messages": [{"role": "user", "content": "the tide"}],
        "max_completion_tokens": 24, "seed": 7});
    let answer = client.post("/chat/completions", &chat);
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    let text = body["choices"][0]["message"]["content"].as_str().expect("a text").to_owned();
    assert_eq!(body["seed"], 7);
    assert!(
        body["system_fingerprint"].as_str().is_some_and(|print| print.starts_with("tidemill-")),
        "{body}"
    );
    let again = client.post("/chat/completions", &chat).json();
    assert_eq!(again["choices"][0]["message"]["content"], text, "the same seed gives the same words");
    let (in_pieces, last) = streamed(&client, "/chat/completions", &chat);
    assert_eq!(in_pieces, text);
    assert_eq!(last["usage"], body["usage"]);

    let completion = json!({"model": "tiny", "prompt": "The mill", "max_tokens": 12, "temperature": 0});
    let whole = client.post("/completions", &completion).json();
    let (in_pieces, _) = streamed(&client, "/completions", &completion);
    assert_eq!(whole["choices"][0]["text"], in_pieces);
    assert_eq!(whole["choices"][0]["finish_reason"], "length");

    // A prompt is never cut.
    let long = json!({"model": "tiny", "prompt": "tide ".repeat(2_000), "max_tokens": 8});
    let answer = client.post("/completions", &long);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &"context_length_exceeded".into()));

    let schema = json!({"type": "object", "properties": {"mill": {"type": "boolean"}}, "required": ["mill"],
        "additionalProperties": false});
    let mut asked = chat;
    asked["max_completion_tokens"] = 64.into();
    asked["response_format"] =
        json!({"type": "json_schema", "json_schema": {"name": "mill", "schema": schema}});
    let answer = client.post("/chat/completions", &asked).json();
    let said = answer["choices"][0]["message"]["content"].as_str().expect("a text");
    let said: Value = serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert!(said["mill"].is_boolean(), "{said}");

    let id = receipt(&client.post("/completions", &completion));
    let told = place.tidemill(&["receipt", &id, "--json"]).code(0).json();
    assert_eq!((&told["kind"], &told["usage"]["output_tokens"]), (&"infer".into(), &12.into()), "{told}");
    let said = place.tidemill(&["chat", "tiny", "--prompt", "the tide", "--max-tokens", "8", "--seed", "7"]);
    said.code(0).says(&["tokens", "from a trusted machine", "receipt"]);
    node.terminate();
    node.ends_with(0);
}

#[test]
fn texts_become_vectors() {
    let (mut node, client, _place) = network();
    let asked = json!({"model": "vectors", "input": ["the tide", "the mill"]});
    let floats = client.post("/embeddings", &asked).json();
    let vector: Vec<f32> = floats["data"][1]["embedding"]
        .as_array()
        .unwrap_or_else(|| panic!("no vector: {floats}"))
        .iter()
        .map(|number| number.as_f64().expect("a number") as f32)
        .collect();
    let length: f32 = vector.iter().map(|number| number * number).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");
    let mut asked = asked;
    asked["encoding_format"] = "base64".into();
    let encoded = client.post("/embeddings", &asked).json();
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(encoded["data"][1]["embedding"], data_encoding::BASE64.encode(&bytes));
    assert_eq!(floats["usage"]["total_tokens"], encoded["usage"]["prompt_tokens"]);
    // A decoder makes none.
    let answer = client.post("/embeddings", &json!({"model": "tiny", "input": "the tide"}));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &"model".into()), "{answer:?}");
    node.terminate();
    node.ends_with(0);
}
