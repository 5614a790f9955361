//! The binary from outside: each test in a directory of its own, with the programs that it needs.

// The helpers are tests too, though the lint does not see that.
#![allow(clippy::unwrap_used)]

mod api;
mod bench;
mod coordinators;
mod doctor;
mod examples;
mod exec;
mod faults;
mod following;
mod heavy;
mod hostile;
mod ledger;
mod liars;
mod models;
mod network;
mod node;
mod nodes;
mod parrot;
mod pay;
mod processes;
mod puppet;
mod robust;
mod run;
mod support;
mod typed;
mod web;
mod workers;
