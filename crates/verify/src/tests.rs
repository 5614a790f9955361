//! What must hold whatever the numbers are.

use proptest::prelude::*;
use tidemill_types::{Address, Amount, TaskNumber};

use crate::*;

fn operator(number: u8) -> Witness {
    Witness::Operator(Address([number; 20]))
}

fn assurance(results: u32) -> Assurance {
    Assurance::one_in(results).expect("it is one")
}

/// The record of somebody with so many right results.
fn record(right: u32) -> Record {
    let mut record = Record::default();
    for _ in 0..right {
        record.note(Evidence::Agreed, 0, 1);
    }
    record
}

fn opinion(number: u8, answer: u8, error_odds: f64) -> Opinion<u8> {
    Opinion { witness: operator(number), answer, error_odds }
}

/// The odds that the verdict is wrong, whatever it is.
fn odds<A>(verdict: Verdict<A>) -> f64 {
    match verdict {
        Verdict::Accepted { error_odds, .. } | Verdict::Undecided { error_odds } => error_odds,
    }
}

const STRANGER: f64 = 0.5;

fn opinions() -> impl Strategy<Value = Vec<Opinion<u8>>> {
    let one = (0..6_u8, 0..3_u8, 1e-6..0.5_f64);
    prop::collection::vec(one.prop_map(|(number, answer, odds)| opinion(number, answer, odds)), 1..8)
}

proptest! {
    #[test]
    fn what_is_accepted_unchecked_is_within_the_bound(right in 1..100_000_u32, one_in in 2..10_000_u32) {
        let model = Model::default();
        let record = record(right.min(5_000));
        let rate = model.check_rate(&record, assurance(one_in), None);
        prop_assert!((model.least_rate..=1.0).contains(&rate));
        if rate < 1.0 {
            let odds = model.error_odds(&record, rate);
            prop_assert!(odds <= assurance(one_in).bound() * (1.0 + 1e-9), "{odds} at {rate}");
        }
    }

    #[test]
    fn a_better_record_is_checked_no_oftener_and_believed_no_less(right in 1..2_000_u32, more in 1..2_000_u32) {
        let model = Model::default();
        let (worse, better) = (record(right), record(right + more));
        prop_assert!(model.check_rate(&better, Assurance::DEFAULT, None) <= model.check_rate(&worse, Assurance::DEFAULT, None));
        prop_assert!(model.error_odds(&better, 0.1) <= model.error_odds(&worse, 0.1));
    }

    #[test]
    fn known_answers_find_no_fewer_lies_than_what_they_replace(rate in 0.001..1.0_f64) {
        let model = Model::default();
        let Rates { others, known } = model.rates(rate, true);
        let honest = 1.0 - model.colluding;
        // Of each lease that is of no known task, so many others are.
        let found = others * honest + known / (1.0 - known) * honest * honest;
        prop_assert!(found >= rate * honest * (1.0 - 1e-9), "{found} at {rate}");
        prop_assert!(others + known <= rate * 1.03, "{others} and {known} at {rate}");
        prop_assert_eq!(model.rates(rate, false), Rates { others: rate, known: 0.0 });
        prop_assert_eq!(model.rates(1.0, true).others, 1.0);
    }

    #[test]
    fn the_order_of_opinions_is_nothing(opinions in opinions(), one_in in 2..100_000_u32) {
        let model = Model::default();
        let mut turned = opinions.clone();
        turned.reverse();
        let [one, other] = [opinions, turned].map(|opinions| odds(judge(&model, assurance(one_in), &opinions)));
        prop_assert!((one - other).abs() <= one.abs() * 1e-9, "{one} {other}");
    }

    #[test]
    fn odds_are_odds_and_what_is_accepted_is_within_the_bound(opinions in opinions(), one_in in 2..100_000_u32) {
        match judge(&Model::default(), assurance(one_in), &opinions) {
            Verdict::Accepted { answer, error_odds } => {
                prop_assert!((0.0..=assurance(one_in).bound()).contains(&error_odds));
                prop_assert!(opinions.iter().any(|opinion| opinion.answer == answer));
            }
            Verdict::Undecided { error_odds } => {
                prop_assert!(error_odds > assurance(one_in).bound() && error_odds <= 1.0);
            }
        }
    }

    #[test]
    fn one_more_who_agrees_makes_it_more_certain_and_one_who_does_not_less(
        opinions in opinions(), number in 10..20_u8, odds_of in 1e-6..0.5_f64,
    ) {
        let model = Model::default();
        let Verdict::Accepted { answer, error_odds } = judge(&model, assurance(2), &opinions) else { return Ok(()) };
        let with = |more| [&opinions[..], &[more]].concat();
        let agreed = judge(&model, assurance(2), &with(opinion(number, answer, odds_of)));
        prop_assert!(odds(agreed) <= error_odds * (1.0 + 1e-9));
        let contradicted = judge(&model, assurance(2), &with(opinion(number, 100, odds_of)));
        // It may be somebody who is believed more.
        if !matches!(contradicted, Verdict::Accepted { answer: 100, .. }) {
            prop_assert!(odds(contradicted) >= error_odds * (1.0 - 1e-9));
        }
    }

    #[test]
    fn who_says_it_twice_says_it_once(opinions in opinions(), place in 0..8_usize) {
        let model = Model::default();
        let again = opinions[place % opinions.len()];
        let twice = [&opinions[..], &[again]].concat();
        prop_assert_eq!(
            judge(&model, Assurance::DEFAULT, &opinions),
            judge(&model, Assurance::DEFAULT, &twice)
        );
    }

    #[test]
    fn a_machine_that_is_trusted_decides(opinions in opinions(), answer in 0..4_u8, one_in in 2..1_000_000_u32) {
        let trusted = Opinion { witness: Witness::Trusted, answer, error_odds: 0.0 };
        let all = [&opinions[..], &[trusted]].concat();
        let verdict = judge(&Model::default(), assurance(one_in), &all);
        prop_assert_eq!(verdict, Verdict::Accepted { answer, error_odds: 0.0 });
    }

    #[test]
    fn a_rate_is_what_it_says(rate in 0.0..1.0_f64) {
        let chosen = (0..10_000_u64).filter(|number| is_chosen(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), rate));
        let share = chosen.count() as f64 / 10_000.0;
        prop_assert!((share - rate).abs() < 0.01, "{share} of {rate}");
    }

    #[test]
    fn cheating_loses_money_at_the_deterring_rate(stake in 1..1_000_000_u64, gain in 1..1_000_000_u64, slash in 0.1..1.0_f64) {
        let stake = Stake { slashable: Amount::tide(stake), at_risk: Amount::tide(gain), slash_odds: slash };
        let lost = |found: f64| {
            let slashed = found * slash;
            stake.slashable.wei() as f64 * slashed - stake.at_risk.wei() as f64 * (1.0 - slashed)
        };
        match stake.deterring_odds() {
            Some(found) => {
                prop_assert!(lost(found * 1.001) > 0.0 && lost(found * 0.999) < 0.0);
                let most = stake.most_at_risk(found).wei() as f64;
                prop_assert!((most / stake.at_risk.wei() as f64 - 1.0).abs() < 1e-6);
            }
            None => prop_assert!(lost(1.0) <= 1e-3 * stake.at_risk.wei() as f64),
        }
    }
}

