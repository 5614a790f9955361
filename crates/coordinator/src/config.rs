//! What a coordinator is started with.

use std::{path::PathBuf, sync::Arc};

use tidemill_exec::Executor;
use tidemill_net::{addresses::Advertised, endpoint::Bind, ticket::Pass};
use tidemill_sched::Policy;
use tidemill_types::{Address, ByteSize, Millis};

use crate::{
    core::{Keep, Trust},
    teller::MoneyConfig,
};

/// How a coordinator is set up.
pub struct Config {
    /// Where its state and its blobs are.
    pub directory: PathBuf,
    /// The secret of its node key.
    pub node_key: [u8; 32],
    /// The secret of its result key.
    pub result_key: [u8; 32],
    /// Whoever shows the result key of this address may look at the jobs of all requesters.
    pub operator: Address,
    /// What its tickets admit with.
    pub pass: Pass,
    /// Where it listens.
    pub bind: Bind,
    /// Where else others reach it, as behind a translation of addresses: these come first in its ticket.
    pub advertise: Vec<Advertised>,
    /// Room for blobs.
    pub disk: ByteSize,
    /// How it behaves in time.
    pub pace: Pace,
    /// What it keeps of jobs.
    pub keep: Keep,
    /// Whose results need no check.
    pub trust: Trust,
    /// How it pays; nothing for a network that is free.
    pub money: Option<MoneyConfig>,
    /// Runs the programs with which jobs compare outputs; without one such jobs are refused.
    pub executor: Option<Arc<dyn Executor>>,
}

/// How long things take. What a person may set is in `tidemill serve --help`; the rest is for tests.
#[derive(Clone, Debug)]
pub struct Pace {
    /// A provider that was not heard of for so long loses its leases.
    pub lease: Millis,
    /// How often each side of a session says that it is there.
    pub heartbeat: Millis,
    /// How long a task that failed waits for another operator to come before the only one there is believed.
    pub second_opinion: Millis,
    /// How long a task of which something was said waits for somebody else who could say more, where nobody such is
    /// connected.
    pub undecided: Millis,
    /// How long evidence is kept that a result contradicts the accepted one, whatever becomes of its job.
    pub keep_evidence: Millis,
    /// How long a peer that broke the rules is kept out.
    pub ban: Millis,
    /// How placement behaves.
    pub policy: Policy,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lease: Millis(15_000),
            heartbeat: Millis(3_000),
            second_opinion: Millis(2_000),
            undecided: Millis(30_000),
            keep_evidence: Millis(30 * 86_400_000),
            ban: Millis(60_000),
            policy: Policy::default(),
        }
    }
}
