//! The liquid stake: one running total, a buffer, a stream of earnings, and a queue of exits. Pure integers, rounded as
//! contracts/src/LiquidPositions.sol, LiquidStake.sol and ExitQueue.sol round.
//!
//! What is counted: `assets + streaming = buffer + what is known of delegations and of thaws`, to the wei, beside what
//! finalised exits have locked.

use std::collections::{BTreeMap, VecDeque};

use super::{
    math::{WHOLE_PPM, Wei, exit_fee_up, mul_div_down, mul_div_up, part_down},
    pool::{Holder, Provider, THAW_S},
};

/// What is fixed, and what holds on the first day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params {
    /// Of what is earned once losses are earned back, in millionths.
    pub(super) fee_ppm: u128,
    /// By how much of the assets earnings may raise them in a day, in millionths.
    pub(super) daily_cap_ppm: u128,
    /// The part of the assets that stays in the buffer, in millionths.
    pub(super) buffer_ppm: u128,
    /// The marginal fee of an instant exit where the buffer is full, in millionths: what a stream can earn, at least.
    pub(super) least_exit_ppm: u128,
    /// And where it is empty.
    pub(super) most_exit_ppm: u128,
    /// The most of the assets that lies behind one provider, in millionths.
    pub(super) provider_ppm: u128,
    /// How many times its own bond may be with a provider.
    pub(super) bond_multiple: u128,
}

impl Params {
    /// Those of `Params::first_day` in crates/ledger/src/deploy.rs.
    pub(super) const PRODUCTION: Self = Self {
        fee_ppm: 100_000,
        daily_cap_ppm: 500,
        buffer_ppm: 50_000,
        least_exit_ppm: 3_500,
        most_exit_ppm: 50_000,
        provider_ppm: 100_000,
        bond_multiple: 8,
    };
}

/// Over how long earnings stream at the least, in seconds.
pub(super) const STREAM_S: u64 = 7 * DAY_S;
/// How often a provider is thawed from at most, in seconds.
const EPOCH_S: u64 = 7 * DAY_S;
/// How long a request waits at least, in seconds.
const LEAST_WAIT_S: u64 = 7 * DAY_S;
/// The longest from a request to its claim, in seconds.
pub(super) const LONGEST_EXIT_S: u64 = EPOCH_S + THAW_S;
/// So many providers can be listed.
pub(super) const MOST_PROVIDERS: u32 = 16;
/// Less than this is not delegated by itself.
const LEAST_BATCH: Wei = 1_000_000_000_000_000_000;
/// A case takes at most one of so many parts of delegations.
const CASE_DIVISOR: u128 = 2;
const DAY_S: u64 = 86_400;
const MAX_STREAM_S: u128 = 36_500 * 86_400;

/// A whole share, and what rates are told for.
pub(super) const SHARE: u128 = 1_000_000_000_000_000_000;

/// A request to leave.
#[derive(Clone, Debug)]
struct Request {
    id: u64,
    shares: u128,
    /// What they were worth when it was made.
    assets: Wei,
    made_at: u64,
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

/// What is with a provider.
#[derive(Clone, Copy, Default, Debug)]
struct Position {
    /// Its delegation, as of the last look.
    known: Wei,
    /// Its thaws, as of the last look.
    thawing: Wei,
    slashes: u32,
    weight: u128,
    /// In which epoch it was thawed from last.
    thawed_in: Option<u64>,
}

/// The liquid stake and all that stands behind it, but for the providers.
#[derive(Clone, Debug)]
pub(super) struct Vault {
    params: Params,
    pub(super) assets: Wei,
    pub(super) supply: u128,
    pub(super) buffer: Wei,
    streaming: Wei,
    stream_end: u64,
    streamed_at: u64,
    /// Losses that were not earned back: gains carry no fee before.
    to_recover: Wei,
    /// What the buffer aims at, as of the last report. An exit that moved it would make the next one cheaper, and so
    /// itself, in parts.
    target: Wei,
    /// The most that all of it may come to, as of the last report.
    capacity: Wei,
    positions: Vec<Position>,
    queue: VecDeque<Request>,
    queued_shares: u128,
    claims: BTreeMap<u64, Claim>,
    /// What is held for claims.
    locked: Wei,
    /// Shares of the protocol, for its fee.
    pub(super) fee_shares: u128,
    next_id: u64,
    /// Providers with an open case.
    open_cases: Vec<usize>,
}

impl Vault {
    /// `weights`: each provider's part of what is spread, among all. `seed`: what deployment puts in, whose shares nobody
    /// has.
    pub(super) fn new(params: Params, weights: &[u128], seed: Wei) -> Self {
        let position = |weight: &u128| Position { weight: *weight, ..Position::default() };
        Self {
            params,
            assets: seed,
            supply: seed,
            buffer: seed,
            streaming: 0,
            stream_end: 0,
            streamed_at: 0,
            to_recover: 0,
            target: 0,
            capacity: 0,
            positions: weights.iter().map(position).collect(),
            queue: VecDeque::new(),
            queued_shares: 0,
            claims: BTreeMap::new(),
            locked: 0,
            fee_shares: 0,
            next_id: 0,
            open_cases: Vec::new(),
        }
    }

