//! A client that knows HTTP and nothing of ours.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use super::chat;
use crate::support::{LIMIT, wait_for};

/// Asks one API.
#[derive(Clone)]
pub struct Client {
    address: String,
    path: String,
    key: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A streamed answer, whose lines are read one after another.
pub struct Stream {
    pub head: String,
    reader: BufReader<TcpStream>,
    /// What was read and not given.
    read: Vec<u8>,
}

impl Client {
    /// Of the API at this address, as `http://127.0.0.1:1/v1`.
    pub fn new(url: &str) -> Self {
        let rest = url.strip_prefix("http://").expect("HTTP");
        let (address, path) = rest.split_once('/').expect("an address and a path");
        Self { address: address.to_owned(), path: format!("/{path}"), key: None }
    }

    /// The same, which shows a key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    pub fn get(&self, route: &str) -> Answer {
        self.whole(&format!("GET {}{route}", self.path), "")
    }

    /// A route that is not below the API's own path.
    pub fn root(&self, route: &str) -> Answer {
        self.whole(&format!("GET {route}"), "")
    }

    pub fn post(&self, route: &str, body: &Value) -> Answer {
        self.whole(&format!("POST {}{route}", self.path), &body.to_string())
    }

    /// Begins to read an answer that comes in events.
    #[track_caller]
    pub fn stream(&self, route: &str, body: &Value) -> Stream {
        let (head, reader) = self.ask(&format!("POST {}{route}", self.path), &body.to_string());
        Stream { head, reader, read: Vec::new() }
    }

    /// Waits until the model is read and somebody can answer.
    pub fn until_ready(&self) {
        self.until_answered("/chat/completions", &chat("Hello"));
    }

    /// Waits until this request is answered.
    pub fn until_answered(&self, route: &str, body: &Value) {
        wait_for("an answer", || (self.post(route, body).status == 200).then_some(()));
    }

    fn whole(&self, line: &str, body: &str) -> Answer {
        let (head, mut reader) = self.ask(line, body);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut bytes = Vec::new();
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            while let Some(chunk) = chunk(&mut reader) {
                bytes.extend_from_slice(&chunk);
            }
        } else {
            reader.read_to_end(&mut bytes).expect("a body");
        }
        Answer { status, head, body: String::from_utf8(bytes).expect("it is text") }
    }

    /// Sends a request, and reads the head of its answer.
    fn ask(&self, line: &str, body: &str) -> (String, BufReader<TcpStream>) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let key =
            self.key.as_ref().map_or_else(String::new, |key| format!("authorization: Bearer {key}\r\n"));
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let address = &self.address;
        let request =
            format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{key}{length}\r\n{body}");
        stream.write_all(request.as_bytes()).expect("it is taken");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("a head"), 0, "{head}");
        }
        (head, reader)
    }
}

impl Stream {
    /// The data of the next event; nothing at the end. Comments are passed over.
    pub fn next(&mut self) -> Option<String> {
        let mut event = String::new();
        loop {
            let line = self.line()?;
            if line.is_empty() && !event.is_empty() {
                return Some(event);
            }
            event.push_str(line.strip_prefix("data: ").unwrap_or_default());
        }
    }

    /// The next event, as JSON.
    #[track_caller]
    pub fn json(&mut self) -> Value {
        let event = self.next().expect("another event");
        serde_json::from_str(&event).unwrap_or_else(|error| panic!("{error} in {event}"))
    }

    /// All events that are left.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The next line, without its end. Chunks may end anywhere.
    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(String::from_utf8(line[..end].to_vec()).expect("it is text"));
            }
            self.read.extend(chunk(&mut self.reader)?);
        }
    }
}

/// The next chunk of a body; nothing at its end, or where it breaks off.
fn chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut size = String::new();
    reader.read_line(&mut size).ok()?;
    let size = usize::from_str_radix(size.trim(), 16).ok()?;
    let mut bytes = vec![0; size + 2];
    reader.read_exact(&mut bytes).ok()?;
    bytes.truncate(size);
    (size > 0).then_some(bytes)
}
