//! A guest program that answers requests of OpenAI's API as a model would, always with the same words.

use std::sync::LazyLock;

/// What it says, in the pieces in which it says it.
pub const PIECES: [&str; 6] = ["The ", "mill ", "turns ", "with ", "the ", "tide."];

/// All that it says.
pub fn words() -> String {
    PIECES.concat()
}

/// The program. What it does beside saying its words depends on what the request has in it:
///
/// | mark | what it does |
/// | --- | --- |
/// | `@s` | works for some tenths of a second after each piece |
/// | `@h` | says one piece, and never ends |
/// | `@x` | answers that the prompt is too long |
/// | `@f` | fails |
/// | `@o` | says something else in its answer than it has said meanwhile |
pub fn parrot() -> &'static [u8] {
    static PARROT: LazyLock<Vec<u8>> =
        LazyLock::new(|| wat::parse_str(text()).expect("the test's program is well formed"));
    &PARROT
}

/// A line of answers with this status and body.
fn line(status: u16, body: &str) -> String {
    format!(
        r#"{{"id":"batch_req_1","custom_id":"1","response":{{"status_code":{status},"request_id":"req_1","body":{body}}},"error":null}}"#
    ) + "\n"
}

fn chat(words: &str) -> String {
    let choice = format!(
        r#"{{"index":0,"message":{{"role":"assistant","content":"{words}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}"#
    );
    let body = format!(
        r#"{{"id":"chatcmpl-parrot","object":"chat.completion","created":1700000000,"model":"parrot","system_fingerprint":"parrot-1","seed":7,"choices":[{choice}],"usage":{{"prompt_tokens":3,"completion_tokens":6,"total_tokens":9}}}}"#
    );
    line(200, &body)
}

fn completion() -> String {
    let choice = format!(r#"{{"index":0,"text":"{}","logprobs":null,"finish_reason":"stop"}}"#, words());
    let body = format!(
        r#"{{"id":"cmpl-parrot","object":"text_completion","created":1700000000,"model":"parrot","system_fingerprint":"parrot-1","seed":7,"choices":[{choice}],"usage":{{"prompt_tokens":3,"completion_tokens":6,"total_tokens":9}}}}"#
    );
    line(200, &body)
}

fn embedding() -> String {
    // One and nothing, as numbers of four bytes.
    let body = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAAA="}],"model":"parrot","usage":{"prompt_tokens":3,"total_tokens":3}}"#;
    line(200, body)
}

fn too_long() -> String {
    let body = r#"{"error":{"message":"the model's context is 8 tokens at most, but the prompt has 9","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
    line(400, body)
}

fn text() -> String {
    let mut data = String::new();
    let mut at = 1024;
    let mut put = |bytes: &str| {
        let escaped = bytes.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        data += &format!("(data (i32.const {at}) \"{escaped}\")\n");
        let place = (at, bytes.len());
        at += bytes.len();
        place
    };
    let pieces: String = PIECES
        .iter()
        .map(|piece| {
            let (at, len) = put(&format!("{{\"index\":0,\"delta\":\"{piece}\"}}\n"));
            format!("(call $say (i32.const {at}) (i32.const {len}))\n")
        })
        .collect();
    let mut answer = |bytes: &str| {
        let (at, len) = put(bytes);
        format!("(call $answer (i32.const {at}) (i32.const {len}))")
    };
    let (chat, other, completion, embedding, too_long) = (
        answer(&chat(&words())),
        answer(&chat("Something else.")),
        answer(&completion()),
        answer(&embedding()),
        answer(&too_long()),
    );
    assert!(at < 16_384, "the words are below the buffers");
    let word = |text: &[u8; 4]| i32::from_le_bytes(*text);
    let (of_embeddings, of_chat) = (word(b"/emb"), word(b"/cha"));
    format!(
        r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    ;; 16 an I/O vector, 24 its result, 28 a descriptor, 64 and 96 paths, 1024 words, 65536 the request.
    (memory (export "memory") 4)
    (global $mark (mut i32) (i32.const 0))
    (data (i32.const 64) "in/requests.jsonl")
    (data (i32.const 96) "out/answers.jsonl")
    {data}
    (func $check (param $errno i32)
        (if (local.get $errno) (then (call $proc_exit (i32.add (i32.const 100) (local.get $errno))))))
    (func $write (param $fd i32) (param $at i32) (param $len i32)
        (i32.store (i32.const 16) (local.get $at))
        (i32.store (i32.const 20) (local.get $len))
        (call $check (call $fd_write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24))))
    (func $work (local $n i32)
        (loop $l
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 200000000)))))
    (func $say (param $at i32) (param $len i32)
        (call $write (i32.const 1) (local.get $at) (local.get $len))
        (if (i32.eq (global.get $mark) (i32.const 115)) (then (call $work)))
        (if (i32.eq (global.get $mark) (i32.const 104)) (then (loop $l (br $l)))))
    (func $answer (param $at i32) (param $len i32)
        (call $check (call $path_open (i32.const 3) (i32.const 1) (i32.const 96) (i32.const 17)
            (i32.const 1) (i64.const 0x40) (i64.const 0) (i32.const 0) (i32.const 28)))
        (call $write (i32.load (i32.const 28)) (local.get $at) (local.get $len)))
    ;; Whether the request has these four bytes; the letter after the last `@` is the mark.
    (func $has (param $word i32) (param $end i32) (result i32)
        (local $at i32) (local $found i32)
        (local.set $at (i32.const 65536))
        (loop $l
            (if (i32.eq (i32.load (local.get $at)) (local.get $word)) (then (local.set $found (i32.const 1))))
            (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 64))
                (then (global.set $mark (i32.load8_u (i32.add (local.get $at) (i32.const 1))))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $at) (local.get $end))))
        (local.get $found))
    (func (export "_start") (local $end i32) (local $embeds i32) (local $chats i32)
        (call $check (call $path_open (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 17)
            (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 28)))
        (local.set $end (i32.const 65536))
        (loop $l
            (i32.store (i32.const 16) (local.get $end))
            (i32.store (i32.const 20) (i32.const 60000))
            (call $check (call $fd_read (i32.load (i32.const 28)) (i32.const 16) (i32.const 1) (i32.const 24)))
            (local.set $end (i32.add (local.get $end) (i32.load (i32.const 24))))
            (br_if $l (i32.load (i32.const 24))))
        (local.set $embeds (call $has (i32.const {of_embeddings}) (local.get $end)))
        (local.set $chats (call $has (i32.const {of_chat}) (local.get $end)))
        (if (i32.eq (global.get $mark) (i32.const 102)) (then (call $proc_exit (i32.const 1))))
        (if (i32.eq (global.get $mark) (i32.const 120)) (then {too_long} (return)))
        (if (local.get $embeds) (then {embedding} (return)))
        {pieces}
        (if (i32.eq (global.get $mark) (i32.const 111)) (then {other} (return)))
        (if (local.get $chats) (then {chat} (return)))
        {completion}))"#
    )
}