    /// What a whole share is worth, in wei, rounded down.
    pub(super) fn rate(&self) -> u128 {
        self.assets_down(SHARE)
    }

    /// What shares are worth, rounded down.
    pub(super) fn assets_down(&self, shares: u128) -> Wei {
        mul_div_down(shares, self.assets + 1, self.supply + 1)
    }

    fn shares_down(&self, assets: Wei) -> u128 {
        mul_div_down(assets, self.supply + 1, self.assets + 1)
    }

    fn shares_up(&self, assets: Wei) -> u128 {
        mul_div_up(assets, self.supply + 1, self.assets + 1)
    }

    /// How much may come in.
    pub(super) fn room(&self) -> Wei {
        self.capacity.saturating_sub(self.assets + self.streaming)
    }

    /// Buys shares. Whatever was lost is counted first.
    pub(super) fn deposit(&mut self, assets: Wei, providers: &[Provider], now: u64) -> u128 {
        self.sync(providers, now);
        let shares = self.shares_down(assets);
        self.assets += assets;
        self.buffer += assets;
        self.supply += shares;
        shares
    }

    /// Asks to leave: the shares stay shares until they are finalised. Returns the request's name.
    pub(super) fn request(&mut self, shares: u128, providers: &[Provider], now: u64) -> u64 {
        self.sync(providers, now);
        let assets = self.assets_down(shares);
        self.next_id += 1;
        self.queued_shares += shares;
        self.queue.push_back(Request { id: self.next_id, shares, assets, made_at: now });
        self.next_id
    }

    /// When a request can be claimed at the latest: the end of its epoch, and a thaw more.
    fn latest_claim(made_at: u64) -> u64 {
        (made_at / EPOCH_S + 1) * EPOCH_S + THAW_S
    }

    /// What a request is paid, once it is finalised. It is paid by this.
    pub(super) fn claim(&mut self, id: u64) -> Option<Claim> {
        let claim = self.claims.remove(&id)?;
        self.locked -= claim.assets;
        Some(claim)
    }

    /// What an instant exit of `net` costs above it, rounded up.
    pub(super) fn exit_fee(&self, net: Wei) -> Wei {
        let Params { least_exit_ppm, most_exit_ppm, .. } = self.params;
        let room = self.instantly();
        exit_fee_up(least_exit_ppm, most_exit_ppm, self.target.max(1), room, net.min(room))
    }

    /// Leaves at once, out of the buffer: pays `net` for shares. The fee streams to those who stay.
    pub(super) fn withdraw(
        &mut self,
        net: Wei,
        providers: &[Provider],
        now: u64,
    ) -> Result<(u128, Wei), Refused> {
        self.sync(providers, now);
        if !self.is_calm() {
            return Err(Refused::CaseOpen);
        }
        if net > self.instantly() {
            return Err(Refused::BufferShort);
        }
        let fee = self.exit_fee(net);
        let shares = self.shares_up(net + fee);
        self.let_out(net + fee, net, shares, now);
        Ok((shares, fee))
    }

    /// What instant exits can take: the queue comes first.
    pub(super) fn instantly(&self) -> Wei {
        self.buffer.saturating_sub(self.queued())
    }

    /// What waits to be finalised, at most.
    pub(super) fn queued(&self) -> Wei {
        self.assets_down(self.queued_shares)
    }

    /// Whether no open case could cost more than the least fee of an instant exit. While one could, nobody leaves, at once
    /// or by the queue, but for who was promised to be out by now.
    fn is_calm(&self) -> bool {
        let at_risk: Wei = self.open_cases.iter().map(|at| self.behind(*at)).sum();
        let fee = part_down(self.assets + self.streaming, self.params.least_exit_ppm);
        at_risk == 0 || at_risk / CASE_DIVISOR <= fee
    }

