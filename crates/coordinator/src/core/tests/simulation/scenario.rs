//! What a life begins with: jobs, and what is known of providers.

use std::sync::Arc;

use tidemill_job::JobSpec;
use tidemill_store::{Change, ReputationKey};
use tidemill_types::{Amount, EscrowId, JobId, Limits, ProgramKind, RateCard};
use tidemill_verify::{Model, Record};

use super::{
    TROUBLE_MS,
    provider::{self, Provider},
    rng::Rng,
};
use crate::core::{
    CoreConfig,
    tests::{
        peer::NOISY,
        world::{among_strangers, job_id, job_spec},
    },
};

/// What a job is to come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Done,
    /// One of its tasks fails everywhere.
    Fails,
    Cancelled,
}

pub struct Submitted {
    pub id: JobId,
    pub spec: Arc<JobSpec>,
    pub fate: Fate,
    pub from_ms: u64,
    /// What pays for it; some share one.
    pub escrow: EscrowId,
    pub max_price: Option<Amount>,
    /// Whether so little is asked for that a wrong result may pass.
    pub is_loose: bool,
}

/// What jobs ask for among strangers: the first two may let a lie pass.
pub const ASSURANCES: [&str; 6] =
    ["assurance = 2", "assurance = 8", "assurance = \"trusted\"", "assurance = 1000", "replicate = 5", ""];

/// A coordinator that trusts the second provider's operator alone.
pub fn among_strangers_with(pays: bool, providers: &[Provider]) -> CoreConfig {
    let model = Model { least_rate: 0.3, known_share: 0.9, ..Model::default() };
    CoreConfig { model, ..among_strangers(pays, &[providers[1].peer.operator()]) }
}

/// Everybody has been right for a while.
pub fn credible(providers: &[Provider]) -> Vec<Change> {
    let mut record = Record::default();
    record.note_accepted(60, 0, 512);
    record.note_paid(Amount::tide(1_000), 0, 512);
    let record = postcard::to_stdvec(&record).expect("plain data always has a postcard encoding");
    let key = |operator| ReputationKey { operator, kind: ProgramKind::Wasm, hardware_class: None };
    let of = |provider: &Provider| Change::Reputation {
        key: key(provider.peer.operator()),
        record: record.clone(),
    };
    providers.iter().map(of).collect()
}

pub fn job(number: u8, assurances: &[&str], colludes: bool, rng: &mut Rng) -> Submitted {
    let tasks = 1 + rng.below(40);
    let fate = match rng.below(8) {
        0 => Fate::Fails,
        1 => Fate::Cancelled,
        _ => Fate::Done,
    };
    let arg = if fate == Fate::Fails { provider::POISON } else { "fine" };
    // No job fails by circumstances alone.
    let is_noisy = assurances.len() > 1 && rng.one_in(6);
    let last = if is_noisy { NOISY.to_owned() } else { number.to_string() };
    let mut program = format!("args = [\"{{index}}\", \"{arg}\", \"{last}\"]\n");
    if rng.one_in(2) {
        let fan_in = [2, 3, 5, 40][rng.below(4) as usize];
        program += &format!("[reduce]\nfan_in = {fan_in}\n");
    }
    if rng.one_in(4) {
        program += "[resources]\nparallel = 3\n";
    }
    let assurance = rng.below(assurances.len() as u64) as usize;
    if !assurances[assurance].is_empty() || is_noisy {
        let compare = if is_noisy { "compare = { numbers = \"u8\", absolute = 2 }" } else { "" };
        program += &format!("[policy]\n{}\n{compare}\n", assurances[assurance]);
    }
    let spec = job_spec(&format!("retries = 100\ntasks.range = {{ from = 0, to = {tasks} }}"), &program);
    let is_loose = assurances.len() > 1 && (colludes || assurance < 2);
    let escrow = EscrowId([if rng.one_in(3) { 1 } else { number }; 32]);
    let max_price = rng.one_in(3).then(|| RateCard::default().most(ProgramKind::Wasm, &Limits::default(), 0));
    // Enough for every task, one after the other: what a task really costs is a millionth of what it may.
    let max_price = max_price.and_then(|price| price.checked_mul(2));
    Submitted {
        id: job_id(number),
        spec,
        fate,
        from_ms: 1 + rng.below(TROUBLE_MS / 2),
        escrow,
        max_price,
        is_loose,
    }
}
