//! The pages and answers of a coordinator that runs, asked as a browser and as a program ask.

mod bring;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
    response::Response,
};
use serde_json::Value;
use tidemill_coordinator::{Config, Coordinator, Keep, Pace, Trust, Visitor};
use tidemill_net::{endpoint::Bind, ticket::Pass};
use tidemill_types::{Address, ByteSize, NodeId, Principal};
use tower::ServiceExt;

use crate::{Desk, Earned, Entry, openapi, pages, v1};

const OWNER: Visitor = Visitor {
    principal: Principal::Node(NodeId([9; 32])),
    node: NodeId([9; 32]),
    signer: Address([4; 20]),
    is_operator: true,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A coordinator, and its routes.
struct World {
    coordinator: Coordinator,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let config = Config {
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
        Self { coordinator, folder }
    }

    /// The desk of its routes: another each time.
    fn desk(&self) -> Arc<Desk> {
        Desk::new(self.coordinator.local(), self.folder.path().join("uploads"))
    }

    fn open(&self) -> Router {
        pages(self.desk(), Entry::ThisMachine(OWNER), Arc::new(|| Ok(Earned::default())))
    }

    fn closed(&self) -> Router {
        let entry = Entry::Token { visitor: OWNER, token: TOKEN.to_owned() };
        pages(self.desk(), entry, Arc::new(|| Ok(Earned::default())))
    }

    fn api(&self) -> Router {
        v1(self.desk())
    }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:8400")
}

async fn send(router: &Router, request: axum::http::request::Builder) -> Response {
    let request = request.body(Body::empty()).expect("a request");
    router.clone().oneshot(request).await.expect("routers do not fail")
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn page(router: &Router, path: &str) -> String {
    let response = send(router, request("GET", path)).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    text(response).await
}

#[tokio::test]
async fn every_page_reads_without_scripts_and_loads_nothing_from_elsewhere() {
    let world = World::new().await;
    let router = world.open();
    for path in [
        "/network",
        "/jobs",
        "/jobs?state=done&page=7",
        "/network?q=mill&state=idle&page=2",
        "/submit",
        "/submit?from=render",
        "/earnings",
    ] {
        let response = send(&router, request("GET", path)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'") && !policy.contains("unsafe"),
            "{policy}"
        );
        let page = text(response).await;
        assert!(page.contains("<main") && page.contains("aria-current=\"page\""), "{page}");
        for foreign in ["http://", "https://", " style=", "<style"] {
            assert!(!page.contains(foreign), "{path} has {foreign}");
        }
    }
    let home = send(&router, request("GET", "/")).await;
    assert_eq!(
        (home.status(), &home.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/network".parse().expect("a path"))
    );
    for asset in ["style.css", "live.js", "submit.js", "mark.svg"] {
        assert!(!page(&router, &format!("/assets/{asset}")).await.is_empty());
    }
    assert_eq!(send(&router, request("GET", "/assets/../lib.rs")).await.status(), StatusCode::NOT_FOUND);
    world.coordinator.stop().await;
}

#[tokio::test]
async fn a_job_that_is_not_there_has_a_page_that_says_so() {
    let world = World::new().await;
    let router = world.open();
    for path in
        ["/jobs/nonsense", &format!("/jobs/{}", "7".repeat(32)), &format!("/jobs/{}/tasks", "7".repeat(32))]
    {
        let response = send(&router, request("GET", path)).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(text(response).await.contains("there is no such job"), "{path}");
    }
    world.coordinator.stop().await;
}

#[tokio::test]
async fn pages_are_for_this_machine_or_for_whoever_has_the_token() {
    let world = World::new().await;
    let open = world.open();
    let rebound = Request::builder().uri("/network").header(header::HOST, "evil.example");
    assert_eq!(send(&open, rebound).await.status(), StatusCode::MISDIRECTED_REQUEST);

    let closed = world.closed();
    assert_eq!(send(&closed, request("GET", "/network")).await.status(), StatusCode::UNAUTHORIZED);
    let wrong = request("GET", "/network?token=0123456789abcdef0123456789abcdee");
    assert_eq!(send(&closed, wrong).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(send(&closed, request("GET", "/assets/style.css")).await.status(), StatusCode::OK);
    let entered = send(&closed, request("GET", &format!("/network?token={TOKEN}"))).await;
    assert_eq!(
        (entered.status(), &entered.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/network".parse().expect("a path"))
    );
    let cookie = entered.headers()["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a cookie").to_owned();
    let again = request("GET", "/network").header(header::COOKIE, &cookie);
    assert_eq!(send(&closed, again).await.status(), StatusCode::OK);
    world.coordinator.stop().await;
}

#[tokio::test]
async fn another_site_does_nothing_in_the_owners_name() {
    let world = World::new().await;
    let router = world.open();
    let path = format!("/jobs/{}/cancel", "7".repeat(32));
    let foreign = request("POST", &path).header("sec-fetch-site", "cross-site");
    assert_eq!(send(&router, foreign).await.status(), StatusCode::FORBIDDEN);
    let own = request("POST", &path).header("sec-fetch-site", "same-origin");
    assert_eq!(
        send(&router, own).await.status(),
        StatusCode::NOT_FOUND,
        "it is taken, and there is no such job"
    );
    world.coordinator.stop().await;
}

#[tokio::test]
async fn every_route_of_the_document_is_there_and_needs_somebody_who_asks() {
    let world = World::new().await;
    let router = world.api();
    for (method, path) in openapi::tests::examples() {
        let response = send(&router, request(&method, &path)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        let asked = request(&method, &path).extension(OWNER);
        let response = send(&router, asked).await;
        let is_list =
            ["/v1/jobs", "/v1/providers"].contains(&path.as_str()) || path.starts_with("/v1/reputation");
        let expected = match (method.as_str(), path.as_str()) {
            // Nothing was brought.
            ("POST", "/v1/jobs") => 415,
            ("POST", "/v1/blobs") => 201,
            ("PUT", _) => 422,
            _ if is_list => 200,
            _ => 404,
        };
        assert_eq!(response.status().as_u16(), expected, "{method} {path}");
        if expected >= 400 {
            assert_eq!(response.headers()["content-type"], "application/problem+json", "{method} {path}");
            let problem: Value = serde_json::from_str(&text(response).await).expect("JSON");
            assert_eq!(problem["status"], expected, "{problem}");
        }
    }
    world.coordinator.stop().await;
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let world = World::new().await;
    let router = world.api();
    for (path, words) in [
        ("/v1/jobs?limit=0", "limit"),
        ("/v1/jobs?limit=1001", "limit"),
        ("/v1/jobs?limit=x", "limit"),
        ("/v1/jobs?phase=sleeping", "phase"),
        ("/v1/reputation/nobody", "operator"),
        ("/v1/escrows/1", "escrow"),
    ] {
        let response = send(&router, request("GET", path).extension(OWNER)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        let problem: Value = serde_json::from_str(&text(response).await).expect("JSON");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{path}: {problem}");
    }
    world.coordinator.stop().await;
}

#[tokio::test]
async fn a_page_is_told_what_is_on_it_and_then_what_changes() {
    use axum::body::HttpBody;

    let world = World::new().await;
    let mut response = send(&world.open(), request("GET", "/live/network")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let body = response.body_mut();
    let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await;
    let frame = frame.expect("an event").expect("no error").into_data().expect("bytes");
    let event = String::from_utf8(frame.to_vec()).expect("text");
    let data = event.strip_prefix("event: parts\ndata: ").expect("the parts of the page");
    let parts: Value = serde_json::from_str(data.trim()).expect("JSON");
    for id in ["summary", "stats", "matrix", "engines"] {
        assert!(parts[id].is_string(), "{id}: {parts}");
    }
    let page = page(&world.open(), "/network").await;
    let stats = parts["stats"].as_str().expect("a part");
    assert!(page.contains(stats), "a part is what is on the page");
    world.coordinator.stop().await;
}
