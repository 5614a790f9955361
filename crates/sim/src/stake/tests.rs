use super::{
    math::TIDE,
    pool::THAW_S,
    vault::{Params, STREAM_S},
    world::World,
    *,
};

/// Few providers and few years.
fn quick() -> Plan {
    Plan { providers: 10, years: 1, ..Plan::default() }
}

fn fared<'a>(measured: &'a Measured, who: &str) -> &'a Fared {
    measured.fared.iter().find(|one| one.who.starts_with(who)).expect("it is one of them")
}

fn found(measured: &Measured, what: &str) -> f64 {
    measured.findings.iter().find(|one| one.what.starts_with(what)).expect("it was measured").value
}

#[test]
fn the_books_are_right_every_day_and_every_exit_keeps_its_date() {
    for scenario in Scenario::ALL {
        let measured = measure(&quick(), scenario);
        assert_eq!(measured.broken, Vec::<String>::new(), "{}", scenario.name());
        assert!(!measured.days.is_empty() && !measured.fared.is_empty());
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let rates = |seed| {
        let measured = measure(&Plan { seed, ..quick() }, Scenario::Years);
        measured.days.iter().map(|day| day.rate).collect::<Vec<_>>()
    };
    assert_eq!(rates(1), rates(1));
    assert_ne!(rates(1), rates(2));
}

#[test]
fn a_failure_costs_those_who_hold_and_those_who_wait_the_same_and_nobody_else() {
    let measured = measure(&quick(), Scenario::Failure);
    let (holds, queues) = (fared(&measured, "who holds").gain, fared(&measured, "who waits").gain);
    let fall = found(&measured, "fall of the rate") / 100.0;
    assert!(fall > 0.12 && fall < 0.16, "{fall}");
    // Who waits lacks what the rest earned meanwhile, and no more.
    assert!((holds - queues).abs() < 0.03, "{holds} {queues}");
    assert!(queues < -0.1);
    assert!(fared(&measured, "who was paid out").gain > 0.0);
    assert!(fared(&measured, "who comes after").gain >= 0.0);
}

#[test]
fn a_run_is_paid_in_full_by_the_promised_day() {
    let measured = measure(&quick(), Scenario::EveryoneLeaves);
    assert_eq!(found(&measured, "missing of what they had"), 0.0);
    assert!(found(&measured, "longest wait in the queue") <= found(&measured, "longest wait that"));
}

#[test]
fn leaving_in_pieces_costs_what_leaving_in_one_does() {
    let measured = measure(&quick(), Scenario::DrainedBuffer);
    let (once, parts) = (found(&measured, "fee, in one"), found(&measured, "fee, in a thousand"));
    assert!(once > 1.0 && (once - parts).abs() < 1e-6, "{once} {parts}");
    assert!(found(&measured, "gain of those who stay") > found(&measured, "the same where nobody"));
}

#[test]
fn knowing_first_saves_nobody_who_waits_for_the_case() {
    let measured = measure(&quick(), Scenario::InformedExits);
    let loss = |who: &str| fared(&measured, who).gain;
    assert!((loss("who tries to") - loss("who knows nothing")).abs() < 1e-9);
    assert!(loss("who knows, and asks for the queue") <= loss("who knows nothing") + 0.01);
    // Before a case is open a fault cannot be told from a wish to leave: that one pays the fee and is out.
    assert!(loss("who leaves at once") > loss("who knows nothing"));
}

#[test]
fn who_comes_for_one_gain_leaves_with_a_loss() {
    let measured = measure(&quick(), Scenario::RateHunters);
    let gain = |who: &str| fared(&measured, who).gain;
    assert!(gain("who comes for the day") < 0.0);
    // Through the queue nothing is gained after the request.
    assert!(gain("who comes for it and queues") < 0.002);
    assert!(gain("who holds") > gain("who comes for it and queues"));
}

#[test]
fn washing_loses_money_where_rewards_are_bounded_by_what_is_burned() {
    let washed = wash_trades();
    assert!(washed.iter().all(|one| one.bounded < 0.0));
    assert!(washed.iter().any(|one| one.fixed > 0.0), "that is what the bound is for");
}

#[test]
fn gains_come_slowly_and_losses_at_once() {
    let mut world = World::new(Params::PRODUCTION, &[(1_000_000 * TIDE, 1)], 0, 1);
    let holder = world.party("holder");
    world.deposit(holder, 1_000_000 * TIDE);
    for _ in 0..9 {
        world.day();
    }
    let mut slashed = world.clone();
    let before = world.vault.rate();
    // Most of what is delegated comes as pay on one day.
    let pay = world.providers[0].delegated() * 10;
    world.providers[0].credit(pay, world.now);
    for _ in 0..10 {
        let before = world.vault.rate();
        world.day();
        let day = world.vault.rate() as f64 / before as f64 - 1.0;
        assert!(day <= 500e-6, "{day}");
    }
    assert!(world.vault.rate() > before, "it does come");
    let part = slashed.vault.behind(0) as f64 / slashed.vault.assets as f64;
    slashed.slash(0, 0, 500_000);
    slashed.vault.sync(&slashed.providers, slashed.now);
    let fall = 1.0 - slashed.vault.rate() as f64 / before as f64;
    assert!(fall > part * 0.49, "{fall} of {part}");
    const { assert!(STREAM_S < THAW_S) };
}