#[test]
fn one_newcomer_alone_satisfies_no_bound_under_a_half() {
    let model = Model::default();
    let stranger = Record::default();
    for one_in in [3, 10, 1_000, 10_000_000] {
        assert_eq!(model.check_rate(&stranger, assurance(one_in), None), 1.0);
        let alone = [opinion(1, 7, model.error_odds(&stranger, 1.0))];
        let verdict = judge(&model, assurance(one_in), &alone);
        assert_eq!(verdict, Verdict::Undecided { error_odds: 0.5 });
        let course = Course::Assured { assurance: assurance(one_in), most: 9 };
        assert_eq!(course.next(&model, &alone, false), Next::Ask { more: 1 });
    }
}

#[test]
fn a_caught_liar_starts_over_and_failures_are_no_evidence() {
    let mut record = record(500);
    record.note(Evidence::Failed, 0, 1);
    assert_eq!((record.run(), record.lies()), (500.0, 0));
    record.note(Evidence::Contradicted, 0, 1);
    assert_eq!((record.run(), record.lies()), (0.0, 1));
    record.note(Evidence::Accepted, 0, 1);
    record.note(Evidence::Known, 0, 1);
    assert_eq!((record.run(), record.lies()), (2.0, 1));
    for evidence in [Evidence::KnownWrong, Evidence::DisputeLost, Evidence::Substituted] {
        assert!(evidence.is_of_a_lie());
        record.note(evidence, 0, 1);
        assert_eq!(record.run(), 0.0, "{evidence:?}");
    }
    assert_eq!(record.lies(), 4);
}

