//! What a program wrote: the line of its answer, and pieces of it while it computes.

use serde_json::Value;
use tidemill_types::Archive;

use crate::error::HttpError;

/// The file of an answer, in the archive that a task leaves.
const FILE: &str = "answers.jsonl";

/// An answer, as a provider signed it.
#[derive(Clone, PartialEq, Debug)]
pub struct Answered {
    /// Its status: 200, or that of an error.
    pub status: u16,
    /// Its body.
    pub body: Value,
}

impl Answered {
    /// Reads the archive of a task of one line.
    ///
    /// # Errors
    /// 502 for one that holds no answer: then the program is not one that answers requests.
    pub fn read(archive: &[u8]) -> Result<Self, HttpError> {
        let line = line(archive).ok_or_else(no_answer)?;
        let line: Value = serde_json::from_slice(line).map_err(|_| no_answer())?;
        let response = &line["response"];
        let status = response["status_code"].as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.filter(|status| *status == 200 || (400..600).contains(status));
        let (Some(status), true) = (status, response["body"].is_object()) else { return Err(no_answer()) };
        Ok(Self { status, body: response["body"].clone() })
    }

    /// The tokens of prompts and of answers.
    pub fn tokens(&self) -> (u64, u64) {
        let count = |key: &str| self.body["usage"][key].as_u64().unwrap_or(0);
        (count("prompt_tokens"), count("completion_tokens"))
    }
}

/// The first line of the answers' file, or of the only file.
fn line(archive: &[u8]) -> Option<&[u8]> {
    let index = Archive::parse(archive).ok()?;
    let named = index.files().find(|(entry, _)| entry.path.as_str() == FILE);
    let only = || index.files().next().filter(|_| index.entries().len() == 1);
    let (entry, offset) = named.or_else(only)?;
    let start = usize::try_from(offset).ok()?;
    let bytes = archive.get(start..start.checked_add(usize::try_from(entry.len).ok()?)?)?;
    bytes.split(|byte| *byte == b'\n').next()
}

fn no_answer() -> HttpError {
    let message = "the program left no answer: it is no program that answers requests";
    HttpError { status: 502, ..HttpError::server("bad_answer", message) }
}

/// A piece of an answer that is being computed: which choice it is of, and its text. A program writes each as a line of
/// JSON to standard output: `{"choice":0,"text":"Hel"}`. Lines of other things are passed over.
pub fn piece(line: &[u8]) -> Option<(usize, String)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let choice = line.get("choice").or_else(|| line.get("index")).map_or(Some(0), Value::as_u64)?;
    let text = line.get("text").or_else(|| line.get("delta"))?.as_str()?;
    Some((usize::try_from(choice).ok()?, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use tidemill_types::{ArchiveBuilder, GuestPath};

    use super::*;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = ArchiveBuilder::default();
        for (path, content) in files {
            builder.add(GuestPath::new(*path).expect("it is a path"), content.len() as u64);
        }
        let (mut bytes, entries) = builder.finish().expect("it is an archive");
        for entry in entries {
            let content =
                files.iter().find(|(path, _)| *path == entry.path.as_str()).expect("it is one of them").1;
            bytes.extend_from_slice(content.as_bytes());
        }
        bytes
    }

    #[test]
    fn an_answer_is_in_the_file_of_answers_or_in_the_only_file() {
        let line = r#"{"custom_id":"a","response":{"status_code":200,"body":{"usage":{"prompt_tokens":3}}},"error":null}"#;
        for files in [
            vec![("answers.jsonl", line)],
            vec![("out.jsonl", line)],
            vec![("a", "x"), ("answers.jsonl", line)],
        ] {
            let answered = Answered::read(&archive(&files)).expect("it is an answer");
            assert_eq!((answered.status, answered.tokens()), (200, (3, 0)));
        }
        let error = line.replace("200", "400");
        assert_eq!(
            Answered::read(&archive(&[("answers.jsonl", &error)])).map(|answered| answered.status),
            Ok(400)
        );
    }

    #[test]
    fn other_things_are_no_answers() {
        let none = |files: &[(&str, &str)]| {
            let error = Answered::read(&archive(files)).expect_err("it is none");
            assert_eq!(error.status, 502, "{files:?}");
        };
        none(&[]);
        none(&[("a", "{}"), ("b", "{}")]);
        none(&[("answers.jsonl", "text")]);
        none(&[("answers.jsonl", r#"{"response":null,"error":{"code":"x"}}"#)]);
        none(&[("answers.jsonl", r#"{"response":{"status_code":302,"body":{}}}"#)]);
        none(&[("answers.jsonl", r#"{"response":{"status_code":200,"body":"text"}}"#)]);
        assert!(Answered::read(b"no archive").is_err());
    }

    #[test]
    fn pieces_are_lines_of_json() {
        assert_eq!(piece(br#"{"choice":2,"text":"Hel"}"#), Some((2, "Hel".into())));
        assert_eq!(piece(br#"{"text":"lo"}"#), Some((0, "lo".into())));
        for other in [&b"words"[..], b"{}", br#"{"choice":-1,"text":"a"}"#, br#"{"choice":0,"text":1}"#, b""]
        {
            assert_eq!(piece(other), None);
        }
    }
}
