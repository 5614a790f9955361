//! The pages and the API of a network that runs: by plain HTTP, and in a real browser where there is one.

mod browser;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use self::browser::Browser;
use crate::{
    node::Node,
    support::{LIMIT, Place, wait_for},
};

/// An answer over HTTP.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

/// Opens a request to `http://ADDRESS/`, and reads the head of its answer.
fn ask(page: &str, request: &str, more: &str) -> (String, BufReader<TcpStream>) {
    let address = page.strip_prefix("http://").expect("HTTP").split('/').next().expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    write!(stream, "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{more}\r\n")
        .expect("it is taken");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a head"), 0, "{head}");
    }
    (head, reader)
}

fn http(page: &str, request: &str, more: &str) -> Answer {
    let (head, mut reader) = ask(page, request, more);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let mut body = Vec::new();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).expect("a chunk");
            let size = usize::from_str_radix(size.trim(), 16).expect("a length");
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).expect("a chunk");
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        reader.read_to_end(&mut body).expect("a body");
    }
    Answer { status, head, body }
}

/// A free network on this machine, and the address of its pages.
fn network(place: &Place) -> (Node, Node, String) {
    let mut coordinator = Node::start(
        place,
        &[
            "serve",
            "--free",
            "--loopback",
            "--trust",
            "all",
            "--directory",
            "coordinator",
            "--ticket-file",
            "ticket",
        ],
    );
    let listening = coordinator.until("listening");
    let page = listening["page"].as_str().expect("an address").to_owned();
    let mut provider = Node::provide(place, "one");
    provider.until("joined");
    (coordinator, provider, page)
}

fn submit(place: &Place, how: &str, tasks: u32) -> String {
    place.job(&format!(
        "name = \"page\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"{how}\", \"{{index}}\"]\n\
         [tasks]\nrange = {{ from = 0, to = {tasks}, step = 1 }}\n"
    ));
    let submitted = place.tidemill(&["submit", "job.toml", "--join", "ticket", "--json"]).code(0).json();
    submitted["job_id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_job_is_seen_followed_and_fetched_over_http() {
    let place = Place::at_home("home");
    let (_coordinator, _provider, page) = network(&place);
    let job = submit(&place, "mumble", 3);

    let (head, events) = ask(&page, &format!("GET /v1/jobs/{job}/events"), "");
    assert!(head.contains("text/event-stream"), "{head}");
    let last = events.lines().map_while(Result::ok).take_while(|line| line != "event: over");
    let last: Vec<String> = last.filter(|line| line.starts_with("data: {")).collect();
    let ended: Value = serde_json::from_str(&last.last().expect("an event")["data: ".len()..]).expect("JSON");
    assert_eq!((&ended["phase"], &ended["done"]), (&"done".into(), &3.into()), "{ended}");

    let told = http(&page, &format!("GET /v1/jobs/{job}"), "").json();
    let printed = place.tidemill(&["status", &job, "--join", "ticket", "--json"]).code(0).json();
    assert_eq!(told, printed, "HTTP says what the command prints");

    let files = http(&page, &format!("GET /v1/jobs/{job}/output"), "").json();
    let file = &files["data"][1];
    assert_eq!(file["task"], 1, "{files}");
    let url = file["url"].as_str().expect("a path");
    let whole = http(&page, &format!("GET {url}"), "");
    assert_eq!((whole.status, whole.body.as_slice()), (200, &b"program\0mumble\x001\0"[..]), "{whole:?}");
    let part = http(&page, &format!("GET {url}"), "range: bytes=0-6\r\n");
    assert_eq!((part.status, part.body.as_slice()), (206, &b"program"[..]), "{part:?}");
    assert!(
        whole.head.to_lowercase().contains("content-security-policy: default-src 'none'; sandbox"),
        "{}",
        whole.head
    );
    let log = http(&page, &format!("GET /v1/jobs/{job}/tasks/2/log"), "");
    assert!(log.text().contains(crate::puppet::COMPLAINT), "{log:?}");

    let shown = http(&page, &format!("GET /jobs/{job}"), "").text();
    assert!(
        shown.contains("100 %") && shown.contains("3 of 3 tasks accepted") && shown.contains("class=\"a8\""),
        "{shown}"
    );
    let tasks = http(&page, &format!("GET /jobs/{job}/explain?task=2"), "").text();
    assert!(tasks.contains("accepted") && tasks.contains(crate::puppet::COMPLAINT), "{tasks}");
    assert!(http(&page, "GET /jobs", "").text().contains(&job), "it is listed");
    assert!(http(&page, "GET /network", "").text().contains("1 provider of 1 operator lends 1 slot"));

    assert_eq!(http(&page, &format!("DELETE /v1/jobs/{job}"), "").status, 204);
    assert_eq!(http(&page, &format!("GET /v1/jobs/{job}"), "").status, 404);
}

#[test]
fn a_job_is_cancelled_by_its_page_and_by_no_other_site() {
    let place = Place::at_home("home");
    let (_coordinator, _provider, page) = network(&place);
    let job = submit(&place, "endless", 1);
    let cancel = format!("POST /jobs/{job}/cancel");
    let foreign = http(&page, &cancel, "content-length: 0\r\norigin: http://evil.example\r\n");
    assert_eq!(foreign.status, 403, "{foreign:?}");
    assert_eq!(http(&page, &format!("GET /v1/jobs/{job}"), "").json()["phase"], "running");
    let own = http(&page, &cancel, "content-length: 0\r\nsec-fetch-site: same-origin\r\n");
    assert_eq!(own.status, 303, "{own:?}");
    assert_eq!(http(&page, &format!("GET /v1/jobs/{job}"), "").json()["phase"], "cancelled");
}

/// The page that a person has open changes by itself, without an error and without a request to elsewhere.
#[test]
fn a_browser_watches_a_job_to_its_end() {
    let Some(mut browser) = Browser::start() else {
        println!(
            "skipped: there is no chromium with chromedriver here (Debian: apt install chromium chromium-driver)"
        );
        return;
    };
    let place = Place::at_home("home");
    let (_coordinator, _provider, page) = network(&place);
    let job = submit(&place, "slow", 12);
    browser.open(&format!("{page}jobs/{job}"));
    // A mark that only a page which was not loaded again still has.
    browser.run("document.body.dataset.mark = 'first'");
    wait_for("the end on the page", || browser.text("#state").contains("Done").then_some(()));
    assert_eq!(browser.run("return document.body.dataset.mark"), "first", "it was not loaded again");
    assert_eq!(browser.run("return document.querySelectorAll('#grid .a8').length"), 12);
    assert!(browser.text("#progress").contains("100 %"));
    assert!(browser.text("#ending").contains("Done: 12 tasks"));
    for (path, width) in [("network", 360), ("network", 1440), ("jobs", 360), ("jobs", 1440)] {
        browser.resize(width);
        browser.open(&format!("{page}{path}"));
        let overflow = browser.run("return document.documentElement.scrollWidth - innerWidth");
        assert!(
            overflow.as_i64().is_some_and(|pixels| pixels <= 0),
            "{path} at {width} is {overflow} px too wide"
        );
    }
    browser.resize(360);
    browser.open(&format!("{page}jobs/{job}"));
    assert!(
        browser.run("return document.documentElement.scrollWidth <= innerWidth").as_bool().expect("a word")
    );
    let errors = browser.errors();
    assert!(errors.is_empty(), "{errors:?}");
}
