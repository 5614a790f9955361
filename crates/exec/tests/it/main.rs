//! The sandbox from outside: small hand-written modules, each of which tries one thing.

mod determinism;
mod files;
mod fuzz;
mod limits;
mod process;
mod support;