#[test]
fn a_run_counts_for_as_much_as_it_was_paid() {
    let mut record = record(1_000);
    let run = |record: &Record, wei: u128| record.for_price(Amount::from_wei(wei)).run();
    assert_eq!((run(&record, 0), run(&record, 1)), (1_000.0, 0.0), "where work is free results count");
    record.note_paid(Amount::from_wei(5_000), 0, 1);
    // A thousand results at 5 each.
    for (price, counts) in [(1, 1_000.0), (5, 1_000.0), (50, 100.0), (5_000, 1.0), (50_000, 0.1)] {
        assert!((run(&record, price) - counts).abs() < 1e-9, "{price}: {}", run(&record, price));
    }
    let model = Model::default();
    let rate =
        |price: u128| model.check_rate(&record.for_price(Amount::from_wei(price)), Assurance::DEFAULT, None);
    assert!(rate(5) < 0.5 && rate(50) == 1.0, "{} and {}", rate(5), rate(50));
    record.note(Evidence::Contradicted, 0, 1);
    record.note(Evidence::Agreed, 0, 1);
    assert_eq!(run(&record, 1), 0.0, "what was paid goes with the run");
}

#[test]
fn what_is_old_counts_half_after_a_half_life_and_lies_are_not_forgotten() {
    let mut record = record(64);
    record.note(Evidence::Contradicted, 0, 10);
    for _ in 0..64 {
        record.note(Evidence::Agreed, 0, 10);
    }
    record.age(10, 10);
    assert!((record.run() - 32.0).abs() < 1e-9);
    record.age(5, 10);
    assert!((record.run() - 32.0).abs() < 1e-9, "time does not run backwards");
    record.age(1_000_000, 10);
    assert!(record.run() < 1e-9 && record.lies() == 1);
}

#[test]
fn strangers_must_be_many_and_the_known_need_one_another() {
    let model = Model::default();
    let agreeing =
        |count: u8, odds: f64| -> Vec<_> { (1..=count).map(|number| opinion(number, 7, odds)).collect() };
    let needed = |odds: f64| {
        let accepted = |count: &u8| {
            matches!(judge(&model, Assurance::DEFAULT, &agreeing(*count, odds)), Verdict::Accepted { .. })
        };
        (1..30).find(accepted)
    };
    assert_eq!(needed(STRANGER), Some(6));
    assert_eq!(needed(model.error_odds(&record(10), 1.0)), Some(3));
    assert_eq!(needed(model.error_odds(&record(60), 1.0)), Some(2));
}

#[test]
fn a_small_part_of_the_network_decides_nothing_alone() {
    let model = Model::default();
    assert_eq!(model.within(1.0), model, "all of it is as it was");
    let agreeing: Vec<_> = (1..=40).map(|number| opinion(number, 7, STRANGER)).collect();
    let accepts = |model: &Model, count: usize| {
        matches!(judge(model, Assurance::DEFAULT, &agreeing[..count]), Verdict::Accepted { .. })
    };
    let needed = |share: f64| (1..=40).find(|count| accepts(&model.within(share), *count));
    assert_eq!(needed(1.0), Some(6));
    assert!(needed(0.5).is_some_and(|count| count > 6), "{:?}", needed(0.5));
    for share in [0.0, 0.05, 0.1, 0.2] {
        assert_eq!(needed(share), None, "as many as they like agree within {share}");
        assert!(!model.tells_within(share));
    }
    assert!(model.tells_within(0.25) && model.tells_within(1.0));
    // Nothing of such a part is accepted unchecked.
    for share in [0.0, 0.1] {
        assert_eq!(model.within(share).check_rate(&record(5_000), Assurance::DEFAULT, None), 1.0);
    }
    // A machine that is trusted decides all the same.
    let trusted = Opinion { witness: Witness::Trusted, answer: 8, error_odds: 0.0 };
    let against = [&agreeing[..6], &[trusted]].concat();
    let verdict = judge(&model.within(0.05), Assurance::DEFAULT, &against);
    assert!(matches!(verdict, Verdict::Accepted { answer: 8, .. }), "{verdict:?}");
}

proptest! {
    #[test]
    fn the_smaller_a_part_is_the_less_it_says(count in 1..9_usize, share in 0.01..1.0_f64, less in 0.01..1.0_f64) {
        let model = Model::default();
        let agreeing: Vec<_> = (0..count).map(|number| opinion(number as u8, 7, STRANGER)).collect();
        let within = |share: f64| odds(judge(&model.within(share), Assurance::DEFAULT, &agreeing));
        prop_assert!(within(share * less) >= within(share) * (1.0 - 1e-9));
        let rate = |share: f64| model.within(share).check_rate(&record(500), Assurance::DEFAULT, None);
        prop_assert!(rate(share * less) >= rate(share) * (1.0 - 1e-9));
    }
}

