//! Lines in, lines out, over tiny models.

mod drafts;
mod fuzz;
mod stream;

use super::*;
use crate::batch::Bounds;
use crate::chain::{Finding, check};
use crate::forward::Engine;
use crate::gguf::Gguf;
use crate::kernels::InstructionSet;
use crate::safetensors::Safetensors;
use crate::tiny;
use serde_json::json;

const BOUNDS: Bounds = Bounds { tokens_per_step: 64, pages: 200 };
const SETTING: Setting = Setting { created_s: 1_796_000_000, seed: 7 };

struct Decoder {
    model: Model,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    names: Vec<String>,
}

impl Decoder {
    fn new() -> Self {
        let bytes = tiny::model("qwen3", 20);
        let gguf = Gguf::read(&bytes).unwrap();
        let template = gguf.metadata().text("tokenizer.chat_template").unwrap().unwrap();
        Self {
            model: Model::load(&bytes, &gguf).unwrap(),
            tokenizer: Tokenizer::read(gguf.metadata()).unwrap(),
            template: ChatTemplate::new(template).unwrap(),
            names: vec!["tiny".into(), "alias".into()],
        }
    }

    fn served(&self) -> Served<'_> {
        let kind = Kind::Decoder(&self.model, Some(&self.template));
        Served { names: &self.names, fingerprint: "fp_1", tokenizer: &self.tokenizer, kind }
    }

    fn answer(&self, input: &str, bounds: Bounds) -> Vec<Answered> {
        let engine = Engine::new(InstructionSet::best(), 1);
        answer_lines(&self.served(), engine, bounds, SETTING, input, &|| false).unwrap()
    }

    /// The body of the answer to one request.
    fn body(&self, url: &str, body: &Value) -> Value {
        let answered = self.answer(&line("one", url, body), BOUNDS).remove(0);
        let value: Value = serde_json::from_str(&answered.line).unwrap();
        assert_eq!((&value["custom_id"], &value["error"]), (&json!("one"), &Value::Null));
        assert_eq!(value["response"]["status_code"], 200, "{value}");
        value["response"]["body"].clone()
    }

    fn chat(&self, more: Value) -> Value {
        self.body(CHAT, &chat(more))
    }

    fn completion(&self, more: Value) -> Value {
        self.body(COMPLETION, &merged(json!({"model": "tiny", "prompt": "the", "max_tokens": 5}), more))
    }

    /// Status, code and field of the error that a request gets.
    fn error(&self, url: &str, body: &Value) -> (u16, Option<&'static str>, Option<String>, String) {
        let read = self.served().read(url, body, "", SETTING).map(|asked| format!("{asked:?}"));
        let error = read.expect_err("a wrong request");
        (error.status, error.code, error.param, error.message)
    }
}

const CHAT: &str = "/v1/chat/completions";
const COMPLETION: &str = "/v1/completions";

fn line(id: &str, url: &str, body: &Value) -> String {
    json!({"custom_id": id, "method": "POST", "url": url, "body": body}).to_string()
}

fn merged(mut body: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn chat(more: Value) -> Value {
    merged(
        json!({"model": "tiny", "messages": [{"role": "user", "content": "the tide"}], "max_tokens": 8}),
        more,
    )
}

#[test]
fn a_chat_is_answered_in_full() {
    let decoder = Decoder::new();
    let body = decoder.chat(json!({"model": "alias", "unknown": 1}));
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["created"], SETTING.created_s);
    assert_eq!((&body["model"], &body["system_fingerprint"]), (&json!("tiny"), &json!("fp_1")));
    let choice = &body["choices"][0];
    assert_eq!((&choice["index"], &choice["logprobs"]), (&json!(0), &Value::Null));
    assert_eq!(
        (&choice["message"]["role"], &choice["message"]["refusal"]),
        (&json!("assistant"), &Value::Null)
    );
    assert!(choice["message"]["content"].is_string());
    let reason = choice["finish_reason"].as_str().unwrap();
    assert!(reason == "length" || reason == "stop");
    let prompt =
        decoder.tokenizer.encode("<|im_start|>user\nthe tide<|im_end|>\n<|im_start|>assistant\n").len();
    assert_eq!(body["usage"]["prompt_tokens"], prompt);
    assert_eq!(
        body["usage"]["total_tokens"],
        prompt as u64 + body["usage"]["completion_tokens"].as_u64().unwrap()
    );
}