    pub(super) fn open_case(&mut self, provider: usize) {
        self.open_cases.push(provider);
    }

    pub(super) fn close_case(&mut self, provider: usize) {
        self.open_cases.retain(|of| *of != provider);
    }

    /// Counts what has streamed, and what was slashed where the counters say that something was.
    pub(super) fn sync(&mut self, providers: &[Provider], now: u64) {
        self.accrue(now);
        let mut loss = 0;
        for (position, provider) in self.positions.iter_mut().zip(providers) {
            if provider.slashes == position.slashes {
                continue;
            }
            position.slashes = provider.slashes;
            let value = position.known.min(provider.value(Holder::Liquid));
            let thawing = provider.thawing(Holder::Liquid);
            loss += position.known - value + position.thawing.saturating_sub(thawing);
            (position.known, position.thawing) = (value, thawing.min(position.thawing));
        }
        self.lose(loss);
    }

    fn lose(&mut self, loss: Wei) {
        // What has not streamed yet goes first.
        let first = loss.min(self.streaming);
        self.streaming -= first;
        self.assets -= loss - first;
        self.to_recover += loss;
    }

    fn gain(&mut self, gain: Wei, now: u64) {
        let recovered = gain.min(self.to_recover);
        self.to_recover -= recovered;
        let fee = part_down(gain - recovered, self.params.fee_ppm);
        let shares = self.shares_down(fee);
        let fee = if shares == 0 { 0 } else { fee };
        self.fee_shares += shares;
        self.supply += shares;
        self.assets += fee;
        self.stream(gain - fee, now);
    }

    /// Takes out what burned shares were worth; what is over of what is paid streams.
    fn let_out(&mut self, gross: Wei, paid: Wei, shares: u128, now: u64) {
        if self.to_recover > 0 {
            self.to_recover -= mul_div_down(self.to_recover, shares, self.supply);
        }
        self.supply -= shares;
        self.assets -= gross;
        self.buffer -= paid;
        self.stream(gross - paid, now);
    }

    /// Lets an amount arrive over the stream's period, or as much longer as the daily cap says.
    fn stream(&mut self, amount: Wei, now: u64) {
        if amount == 0 {
            return;
        }
        self.accrue(now);
        let rest = if self.streaming == 0 { 0 } else { u128::from(self.stream_end - now) };
        let all = self.streaming + amount;
        let period = (self.streaming * rest + amount * u128::from(STREAM_S)) / all;
        let daily = part_down(self.assets, self.params.daily_cap_ppm);
        let capped = if daily == 0 { MAX_STREAM_S } else { (all * u128::from(DAY_S)).div_ceil(daily) };
        let period = period.max(capped).clamp(1, MAX_STREAM_S);
        self.streaming = all;
        self.stream_end = now + u64::try_from(period).unwrap_or(STREAM_S);
        self.streamed_at = now;
    }

    fn accrue(&mut self, now: u64) {
        if self.streaming == 0 {
            return;
        }
        let arrived = if now >= self.stream_end {
            self.streaming
        } else {
            let (since, whole) = (now - self.streamed_at, self.stream_end - self.streamed_at);
            mul_div_down(self.streaming, since.into(), whole.into())
        };
        if arrived > 0 {
            self.streaming -= arrived;
            self.assets += arrived;
            self.streamed_at = now;
        }
    }

    /// What anybody may do: counts what providers earned, takes back what has thawed, finalises exits, lets thaw what the
    /// queue waits for, and spreads what is over.
    pub(super) fn tend(&mut self, providers: &mut [Provider], now: u64) {
        self.sync(providers, now);
        self.harvest(providers, now);
        self.reap(providers, now);
        self.finalise(now);
        self.draw(providers, now);
        self.report(providers);
        self.spread(providers, now);
    }

    fn harvest(&mut self, providers: &mut [Provider], now: u64) {
        for (at, provider) in providers.iter_mut().enumerate() {
            provider.accrue(now);
            let (known, value) = (self.positions[at].known, provider.value(Holder::Liquid));
            self.positions[at].known = value;
            match value > known {
                true => self.gain(value - known, now),
                false => self.lose(known - value),
            }
        }
    }

    fn reap(&mut self, providers: &mut [Provider], now: u64) {
        for (position, provider) in self.positions.iter_mut().zip(providers) {
            for value in provider.withdraw(Holder::Liquid, now) {
                position.thawing -= value;
                self.buffer += value;
            }
        }
    }

