//! A provider's stake as the staking contract has it: contracts/src/libraries/SharePool.sol, ThawQueue.sol and the split of
//! pay in ProviderStaking.sol, for few holders.

use std::collections::VecDeque;

use super::math::{Wei, mul_div_down, part_down};

/// How long stake thaws, in seconds.
pub(super) const THAW_S: u64 = 28 * 86_400;
/// Over how long a reward streams to delegators, in seconds.
pub(super) const STREAM_S: u64 = 7 * 86_400;
/// How many times its own bond may be delegated to a provider.
pub(super) const DELEGATION_RATIO: u128 = 10;

const VIRTUAL_SHARES: u128 = 1_000;
const MIN_REWARDED_SHARES: u128 = 1_000_000_000_000_000_000;
const MIN_REWARDED_TOKENS: u128 = 1_000_000_000_000_000;
const MAX_SHARES_PER_TOKEN: u128 = 1_000_000_000;
const ERA_DIVISOR: u128 = 1_000_000;

/// Who holds shares of a delegation pool: a place in [`Provider::shares`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// The liquid token.
    Liquid = 0,
    /// Whoever else delegates.
    Others = 1,
}

/// Stake on its way out of a pool.
#[derive(Clone, Debug)]
struct Thaw {
    holder: Holder,
    end: u64,
    value: Wei,
}

/// One provider: its bond, and the pool of those who delegate to it.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    /// Its own active stake.
    pub(super) bond: Wei,
    /// What it keeps of its delegators' part, in parts per million.
    pub(super) commission_ppm: u128,
    /// What it has earned and can withdraw.
    pub(super) earned: Wei,
    active: Wei,
    locked: Wei,
    all: u128,
    shares: [u128; 2],
    stream_end: u64,
    updated_at: u64,
    thaws: Vec<Thaw>,
    /// Bond and delegations as they were, by time: for the split of pay.
    past: VecDeque<(u64, Wei, Wei)>,
    /// How often it lost something.
    pub(super) slashes: u32,
}

impl Provider {
    pub(super) fn new(bond: Wei, commission_ppm: u128, now: u64) -> Self {
        let mut provider = Self {
            bond,
            commission_ppm,
            earned: 0,
            active: 0,
            locked: 0,
            all: 0,
            shares: [0; 2],
            stream_end: 0,
            updated_at: now,
            thaws: Vec::new(),
            past: VecDeque::new(),
            slashes: 0,
        };
        provider.record(now);
        provider
    }

    /// How much more may be delegated to it.
    pub(super) fn room(&self) -> Wei {
        (DELEGATION_RATIO * self.bond).saturating_sub(self.active + self.locked)
    }

    /// Others' stake behind it, active and streaming.
    pub(super) fn delegated(&self) -> Wei {
        self.active + self.locked
    }

    /// What a holder's shares are worth now.
    pub(super) fn value(&self, holder: Holder) -> Wei {
        mul_div_down(self.shares[holder as usize], self.active + 1, self.all + VIRTUAL_SHARES)
    }

    /// What a holder's thaws are worth now, after every slash.
    pub(super) fn thawing(&self, holder: Holder) -> Wei {
        self.thaws.iter().filter(|thaw| thaw.holder == holder).map(|thaw| thaw.value).sum()
    }

    /// Adds tokens, for shares.
    pub(super) fn enter(&mut self, holder: Holder, amount: Wei, now: u64) {
        self.accrue(now);
        let shares = mul_div_down(amount, self.all + VIRTUAL_SHARES, self.active + 1);
        self.active += amount;
        self.all += shares;
        self.shares[holder as usize] += shares;
        self.record(now);
    }

