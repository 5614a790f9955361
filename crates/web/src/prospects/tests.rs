use tidemill_job::{JobFile, expand, seal};
use tidemill_net::{
    blobs::hash_content,
    wire::{Money, StageTerms},
};
use tidemill_types::{Capacity, EscrowContract, FloatClass, Offer, ProgramKind};

use super::*;

/// A job of four tasks of a program.
fn job(more: &str) -> JobSpec {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("a.wasm"), "program").expect("a file");
    let text = format!(
        "name = \"a\"\nprogram.path = \"a.wasm\"\n[tasks]\nrange = {{ from = 0, to = 4, step = 1 }}\n{more}"
    );
    let file = JobFile::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let plan = expand(&file, folder.path()).expect("it is there");
    seal(&plan, &file, &mut |content, _| hash_content(content)).expect("it is there")
}

fn provider(number: u8, change: impl FnOnce(&mut ProviderReport)) -> ProviderReport {
    let engine = Engine {
        kind: ProgramKind::Wasm,
        floats: vec![FloatClass::Native],
        hardware_class: Some("x86-64-v3".to_owned()),
        exec_version: ProgramKind::Wasm.version(),
        slots: 2,
        memory: ByteSize::mib(4096),
        capacity: Capacity { single_fuel_per_s: 1000, all_fuel_per_s: 1000 },
        rates: RateCard::default(),
        models: Vec::new(),
    };
    let name = format!("mill-{number}");
    let mut report = ProviderReport {
        node: NodeId([number; 32]),
        operator: Address([number; 20]),
        offer: Offer { name, disk: ByteSize::mib(4096), down_bytes_per_s: 0, engines: vec![engine] },
        connected: true,
        leased: 0,
        accepted: 0,
        unjudged: 0,
        lost_attempts: 0,
        observed_fuel_per_s: vec![0],
        idle: None,
    };
    change(&mut report);
    report
}

fn terms(money: Option<Money>, typical_fuel: Option<u64>) -> NetworkTerms {
    let rates = RateCard::default();
    let stage = StageTerms {
        providers: 1,
        operators: 1,
        trusted: 0,
        agreed_one_in: 1,
        staked: 0,
        least_stake: Amount::ZERO,
        highest: Some(rates),
        lowest: Some(rates),
        typical_fuel,
    };
    NetworkTerms { money, trusts_everybody: true, slash_odds_ppm: None, stages: vec![stage] }
}

fn told(spec: &JobSpec, terms: &NetworkTerms, providers: &[ProviderReport]) -> api::Prospects {
    let trusted = BTreeSet::from([Address([9; 20])]);
    let network = Network { coordinator: NodeId([0; 32]), terms, providers, trusted: &trusted };
    prospects(spec, network, None).expect("nothing bounds its price")
}

fn why(spec: &JobSpec, terms: &NetworkTerms, report: ProviderReport) -> String {
    let told = told(spec, terms, &[report]);
    told.providers[0].why.clone().unwrap_or_default()
}

#[test]
fn whoever_would_take_a_task_is_told_from_whoever_would_not() {
    let (spec, terms) = (job(""), terms(None, None));
    let all = [
        provider(1, |report| report.connected = false),
        provider(2, |report| report.leased = 2),
        provider(3, |report| report.leased = 1),
        provider(4, |report| report.offer.engines[0].memory = ByteSize::mib(1)),
    ];
    let told = told(&spec, &terms, &all);
    assert_eq!((told.now, told.later, told.never, told.free), (1, 1, 2, true));
    let names: Vec<_> = told.providers.iter().map(|one| (one.name.as_str(), one.takes)).collect();
    assert_eq!(
        names,
        [
            ("mill-3", api::Takes::Now),
            ("mill-2", api::Takes::Later),
            ("mill-1", api::Takes::Never),
            ("mill-4", api::Takes::Never)
        ]
    );
    assert_eq!((told.quote, told.likely_s), (None, None), "nobody pays, and the program never ran");
    assert!(told.providers.iter().all(|one| one.most_each_wei.is_none()));
}

#[test]
fn each_reason_is_named() {
    let (spec, free) = (job(""), terms(None, None));
    for (report, words) in [
        (provider(1, |report| report.connected = false), "has no session"),
        (provider(1, |report| report.offer.engines.clear()), "does not run wasm programs"),
        (provider(1, |report| report.offer.engines[0].floats.clear()), "does not run floats"),
        (provider(1, |report| report.offer.engines[0].exec_version = 0), "execution version 0"),
        (provider(1, |report| report.offer.engines[0].memory = ByteSize::mib(1)), "of memory"),
        (provider(1, |report| report.offer.engines[0].slots = 0), "no slots"),
        (provider(1, |report| report.leased = 7), "2 of 2 slots taken"),
    ] {
        let why = why(&spec, &free, report);
        assert!(why.contains(words), "{words}: {why}");
    }
    let strict = NetworkTerms { trusts_everybody: false, ..free };
    let spec = job("[policy]\nassurance = \"trusted\"");
    assert!(why(&spec, &strict, provider(1, |_| {})).contains("trusted"));
    assert_eq!(why(&spec, &strict, provider(9, |_| {})), "", "the coordinator trusts it");
}

#[test]
fn prices_and_times_follow_from_rates() {
    let spec = job("");
    let contract = EscrowContract { chain_id: 31_337, address: Address([7; 20]) };
    let money = Money { contract, account: Address([8; 20]), fee_ppm: 50_000 };
    let terms = terms(Some(money), Some(2_000));
    let dear = provider(2, |report| {
        let rates = &mut report.offer.engines[0].rates;
        rates.work.fuel = rates.work.fuel.checked_mul(100).expect("it is small");
    });
    let seen = provider(3, |report| report.observed_fuel_per_s = vec![2_000]);
    let told = told(&spec, &terms, &[provider(1, |_| {}), dear, seen]);
    let quote = told.quote.expect("it is paid for");
    assert_eq!((quote.fee_ppm, quote.locked_wei >= quote.most_wei), (50_000, true));
    let by_name = |name: &str| told.providers.iter().find(|one| one.name == name).expect("it is told of");
    assert_eq!(by_name("mill-1").task_s, Some(4.0), "half of 1000 a second in each of two slots");
    assert_eq!(by_name("mill-3").task_s, Some(1.0), "as was seen");
    assert!(by_name("mill-1").most_each_wei.is_some_and(|most| most <= quote.each_wei));
    assert!(by_name("mill-2").why.as_ref().is_some_and(|why| why.contains("where the job pays")));
    // Four tasks of 2000 at 500 and 2000 a second, each in two slots.
    assert_eq!(told.likely_s, Some(1.6));
}