#[test]
fn seeds_are_returned_and_give_the_same_again() {
    let decoder = Decoder::new();
    let free = decoder.chat(json!({}));
    let seed = free["seed"].as_u64().unwrap();
    assert!(seed < 1 << 53);
    let again = decoder.chat(json!({"seed": seed}));
    assert_eq!(again["choices"], free["choices"]);
    assert_ne!(decoder.chat(json!({"seed": 1}))["choices"], free["choices"]);
    assert_eq!(decoder.chat(json!({"seed": -5}))["seed"], -5);
    let several = decoder.chat(json!({"seed": seed, "n": 3}));
    let text = |number: usize| several["choices"][number]["message"]["content"].clone();
    assert_eq!(text(0), free["choices"][0]["message"]["content"]);
    assert!(text(0) != text(1) && text(1) != text(2));
    assert_eq!(several["choices"][2]["index"], 2);
}

#[test]
fn lines_do_not_depend_on_those_beside_them() {
    let decoder = Decoder::new();
    let lines: Vec<String> = (0..12)
        .map(|number| {
            let messages = json!([{"role": "system", "content": "the thing ".repeat(20)},
                {"role": "user", "content": format!("and {number}")}]);
            let body = chat(json!({"messages": messages, "n": 1 + number % 3, "max_tokens": 4 + 3 * number}));
            line(&format!("line {number}"), CHAT, &body)
        })
        .collect();
    let together = decoder.answer(&lines.join("\n"), BOUNDS);
    assert_eq!(together.len(), lines.len());
    assert!(together.iter().any(|answered| answered.usage.cached > 0));
    // Room for one or two of them at a time.
    let narrow = decoder.answer(&lines.join("\n\n"), Bounds { tokens_per_step: 7, pages: 24 });
    for ((line, together), narrow) in lines.iter().zip(&together).zip(&narrow) {
        let alone = decoder.answer(line, BOUNDS).remove(0);
        assert_eq!((&alone.line, &alone.claims), (&together.line, &together.claims));
        assert_eq!((&narrow.line, &narrow.claims), (&together.line, &together.claims));
        let asked = decoder.served().read(
            CHAT,
            &serde_json::from_str::<Value>(line).unwrap()["body"],
            custom_id(line).as_str(),
            SETTING,
        );
        let Ok(Asked::Answers(asked)) = asked else { panic!("a request") };
        for (request, claim) in asked.requests().iter().zip(&alone.claims) {
            let mut engine = Engine::new(InstructionSet::PLAIN, 1);
            let finding = check(&mut engine, &decoder.model, &decoder.tokenizer, request, claim).unwrap();
            assert_eq!(finding, Finding::Right);
        }
    }
}

fn custom_id(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap()["custom_id"].as_str().unwrap().to_owned()
}

