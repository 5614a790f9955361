//! The envelope of JSON-RPC 2.0: what a client's message asks, and what goes around an answer.
//!
//! An id goes back as it came, letter for letter. Clients compare it with what they sent, and JSON's numbers fit no
//! one type: -1, 1.5 and 10^30 are ids like any other.

use jsonrpsee::types::{ErrorCode, ErrorObject};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// The id in an answer to a message whose own id cannot be given back.
pub(super) const NO_ID: &str = "null";

/// What a client sent at once.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Single(&'a RawValue),
    Batch(Vec<&'a RawValue>),
}

impl<'a> Message<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Message<'a>, ErrorCode> {
        let whole: &RawValue = serde_json::from_slice(bytes).map_err(|_| ErrorCode::ParseError)?;
        if !whole.get().starts_with('[') {
            return Ok(Message::Single(whole));
        }
        serde_json::from_str(whole.get()).map(Message::Batch).map_err(|_| ErrorCode::ParseError)
    }
}

/// A call, or without an id a notification, whose sender waits for no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// As it was written.
    pub id: Option<&'a str>,
    pub method: String,
    /// As they were written; none if there are none, whichever way that was said.
    pub params: Option<&'a str>,
}

/// JSON that is no request, with the id under which its sender is told so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid<'a> {
    pub id: &'a str,
}

/// Each field is looked at alone, so that a wrong one does not hide the id.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// A field that is there, even if it is `null`: serde takes that for an absent one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Request<'a> {
    pub(super) fn read(raw: &'a RawValue) -> Result<Request<'a>, Invalid<'a>> {
        let text = raw.get();
        // serde would take an array for the fields in their order.
        let fields = text.starts_with('{').then(|| serde_json::from_str::<Fields<'a>>(text).ok()).flatten();
        let Some(Fields { jsonrpc, id, method, params }) = fields else {
            return Err(Invalid { id: NO_ID });
        };
        let id = id.map(RawValue::get);
        if id.is_some_and(|id| !is_id(id)) {
            return Err(Invalid { id: NO_ID });
        }
        match string(method) {
            Some(method) if string(jsonrpc).as_deref() == Some("2.0") => {
                let params = params.map(RawValue::get).filter(|params| !is_nothing(params));
                Ok(Request { id, method, params })
            }
            _ => Err(Invalid { id: id.unwrap_or(NO_ID) }),
        }
    }
}

/// Whether a JSON value is a string, a number or `null`.
fn is_id(value: &str) -> bool {
    value == NO_ID || value.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}

/// Whether a JSON value is `null` or an array without items, spaces or not.
fn is_nothing(params: &str) -> bool {
    let inner = params.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    params == "null" || inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

fn string(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}

/// The answer to a call that succeeded.
pub(super) fn succeeded(id: &str, result: &impl Serialize) -> String {
    match serde_json::to_string(result) {
        Ok(result) => answered(id, "result", &result),
        Err(_) => failed(id, ErrorCode::InternalError),
    }
}

/// The answer to a call that failed.
pub(super) fn failed<'e>(id: &str, error: impl Into<ErrorObject<'e>>) -> String {
    let error = serde_json::to_string(&error.into()).expect("an error is a number, a text and JSON");
    answered(id, "error", &error)
}

/// The answer that a method gave, under the id of the call.
pub(super) fn readdressed(id: &str, answer: &str) -> String {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default, deserialize_with = "present")]
        result: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "present")]
        error: Option<&'a RawValue>,
    }
    match serde_json::from_str(answer) {
        Ok(Answer { error: Some(error), .. }) => answered(id, "error", error.get()),
        Ok(Answer { result: Some(result), .. }) => answered(id, "result", result.get()),
        _ => failed(id, ErrorCode::InternalError),
    }
}

/// What a subscription has to tell; its id is the hex string that this node gave it.
pub(super) fn news(subscription: &str, item: &impl Serialize) -> Result<String, serde_json::Error> {
    let item = serde_json::to_string(item)?;
    Ok(format!(
        r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{subscription}","result":{item}}}}}"#
    ))
}

