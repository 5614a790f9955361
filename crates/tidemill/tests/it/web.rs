//! The pages and the API of a network that runs: by plain HTTP, and in a real browser where there is one.

mod browser;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use self::browser::Browser;
use crate::{
    node::Node,
    support::{LIMIT, Place, wait_for, workspace},
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
    ask_with(page, request, more, &[])
}

/// The same with a body, whose length `more` says.
fn ask_with(page: &str, request: &str, more: &str, body: &[u8]) -> (String, BufReader<TcpStream>) {
    let address = page.strip_prefix("http://").expect("HTTP").split('/').next().expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    write!(stream, "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{more}\r\n")
        .expect("it is taken");
    stream.write_all(body).expect("it is taken");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a head"), 0, "{head}");
    }
    (head, reader)
}

fn http(page: &str, request: &str, more: &str) -> Answer {
    read(ask(page, request, more))
}

/// Sends a form of these parts: a part's name, and its content as that of a file of the same name.
fn send_form(page: &str, request: &str, more: &str, parts: &[(&str, &[u8])]) -> Answer {
    let mut body = Vec::new();
    for (name, content) in parts {
        let head = format!(
            "--limit\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n"
        );
        body.extend([head.as_bytes(), content, b"\r\n"].concat());
    }
    body.extend_from_slice(b"--limit--\r\n");
    let kind = "content-type: multipart/form-data; boundary=limit";
    let head = format!("{more}{kind}\r\ncontent-length: {}\r\n", body.len());
    read(ask_with(page, request, &head, &body))
}

/// How long a body is, by its head.
fn length(head: &str) -> Option<usize> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, length)| length.trim().parse().ok())
}

