//! Stakes: what providers would lose on the ledger by a wrong result, and what they could gain by one.
//!
//! Where a contract slashes providers, their results are checked so often that cheating loses money. What the ledger shows
//! comes from the teller; what is at risk is kept here, lease by lease.

use std::collections::BTreeMap;

use tidemill_net::wire::StakeReport;
use tidemill_types::{Address, Amount, JobId};
use tidemill_verify::Stake;

use super::{Core, Held, jobs::Job};

/// What the ledger shows that was not seen before: what operators would lose by one fault. Nothing where no contract of it
/// may slash a provider.
pub type SeenStakes = Option<BTreeMap<Address, Amount>>;

/// What answers for operators' results.
#[derive(Debug, Default)]
pub(super) struct Stakes {
    /// What each would lose by one fault; of whom it says nothing, nothing. None where no contract of the ledger may slash.
    seen: Option<BTreeMap<Address, Amount>>,
    /// What each could gain with the leases that it has.
    at_risk: BTreeMap<Address, AtRisk>,
}

/// What an operator could gain with the leases that it has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct AtRisk {
    /// The most that they are paid, together.
    price: Amount,
    /// How many it has of each job. What a wrong result of a job is worth outside is its requester's word, and counts for
    /// results of that job alone: it could otherwise have others' results checked as often as it likes.
    leases: BTreeMap<JobId, u32>,
}

impl AtRisk {
    fn add(&mut self, held: &Held) {
        let Some(bill) = &held.bill else { return };
        self.price = self.price.saturating_add(bill.reserve);
        *self.leases.entry(held.task.job).or_default() += 1;
    }

    fn remove(&mut self, held: &Held) {
        let Some(bill) = &held.bill else { return };
        self.price = self.price.saturating_sub(bill.reserve);
        if let Some(leases) = self.leases.get_mut(&held.task.job) {
            *leases = leases.saturating_sub(1);
            if *leases == 0 {
                self.leases.remove(&held.task.job);
            }
        }
    }
}

impl Stakes {
    /// What these leases put at risk, worked out anew.
    #[cfg(test)]
    pub(super) fn of_leases<'a>(leases: impl Iterator<Item = &'a Held>) -> BTreeMap<Address, AtRisk> {
        let mut stakes = Self::default();
        leases.for_each(|held| stakes.leased(held));
        stakes.at_risk
    }

    #[cfg(test)]
    pub(super) fn at_risk(&self) -> &BTreeMap<Address, AtRisk> {
        &self.at_risk
    }

    /// The ledger was looked at.
    pub(super) fn seen(&mut self, seen: SeenStakes) {
        if seen.is_some() != self.seen.is_some() {
            match seen {
                Some(_) => tracing::info!("the ledger slashes providers: what they have at stake counts"),
                None => {
                    tracing::warn!("no contract of the ledger slashes providers any more: stake says nothing")
                }
            }
        }
        let Some(changed) = seen else { return self.seen = None };
        let stakes = self.seen.get_or_insert_default();
        stakes.extend(changed);
        stakes.retain(|_, stake| !stake.is_zero());
    }

    /// A lease is given.
    pub(super) fn leased(&mut self, held: &Held) {
        if held.bill.is_some() {
            self.at_risk.entry(held.operator).or_default().add(held);
        }
    }

    /// A lease has ended.
    pub(super) fn ended(&mut self, held: &Held) {
        if let Some(at_risk) = self.at_risk.get_mut(&held.operator) {
            at_risk.remove(held);
            if *at_risk == AtRisk::default() {
                self.at_risk.remove(&held.operator);
            }
        }
    }
}

impl Core {
    /// What stands behind the next result that an operator gives of a job, for this price at most; nothing where stake says
    /// nothing: in a network that is free, and on a ledger where no contract slashes providers.
    pub(super) fn stake(&self, job: JobId, of: &Job, operator: Address, price: Amount) -> Option<Stake> {
        let now = self.stake_now(operator)?;
        let leases = self.stakes.at_risk.get(&operator).and_then(|at_risk| at_risk.leases.get(&job));
        let results = u128::from(leases.copied().unwrap_or(0)) + 1;
        let outside = Amount::from_wei(of.spec.outside_gain().wei().saturating_mul(results));
        Some(Stake { at_risk: now.at_risk.saturating_add(price).saturating_add(outside), ..now })
    }

    /// What an operator would lose by one fault; nothing where no contract slashes.
    fn slashable(&self, operator: Address) -> Option<Amount> {
        let seen = self.stakes.seen.as_ref()?;
        Some(seen.get(&operator).copied().unwrap_or(Amount::ZERO))
    }

    /// What stands behind what an operator has in hand now, whatever it is worth outside.
    pub(super) fn stake_now(&self, operator: Address) -> Option<Stake> {
        let slash_odds = self.money.as_ref()?.config.slash_odds.get();
        let slashable = self.slashable(operator)?;
        let at_risk = self.stakes.at_risk.get(&operator).map_or(Amount::ZERO, |at_risk| at_risk.price);
        Some(Stake { slashable, at_risk, slash_odds })
    }

    /// What requesters are told of an operator's stake.
    pub(super) fn stake_report(&self, operator: Address) -> Option<StakeReport> {
        let stake = self.stake_now(operator)?;
        let Stake { slashable, at_risk, .. } = stake;
        let model = self.reputations.model();
        let deterred = stake.most_at_risk(model.least_rate * (1.0 - model.colluding));
        Some(StakeReport { slashable, at_risk, deterred })
    }

    /// How likely who is found to be wrong is slashed, in parts per million; none where no contract slashes.
    pub(super) fn slash_odds_ppm(&self) -> Option<u32> {
        let config = &self.money.as_ref()?.config;
        self.stakes.seen.as_ref()?;
        Some((config.slash_odds.get() * 1e6).round() as u32)
    }

    /// How many of these operators have something at stake, and the least that one of them has.
    pub(super) fn staked(&self, operators: impl Iterator<Item = Address>) -> (u32, Amount) {
        let stakes = operators.filter_map(|operator| self.slashable(operator));
        let stakes: Vec<Amount> = stakes.filter(|stake| !stake.is_zero()).collect();
        let least = stakes.iter().min().copied().unwrap_or(Amount::ZERO);
        (u32::try_from(stakes.len()).unwrap_or(u32::MAX), least)
    }
}
