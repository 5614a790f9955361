use tidemill_types::{ByteSize, Capacity, FloatClass, NodeId, Offer, ProgramKind, RateCard};

use super::*;

fn provider(number: u8, connected: bool, leased: u64) -> ProviderReport {
    ProviderReport {
        node: NodeId([number; 32]),
        operator: Address([number; 20]),
        offer: Offer {
            name: format!("mill-{number}"),
            disk: ByteSize::mib(1),
            down_bytes_per_s: 0,
            engines: vec![Engine {
                kind: ProgramKind::Wasm,
                floats: vec![FloatClass::Canonical],
                hardware_class: Some("x86-64-v3".to_owned()),
                exec_version: 1,
                slots: 4,
                memory: ByteSize::mib(512),
                capacity: Capacity { single_fuel_per_s: 1, all_fuel_per_s: 4_000_000_000 },
                rates: RateCard::default(),
                models: Vec::new(),
            }],
        },
        connected,
        leased,
        accepted: u64::from(number) * 10,
        unjudged: 0,
        lost_attempts: 0,
        observed_fuel_per_s: vec![0],
        idle: (leased == 0).then(|| "nothing waits".to_owned()),
    }
}

fn view(providers: Vec<ProviderReport>) -> View {
    View { providers, jobs: Vec::new(), records: HashMap::new(), is_free: true, filter: Filter::default() }
}

#[test]
fn slots_and_cells_say_how_busy_a_network_is() {
    let view =
        view(vec![provider(1, true, 9), provider(2, true, 1), provider(3, true, 0), provider(4, false, 0)]);
    let stats = view.stats().into_string();
    assert!(
        stats.contains("<dd>5 <small>of 12</small>"),
        "more leases than slots are not more work: {stats}"
    );
    assert!(view.summary().into_string().contains("3 providers of 3 operators lend 12 slots"));
    let matrix = view.matrix().into_string();
    let at = |class: &str| matrix.find(&format!("<i class=\"{class}\">")).expect(class);
    assert!(at("b4") < at("b1") && at("b1") < at("b0") && at("b0") < at("off"), "{matrix}");
    assert!(matrix.contains("wasm x86-64-v3: 4 providers, 41.7 % of slots working, 1 away"), "{matrix}");
}

#[test]
fn who_was_caught_lying_is_seen() {
    let mut view = view(vec![provider(1, true, 1)]);
    let record = RecordReport {
        kind: ProgramKind::Wasm,
        hardware_class: None,
        checked: 0.0,
        unchecked: 0.0,
        lies: 2,
        failed: 0.0,
        check_rate: 1.0,
        error_odds: 0.5,
    };
    let report = ReputationReport { is_trusted: false, stake: None, records: vec![record] };
    view.records.insert(Address([1; 20]), report);
    let page = view.content().into_string();
    assert!(page.contains("<i class=\"bad\">") && page.contains("</svg>caught lying</span>"), "{page}");
}

#[test]
fn the_list_is_filtered_and_paged() {
    let many: Vec<_> = (1..=120).map(|number| provider(number, true, 0)).collect();
    let mut view = view(many);
    let page = view.list().into_string();
    assert!(page.contains("1 to 50 of 120") && page.contains("page=2#providers"), "{page}");
    assert!(
        page.find("mill-120").expect("listed") < page.find("mill-119").expect("listed"),
        "most results first"
    );
    view.filter = Filter { q: "MILL-7".to_owned(), state: "idle".to_owned(), page: 99 };
    let page = view.list().into_string();
    assert!(page.contains("1 to 11 of 11"), "7 and 70 to 79: {page}");
    view.filter.state = "away".to_owned();
    assert!(view.list().into_string().contains("No provider is like that"));
}

#[test]
fn an_empty_network_says_how_to_join_it() {
    let page = view(Vec::new()).content().into_string();
    assert!(page.contains("tidemill provide --join TICKET"), "{page}");
}
