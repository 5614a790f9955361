//! Many lives, each from a seed of its own. `TIDEMILL_CASES` says how many; one of them alone runs with `TIDEMILL_SEED`.

use std::collections::BTreeMap;

use super::{Simulation, results};

/// Lives in an ordinary run of the tests.
const CASES: u64 = 600;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Lives one life. Says what happened in it.
fn life_of(seed: u64) -> BTreeMap<&'static str, u64> {
    let life = || {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        simulation.seen
    };
    std::panic::catch_unwind(life).unwrap_or_else(|panic| {
        eprintln!("to see it again: TIDEMILL_SEED={seed}");
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn every_job_comes_to_its_end_whatever_happens() {
    let seeds = match number("TIDEMILL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEMILL_CASES").unwrap_or(CASES),
    };
    let count = seeds.end - seeds.start;
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64).min(count);
    let lives = &|first: u64| -> Vec<_> {
        seeds.clone().skip(first as usize).step_by(threads as usize).map(life_of).collect()
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|first| scope.spawn(move || lives(first))).collect();
        all.into_iter().flat_map(|lives| lives.join().expect("every life ends well")).collect()
    });
    let mut seen: BTreeMap<_, u64> = BTreeMap::new();
    for (what, times) in all.into_iter().flatten() {
        *seen.entry(what).or_default() += times;
    }
    eprintln!("{count} lives: {seen:?}");
    for what in results::EVENTFUL {
        assert!(count < CASES || seen.get(what).is_some_and(|times| *times >= 10), "too seldom: {what}");
    }
}

#[test]
fn a_life_is_the_same_each_time() {
    let life = || {
        let mut simulation = Simulation::new(7);
        simulation.run();
        (simulation.at_ms, simulation.seen, simulation.world.store.recover().expect("the store can be read"))
    };
    assert_eq!(life(), life());
}
