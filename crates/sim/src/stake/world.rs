//! Days of a network: providers earn, people come and go, faults are slashed, and the keeper does its round.

use serde::Serialize;

use super::{
    math::{TIDE, Wei, mul_div_down, part_down},
    pool::{Holder, Provider},
    vault::{Params, Refused, SHARE, Vault},
};
use crate::dice::Dice;

pub(super) const DAY_S: u64 = 86_400;

/// Somebody who holds shares, or is on the way out.
#[derive(Clone, Debug)]
pub(super) struct Party {
    pub(super) name: String,
    pub(super) shares: u128,
    pub(super) put_in: Wei,
    pub(super) got: Wei,
    /// Requests that are not claimed.
    pub(super) waiting: Vec<u64>,
    /// The part of it that was paid for instant exits.
    pub(super) fees: Wei,
}

/// How somebody fared.
#[derive(Clone, Debug, Serialize)]
pub struct Fared {
    /// Who.
    pub who: String,
    /// TIDE that was put in.
    pub put_in: f64,
    /// TIDE that was taken out.
    pub got: f64,
    /// TIDE that the rest is worth at the end.
    pub has: f64,
    /// What was gained or lost, in parts of what was put in.
    pub gain: f64,
    /// TIDE that was paid for leaving at once.
    pub exit_fees: f64,
}

/// What was there on one day.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Day {
    /// Which day.
    pub day: u32,
    /// What a share is worth, as a multiple of the first rate.
    pub rate: f64,
    /// What shares stand for, in TIDE.
    pub total: f64,
    /// What is in the buffer, in parts of the total.
    pub buffer: f64,
    /// What waits to be finalised, in parts of the total.
    pub queued: f64,
}

/// The world of one run.
#[derive(Clone)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) vault: Vault,
    pub(super) providers: Vec<Provider>,
    pub(super) parties: Vec<Party>,
    pub(super) dice: Dice,
    pub(super) days: Vec<Day>,
    /// Longest from a request to what it was paid by, in days, and the number of claims.
    pub(super) longest_wait_days: f64,
    pub(super) claims: u64,
    /// What should never happen, and did.
    pub(super) broken: Vec<String>,
    asked_at: std::collections::BTreeMap<u64, u64>,
    /// What the network pays all providers in a year, in millionths of all stake.
    yield_ppm: u128,
}

impl World {
    /// `bonds`: each provider's own stake, and its weight.
    pub(super) fn new(params: Params, bonds: &[(Wei, u128)], yield_ppm: u128, seed: u64) -> Self {
        let providers: Vec<_> = bonds.iter().map(|(bond, _)| Provider::new(*bond, 100_000, 0)).collect();
        let weights: Vec<u128> = bonds.iter().map(|(_, weight)| *weight).collect();
        let mut world = Self {
            now: 0,
            vault: Vault::new(params, &weights, TIDE),
            providers,
            parties: Vec::new(),
            dice: Dice::new(seed),
            days: Vec::new(),
            longest_wait_days: 0.0,
            claims: 0,
            broken: Vec::new(),
            asked_at: Default::default(),
            yield_ppm,
        };
        world.vault.tend(&mut world.providers, 0);
        world
    }

    pub(super) fn party(&mut self, name: &str) -> usize {
        self.parties.push(Party {
            name: name.to_owned(),
            shares: 0,
            put_in: 0,
            got: 0,
            waiting: Vec::new(),
            fees: 0,
        });
        self.parties.len() - 1
    }

    /// Puts in as much of it as there is room for.
    pub(super) fn deposit(&mut self, who: usize, amount: Wei) {
        let amount = amount.min(self.vault.room());
        if amount == 0 {
            return;
        }
        let shares = self.vault.deposit(amount, &self.providers, self.now);
        self.parties[who].shares += shares;
        self.parties[who].put_in += amount;
    }

    /// Asks for the queue with a part of what somebody has, in millionths.
    pub(super) fn request(&mut self, who: usize, ppm: u128) {
        let shares = part_down(self.parties[who].shares, ppm);
        if self.vault.assets_down(shares) == 0 {
            return;
        }
        let id = self.vault.request(shares, &self.providers, self.now);
        self.parties[who].shares -= shares;
        self.parties[who].waiting.push(id);
        self.asked_at.insert(id, self.now);
    }

