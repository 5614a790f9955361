//! A model in memory.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use tidemill_infer::{
    Batch, Bounds, ChatTemplate, Encoder, Engine, FileError, Gguf, InstructionSet, Model, Sequence, Source,
    Tokenizer, VERSION,
    api::{Kind, Served},
};
use tidemill_types::{BlobId, Failure, causes};

/// The name of the architecture that makes vectors.
const ENCODER: &str = "bert";

/// Tokens that are read in a step at most and at least, and bytes of weights times tokens that make a step of a length that
/// lets others join soon.
const MOST_TOKENS: u64 = 512;
const LEAST_TOKENS: u64 = 16;
const STEP: u64 = 256 << 30;

/// A model's file, as it was handed over: a range of a file.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// A file whose header was read.
pub(super) struct Read {
    handed: Handed,
    gguf: Gguf,
}

/// A model that answers.
pub(super) struct Loaded {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) what: What,
    fingerprint: String,
    /// Bytes of its weights.
    pub(super) bytes: u64,
}

/// What it does.
pub(super) enum What {
    /// It continues texts, those of all tasks in one batch.
    Decoder { model: Arc<Model>, template: Option<ChatTemplate>, batch: Box<Batch<'static>>, page_bytes: u64 },
    /// It makes vectors.
    Encoder(Box<Encoder>),
}

impl Read {
    /// Reads the header of a file.
    pub(super) fn new(handed: Handed) -> Result<Self, Failure> {
        let gguf = Gguf::read(&Ranged { handed: &handed, goes_on: &|| {} }).map_err(failure)?;
        Ok(Self { handed, gguf })
    }

    /// Bytes that the weights take.
    pub(super) fn bytes(&self) -> u64 {
        Model::memory_of(&self.gguf)
    }

    /// Reads all of it. `goes_on` is called again and again meanwhile.
    pub(super) fn load(
        &self,
        id: BlobId,
        isa: InstructionSet,
        goes_on: &dyn Fn(),
    ) -> Result<Loaded, Failure> {
        let (source, gguf, bytes) = (Ranged { handed: &self.handed, goes_on }, &self.gguf, self.bytes());
        let metadata = gguf.metadata();
        let tokenizer = Arc::new(Tokenizer::read(metadata).map_err(failure)?);
        let what = if metadata.text("general.architecture").map_err(failure)? == Some(ENCODER) {
            What::Encoder(Box::new(Encoder::load(&source, gguf).map_err(failure)?))
        } else {
            let model = Arc::new(Model::load(&source, gguf).map_err(failure)?);
            let template = match metadata.text("tokenizer.chat_template").map_err(failure)? {
                Some(text) => Some(ChatTemplate::new(text).map_err(|error| {
                    let reason = format!("metadata key \"tokenizer.chat_template\": {}", causes(&error));
                    Failure::Model { reason }
                })?),
                None => None,
            };
            let page_bytes = Sequence::page_bytes(model.config()) as u64;
            let tokens_per_step = (STEP / bytes.max(1)).clamp(LEAST_TOKENS, MOST_TOKENS);
            let tokens_per_step = usize::try_from(tokens_per_step).unwrap_or(1);
            // Its steps are made on the engine that all share; this one has no threads.
            let idle = Engine::new(isa, 1);
            let bounds = Bounds { tokens_per_step, pages: 0 };
            let batch = Box::new(Batch::shared(model.clone(), tokenizer.clone(), idle, bounds));
            What::Decoder { model, template, batch, page_bytes }
        };
        let fingerprint = format!("tidemill-{VERSION}-{id}");
        Ok(Loaded { tokenizer, what, fingerprint, bytes })
    }
}

impl Loaded {
    /// As requests see it that call it by these names, and its batch where it has one.
    pub(super) fn served<'a>(
        &'a mut self,
        names: &'a [String],
    ) -> (Served<'a>, Option<&'a mut Batch<'static>>) {
        let (kind, batch) = match &mut self.what {
            What::Decoder { model, template, batch, .. } => {
                (Kind::Decoder(model, template.as_ref()), Some(&mut **batch))
            }
            What::Encoder(encoder) => (Kind::Encoder(encoder), None),
        };
        (Served { names, fingerprint: &self.fingerprint, tokenizer: &self.tokenizer, kind }, batch)
    }

    /// Bytes of a page of texts; none where it keeps no texts.
    pub(super) fn page_bytes(&self) -> Option<u64> {
        match &self.what {
            What::Decoder { page_bytes, .. } => Some((*page_bytes).max(1)),
            What::Encoder(_) => None,
        }
    }

    /// Bytes of pages that requests hold.
    pub(super) fn held(&self) -> u64 {
        match &self.what {
            What::Decoder { batch, page_bytes, .. } => batch.held_pages() as u64 * page_bytes,
            What::Encoder(_) => 0,
        }
    }
}

/// What is wrong with a file: with its bytes, which are the same everywhere, or with this machine's reading of it.
fn failure(error: FileError) -> Failure {
    match error {
        FileError::Read { .. } => Failure::Host { reason: causes(&error) },
        error => Failure::Model { reason: causes(&error) },
    }
}

/// The bytes of a model within its file.
struct Ranged<'a> {
    handed: &'a Handed,
    goes_on: &'a dyn Fn(),
}

impl Source for Ranged<'_> {
    fn len(&self) -> u64 {
        self.handed.len
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(into.len() as u64).filter(|end| *end <= self.handed.len);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        (self.goes_on)();
        self.handed.file.read_exact_at(into, self.handed.offset.saturating_add(at))
    }
}
