//! Machines with several engines.

use tidemill_types::{BlobRef, ByteSize, Fuel, ServedModel};

use super::*;
use crate::{IdleReason, Unfit};

fn at(number: u32, engine: u8) -> EngineId {
    EngineId { node: node(number), engine: EngineIndex(engine) }
}

/// One engine that is of another version, and one that is not.
fn old_and_new() -> [Engine; 2] {
    let version = ProgramKind::Wasm.version();
    [Engine { exec_version: version + 1, ..engine(4) }, engine(2)]
}

#[test]
fn an_old_engine_costs_its_provider_no_work_of_the_others() {
    let mut bench = Bench::new();
    bench.join(1, with(&old_and_new()), 60);
    bench.job(1, job(), 100);
    let (placements, leases) = bench.place();
    assert_eq!(placements.iter().map(|placement| placement.at).collect::<Vec<_>>(), [at(1, 1)]);
    assert_eq!(leases.len(), 3, "one for each slot and one");
}

#[test]
fn credits_are_split_by_slots_and_none_is_lost() {
    let mut bench = Bench::new();
    bench.join(1, with(&[engine(1), engine(2), engine(4)]), 100);
    let shares = |bench: &Bench| {
        let engines = &bench.scheduler.providers[&node(1)].engines;
        engines.iter().map(|engine| engine.credits).collect::<Vec<_>>()
    };
    assert_eq!(shares(&bench), [14, 28, 58]);
    bench.scheduler.set_credits(node(1), 1);
    assert_eq!(shares(&bench).iter().sum::<u32>(), 1);
    bench.scheduler.set_credits(node(1), 0);
    assert_eq!(shares(&bench), [0, 0, 0]);
}

#[test]
fn what_one_engine_does_keeps_no_other_waiting() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(10_000));
    bench.known_job(2, job(), 4, ms(1));
    bench.join(1, with(&[engine(1), engine(1)]), 100);
    bench.lease_as(task(1, 1), Stage::Map, at(1, 0), None);
    let (placements, _) = bench.place();
    assert!(placements.iter().all(|placement| placement.at == at(1, 1)), "{placements:?}");
    assert_eq!(bench.held(2, 1), 4);
    // Nor does the memory that one has taken count for another.
    let mut bench = Bench::new();
    bench.known_job(1, Job { map: class(600), ..job() }, 2, ms(10_000));
    bench.join(1, with(&[1, 1].map(|slots| Engine { memory: ByteSize::mib(1_000), ..engine(slots) })), 100);
    assert_eq!(bench.place().1.len(), 2);
}

#[test]
fn every_engine_has_rates_of_its_own() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(100));
    bench.join(1, with(&[engine(1), engine(1)]), 9);
    let lease = bench.lease_as(task(1, 1), Stage::Map, at(1, 0), None);
    bench.now = bench.now.plus(ms(400));
    bench.scheduler.ended(
        lease,
        LeaseEnd::Done { wall: ms(400), work: Metered::Fuel(Fuel(100_000_000)) },
        bench.now,
    );
    let rates = [0, 1].map(|engine| bench.scheduler.observed_rate(at(1, engine)));
    assert_eq!(rates, [Some(250_000_000), None]);
    bench.scheduler.set_ready(map(1), 1);
    assert_eq!(bench.place().0[0].at, at(1, 1), "it is four times as fast");
}

#[test]
fn every_engine_has_failures_of_its_own() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(100));
    bench.join(1, with(&[engine(1), engine(1)]), 9);
    for number in 0..3 {
        let lease = bench.lease_as(task(1, number), Stage::Map, at(1, 0), None);
        bench.now = bench.now.plus(ms(10));
        bench.scheduler.ended(lease, LeaseEnd::Failed, bench.now);
    }
    bench.scheduler.set_ready(map(1), 9);
    assert!(bench.place().0.iter().all(|placement| placement.at == at(1, 1)));
    assert_eq!(bench.held(1, 1), 3, "the other one pauses");
}

