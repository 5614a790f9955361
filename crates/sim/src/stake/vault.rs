//! The liquid token: one running total, a buffer, a stream of earnings, and a queue of exits. Pure integers, rounded as the
//! contracts round; docs/staking.md has the formulas.
//!
//! What is counted: `total + locked = buffer + what is recorded of the providers`, to the wei, beside what finalised exits
//! have set aside.

use std::collections::{BTreeMap, VecDeque};

use super::{
    math::{Wei, exit_fee_up, mul_div_down, mul_div_up, part_down},
    pool::{Holder, Provider, THAW_S},
};

/// What is fixed, and what holds on the first day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params {
    /// Over how long earnings stream into the rate, in seconds: shorter than unbonding.
    pub(super) stream_s: u64,
    /// The most that may begin to stream in a day, in millionths of the total.
    pub(super) daily_gain_ppm: u128,
    /// The part of gains above the highest rate so far that is a fee, in millionths.
    pub(super) fee_ppm: u128,
    /// What the buffer aims at, in millionths of the total.
    pub(super) buffer_ppm: u128,
    /// The marginal price of an instant exit where the buffer is full, in millionths.
    pub(super) least_exit_ppm: u128,
    /// And where it is empty.
    pub(super) most_exit_ppm: u128,
    /// The most of the total that lies behind one provider, in millionths.
    pub(super) provider_ppm: u128,
    /// How often stake is moved and exits are finalised, in seconds.
    pub(super) epoch_s: u64,
    /// How long a request waits at least, in seconds: a stream, so that nobody comes for one gain and leaves with it.
    pub(super) least_wait_s: u64,
}

impl Params {
    pub(super) const PRODUCTION: Self = Self {
        stream_s: 3 * 86_400,
        daily_gain_ppm: 500,
        fee_ppm: 100_000,
        buffer_ppm: 50_000,
        // What one window can earn: three days of the most that a day lets in.
        least_exit_ppm: 1_500,
        most_exit_ppm: 50_000,
        provider_ppm: 100_000,
        epoch_s: 86_400,
        least_wait_s: 3 * 86_400,
    };

    /// When a request can be claimed at the latest: stake thaws for it at the end of its epoch.
    fn latest_claim(&self, now: u64) -> u64 {
        (now / self.epoch_s + 1) * self.epoch_s + THAW_S
    }

    /// The longest from a request to its claim, in seconds.
    pub(super) fn longest_exit_s(&self) -> u64 {
        self.epoch_s + THAW_S
    }
}

/// Shares that nobody holds: they price the first entry.
const VIRTUAL_SHARES: u128 = 1_000;

/// Rates are in these units: wei for a whole share.
pub(super) const RATE_ONE: u128 = 1_000_000_000_000_000_000;

/// A request to leave.
#[derive(Clone, Debug)]
struct Request {
    id: u64,
    shares: u128,
    /// What they were worth when it was made.
    assets: Wei,
    earliest: u64,
    latest: u64,
}

/// What a finalised request pays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) assets: Wei,
    /// Until when it was promised, in seconds.
    pub(super) latest: u64,
}

/// Why an instant exit is not to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// A case is open that could cost more than the fee.
    CaseOpen,
    /// The buffer has less than that beyond what the queue waits for.
    BufferShort,
}

/// What is recorded of one provider.
#[derive(Clone, Copy, Default, Debug)]
struct Recorded {
    /// Active and thawing together, as they were last counted.
    value: Wei,
    slashes: u32,
    /// When stake behind it began to thaw last, by epoch: one thaw for each.
    thawed_in: Option<u64>,
}

/// The liquid token and all that stands behind it, but for the providers.
#[derive(Clone, Debug)]
pub(super) struct Vault {
    pub(super) params: Params,
    pub(super) total: Wei,
    pub(super) supply: u128,
    pub(super) buffer: Wei,
    locked: Wei,
    stream_end: u64,
    updated_at: u64,
    /// Losses that were not earned back: gains carry no fee before.
    to_recover: Wei,
    /// What the buffer aims at in this epoch. An exit that moved it would make the next one cheaper, and so itself, in
    /// parts.
    target: Wei,
    /// What may begin to stream today, and on which day that is.
    room: (u64, Wei),
    recorded: Vec<Recorded>,
    queue: VecDeque<Request>,
    queued_shares: u128,
    queued_assets: Wei,
    claims: BTreeMap<u64, Claim>,
    /// What finalised exits have set aside.
    pub(super) reserved: Wei,
    /// Shares of the protocol, for its fee.
    pub(super) fee_shares: u128,
    next_id: u64,
    /// The reach of open cases: the provider, and the part of its delegations that may be taken, in millionths.
    open_cases: Vec<(usize, u128)>,
}