    /// Lets tokens of at least this worth thaw, or all there are. Returns what is set aside.
    pub(super) fn leave(&mut self, holder: Holder, wanted: Wei, now: u64) -> Wei {
        self.accrue(now);
        let held = self.shares[holder as usize];
        // The fewest shares that are worth it: rounded up, as the client asks for them.
        let shares = super::math::mul_div_up(wanted, self.all + VIRTUAL_SHARES, self.active + 1).min(held);
        let amount = mul_div_down(shares, self.active + 1, self.all + VIRTUAL_SHARES);
        self.active -= amount;
        self.all -= shares;
        self.shares[holder as usize] -= shares;
        if self.all < MIN_REWARDED_SHARES {
            let few = self.all == 0 || self.active < MIN_REWARDED_TOKENS;
            let kept = if few { 0 } else { self.locked.min(self.active) };
            self.earned += self.locked - kept;
            self.locked = kept;
            if self.all == 0 {
                self.earned += std::mem::take(&mut self.active);
            }
        }
        if amount > 0 {
            self.thaws.push(Thaw { holder, end: now + THAW_S, value: amount });
        }
        self.record(now);
        amount
    }

    /// Pays out a holder's thaws that are over: what each is worth.
    pub(super) fn withdraw(&mut self, holder: Holder, now: u64) -> Vec<Wei> {
        let is_over = |thaw: &Thaw| thaw.holder == holder && thaw.end <= now;
        let over = self.thaws.iter().filter(|thaw| is_over(thaw)).map(|thaw| thaw.value).collect();
        self.thaws.retain(|thaw| !is_over(thaw));
        over
    }

    /// Pay for its work: own and delegated stake earn the same per token that had been there a stream period ago; of the
    /// delegators' part it keeps its commission.
    pub(super) fn credit(&mut self, amount: Wei, now: u64) {
        let (own_then, delegated_then) = self.then(now);
        let delegated = (self.active + self.locked).min(delegated_then);
        let own = self.bond.min(own_then);
        let mut to_delegators = 0;
        if self.all > 0 && delegated > 0 {
            let part = mul_div_down(amount, delegated, own + delegated);
            let part = part - part_down(part, self.commission_ppm);
            to_delegators = self.reward(part, delegated, now);
        }
        self.earned += amount - to_delegators;
    }

    /// Takes parts, in millionths, of its own stake and of its delegators', active, streaming and thawing alike. Returns what
    /// was taken of each.
    pub(super) fn slash(&mut self, own_ppm: u128, delegated_ppm: u128, now: u64) -> (Wei, Wei) {
        self.accrue(now);
        let own = part_down(self.bond, own_ppm);
        self.bond -= own;
        let waiting: Wei = self.thaws.iter().filter(|thaw| now < thaw.end).map(|thaw| thaw.value).sum();
        let total = self.active + self.locked + waiting;
        let amount = part_down(total, delegated_ppm);
        let mut taken = 0;
        if amount > 0 {
            let of_active = mul_div_down(amount, self.active, total);
            let of_thawing = mul_div_down(amount, waiting, total);
            let rest = amount - of_active - of_thawing;
            let of_locked = rest.min(self.locked);
            self.active -= of_active + (rest - of_locked);
            self.locked -= of_locked;
            for thaw in self.thaws.iter_mut().filter(|thaw| now < thaw.end) {
                // In favour of who is slashed least: the queue values what is left, rounded down.
                thaw.value = mul_div_down(thaw.value, waiting - of_thawing, waiting);
            }
            taken = amount;
            self.end_eras();
        }
        if own + taken > 0 {
            self.slashes += 1;
        }
        self.record(now);
        (own, taken)
    }

    fn end_eras(&mut self) {
        if self.all > 0 && self.active == 0 {
            self.all = 0;
            self.shares = [0; 2];
        }
        while self.all + VIRTUAL_SHARES > MAX_SHARES_PER_TOKEN * (self.active + 1) {
            self.all /= ERA_DIVISOR;
            self.shares = self.shares.map(|shares| shares / ERA_DIVISOR);
        }
    }

