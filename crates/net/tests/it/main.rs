//! The network on loopback: keys, tickets, frames, sessions that open or are refused, and blobs that travel.

mod blobs;
mod crashes;
mod disk;
mod frames;
mod fuzz;
mod keys;
mod parts;
mod recalls;
mod segments;
mod sessions;
mod support;
mod tickets;
mod transfer;
