//! The job file as a user meets it: right ones, wrong ones, and what they expand to.

mod document;
mod expand;
mod fuzz;
mod mistakes;
mod parse;
mod spec;
