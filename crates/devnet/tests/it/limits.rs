//! What a stranger cannot do to the node.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_devnet::{Genesis, Options, ServeOptions};

use crate::code;
use crate::http::{call, exchange, exchange_whole, post};
use crate::node::{BEGIN, Node};
use crate::websocket::Client;

const QUESTION: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;

fn serving(options: ServeOptions) -> Node {
    Node::with(Genesis::dev(BEGIN), Options::default(), options)
}

#[test]
fn another_name_for_this_machine_is_refused() {
    let node =
        serving(ServeOptions { allowed_hosts: vec!["mill.lan".parse().unwrap()], ..ServeOptions::default() });
    let port = node.address().port();
    for host in
        [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "mill.lan".into()]
    {
        assert_eq!(post(node.address(), &[("host", &host)], QUESTION).0, 200, "{host}");
    }
    for host in ["rebound.example", "localhost.rebound.example", "10.0.0.1"] {
        let (status, text) = post(node.address(), &[("host", host)], QUESTION);
        assert_eq!(status, 403, "{host}");
        assert!(text.contains(&format!("`--allow-host {host}`")), "{text}");
    }
    node.stop();
}

#[test]
fn pages_that_nobody_allowed_are_refused() {
    let node = serving(ServeOptions {
        allowed_origins: vec!["http://localhost:3000".parse().unwrap()],
        ..ServeOptions::default()
    });
    let from = |origin: &'static str| [("origin", origin)];
    assert_eq!(post(node.address(), &from("http://localhost:3000"), QUESTION).0, 200);
    assert_eq!(exchange(node.address(), "OPTIONS", &from("http://localhost:3000"), "").0, 204);
    assert_eq!(post(node.address(), &from("https://evil.example"), QUESTION).0, 403);
    assert_eq!(exchange(node.address(), "OPTIONS", &from("https://evil.example"), "").0, 403);
    assert!(Client::try_connect(node.address(), &from("http://localhost:3000")).is_some());
    assert!(Client::try_connect(node.address(), &from("https://evil.example")).is_none());
    let private = |origin: &'static str| {
        let headers = [("origin", origin), ("access-control-request-private-network", "true")];
        let (_, head, _) = exchange_whole(node.address(), "OPTIONS", &headers, "");
        head.contains("access-control-allow-private-network: true")
    };
    assert!(private("http://localhost:3000") && private("HTTP://LOCALHOST:3000"));
    assert!(!private("https://evil.example"));
    // A form of any page can send text without asking first.
    assert_eq!(post(node.address(), &[("content-type", "text/plain")], QUESTION).0, 415);
    node.stop();
}

#[test]
fn bodies_and_batches_are_bounded() {
    let node = serving(ServeOptions { max_batch: 3, max_request_bytes: 2_000, ..ServeOptions::default() });
    let batch = |count: usize| format!("[{}]", vec![QUESTION; count].join(","));
    let answers: Value = serde_json::from_str(&post(node.address(), &[], &batch(3)).1).unwrap();
    assert_eq!(answers.as_array().unwrap().len(), 3);
    let answer: Value = serde_json::from_str(&post(node.address(), &[], &batch(4)).1).unwrap();
    assert!(answer["error"]["message"].as_str().unwrap().contains("batch"), "{answer}");
    let long =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"web3_sha3","params":["0x{}"]}}"#, "00".repeat(4_000));
    assert_eq!(post(node.address(), &[], &long).0, 413);
    // Without a length that gives it away, too.
    let chunk = "0".repeat(4_000);
    let mut stream = std::net::TcpStream::connect(node.address()).unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\nfa0\r\n{chunk}\r\n0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    let mut client = Client::connect(node.address());
    client.send_text(&long[..4_000]);
    let answer: Value = serde_json::from_str(&client.receive_text()).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(-32007)), "{answer}");
    node.stop();
}

