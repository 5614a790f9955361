//! The page of a network: who lends what, how busy it is, what it costs, how far results are believed.

use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};
use tidemill_net::wire::{JobPhase, JobReport, ProviderReport, RecordReport, ReputationReport};
use tidemill_types::{Address, Amount, Engine, Metered, ProgramKind, one_line};

use crate::{
    live::Part,
    shell::empty,
    words::{State, count, large, meter, percent, plural, rounded, share, short, tag, tide},
};

/// Providers that have a cell of their own. Beyond that the list below the cells has them.
const MOST_CELLS: usize = 2000;

/// Rows of the list on one page.
pub const PAGE: usize = 50;

/// What the page is made of.
pub struct View {
    /// Who lends what.
    pub providers: Vec<ProviderReport>,
    /// The jobs that the visitor may see.
    pub jobs: Vec<JobReport>,
    /// What is known of the operators' results.
    pub records: HashMap<Address, ReputationReport>,
    /// Whether nobody pays here.
    pub is_free: bool,
    /// Which providers are listed.
    pub filter: Filter,
}

/// Which providers are listed.
#[derive(Clone, Default, Debug, serde::Deserialize)]
pub struct Filter {
    /// A part of the name, node or operator.
    #[serde(default)]
    pub q: String,
    /// `working`, `idle` or `away`.
    #[serde(default)]
    pub state: String,
    /// The page, from 1.
    #[serde(default)]
    pub page: usize,
}

/// One of the words of [`Filter::state`].
fn state_of(provider: &ProviderReport) -> &'static str {
    match (provider.connected, provider.leased) {
        (false, _) => "away",
        (true, 0) => "idle",
        (true, _) => "working",
    }
}

fn slots(provider: &ProviderReport) -> u64 {
    provider.offer.slots().into()
}

/// Slots that work: a provider may hold more leases than it has slots.
fn busy(provider: &ProviderReport) -> u64 {
    if provider.connected { provider.leased.min(slots(provider)) } else { 0 }
}

impl View {
    fn connected(&self) -> impl Iterator<Item = &ProviderReport> {
        self.providers.iter().filter(|provider| provider.connected)
    }

    fn running(&self) -> impl Iterator<Item = &JobReport> {
        self.jobs.iter().filter(|job| job.phase == JobPhase::Running)
    }

    /// The parts of the page that change by themselves.
    pub fn parts(&self) -> Vec<Part> {
        vec![
            Part::new("summary", self.summary()),
            Part::new("stats", self.stats()),
            Part::new("matrix", self.matrix()),
            Part::new("engines", self.engines()),
        ]
    }

    /// The page.
    pub fn content(&self) -> Markup {
        html! {
            div.head {
                div {
                    h1 { "Network" }
                    p #summary { (self.summary()) }
                }
            }
            dl.stats #stats { (self.stats()) }
            section.card {
                header { h2 { "Providers by how busy they are" } div.side { "one cell each, the busiest first" } }
                div.in #matrix { (self.matrix()) }
                footer {
                    div.legend {
                        span { i.sw.b0 {} "idle" }
                        span { i.sw.b1 {} "to ⅓" }
                        span { i.sw.b2 {} "to ⅔" }
                        span { i.sw.b3 {} "most" }
                        span { i.sw.b4 {} "all slots" }
                        span { i.sw.away {} "away" }
                        span { i.sw.lied {} "caught lying" }
                    }
                }
            }
            div.cols.even {
                section.card.w8 {
                    header { h2 { "Engines" } }
                    div #engines { (self.engines()) }
                }
                section.card.w4.fill {
                    header { h2 { "How often results are checked" } div.side { "operators" } }
                    div.in { (self.checks()) }
                }
            }
            (self.list())
        }
    }

    fn summary(&self) -> Markup {
        let connected: Vec<_> = self.connected().collect();
        let mut operators: Vec<_> = connected.iter().map(|provider| provider.operator).collect();
        operators.sort();
        operators.dedup();
        let slots: u64 = connected.iter().map(|provider| slots(provider)).sum();
        html! {
            (plural(connected.len() as u64, "provider")) " of " (plural(operators.len() as u64, "operator"))
            " lend" @if connected.len() == 1 { "s" } " " (plural(slots, "slot")) ". "
            @if self.is_free { "The network is free: nobody is paid." }
            @else { "Work is paid for, out of escrows that requesters open." }
        }
    }

