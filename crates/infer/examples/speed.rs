//! Prints how fast this machine reads a prompt and continues it, and a hash of all logits; SEQUENCES
//! are numbers of sequences that are continued together, such as `4,16`, or 0:
//! `cargo run --release -p tidemill-infer --example speed -- MODEL.gguf [PROMPT_TOKENS DECODED_TOKENS THREADS ISA SEQUENCES]`.

use std::error::Error;
use std::fs::File;
use std::time::Instant;

use tidemill_infer::{Engine, Feed, FileSource, Gguf, InstructionSet, Model, Sequence};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments
        .first()
        .ok_or("usage: speed MODEL.gguf [PROMPT_TOKENS DECODED_TOKENS THREADS ISA SEQUENCES]")?;
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (prompt_len, decoded) = (number(1, 233)?, number(2, 128)?);
    let cores = std::thread::available_parallelism()?.get();
    let threads = number(3, cores)?;
    let isa = match arguments.get(4) {
        Some(name) => {
            InstructionSet::by_name(name).ok_or("this processor does not have that instruction set")?
        }
        None => InstructionSet::best(),
    };
    let source = FileSource::new(File::open(path)?)?;
    let gguf = Gguf::read(&source)?;
    let start = Instant::now();
    let model = Model::load(&source, &gguf)?;
    let load = start.elapsed();
    let prompt: Vec<u32> = (0..prompt_len as u32).map(|i| 1_000 + i * 37 % 5_000).collect();
    let prompt: Vec<u32> = prompt.iter().map(|token| token % model.config().vocabulary as u32).collect();
    let mut engine = Engine::new(isa, threads);
    println!("{isa}, {threads} threads, loaded in {load:.0?}");

    let mut sequence = Sequence::new(model.config());
    let start = Instant::now();
    let mut feeds = [Feed { sequence: &mut sequence, tokens: &prompt, logits_from: prompt.len() - 1 }];
    let output = engine.forward(&model, &mut feeds)?;
    let speed = prompt.len() as f64 / start.elapsed().as_secs_f64();
    println!("prompt: {} tokens, {speed:.1} tokens/s", prompt.len());
    let mut hash = blake3::Hasher::new();
    let mut token = most_likely(output.logits(0)?, &mut hash);
    let start = Instant::now();
    for _ in 0..decoded {
        let mut feeds = [Feed { sequence: &mut sequence, tokens: &[token], logits_from: 0 }];
        token = most_likely(engine.forward(&model, &mut feeds)?.logits(0)?, &mut hash);
    }
    let speed = decoded as f64 / start.elapsed().as_secs_f64();
    println!("decode: {decoded} tokens, {speed:.1} tokens/s; logits {}", hash.finalize().to_hex());

    let counts = arguments.get(5).map_or("4,16", String::as_str).split(',');
    for count in counts.map(str::parse::<usize>) {
        let count = count?;
        if count == 0 {
            continue;
        }
        let mut sequences = vec![Sequence::new(model.config()); count];
        for sequence in &mut sequences {
            engine.forward(&model, &mut [Feed { sequence, tokens: &prompt, logits_from: prompt.len() }])?;
        }
        let steps = decoded.min(32);
        let start = Instant::now();
        for _ in 0..steps {
            let feeds = sequences.iter_mut().map(|sequence| Feed { sequence, tokens: &[7], logits_from: 0 });
            engine.forward(&model, &mut feeds.collect::<Vec<_>>())?;
        }
        let speed = (steps * count) as f64 / start.elapsed().as_secs_f64();
        println!("{count} sequences together: {speed:.1} tokens/s");
    }
    Ok(())
}

fn most_likely(logits: &[f32], hash: &mut blake3::Hasher) -> u32 {
    let bytes: Vec<u8> = logits.iter().flat_map(|x| x.to_le_bytes()).collect();
    hash.update(&bytes);
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)));
    best.unwrap_or_default() as u32
}
