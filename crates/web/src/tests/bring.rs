//! Jobs and blobs that are brought over HTTP, by those who mean well and by others.

use std::{
    fs,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::Frame;
use serde_json::json;
use tidemill_types::BlobId;

use super::*;
use crate::depot::LONG;

const STRANGER: Visitor = Visitor {
    principal: Principal::Node(NodeId([8; 32])),
    node: NodeId([8; 32]),
    is_operator: false,
    ..OWNER
};

/// The folder of an example of this workspace.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// A form of these parts: a part's name, the name of its file, and its content.
fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        let file = file.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
        let head = format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--limit--\r\n");
    body
}

/// The render job with its files, each part under its path.
fn render() -> Vec<u8> {
    let read = |name: &str| fs::read(example("render").join(name)).expect("it is committed");
    form(&[
        ("job.toml", None, &read("job.toml")),
        ("render.wasm", Some("render.wasm"), &read("render.wasm")),
        ("scene.txt", Some("whatever.txt"), &read("scene.txt")),
    ])
}

/// What a world has on the disk of what visitors bring.
fn left(world: &World) -> usize {
    fs::read_dir(world.folder.path().join("uploads")).map_or(0, Iterator::count)
}

async fn bring(
    router: &Router,
    visitor: Visitor,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Response {
    let mut request = request(method, path).extension(visitor);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("a request");
    router.clone().oneshot(request).await.expect("routers do not fail")
}

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=limit");

async fn post_job(router: &Router, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
    bring(router, OWNER, ("POST", "/v1/jobs"), &[&[FORM], headers].concat(), body).await
}

async fn json_of(response: Response, status: u16) -> Value {
    let found = response.status().as_u16();
    let text = text(response).await;
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_submitted_once_however_often_it_is_asked_for() {
    let world = World::new().await;
    let router = world.api();
    let once = ("idempotency-key", "mine-1");
    let response = post_job(&router, &[once], render()).await;
    let place = response.headers()["location"].to_str().expect("text").to_owned();
    let submitted = json_of(response, 201).await;
    assert_eq!((&submitted["job"], &submitted["tasks"]), (&json!("render"), &json!(61)), "{submitted}");
    let again = json_of(post_job(&router, &[once], render()).await, 201).await;
    assert_eq!(again, submitted);
    let job = json_of(send(&router, request("GET", &place).extension(OWNER)).await, 200).await;
    assert_eq!((&job["phase"], &job["map_tasks"]), (&json!("running"), &json!(60)), "{job}");
    let jobs = json_of(send(&router, request("GET", "/v1/jobs").extension(OWNER)).await, 200).await;
    assert_eq!(jobs["data"].as_array().map(Vec::len), Some(1), "{jobs}");

    let read = |name: &str| fs::read(example("render").join(name)).expect("it is committed");
    let other = String::from_utf8(read("job.toml")).expect("text").replace("\"render\"", "\"another\"");
    let parts = [
        ("job.toml", None, other.as_bytes()),
        ("render.wasm", None, &read("render.wasm")[..]),
        ("files", Some("scene.txt"), &read("scene.txt")[..]),
    ];
    let conflict = json_of(post_job(&router, &[once], form(&parts)).await, 409).await;
    assert!(
        conflict["detail"].as_str().is_some_and(|detail| detail.contains("Idempotency-Key")),
        "{conflict}"
    );
    let second = json_of(post_job(&router, &[], form(&parts)).await, 201).await;
    assert_ne!(second["job_id"], submitted["job_id"]);
    assert_eq!(left(&world), 0, "nothing stays of what was brought");
    world.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_come_of_it_and_submits_nothing() {
    let world = World::new().await;
    let router = world.api();
    for query in ["?dry_run=true", "?dry_run", "?dry_run=1"] {
        let path = format!("/v1/jobs{query}");
        let response = bring(&router, OWNER, ("POST", &path), &[FORM], render()).await;
        let told = json_of(response, 200).await;
        assert_eq!((&told["outcome"], &told["map_tasks"]), (&json!("dry_run"), &json!(60)), "{told}");
        let network = &told["network"];
        assert_eq!(
            (&network["free"], &network["now"], &network["quote"]),
            (&json!(true), &json!(0), &Value::Null)
        );
    }
    let wrong = bring(&router, OWNER, ("POST", "/v1/jobs?dry_run=perhaps"), &[FORM], render()).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let jobs = json_of(send(&router, request("GET", "/v1/jobs").extension(OWNER)).await, 200).await;
    assert_eq!((jobs["data"].as_array().map(Vec::len), left(&world)), (Some(0), 0), "{jobs}");
    world.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_by_line() {
    let world = World::new().await;
    let text = b"name = \"a\"\ndeadline = \"2 hours\"\n[program]\npath = \"a.wasm\"\n";
    let problem = json_of(post_job(&world.api(), &[], form(&[("job.toml", None, text)])).await, 422).await;
    let mistakes = problem["mistakes"].as_array().expect("a list");
    assert_eq!((mistakes.len(), &mistakes[0]["line"]), (1, &json!(2)), "{problem}");
    assert!(mistakes[0]["found"].as_str().is_some_and(|found| found.contains("2 hours")), "{problem}");
    world.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_what_was_brought() {
    let world = World::new().await;
    let router = world.api();
    let secret = world.folder.path().join("secret");
    fs::write(&secret, "secret").expect("a file");
    let secret = secret.to_str().expect("text");
    let program = fs::read(example("render").join("render.wasm")).expect("it is committed");
    let job = |more: &str| format!("name = \"a\"\nprogram.path = \"a.wasm\"\n{more}");
    for text in [
        format!("name = \"a\"\nprogram.path = \"{secret}\""),
        "name = \"a\"\nprogram.path = \"../../secret\"".to_owned(),
        job(&format!("[inputs]\nx = \"{secret}\"")),
        job("[inputs]\nx = \"../../secret\""),
        job("[tasks]\nfiles = [\"../../*\"]"),
        job("[tasks]\nfiles = [\"/etc/*\"]"),
        job("[tasks.split]\ninput = \"../../secret\"\nby = \"lines\"\nsize = \"1 MiB\""),
    ] {
        let parts = [("job.toml", None, text.as_bytes()), ("a.wasm", None, &program[..])];
        let problem = json_of(post_job(&router, &[], form(&parts)).await, 422).await;
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(detail.contains("leads out of the job's directory"), "{text}: {detail}");
        assert!(!detail.contains("uploads"), "it says nothing of where files are: {detail}");
    }
    let text = job("");
    for path in ["../a.wasm", "/tmp/a.wasm", "a\\b", "a/./b", "a//b", &"x/".repeat(600)] {
        let parts = [("job.toml", None, text.as_bytes()), ("files", Some(path), &b"x"[..])];
        let problem = json_of(post_job(&router, &[], form(&parts)).await, 422).await;
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains("path")),
            "{path}: {problem}"
        );
    }
    let missing =
        json_of(post_job(&router, &[], form(&[("job.toml", None, text.as_bytes())])).await, 422).await;
    let detail = missing["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with("`program.path`: a.wasm cannot be read"), "{detail}");
    assert_eq!(left(&world), 0);
    world.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_job_is_refused_and_leaves_nothing() {
    let world = World::new().await;
    let router = world.api();
    let text: &[u8] = b"name = \"a\"\nprogram.path = \"a.wasm\"";
    let job = ("job.toml", None, text);
    let big = vec![7; 9 << 20];
    for (body, status, words) in [
        (form(&[]), 400, "job.toml"),
        (form(&[("a.wasm", None, b"x")]), 400, "job.toml"),
        (form(&[job, job]), 400, "two job files"),
        (form(&[job, ("a.wasm", None, b"x"), ("a.wasm", None, b"y")]), 422, "twice"),
        (form(&[job, ("a.wasm", None, b"x"), ("a.wasm/b", None, b"y")]), 422, "of a directory"),
        (form(&[job, ("a.wasm", None, b"no program")]), 422, "a.wasm: "),
        (form(&[("job.toml", None, &[b'#'; (1 << 20) + 1])]), 413, "the job file"),
        (form(&[job, ("a.wasm", None, &big)]), 507, "as much as one visitor"),
        (form(&[job, ("blobs", None, b"nonsense")]), 400, "`blobs`"),
        (
            form(&[job, ("blobs", None, format!("{} a.wasm", BlobId::of(b"a")).as_bytes())]),
            422,
            "not brought",
        ),
        (form(&[job])[..40].to_vec(), 400, "broke off"),
        (b"no form".to_vec(), 400, "broke off"),
    ] {
        let problem = json_of(post_job(&router, &[], body).await, status).await;
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(detail.contains(words), "{words}: {detail}");
        assert_eq!(left(&world), 0, "{words}");
    }
    let many: Vec<(String, Option<&str>, &[u8])> =
        (0..5000).map(|number| (number.to_string(), None, &b""[..])).collect();
    let many: Vec<_> = many.iter().map(|(name, file, content)| (name.as_str(), *file, *content)).collect();
    let problem = json_of(post_job(&router, &[], form(&[&[job], &many[..]].concat())).await, 422).await;
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains("more than 4096 files")),
        "{problem}"
    );
    for kind in ["text/plain", "multipart/form-data", "multipart/mixed; boundary=limit"] {
        let response = bring(&router, OWNER, ("POST", "/v1/jobs"), &[("content-type", kind)], render()).await;
        assert!([400, 415].contains(&response.status().as_u16()), "{kind}");
    }
    assert_eq!(left(&world), 0);
    world.coordinator.stop().await;
}

/// A body whose client sends a part of it, and no more.
struct Halting(Option<Bytes>);

impl HttpBody for Halting {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_leaves_nothing() {
    let world = World::new().await;
    let router = world.api();
    let whole = render();
    for (method, path, sent) in
        [("POST", "/v1/jobs", whole[..whole.len() / 2].to_vec()), ("POST", "/v1/blobs", vec![7; 100_000])]
    {
        let body = Body::new(Halting(Some(sent.into())));
        let asked = bring(&router, OWNER, (method, path), &[FORM], body);
        {
            let mut asked = Box::pin(asked);
            // Until it waits for more.
            while left(&world) == 0 {
                tokio::select! {
                    biased;
                    _ = &mut asked => panic!("half of it is no answer's worth"),
                    () = tokio::task::yield_now() => {}
                }
            }
        }
        assert_eq!(left(&world), 0, "{path}");
    }
    world.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_kept_for_whoever_brought_it() {
    let world = World::new().await;
    let desk = world.desk();
    let router: Router = v1(desk.clone());
    let content: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).take(300_001).collect();
    let id = BlobId::of(&content);
    let path = format!("/v1/blobs/{id}");
    let wrong = bring(&router, OWNER, ("PUT", &path), &[], b"something else".to_vec()).await;
    assert!(json_of(wrong, 422).await["detail"].as_str().is_some_and(|detail| detail.contains("hash")));
    assert_eq!(send(&router, request("GET", &path).extension(OWNER)).await.status(), StatusCode::NOT_FOUND);

    let kept = json_of(bring(&router, OWNER, ("PUT", &path), &[], content.clone()).await, 201).await;
    assert_eq!((&kept["hash"], &kept["bytes"]), (&json!(id.to_string()), &json!(300_001)), "{kept}");
    assert_eq!(left(&world), 0);
    let posted = bring(&router, OWNER, ("POST", "/v1/blobs"), &[], b"short".to_vec()).await;
    assert_eq!(posted.headers()["location"], format!("/v1/blobs/{}", BlobId::of(b"short")));

    let whole = send(&router, request("GET", &path).extension(OWNER)).await;
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["content-length"]),
        (200, &"300001".parse().expect("a header"))
    );
    assert!(
        whole.headers()["content-security-policy"].to_str().is_ok_and(|policy| policy.contains("sandbox"))
    );
    assert_eq!(axum::body::to_bytes(whole.into_body(), 1 << 20).await.expect("all of it"), content);
    let part = bring(&router, OWNER, ("GET", &path), &[("range", "bytes=70000-140000")], Vec::new()).await;
    assert_eq!(
        (part.status().as_u16(), part.headers()["content-range"].to_str().expect("text")),
        (206, "bytes 70000-140000/300001")
    );
    assert_eq!(axum::body::to_bytes(part.into_body(), 1 << 20).await.expect("it"), content[70_000..=140_000]);
    let outside = bring(&router, OWNER, ("GET", &path), &[("range", "bytes=300001-")], Vec::new()).await;
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let head = send(&router, request("HEAD", &path).extension(OWNER)).await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &"300001".parse().expect("a header"))
    );

    // Whoever knows the hash alone has nothing.
    assert_eq!(
        send(&router, request("GET", &path).extension(STRANGER)).await.status(),
        StatusCode::NOT_FOUND
    );
    let by_hash =
        json!({"job": "name = \"a\"\nprogram.path = \"a.wasm\"", "files": {"a.wasm": id.to_string()}})
            .to_string();
    let kind = [("content-type", "application/json")];
    let refused = bring(&router, STRANGER, ("POST", "/v1/jobs"), &kind, by_hash).await;
    assert!(
        json_of(refused, 422).await["detail"].as_str().is_some_and(|detail| detail.contains("not brought"))
    );

    desk.depot.sweep(&desk.sessions, Instant::now() + LONG).await;
    assert_eq!(send(&router, request("GET", &path).extension(OWNER)).await.status(), StatusCode::NOT_FOUND);
    world.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_submitted_by_the_hashes_of_its_files() {
    let world = World::new().await;
    let router = world.api();
    let read = |name: &str| fs::read(example("render").join(name)).expect("it is committed");
    let mut hashes = serde_json::Map::new();
    for name in ["render.wasm", "scene.txt"] {
        let kept = bring(&router, OWNER, ("POST", "/v1/blobs"), &[], read(name)).await;
        hashes.insert(name.to_owned(), json_of(kept, 201).await["hash"].clone());
    }
    let job = String::from_utf8(read("job.toml")).expect("text");
    let described = json!({"job": job, "files": hashes}).to_string();
    let kind = ("content-type", "application/json");
    let headers = [kind, ("idempotency-key", "by hash")];
    let submitted =
        json_of(bring(&router, OWNER, ("POST", "/v1/jobs"), &headers, described).await, 201).await;
    assert_eq!(submitted["tasks"], 61, "{submitted}");
    // The same job with its files is the same job.
    let again = json_of(post_job(&router, &[("idempotency-key", "by hash")], render()).await, 201).await;
    assert_eq!(again["job_id"], submitted["job_id"]);
    for wrong in [
        "{}",
        "[]",
        "{\"job\": 7}",
        "{\"job\": \"\", \"more\": 1}",
        "{\"job\": \"\", \"files\": {\"../a\": \"\"}}",
    ] {
        let response = bring(&router, OWNER, ("POST", "/v1/jobs"), &[kind], wrong.to_owned()).await;
        assert!([400, 422].contains(&response.status().as_u16()), "{wrong}");
    }
    assert_eq!(left(&world), 0);
    world.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_checks_keeps_and_submits() {
    let world = World::new().await;
    let router = world.open();
    let read = |name: &str| fs::read(example("render").join(name)).expect("it is committed");
    let own = ("sec-fetch-site", "same-origin");
    let page = ("POST", "/submit");
    // As a browser without scripts sends it: lines end in CRLF, and files have the names that they have there.
    let text = String::from_utf8(read("job.toml")).expect("text").replace('\n', "\r\n");
    let check = form(&[
        ("job.toml", None, text.as_bytes()),
        ("files", Some("render.wasm"), &read("render.wasm")),
        ("files", Some("scene.txt"), &read("scene.txt")),
        ("do", None, b"check"),
    ]);
    let checked = bring(&router, OWNER, page, &[FORM, own], check).await;
    assert_eq!(checked.status(), StatusCode::OK);
    let shown = self::text(checked).await;
    assert!(
        shown.contains("60 and a reduce of 1") && shown.contains("No provider has joined yet"),
        "{shown}"
    );
    let hidden =
        shown.split("name=\"blobs\">").nth(1).and_then(|rest| rest.split('<').next()).expect("hashes");
    assert_eq!(hidden.lines().count(), 2, "{hidden}");

    let submit = form(&[
        ("job.toml", None, text.as_bytes()),
        ("files", Some(""), b""),
        ("blobs", None, hidden.as_bytes()),
        ("do", None, b"submit"),
    ]);
    let foreign =
        bring(&router, OWNER, page, &[FORM, ("sec-fetch-site", "cross-site")], submit.clone()).await;
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    let submitted = bring(&router, OWNER, page, &[FORM, own], submit).await;
    assert_eq!(submitted.status(), StatusCode::SEE_OTHER);
    let place = submitted.headers()["location"].to_str().expect("text").to_owned();
    assert!(super::page(&router, &place).await.contains("60 tasks and a reduce of 1"));

    let wrong =
        form(&[("job.toml", None, b"name = 7"), ("files", Some("a.txt"), b"kept"), ("do", None, b"submit")]);
    let wrong = bring(&router, OWNER, page, &[FORM, own], wrong).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let shown = self::text(wrong).await;
    assert!(shown.contains("Line 1:") && shown.contains("a.txt") && shown.contains("name = 7"), "{shown}");

    let typed =
        bring(&router, OWNER, ("POST", "/submit/check"), &[own], "name = \"a\"\ndeadline = 7".to_owned())
            .await;
    let typed = json_of(typed, 200).await;
    assert!(
        typed["named"].is_null() && typed["lines"].as_array().is_some_and(|lines| lines.contains(&json!(2))),
        "{typed}"
    );
    let typed = bring(&router, OWNER, ("POST", "/submit/check"), &[own], read("job.toml")).await;
    assert_eq!(json_of(typed, 200).await["named"], json!(["render.wasm", "scene.txt"]));
    assert_eq!(left(&world), 0);
    world.coordinator.stop().await;
}

#[tokio::test]
async fn an_address_that_nothing_is_at_has_a_page_for_browsers() {
    let world = World::new().await;
    let router = world.open().merge(world.api()).layer(axum::middleware::from_fn(crate::lost));
    let html = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for path in ["/jobs/", "/nothing", "/network/7"] {
        let response = bring(&router, OWNER, ("GET", path), &[html], Vec::new()).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(response.headers().contains_key("content-security-policy"), "{path}");
        let page = self::text(response).await;
        assert!(page.contains("<main") && page.contains(&format!("there is no page {path}")), "{page}");
    }
    for (path, accept) in [("/jobs/", "*/*"), ("/v1/nothing", html.1), ("/nothing", "application/json")] {
        let response = bring(&router, OWNER, ("GET", path), &[("accept", accept)], Vec::new()).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(!self::text(response).await.contains("<main"), "{path}");
    }
    let there = bring(&router, OWNER, ("GET", "/jobs"), &[html], Vec::new()).await;
    assert_eq!(there.status(), StatusCode::OK, "what is there is not touched");
    world.coordinator.stop().await;
}
