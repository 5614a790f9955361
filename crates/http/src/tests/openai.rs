//! What the routes of OpenAI refuse before any provider has to see it.

use serde_json::json;

use super::*;

/// The smallest requests that are right.
fn requests() -> [(&'static str, Value); 3] {
    let message = json!({"role": "user", "content": "Hello"});
    [
        ("/v1/chat/completions", json!({"model": "tiny", "messages": [message]})),
        ("/v1/completions", json!({"model": "tiny", "prompt": "Hello"})),
        ("/v1/embeddings", json!({"model": "tiny", "input": "Hello"})),
    ]
}

impl World {
    /// Serves a file as the model `tiny`.
    fn serve_model(&self) {
        let file = self._folder.path().join("a.wasm");
        std::fs::write(&file, b"\0asm\x01\0\0\0").expect("it can be written");
        let model = Model {
            path: file,
            program: ProgramKind::Wasm,
            kind: ModelKind::Text,
            context: 2048,
            token_bytes: 0,
            added_s: 1_700_000_000,
        };
        self.app.models.add("tiny", &model).expect("it can be written");
    }

    async fn post(&self, route: &str, body: &str) -> Answer {
        self.ask(&format!("POST {route}"), &[("content-type", "application/json")], body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_wrong_is_named() {
    let world = World::new().await;
    world.serve_model();
    let [chat, completion, embedding] = requests();
    let of_chat = [
        ("messages", json!([])),
        ("messages", json!("Hello")),
        ("messages", json!([{"role": "stranger", "content": "Hello"}])),
        ("max_tokens", json!(0)),
        ("max_completion_tokens", json!("many")),
        ("temperature", json!(2.5)),
        ("top_p", json!(-0.1)),
        ("top_k", json!(1.5)),
        ("min_p", json!(2)),
        ("n", json!(0)),
        ("n", json!(1000)),
        ("stop", json!(["a", "b", "c", "d", "e"])),
        ("stop", json!(7)),
        ("seed", json!("seven")),
        ("stream", json!("yes")),
        ("stream_options", json!(true)),
        ("top_logprobs", json!(21)),
        ("logprobs", json!("all")),
        ("logit_bias", json!({"1": 101})),
        ("presence_penalty", json!(3)),
        ("frequency_penalty", json!(-3)),
        ("response_format", json!({"type": "poem"})),
        ("tools", json!("hammer")),
    ];
    let of_completion = [
        ("prompt", json!({})),
        ("suffix", json!("!")),
        ("logprobs", json!(6)),
        ("echo", json!(1)),
        ("best_of", json!(2)),
    ];
    let of_embedding = [
        ("input", json!("")),
        ("input", json!([1.5])),
        ("encoding_format", json!("hex")),
        ("dimensions", json!(0)),
    ];
    let of = |request: (&'static str, Value), fields: &[(&'static str, Value)]| {
        let all = fields.iter().cloned().map(|field| (request.clone(), field));
        all.collect::<Vec<_>>()
    };
    let all = [of(chat, &of_chat), of(completion, &of_completion), of(embedding, &of_embedding)].concat();
    for ((route, mut body), (field, wrong)) in all {
        body[field] = wrong;
        let answer = world.post(route, &body.to_string()).await;
        assert_eq!(answer.status, 400, "{route} {body}: {answer:?}");
        let error = answer.json()["error"].clone();
        let param = error["param"].as_str().unwrap_or_default().to_owned();
        assert!(
            param == field
                || param.starts_with(&format!("{field}["))
                || param.starts_with(&format!("{field}.")),
            "{route} {body}: {error}"
        );
        assert_eq!(error["type"], "invalid_request_error");
    }
    for (route, body) in requests() {
        let field = body.as_object().expect("an object").keys().find(|key| *key != "model").cloned();
        for missing in [field.expect("it has another"), "model".to_owned()] {
            let mut body = body.clone();
            body.as_object_mut().expect("an object").remove(&missing);
            let answer = world.post(route, &body.to_string()).await;
            assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &missing.into()), "{body}");
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_says_why() {
    let bounds = Bounds { body_bytes: 1000, ..Bounds::default() };
    let world = World::with(bounds, Some(OWNER), false).await;
    world.serve_model();
    for (route, right) in requests() {
        for (body, status, code) in [
            ("{\"model\":".to_owned(), 400, "invalid_json"),
            (right.to_string().replace("tiny", "none"), 404, "model_not_found"),
            (right.to_string().replace("Hello", &"a".repeat(1000)), 413, "request_too_large"),
        ] {
            let answer = world.post(route, &body).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{route} {body}: {answer:?}");
        }
        let answer = world.post(route, "[]").await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let answer = world.ask(&format!("GET {route}"), &[], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
        // The model's file is read when it is asked for first.
        let answer = loop {
            let answer = world.post(route, &right.to_string()).await;
            if answer.code() != "model_loading" {
                break answer;
            }
            assert_eq!(answer.status, 503);
            tokio::task::yield_now().await;
        };
        assert_eq!((answer.status, answer.code().as_str()), (503, "no_provider"), "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_for_models_asks_none() {
    let world = World::with(Bounds::default(), None, false).await;
    world.serve_model();
    let key = |scopes: &[Scope]| format!("Bearer {}", world.key(scopes, Limit::default(), None));
    let (models, others) = (key(&[Scope::Models]), key(&[Scope::Jobs, Scope::Read, Scope::Operator]));
    for (route, body) in requests() {
        for (shown, status) in [(None, 401), (Some(&others), 403), (Some(&models), 503)] {
            let headers: Vec<(&str, &str)> =
                shown.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
            let answer = world.ask(&format!("POST {route}"), &headers, &body.to_string()).await;
            assert_eq!(answer.status, status, "{route}: {answer:?}");
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_body_makes_the_server_fail() {
    let world = World::new().await;
    world.serve_model();
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}\u{202e}\u{1f980}"),
        json!([]),
        json!([[]]),
        json!([null, 1, "a"]),
        json!({}),
        json!({"type": {"a": []}, "role": 7, "content": null}),
        json!([{"role": "user", "content": [{"type": "text"}]}]),
        json!([{"type": "function", "function": {"name": "a b", "parameters": 7}}]),
        json!({"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}),
    ];
    let fields = [
        "model",
        "messages",
        "prompt",
        "input",
        "max_tokens",
        "temperature",
        "n",
        "stop",
        "seed",
        "stream",
        "stream_options",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "encoding_format",
        "dimensions",
        "user",
    ];
    for (route, request) in requests() {
        for (field, value) in fields.iter().flat_map(|field| odd.iter().map(move |value| (field, value))) {
            let mut body = request.clone();
            body[field] = value.clone();
            let answer = world.post(route, &body.to_string()).await;
            // Nobody is there to answer those that are right.
            let is_right = [400, 404, 503].contains(&answer.status);
            assert!(is_right, "{route} {body}: {answer:?}");
            answer.code();
        }
        for text in ["", "null", "7", "\"a\"", "{}", "{\"model\":\"tiny\",\"model\":7}", "[[[[[[[["] {
            let answer = world.post(route, text).await;
            assert_eq!(answer.status, 400, "{route} {text}: {answer:?}");
        }
        let deep = format!("{{\"model\":\"tiny\",\"messages\":{}", "[".repeat(100_000));
        assert_eq!(world.post(route, &deep).await.status, 400);
    }
    world.stop().await;
}
