//! The core as its shell drives it: over a real store, with peers that obey the protocol or do not.

mod answers;
mod engines;
mod failures;
mod following;
mod hostile;
mod lost;
mod memory;
mod over;
mod peer;
mod quotas;
mod reduces;
mod requests;
mod sanity;
mod simulation;
mod verdicts;
mod world;
