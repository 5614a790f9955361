//! Forms of several parts (RFC 7578), a part at a time and each in pieces, so that none has to be in memory.

use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Buf, Bytes, BytesMut};

use super::{Inflow, broken_off};
use crate::problem::Problem;

/// What stands before the content of a part may be so long.
const MOST_HEAD: usize = 8 << 10;

/// The longest boundary, as RFC 2046 has it.
const MOST_BOUNDARY: usize = 70;

/// A form that is being read.
pub struct Form {
    inflow: Inflow,
    buffer: BytesMut,
    /// What ends each part: the line before the next.
    delimiter: Vec<u8>,
    at: At,
}

#[derive(PartialEq, Eq)]
enum At {
    /// In the content of a part, or before the first.
    Content,
    /// Behind a delimiter.
    Delimiter,
    /// Behind the last.
    End,
}

/// How a part is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// The name of the file that it is, if it is one.
    pub file_name: Option<String>,
}

/// Whether a request brings a form of several parts.
pub fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("multipart/form-data")
}

impl Form {
    /// The form of a request that is one.
    pub fn new(headers: &HeaderMap, inflow: Inflow) -> Result<Self, Problem> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let boundary = parameter(kind, "boundary").filter(|boundary| {
            (1..=MOST_BOUNDARY).contains(&boundary.len())
                && boundary.bytes().all(|byte| (32..127).contains(&byte))
        });
        let Some(boundary) = boundary else {
            return Err(wrong(
                "the header Content-Type of a form must name a boundary of 1 to 70 characters",
            ));
        };
        // As if a line had ended before the first delimiter: there need not be one.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Ok(Self { inflow, buffer, delimiter: format!("\r\n--{boundary}").into_bytes(), at: At::Content })
    }

    /// The next part; nothing behind the last. What was not read of the one before is passed over.
    pub async fn part(&mut self) -> Result<Option<Part>, Problem> {
        while self.chunk().await?.is_some() {}
        if self.at == At::End {
            return Ok(None);
        }
        while self.buffer.len() < 2 {
            self.fill().await?;
        }
        if self.buffer.starts_with(b"--") {
            self.at = At::End;
            return Ok(None);
        }
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > MOST_HEAD {
                return Err(wrong("the headers of a part are too long"));
            }
            self.fill().await?;
        };
        if end > MOST_HEAD {
            return Err(wrong("the headers of a part are too long"));
        }
        let head = self.buffer.split_to(end);
        self.buffer.advance(4);
        self.at = At::Content;
        named(&head).map(Some)
    }

    /// The next piece of the content of the part; nothing at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        while self.at == At::Content {
            match find(&self.buffer, &self.delimiter) {
                Some(0) => {
                    self.buffer.advance(self.delimiter.len());
                    self.at = At::Delimiter;
                }
                Some(content) => return Ok(Some(self.buffer.split_to(content).freeze())),
                None => {
                    // The end may be the beginning of a delimiter.
                    let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                    if sure > 0 {
                        return Ok(Some(self.buffer.split_to(sure).freeze()));
                    }
                    self.fill().await?;
                }
            }
        }
        Ok(None)
    }

    /// All of the content of the part, of at most so many bytes, as text.
    pub async fn text(&mut self, what: &str, most: usize) -> Result<String, Problem> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > most {
                let most = tidemill_types::ByteSize(most as u64);
                let found = format!("{what} has more than {most}");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, found));
            }
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).map_err(|_| wrong(&format!("{what} is not UTF-8 text")))
    }

    async fn fill(&mut self) -> Result<(), Problem> {
        let bytes = self.inflow.next().await?.ok_or_else(broken_off)?;
        self.buffer.extend_from_slice(&bytes);
        Ok(())
    }
}

fn wrong(found: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, found)
}

/// The name in the headers of a part.
fn named(head: &[u8]) -> Result<Part, Problem> {
    let head = std::str::from_utf8(head).map_err(|_| wrong("the headers of a part are not UTF-8 text"))?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let named = disposition.and_then(|value| {
        let name = parameter(value, "name")?;
        Some(Part { name, file_name: parameter(value, "filename") })
    });
    named.ok_or_else(|| wrong("a part of the form has no name"))
}

