//! The core of the sender on a chain that misbehaves.

mod cases;
mod network;
mod properties;
