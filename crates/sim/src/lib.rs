//! The network in one process, on the very code that places and judges in production.
//!
//! [`trust`] measures what verification holds against those who lie, [`stake`] what holders of the liquid token live through.

mod dice;
pub mod stake;
pub mod stats;
pub mod trust;