fn read((head, mut reader): (String, BufReader<TcpStream>)) -> Answer {
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
    } else if let Some(length) = length(&head) {
        // Some keep a connection that they were asked to close.
        body.resize(length, 0);
        reader.read_exact(&mut body).expect("a body");
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

/// The render job, with one path a pixel, and its files.
fn render() -> (String, Vec<u8>, Vec<u8>) {
    let folder = workspace().join("examples/render");
    let read = |name: &str| fs::read(folder.join(name)).expect("it is committed");
    let job = String::from_utf8(read("job.toml")).expect("text");
    let lighter = job.replace(r#""{count}"]"#, r#""{count}", "--samples", "1"]"#);
    assert_ne!(job, lighter);
    (lighter, read("render.wasm"), read("scene.txt"))
}

#[test]
fn a_job_is_submitted_over_http_and_fetched() {
    let place = Place::at_home("home");
    let (_coordinator, _provider, page) = network(&place);
    let (job, program, scene) = render();
    let parts = [("job.toml", job.as_bytes()), ("render.wasm", &program[..]), ("scene.txt", &scene[..])];

    let dry = send_form(&page, "POST /v1/jobs?dry_run=true", "", &parts).json();
    assert_eq!((&dry["network"]["now"], &dry["network"]["free"]), (&1.into(), &true.into()), "{dry}");
    assert_eq!(dry["network"]["providers"][0]["name"], "one", "{dry}");
    for (name, content) in &parts {
        place.write(name, content);
    }
    let run = ["run", "job.toml", "--dry-run", "--join", "ticket"];
    let printed = place.tidemill(&[&run[..], &["--json"]].concat()).code(0).json();
    assert_eq!(dry, printed, "HTTP says what the command prints");
    place.tidemill(&run).code(0).prints(&["1 provider takes tasks now", "price: free"]);

    let once = "idempotency-key: the-same\r\n";
    let submitted = send_form(&page, "POST /v1/jobs", once, &parts);
    assert_eq!(submitted.status, 201, "{}", submitted.text());
    let id = submitted.json()["job_id"].as_str().expect("an id").to_owned();
    let again = send_form(&page, "POST /v1/jobs", once, &parts).json();
    assert_eq!(again["job_id"], id.as_str());

    let (_, events) = ask(&page, &format!("GET /v1/jobs/{id}/events"), "");
    let over = events.lines().map_while(Result::ok).any(|line| line == "event: over");
    assert!(over);
    let files = http(&page, &format!("GET /v1/jobs/{id}/output"), "").json();
    let entries = files["data"].as_array().expect("a list");
    let picture = entries.iter().find(|file| file["path"] == "render.png").expect("a picture");
    let picture = http(&page, &format!("GET {}", picture["url"].as_str().expect("a path")), "");
    assert!(picture.body.starts_with(b"\x89PNG"), "{}", picture.head);
    // The same job again, now that its programs ran: how long it takes is known.
    let dry = send_form(&page, "POST /v1/jobs?dry_run=true", "", &parts).json();
    assert!(dry["network"]["likely_s"].as_f64().is_some_and(|likely| likely > 0.0), "{dry}");
}

#[test]
fn where_work_is_paid_for_a_job_over_http_needs_a_key_with_money() {
    let place = Place::at_home("home");
    let mut network = Node::start(&place, &["up", "--providers", "1", "--api", "127.0.0.1:0"]);
    let listening = network.until("listening");
    let page = listening["page"].as_str().expect("an address").to_owned();
    let key = |more: &[&str]| {
        let made = place.tidemill(&[&["api-key", "new", "--json"], more].concat()).code(0).json();
        format!("authorization: Bearer {}\r\n", made["key"].as_str().expect("a key"))
    };
    let (job, program, scene) = render();
    let parts = [("job.toml", job.as_bytes()), ("render.wasm", &program[..]), ("scene.txt", &scene[..])];
    assert_eq!(send_form(&page, "POST /v1/jobs", "", &parts).status, 401);
    let poor = key(&[]);
    let refused = send_form(&page, "POST /v1/jobs", &poor, &parts);
    assert_eq!(refused.status, 402, "{}", refused.text());
    assert!(refused.text().contains("tidemill submit"), "{}", refused.text());
    let dry = send_form(&page, "POST /v1/jobs?dry_run=true", &poor, &parts).json();
    let quote = &dry["network"]["quote"];
    assert!(quote["most_wei"].as_str().is_some_and(|wei| wei != "0"), "{dry}");

    let rich = key(&["--budget", "50 TIDE", "--account", "treasury"]);
    let submitted = send_form(&page, "POST /v1/jobs", &rich, &parts);
    assert_eq!(submitted.status, 201, "{}", submitted.text());
    let submitted = submitted.json();
    assert!(submitted["escrow"].is_string(), "{submitted}");
    let id = submitted["job_id"].as_str().expect("an id");
    let (_, events) = ask(&page, &format!("GET /v1/jobs/{id}/events"), &rich);
    let last = events.lines().map_while(Result::ok).take_while(|line| line != "event: over");
    let last: Vec<String> = last.filter(|line| line.starts_with("data: {")).collect();
    let ended: Value = serde_json::from_str(&last.last().expect("an event")["data: ".len()..]).expect("JSON");
    assert_eq!(ended["phase"], "done", "{ended}");
    assert_eq!(
        http(&page, &format!("GET /v1/jobs/{id}"), &poor).status,
        404,
        "a key sees its own jobs alone"
    );

    let token = page.split("token=").nth(1).expect("a token");
    let cookie = format!("cookie: tidemill_page={token}\r\n");
    let shown = http(&page, "GET /submit", &cookie).text();
    assert!(shown.contains("tidemill submit job.toml"), "{shown}");
    // What the provider is paid is written down once it is told.
    wait_for("earnings", || {
        let earnings = http(&page, "GET /earnings", &cookie).text();
        (earnings.contains("By job") && earnings.contains(">render<")).then_some(())
    });
    network.terminate();
    network.until("stopped");
}

/// A person who only has a browser submits a job, and sees its picture.
#[test]
fn a_browser_submits_the_render_job_and_shows_the_picture() {
    let Some(mut browser) = Browser::start() else {
        println!(
            "skipped: there is no chromium with chromedriver here (Debian: apt install chromium chromium-driver)"
        );
        return;
    };
    let place = Place::at_home("home");
    let (_coordinator, _provider, page) = network(&place);
    let (job, program, scene) = render();
    let chosen = [place.write("render.wasm", program), place.write("scene.txt", scene)];
    browser.open(&format!("{page}submit"));
    let write = |browser: &Browser, text: &str| {
        let text = serde_json::to_string(text).expect("text");
        browser.run(&format!(
            "const text = document.querySelector('#job-file'); text.value = {text}; \
             text.dispatchEvent(new Event('input', {{ bubbles: true }}))"
        ));
    };
    write(&browser, &job.replace("deadline = \"10m\"", "deadline = \"10 minutes\""));
    wait_for("a mistake", || browser.text("#problems").contains("Line 3").then_some(()));
    assert_eq!(browser.run("return document.querySelector('#lines .bad').textContent"), "3");
    write(&browser, &job);
    wait_for("no mistake", || browser.text("#checked").contains("names 2 files").then_some(()));
    assert!(browser.text("#chosen").contains("not chosen yet"));
    browser.choose("#choose", &chosen);
    wait_for("the files", || {
        let listed = browser.text("#chosen");
        (listed.contains("render.wasm") && !listed.contains("not chosen yet")).then_some(())
    });
    browser.click("button[value=check]");
    wait_for("what would come of it", || browser.text("#outcome").contains("take tasks now").then_some(()));
    assert!(browser.text("#held").contains("scene.txt"), "what was brought is kept");
    for width in [360, 1440] {
        browser.resize(width);
        let overflow = browser.run("return document.documentElement.scrollWidth - innerWidth");
        assert!(
            overflow.as_i64().is_some_and(|pixels| pixels <= 0),
            "at {width} it is {overflow} px too wide"
        );
    }
    browser.click("button[value=submit]");
    wait_for("the job's page", || {
        let path = browser.run("return location.pathname");
        path.as_str().is_some_and(|path| path.starts_with("/jobs/")).then_some(())
    });
    wait_for("the picture", || {
        let width = browser.run("return document.querySelector('#output img')?.naturalWidth ?? 0");
        (width == 1280).then_some(())
    });
    assert!(browser.text("#ending").contains("Done: 61 tasks"));
    for path in ["earnings", "nothing/here"] {
        browser.resize(360);
        browser.open(&format!("{page}{path}"));
        let fits = browser.run("return document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(fits, true, "{path}");
    }
    assert!(browser.text("main").contains("there is no page /nothing/here"));
    let errors = browser.errors();
    // The last page is a 404, of which the console tells.
    let others: Vec<_> = errors
        .iter()
        .filter(|error| !error["message"].as_str().unwrap_or_default().contains("404"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
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