    fn stats(&self) -> Markup {
        let slots: u64 = self.connected().map(slots).sum();
        let working: u64 = self.connected().map(busy).sum();
        let running = self.running().count() as u64;
        let ready: u64 = self.running().map(|job| job.tasks.saturating_sub(job.done + job.leased)).sum();
        let accepted: u64 = self.providers.iter().map(|provider| provider.accepted).sum();
        let lost: u64 = self.providers.iter().map(|provider| provider.lost_attempts).sum();
        let of_wasm = |(engine, rate): (&Engine, u64)| (engine.kind == ProgramKind::Wasm).then_some(rate);
        let rate: u64 = self.connected().flat_map(rates).filter_map(of_wasm).sum();
        html! {
            div { dt { "Slots working" } dd { (count(working)) " " small { "of " (count(slots)) } }
                dd.more { (share(working, slots)) } }
            div { dt { "Jobs running" } dd { (count(running)) } dd.more { (count(self.jobs.len() as u64)) " kept" } }
            div { dt { "Ready tasks" } dd { (count(ready)) }
                dd.more { @if ready == 0 { "nothing waits" } @else { "wait for a slot, or for their parts" } } }
            div { dt { "Right results" } dd { (count(accepted)) }
                dd.more { (plural(lost, "attempt")) " came to nothing" } }
            div { dt { "Speed" } dd { (large(rate)) " " small { "fuel/s" } } dd.more { "all slots together" } }
            @if !self.is_free {
                div { dt { "Price of 10⁹ fuel" } dd { @match median(self.connected().flat_map(prices)) {
                    Some(price) => (tide(price)),
                    None => "none",
                } } dd.more { "median of what is asked" } }
            }
        }
    }

    fn matrix(&self) -> Markup {
        if self.providers.is_empty() {
            return empty(
                "Nobody lends a machine yet",
                "Each provider has a cell here as soon as it joins. A ticket is printed by the coordinator.",
                Some("tidemill provide --join TICKET"),
            );
        }
        let mut classes: BTreeMap<String, Vec<&ProviderReport>> = BTreeMap::new();
        for provider in self.providers.iter().take(MOST_CELLS) {
            let class =
                provider.offer.engines.first().map_or_else(|| "nothing on offer".to_owned(), engine_name);
            classes.entry(class).or_default().push(provider);
        }
        html! {
            @for (class, mut providers) in classes {
                (self.region(&class, &mut providers))
            }
            @if self.providers.len() > MOST_CELLS {
                p.note.gap { (count((self.providers.len() - MOST_CELLS) as u64)) " more are in the list below." }
            }
        }
    }

    fn region(&self, class: &str, providers: &mut [&ProviderReport]) -> Markup {
        // The busiest first, and whoever is away last, so that an update changes counts rather than places.
        providers.sort_by_key(|provider| (std::cmp::Reverse(self.cell(provider).0), provider.node));
        let slots: u64 = providers.iter().filter(|provider| provider.connected).map(|one| slots(one)).sum();
        let busy: u64 = providers.iter().map(|provider| busy(provider)).sum();
        let away = providers.iter().filter(|provider| !provider.connected).count() as u64;
        let number = plural(providers.len() as u64, "provider");
        let label =
            format!("{class}: {number}, {} of slots working, {} away", share(busy, slots), count(away));
        html! {
            div.region {
                div { h3 { (class) } p.broad { (number) } }
                div.cells role="img" aria-label=(label) {
                    @for provider in providers.iter() { i class=(self.cell(provider).1) {} }
                }
                div.n {
                    b { (share(busy, slots)) } " busy" br.broad;
                    @if away > 0 { span.faint { " " (count(away)) " away" } }
                }
            }
        }
    }

