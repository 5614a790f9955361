//! What a small network must show.

use super::*;

fn plan() -> Plan {
    Plan { providers: 60, epochs: 40, tasks_each: 10, ..Plan::default() }
}

fn ours(assurance: u32) -> Rule {
    Rule::Tidemill { assurance }
}

fn measured(adversary: Adversary, rule: Rule) -> Measured {
    measure(&plan(), adversary, rule, || {})
}

#[test]
fn an_honest_network_is_always_right_and_is_checked_ever_less() {
    for rule in
        [ours(100), ours(10_000), Rule::Iexec { trust: 100 }, Rule::Boinc { threshold: 10 }, Rule::TwoOfTwo]
    {
        let measured = measured(Adversary::None, rule);
        assert_eq!((measured.wrong, measured.undecided, measured.honest_caught), (0, 0, 0), "{rule:?}");
        assert_eq!(measured.accepted, 60 * 40 * 10, "{rule:?}");
        assert!(measured.redundancy >= measured.redundancy_after_warm_up, "{rule:?}");
    }
    assert!(measured(Adversary::None, ours(100)).redundancy_after_warm_up < 1.2);
    assert_eq!(measured(Adversary::None, Rule::TwoOfTwo).redundancy, 2.0);
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let adversary = Adversary::Liars { share: 0.2, rate: 0.1 };
    assert_eq!(measured(adversary, ours(1_000)), measured(adversary, ours(1_000)));
}

#[test]
fn liars_are_caught_and_lose() {
    for adversary in [
        Adversary::Liars { share: 0.2, rate: 0.2 },
        Adversary::Builders { share: 0.2, rate: 1.0 },
        Adversary::Sybils { share: 0.2, rate: 0.2 },
        Adversary::Lazy { share: 0.1, rate: 0.3 },
        Adversary::Colluders { share: 0.1, rate: 0.1 },
    ] {
        let measured = measured(adversary, ours(1_000));
        assert!(measured.caught > 0 && measured.detection_delay.is_some(), "{measured:?}");
        assert!(measured.profit < 0.0, "{measured:?}");
        assert!(measured.wrong_share <= 0.001, "{measured:?}");
    }
}

#[test]
fn who_believes_everybody_after_ten_is_taken_in() {
    let builders = Adversary::Builders { share: 0.2, rate: 0.02 };
    let (here, there) = (measured(builders, ours(1_000)), measured(builders, Rule::Boinc { threshold: 10 }));
    assert!(here.wrong_share < there.wrong_share, "{here:?} {there:?}");
}

#[test]
fn bursts_from_many_slots_gain_nothing_while_a_check_takes_its_time() {
    let bursts = Adversary::Bursts { share: 0.02, rate: 1.0 };
    for check_waves in [1, 6] {
        let plan = Plan { stake: 0, check_waves, ..plan() };
        let measured = measure(&plan, bursts, ours(1_000), || {});
        assert!(measured.caught > 0 && measured.wrong_share <= 0.001, "{measured:?}");
        assert_eq!(measured.undecided, 0, "nothing waits for ever: {measured:?}");
    }
}

#[test]
fn a_record_that_friends_made_is_none() {
    let friends = Adversary::Friends { share: 0.1, rate: 0.02 };
    let (here, there) = (measured(friends, ours(1_000)), measured(friends, Rule::Boinc { threshold: 10 }));
    assert!(here.wrong_share <= 0.001 && here.wrong_share < there.wrong_share, "{here:?} {there:?}");
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    assert!(Plan::default().checked().is_ok() && Plan::quick().checked().is_ok());
    assert!(Plan { providers: 3, ..plan() }.checked().is_err());
    assert!(Plan { tasks_each: 0, ..plan() }.checked().is_err());
    assert!(Plan { check_waves: 0, ..plan() }.checked().is_err());
    assert!(Plan { slash_odds: 0.0, ..plan() }.checked().is_err());
    assert!(Plan { model: Model { colluding: 2.0, ..Model::default() }, ..plan() }.checked().is_err());
}

#[test]
fn a_picture_is_one() {
    let series = |name: &str| plot::Series {
        name: name.to_owned(),
        points: vec![(100.0, 0.01), (1_000.0, 0.001), (10_000.0, 0.0)],
        is_line: true,
    };
    let plot = plot::Plot {
        title: "a < b".to_owned(),
        x: ("x".to_owned(), true),
        y: ("y".to_owned(), true),
        series: vec![series("one"), series("two")],
    };
    let svg = plot.svg();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b"));
    assert_eq!(svg.matches("<polyline").count(), 2);
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}
