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
const LENGTHS: [usize; 16] = [37, 16, 5, 33, 22, 1, 17, 31, 32, 8, 48, 15, 2, 49, 20, 36];

fn load(architecture: &str) -> Model {
    let bytes = tiny::model(architecture, 20);
    Model::load(&bytes, &Gguf::read(&bytes).unwrap()).unwrap()
}

fn text(number: usize) -> Vec<u32> {
    (0..LENGTHS[number]).map(|at| ((at * at * 31 + at * 7 + number * 101) % 271) as u32).collect()
}

/// A hash of logits and hidden states of all tokens, for each sequence.
fn hashes(model: &Model, engine: &mut Engine, count: usize, reading: Reading) -> Vec<String> {
    let mut sequences = vec![Sequence::new(model.config()); count];
    let hash = |rows: Vec<Vec<u8>>| hash_of(&rows);
    read(model, engine, &mut sequences, reading).into_iter().map(hash).collect()
}

fn hash_of(rows: &[Vec<u8>]) -> String {
    blake3::hash(&rows.concat()).to_hex()[..16].to_owned()
}

/// Has sequences read the rest of their texts; gives the bits of logits and hidden state for each token that was read.
fn read(
    model: &Model,
    engine: &mut Engine,
    sequences: &mut [Sequence],
    reading: Reading,
) -> Vec<Vec<Vec<u8>>> {
    let texts: Vec<Vec<u32>> = (0..sequences.len()).map(text).collect();
    let mut rows = vec![Vec::new(); sequences.len()];
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
            let floats = output.logits(at).unwrap().iter().chain(output.hidden(at));
            rows[number].push(floats.flat_map(|x| x.to_le_bytes()).collect());
        }
    }
    rows
}

/// Has sequences begin with the pages of others that have read the same, and read the rest: every token's numbers are those
/// of `golden`.
fn check_reuse(model: &Model, engine: &mut Engine, whole: &[Sequence], golden: &[Vec<Vec<u8>>], place: &str) {
    for reading in READINGS {
        let mut sequences = vec![Sequence::new(model.config()); whole.len()];
        for (sequence, whole) in sequences.iter_mut().zip(whole) {
            sequence.begin_with(whole.full_pages());
        }
        let kept: Vec<usize> = sequences.iter().map(Sequence::len).collect();
        let rows = read(model, engine, &mut sequences, reading);
        for (number, rows) in rows.iter().enumerate() {
            assert_eq!(rows[..], golden[number][kept[number]..], "{place}, {reading:?}, sequence {number}");
        }
    }
}

fn check(architecture: &str, golden: &str) {
    let model = load(architecture);
    let mut whole = vec![Sequence::new(model.config()); LENGTHS.len()];
    let rows = read(&model, &mut Engine::new(InstructionSet::PLAIN, 1), &mut whole, Reading::AtOnce);
    let all: Vec<String> = rows.iter().map(|rows| hash_of(rows)).collect();
    assert_eq!(
        all.join(" "),
        golden,
        "{architecture}: the definition has changed, and so is another version of the engine"
    );
    for isa in InstructionSet::available() {
        for threads in [1, 2, 3] {
            let mut engine = Engine::new(isa, threads);
            for count in [1, 2, 5, 16] {
                // Plain Rust is slow: one architecture is enough to see how it shares work out.
                if isa == InstructionSet::PLAIN
                    && (architecture != "llama" || count == 16)
                    && (threads, count) != (2, 5)
                {
                    continue;
                }
                let place = format!("{architecture}, {isa}, {threads} threads, {count} sequences");
                for reading in READINGS {
                    let hashes = hashes(&model, &mut engine, count, reading);
                    assert_eq!(hashes, all[..count], "{place}, {reading:?}");
                }
                check_reuse(&model, &mut engine, &whole[..count], &rows, &place);
            }
        }
    }
}

#[test]
fn llama() {
    check(
        "llama",
        "27159fe5c3181bd0 3c8c4f8b1d863622 38b706126c66ebe0 22fd80e0d0f79840 \
         dacf3ea016de9bac f14c7600d8da04be b4e3bd81d87b8962 d8b767216936dc15 \
         238e51427ddf780f 8f814984d7423cf9 7e5cd9b1dab3e9e6 2a5c34728e12111f \
         8f0532d57e34cf4f 14ee3ed682a84982 8b0d0925d63c0838 975f2c3d97dce0a1",
    );
}

#[test]
fn qwen2() {
    check(
        "qwen2",
        "5b4622623e13957d 98b6b2ec39513f9b 5e0e521519e14e24 3942e5a831c7a908 \
         8aaa7d191a7bde1c de23dafb9eef0043 ba10164746e3a9df d4d51f4008652da3 \
         1c970063f8f63bda 9f48a265bb4b5995 498101adf48c557e a87be5935a7a9021 \
         6d27137042b84c09 5e83c2eebc9c2687 ea86f472d4d3ca59 72e0b6863358f608",
    );
}

#[test]
fn qwen3() {
    check(
        "qwen3",
        "5cadc0d68626b0d7 ce698dfe835a3efb 18d7a17c4635af66 c83b43dbbe2cd7fe \
         2ab4eb0268871864 bd888c912e68a459 c33a99f8ade46340 f1a6d45bfb27bf40 \
         04cf6ea169496c58 7fe081a2cd62ab67 cda99e982ec4ac4f e98846b6ec8cf203 \
         0301ab5b876330cd cbdf4af128e98fe9 8d5c79ee1fda946c a0f6c961346c488f",
    );
}

#[test]
fn gemma3() {
    check(
        "gemma3",
        "fe82ef0bf0bf7b9c 21078e337534c9cf 94c3065c527aa473 679ed94159ef75a5 \
         5b9a75951772094e ff8fb91ee2df1249 d86e170a1665ea41 9b7dd741e12e1a89 \
         99cd1bd292f86765 1886b4c0d988c1ac 3d887bbb9609304e 3fdd39851eaecd98 \
         3835a24524d3eef1 f17a85847d9009fc 042f560ff9a5fec7 5d3981980670acbd",
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
