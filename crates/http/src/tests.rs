//! The router over real connections, before a coordinator that runs, asked by a client that knows only HTTP.

mod openai;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    routing::{get, post},
};
use serde_json::Value;
use tidemill_coordinator::{Config as CoordinatorConfig, Coordinator, Keep, Pace, Trust, Visitor};
use tidemill_net::{endpoint::Bind, ticket::Pass};
use tidemill_types::{Address, ByteSize, NodeId, Principal, ProgramKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    App, Bounds, Config, HttpError, Limit, Model, ModelKind, NewKey, Scope, ServeError, Server, read_body,
    router,
};

const OWNER: Visitor = Visitor {
    principal: Principal::Node(NodeId([9; 32])),
    node: NodeId([9; 32]),
    signer: Address([4; 20]),
    is_operator: true,
};

/// A coordinator with a server beside it.
struct World {
    coordinator: Coordinator,
    app: Arc<App>,
    server: Server,
    _folder: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error, which must have all that an error has.
    fn code(&self) -> String {
        let json = self.json();
        let error = json["error"].as_object().unwrap_or_else(|| panic!("no error: {self:?}"));
        assert!(
            error["message"].is_string() && error["type"].is_string() && error.contains_key("param"),
            "{self:?}"
        );
        error["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl World {
    async fn new() -> Self {
        Self::with(Bounds::default(), Some(OWNER), false).await
    }

    async fn with(bounds: Bounds, owner: Option<Visitor>, is_behind_proxy: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let config = CoordinatorConfig {
            directory: folder.path().join("coordinator"),
            node_key: [1; 32],
            result_key: [2; 32],
            operator: OWNER.signer,
            pass: Pass::from_bytes([3; 16]),
            bind: Bind::Loopback { port: 0 },
            advertise: Vec::new(),
            disk: ByteSize::mib(64),
            pace: Pace::default(),
            keep: Keep::default(),
            trust: Trust::default(),
            money: None,
            executor: None,
        };
        let coordinator = Coordinator::start(config).await.expect("it starts");
        let app = App::new(Config {
            sessions: coordinator.local(),
            keys: folder.path().join("keys"),
            models: folder.path().join("models"),
            owner,
            is_behind_proxy,
            bounds,
        });
        let more = Router::new().route("/take", post(take)).route("/endless", get(endless));
        let routes = router(app.clone(), more);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(address, is_behind_proxy, bounds, routes).await.expect("it listens");
        Self { coordinator, app, server, _folder: folder }
    }

    fn key(&self, scopes: &[Scope], limit: Limit, expires_s: Option<u64>) -> String {
        let new = NewKey { name: "test".into(), scopes: scopes.to_vec(), expires_s, limit };
        self.app.keys.make(new, 1).expect("it can be written").1
    }

    /// Sends a request: its first line without the version, headers, and a body.
    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.server.address()).await.expect("it listens");
        let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text += &format!("host: {}\r\n", self.server.address());
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("content-length: {}\r\n", body.len());
        }
        // A server that has said no may close before all has come.
        let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes()).await;
        heard(&mut stream).await
    }

    async fn get(&self, path: &str, key: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers: &[_] = if key.is_empty() { &[] } else { &[("authorization", bearer.as_str())] };
        self.ask(&format!("GET {path}"), headers, "").await
    }

    async fn stop(self) {
        self.server.stop().await;
        self.coordinator.stop().await;
    }
}