#[test]
fn connections_and_subscriptions_are_bounded() {
    let node = serving(ServeOptions {
        max_connections: 2,
        max_sockets: 2,
        max_subscriptions: 2,
        ..ServeOptions::default()
    });
    let mut client = Client::connect(node.address());
    client.subscribe(json!(["newHeads"]));
    client.subscribe(json!(["newHeads"]));
    assert!(client.call("eth_subscribe", json!(["newHeads"]))["error"]["message"].is_string());
    let _second = Client::connect(node.address());
    assert!(Client::try_connect(node.address(), &[]).is_none());
    // WebSockets that nobody closes took the places of requests.
    assert_eq!(post(node.address(), &[], QUESTION).0, 200);
    node.stop();
}

#[test]
fn one_address_has_so_many_connections() {
    let node = serving(ServeOptions { max_of_address: 2, ..ServeOptions::default() });
    let _open = [Client::connect(node.address()), Client::connect(node.address())];
    let mut refused = std::net::TcpStream::connect(node.address()).unwrap();
    assert!(matches!(refused.read(&mut [0; 1]), Ok(0) | Err(_)), "it is closed before anything is said");
    node.stop();
}

#[test]
fn connections_of_which_nothing_is_heard_end() {
    let idle_timeout = Duration::from_millis(300);
    let node = serving(ServeOptions { idle_timeout, ..ServeOptions::default() });
    // This one does not answer when it is asked whether it is there.
    let mut silent = Client::connect(node.address());
    let mut plain = std::net::TcpStream::connect(node.address()).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(matches!(plain.read(&mut [0; 1]), Ok(0)), "it never asked anything");
    silent.wait_for_the_end();
    node.stop();
}

#[test]
fn the_history_of_fees_ends_with_its_time_like_any_call() {
    let node = serving(ServeOptions { call_timeout: Duration::ZERO, ..ServeOptions::default() });
    let ask = |method: &str, params: Value| {
        let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Value =
            serde_json::from_str(&post(node.address(), &[], &question.to_string()).1).unwrap();
        answer["error"]["code"].clone()
    };
    assert_eq!(ask("eth_feeHistory", json!(["0x400", "latest", [50.0]])), json!(-32005));
    node.stop();
}

#[test]
fn what_is_not_json_rpc_is_told_so() {
    let node = Node::dev();
    let code = |body: &str| {
        let answer: Value = serde_json::from_str(&post(node.address(), &[], body).1).unwrap();
        answer["error"]["code"].as_i64().unwrap()
    };
    assert_eq!(code("{"), -32700);
    assert_eq!(code("[]"), -32600);
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}"#), -32601);
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"}"#), -32602);
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x1"]}"#), -32602);
    node.stop();
}

#[test]
fn a_call_ends_with_its_gas_or_its_time() {
    let node = Node::dev();
    let burner = node.deploy(0, &code::forever());
    let forever = json!([{"to": burner, "gas": "0xffffffffffff"}]);
    // The gas of a call is that of a block at most, however much it asks for.
    assert_eq!(node.refusal("eth_call", forever.clone()), (-32000, "out of gas".to_string()));
    assert!(node.refusal("eth_estimateGas", forever.clone()).1.starts_with("gas required exceeds allowance"));
    let dir = node.stop();

    let (ledger, _) = tidemill_devnet::Ledger::open(dir.path(), Options::default()).unwrap();
    let hurried = ServeOptions { call_timeout: Duration::from_millis(2), ..ServeOptions::default() };
    let node = Node::serving(dir, ledger, hurried);
    let (code, message) = node.refusal("eth_call", forever);
    assert_eq!(code, -32005, "{message}");
    // Meanwhile and afterwards everybody else is served.
    assert_eq!(call(node.address(), "eth_chainId", json!([]))["result"], "0x7a69");
    node.stop();
}

#[test]
fn a_stopped_ledger_says_so() {
    let mut node = Node::dev();
    node.ledger.take().unwrap().stop().unwrap();
    let (code, message) = node.refusal("eth_sendRawTransaction", json!([crate::node::transfer(0, 1)]));
    assert_eq!((code, message.as_str()), (-32000, "the ledger has stopped making blocks: it was stopped"));
    assert_eq!(node.number(), 0, "reading goes on");
}
