//! Models over HTTP as clients see them: a real coordinator, real providers, and a program in the place of a model.

mod client;
mod models;
mod paid;
mod streams;

use serde_json::{Value, json};

use self::client::{Answer, Client};
use crate::{
    node::Node,
    parrot::{parrot, words},
    support::Place,
};

/// A network on this machine that serves a model.
struct World {
    /// Gone before the place that they are in.
    coordinator: Node,
    client: Client,
    place: Place,
}

impl World {
    /// One that is free and trusts its providers, of which there is none yet.
    fn start() -> Self {
        let place = Place::at_home("home");
        place.write("parrot.wasm", parrot());
        place.tidemill(&["models", "add", "parrot", "parrot.wasm"]).code(0).prints(&["parrot is served"]);
        let args = ["serve", "--free", "--loopback", "--trust", "all", "--directory", "coordinator"];
        let more =
            ["--ticket-file", "ticket", "--api", "127.0.0.1:0", "--lease", "1200ms", "--heartbeat", "200ms"];
        let mut coordinator = Node::start(&place, &[&args[..], &more].concat());
        let listening = coordinator.until("listening");
        let client = Client::new(listening["api"].as_str().expect("it has an API"));
        Self { coordinator, client, place }
    }

    /// A provider that has joined.
    fn provide(&self, name: &str) -> Node {
        let mut provider = Node::provide(&self.place, name);
        provider.until("joined");
        provider
    }

    /// The same network once its model can be asked.
    fn with_provider() -> (Self, Node) {
        let world = Self::start();
        let provider = world.provide("one");
        world.client.until_ready();
        (world, provider)
    }

    /// Ends it in order.
    fn end(mut self) {
        self.coordinator.terminate();
        self.coordinator.ends_with(0);
    }
}

/// What a command prints that lists something.
#[track_caller]
fn list(place: &Place, args: &[&str]) -> Vec<Value> {
    let ran = place.tidemill(args).code(0);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error} in\n{}", ran.stdout))
}

/// A conversation of one message.
fn chat(text: &str) -> Value {
    json!({"model": "parrot", "messages": [{"role": "user", "content": text}]})
}

/// The id of the receipt of an answer.
#[track_caller]
fn receipt(answer: &Answer) -> String {
    let header = answer.header("x-tidemill-receipt").unwrap_or_else(|| panic!("no receipt: {answer:?}"));
    header.split(';').next().expect("there is always one").to_owned()
}

#[test]
fn an_answer_comes_with_a_receipt_that_anybody_can_check() {
    let (world, _provider) = World::with_provider();
    let answer = world.client.post("/chat/completions", &chat("Hello"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["choices"][0]["message"]["content"], words());
    assert_eq!(body["usage"]["total_tokens"], 9);
    let header = answer.header("x-tidemill-receipt").expect("a receipt").to_owned();
    assert!(header.contains("accepted=trusted") && header.contains("price_wei=0"), "{header}");

    let id = receipt(&answer);
    let told = world.place.tidemill(&["receipt", &id, "--out", "kept", "--json"]).code(0).json();
    assert_eq!(told["id"], id);
    let shown = world.place.tidemill(&["receipt", "kept"]).code(0);
    shown.prints(&["valid: the provider signed this answer", "The mill turns with the tide."]);
    // One bit of the answer is another one.
    let mut bytes = std::fs::read(world.place.path("kept")).expect("it was kept");
    let at = bytes.windows(4).rposition(|four| four == b"tide").expect("the answer is in it");
    bytes[at] ^= 1;
    world.place.write("forged", &bytes);
    world.place.tidemill(&["receipt", "forged"]).code(1);
    world.end();
}

#[test]
fn texts_are_continued_and_made_vectors_of() {
    let (world, _provider) = World::with_provider();
    let answer = world.client.post("/completions", &json!({"model": "parrot", "prompt": "The mill"}));
    assert_eq!((answer.status, &answer.json()["choices"][0]["text"]), (200, &words().into()), "{answer:?}");
    let asked = json!({"model": "parrot", "input": "Hello", "encoding_format": "base64"});
    let answer = world.client.post("/embeddings", &asked);
    assert_eq!((answer.status, &answer.json()["data"][0]["embedding"]), (200, &"AACAPwAAAAA=".into()));
    receipt(&answer);
    // What the model's own answer says is wrong, the client is told with the same status.
    let answer = world.client.post("/chat/completions", &chat("much too long @x"));
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"]), (400, &"context_length_exceeded".into()), "{answer:?}");
    // A program that fails is no answer.
    let answer = world.client.post("/chat/completions", &chat("fail @f"));
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (500, &"task_failed".into()), "{answer:?}");
    world.end();
}

