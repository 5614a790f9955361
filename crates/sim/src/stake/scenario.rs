//! What happens in each scenario, and to whom.

use serde::Serialize;

use super::{
    Finding, Measured, Plan,
    math::{TIDE, WHOLE_PPM, Wei, part_down},
    vault::{LONGEST_EXIT_S, Params, Refused},
    world::World,
};

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Years of deposits, exits and slashes.
    Years,
    /// Everybody asks to leave on one day.
    EveryoneLeaves,
    /// A provider that has 30 % of the stake fails.
    Failure,
    /// Somebody takes all that leaves at once.
    DrainedBuffer,
    /// Some know of a fault before the others.
    InformedExits,
    /// Some come for a large gain alone.
    RateHunters,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Years,
        Self::EveryoneLeaves,
        Self::Failure,
        Self::DrainedBuffer,
        Self::InformedExits,
        Self::RateHunters,
    ];

    /// Its name, as options and JSON have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Years => "years",
            Self::EveryoneLeaves => "everyone-leaves",
            Self::Failure => "failure",
            Self::DrainedBuffer => "drained-buffer",
            Self::InformedExits => "informed-exits",
            Self::RateHunters => "rate-hunters",
        }
    }
}

/// What a slash takes of the own bond and of delegations at most, in millionths.
const OWN_REACH_PPM: u128 = 1_000_000;
const DELEGATED_REACH_PPM: u128 = 500_000;

/// Days before something happens: the stake is at its places then, and the streams are full.
const SETTLED_DAYS: u32 = 120;

pub(super) fn run(plan: &Plan, scenario: Scenario) -> Measured {
    match scenario {
        Scenario::Years => years(plan),
        Scenario::EveryoneLeaves => everyone_leaves(plan),
        Scenario::Failure => failure(plan),
        Scenario::DrainedBuffer => drained_buffer(plan),
        Scenario::InformedExits => informed_exits(plan),
        Scenario::RateHunters => rate_hunters(plan),
    }
}

/// What leaving at once with a part of a full buffer costs, in parts of what is paid: for a picture.
pub fn exit_prices() -> Vec<(f64, f64)> {
    let mut world = World::new(Params::PRODUCTION, &[(1_000_000 * TIDE, 1)], 0, 1);
    let holder = world.party("holder");
    world.deposit(holder, 1_000_000 * TIDE);
    world.day();
    let buffer = world.vault.instantly();
    (1..=20_u128)
        .map(|part| {
            let net = buffer * part / 20;
            (part as f64 / 20.0, world.vault.exit_fee(net) as f64 / net as f64)
        })
        .collect()
}

/// A network with a hundred thousand TIDE behind the smallest of its providers' bonds, some of it of others.
fn network(plan: &Plan) -> World {
    let bonds = World::bonds(plan.providers, 400_000 * TIDE);
    let mut world = World::new(Params::PRODUCTION, &bonds, plan.yield_ppm.into(), plan.seed);
    world.others_delegate(2 * WHOLE_PPM);
    world
}

/// One where a provider has 30 % of the stake, which its parameters let it have.
fn lopsided(plan: &Plan) -> World {
    let mut bonds = vec![(1_000_000 * TIDE, 6)];
    bonds.extend(std::iter::repeat_n((100_000 * TIDE, 1), 12));
    let params = Params { provider_ppm: 300_000, ..Params::PRODUCTION };
    World::new(params, &bonds, plan.yield_ppm.into(), plan.seed)
}

fn days(world: &mut World, count: u32) {
    (0..count).for_each(|_| world.day());
}

fn finding(what: &str, value: f64, unit: &'static str) -> Finding {
    Finding { what: what.to_owned(), value, unit }
}

fn tide(wei: Wei) -> f64 {
    wei as f64 / TIDE as f64
}

fn measured(scenario: Scenario, story: &str, world: World, mut findings: Vec<Finding>) -> Measured {
    if world.claims > 0 {
        findings.push(finding("longest wait in the queue", world.longest_wait_days, "days"));
        let promised = LONGEST_EXIT_S as f64 / 86_400.0;
        findings.push(finding("longest wait that is promised", promised, "days"));
    }
    let fared = world.fared();
    Measured { scenario, story: story.to_owned(), fared, findings, days: world.days, broken: world.broken }
}