impl Vault {
    pub(super) fn new(params: Params, providers: usize) -> Self {
        Self {
            params,
            total: 0,
            supply: 0,
            buffer: 0,
            locked: 0,
            stream_end: 0,
            updated_at: 0,
            to_recover: 0,
            target: 0,
            room: (0, 0),
            recorded: vec![Recorded::default(); providers],
            queue: VecDeque::new(),
            queued_shares: 0,
            queued_assets: 0,
            claims: BTreeMap::new(),
            reserved: 0,
            fee_shares: 0,
            next_id: 0,
            open_cases: Vec::new(),
        }
    }

    /// What a whole share is worth, in wei.
    pub(super) fn rate(&self) -> u128 {
        self.assets_down(RATE_ONE)
    }

    /// What shares are worth, rounded down.
    pub(super) fn assets_down(&self, shares: u128) -> Wei {
        mul_div_down(shares, self.total + 1, self.supply + VIRTUAL_SHARES)
    }

    fn shares_down(&self, assets: Wei) -> u128 {
        mul_div_down(assets, self.supply + VIRTUAL_SHARES, self.total + 1)
    }

    fn shares_up(&self, assets: Wei) -> u128 {
        mul_div_up(assets, self.supply + VIRTUAL_SHARES, self.total + 1)
    }

    /// Buys shares. Whatever was lost is counted first.
    pub(super) fn deposit(&mut self, assets: Wei, providers: &[Provider], now: u64) -> u128 {
        self.bring_up_to_date(providers, now);
        let shares = self.shares_down(assets);
        self.total += assets;
        self.buffer += assets;
        self.supply += shares;
        shares
    }

    /// Asks to leave: the shares stay shares until they are finalised. Returns the request's name.
    pub(super) fn request(&mut self, shares: u128, providers: &[Provider], now: u64) -> u64 {
        self.bring_up_to_date(providers, now);
        let assets = self.assets_down(shares);
        let id = self.next_id;
        self.next_id += 1;
        self.queued_shares += shares;
        self.queued_assets += assets;
        let (earliest, latest) = (now + self.params.least_wait_s, self.params.latest_claim(now));
        self.queue.push_back(Request { id, shares, assets, earliest, latest });
        id
    }

    /// What a request can be paid, once it is finalised. It is paid by this.
    pub(super) fn claim(&mut self, id: u64) -> Option<Claim> {
        let claim = self.claims.remove(&id)?;
        self.reserved -= claim.assets;
        Some(claim)
    }

    /// What an instant exit of `net` costs on top, given what is in the buffer: the integral of the marginal price from
    /// where the buffer is to where it will be, so that in parts it costs the same.
    pub(super) fn exit_fee(&self, net: Wei) -> Wei {
        let Params { least_exit_ppm, most_exit_ppm, .. } = self.params;
        exit_fee_up(least_exit_ppm, most_exit_ppm, self.target.max(1), self.buffer, net.min(self.buffer))
    }

    /// Leaves at once, out of the buffer: pays `net` for shares. The fee stays with those who stay, and streams to them.
    pub(super) fn withdraw(
        &mut self,
        net: Wei,
        providers: &[Provider],
        now: u64,
    ) -> Result<(u128, Wei), Refused> {
        self.bring_up_to_date(providers, now);
        if self.waits_for_a_case() {
            return Err(Refused::CaseOpen);
        }
        if net > self.instantly() {
            return Err(Refused::BufferShort);
        }
        let fee = self.exit_fee(net);
        let shares = self.shares_up(net + fee);
        self.supply -= shares;
        self.total -= net + fee;
        self.buffer -= net;
        self.stream(fee, now);
        Ok((shares, fee))
    }

    /// What instant exits can take: the queue comes first.
    pub(super) fn instantly(&self) -> Wei {
        self.buffer.saturating_sub(self.queued())
    }

