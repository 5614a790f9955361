//! The network in one process, on the very code that places and judges in production.
//!
//! [`trust`] measures what verification holds against those who lie.

mod dice;
pub mod stats;
pub mod trust;
