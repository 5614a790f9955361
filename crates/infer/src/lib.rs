//! Language models on the CPU, with the same bits on every machine.
//!
//! A model's answer here is a result like any other: it does not depend on the instruction set, the number of threads,
//! which other sequences are computed beside it, or whether a text is read at once or token by token. What
//! makes it so: weights are laid out so that the lanes of a vector are rows ([`packing`]), so that each output is one
//! chain of operations whatever a vector's width; sums over lanes are fixed trees; what libraries round differently is a
//! polynomial of our own ([`math`]).
//!
//! The crate knows no network, no clock and no disk but a [`Source`] that it reads. Unsafe code is only in the kernels
//! and in the [`team`] of threads.

mod activations;
mod config;
mod format;
mod forward;
pub mod gguf;
mod kernels;
mod kv;
mod math;
mod model;
mod packing;
mod rope;
mod source;
mod team;
pub mod tiny;
mod tokens;

pub use config::{Config, Pairs, Window};
pub use format::Format;
pub use forward::{Engine, Feed, ForwardError, NotFinite, Output};
pub use gguf::{Gguf, GgufError};
pub use kernels::{Gate, InstructionSet};
pub use kv::{PAGE, Page, Sequence};
pub use model::Model;
pub use source::{FileSource, Source};
