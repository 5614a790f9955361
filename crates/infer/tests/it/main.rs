//! The crate from outside: the same bits however a model is run, and models that are wrong.

#![allow(clippy::unwrap_used)]

mod batch;
mod encoder;
mod golden;
mod hostile;
mod minilm;
mod safetensors;
mod smollm2;