#[test]
fn wrong_lines_get_errors_and_harm_no_other() {
    let decoder = Decoder::new();
    let good = line("good", CHAT, &chat(json!({})));
    let input = [
        "{not json".to_owned(),
        good.clone(),
        json!({"custom_id": "a", "method": "GET", "url": CHAT, "body": {}}).to_string(),
        json!({"method": "POST", "url": CHAT, "body": {}}).to_string(),
        line("b", "/v1/images", &chat(json!({}))),
        line("c", "/v1/embeddings", &json!({"model": "tiny", "input": "x"})),
        line("d", CHAT, &chat(json!({"temperature": "hot"}))),
        line(
            "e",
            CHAT,
            &chat(
                json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "tide"}}}}),
            ),
        ),
        line("f", CHAT, &chat(json!({"stream": true}))),
        good.clone(),
    ];
    let bodies: Vec<Value> = decoder
        .answer(&input.join("\n"), BOUNDS)
        .iter()
        .map(|answered| serde_json::from_str(&answered.line).unwrap())
        .collect();
    let code = |number: usize| bodies[number]["error"]["code"].as_str().unwrap();
    assert_eq!((code(0), &bodies[0]["custom_id"]), ("invalid_json_line", &Value::Null));
    assert_eq!(
        (code(2), &bodies[2]["custom_id"], &bodies[2]["response"]),
        ("invalid_line", &json!("a"), &Value::Null)
    );
    assert_eq!(code(3), "missing_required_parameter");
    let error = |number: usize| {
        let response = &bodies[number]["response"];
        let param = &response["body"]["error"]["param"];
        let param = param.as_str().unwrap_or_else(|| panic!("line {number}: {response}"));
        (response["status_code"].as_u64().unwrap(), param)
    };
    assert_eq!(error(4), (404, "url"));
    assert_eq!(error(5), (400, "model"));
    assert_eq!(error(6), (400, "temperature"));
    assert_eq!(error(7), (400, "response_format"));
    assert_eq!(error(8), (400, "stream"));
    assert_eq!(bodies[1], bodies[9]);
    assert_eq!(bodies[1]["response"]["status_code"], 200);
    assert_eq!(json!(decoder.answer(&good, BOUNDS)[0].line), json!(bodies[1].to_string()));
}