fn years(plan: &Plan) -> Measured {
    let mut world = network(plan);
    let first = world.party("the first holder, who stays");
    world.deposit(first, 1_000_000 * TIDE);
    let crowd: Vec<usize> = (0..60).map(|number| world.party(&format!("holder {number}"))).collect();
    let (mut slashes, mut lost) = (0_u32, 0);
    for _ in 0..plan.years * 365 {
        for who in &crowd {
            let amount = 1_000 * TIDE + u128::from(world.dice.roll() % 50_000) * TIDE;
            if world.dice.hits(0.01) {
                world.deposit(*who, amount);
            }
            if world.dice.hits(0.004) {
                let part = 100_000 + u128::from(world.dice.roll() % 900_001);
                world.request(*who, part);
            }
            if world.dice.hits(0.002) {
                // Where the buffer is short or a case is open they stay.
                let _ = world.leave_at_once(*who, amount);
            }
        }
        // Each provider is at fault once in thirty years; a twentieth of its own bond, and rarely some of the rest.
        for provider in 0..world.providers.len() {
            if world.dice.hits(1.0 / (30.0 * 365.0)) {
                let delegated = if world.dice.hits(0.25) { 50_000 } else { 0 };
                let before = world.vault.behind(provider);
                world.slash(provider, 50_000, delegated);
                lost += part_down(before, delegated);
                slashes += 1;
            }
        }
        world.day();
    }
    let last = world.days.last().map_or(1.0, |day| day.rate);
    let findings = vec![
        finding("gain of a share in a year", (last.powf(1.0 / f64::from(plan.years)) - 1.0) * 100.0, "%"),
        finding("slashes", slashes.into(), ""),
        finding("lost by them", tide(lost), "TIDE"),
        finding("exits through the queue", world.claims as f64, ""),
    ];
    // Sixty lines say no more than their sum.
    let mut all = measured(
        Scenario::Years,
        "Sixty holders come and go for years, providers are slashed now and then, and one holder stays.",
        world,
        findings,
    );
    fold(&mut all.fared, "holder ", "sixty holders who come and go");
    all
}