#[test]
fn prices_are_of_engines() {
    let mut bench = Bench::new();
    bench.join(
        1,
        with(&[Engine { rates: rates(11), ..engine(1) }, Engine { rates: rates(10), ..engine(1) }]),
        9,
    );
    bench.job(1, Job { map: Class { ceiling: Some(rates(10)), ..class(100) }, ..job() }, 1);
    let words: Vec<String> =
        bench.scheduler.explain(map(1), None, bench.now).iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), 2);
    assert!(words[0].starts_with("node 00000000, engine 1: a slot is free"), "{words:?}");
    assert!(words[1].starts_with("node 00000000, engine 0: asks 0.000000000000000011 TIDE"), "{words:?}");
    assert_eq!(bench.place().0[0].at, at(1, 1));
}

#[test]
fn an_engine_that_is_gone_gets_nothing_and_keeps_what_it_has() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(1_000));
    bench.join(1, with(&[engine(1), engine(1)]), 9);
    let lease = bench.lease_as(task(1, 1), Stage::Map, at(1, 1), None);
    bench.join(1, with(&[engine(1)]), 9);
    bench.scheduler.set_ready(map(1), 2);
    let (placements, leases) = bench.place();
    assert_eq!(placements.iter().map(|placement| placement.at).collect::<Vec<_>>(), [at(1, 0)]);
    bench.now = bench.now.plus(ms(1_000));
    for lease in [lease, leases[0]] {
        bench.done(lease, ms(1_000));
    }
    sanity_check(&bench.scheduler);
    assert_eq!(bench.scheduler.observed_rate(at(1, 0)), Some(1_000_000_000));
    // What comes in the other's place is another engine, of which nothing is known.
    let other = Engine { hardware_class: Some("aarch64".to_owned()), ..engine(1) };
    bench.join(1, with(&[other]), 9);
    assert_eq!(bench.scheduler.observed_rate(at(1, 0)), None);
    sanity_check(&bench.scheduler);
}

#[test]
fn a_provider_without_an_engine_of_the_kind_is_told_so() {
    let mut bench = Bench::new();
    bench.job(1, job(), 1);
    bench.join(1, with(&[]), 9);
    let kind = Unfit::Kind(ProgramKind::Wasm);
    assert_eq!(bench.scheduler.idle_reason(node(1), bench.now), IdleReason::Unfit(kind));
    let words = bench.scheduler.explain(map(1), None, bench.now);
    assert_eq!(words[0].to_string(), "node 00000000: does not run wasm programs");
    assert!(bench.place().0.is_empty());
}

#[test]
fn a_model_that_a_provider_holds_need_not_be_fetched() {
    let mut bench = Bench::new();
    let model = Class {
        needs: Needs { kind: ProgramKind::Infer, floats: FloatClass::Canonical, memory: ByteSize::mib(900) },
        shared: vec![(blob(7), 500 << 20)],
        ..class(0)
    };
    let infer = |models: Vec<ServedModel>| Engine {
        kind: ProgramKind::Infer,
        floats: vec![FloatClass::Canonical],
        hardware_class: None,
        exec_version: ProgramKind::Infer.version(),
        memory: ByteSize::mib(1_000),
        models,
        ..engine(4)
    };
    let held = ServedModel { name: "smol".to_owned(), blob: BlobRef { id: blob(7), len: 500 << 20 } };
    bench.join(1, with(&[infer(Vec::new())]), 100);
    bench.join(2, with(&[engine(4), infer(vec![held])]), 100);
    bench.job(1, Job { map: model, ..job() }, 2);
    let (placements, leases) = bench.place();
    assert_eq!(placements.iter().map(|placement| placement.at).collect::<Vec<_>>(), [at(2, 1)]);
    // The memory of one is the model's, which both share.
    assert_eq!(leases.len(), 2);
}