fn answered(id: &str, name: &str, value: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"{name}":{value}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Request<'_>, Invalid<'_>> {
        match Message::read(text.as_bytes()) {
            Ok(Message::Single(raw)) => Request::read(raw),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn ids_are_kept_letter_for_letter() {
        for id in [
            "1",
            "-1",
            "1.5",
            "1.50",
            "1e3",
            "18446744073709551616",
            "1000000000000000000000000000000",
            "null",
            r#""x""#,
            r#""\u0041\n\ud800""#,
            r#""""#,
        ] {
            let text = format!(r#" {{"params": [1], "id" : {id} , "jsonrpc":"2.0","method":"m"}}"#);
            let expected = Request { id: Some(id), method: "m".into(), params: Some("[1]") };
            assert_eq!(read(&text), Ok(expected), "{id}");
        }
        assert_eq!(read(r#"{"jsonrpc":"2.0","method":"m"}"#).map(|request| request.id), Ok(None));
    }

    #[test]
    fn what_is_no_request_is_told_so_under_its_id_if_it_has_one() {
        for id in ["{}", "[]", "[1]", "true", "false"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
            assert_eq!(read(&text), Err(Invalid { id: "null" }), "{id}");
        }
        for (text, id) in [
            ("null", "null"),
            (r#""x""#, "null"),
            ("1", "null"),
            ("{}", "null"),
            (r#"{"id":-7}"#, "-7"),
            (r#"{"jsonrpc":"2.0","id":"a"}"#, r#""a""#),
            (r#"{"jsonrpc":"2.0","id":2,"method":1}"#, "2"),
            (r#"{"jsonrpc":"2.0","id":2,"method":null}"#, "2"),
            (r#"{"jsonrpc":"1.0","id":2,"method":"m"}"#, "2"),
            (r#"{"id":2,"method":"m"}"#, "2"),
            (r#"{"jsonrpc":"2.0","id":2,"id":3,"method":"m"}"#, "null"),
        ] {
            assert_eq!(read(text), Err(Invalid { id }), "{text}");
        }
    }

    #[test]
    fn a_batch_is_taken_apart_and_the_rest_is_no_json() {
        let Ok(Message::Batch(entries)) = Message::read(br#" [ 1, {"a":[]} ,["2.0",1,"m",[]]] "#) else {
            panic!("a batch");
        };
        assert_eq!(
            entries.iter().map(|raw| raw.get()).collect::<Vec<_>>(),
            ["1", r#"{"a":[]}"#, r#"["2.0",1,"m",[]]"#]
        );
        assert!(entries.iter().all(|raw| Request::read(raw) == Err(Invalid { id: "null" })));
        for bytes in [&b""[..], b"  ", b"{", b"[1,]", b"{} x", b"x", b"\"\xff\""] {
            assert_eq!(Message::read(bytes).err(), Some(ErrorCode::ParseError), "{bytes:?}");
        }
    }

    #[test]
    fn there_are_several_ways_to_say_no_params() {
        for params in ["null", "[]", "[ ]", "[\n\t]"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
            assert_eq!(read(&text).map(|request| request.params), Ok(None), "{params}");
        }
        for params in ["[null]", "{}", "\"bar\"", "[[ ]]"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
            assert_eq!(read(&text).map(|request| request.params), Ok(Some(params)));
        }
    }

    #[test]
    fn answers_go_back_under_the_id_of_the_call() {
        let answer = |id, inner| readdressed(id, inner);
        assert_eq!(
            answer("-1", r#"{"jsonrpc":"2.0","id":null,"result":null}"#),
            r#"{"jsonrpc":"2.0","id":-1,"result":null}"#
        );
        assert_eq!(
            answer(r#""a""#, r#"{"jsonrpc":"2.0","id":null,"error":{"code":3,"message":"m","data":"0x"}}"#),
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":3,"message":"m","data":"0x"}}"#
        );
        assert_eq!(
            failed("1e3", ErrorCode::InvalidRequest),
            r#"{"jsonrpc":"2.0","id":1e3,"error":{"code":-32600,"message":"Invalid request"}}"#
        );
        assert_eq!(succeeded("1", &"0x2"), r#"{"jsonrpc":"2.0","id":1,"result":"0x2"}"#);
        assert_eq!(
            news("0x1", &[7]).unwrap(),
            r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":[7]}}"#
        );
    }
}
