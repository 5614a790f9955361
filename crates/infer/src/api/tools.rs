//! Tools: what a model is told of them, and the calls that an answer has.

use serde_json::{Value, json};

use super::error::ApiError;
use super::fields::Fields;
use crate::grammar::{CALL, Calls, Tool};

/// Tools that a request may have.
const MOST_TOOLS: usize = 128;

/// The tools of a request that an answer may call.
#[derive(Debug)]
pub struct Tools {
    /// As the request has them, for templates.
    pub given: Value,
    pub calls: Calls,
}

/// Reads tools and how they may be called; none where an answer must not call one.
pub fn read(fields: &Fields<'_>) -> Result<Option<Tools>, ApiError> {
    let given = fields.array("tools")?.map_or(&[][..], Vec::as_slice);
    let parallel = fields.bool("parallel_tool_calls")?.unwrap_or(true);
    if given.len() > MOST_TOOLS {
        return Err(fields.wrong("tools", format_args!("may have {MOST_TOOLS} tools at most")));
    }
    let mut tools = Vec::new();
    for (number, tool) in given.iter().enumerate() {
        let tool = Fields::at(format!("tools[{number}]"), tool)?;
        if tool.text("type")?.is_some_and(|kind| kind != "function") {
            return Err(tool.wrong("type", "must be \"function\""));
        }
        let function = tool.object("function")?.ok_or_else(|| tool.wrong("function", "is missing"))?;
        let name = function.text("name")?.ok_or_else(|| function.wrong("name", "is missing"))?;
        let parameters = function.get("parameters").cloned().unwrap_or_else(|| json!({"type": "object"}));
        tools.push(Tool { name: name.to_owned(), parameters });
    }
    let required = match fields.get("tool_choice") {
        None => false,
        Some(Value::String(choice)) => match choice.as_str() {
            "auto" => false,
            "required" => true,
            "none" => return Ok(None),
            _ => {
                return Err(
                    fields.wrong("tool_choice", "must be \"none\", \"auto\", \"required\" or a function")
                );
            }
        },
        Some(choice) => {
            let choice = Fields::at("tool_choice", choice)?;
            let function =
                choice.object("function")?.ok_or_else(|| choice.wrong("function", "is missing"))?;
            let name = function.text("name")?.ok_or_else(|| function.wrong("name", "is missing"))?;
            tools.retain(|tool| tool.name == name);
            if tools.is_empty() {
                return Err(function.wrong("name", "must be the name of a tool"));
            }
            true
        }
    };
    if tools.is_empty() {
        if required {
            return Err(fields.wrong("tools", "are missing, though one has to be called"));
        }
        return Ok(None);
    }
    let calls = Calls { tools, required, parallel };
    Ok(Some(Tools { given: Value::Array(given.to_vec()), calls }))
}

impl Tools {
    /// What a model is told whose template says nothing of tools.
    pub fn introduction(&self) -> String {
        let (begin, end) = CALL;
        let mut text = "You may call tools. Each is described by a line of JSON:\n<tools>\n".to_owned();
        for tool in self.given.as_array().into_iter().flatten() {
            text.push_str(&tool.to_string());
            text.push('\n');
        }
        text.push_str(&format!(
            "</tools>\nTo call one, write its name and arguments as JSON between these marks:\n{begin}\n\
             {{\"name\": \"a tool's name\", \"arguments\": {{}}}}\n{end}"
        ));
        text
    }
}

/// A call, written as answers have it: for the templates that know none.
pub fn written(name: &str, arguments: &Value) -> String {
    let (begin, end) = CALL;
    format!("{begin}\n{}\n{end}", json!({"name": name, "arguments": arguments}))
}

/// A call's name, and its arguments as JSON.
pub type Call = (String, String);

/// An answer's text without its calls, and the calls. A call that was cut off is left out.
pub fn split(text: &str) -> (String, Vec<Call>) {
    let mut splitter = Splitter::default();
    let (mut content, calls) = splitter.push(text);
    content.push_str(&splitter.finish());
    (if calls.is_empty() && !splitter.was_cut { content } else { content.trim().to_owned() }, calls)
}

/// Tells calls from text, piece by piece.
#[derive(Debug, Default)]
pub struct Splitter {
    /// A call that is not whole, or text that may begin one.
    held: String,
    /// The answer ended within a call.
    was_cut: bool,
}

impl Splitter {
    /// Takes a piece; gives the text that is certain, and the calls that are whole.
    pub fn push(&mut self, text: &str) -> (String, Vec<Call>) {
        let (begin, end) = CALL;
        self.held.push_str(text);
        let (mut content, mut calls) = (String::new(), Vec::new());
        while let Some(at) = self.held.find(begin) {
            content.push_str(&self.held[..at]);
            self.held.drain(..at);
            let Some(len) = self.held.find(end) else { return (content, calls) };
            let rest = self.held.split_off(len + end.len());
            let whole = std::mem::replace(&mut self.held, rest);
            // The answer's shape makes this JSON; what is not is text.
            match serde_json::from_str::<Value>(&whole[begin.len()..len]).ok().as_ref().and_then(parts) {
                Some(call) => calls.push(call),
                None => content.push_str(&whole),
            }
        }
        let may_begin = |at: &usize| self.held.is_char_boundary(*at) && begin.starts_with(&self.held[*at..]);
        let from = self.held.len().saturating_sub(begin.len());
        let keep = (from..self.held.len()).find(may_begin).unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        content.push_str(&std::mem::replace(&mut self.held, rest));
        (content, calls)
    }

    /// The rest of the text, at the end of an answer.
    pub fn finish(&mut self) -> String {
        self.was_cut = self.held.starts_with(CALL.0);
        let rest = std::mem::take(&mut self.held);
        if self.was_cut { String::new() } else { rest }
    }
}

fn parts(call: &Value) -> Option<Call> {
    Some((call.get("name")?.as_str()?.to_owned(), call.get("arguments")?.to_string()))
}
