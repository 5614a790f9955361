//! Logits have the same bits on every instruction set, with any number of threads and sequences, and whether a text is
//! read at once, in pieces or token by token: those that are written here.

use tidemill_infer::{Engine, Feed, Gguf, InstructionSet, Model, Sequence, tiny};

/// How the tokens of all sequences are read.
#[derive(Clone, Copy, Debug)]
enum Reading {
    TokenByToken,
    AtOnce,
    /// Each sequence in pieces of its own length, so that prompts are read beside single tokens.
    InPieces,
}

const READINGS: [Reading; 3] = [Reading::TokenByToken, Reading::AtOnce, Reading::InPieces];

/// The lengths of the sequences, around those of pages and windows.
const LENGTHS: [usize; 5] = [37, 16, 5, 33, 22];

fn load(architecture: &str) -> Model {
    let bytes = tiny::model(architecture, 20);
    Model::load(&bytes, &Gguf::read(&bytes).unwrap()).unwrap()
}

fn text(number: usize) -> Vec<u32> {
    (0..LENGTHS[number]).map(|at| ((at * at * 31 + at * 7 + number * 101) % 271) as u32).collect()
}

/// A hash of logits and hidden states of all tokens, for each sequence.
fn hashes(model: &Model, engine: &mut Engine, count: usize, reading: Reading) -> Vec<String> {
    let texts: Vec<Vec<u32>> = (0..count).map(text).collect();
    let mut sequences = vec![Sequence::new(model.config()); count];
    let mut hashers = vec![blake3::Hasher::new(); count];
    while sequences.iter().zip(&texts).any(|(sequence, text)| sequence.len() < text.len()) {
        let mut numbers = Vec::new();
        let mut feeds = Vec::new();
        for (number, (sequence, text)) in sequences.iter_mut().zip(&texts).enumerate() {
            let rest = &text[sequence.len()..];
            let piece = match reading {
                Reading::TokenByToken => 1,
                Reading::AtOnce => rest.len(),
                Reading::InPieces => 3 * number + 1,
            };
            let tokens = &rest[..piece.min(rest.len())];
            numbers.extend(tokens.iter().map(|_| number));
            if !tokens.is_empty() {
                feeds.push(Feed { sequence, tokens, logits_from: 0 });
            }
        }
        let output = engine.forward(model, &mut feeds).unwrap();
        for (at, &number) in numbers.iter().enumerate() {
            for x in output.logits(at).unwrap().iter().chain(output.hidden(at)) {
                hashers[number].update(&x.to_le_bytes());
            }
        }
    }
    hashers.iter().map(|hasher| hasher.finalize().to_hex()[..16].to_owned()).collect()
}

fn check(architecture: &str, golden: [&str; 5]) {
    let model = load(architecture);
    let plain = hashes(&model, &mut Engine::new(InstructionSet::PLAIN, 1), 5, Reading::AtOnce);
    assert_eq!(
        plain, golden,
        "{architecture}: the definition has changed, and so is another version of the engine"
    );
    for isa in InstructionSet::available() {
        for threads in [1, 2, 3] {
            let mut engine = Engine::new(isa, threads);
            for count in [1, 2, 5] {
                // Plain Rust is slow: one architecture is enough to see how it shares work out.
                if isa == InstructionSet::PLAIN && architecture != "llama" && (threads, count) != (2, 5) {
                    continue;
                }
                for reading in READINGS {
                    let hashes = hashes(&model, &mut engine, count, reading);
                    let place =
                        format!("{architecture}, {isa}, {threads} threads, {count} sequences, {reading:?}");
                    assert_eq!(hashes, golden[..count], "{place}");
                }
            }
        }
    }
}

#[test]
fn llama() {
    check(
        "llama",
        ["27159fe5c3181bd0", "3c8c4f8b1d863622", "38b706126c66ebe0", "22fd80e0d0f79840", "dacf3ea016de9bac"],
    );
}

#[test]
fn qwen2() {
    check(
        "qwen2",
        ["5b4622623e13957d", "98b6b2ec39513f9b", "5e0e521519e14e24", "3942e5a831c7a908", "8aaa7d191a7bde1c"],
    );
}

#[test]
fn qwen3() {
    check(
        "qwen3",
        ["5cadc0d68626b0d7", "ce698dfe835a3efb", "18d7a17c4635af66", "c83b43dbbe2cd7fe", "2ab4eb0268871864"],
    );
}

#[test]
fn gemma3() {
    check(
        "gemma3",
        ["fe82ef0bf0bf7b9c", "21078e337534c9cf", "94c3065c527aa473", "679ed94159ef75a5", "5b9a75951772094e"],
    );
}

/// Sequences that join late and leave early change nothing for the others.
#[test]
fn sequences_join_and_leave() {
    let model = load("llama");
    let mut engine = Engine::new(InstructionSet::best(), 2);
    let alone = hashes(&model, &mut engine, 1, Reading::AtOnce);
    let first = text(0);
    let mut sequence = Sequence::new(model.config());
    let mut other = Sequence::new(model.config());
    let mut hasher = blake3::Hasher::new();
    for (at, token) in first.iter().enumerate() {
        let mut feeds =
            vec![Feed { sequence: &mut sequence, tokens: std::slice::from_ref(token), logits_from: 0 }];
        if at % 3 == 1 {
            feeds.insert(0, Feed { sequence: &mut other, tokens: &[5, 6], logits_from: 2 });
        }
        let output = engine.forward(&model, &mut feeds).unwrap();
        for x in output.logits(0).unwrap().iter().chain(output.hidden(0)) {
            hasher.update(&x.to_le_bytes());
        }
        if at == 20 {
            other = Sequence::new(model.config());
        }
    }
    assert_eq!(hasher.finalize().to_hex()[..16], alone[0]);
}

/// Pages of another sequence, shared or cut back, give the bits that reading the tokens gives.
#[test]
fn shared_pages_change_no_bit() {
    let model = load("gemma3");
    let mut engine = Engine::new(InstructionSet::best(), 2);
    let first = text(0);
    let mut whole = Sequence::new(model.config());
    let mut feeds = [Feed { sequence: &mut whole, tokens: &first, logits_from: first.len() - 1 }];
    let expected = engine.forward(&model, &mut feeds).unwrap();

    let mut shared = Sequence::new(model.config());
    shared.begin_with(whole.full_pages());
    assert_eq!(shared.len(), 32);
    let mut feeds = [Feed { sequence: &mut shared, tokens: &first[32..], logits_from: first.len() - 33 }];
    let output = engine.forward(&model, &mut feeds).unwrap();
    assert_eq!(output.logits(0), expected.logits(0));

    // A copy goes another way first; the pages that it shares stay as they are.
    let mut copy = whole.clone();
    copy.truncate(18);
    engine.forward(&model, &mut [Feed { sequence: &mut copy, tokens: &[1, 2, 3], logits_from: 3 }]).unwrap();
    copy.truncate(18);
    let mut feeds = [Feed { sequence: &mut copy, tokens: &first[18..], logits_from: first.len() - 19 }];
    assert_eq!(engine.forward(&model, &mut feeds).unwrap().logits(0), expected.logits(0));
    whole.truncate(36);
    let mut feeds = [Feed { sequence: &mut whole, tokens: &first[36..], logits_from: 0 }];
    assert_eq!(engine.forward(&model, &mut feeds).unwrap().logits(0), expected.logits(0));
}
