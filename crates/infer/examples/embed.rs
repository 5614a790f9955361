//! Prints how fast this machine makes vectors of texts, and a hash of them:
//! `cargo run --release -p tidemill-infer --example embed -- DIRECTORY [TEXTS THREADS ISA]`, where the directory has
//! `model.safetensors`, `config.json` and `tokenizer.json`.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use tidemill_infer::{Encoder, Engine, FileSource, InstructionSet, Safetensors, Tokenizer};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().ok_or("usage: embed DIRECTORY [TEXTS THREADS ISA]")?;
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (count, threads) = (number(1, 200)?, number(2, std::thread::available_parallelism()?.get())?);
    let isa = match arguments.get(3) {
        Some(name) => {
            InstructionSet::by_name(name).ok_or("this processor does not have that instruction set")?
        }
        None => InstructionSet::best(),
    };
    let file = |name: &str| Path::new(directory).join(name);
    let config = fs::read_to_string(file("config.json"))?;
    let source = FileSource::new(File::open(file("model.safetensors"))?)?;
    let start = Instant::now();
    let encoder = Encoder::load_safetensors(&Safetensors::read(&[&source])?, &config, None)?;
    let tokenizer = Tokenizer::read_json(&fs::read_to_string(file("tokenizer.json"))?, Some(&config))?;
    println!("{isa}, {threads} threads, loaded in {:.0?}", start.elapsed());

    let words = ["tide", "mill", "the", "sea", "turns", "wheel", "every", "day", "unbelievable", "gates"];
    let text = |number: usize| {
        let words = (0..8 + number % 24).map(|at| words[(number * 7 + at * at) % words.len()]);
        words.collect::<Vec<_>>().join(" ")
    };
    let start = Instant::now();
    let texts: Vec<Vec<u32>> = (0..count).map(|number| tokenizer.encode(&text(number))).collect();
    let tokens: usize = texts.iter().map(Vec::len).sum();
    println!("{count} texts of {tokens} tokens in {:.1?}", start.elapsed());
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let start = Instant::now();
    let vectors = Engine::new(isa, threads).encode(&encoder, &texts)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut hash = blake3::Hasher::new();
    for number in 0..vectors.len() {
        hash.update(&vectors.vector(number)?.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    }
    let (texts, tokens) = (count as f64 / seconds, tokens as f64 / seconds);
    println!("vectors: {texts:.1} texts/s, {tokens:.1} tokens/s; {}", hash.finalize().to_hex());
    Ok(())
}