    /// Whether open cases could cost more than an exit does. Then nobody leaves before it is known what they cost, at once or
    /// by the queue, but for who was promised to be out by now.
    fn waits_for_a_case(&self) -> bool {
        let cost = |(provider, reach): &(usize, u128)| part_down(self.recorded[*provider].value, *reach);
        let at_risk: Wei = self.open_cases.iter().map(cost).sum();
        at_risk > part_down(self.total, self.params.least_exit_ppm)
    }

    pub(super) fn open_case(&mut self, provider: usize, reach_ppm: u128) {
        self.open_cases.push((provider, reach_ppm));
    }

    pub(super) fn close_case(&mut self, provider: usize) {
        self.open_cases.retain(|(of, _)| *of != provider);
    }

    /// Counts what has streamed, and what was slashed where the counters say that something was.
    pub(super) fn bring_up_to_date(&mut self, providers: &[Provider], now: u64) {
        self.accrue(now);
        for at in 0..providers.len() {
            if providers[at].slashes != self.recorded[at].slashes {
                self.count(at, &providers[at], now);
            }
        }
    }

    /// Counts what one provider's pool is worth: a loss at once, a gain as far as the day lets it in.
    pub(super) fn count(&mut self, at: usize, provider: &Provider, now: u64) {
        self.accrue(now);
        self.recorded[at].slashes = provider.slashes;
        let found = provider.value(Holder::Liquid) + provider.thawing(Holder::Liquid);
        let recorded = self.recorded[at].value;
        if found < recorded {
            let lost = recorded - found;
            self.recorded[at].value = found;
            // What has not streamed yet goes first.
            let of_locked = lost.min(self.locked);
            self.locked -= of_locked;
            self.total -= (lost - of_locked).min(self.total);
            self.to_recover += lost;
            return;
        }
        let day = now / 86_400;
        if self.room.0 != day {
            self.room = (day, part_down(self.total, self.params.daily_gain_ppm));
        }
        let gain = (found - recorded).min(self.room.1);
        self.room.1 -= gain;
        self.recorded[at].value += gain;
        let recovered = gain.min(self.to_recover);
        self.to_recover -= recovered;
        let fee = part_down(gain - recovered, self.params.fee_ppm);
        if fee > 0 {
            let shares = self.shares_down(fee);
            self.fee_shares += shares;
            self.supply += shares;
            self.total += fee;
        }
        self.stream(gain - fee, now);
    }

    fn stream(&mut self, amount: Wei, now: u64) {
        self.accrue(now);
        if amount == 0 {
            return;
        }
        let window = u128::from(self.params.stream_s);
        let rest = if self.locked == 0 { 0 } else { u128::from(self.stream_end - now) };
        let average = mul_div_down(self.locked, rest, self.locked + amount)
            + mul_div_down(amount, window, self.locked + amount);
        self.locked += amount;
        self.stream_end = now + u64::try_from(average).unwrap_or(self.params.stream_s).max(1);
        self.updated_at = now;
    }

    fn accrue(&mut self, now: u64) {
        if self.locked > 0 && now > self.updated_at {
            let arrived = if now >= self.stream_end {
                self.locked
            } else {
                let (since, whole) = (now - self.updated_at, self.stream_end - self.updated_at);
                mul_div_down(self.locked, since.into(), whole.into())
            };
            self.locked -= arrived;
            self.total += arrived;
            self.updated_at = now;
        }
    }

    /// All that is done once an epoch: thaws are fetched, exits finalised, what is over delegated, what lacks thawed.
    pub(super) fn turn(&mut self, providers: &mut [Provider], now: u64) {
        for (at, provider) in providers.iter_mut().enumerate() {
            provider.accrue(now);
            self.count(at, provider, now);
            for (_, value) in provider.withdraw(Holder::Liquid, now) {
                // Gains that the day did not let in yet may be among it.
                let counted = value.min(self.recorded[at].value);
                self.recorded[at].value -= counted;
                self.buffer += value;
                self.stream(value - counted, now);
            }
        }
        self.finalise(now);
        let wanted = self.queued();
        let target = part_down(self.total, self.params.buffer_ppm);
        self.target = target;
        let keep = wanted + target.min(self.total);
        if self.buffer > keep {
            self.delegate(self.buffer - keep, providers, now);
        }
        let coming: Wei = providers.iter().map(|provider| provider.thawing(Holder::Liquid)).sum();
        let has = self.buffer + coming;
        if has < wanted + target / 2 {
            self.thaw(wanted + target - has, providers, now);
        }
    }

