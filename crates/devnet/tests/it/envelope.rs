//! What is answered to what, by both ways that a request can come: ids, notifications, batches, and what is no request.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::http::{exchange_whole, post};
use crate::node::Node;
use crate::websocket::Client;

/// The answer to one message over HTTP and over WebSocket, which must be the same.
fn answer(address: SocketAddr, socket: &mut Client, message: &str) -> String {
    let (status, body) = post(address, &[], message);
    assert_eq!(status, 200, "{message}: {body}");
    socket.send_text(message);
    assert_eq!(socket.receive_text(), body, "{message}");
    body
}

fn code(answer: &str) -> (Value, i64) {
    let answer: Value = serde_json::from_str(answer).unwrap();
    (answer["id"].clone(), answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{answer}")))
}

#[test]
fn an_id_comes_back_as_it_was_sent() {
    let node = Node::dev();
    let mut socket = Client::connect(node.address());
    for id in [
        "1",
        "-1",
        "1.5",
        "1.50",
        "18446744073709551616",
        "1000000000000000000000000000000",
        "1e30",
        "null",
        r#""x""#,
        r#""\u0041""#,
    ] {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_chainId","params":[]}}"#);
        let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"0x7a69"}}"#);
        assert_eq!(answer(node.address(), &mut socket, &message), expected);
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_nothing"}}"#);
        assert!(answer(node.address(), &mut socket, &message).contains(&format!(r#""id":{id},"error""#)));
    }
    node.stop();
}

#[test]
fn what_is_no_request_is_refused_and_not_carried_out() {
    let node = Node::dev();
    let mut socket = Client::connect(node.address());
    for id in ["{}", "[1]", "true"] {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"evm_mine"}}"#);
        assert_eq!(code(&answer(node.address(), &mut socket, &message)), (Value::Null, -32600), "{id}");
    }
    for (message, id, expected) in [
        ("null", Value::Null, -32600),
        (r#" "x""#, Value::Null, -32600),
        ("7", Value::Null, -32600),
        ("{}", Value::Null, -32600),
        ("[]", Value::Null, -32600),
        (r#"{"jsonrpc":"1.0","id":-3,"method":"evm_mine"}"#, json!(-3), -32600),
        (r#"{"jsonrpc":"2.0","id":"a","method":1}"#, json!("a"), -32600),
        (r#"{"jsonrpc":"2.0","id":4,"method":"evm_mine","params":"bar"}"#, json!(4), -32602),
        ("{", Value::Null, -32700),
        ("x", Value::Null, -32700),
        (r#"{"jsonrpc":"2.0","id":5,"method":"evm_mine"} x"#, Value::Null, -32700),
    ] {
        assert_eq!(code(&answer(node.address(), &mut socket, message)), (id, expected), "{message}");
    }
    assert_eq!(code(&post(node.address(), &[], "").1), (Value::Null, -32700));
    assert_eq!(node.number(), 0, "nothing of it made a block");
    node.stop();
}

#[test]
fn notifications_are_carried_out_and_not_answered() {
    let node = Node::dev();
    let mine = r#"{"jsonrpc":"2.0","method":"evm_mine","params":[ ]}"#;
    let (status, head, body) = exchange_whole(node.address(), "POST", &[], mine);
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 0"), "{head}");
    assert_eq!(node.number(), 1);
    assert_eq!(post(node.address(), &[], &format!("[{mine},{mine}]")), (200, String::new()));
    assert_eq!(node.number(), 3);

    let mut socket = Client::connect(node.address());
    socket.subscribe(json!(["newHeads"]));
    socket.send_text(mine);
    assert_eq!(socket.notification().1["number"], "0x4");
    socket.send_text(&format!("[{mine}]"));
    assert_eq!(socket.notification().1["number"], "0x5");
    socket.send_text(r#"{"jsonrpc":"2.0","method":"eth_subscribe","params":["newHeads"]}"#);
    socket.send_text(r#"{"jsonrpc":"2.0","method":"eth_nothing"}"#);
    socket.send_text(r#"{"jsonrpc":"2.0","id":9,"method":"eth_blockNumber"}"#);
    assert_eq!(
        socket.receive_text(),
        r#"{"jsonrpc":"2.0","id":9,"result":"0x5"}"#,
        "the next answer is this one's"
    );
    node.stop();
}

#[test]
fn a_batch_answers_what_has_an_id() {
    let node = Node::dev();
    let mut socket = Client::connect(node.address());
    let batch = r#" [ {"jsonrpc":"2.0","id":-1,"method":"eth_chainId"}, {"jsonrpc":"2.0","method":"eth_chainId"}, 1,
        ["2.0", 1, "eth_chainId", []], {"jsonrpc":"2.0","id":"a","method":"net_version"} ] "#;
    let invalid = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"}}"#;
    let expected = [
        r#"{"jsonrpc":"2.0","id":-1,"result":"0x7a69"}"#,
        invalid,
        invalid,
        r#"{"jsonrpc":"2.0","id":"a","result":"31337"}"#,
    ];
    assert_eq!(answer(node.address(), &mut socket, batch), format!("[{}]", expected.join(",")));
    node.stop();
}

#[test]
fn subscriptions_begin_after_their_answer_and_need_a_socket() {
    let node = Node::dev();
    let subscribe = r#"{"jsonrpc":"2.0","id":1.5,"method":"eth_subscribe","params":["newHeads"]}"#;
    let mine = r#"{"jsonrpc":"2.0","id":2,"method":"evm_mine"}"#;
    let mut socket = Client::connect(node.address());
    // The block is made before the batch is answered, and told after it.
    socket.send_text(&format!("[{subscribe},{mine}]"));
    let answers: Value = serde_json::from_str(&socket.receive_text()).unwrap();
    assert_eq!(answers[0]["id"], json!(1.5));
    let (subscription, head) = socket.notification();
    assert_eq!((json!(subscription), &head["number"]), (answers[0]["result"].clone(), &json!("0x1")));

    // A notification ends it as well as a call does.
    let end = json!({"jsonrpc": "2.0", "method": "eth_unsubscribe", "params": [subscription]});
    let again = json!({"jsonrpc": "2.0", "id": 3, "method": "eth_unsubscribe", "params": [subscription]});
    socket.send_text(&json!([end, again]).to_string());
    assert_eq!(socket.receive_text(), r#"[{"jsonrpc":"2.0","id":3,"result":false}]"#);
    assert_eq!(code(&post(node.address(), &[], subscribe).1), (json!(1.5), -32601));
    node.stop();
}
