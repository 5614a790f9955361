//! A byte-slice fuzz target for modules: whatever the bytes, the sandbox ends within its limits and with a
//! failure of its own. The corpus is made of small modules and of generated ones; the driver cuts,
//! splices and flips them for `TIDEMILL_FUZZ_SECONDS` (30 when it is not set).

use std::time::{Duration, Instant};

use tidemill_types::{ByteSize, Failure, Fuel, Millis, Outcome};
use wasm_smith::Module;

use super::support::{binary, command};

/// The fuzz target.
fn fuzz_module(data: &[u8]) {
    let attempt = binary(data.to_vec()).limits(|limits| {
        limits.fuel = Fuel(1_000_000);
        limits.memory = ByteSize::mib(4);
        limits.output = ByteSize::mib(1);
        limits.files = 100;
        limits.log = ByteSize::kib(4);
        limits.wall_time = Millis(5_000);
    });
    // `run` checks the report; what may not happen is a panic, or trouble on the host's side.
    let report = attempt.run();
    if let Outcome::Failed(Failure::Host { reason }) = report.outcome {
        panic!("the host failed: {reason}");
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a small generator is all a mutator needs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("below a usize")
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/module");
    let mut corpus: Vec<Vec<u8>> = std::fs::read_dir(directory)
        .expect("the corpus is part of the sources")
        .map(|entry| {
            let text = std::fs::read(entry.expect("an entry").path()).expect("a readable file");
            wat::parse_bytes(&text).expect("the corpus is well formed").into_owned()
        })
        .collect();
    for body in ["", "unreachable", "(drop (call $random_get (i32.const 0) (i32.const 100)))"] {
        corpus.push(command(body).program.read().expect("it is in memory"));
    }
    let mut random = Random(7);
    while corpus.len() < 40 {
        let bytes: Vec<u8> = (0..1_000).map(|_| random.next() as u8).collect();
        if let Ok(module) = arbitrary::Unstructured::new(&bytes).arbitrary::<Module>() {
            corpus.push(module.to_bytes());
        }
    }
    corpus
}

fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(place.max(8)),
            1 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                let len = random.below(other.len() - from).min(64);
                let end = (place + len).min(bytes.len());
                bytes.splice(place..end, other[from..from + len].iter().copied());
            }
            2 if !bytes.is_empty() => bytes[place] = [0, 0x7f, 0x80, 0xff, 0x0b][random.below(5)],
            3 => bytes.insert(place, random.next() as u8),
            _ if !bytes.is_empty() => bytes[place] ^= 1 << random.below(8),
            _ => {}
        }
    }
    bytes
}

#[test]
fn mutated_modules_end_within_their_limits() {
    let seconds =
        std::env::var("TIDEMILL_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let corpus = corpus();
    for module in &corpus {
        fuzz_module(module);
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(2026);
    let mut runs = 0u64;
    while Instant::now() < end {
        fuzz_module(&mutate(&corpus, &mut random));
        runs += 1;
    }
    println!("{runs} mutated modules");
}