#[test]
fn a_dissent_is_decided_by_those_who_are_known() {
    let model = Model::default();
    let known = model.error_odds(&record(4_000), 0.1);
    let against = [opinion(1, 1, STRANGER), opinion(2, 2, known), opinion(3, 2, known)];
    assert!(matches!(judge(&model, Assurance::DEFAULT, &against), Verdict::Accepted { answer: 2, .. }));
    // Two who are known equally well and say different things decide nothing.
    let torn = [opinion(1, 1, known), opinion(2, 2, known)];
    assert!(odds(judge(&model, Assurance::DEFAULT, &torn)) >= 0.5);
}

#[test]
fn a_course_asks_until_it_is_certain_or_stuck() {
    let model = Model::default();
    let course = Course::Assured { assurance: Assurance::DEFAULT, most: 4 };
    assert_eq!(course.next::<u8>(&model, &[], true), Next::Ask { more: 1 });
    let mut opinions = Vec::new();
    for number in 1..4 {
        opinions.push(opinion(number, 7, STRANGER));
        assert_eq!(course.next(&model, &opinions, true), Next::Ask { more: 1 });
    }
    opinions.push(opinion(4, 7, STRANGER));
    assert!(matches!(course.next(&model, &opinions, true), Next::Stuck { .. }));
    opinions.push(Opinion { witness: Witness::Trusted, answer: 7, error_odds: 0.0 });
    let accepted = Next::Accept { answer: 7, error_odds: Some(0.0), is_unchecked: false };
    assert_eq!(course.next(&model, &opinions, true), accepted);

    // Whom the record lets pass is believed, unless it was chosen.
    let known = model.error_odds(&record(4_000), model.check_rate(&record(4_000), Assurance::DEFAULT, None));
    let alone = [opinion(1, 7, known)];
    assert!(matches!(course.next(&model, &alone, false), Next::Accept { is_unchecked: true, .. }));
    assert_eq!(course.next(&model, &alone, true), Next::Ask { more: 1 });
}

#[test]
fn votes_are_counted_by_operator() {
    let model = Model::default();
    let course = Course::Replicated { quorum: 2, most: 3 };
    assert_eq!(course.next::<u8>(&model, &[], false), Next::Ask { more: 2 });
    let twice = [opinion(1, 7, STRANGER), opinion(1, 7, STRANGER)];
    assert_eq!(course.next(&model, &twice, false), Next::Ask { more: 1 });
    let split = [opinion(1, 7, STRANGER), opinion(2, 8, STRANGER)];
    assert_eq!(course.next(&model, &split, false), Next::Ask { more: 1 });
    let torn = [&split[..], &[opinion(3, 9, STRANGER)]].concat();
    assert_eq!(course.next(&model, &torn, false), Next::Stuck { error_odds: None });
    let agreed = [&split[..], &[opinion(3, 8, STRANGER)]].concat();
    let accepted = Next::Accept { answer: 8, error_odds: None, is_unchecked: false };
    assert_eq!(course.next(&model, &agreed, false), accepted);
}

#[test]
fn beyond_what_spot_checks_bound_everything_is_agreed_on() {
    let model = Model::default();
    let best = record(5_000);
    assert!(model.check_rate(&best, assurance(Assurance::MOST_BY_SPOT_CHECKS), None) < 1.0);
    assert_eq!(model.check_rate(&best, assurance(Assurance::MOST_BY_SPOT_CHECKS + 1), None), 1.0);
}

#[test]
fn a_stake_that_is_too_small_has_everything_checked() {
    let model = Model::default();
    let known = record(4_000);
    let stake = |slashable, at_risk| Stake {
        slashable: Amount::tide(slashable),
        at_risk: Amount::tide(at_risk),
        slash_odds: 0.9,
    };
    let without = model.check_rate(&known, Assurance::DEFAULT, None);
    assert_eq!(model.check_rate(&known, Assurance::DEFAULT, Some(&stake(1_000, 1))), without);
    assert!(model.check_rate(&known, Assurance::DEFAULT, Some(&stake(10, 5))) > without);
    assert_eq!(model.check_rate(&known, Assurance::DEFAULT, Some(&stake(1, 1_000))), 1.0);
    assert_eq!(model.check_rate(&known, Assurance::DEFAULT, Some(&stake(1, 0))), without);
    assert_eq!(
        model.check_rate(&known, Assurance::DEFAULT, Some(&stake(0, 0))),
        1.0,
        "it has nothing to lose"
    );
}