#[test]
fn wrong_fields_are_named() {
    let decoder = Decoder::new();
    let cases = [
        (json!({"model": null}), "model", "is missing"),
        (json!({"messages": null}), "messages", "is missing"),
        (json!({"messages": []}), "messages", "must have a message"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content", "is missing"),
        (json!({"messages": [{"role": "cook", "content": "x"}]}), "messages[0].role", "must be"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "messages[0].content[0].type",
            "text",
        ),
        (json!({"temperature": 2.5}), "temperature", "must be a number from 0 to 2"),
        (json!({"top_p": -0.1}), "top_p", "must be a number"),
        (json!({"n": 0}), "n", "must be an integer from 1 to 128"),
        (json!({"n": 1.5}), "n", "must be an integer"),
        (json!({"max_tokens": 0}), "max_tokens", "must be an integer"),
        (json!({"max_completion_tokens": "9"}), "max_completion_tokens", "must be an integer"),
        (json!({"seed": 1e30}), "seed", "must be an integer"),
        (json!({"stop": 5}), "stop", "must be a text"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop", "may have 4"),
        (json!({"stop": ""}), "stop", "must have texts"),
        (json!({"stream": "yes"}), "stream", "must be true or false"),
        (json!({"logit_bias": {"the": 1}}), "logit_bias", "not a token's number"),
        (json!({"logit_bias": {"5": 101}}), "logit_bias", "from -100 to 100"),
        (json!({"top_logprobs": 3}), "top_logprobs", "needs logprobs"),
        (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs", "from 0 to 20"),
        (json!({"response_format": {"type": "xml"}}), "response_format", "must be"),
        (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema", "is missing"),
        (json!({"tools": [{"type": "function"}]}), "tools[0].function", "is missing"),
        (json!({"tool_choice": "required"}), "tools", "are missing"),
        (json!({"tool_choice": "some"}), "tool_choice", "must be"),
        (
            tools(json!({"tool_choice": {"function": {"name": "sing"}}})),
            "tool_choice.function.name",
            "a tool",
        ),
        (tools(json!({"response_format": {"type": "json_object"}})), "response_format", "exclude each other"),
    ];
    for (more, param, problem) in cases {
        let (status, _, named, message) = decoder.error(CHAT, &chat(more.clone()));
        assert_eq!((status, named.as_deref()), (400, Some(param)), "{more}: {message}");
        assert!(message.contains(problem), "{more}: {message}");
    }
    let cases = [
        (json!({"prompt": null}), "prompt", "is missing"),
        (json!({"prompt": []}), "prompt", "is empty"),
        (json!({"prompt": ""}), "prompt", "has no tokens"),
        (json!({"prompt": [1, 600]}), "prompt", "does not have"),
        (json!({"prompt": [1, "a"]}), "prompt", "does not have"),
        (json!({"prompt": ["a", 1]}), "prompt", "must be a text"),
        (json!({"prompt": vec!["a"; 65], "n": 2}), "prompt", "more than 128"),
        (json!({"suffix": "x"}), "suffix", "is not supported"),
        (json!({"logprobs": 6}), "logprobs", "from 0 to 5"),
        (json!({"logprobs": 1, "echo": true}), "echo", "exclude each other"),
        (json!({"best_of": 2}), "best_of", "must be n"),
    ];
    for (more, param, problem) in cases {
        let body = merged(json!({"model": "tiny", "prompt": "the"}), more.clone());
        let (status, _, named, message) = decoder.error(COMPLETION, &body);
        assert_eq!((status, named.as_deref()), (400, Some(param)), "{more}: {message}");
        assert!(message.contains(problem), "{more}: {message}");
    }
    assert_eq!(decoder.error(CHAT, &json!([])).3, "the body must be an object of JSON");
    let (status, code, ..) = decoder.error(CHAT, &chat(json!({"model": "other"})));
    assert_eq!((status, code), (404, Some("model_not_found")));
}

#[test]
fn nothing_is_cut_that_is_too_long() {
    let decoder = Decoder::new();
    let exceeded = |url: &str, body: &Value| {
        let (status, code, param, message) = decoder.error(url, body);
        assert_eq!((status, code), (400, Some("context_length_exceeded")), "{message}");
        (param.unwrap(), message)
    };
    let long = json!([{"role": "user", "content": "x".repeat(600)}]);
    let (param, message) = exceeded(CHAT, &chat(json!({"messages": long})));
    assert_eq!(param, "messages");
    assert!(message.contains("512 tokens at most"), "{message}");
    let (_, message) = exceeded(CHAT, &chat(json!({"max_tokens": 510})));
    assert!(message.contains("510 of the answer"), "{message}");
    exceeded(COMPLETION, &json!({"model": "tiny", "prompt": vec![5; 512]}));
    // Without a number the answer has what room there is.
    let body = json!({"model": "tiny", "prompt": vec![5; 505], "ignore_eos": true});
    let body = decoder.body(COMPLETION, &body);
    assert_eq!(body["usage"]["completion_tokens"], 7);
    assert_eq!(body["choices"][0]["finish_reason"], "length");
}

#[test]
fn answers_stop_before_their_stops() {
    let decoder = Decoder::new();
    let free = decoder.chat(json!({"max_tokens": 30, "seed": 3}));
    let text = free["choices"][0]["message"]["content"].as_str().unwrap();
    let stop: String = text.chars().skip(5).take(2).collect();
    let stopped = decoder.chat(json!({"max_tokens": 30, "seed": 3, "stop": [stop, "never there"]}));
    let choice = &stopped["choices"][0];
    assert_eq!(choice["message"]["content"], text[..text.find(&stop).unwrap()]);
    assert_eq!(choice["finish_reason"], "stop");
}

#[test]
fn schemas_are_followed() {
    let decoder = Decoder::new();
    let schema = json!({"type": "object", "properties": {"up": {"type": "boolean"}}, "required": ["up"],
        "additionalProperties": false});
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "gate", "strict": true, "schema": schema}});
    let body = decoder.chat(json!({"response_format": format, "max_tokens": 60}));
    let content: Value =
        serde_json::from_str(body["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert!(content["up"].is_boolean());
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
}

fn tools(more: Value) -> Value {
    let parameters = json!({"type": "object", "properties": {"up": {"type": "boolean"}}, "required": ["up"],
        "additionalProperties": false});
    let turn = json!({"type": "function", "function": {"name": "turn", "parameters": parameters}});
    let ring = json!({"type": "function", "function": {"name": "ring"}});
    merged(json!({"tools": [turn, ring], "max_tokens": 76}), more)
}

#[test]
fn required_calls_are_made() {
    let decoder = Decoder::new();
    let choice = json!({"type": "function", "function": {"name": "turn"}});
    let body = decoder.chat(tools(json!({"tool_choice": choice, "parallel_tool_calls": false})));
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &Value::Null)
    );
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!((calls.len(), &calls[0]["type"]), (1, &json!("function")));
    assert!(calls[0]["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(calls[0]["function"]["name"], "turn");
    let arguments = calls[0]["function"]["arguments"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(arguments).unwrap()["up"].is_boolean());
    // A call that is cut off is none.
    let cut = decoder.chat(tools(json!({"tool_choice": "required", "max_tokens": 30})));
    let choice = &cut["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("length"), &json!("")));
    assert!(choice["message"].get("tool_calls").is_none());
}

#[test]
fn calls_are_told_from_text() {
    let call = |name: &str| {
        format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {{\"a\": [1]}}}}\n</tool_call>")
    };
    let split = |text: &str| super::tools::split(text);
    let made = |name: &str| (name.to_owned(), "{\"a\":[1]}".to_owned());
    assert_eq!(split(" plain "), (" plain ".into(), vec![]));
    assert_eq!(split(&call("f")), (String::new(), vec![made("f")]));
    let text = format!("I see.\n{}\n{} done ", call("f"), call("g"));
    assert_eq!(split(&text), ("I see.\n\n done".into(), vec![made("f"), made("g")]));
    assert_eq!(split(&format!("{}\n<tool_call>\n{{\"na", call("f"))), (String::new(), vec![made("f")]));
    assert_eq!(split("<tool_call>x</tool_call>"), ("<tool_call>x</tool_call>".into(), vec![]));
}

#[test]
fn templates_without_tools_are_told_of_them() {
    let decoder = Decoder::new();
    let prompt = |body: &Value| {
        let asked = decoder.served().read(CHAT, body, "", SETTING);
        let Ok(Asked::Answers(asked)) = asked else { panic!("a request: {asked:?}") };
        let tokens = &asked.requests()[0].prompt;
        tokens.iter().map(|&token| decoder.tokenizer.text(token)).collect::<String>()
    };
    let messages = json!([
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]},
        {"role": "user", "content": "Turn."},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "turn", "arguments": "{\"up\": true}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "turned"},
    ]);
    let tool = json!({"type": "function", "function": {"name": "turn"}});
    let text = prompt(&chat(json!({"messages": messages, "tools": [tool], "max_tokens": 1})));
    let introduction = "<|im_start|>system\nBe kind.\n\nYou may call tools.";
    assert!(text.starts_with(introduction), "{text}");
    assert!(
        text.contains("<tools>\n{\"type\":\"function\",\"function\":{\"name\":\"turn\"}}\n</tools>"),
        "{text}"
    );
    let called =
        "assistant\n<tool_call>\n{\"name\":\"turn\",\"arguments\":{\"up\":true}}\n</tool_call><|im_end|>";
    assert!(text.contains(called), "{text}");
    assert!(text.contains("<|im_start|>tool\nturned<|im_end|>"), "{text}");
    let none = prompt(&chat(json!({"tools": [tool], "tool_choice": "none"})));
    assert_eq!(none, prompt(&chat(json!({}))));
}

#[test]
fn completions_are_answered_for_each_prompt() {
    let decoder = Decoder::new();
    let tokens = decoder.tokenizer.encode("and");
    let body = decoder.completion(json!({"prompt": ["the", "and"], "n": 2, "echo": true, "seed": 4}));
    assert_eq!(body["object"], "text_completion");
    let text = |number: usize| body["choices"][number]["text"].as_str().unwrap();
    assert!(text(0).starts_with("the") && text(1).starts_with("the") && text(2).starts_with("and"));
    assert_eq!(body["choices"][3]["index"], 3);
    assert_eq!(body["usage"]["prompt_tokens"], 1 + tokens.len());
    let given = decoder.completion(json!({"prompt": tokens, "seed": 4}));
    assert_eq!(format!("and{}", given["choices"][0]["text"].as_str().unwrap()), text(2));
    let default = decoder.body(COMPLETION, &json!({"model": "tiny", "prompt": "the", "ignore_eos": true}));
    assert_eq!(default["usage"]["completion_tokens"], 16);
}

#[test]
fn likelihoods_are_told() {
    let decoder = Decoder::new();
    let body = decoder.completion(json!({"logprobs": 2, "temperature": 0}));
    let logprobs = &body["choices"][0]["logprobs"];
    let tokens = logprobs["tokens"].as_array().unwrap();
    let chosen = logprobs["token_logprobs"][0].as_f64().unwrap();
    let top = logprobs["top_logprobs"][0].as_object().unwrap();
    assert_eq!(top[tokens[0].as_str().unwrap()].as_f64(), Some(chosen));
    assert!(top.values().all(|x| x.as_f64().unwrap() <= chosen && chosen < 0.0));
    assert_eq!(logprobs["text_offset"][1], tokens[0].as_str().unwrap().chars().count());

    let body = decoder.chat(json!({"logprobs": true, "top_logprobs": 3}));
    let content = body["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content[0]["top_logprobs"].as_array().unwrap().len(), 3);
    assert!(content[0]["bytes"].is_array() && content[0]["logprob"].as_f64().unwrap() < 0.0);
    let without = decoder.chat(json!({"logprobs": true}));
    assert_eq!(without["choices"][0]["logprobs"]["content"][0]["top_logprobs"], json!([]));
}

#[test]
fn a_stop_ends_all() {
    let decoder = Decoder::new();
    let steps = std::cell::Cell::new(0);
    let engine = Engine::new(InstructionSet::best(), 1);
    let input = line("one", CHAT, &chat(json!({"max_tokens": 400, "ignore_eos": true})));
    let stop = || {
        steps.set(steps.get() + 1);
        steps.get() > 5
    };
    assert!(answer_lines(&decoder.served(), engine, BOUNDS, SETTING, &input, &stop).is_none());
    assert_eq!(steps.get(), 6);
}

#[test]
fn vectors_are_answered() {
    let files = tiny::encoder(3);
    let weights = Safetensors::read(&[&files.weights]).unwrap();
    let encoder = Encoder::load_safetensors(&weights, &files.config, None).unwrap();
    let tokenizer = Tokenizer::read_json(&files.tokenizer, None).unwrap();
    let names = ["mini".to_owned()];
    let served =
        Served { names: &names, fingerprint: "fp_2", tokenizer: &tokenizer, kind: Kind::Encoder(&encoder) };
    let answer = |body: Value| -> Value {
        let engine = Engine::new(InstructionSet::best(), 1);
        let input = line("one", "/v1/embeddings", &merged(json!({"model": "mini"}), body));
        let answered = answer_lines(&served, engine, BOUNDS, SETTING, &input, &|| false).unwrap().remove(0);
        serde_json::from_str::<Value>(&answered.line).unwrap()["response"].clone()
    };
    let body = &answer(json!({"input": ["the tide", "a mill"]}))["body"];
    assert_eq!((&body["object"], &body["model"]), (&json!("list"), &json!("mini")));
    assert_eq!(body["data"][1]["index"], 1);
    assert_eq!(body["usage"], json!({"prompt_tokens": 8, "total_tokens": 8}));
    let floats: Vec<f32> =
        body["data"][1]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
    assert_eq!(floats.len(), 256);
    let base64 = answer(json!({"input": "a mill", "encoding_format": "base64", "dimensions": 256}));
    let base64 = base64["body"]["data"][0]["embedding"].as_str().unwrap().to_owned();
    let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(data_encoding::BASE64.decode(base64.as_bytes()).unwrap(), bytes);
    let tokens = tokenizer.encode("a mill");
    assert_eq!(
        answer(json!({"input": tokens}))["body"]["data"][0]["embedding"],
        body["data"][1]["embedding"]
    );

    let cases = [
        (json!({}), "input", Some("missing_required_parameter")),
        (json!({"input": ""}), "input", None),
        (json!({"input": ["a", ""]}), "input", None),
        (json!({"input": vec!["a"; 2_049]}), "input", None),
        (json!({"input": "a ".repeat(100)}), "input", Some("context_length_exceeded")),
        (json!({"input": "a", "dimensions": 8}), "dimensions", None),
        (json!({"input": "a", "encoding_format": "hex"}), "encoding_format", None),
    ];
    for (body, param, code) in cases {
        let response = answer(body.clone());
        let error = &response["body"]["error"];
        assert_eq!((&response["status_code"], error["param"].as_str()), (&json!(400), Some(param)), "{body}");
        assert_eq!(error["code"].as_str(), code, "{body}");
    }
}