    /// Each request by itself: a batch of several locks and pays the same, to within a wei for each.
    fn finalise(&mut self, now: u64) {
        let is_calm = self.is_calm();
        while let Some(next) = self.queue.front() {
            let latest = Self::latest_claim(next.made_at);
            // A case holds nobody longer than was promised.
            if now < next.made_at + LEAST_WAIT_S || !is_calm && now < latest {
                break;
            }
            let (value, most) = (self.assets_down(next.shares), next.assets);
            let paid = value.min(most);
            if paid > self.buffer {
                break;
            }
            let Some(Request { id, shares, .. }) = self.queue.pop_front() else { break };
            self.queued_shares -= shares;
            self.let_out(value, paid, shares, now);
            self.locked += paid;
            self.claims.insert(id, Claim { assets: paid, latest });
        }
    }

    /// Lets thaw what the queue waits for and nothing else covers, from each provider by what is with it, once an epoch.
    fn draw(&mut self, providers: &mut [Provider], now: u64) {
        let epoch = now / EPOCH_S;
        let known: Wei = self.positions.iter().map(|position| position.known).sum();
        let coming: Wei = self.positions.iter().map(|position| position.thawing).sum();
        let lack = self.queued().saturating_sub(self.buffer + coming);
        if lack == 0 || known == 0 {
            return;
        }
        for (at, provider) in providers.iter_mut().enumerate() {
            let has = self.positions[at].known;
            if has == 0 || self.positions[at].thawed_in == Some(epoch) {
                continue;
            }
            let wanted = mul_div_up(lack, has, known).min(has);
            let amount = provider.leave(Holder::Liquid, wanted, now);
            self.positions[at].thawed_in = Some(epoch);
            if amount > has {
                self.gain(amount - has, now);
            }
            self.positions[at].known = has.max(amount) - amount;
            self.positions[at].thawing += amount;
        }
    }

    fn report(&mut self, providers: &[Provider]) {
        let all = self.assets + self.streaming;
        self.target = part_down(all, self.params.buffer_ppm);
        let takes = |(position, provider): (&Position, &Provider)| {
            let by_bond = self.params.bond_multiple * provider.bond;
            position.known.max(by_bond.min(position.known + provider.room()))
        };
        let taken: Wei = self.positions.iter().zip(providers).map(takes).sum();
        self.capacity = self.target + taken;
    }

    /// Delegates what the buffer has over its target and over what the queue waits for, by the weights and caps.
    fn spread(&mut self, providers: &mut [Provider], now: u64) {
        let mut free = self.instantly().saturating_sub(self.target);
        let all = self.assets + self.streaming;
        let weights: u128 = self.positions.iter().map(|position| position.weight).sum();
        for (at, provider) in providers.iter_mut().enumerate() {
            if free < LEAST_BATCH {
                return;
            }
            let Position { known, weight, .. } = self.positions[at];
            let cap = part_down(all, self.params.provider_ppm);
            let limit = cap.min(self.params.bond_multiple * provider.bond);
            let most = mul_div_down(all - self.target, weight, weights.max(1)).min(limit);
            // While a case is open a provider takes nothing.
            let room = if self.open_cases.contains(&at) { 0 } else { provider.room() };
            let amount = free.min(most.saturating_sub(known)).min(room);
            if amount < LEAST_BATCH {
                continue;
            }
            provider.enter(Holder::Liquid, amount, now);
            self.positions[at].known += amount;
            self.buffer -= amount;
            free -= amount;
        }
    }

    /// What is with one provider, active and thawing.
    pub(super) fn behind(&self, provider: usize) -> Wei {
        self.positions[provider].known + self.positions[provider].thawing
    }

    /// What the books must always say; otherwise what they say instead.
    pub(super) fn check(&self) -> Result<(), String> {
        let with_providers: Wei = (0..self.positions.len()).map(|at| self.behind(at)).sum();
        let (counted, there) = (self.assets + self.streaming, self.buffer + with_providers);
        if counted != there {
            return Err(format!("{counted} is counted and {there} is there"));
        }
        let claims: Wei = self.claims.values().map(|claim| claim.assets).sum();
        if claims != self.locked {
            return Err(format!("{claims} can be claimed and {} is locked", self.locked));
        }
        let daily = part_down(self.assets + self.streaming, self.params.daily_cap_ppm);
        let period = u128::from(self.stream_end.saturating_sub(self.streamed_at)).max(1);
        if self.streaming * u128::from(DAY_S) / period > daily + WHOLE_PPM {
            return Err("more streams in a day than the cap".to_owned());
        }
        Ok(())
    }
}
