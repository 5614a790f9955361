//! The output of a job: which files it has, the first of them shown, any of them to download.

use std::ops::Range;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use tidemill_coordinator::{LocalError, LocalSession};
use tidemill_net::wire::{MAX_PAGE, OutputPiece, Reply, Request};
use tidemill_types::{Archive, ArchiveEntry, ByteSize, JobId, TaskId, TaskNumber, one_line};

use crate::{problem::Problem, words::count};

/// The longest output of one task that is read; it is in memory meanwhile.
const MOST_BYTES: u64 = 256 << 20;

/// The longest output of which a page shows something.
const MOST_SHOWN: u64 = 64 << 20;

/// Tasks whose outputs a page lists, where there is no reduce.
const MOST_TASKS: u32 = 16;

/// Files after which a list ends with the task that has begun.
const MOST_LISTED: usize = 10_000;

/// Files that a page lists.
const MOST_FILES: usize = 24;

/// What a page shows of a text.
const TEXT_BYTES: usize = 4 << 10;

/// Rows and columns that a page shows of a table.
const TABLE_ROWS: usize = 12;
const TABLE_COLUMNS: usize = 8;

/// A file of an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutFile {
    /// The task.
    pub task: TaskNumber,
    /// Where it is in the output of that task.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
}

/// The files of an output, and what is shown of one of them.
#[derive(Clone, PartialEq, Debug)]
pub struct Listing {
    files: Vec<OutFile>,
    /// Whether there are more.
    is_more: bool,
    shown: Option<(OutFile, Shown)>,
}

/// What is shown of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Shown {
    Image,
    Text(String),
    Table(Vec<Vec<String>>),
}

/// What a file is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Image(&'static str),
    Text,
    Table(char),
    Other,
}

impl Kind {
    /// Pictures that cannot hold a script are the only ones that are shown as pictures.
    fn of(path: &str) -> Self {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
        match extension.as_str() {
            "png" => Self::Image("image/png"),
            "jpg" | "jpeg" => Self::Image("image/jpeg"),
            "gif" => Self::Image("image/gif"),
            "webp" => Self::Image("image/webp"),
            "avif" => Self::Image("image/avif"),
            "csv" => Self::Table(','),
            "tsv" => Self::Table('\t'),
            "txt" | "log" | "json" | "jsonl" | "md" | "toml" | "fa" | "fasta" | "out" => Self::Text,
            _ => Self::Other,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Image(kind) => kind,
            Self::Text | Self::Table(_) => "text/plain; charset=utf-8",
            Self::Other => "application/octet-stream",
        }
    }
}

/// The output of a job that is done: of its reduce, or of its first tasks.
pub async fn listing(session: &mut LocalSession, job: JobId) -> Result<Listing, Problem> {
    let request = Request::Outputs { job, from: TaskNumber(0), limit: MOST_TASKS };
    let Reply::Outputs(pieces) = session.ask(request).await? else {
        return Err(LocalError::OffProtocol.into());
    };
    let mut listing =
        Listing { files: Vec::new(), is_more: pieces.len() >= MOST_TASKS as usize, shown: None };
    for piece in pieces {
        if piece.output.len > MOST_SHOWN {
            listing.is_more = true;
            continue;
        }
        let task = piece.task;
        let bytes = bytes(session, piece).await?;
        let archive = archive(&bytes)?;
        for (entry, offset) in archive.files() {
            if listing.files.len() >= MOST_FILES {
                listing.is_more = true;
                break;
            }
            let file = OutFile { task, path: entry.path.to_string(), len: entry.len };
            if listing.shown.is_none()
                && let Some(content) = slice(&bytes, offset, entry.len)
                && let Some(shown) = Shown::of(&file.path, content)
            {
                listing.shown = Some((file.clone(), shown));
            }
            listing.files.push(file);
        }
    }
    Ok(listing)
}

