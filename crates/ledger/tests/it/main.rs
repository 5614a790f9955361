//! The client against programs that we did not write: Foundry's anvil and cast.

mod chain;
mod contracts;
mod fake;
mod foundry;
mod keystore;
mod liquid;
mod sender;
