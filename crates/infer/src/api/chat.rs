//! `/v1/chat/completions`.

use serde_json::{Map, Value, json};

use super::answer::{Answers, Choice, Form};
use super::error::ApiError;
use super::fields::Fields;
use super::options::Options;
use super::tools::{self, Tools};
use super::{Root, Served, short};
use crate::grammar::Shape;
use crate::model::Model;
use crate::sample::Likelihood;
use crate::template::{self, ChatTemplate};
use crate::tokens::Tokenizer;

/// Other tokens whose likelihoods may be asked for.
const MOST_ALTERNATIVES: i64 = 20;

pub fn read(
    served: &Served<'_>,
    model: &Model,
    template: Option<&ChatTemplate>,
    fields: &Fields<'_>,
    root: &Root,
) -> Result<Answers, ApiError> {
    let template = template.ok_or_else(|| {
        ApiError::wrong("model", "the model has no chat template: /v1/completions continues texts")
    })?;
    let Said { options, tools, messages } = said(fields, served.tokenizer.len(), root.seed())?;
    let prompt = prompt(served, template, &messages, tools.as_ref(), root)?;
    let tokens = served.tokenizer.encode(&prompt);
    Ok(Answers {
        requests: options.requests(model, &tokens, "messages")?,
        form: Form::Chat { has_tools: tools.is_some() },
        id: root.id("chatcmpl"),
        seed: options.seed,
        streams: options.streams,
        prompt_tokens: tokens.len(),
    })
}

/// What a request says, as far as no model is needed to read it.
#[derive(Debug)]
pub struct Said {
    pub options: Options,
    pub tools: Option<Tools>,
    /// In the form that templates expect.
    pub messages: Vec<Value>,
}

/// Reads all fields. `vocabulary` and `seed` are as in [`Options::read`].
pub fn said(fields: &Fields<'_>, vocabulary: usize, seed: u64) -> Result<Said, ApiError> {
    let mut options = Options::read(fields, vocabulary, seed)?;
    options.request.likelihoods = likelihoods(fields)?;
    let tools = tools::read(fields)?;
    options.request.shape = shape(fields, tools.as_ref())?;
    Ok(Said { options, tools, messages: messages(fields)? })
}

fn likelihoods(fields: &Fields<'_>) -> Result<Option<usize>, ApiError> {
    let count = fields.integer("top_logprobs", 0..=MOST_ALTERNATIVES)?;
    match (fields.bool("logprobs")?.unwrap_or(false), count) {
        (true, count) => Ok(Some(count.unwrap_or(0) as usize)),
        (false, Some(1..)) => Err(fields.wrong("top_logprobs", "needs logprobs to be true")),
        (false, _) => Ok(None),
    }
}

/// What the answer has to be.
fn shape(fields: &Fields<'_>, tools: Option<&Tools>) -> Result<Option<Shape>, ApiError> {
    let format = fields.object("response_format")?;
    let kind = match &format {
        Some(format) => format.text("type")?.ok_or_else(|| format.wrong("type", "is missing"))?,
        None => "text",
    };
    let shape = match (kind, &format) {
        ("text", _) => None,
        ("json_object", _) => Some(Shape::Object),
        ("json_schema", Some(format)) => {
            let named =
                format.object("json_schema")?.ok_or_else(|| format.wrong("json_schema", "is missing"))?;
            let schema = named.get("schema").ok_or_else(|| named.wrong("schema", "is missing"))?;
            Some(Shape::Schema(schema.clone()))
        }
        _ => {
            let known = "must be \"text\", \"json_object\" or \"json_schema\"";
            return Err(fields.wrong("response_format", format_args!("has a type that {known}")));
        }
    };
    match (shape, tools) {
        (Some(_), Some(_)) => {
            let problem = "and tools exclude each other, unless tool_choice is \"none\"";
            Err(fields.wrong("response_format", problem))
        }
        (None, Some(tools)) => Ok(Some(Shape::Calls(tools.calls.clone()))),
        (shape, None) => Ok(shape),
    }
}

/// The messages, in the form that templates expect.
fn messages(fields: &Fields<'_>) -> Result<Vec<Value>, ApiError> {
    let given = fields.array("messages")?.ok_or_else(|| ApiError::missing("messages"))?;
    if given.is_empty() {
        return Err(fields.wrong("messages", "must have a message"));
    }
    let message = |(number, message)| message_of(&Fields::at(format!("messages[{number}]"), message)?);
    given.iter().enumerate().map(message).collect()
}

fn message_of(message: &Fields<'_>) -> Result<Value, ApiError> {
    let role = match message.text("role")?.ok_or_else(|| message.wrong("role", "is missing"))? {
        "developer" => "system",
        role @ ("system" | "user" | "assistant" | "tool") => role,
        _ => {
            let roles = "must be \"system\", \"developer\", \"user\", \"assistant\" or \"tool\"";
            return Err(message.wrong("role", roles));
        }
    };
    let calls = message.array("tool_calls")?;
    let content = match message.get("content") {
        None if role == "assistant" && calls.is_some() => String::new(),
        None => return Err(message.wrong("content", "is missing")),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let mut text = String::new();
            for (number, part) in parts.iter().enumerate() {
                let part = Fields::at(format!("{}[{number}]", message.param("content")), part)?;
                if part.text("type")? != Some("text") {
                    return Err(part.wrong("type", "must be \"text\": models here read nothing else"));
                }
                text.push_str(part.text("text")?.ok_or_else(|| part.wrong("text", "is missing"))?);
            }
            text
        }
        Some(_) => return Err(message.wrong("content", "must be a text or an array of parts")),
    };
    let mut out = Map::new();
    out.insert("role".into(), role.into());
    out.insert("content".into(), content.into());
    for key in ["name", "tool_call_id"] {
        if let Some(text) = message.text(key)? {
            out.insert(key.into(), text.into());
        }
    }
    if let Some(calls) = calls {
        let call = |(number, call)| {
            call_of(&Fields::at(format!("{}[{number}]", message.param("tool_calls")), call)?)
        };
        let calls: Vec<Value> = calls.iter().enumerate().map(call).collect::<Result<_, _>>()?;
        out.insert("tool_calls".into(), calls.into());
    }
    Ok(out.into())
}