/// Makes one line of those whose names begin alike.
fn fold(fared: &mut Vec<super::Fared>, prefix: &str, name: &str) {
    let (of, mut rest): (Vec<_>, Vec<_>) = std::mem::take(fared).into_iter().partition(|one| {
        one.who.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let sum = |part: fn(&super::Fared) -> f64| of.iter().map(part).sum::<f64>();
    let (put_in, got, has) = (sum(|one| one.put_in), sum(|one| one.got), sum(|one| one.has));
    if put_in > 0.0 {
        rest.push(super::Fared {
            who: name.to_owned(),
            put_in,
            got,
            has,
            gain: (got + has - put_in) / put_in,
            exit_fees: sum(|one| one.exit_fees),
        });
    }
    *fared = rest;
}

fn everyone_leaves(plan: &Plan) -> Measured {
    let mut world = network(plan);
    let holders: Vec<usize> = (0..20).map(|number| world.party(&format!("holder {number}"))).collect();
    for who in &holders {
        world.deposit(*who, 500_000 * TIDE);
    }
    days(&mut world, SETTLED_DAYS);
    let worth: Vec<Wei> =
        holders.iter().map(|who| world.vault.assets_down(world.parties[*who].shares)).collect();
    for who in &holders {
        world.request(*who, WHOLE_PPM);
    }
    days(&mut world, 40);
    let left: usize = holders.iter().map(|who| world.parties[*who].waiting.len()).sum();
    if left > 0 {
        world.broken.push(format!("{left} exits are not done"));
    }
    let short = holders.iter().zip(&worth).map(|(who, worth)| worth.saturating_sub(world.parties[*who].got));
    let findings = vec![
        finding("left through the queue", tide(worth.iter().sum()), "TIDE"),
        finding("missing of what they had when they asked", tide(short.max().unwrap_or(0)), "TIDE"),
    ];
    let story = "Twenty holders have all of it, and all of them ask to leave on one day.";
    let mut all = measured(Scenario::EveryoneLeaves, story, world, findings);
    fold(&mut all.fared, "holder ", "twenty holders");
    all
}

fn failure(plan: &Plan) -> Measured {
    let mut world = lopsided(plan);
    let [holds, queues, leaves, claims] =
        ["who holds", "who waits in the queue", "who left at once before", "who was paid out before"]
            .map(|name| world.party(name));
    world.deposit(holds, 9_000_000 * TIDE);
    world.deposit(queues, 500_000 * TIDE);
    world.deposit(leaves, 100_000 * TIDE);
    world.deposit(claims, 400_000 * TIDE);
    days(&mut world, SETTLED_DAYS);
    world.request(claims, WHOLE_PPM);
    days(&mut world, 36);
    // Before the queue waits for all that the buffer has.
    if let Err(refused) = world.leave_at_once(leaves, 90_000 * TIDE) {
        world.broken.push(format!("a full buffer does not pay: {refused:?}"));
    }
    world.request(queues, WHOLE_PPM);
    days(&mut world, 5);
    let behind = world.vault.behind(0) as f64 / world.vault.assets as f64;
    world.slash(0, OWN_REACH_PPM, DELEGATED_REACH_PPM);
    let before = world.vault.rate();
    let comes = world.party("who comes after");
    world.deposit(comes, 100_000 * TIDE);
    let after = world.vault.rate();
    days(&mut world, 60);
    let findings = vec![
        finding("part of the total behind the provider", behind * 100.0, "%"),
        finding("fall of the rate, at once", (1.0 - after as f64 / before as f64) * 100.0, "%"),
    ];
    let story =
        "The provider with 30 % of the stake loses its whole bond, and its delegators half of theirs.";
    measured(Scenario::Failure, story, world, findings)
}

fn drained_buffer(plan: &Plan) -> Measured {
    let mut world = network(plan);
    let [holds, drains] = ["who holds", "who drains the buffer"].map(|name| world.party(name));
    world.deposit(holds, 8_000_000 * TIDE);
    world.deposit(drains, 2_000_000 * TIDE);
    days(&mut world, SETTLED_DAYS);
    let mut in_parts = world.clone();
    let before = world.vault.rate();
    let all = world.vault.instantly();
    let taken = world.leave_at_once(drains, all).unwrap_or(0);
    let at_once = world.parties[drains].fees;
    for _ in 0..1_000 {
        let _ = in_parts.leave_at_once(drains, all / 1_000);
    }
    let (fees, paid) = (in_parts.parties[drains].fees, in_parts.parties[drains].got);
    let next = world.leave_at_once(drains, TIDE);
    if next != Err(Refused::BufferShort) {
        world.broken.push("an empty buffer paid".to_owned());
    }
    world.request(drains, WHOLE_PPM);
    days(&mut world, 45);
    let gained = world.vault.rate() as f64 / before as f64 - 1.0;
    let mut quiet = network(plan);
    let (holds_too, stays) = (quiet.party("who holds"), quiet.party("who would have drained"));
    quiet.deposit(holds_too, 8_000_000 * TIDE);
    quiet.deposit(stays, 2_000_000 * TIDE);
    days(&mut quiet, SETTLED_DAYS);
    let quiet_before = quiet.vault.rate();
    days(&mut quiet, 45);
    let quiet_gain = quiet.vault.rate() as f64 / quiet_before as f64 - 1.0;
    let findings = vec![
        finding("taken at once", tide(taken), "TIDE"),
        finding("fee, in one piece", tide(at_once) / tide(taken) * 100.0, "%"),
        finding("fee, in a thousand pieces", tide(fees) / tide(paid.max(1)) * 100.0, "%"),
        finding("gain of those who stay, in the 45 days after", gained * 100.0, "%"),
        finding("the same where nobody drains it", quiet_gain * 100.0, "%"),
    ];
    let story = "A holder of a fifth takes the whole buffer at once, and leaves with the rest by the queue.";
    measured(Scenario::DrainedBuffer, story, world, findings)
}

fn informed_exits(plan: &Plan) -> Measured {
    let mut world = lopsided(plan);
    let names = [
        "who knows nothing",
        "who leaves at once, before the case",
        "who tries to, after it opened",
        "who knows, and asks for the queue",
    ];
    let [holds, early, late, queues] = names.map(|name| world.party(name));
    world.deposit(holds, 9_400_000 * TIDE);
    for who in [early, late, queues] {
        world.deposit(who, 200_000 * TIDE);
    }
    days(&mut world, SETTLED_DAYS);
    let _ = world.leave_at_once(early, 190_000 * TIDE);
    world.request(queues, WHOLE_PPM);
    world.vault.open_case(0);
    let refused = world.leave_at_once(late, 190_000 * TIDE);
    if refused != Err(Refused::CaseOpen) {
        world.broken.push("somebody left at once ahead of an open case".to_owned());
    }
    days(&mut world, 5);
    let before = world.vault.assets;
    world.slash(0, OWN_REACH_PPM, DELEGATED_REACH_PPM);
    world.vault.sync(&world.providers, world.now);
    let lost = before.saturating_sub(world.vault.assets);
    world.vault.close_case(0);
    days(&mut world, 45);
    let findings = vec![finding("lost of the total", tide(lost) / tide(before) * 100.0, "%")];
    let story = "Three know of a fault before its case is opened; it then costs half of what is behind a provider \
                 with 30 % of the stake.";
    measured(Scenario::InformedExits, story, world, findings)
}

fn rate_hunters(plan: &Plan) -> Measured {
    let mut world = network(plan);
    let names = ["who holds", "who comes for the day and leaves at once", "who comes for it and queues"];
    let [holds, quick, slow] = names.map(|name| world.party(name));
    world.deposit(holds, 10_000_000 * TIDE);
    days(&mut world, SETTLED_DAYS);
    // A month of pay comes on one day, and is known before.
    world.deposit(quick, 200_000 * TIDE);
    world.deposit(slow, 200_000 * TIDE);
    for provider in &mut world.providers {
        let pay = (provider.bond + provider.delegated()) / 150;
        provider.credit(pay, world.now);
    }
    days(&mut world, 1);
    let _ = world.leave_at_once(quick, 200_000 * TIDE);
    world.request(slow, WHOLE_PPM);
    days(&mut world, 60);
    let before = world.days.get(SETTLED_DAYS as usize - 1).map_or(1.0, |day| day.rate);
    let after = world.days.last().map_or(1.0, |day| day.rate);
    let findings = vec![finding("gain of those who stay, in 61 days", (after / before - 1.0) * 100.0, "%")];
    let story =
        "A month of pay comes on one day. Two know that, buy shares the moment before, and leave after it.";
    measured(Scenario::RateHunters, story, world, findings)
}