    /// Leaves at once with up to `net`: as much as the buffer and the shares give.
    pub(super) fn leave_at_once(&mut self, who: usize, net: Wei) -> Result<Wei, Refused> {
        let mut net = net.min(self.vault.instantly());
        // What the fee leaves of what the shares are worth.
        let worth = self.vault.assets_down(self.parties[who].shares);
        while net > 0 && net + self.vault.exit_fee(net) > worth {
            net = mul_div_down(net, 999, 1_000).min(worth);
        }
        if net == 0 {
            return Err(Refused::BufferShort);
        }
        let (shares, fee) = self.vault.withdraw(net, &self.providers, self.now)?;
        let party = &mut self.parties[who];
        match party.shares.checked_sub(shares) {
            Some(left) => party.shares = left,
            None => self.broken.push(format!("{} left with more shares than it had", party.name)),
        }
        self.parties[who].got += net;
        self.parties[who].fees += fee;
        Ok(net)
    }

    /// Takes parts of a provider's stake, in millionths.
    pub(super) fn slash(&mut self, provider: usize, own_ppm: u128, delegated_ppm: u128) -> Wei {
        let (own, delegated) = self.providers[provider].slash(own_ppm, delegated_ppm, self.now);
        own + delegated
    }

    /// One day: pay for work in four parts, then the keeper's round, claims and the books.
    pub(super) fn day(&mut self) {
        for _ in 0..4 {
            self.now += DAY_S / 4;
            for provider in &mut self.providers {
                let stake = provider.bond + provider.delegated();
                // Work is not the same every day.
                let share = 500_000 + u128::from(self.dice.roll() % 1_000_001);
                let year = part_down(part_down(stake, self.yield_ppm), share);
                provider.credit(year / (4 * 365), self.now);
            }
        }
        self.vault.tend(&mut self.providers, self.now);
        self.claim();
        if let Err(found) = self.vault.check() {
            self.broken.push(format!("day {}: {found}", self.now / DAY_S));
        }
        let total = self.vault.assets.max(1) as f64;
        self.days.push(Day {
            day: u32::try_from(self.now / DAY_S).unwrap_or(u32::MAX),
            rate: self.vault.rate() as f64 / SHARE as f64,
            total: self.vault.assets as f64 / TIDE as f64,
            buffer: self.vault.buffer as f64 / total,
            queued: self.vault.queued() as f64 / total,
        });
    }

    fn claim(&mut self) {
        for party in &mut self.parties {
            let waiting = std::mem::take(&mut party.waiting);
            for id in waiting {
                let Some(claim) = self.vault.claim(id) else {
                    party.waiting.push(id);
                    continue;
                };
                party.got += claim.assets;
                self.claims += 1;
                let asked = self.asked_at.remove(&id).unwrap_or(self.now);
                self.longest_wait_days = self.longest_wait_days.max((self.now - asked) as f64 / DAY_S as f64);
                if self.now > claim.latest {
                    self.broken.push(format!(
                        "{} was promised its exit for day {} and had it on day {}",
                        party.name,
                        claim.latest / DAY_S,
                        self.now / DAY_S
                    ));
                }
            }
        }
    }

    /// How everybody fared.
    pub(super) fn fared(&self) -> Vec<Fared> {
        let tide = |wei: Wei| wei as f64 / TIDE as f64;
        let of = |party: &Party| {
            let has = self.vault.assets_down(party.shares);
            let gain = (tide(party.got) + tide(has) - tide(party.put_in)) / tide(party.put_in).max(1e-18);
            Fared {
                who: party.name.clone(),
                put_in: tide(party.put_in),
                got: tide(party.got),
                has: tide(has),
                gain,
                exit_fees: tide(party.fees),
            }
        };
        let mut fared: Vec<_> = self.parties.iter().filter(|party| party.put_in > 0).map(of).collect();
        let fee = self.vault.assets_down(self.vault.fee_shares);
        fared.push(Fared {
            who: "protocol (performance fee)".to_owned(),
            put_in: 0.0,
            got: 0.0,
            has: tide(fee),
            gain: 0.0,
            exit_fees: 0.0,
        });
        fared
    }

    /// Bonds of one weight, the largest first: each is a twelfth smaller than the one before.
    pub(super) fn bonds(count: u32, largest: Wei) -> Vec<(Wei, u128)> {
        let smaller = |bond: &Wei| Some(mul_div_down(*bond, 11, 12));
        std::iter::successors(Some(largest), smaller).map(|bond| (bond, 1)).take(count as usize).collect()
    }

    /// What others than the liquid token delegate to each provider.
    pub(super) fn others_delegate(&mut self, to_bond_ppm: u128) {
        for provider in &mut self.providers {
            let amount = part_down(provider.bond, to_bond_ppm);
            provider.enter(Holder::Others, amount, self.now);
        }
    }
}