/// A call that was made: its arguments as an object, which is what templates expect.
fn call_of(call: &Fields<'_>) -> Result<Value, ApiError> {
    let function = call.object("function")?.ok_or_else(|| call.wrong("function", "is missing"))?;
    let name = function.text("name")?.ok_or_else(|| function.wrong("name", "is missing"))?;
    let arguments = function.text("arguments")?.unwrap_or("{}");
    let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| Value::from(arguments));
    Ok(json!({
        "id": call.text("id")?.unwrap_or(""),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }))
}

fn prompt(
    served: &Served<'_>,
    template: &ChatTemplate,
    messages: &[Value],
    tools: Option<&Tools>,
    root: &Root,
) -> Result<String, ApiError> {
    let tokenizer = served.tokenizer;
    let begin = tokenizer.begin().0.map_or_else(String::new, |token| tokenizer.text(token));
    let end = tokenizer.ends().first().map_or_else(String::new, |&token| tokenizer.text(token));
    let render = |messages: &[Value], tools: &Value| {
        let setting = template::Setting {
            tools,
            begins_answer: true,
            begin: &begin,
            end: &end,
            date: root.setting.date(),
        };
        let messages = Value::Array(messages.to_vec());
        template.render(&messages, &setting).map_err(|error| ApiError::template(&error))
    };
    let Some(tools) = tools else { return render(messages, &Value::Null) };
    let prompt = render(messages, &tools.given)?;
    if prompt != render(messages, &Value::Null)? {
        return Ok(prompt);
    }
    // The template does not know tools, so the model is told of them in words.
    render(&in_words(messages, tools), &Value::Null)
}

/// Messages in which tools are introduced, and calls are written as answers have them.
fn in_words(messages: &[Value], tools: &Tools) -> Vec<Value> {
    let mut messages = messages.to_vec();
    for message in &mut messages {
        let calls = message.as_object_mut().and_then(|message| message.remove("tool_calls"));
        let mut text = message["content"].as_str().unwrap_or("").to_owned();
        for call in calls.iter().filter_map(Value::as_array).flatten() {
            if !text.is_empty() {
                text.push('\n');
            }
            let function = &call["function"];
            text.push_str(&tools::written(function["name"].as_str().unwrap_or(""), &function["arguments"]));
        }
        message["content"] = text.into();
    }
    let introduction = tools.introduction();
    match messages.first_mut().filter(|message| message["role"] == "system") {
        Some(system) => {
            let text = format!("{}\n\n{introduction}", system["content"].as_str().unwrap_or(""));
            system["content"] = text.into();
        }
        None => messages.insert(0, json!({"role": "system", "content": introduction})),
    }
    messages
}

/// A choice's JSON.
pub fn choice(served: &Served<'_>, id: &str, index: usize, choice: &Choice, has_tools: bool) -> Value {
    let (content, calls) = if has_tools { tools::split(&choice.text) } else { (choice.text.clone(), vec![]) };
    let mut message = json!({"role": "assistant", "content": content, "refusal": null});
    let mut finish_reason = choice.finish_reason();
    if !calls.is_empty() {
        if content.is_empty() {
            message["content"] = Value::Null;
        }
        let call = |(number, (name, arguments)): (usize, &(String, String))| {
            call(id, index, number, name, arguments)
        };
        message["tool_calls"] = calls.iter().enumerate().map(call).collect();
        if finish_reason == "stop" {
            finish_reason = "tool_calls";
        }
    }
    let logprobs = choice.likelihoods(served.tokenizer).map(|all| {
        let content: Vec<Value> = all
            .into_iter()
            .map(|(token, likelihood)| likelihood_of(served.tokenizer, token, likelihood))
            .collect();
        json!({"content": content, "refusal": null})
    });
    json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason})
}

/// A call's JSON.
pub fn call(answer: &str, index: usize, number: usize, name: &str, arguments: &str) -> Value {
    let hash = blake3::hash(format!("{answer} {index} {number}").as_bytes());
    let id = format!("call_{}", &hash.to_hex()[..24]);
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

/// How likely a token was, and others in its place.
pub fn likelihood_of(tokenizer: &Tokenizer, token: u32, likelihood: &Likelihood) -> Value {
    let one = |token: u32, logprob: f32| {
        let bytes = tokenizer.bytes(token);
        json!({"token": tokenizer.text(token), "logprob": short(logprob), "bytes": bytes})
    };
    let mut value = one(token, likelihood.of_token);
    value["top_logprobs"] = likelihood.top.iter().map(|&(token, logprob)| one(token, logprob)).collect();
    value
}