/// All that a server says until it closes.
async fn heard(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A route that wants a body.
async fn take(State(app): State<Arc<App>>, request: Request) -> Result<String, HttpError> {
    let body = read_body(request.into_body(), app.bounds.body_bytes, app.bounds.body_time).await?;
    Ok(body.len().to_string())
}

/// A route whose answer has no end.
async fn endless() -> Body {
    struct Endless;
    impl axum::body::HttpBody for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            let bytes = Bytes::from_static(&[b'x'; 16 << 10]);
            std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes))))
        }
    }
    Body::new(Endless)
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_json_of_one_shape() {
    let world = World::new().await;
    for (line, status, code) in [
        ("GET /nothing", 404, "unknown_url"),
        ("GET /v1/nothing", 404, "unknown_url"),
        ("POST /v1/models", 405, "method_not_allowed"),
        ("DELETE /health", 405, "method_not_allowed"),
        ("GET /v1/models/nobody%2Fnone", 404, "model_not_found"),
    ] {
        let answer = world.ask(line, &[], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{line}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")), "{answer:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask_what() {
    let world = World::with(Bounds::default(), None, false).await;
    let far = Some(u64::MAX);
    let key = |scopes: &[Scope], expires| world.key(scopes, Limit::default(), expires);
    let (all, models, jobs, expired) = (
        key(&Scope::ALL, far),
        key(&[Scope::Models], None),
        key(&[Scope::Jobs], None),
        key(&Scope::ALL, Some(2)),
    );
    let revoked = key(&Scope::ALL, None);
    let id = revoked[3..19].parse().expect("it names itself");
    world.app.keys.revoke(id).expect("it is there");
    let other = format!("tm-0000000000000000-{}", "A".repeat(43));
    for (route, shown, status) in [
        ("/v1/models", "", 401),
        ("/v1/models", "sk-another", 401),
        ("/v1/models", &other, 401),
        ("/v1/models", &expired, 401),
        ("/v1/models", &revoked, 401),
        ("/v1/models", &jobs, 403),
        ("/v1/models", &models, 200),
        ("/v1/models", &all, 200),
        ("/metrics", "", 401),
        ("/metrics", &models, 403),
        ("/metrics", &all, 200),
        ("/health", "", 503),
        ("/v1/models/none", &jobs, 403),
        ("/v1/models/none", &models, 404),
    ] {
        let answer = world.get(route, shown).await;
        assert_eq!(answer.status, status, "{route} with {shown:?}: {answer:?}");
        match status {
            401 => {
                assert_eq!(answer.code(), "invalid_api_key");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
            403 => assert_eq!(answer.code(), "insufficient_scope"),
            _ => {}
        }
    }
    let basic = world.ask("GET /v1/models", &[("authorization", "Basic YTpi")], "").await;
    assert_eq!((basic.status, basic.code().as_str()), (401, "invalid_api_key"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_needs_no_key_on_this_machine_and_pages_of_others_do() {
    let world = World::new().await;
    let own = world.server.address().to_string();
    let page = format!("http://{own}");
    for (headers, status) in [
        (vec![], 200),
        (vec![("authorization", "Bearer none-is-needed")], 200),
        (vec![("origin", page.as_str())], 200),
        (vec![("host", "localhost:1")], 200),
        (vec![("authorization", "Bearer tm-0000000000000000-wrong")], 401),
        (vec![("origin", "https://example.org")], 401),
        (vec![("origin", "null")], 401),
        // A name of somebody else's that leads to this machine.
        (vec![("host", "rebound.example.org")], 401),
        (vec![("x-forwarded-for", "203.0.113.7")], 401),
        (vec![("forwarded", "for=203.0.113.7")], 401),
    ] {
        let answer = world.ask("GET /v1/models", &headers, "").await;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
    }
    world.stop().await;
    let proxied = World::with(Bounds::default(), Some(OWNER), true).await;
    assert_eq!(proxied.get("/v1/models", "").await.status, 401, "everybody comes from this machine there");
    proxied.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_what_pages_may_do() {
    let world = World::new().await;
    let headers = [
        ("origin", "https://example.org"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,x-stainless-os"),
    ];
    let answer = world.ask("OPTIONS /v1/chat/completions", &headers, "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization,x-stainless-os"));
    assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let answer = world.get("/v1/models", "").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(
        answer
            .header("access-control-expose-headers")
            .is_some_and(|names| names.contains("x-tidemill-receipt"))
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_too_often_waits() {
    let world = World::new().await;
    let key = world.key(&[Scope::Models], Limit { requests: 2, ..Limit::default() }, None);
    for left in ["1", "0"] {
        let answer = world.get("/v1/models", &key).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-remaining-requests")), (200, Some(left)));
        assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("2"));
    }
    let answer = world.get("/v1/models", &key).await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limit_exceeded"));
    let after: u64 = answer.header("retry-after").and_then(|after| after.parse().ok()).expect("it says when");
    assert!((1..=30).contains(&after), "{after}");
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"));
    let other = world.key(&[Scope::Models], Limit::default(), None);
    assert_eq!(world.get("/v1/models", &other).await.status, 200, "others do not wait for it");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_in_length_and_time() {
    let bounds = Bounds { body_bytes: 1000, body_time: Duration::from_millis(200), ..Bounds::default() };
    let world = World::with(bounds, Some(OWNER), false).await;
    let fits = world.ask("POST /take", &[], &"a".repeat(1000)).await;
    assert_eq!((fits.status, fits.body.as_str()), (200, "1000"));
    let long = world.ask("POST /take", &[], &"a".repeat(1001)).await;
    assert_eq!((long.status, long.code().as_str()), (413, "request_too_large"));
    // One that does not say how long it is.
    let chunk = format!("{:x}\r\n{}\r\n", 600, "a".repeat(600));
    let mut stream = TcpStream::connect(world.server.address()).await.expect("it listens");
    let head =
        "POST /take HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let _ = stream.write_all(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(heard(&mut stream).await.status, 413);
    // One that comes to no end.
    let mut stream = TcpStream::connect(world.server.address()).await.expect("it listens");
    let head = "POST /take HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 10\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.expect("it is read");
    let answer = heard(&mut stream).await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_given_up() {
    let bounds = Bounds { head_time: Duration::from_millis(100), ..Bounds::default() };
    let world = World::with(bounds, Some(OWNER), false).await;
    let mut stream = TcpStream::connect(world.server.address()).await.expect("it listens");
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: loc").await.expect("it is read");
    let answer = heard(&mut stream).await;
    assert_ne!(answer.status, 200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_given_up() {
    let bounds = Bounds { stall_time: Duration::from_millis(100), ..Bounds::default() };
    let world = World::with(bounds, Some(OWNER), false).await;
    let key = world.key(&[Scope::Models], Limit { at_once: 1, ..Limit::default() }, None);
    let mut stream = TcpStream::connect(world.server.address()).await.expect("it listens");
    let head = format!("GET /endless HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it is read");
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.expect("it begins");
    assert_eq!(&first, b"HTTP/1.1 200");
    // Its place is free once the server has given it up.
    while world.get("/v1/models", &key).await.status != 200 {
        tokio::task::yield_now().await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_as_clients_expect() {
    let world = World::new().await;
    let file = world._folder.path().join("a.gguf");
    std::fs::write(&file, b"weights").expect("it can be written");
    let model = Model {
        path: file,
        program: ProgramKind::Wasm,
        kind: ModelKind::Text,
        context: 2048,
        token_bytes: 0,
        added_s: 1_700_000_000,
    };
    for name in ["smol", "org/name"] {
        world.app.models.add(name, &model).expect("it can be written");
    }
    let list = world.get("/v1/models", "").await.json();
    assert_eq!(list["object"], "list");
    let ids: Vec<_> =
        list["data"].as_array().expect("a list").iter().map(|model| model["id"].clone()).collect();
    assert_eq!(ids, ["org/name", "smol"]);
    for path in ["/v1/models/org/name", "/v1/models/org%2Fname"] {
        let one = world.get(path, "").await;
        assert_eq!(
            (one.status, &one.json()["id"], &one.json()["object"]),
            (200, &"org/name".into(), &"model".into())
        );
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_told_to_who_may_see_them() {
    let world = World::new().await;
    for _ in 0..2 {
        world.get("/v1/models", "").await;
    }
    let answer = world.get("/metrics", "").await;
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
    assert!(
        answer.body.contains("tidemill_http_requests_total{route=\"/v1/models\",status=\"200\"} 2"),
        "{answer:?}"
    );
    assert!(answer.body.contains("\ntidemill_providers 0\n"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn off_loopback_a_proxy_has_to_do_tls() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let start = |proxy| Server::start(everywhere, proxy, Bounds::default(), Router::new());
    assert!(matches!(start(false).await, Err(ServeError::NoTls(_))));
    start(true).await.expect("a proxy does it").stop().await;
}