/// A parameter of a header, without its quotes. Browsers write `%22` for a quote in it, other programs `\"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, value) = rest.split_once('=')?;
        let is_wanted = name.trim().trim_start_matches(';').trim().eq_ignore_ascii_case(wanted);
        let value = value.trim_start();
        let (text, after) = match value.strip_prefix('"') {
            Some(quoted) => {
                let (mut text, mut chars) = (String::new(), quoted.char_indices());
                let end = loop {
                    match chars.next()? {
                        (at, '"') => break at + 1,
                        (_, '\\') if chars.as_str().starts_with(['"', '\\']) => {
                            text.extend(chars.next().map(|(_, c)| c));
                        }
                        (_, c) => text.push(c),
                    }
                };
                (text.replace("%22", "\""), &quoted[end..])
            }
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        if is_wanted {
            return Some(text);
        }
        rest = after;
    }
}

/// Where something begins that begins with the end of a line.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'\r') {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::HeaderValue};

    use super::*;
    use crate::upload::Speed;

    fn form(body: Vec<u8>) -> Form {
        let kind = HeaderValue::from_static("multipart/form-data; boundary=\"a b\"");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
        assert!(is_form(&headers));
        let inflow = Inflow::new(Body::from(body), 1 << 20, Speed::default()).expect("it is short");
        Form::new(&headers, inflow).expect("it has a boundary")
    }

    async fn read(mut form: Form) -> Result<Vec<(Part, Vec<u8>)>, Problem> {
        let mut parts = Vec::new();
        while let Some(part) = form.part().await? {
            let mut content = Vec::new();
            while let Some(chunk) = form.chunk().await? {
                content.extend_from_slice(&chunk);
            }
            parts.push((part, content));
        }
        Ok(parts)
    }

    fn part(name: &str, file_name: Option<&str>) -> Part {
        Part { name: name.to_owned(), file_name: file_name.map(str::to_owned) }
    }

    #[tokio::test]
    async fn parts_are_what_lies_between_delimiters() {
        let body = b"passed over\r\n--a b\r\ncontent-disposition: form-data; name=\"job.toml\"\r\n\r\nname = 1\r\n--a\r\n\
                     \r\n--a b\r\nContent-Type: x\r\nContent-Disposition: form-data; name=files; filename=\"a%22\\\"\\\\;b.txt\"\r\n\r\n\
                     \r\n--a b\r\nContent-Disposition: form-data; name=\"\xc3\xbc\"\r\n\r\n\r\r\n\r\n\r\n--a b--\r\nafter";
        let parts = read(form(body.to_vec())).await.expect("a form");
        assert_eq!(
            parts,
            [
                (part("job.toml", None), b"name = 1\r\n--a\r\n".to_vec()),
                (part("files", Some("a\"\"\\;b.txt")), b"".to_vec()),
                (part("ü", None), b"\r\r\n\r\n".to_vec()),
            ]
        );
        assert_eq!(read(form(b"--a b--".to_vec())).await.expect("an empty form"), []);
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused() {
        let head = "--a b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
        for body in [
            String::new(),
            "no form".to_owned(),
            head.to_owned(),
            format!("{head}content"),
            "--a b\r\n\r\n\r\n--a b--".to_owned(),
            "--a b\r\nContent-Disposition: form-data; name=\"a\r\n\r\n\r\n--a b--".to_owned(),
            format!("--a b\r\nx: {}\r\n\r\n\r\n--a b--", "y".repeat(MOST_HEAD)),
        ] {
            let problem = read(form(body.clone().into_bytes())).await.expect_err(&body);
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{body}");
        }
        let mut endless = format!("--a b\r\nx: {}", "y".repeat(1 << 19)).into_bytes();
        endless.extend_from_slice(b"\r\n\r\n");
        assert!(read(form(endless)).await.is_err());
    }

    #[tokio::test]
    async fn any_cut_of_a_body_gives_the_same_parts() {
        let body = b"--a b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--a \r\n--a b\r\n\
                     Content-Disposition: form-data; name=\"b\"\r\n\r\ntwo\r\n--a b--";
        let whole = read(form(body.to_vec())).await.expect("a form");
        assert_eq!(whole.len(), 2);
        for cut in 1..body.len() {
            let mut form = form(Vec::new());
            // What has arrived is in the buffer, what comes is in the body.
            form.buffer.extend_from_slice(&body[..cut]);
            form.inflow = Inflow::new(Body::from(body[cut..].to_vec()), 1 << 20, Speed::default())
                .expect("it is short");
            assert_eq!(read(form).await.expect("a form"), whole, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn texts_are_bounded() {
        let body = "--a b\r\nContent-Disposition: form-data; name=a\r\n\r\n12345\r\n--a b--";
        for (most, is_short) in [(5, true), (4, false)] {
            let mut form = form(body.as_bytes().to_vec());
            form.part().await.expect("a form");
            assert_eq!(form.text("it", most).await.is_ok(), is_short);
        }
    }
}
