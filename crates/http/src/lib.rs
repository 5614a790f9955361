//! A coordinator over HTTP: models by OpenAI's API, behind keys and limits.
//!
//! The server stands beside a coordinator in one process. Each request that needs the coordinator opens a local session of
//! it ([`tidemill_coordinator::LocalSessions`]), so HTTP is no second path to its core. What a request has to pass on its
//! way is in `guard`: who asks ([`Keys`]), how much they may ask ([`Limit`]), and what browsers of other pages may do.
//!
//! [`router`] is where further routes are merged in: behind the guard every request has a [`Guest`] among its extensions.

mod body;
mod error;
mod guard;
mod keys;
mod limits;
mod metrics;
mod models;
mod openai;
mod receipts;
mod router;
mod server;
mod stall;
#[cfg(test)]
mod tests;

pub use body::read_body;
pub use error::HttpError;
pub use guard::Guest;
pub use keys::{Key, KeyError, KeyId, Keys, NewKey, Scope};
pub use limits::Limit;
pub use metrics::Metrics;
pub use models::{Model, ModelError, ModelKind, Models};
pub use router::{App, Bounds, Config, router};
pub use server::{ServeError, Server};
