//! What is known of whose results.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_net::wire::MAX_RECORDS;
use tidemill_store::{Change, ReputationKey};
use tidemill_types::{Address, Amount};
use tidemill_verify::{Evidence, Model, Record};

use super::Core;
use crate::event::Now;

/// The unit in which what is known gets old: six hours.
const EPOCH_MS: u64 = 6 * 60 * 60 * 1000;

/// What is known of everybody's results.
pub(super) struct Reputations {
    model: Model,
    known: BTreeMap<ReputationKey, Record>,
    /// Whose records have changed since they were handed to the store.
    touched: BTreeSet<ReputationKey>,
}

impl Reputations {
    pub(super) fn new(model: Model, stored: &[(ReputationKey, Vec<u8>)]) -> Self {
        let read = |(key, record): &(ReputationKey, Vec<u8>)| match postcard::from_bytes(record) {
            Ok(record) => Some((key.clone(), record)),
            Err(error) => {
                tracing::error!(operator = %key.operator, %error, "a reputation cannot be read: it starts over");
                None
            }
        };
        Self { model, known: stored.iter().filter_map(read).collect(), touched: BTreeSet::new() }
    }

    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    /// The record of somebody's results, as it counts now. Of a stranger it is empty.
    pub(super) fn record(&self, key: &ReputationKey, now: Now) -> Record {
        let mut record = self.known.get(key).copied().unwrap_or_default();
        record.age(epoch(now), self.model.half_life);
        record
    }

    /// All that is known of an operator.
    pub(super) fn of(&self, operator: Address, now: Now) -> Vec<(&ReputationKey, Record)> {
        let first = ReputationKey { operator, kind: tidemill_types::ProgramKind::Wasm, hardware_class: None };
        let of_it = self.known.range(&first..).take_while(|(key, _)| key.operator == operator);
        of_it.map(|(key, _)| (key, self.record(key, now))).collect()
    }

    /// Takes in what became of a result, and what it was paid if it was right.
    pub(super) fn note(&mut self, key: &ReputationKey, evidence: Evidence, paid: Amount, now: Now) {
        // Trouble alone is no reason to remember somebody.
        if evidence == Evidence::Failed && !self.known.contains_key(key) {
            return;
        }
        let half_life = self.model.half_life;
        self.change(key, now, |record| {
            record.note(evidence, epoch(now), half_life);
            record.note_paid(paid, epoch(now), half_life);
        });
        if evidence.is_of_a_lie() {
            self.start_over(key.operator, now);
        }
    }

    /// An operator was found to be wrong: what it has built with other kinds of programs and other hardware counts no more
    /// either. It could lie with one and keep the others for good.
    fn start_over(&mut self, operator: Address, now: Now) {
        let keys: Vec<ReputationKey> =
            self.of(operator, now).into_iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.change(&key, now, Record::start_over);
        }
    }

    /// Takes in that so many results were accepted unchecked in a job that has ended, and what they were paid.
    pub(super) fn note_accepted(&mut self, key: &ReputationKey, results: u64, paid: Amount, now: Now) {
        let half_life = self.model.half_life;
        self.change(key, now, |record| {
            record.note_accepted(results, epoch(now), half_life);
            record.note_paid(paid, epoch(now), half_life);
        });
    }

    fn change(&mut self, key: &ReputationKey, now: Now, change: impl FnOnce(&mut Record)) {
        // What an operator says of its hardware is its own word: of more classes than it may have, all are one.
        let is_new = !self.known.contains_key(key);
        let key = match is_new && self.of(key.operator, now).len() + 1 >= MAX_RECORDS {
            true => ReputationKey { hardware_class: None, ..key.clone() },
            false => key.clone(),
        };
        change(self.known.entry(key.clone()).or_default());
        self.touched.insert(key);
    }
}

impl Core {
    /// What has changed of reputations: into the step, at its end.
    pub(super) fn close_reputations(&mut self) {
        for key in std::mem::take(&mut self.reputations.touched) {
            let Some(record) = self.reputations.known.get(&key) else { continue };
            let record = postcard::to_stdvec(record).expect("plain data always has a postcard encoding");
            self.step.changes.push(Change::Reputation { key, record });
        }
    }
}

fn epoch(now: Now) -> u64 {
    now.unix_ms / EPOCH_MS
}

#[cfg(test)]
mod tests {
    use tidemill_sched::Micros;
    use tidemill_types::ProgramKind;

    use super::*;

    #[test]
    fn who_is_caught_with_one_class_of_hardware_starts_over_with_all() {
        let mut known = Reputations::new(Model::default(), &[]);
        let now = Now { mono: Micros(0), unix_ms: 0 };
        let key = |operator: u8, class: &str| ReputationKey {
            operator: Address([operator; 20]),
            kind: ProgramKind::Wasm,
            hardware_class: Some(class.to_owned()),
        };
        let (one, other, strange) = (key(1, "x86_64"), key(1, "aarch64"), key(2, "aarch64"));
        for key in [&one, &other, &strange] {
            known.note(key, Evidence::Agreed, Amount::tide(1), now);
        }
        known.touched.clear();
        known.note(&one, Evidence::Contradicted, Amount::ZERO, now);
        let runs = [&one, &other, &strange].map(|key| known.record(key, now).run());
        assert_eq!(runs, [0.0, 0.0, 1.0]);
        let lies = [&one, &other].map(|key| known.record(key, now).lies());
        assert_eq!(lies, [1, 0], "it lied once");
        assert_eq!(known.touched, BTreeSet::from([one, other]), "the store is told of both");
    }
}
