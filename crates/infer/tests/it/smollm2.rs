//! A model that people use, SmolLM2-135M-Instruct, against what llama.cpp says of it.

use std::fs::File;

use serde_json::json;
use tidemill_infer::api::{self, Kind, Served, answer_lines};
use tidemill_infer::{
    Batch, Bounds, ChatTemplate, Date, Engine, Event, FileSource, Finding, Finish, Gguf, InstructionSet,
    Model, Request, Sampling, Setting, Tokenizer, check,
};

const QUESTION: &str = "Summarise the following text in a few sentences, and then tell me what a tide mill is.\n\nThe \
    tide mill stands at the mouth of the river, where salt water meets fresh. Twice a day the sea fills the pond behind \
    its gates, and twice a day the miller lets it out again over the wheel. Nobody needs to pay for the moon. In the \
    year 1690 there were more than 750 such mills along the Atlantic coast, from Britain and France to Portugal and New \
    England; by 1938 fewer than a hundred were left, most of them grinding corn for a single village. What ended them \
    was not that the sea stopped rising, but that steam could be had at any hour. A machine that works only when the \
    tide allows must wait, and a customer who has to wait goes elsewhere. Still, the idea has a charm that engineers \
    keep coming back to: the power is there anyway, whether somebody uses it or not. ";

/// What llama.cpp says on one thread (xllamacpp 2026.10.11549, temperature 0): 107 tokens and the end.
const ANSWER: &str = "The tide mill stands at the mouth of the river, where salt water meets fresh, and twice a day the \
    sea fills the pond behind its gates. Twice a day the miller lets it out again over the wheel, and in 1690, there were \
    more than 750 such mills along the Atlantic coast, from Britain and France to Portugal and New England. The idea of a \
    machine that can work at any hour has been around for a long time, and the tide mill is a testament to that.";

/// The model's files, if they are there.
fn load() -> Option<(Model, Tokenizer, ChatTemplate)> {
    let path = crate::fetched_model("smollm2")?.join("model.gguf");
    let source = FileSource::new(File::open(path).unwrap()).unwrap();
    let gguf = Gguf::read(&source).unwrap();
    let template = gguf.metadata().text("tokenizer.chat_template").unwrap().unwrap();
    Some((
        Model::load(&source, &gguf).unwrap(),
        Tokenizer::read(gguf.metadata()).unwrap(),
        ChatTemplate::new(template).unwrap(),
    ))
}

#[test]
fn greedy_text_is_that_of_llama_cpp() {
    let Some((model, tokenizer, template)) = load() else { return };
    let setting = Setting {
        tools: &serde_json::Value::Null,
        begins_answer: true,
        begin: "<|im_start|>",
        end: "<|im_end|>",
        date: Date { year: 2026, month: 1, day: 1 },
    };
    let messages = json!([{"role": "user", "content": QUESTION}]);
    let prompt = template.render(&messages, &setting).unwrap();
    let prompt = tokenizer.encode(&prompt);
    assert_eq!(prompt.len(), 233, "as llama.cpp counts");

    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let request = Request { prompt, sampling, most_tokens: 128, ..Request::default() };
    let bounds = Bounds { tokens_per_step: 512, pages: 64 };
    let engine = Engine::new(InstructionSet::best(), 2);
    let mut batch = Batch::new(&model, &tokenizer, engine, bounds);
    batch.join(request.clone()).unwrap();
    let mut text = String::new();
    let claim = loop {
        let mut end = None;
        for event in batch.step().unwrap() {
            match event {
                Event::Token { text: more, .. } => text.push_str(&more),
                Event::End { claim, .. } => end = Some(claim),
            }
        }
        if let Some(claim) = end {
            break claim;
        }
    };
    assert_eq!(text, ANSWER);
    assert_eq!((claim.tokens.len(), claim.finish), (108, Finish::Stop));
    for isa in InstructionSet::available().into_iter().filter(|&isa| isa != InstructionSet::PLAIN) {
        let finding = check(&mut Engine::new(isa, 1), &model, &tokenizer, &request, &claim).unwrap();
        assert_eq!(finding, Finding::Right, "by {isa}");
    }
}

#[test]
fn answers_are_json_where_it_is_asked_for() {
    let Some((model, tokenizer, template)) = load() else { return };
    let names = ["smollm2".to_owned()];
    let kind = Kind::Decoder(&model, Some(&template));
    let served = Served { names: &names, fingerprint: "test", tokenizer: &tokenizer, kind };
    let schema = json!({
        "type": "object",
        "properties": {
            "machine": {"type": "string", "maxLength": 40},
            "year": {"type": "integer", "minimum": 1000, "maximum": 2100},
            "countries": {"type": "array", "items": {"enum": ["Britain", "France", "Portugal"]}, "maxItems": 3},
        },
        "required": ["machine", "year", "countries"],
        "additionalProperties": false,
    });
    let tool = json!({"type": "function", "function": {"name": "get_tide", "description": "The tide at a port.",
        "parameters": {"type": "object", "properties": {"port": {"type": "string", "maxLength": 30}},
            "required": ["port"], "additionalProperties": false}}});
    let line = |more: serde_json::Value| {
        let mut body = json!({"model": "smollm2", "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": 200, "temperature": 0.5});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        json!({"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": body}).to_string()
    };
    let schema = json!({"type": "json_schema", "json_schema": {"name": "mill", "schema": schema}});
    let port = json!([{"role": "user", "content": "How high is the tide at Saint-Malo? Ask the tool."}]);
    let input = [
        line(json!({"response_format": schema})),
        line(
            json!({"messages": port, "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false}),
        ),
        line(json!({"messages": port, "tools": [tool]})),
    ];
    let bounds = Bounds { tokens_per_step: 512, pages: 200 };
    let engine = Engine::new(InstructionSet::best(), 2);
    let setting = api::Setting { created_s: 0, seed: 1 };
    let answered = answer_lines(&served, engine, bounds, setting, &input.join("\n"), &|| false).unwrap();
    let choice = |number: usize| {
        let line: serde_json::Value = serde_json::from_str(&answered[number].line).unwrap();
        eprintln!("{line}");
        assert_eq!(line["response"]["status_code"], 200);
        line["response"]["body"]["choices"][0].clone()
    };
    let written = choice(0);
    let mill: serde_json::Value =
        serde_json::from_str(written["message"]["content"].as_str().unwrap()).unwrap();
    assert!((1_000..=2_100).contains(&mill["year"].as_i64().unwrap()), "{mill}");
    assert_eq!(written["finish_reason"], "stop");
    let called = choice(1);
    let function = &called["message"]["tool_calls"][0]["function"];
    assert_eq!((&function["name"], &called["finish_reason"]), (&json!("get_tide"), &json!("tool_calls")));
    let arguments: serde_json::Value = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["port"].is_string());
    choice(2);
}