    /// Where a provider's cell is among others, the highest first, and its class.
    fn cell(&self, provider: &ProviderReport) -> (u8, &'static str) {
        let has_lied = self.record(provider).is_some_and(|record| record.lies > 0);
        match (provider.connected, percent(busy(provider), slots(provider))) {
            _ if has_lied => (0, "bad"),
            (false, _) => (1, "off"),
            (true, share) if share >= 100.0 => (6, "b4"),
            (true, share) if share > 66.7 => (5, "b3"),
            (true, share) if share > 33.4 => (4, "b2"),
            (true, share) if share > 0.0 => (3, "b1"),
            (true, _) => (2, "b0"),
        }
    }

    /// What is known of a provider's results of its first engine.
    fn record(&self, provider: &ProviderReport) -> Option<&RecordReport> {
        let engine = provider.offer.engines.first()?;
        let records = &self.records.get(&provider.operator)?.records;
        let same = |record: &&RecordReport| {
            record.kind == engine.kind
                && (record.hardware_class.is_none() || record.hardware_class == engine.hardware_class)
        };
        records.iter().find(same).or_else(|| records.first())
    }

    fn engines(&self) -> Markup {
        let mut engines: BTreeMap<String, Vec<(&ProviderReport, &Engine, u64)>> = BTreeMap::new();
        for provider in self.connected() {
            for (engine, rate) in rates(provider) {
                engines.entry(engine_name(engine)).or_default().push((provider, engine, rate));
            }
        }
        if engines.is_empty() {
            return empty(
                "No engine is on offer",
                "Each way in which machines run programs has a row here.",
                None,
            );
        }
        html! {
            div.tbl tabindex="0" role="region" aria-label="Engines on offer" {
                table.fold role="table" {
                    caption.sr { "Engines on offer" }
                    thead role="rowgroup" { tr role="row" {
                        th scope="col" role="columnheader" { "Engine" }
                        @for head in ["Machines", "Slots", "Memory", "Measured, median"] {
                            th.n scope="col" role="columnheader" { (head) }
                        }
                        @if !self.is_free { th.n scope="col" role="columnheader" { "Price, median TIDE" } }
                    } }
                    tbody role="rowgroup" {
                        @for (name, of) in &engines {
                            // All of a name are of one kind.
                            @let (work, priced) = units(of[0].1.kind);
                            tr role="row" {
                                th scope="row" role="rowheader" { (name) }
                                td.n role="cell" data-k="Machines" { span { (count(of.len() as u64)) } }
                                td.n.lead role="cell" data-l="slots" {
                                    (count(of.iter().map(|(_, engine, _)| u64::from(engine.slots)).sum()))
                                }
                                td.n role="cell" data-k="Memory" {
                                    span { (tidemill_types::ByteSize(of.iter().map(|(_, engine, _)| engine.memory.0).sum())) }
                                }
                                td.n role="cell" data-k="Measured" {
                                    span { (large(median(of.iter().map(|(_, engine, rate)| in_units(engine.kind, *rate))).unwrap_or(0))) " " (work) "/s" }
                                }
                                @if !self.is_free {
                                    td.n role="cell" data-k="Price" {
                                        span {
                                            @match median(of.iter().map(|(_, engine, _)| price(engine))) {
                                                Some(price) => (tide(price)),
                                                None => "none",
                                            }
                                            " " span.faint { "per " (priced) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn checks(&self) -> Markup {
        const STEPS: [(&str, f64, &str); 5] = [
            ("every result", 0.999, "f-b1"),
            ("1 in 2 to 10", 0.1, "f-b2"),
            ("1 in 11 to 50", 0.02, "f-b3"),
            ("1 in 51 to 99", 0.010_001, "f-b3"),
            ("1 in 100", 0.0, "f-b4"),
        ];
        let mut counts = [0u64; STEPS.len()];
        let mut trusted = 0;
        for report in self.records.values() {
            if report.is_trusted {
                trusted += 1;
                continue;
            }
            let rate = report.records.iter().map(|record| record.check_rate).fold(0.0, f64::max);
            let rate = if report.records.is_empty() { 1.0 } else { rate };
            let step = STEPS.iter().position(|(_, least, _)| rate >= *least).unwrap_or(STEPS.len() - 1);
            counts[step] += 1;
        }
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        html! {
            div.hbars {
                @for ((name, _, class), number) in STEPS.iter().zip(counts) {
                    span { (name) }
                    svg aria-hidden="true" { rect class=(class) width={ (format!("{:.1}", percent(number, most))) "%" } height="100%" rx="2" {} }
                    span.n { (count(number)) }
                }
            }
            p.note.gap {
                @if trusted > 0 { (plural(trusted, "operator")) " are trusted here and not checked. " }
                "A newcomer is checked on every task. Nobody else is checked less than once in a hundred."
            }
        }
    }

    /// Those that the filter lets through, with most work first.
    fn listed(&self) -> Vec<&ProviderReport> {
        let wanted = self.filter.q.trim().to_lowercase();
        let is_wanted = |provider: &&ProviderReport| {
            let texts = [
                provider.offer.name.to_lowercase(),
                provider.node.to_string(),
                provider.operator.to_string().to_lowercase(),
            ];
            let state = self.filter.state.as_str();
            (wanted.is_empty() || texts.iter().any(|text| text.contains(&wanted)))
                && (state.is_empty() || state == state_of(provider))
        };
        let mut listed: Vec<_> = self.providers.iter().filter(is_wanted).collect();
        listed.sort_by_key(|provider| {
            (!provider.connected, std::cmp::Reverse(provider.accepted), provider.node)
        });
        listed
    }

    fn list(&self) -> Markup {
        let listed = self.listed();
        let pages = listed.len().div_ceil(PAGE).max(1);
        let page = self.filter.page.clamp(1, pages);
        let shown: Vec<_> = listed.iter().skip((page - 1) * PAGE).take(PAGE).collect();
        let link = |page: usize| {
            let text = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            format!(
                "/network?q={}&state={}&page={page}#providers",
                text(&self.filter.q),
                text(&self.filter.state)
            )
        };
        html! {
            section.card #providers {
                header { h2 { "Providers" } div.side { (count(listed.len() as u64)) ", most right results first" } }
                form.filters.few role="search" aria-label="Filter providers" action="/network#providers" {
                    div.field {
                        label.sr for="q" { "Name, node or operator" }
                        input #q name="q" type="search" placeholder="Name, node or operator" value=(self.filter.q);
                    }
                    div.field {
                        label.sr for="state" { "State" }
                        select #state name="state" {
                            @for (value, name) in [("", "All states"), ("working", "Working"), ("idle", "Idle"), ("away", "Away")] {
                                option value=(value) selected[value == self.filter.state] { (name) }
                            }
                        }
                    }
                    button.btn { "Filter" }
                }
                @if shown.is_empty() {
                    (empty("No provider is like that", "Leave the filter empty to see all of them.", None))
                } @else {
                    div.tbl tabindex="0" role="region" aria-label="Providers" {
                        table.fold.dense role="table" {
                            caption.sr { "Providers" }
                            thead role="rowgroup" { tr role="row" {
                                @for head in ["Provider", "Operator", "Engines", "Busy slots"] {
                                    th.nowrap scope="col" role="columnheader" { (head) }
                                }
                                @if !self.is_free { th.n scope="col" role="columnheader" { "Price" } }
                                @for head in ["Checked", "Correct in a row", "Right", "No verdict"] {
                                    th.n scope="col" role="columnheader" { (head) }
                                }
                                th scope="col" role="columnheader" { "State" }
                            } }
                            tbody role="rowgroup" { @for provider in shown { (self.row(provider)) } }
                        }
                    }
                    footer {
                        span { (count(((page - 1) * PAGE + 1) as u64)) " to " (count(((page - 1) * PAGE + PAGE).min(listed.len()) as u64)) " of " (count(listed.len() as u64)) }
                        @if pages > 1 {
                            span.pages {
                                @if page > 1 { a href=(link(page - 1)) { "Previous" } } @else { span { "Previous" } }
                                @if page < pages { a href=(link(page + 1)) { "Next" } } @else { span { "Next" } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn row(&self, provider: &ProviderReport) -> Markup {
        let (busy, slots) = (busy(provider), slots(provider));
        let engines: Vec<_> = provider.offer.engines.iter().map(|engine| engine.kind.to_string()).collect();
        let is_trusted = self.records.get(&provider.operator).is_some_and(|report| report.is_trusted);
        let record = self.record(provider);
        let checked = match record {
            _ if is_trusted => "trusted".to_owned(),
            Some(record) if record.check_rate < 0.999 => {
                format!("1 in {}", count(rounded(1.0 / record.check_rate.max(0.000_001))))
            }
            _ => "every result".to_owned(),
        };
        let run = record.map_or(0, |record| rounded(record.checked + record.unchecked));
        html! {
            tr role="row" {
                th scope="row" role="rowheader" { (one_line(&provider.offer.name, 40)) span.id title=(provider.node) { (provider.node.short()) } }
                td.nowrap.hide role="cell" { (short(&provider.operator.to_string())) }
                td.nowrap role="cell" data-k="Engines" { span { (engines.join(" · ")) } }
                td.nowrap.lead role="cell" {
                    (meter("small", None, &[("f-b3", percent(busy, slots))])) (count(busy)) " of " (count(slots))
                }
                @if !self.is_free {
                    td.n role="cell" data-k="Price" { span { @if let Some(price) = prices(provider).min() { (tide(price)) } } }
                }
                td.n role="cell" data-k="Checked" { span { (checked) } }
                td.n role="cell" data-k="Correct in a row" { span { (count(run)) } }
                td.n role="cell" data-k="Right" { span { (count(provider.accepted)) } }
                td.n.hide role="cell" { (count(provider.unjudged)) }
                td.all role="cell" {
                    @match state_of(provider) {
                        _ if record.is_some_and(|record| record.lies > 0) => (tag(State::Bad, "caught lying")),
                        "away" => (tag(State::Away, "away")),
                        "idle" => (tag(State::Wait, "idle")),
                        _ => (tag(State::Run, "working")),
                    }
                    @if let Some(reason) = provider.idle.as_ref().filter(|_| provider.connected) {
                        br; span.faint { (one_line(reason, 160)) }
                    }
                }
            }
        }
    }
}

/// What people call an engine: its kind, and the class of hardware where results differ by it.
fn engine_name(engine: &Engine) -> String {
    match &engine.hardware_class {
        Some(class) => format!("{} {}", engine.kind, one_line(class, 32)),
        None => engine.kind.to_string(),
    }
}

/// How fast each engine is with all of its slots: as observed, else as it was measured.
fn rates(provider: &ProviderReport) -> impl Iterator<Item = (&Engine, u64)> {
    provider.offer.engines.iter().zip(&provider.observed_fuel_per_s).map(|(engine, observed)| {
        let rate = match observed {
            0 => engine.capacity.all_fuel_per_s,
            one => one.saturating_mul(engine.slots.into()),
        };
        (engine, rate)
    })
}

/// What the work of a kind of engines is measured in, and how much of it is priced.
fn units(kind: ProgramKind) -> (&'static str, &'static str) {
    match kind {
        ProgramKind::Wasm => ("fuel", "10⁹ fuel"),
        ProgramKind::Infer => ("tokens", "10⁶ tokens of answers"),
    }
}

/// So many units of placement, in those of a kind.
fn in_units(kind: ProgramKind, rate: u64) -> u64 {
    match kind {
        ProgramKind::Wasm => rate,
        ProgramKind::Infer => rate / Metered::UNITS_OF_TOKEN,
    }
}

/// What an engine asks for its work.
fn price(engine: &Engine) -> Amount {
    match engine.kind {
        ProgramKind::Wasm => engine.rates.work.fuel,
        ProgramKind::Infer => engine.rates.work.tokens.output,
    }
}

fn prices(provider: &ProviderReport) -> impl Iterator<Item = Amount> {
    let of_wasm = |engine: &&Engine| engine.kind == ProgramKind::Wasm;
    provider.offer.engines.iter().filter(of_wasm).map(price)
}

fn median<T: Ord + Copy>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut all: Vec<T> = all.collect();
    all.sort();
    all.get(all.len() / 2).copied()
}

#[cfg(test)]
mod tests;