    fn finalise(&mut self, now: u64) {
        let waits_for_a_case = self.waits_for_a_case();
        while let Some(next) = self.queue.front() {
            // A case holds nobody longer than was promised.
            if now < next.earliest || waits_for_a_case && now < next.latest {
                break;
            }
            let worth = self.assets_down(next.shares);
            let pays = worth.min(next.assets);
            if pays > self.buffer {
                break;
            }
            let Some(Request { id, shares, assets, latest, .. }) = self.queue.pop_front() else { break };
            self.queued_shares -= shares;
            self.queued_assets -= assets;
            self.supply -= shares;
            self.total -= worth;
            self.buffer -= pays;
            self.reserved += pays;
            self.claims.insert(id, Claim { assets: pays, latest });
            // What the shares earned while they waited is for those who stay.
            self.stream(worth - pays, now);
        }
    }

    /// Puts stake behind the providers that are furthest below their share of the total.
    fn delegate(&mut self, amount: Wei, providers: &mut [Provider], now: u64) {
        let cap = part_down(self.total, self.params.provider_ppm);
        let mut left = amount;
        let rooms: Vec<Wei> = providers
            .iter()
            .enumerate()
            .map(|(at, provider)| {
                let blocked = self.open_cases.iter().any(|(of, _)| *of == at);
                let below = cap.saturating_sub(self.recorded[at].value);
                if blocked { 0 } else { below.min(provider.room()) }
            })
            .collect();
        let all: Wei = rooms.iter().sum();
        if all == 0 {
            return;
        }
        for (at, room) in rooms.iter().enumerate() {
            let part = mul_div_down(amount.min(all), *room, all).min(left);
            if part == 0 {
                continue;
            }
            let before = providers[at].value(Holder::Liquid);
            providers[at].enter(Holder::Liquid, part, now);
            // What rounding keeps back is a loss, of some wei.
            let worth = providers[at].value(Holder::Liquid) - before;
            self.recorded[at].value += worth.min(part);
            self.total -= part - worth.min(part);
            self.buffer -= part;
            left -= part;
        }
    }

    /// Lets stake thaw, of each provider in proportion, one thaw for each and epoch.
    fn thaw(&mut self, amount: Wei, providers: &mut [Provider], now: u64) {
        let epoch = now / self.params.epoch_s;
        let values: Vec<Wei> = providers
            .iter()
            .enumerate()
            .map(|(at, provider)| match self.recorded[at].thawed_in == Some(epoch) {
                true => 0,
                false => provider.value(Holder::Liquid),
            })
            .collect();
        let all: Wei = values.iter().sum();
        if all == 0 {
            return;
        }
        for (at, value) in values.iter().enumerate() {
            let part = mul_div_up(amount.min(all), *value, all).min(*value);
            if part == 0 {
                continue;
            }
            self.next_id += 1;
            providers[at].leave(Holder::Liquid, part, self.next_id, now);
            self.recorded[at].thawed_in = Some(epoch);
            self.count(at, &providers[at], now);
        }
    }

    /// What is recorded of all providers.
    pub(super) fn recorded(&self) -> Wei {
        self.recorded.iter().map(|of| of.value).sum()
    }

    /// What is recorded of one.
    pub(super) fn behind(&self, provider: usize) -> Wei {
        self.recorded[provider].value
    }

    /// What waits to be finalised.
    pub(super) fn queued(&self) -> Wei {
        self.queued_assets.min(self.assets_down(self.queued_shares))
    }

    /// What the books must always say; otherwise what they say instead.
    pub(super) fn check(&self) -> Result<(), String> {
        let (left, right) = (self.total + self.locked, self.buffer + self.recorded());
        if left != right {
            return Err(format!("{left} is counted and {right} is there"));
        }
        let claims: Wei = self.claims.values().map(|claim| claim.assets).sum();
        if claims != self.reserved {
            return Err(format!("{claims} is claimable and {} is set aside", self.reserved));
        }
        Ok(())
    }
}
