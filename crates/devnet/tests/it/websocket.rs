//! Subscriptions, through a WebSocket client of a few lines.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use alloy::primitives::{B256, Bytes};
use serde_json::{Value, json};

use crate::code;
use crate::node::{Node, Tx, transfer};

pub struct Client {
    stream: TcpStream,
    /// What came while something else was waited for.
    waiting: Vec<Value>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address, &[]).expect("the upgrade is granted")
    }

    /// None if the server does not upgrade the connection.
    pub fn try_connect(address: SocketAddr, headers: &[(&str, &str)]) -> Option<Client> {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut request = format!(
            "GET / HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        stream.write_all((request + "\r\n").as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            head.push(byte[0]);
        }
        head.starts_with(b"HTTP/1.1 101").then_some(Client { stream, waiting: Vec::new() })
    }

    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}));
        loop {
            let message = self.receive();
            if message["id"] == 7 {
                return message;
            }
            self.waiting.push(message);
        }
    }

    pub fn subscribe(&mut self, params: Value) -> String {
        let answer = self.call("eth_subscribe", params);
        answer["result"].as_str().unwrap_or_else(|| panic!("{answer}")).to_string()
    }

    /// The next notification: of which subscription, and what.
    pub fn notification(&mut self) -> (String, Value) {
        let message = if self.waiting.is_empty() { self.receive() } else { self.waiting.remove(0) };
        assert_eq!(message["method"], "eth_subscription", "{message}");
        (message["params"]["subscription"].as_str().unwrap().to_string(), message["params"]["result"].clone())
    }

    fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    pub fn send_text(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        // A text frame, masked with zeros.
        let mut frame = vec![0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).unwrap();
    }

    fn receive(&mut self) -> Value {
        serde_json::from_str(&self.receive_text()).unwrap()
    }

    pub fn receive_text(&mut self) -> String {
        loop {
            let head = self.take(2);
            let length = match head[1] & 0x7f {
                126 => u64::from(u16::from_be_bytes(self.take(2).try_into().unwrap())),
                127 => u64::from_be_bytes(self.take(8).try_into().unwrap()),
                short => short.into(),
            };
            let payload = self.take(length as usize);
            if head[0] & 0x0f == 1 {
                return String::from_utf8(payload).unwrap();
            }
        }
    }

    /// Reads without an answer until the node hangs up.
    pub fn wait_for_the_end(&mut self) {
        self.stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let mut asked = Vec::new();
        self.stream.read_to_end(&mut asked).expect("the node hangs up");
        assert!(!asked.is_empty(), "it asked first");
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }
}

#[test]
fn heads_logs_and_transactions_are_told() {
    let node = Node::dev();
    let contract = node.deploy(0, &code::store());
    let mut client = Client::connect(node.address());
    let heads = client.subscribe(json!(["newHeads"]));
    let ours = client.subscribe(json!(["logs", {"address": contract, "topics": [B256::repeat_byte(1)]}]));
    let others = client.subscribe(json!(["logs", {"topics": [B256::repeat_byte(9)]}]));
    let pending = client.subscribe(json!(["newPendingTransactions"]));
    assert!(heads.starts_with("0x") && heads != ours && ours != others);

    let input: Bytes = [B256::repeat_byte(1), B256::repeat_byte(2)].concat().into();
    let receipt = node.execute(&Tx { nonce: 1, to: contract.into(), input, ..Tx::default() }.sign(0));
    let mut told: Vec<_> = (0..3).map(|_| client.notification()).collect();
    told.sort_by_key(|(id, _)| [&pending, &heads, &ours].iter().position(|known| *known == id));
    assert_eq!(told[0], (pending, receipt["transactionHash"].clone()));
    assert_eq!((&told[1].0, &told[1].1["hash"]), (&heads, &receipt["blockHash"]));
    assert_eq!(told[2], (ours, receipt["logs"][0].clone()));

    assert_eq!(client.call("eth_unsubscribe", json!([heads]))["result"], true);
    assert_eq!(client.call("eth_unsubscribe", json!([heads]))["result"], false);
    node.stop();
}

#[test]
fn every_head_is_told_once_and_in_order() {
    let node = Node::dev();
    let mut client = Client::connect(node.address());
    client.subscribe(json!(["newHeads"]));
    node.ask("anvil_mine", json!(["0xc8"]));
    for number in 1..=200 {
        assert_eq!(client.notification().1["number"], json!(format!("{number:#x}")));
    }
    node.stop();
}

#[test]
fn ordinary_methods_work_too() {
    let node = Node::dev();
    let mut client = Client::connect(node.address());
    assert_eq!(client.call("eth_chainId", json!([]))["result"], "0x7a69");
    let hash = client.call("eth_sendRawTransaction", json!([transfer(0, 1)]))["result"].clone();
    assert!(hash.is_string());
    assert_eq!(client.call("eth_subscribe", json!(["weather"]))["error"]["code"], -32602);
    assert_eq!(client.call("eth_subscribe", json!(["logs", 5]))["error"]["code"], -32602);
    node.stop();
}
