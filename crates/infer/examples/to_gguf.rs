//! Writes an encoder that is published as safetensors as one GGUF file:
//! `cargo run --release -p tidemill-infer --example to_gguf -- DIRECTORY NAME OUTPUT.gguf`, where the directory has
//! `model.safetensors`, `config.json`, `tokenizer.json` and perhaps `1_Pooling/config.json`.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use tidemill_infer::{FileSource, Safetensors, encoder_to_gguf};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, name, output] = &arguments[..] else {
        return Err("usage: to_gguf DIRECTORY NAME OUTPUT.gguf".into());
    };
    let file = |name: &str| Path::new(directory).join(name);
    let source = FileSource::new(File::open(file("model.safetensors"))?)?;
    let (config, tokenizer) =
        (fs::read_to_string(file("config.json"))?, fs::read_to_string(file("tokenizer.json"))?);
    let pooling = file("1_Pooling/config.json");
    let pooling = if pooling.exists() { Some(fs::read_to_string(pooling)?) } else { None };
    let texts = (config.as_str(), pooling.as_deref(), tokenizer.as_str());
    let gguf = encoder_to_gguf(name, &Safetensors::read(&[&source])?, texts)?;
    fs::write(output, &gguf)?;
    println!("{output}: {} bytes, {}", gguf.len(), blake3::hash(&gguf).to_hex());
    Ok(())
}
