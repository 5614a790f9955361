//! Language models on the CPU, with the same bits on every machine.
//!
//! A model's answer here is a result like any other: it does not depend on the instruction set, the number of threads,
//! which other sequences are computed beside it, or whether a text is read at once or token by token. What makes it so:
//! weights are laid out so that the lanes of a vector are rows (`packing`), so that each output is one chain of
//! operations whatever a vector's width; sums over lanes are fixed trees; what libraries round differently is a
//! polynomial of our own (`math`).
//!
//! From a file to an answer: [`Gguf`] reads the header, [`Model`] and [`Tokenizer`] what is in it, [`ChatTemplate`] makes
//! a prompt of messages, a [`Batch`] reads prompts and draws tokens ([`Sampling`]) of many requests at once on an
//! [`Engine`], [`TextStream`] makes text of them, and [`check`] tells from one forward whether an answer is right.
//!
//! The crate knows no network, no clock and no disk but a [`Source`] that it reads. Unsafe code is only in the kernels
//! and in the team of threads.

mod activations;
pub mod api;
mod batch;
mod chain;
mod config;
mod convert;
mod encoder;
mod file;
mod format;
mod forward;
pub mod gguf;
pub mod grammar;
mod json;
mod kernels;
mod kv;
mod math;
mod model;
mod packing;
mod rope;
pub mod safetensors;
mod sample;
mod source;
mod team;
mod template;
mod tensors;
mod text;
pub mod tiny;
mod tokens;

pub use batch::{Batch, Bounds, Event, JoinError, RequestId, Usage};
pub use chain::{Chain, CheckError, Claim, Finding, Finish, Request, check};
pub use config::{Config, Pairs, Window};
pub use convert::encoder_to_gguf;
pub use encoder::{Encoder, EncoderConfig, Pooling};
pub use file::{FileError, TensorInfo};
pub use format::Format;
pub use forward::{EncodeError, Engine, Feed, ForwardError, NotFinite, Output, VERSION, Vectors};
pub use gguf::Gguf;
pub use grammar::Shape;
pub use kernels::{Activation, Gate, InstructionSet};
pub use kv::{PAGE, Page, Sequence};
pub use model::Model;
pub use safetensors::Safetensors;
pub use sample::{Counts, Likelihood, Sampling};
pub use source::{FileSource, Source};
pub use template::{ChatTemplate, Date, Setting, TemplateError};
pub use text::TextStream;
pub use tokens::Tokenizer;