#[test]
fn models_come_and_go_while_a_network_runs() {
    let (world, _provider) = World::with_provider();
    let listed = list(&world.place, &["models", "list", "--json"]);
    assert_eq!((&listed[0]["name"], listed.len()), (&"parrot".into(), 1));
    world.place.tidemill(&["models", "add", "org/second", "parrot.wasm"]).code(0);
    let ids: Vec<Value> = world.client.get("/models").json()["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(ids, ["org/second", "parrot"]);
    world.place.tidemill(&["models", "remove", "parrot"]).code(0);
    assert_eq!(world.client.get("/models/parrot").status, 404);
    let answer = world.client.post("/chat/completions", &chat("Hello"));
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &"model_not_found".into()));
    world.place.tidemill(&["models", "remove", "parrot"]).code(2);
    world.end();
}

#[test]
fn a_conversation_in_the_terminal() {
    let (world, _provider) = World::with_provider();
    let said = world.place.tidemill(&["chat", "parrot", "--prompt", "Hello"]).code(0);
    said.prints(&[&words()]);
    let said = world.place.tidemill(&["chat", "--prompt", "Hello", "--quiet"]).code(0);
    said.prints(&[&words()]);
    world.place.tidemill(&["chat", "nobody", "--prompt", "Hello"]).code(2).says(&["is not served here"]);
    world.end();
}

#[test]
fn keys_say_who_may_ask() {
    let (world, _provider) = World::with_provider();
    let made =
        world.place.tidemill(&["api-key", "new", "--name", "app", "--scope", "models", "--json"]).code(0);
    let made = made.json();
    let (id, key) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    let client = world.client.with_key(key);
    assert_eq!(client.get("/models").status, 200);
    assert_eq!(client.get("/jobs").status, 403, "the key is for models alone");
    let answer = client.post("/chat/completions", &chat("Hello"));
    assert_eq!(answer.status, 200, "{answer:?}");
    // Receipts are of the key that asked.
    let path = format!("/receipts/{}", receipt(&answer));
    assert_eq!(client.get(&path).status, 200);
    let other = world.place.tidemill(&["api-key", "new", "--scope", "models", "--json"]).code(0).json();
    let other = world.client.with_key(other["key"].as_str().expect("a key"));
    assert_eq!(other.get(&path).status, 404);
    let listed = list(&world.place, &["api-key", "list", "--json"]);
    let of_app = listed.iter().find(|key| key["id"] == id).expect("it is listed");
    assert_eq!((&of_app["name"], &of_app["escrow"]), (&"app".into(), &Value::Null));
    world.place.tidemill(&["api-key", "revoke", id]).code(0);
    assert_eq!(client.get("/models").status, 401);
    // In a free network a key needs no money.
    world
        .place
        .tidemill(&["api-key", "new", "--budget", "1 TIDE", "--join", "ticket"])
        .code(2)
        .says(&["free"]);
    let listed = list(&world.place, &["api-key", "list", "--json"]);
    assert_eq!(listed.len(), 1, "a key without the money that it was to have is not kept");
    world.end();
}