/// The files of the output of a job that is done, from a task on, and the task to go on with.
pub async fn all(
    session: &mut LocalSession,
    job: JobId,
    from: u64,
) -> Result<(Vec<OutFile>, Option<u64>), Problem> {
    let request = Request::Outputs { job, from: TaskNumber(from), limit: MAX_PAGE };
    let Reply::Outputs(pieces) = session.ask(request).await? else {
        return Err(LocalError::OffProtocol.into());
    };
    let mut files = Vec::new();
    let mut next = None;
    for piece in pieces {
        let task = piece.task;
        if files.len() >= MOST_LISTED {
            return Ok((files, Some(task.0)));
        }
        let bytes = bytes(session, piece).await?;
        let entry = |entry: &ArchiveEntry| OutFile { task, path: entry.path.to_string(), len: entry.len };
        files.extend(archive(&bytes)?.entries().iter().map(entry));
        next = Some(task.0 + 1);
    }
    // An answer is as long as its bounds allow; whether something follows, the next one says.
    Ok((files, next))
}

/// A file of the output of a task that is done, or the range of it that is asked for.
pub async fn download(
    session: &mut LocalSession,
    id: TaskId,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "the output of this task has no such file");
    let Reply::Outputs(pieces) = session.ask(Request::Output(id)).await? else {
        return Err(LocalError::OffProtocol.into());
    };
    let piece = pieces.into_iter().next().ok_or_else(missing)?;
    let bytes = bytes(session, piece).await?;
    let archive = archive(&bytes)?;
    let found = archive.files().find(|(entry, _)| entry.path.as_str() == path);
    let content = found.and_then(|(entry, offset)| slice(&bytes, offset, entry.len)).ok_or_else(missing)?;
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let mut response = match asked.map(|asked| range(asked, content.len() as u64)) {
        None | Some(Asked::All) => content.to_vec().into_response(),
        Some(Asked::Part(part)) => {
            let told = format!("bytes {}-{}/{}", part.start, part.end - 1, content.len());
            let part = slice(content, part.start, part.end - part.start).unwrap_or_default().to_vec();
            let mut response = (StatusCode::PARTIAL_CONTENT, part).into_response();
            set(&mut response, header::CONTENT_RANGE, &told);
            response
        }
        Some(Asked::Outside) => {
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "the file is shorter");
            let mut response = problem.into_response();
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", content.len()));
            return Ok(response);
        }
    };
    let kind = Kind::of(path);
    set(&mut response, header::CONTENT_TYPE, kind.content_type());
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    // The file of a stranger's program: it may look like a page, and must not act as one of this origin.
    set(&mut response, header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
    if !matches!(kind, Kind::Image(_)) {
        set(&mut response, header::CONTENT_DISPOSITION, "attachment");
    }
    Ok(response)
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

async fn bytes(session: &mut LocalSession, piece: OutputPiece) -> Result<Vec<u8>, Problem> {
    match piece.inline {
        Some(bytes) => Ok(bytes),
        None => Ok(session.read(piece.output, MOST_BYTES).await?),
    }
}

fn archive(bytes: &[u8]) -> Result<Archive, Problem> {
    Archive::parse(bytes).map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn slice(bytes: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let from = usize::try_from(offset).ok()?;
    bytes.get(from..from.checked_add(usize::try_from(len).ok()?)?)
}

/// What a header `Range` asks for.
#[derive(PartialEq, Eq, Debug)]
pub enum Asked {
    /// The whole, also where it is not understood or there are several ranges.
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that are not there.
    Outside,
}

/// One range of bytes, as RFC 9110 has it.
pub fn range(asked: &str, len: u64) -> Asked {
    let Some((from, to)) = asked.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::All;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let part = match (from.trim().is_empty(), number(from), to.trim().is_empty(), number(to)) {
        // The last bytes.
        (true, _, false, Some(last)) => len.saturating_sub(last)..len,
        (false, Some(from), true, _) => from..len,
        (false, Some(from), false, Some(to)) if from <= to => from..to.saturating_add(1).min(len),
        _ => return Asked::All,
    };
    if part.start >= part.end { Asked::Outside } else { Asked::Part(part) }
}

impl Shown {
    fn of(path: &str, content: &[u8]) -> Option<Self> {
        match Kind::of(path) {
            Kind::Image(_) => Some(Self::Image),
            Kind::Text => Some(Self::Text(beginning(content)?)),
            Kind::Table(separator) => {
                let text = beginning(content)?;
                let cells = |line: &str| {
                    line.split(separator).take(TABLE_COLUMNS).map(|cell| one_line(cell, 60)).collect()
                };
                Some(Self::Table(text.lines().take(TABLE_ROWS).map(cells).collect()))
            }
            Kind::Other => None,
        }
    }
}

/// The beginning of a text; nothing of what is none.
fn beginning(content: &[u8]) -> Option<String> {
    let bytes = &content[..content.len().min(TEXT_BYTES)];
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // A character was cut.
        Err(error) if error.valid_up_to() + 4 > bytes.len() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let dots = if bytes.len() < content.len() { "\n…" } else { "" };
    Some(tidemill_types::lines(text) + dots)
}

/// Where a file is downloaded from, below the path of its job's files.
pub fn link(below: &str, file: &OutFile) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let path: String = file
        .path
        .bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("{below}/{}/{path}", file.task)
}

/// The part of a job's page about its output.
pub fn shown(job: JobId, listing: &Listing) -> Markup {
    let Listing { files, is_more, shown } = listing;
    let below = format!("/jobs/{job}/files");
    html! {
        @if let Some((file, shown)) = shown {
            div.in {
                @match shown {
                    Shown::Image => figure {
                        a href=(link(&below, file)) { img src=(link(&below, file)) alt={ "The picture " (file.path) ", as the job made it" }; }
                        figcaption.note.gap1 { (file.path) }
                    },
                    Shown::Text(text) => { p.note { (file.path) } pre.cmd tabindex="0" { (text) } },
                    Shown::Table(rows) => {
                        p.note { (file.path) }
                        div.tbl tabindex="0" role="region" aria-label={ "The beginning of " (file.path) } { table {
                            @for (number, row) in rows.iter().enumerate() {
                                tr { @for cell in row { @if number == 0 { th scope="col" { (cell) } } @else { td { (cell) } } } }
                            }
                        } }
                    },
                }
            }
        }
        @if files.is_empty() {
            div.empty.small { p { "The program left no files." } }
        } @else {
            ul.list {
                @for file in files {
                    li.row.between { a href=(link(&below, file)) { (one_line(&file.path, 80)) } span.faint { (ByteSize(file.len)) } }
                }
            }
        }
        footer {
            span { (count(files.len() as u64)) " files" @if *is_more { ", and more" } }
            code { "tidemill fetch " (job.short()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        assert_eq!(range("bytes=0-3", 10), Asked::Part(0..4));
        assert_eq!(range("bytes=4-", 10), Asked::Part(4..10));
        assert_eq!(range("bytes=-3", 10), Asked::Part(7..10));
        assert_eq!(range("bytes=-30", 10), Asked::Part(0..10));
        assert_eq!(range("bytes=5-99", 10), Asked::Part(5..10));
        assert_eq!(range("bytes=10-", 10), Asked::Outside);
        assert_eq!(range("bytes=-0", 10), Asked::Outside);
        for whole in ["bytes=3-1", "bytes=a-b", "bytes=0-1,4-5", "lines=0-1", "bytes=-"] {
            assert_eq!(range(whole, 10), Asked::All, "{whole}");
        }
    }

    #[test]
    fn what_could_hold_a_script_is_not_shown() {
        for path in ["a.svg", "a.html", "a.xml", "a.pdf", "a", "a.png.html"] {
            assert_eq!(Kind::of(path), Kind::Other, "{path}");
            assert_eq!(Shown::of(path, b"<script>"), None);
        }
        assert_eq!(Kind::of("tiles/a.PNG"), Kind::Image("image/png"));
        let rows = Shown::of("a.csv", b"x,y\n1,2\n");
        assert_eq!(
            rows,
            Some(Shown::Table(vec![vec!["x".into(), "y".into()], vec!["1".into(), "2".into()]]))
        );
        assert_eq!(Shown::of("a.txt", b"\xff\xfe\x00 binary"), None);
        let long = Shown::of("a.txt", "é".repeat(TEXT_BYTES).as_bytes());
        assert!(matches!(long, Some(Shown::Text(text)) if text.ends_with('…')));
    }

    #[test]
    fn links_hold_any_path() {
        let file = OutFile { task: TaskNumber(3), path: "a b/ü?.txt".to_owned(), len: 1 };
        assert!(link("/jobs/7/files", &file).ends_with("/files/3/a%20b/%C3%BC%3F.txt"));
        let listing = Listing { files: vec![file], is_more: false, shown: None };
        assert!(shown(JobId([7; 16]), &listing).into_string().contains("a b/ü?.txt"));
    }
}