    fn reward(&mut self, amount: Wei, settled: Wei, now: u64) -> Wei {
        if settled < MIN_REWARDED_TOKENS {
            return 0;
        }
        self.accrue(now);
        let room = match self.all >= MIN_REWARDED_SHARES {
            true => Wei::MAX,
            false if self.active < MIN_REWARDED_TOKENS => 0,
            false => self.active.saturating_sub(self.locked),
        };
        let taken = amount.min(settled).min(room);
        if taken == 0 {
            return 0;
        }
        let rest = if self.locked == 0 { 0 } else { u128::from(self.stream_end - now) };
        let average = (self.locked * rest + taken * u128::from(STREAM_S)) / (self.locked + taken);
        self.locked += taken;
        self.stream_end = now + u64::try_from(average).unwrap_or(STREAM_S);
        self.updated_at = now;
        taken
    }

    /// Moves what has streamed since the last call to the active tokens.
    pub(super) fn accrue(&mut self, now: u64) {
        if self.locked == 0 {
            return;
        }
        let arrived = if now >= self.stream_end {
            self.locked
        } else {
            let (since, whole) = (now - self.updated_at, self.stream_end - self.updated_at);
            mul_div_down(self.locked, since.into(), whole.into())
        };
        if arrived > 0 {
            self.active += arrived;
            self.locked -= arrived;
            self.updated_at = now;
        }
    }

    fn record(&mut self, now: u64) {
        let there = (now, self.bond, self.active + self.locked);
        match self.past.back_mut() {
            Some(last) if last.0 == now => *last = there,
            _ => self.past.push_back(there),
        }
    }

    /// Bond and delegations a stream period ago.
    fn then(&mut self, now: u64) -> (Wei, Wei) {
        let time = now.saturating_sub(STREAM_S);
        // One that is older than the newest of those that are old enough is never looked at again.
        while self.past.len() > 1 && self.past[1].0 <= time {
            self.past.pop_front();
        }
        let untouched = self.past.back().is_none_or(|(at, ..)| *at <= time);
        match self.past.front() {
            // What was paid in since counts where nobody entered or left.
            Some(_) if untouched => (self.bond, self.active + self.locked),
            Some((at, bond, delegated)) if *at <= time => (*bond, *delegated),
            _ => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::math::{TIDE, WHOLE_PPM},
        *,
    };

    const DAY_S: u64 = 86_400;

    #[test]
    fn pay_reaches_those_who_had_been_there_less_the_commission() {
        let mut provider = Provider::new(100 * TIDE, 100_000, 0);
        provider.enter(Holder::Liquid, 900 * TIDE, 0);
        let now = 8 * DAY_S;
        // A stranger comes for it, too late.
        provider.enter(Holder::Others, 100 * TIDE, now);
        provider.credit(10 * TIDE, now);
        assert_eq!(provider.earned, TIDE + 9 * TIDE / 10);
        provider.accrue(now + STREAM_S);
        let all = provider.value(Holder::Liquid) + provider.value(Holder::Others);
        assert!(all.abs_diff(1_000 * TIDE + 81 * TIDE / 10) <= 2_000, "{all}");
    }

    #[test]
    fn a_slash_takes_the_same_part_of_what_is_active_and_of_what_thaws() {
        let mut provider = Provider::new(100 * TIDE, 0, 0);
        provider.enter(Holder::Liquid, 200 * TIDE, 0);
        provider.enter(Holder::Others, 200 * TIDE, 0);
        let leaving = provider.leave(Holder::Others, 100 * TIDE, DAY_S);
        assert!(leaving.abs_diff(100 * TIDE) < 1_000);
        let (own, delegated) = provider.slash(WHOLE_PPM, 500_000, 2 * DAY_S);
        assert_eq!((own, provider.bond), (100 * TIDE, 0));
        assert_eq!(delegated, 200 * TIDE);
        assert!(provider.thawing(Holder::Others).abs_diff(50 * TIDE) < 1_000);
        assert!(provider.value(Holder::Liquid).abs_diff(100 * TIDE) < 1_000);
        // After its time it is out of reach.
        let end = DAY_S + THAW_S;
        provider.slash(0, WHOLE_PPM, end);
        let paid = provider.withdraw(Holder::Others, end);
        assert_eq!(paid.len(), 1);
        assert!(paid[0].abs_diff(50 * TIDE) < 1_000);
        assert_eq!(provider.value(Holder::Liquid), 0);
    }
}