#[test]
fn odds_of_a_slash_are_possible_ones() {
    for (text, odds) in [("0.9", 0.9), ("1", 1.0), ("1e-3", 0.001)] {
        assert_eq!(text.parse::<SlashOdds>().map(SlashOdds::get), Ok(odds));
    }
    for text in ["0", "-0.5", "1.01", "nan", "inf", "often", ""] {
        assert_eq!(text.parse::<SlashOdds>(), Err(SlashOddsError), "{text}");
    }
}

#[test]
fn models_that_make_no_sense_are_refused() {
    let model = Model::default();
    assert_eq!(model.checked(), Ok(model));
    for wrong in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(Model { dishonest: wrong, ..model }.checked().is_err());
        assert!(Model { colluding: wrong, ..model }.checked().is_err());
        assert!(Model { least_rate: wrong, ..model }.checked().is_err());
    }
    assert_eq!(Model { half_life: 0, ..model }.checked(), Err(ModelError::HalfLife));
}

#[test]
fn assurances_are_read_and_written() {
    for text in ["", "0", "1", "-5", "1e3", "4294967295"] {
        assert!(text.parse::<Assurance>().is_err(), "{text:?}");
    }
    assert_eq!("1000".parse(), Ok(Assurance::DEFAULT));
    assert_eq!(Assurance::DEFAULT.to_string(), "at most 1 wrong in 1000");
    let error = Assurance::one_in(1).expect_err("it is too little");
    assert_eq!(error.to_string(), "an assurance is one wrong result in 2 to 1000000000, not in 1");
}

#[test]
fn a_check_goes_to_somebody_who_has_said_nothing_of_it() {
    let of = |number: u8| Address([number; 20]);
    let mut checks = Checks::default();
    checks.ask(TaskNumber(1), 2, &[of(1)]);
    checks.ask(TaskNumber(2), 1, &[of(2)]);
    checks.ask(TaskNumber(3), 0, &[of(3)]);
    assert_eq!(checks.len(), 3);
    assert_eq!(checks.take_for(of(1)), Some(TaskNumber(2)));
    assert_eq!(checks.take_for(of(1)), None);
    assert_eq!(checks.take_for(of(2)), Some(TaskNumber(1)));
    assert_eq!(checks.take_for(of(2)), None, "it has that one");
    assert_eq!(checks.waiting().collect::<Vec<_>>(), [(TaskNumber(1), &[of(1), of(2)][..])]);
    checks.forget(TaskNumber(1));
    assert!(checks.is_empty() && checks.take_for(of(4)).is_none());
}

#[test]
fn a_result_waits_for_the_checks_that_were_drawn_before_it() {
    let mut turns = Turns::default();
    assert_eq!(turns.hold(TaskNumber(1), 'a'), None, "no check is open");
    let first = turns.draw(TaskNumber(2));
    assert!(turns.hold(TaskNumber(3), 'b').is_some());
    let second = turns.draw(TaskNumber(4));
    let last = turns.hold(TaskNumber(5), 'c').expect("two checks are open");
    assert_eq!((turns.first_free(), turns.first_held()), (None, Some((TaskNumber(3), 'b'))));
    turns.end(second);
    assert_eq!(turns.first_free(), None, "the first check is open");
    turns.end(first);
    assert_eq!(turns.first_free(), Some(TaskNumber(3)));
    // What waits longest is checked itself, and the others wait for that.
    turns.check(1);
    assert_eq!((turns.first_free(), turns.drawn().len(), turns.held().len()), (None, 1, 1));
    turns.end(1);
    assert_eq!(turns.first_free(), Some(TaskNumber(5)));
    turns.end(last);
    assert!(turns.is_empty());
}

#[test]
fn as_many_strangers_must_agree_as_the_document_says() {
    let needed = |results| {
        let assurance = Assurance::one_in(results).expect("it is in bounds");
        strangers_to_agree(&Model::default(), assurance)
    };
    assert_eq!([needed(2), needed(100), needed(1_000), needed(10_000)], [1, 4, 6, 7]);
}

#[test]
fn a_known_answer_is_asked_once_and_of_those_that_may_be_tried() {
    let mut known = KnownAnswers::default();
    for task in 0..100 {
        known.add(TaskNumber(task), task % 2);
    }
    // The newest 16 are there.
    assert!(known.has(|kind| *kind == 1) && !known.has(|kind| *kind == 2));
    assert_eq!(known.take(|kind| *kind == 1), Some((TaskNumber(85), 1)));
    assert_eq!(known.take(|kind| *kind == 1), Some((TaskNumber(87), 1)));
    assert_eq!(known.take(|_| true), Some((TaskNumber(84), 0)));
    known.forget(TaskNumber(86));
    assert_eq!(std::iter::from_fn(|| known.take(|_| true)).count(), 12);
    assert!(!known.has(|_| true));
}
