//! The page of what the providers of this home have earned: by day and by job, what was not paid and why, and what each of
//! them does now or waits for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use axum::{Extension, extract::State, http::StatusCode, response::Response};
use maud::{Markup, html};
use tidemill_api as api;
use tidemill_net::wire::{JobReport, ProviderReport};
use tidemill_types::{Amount, NodeId, one_line};

use crate::{
    desk::{self, Asking, Desk},
    problem::Problem,
    routes::shown,
    shell::{Page, Place, empty},
    words::{State as Shape, count, day, plural, short, tag, tide},
};

/// Rows of each table.
const MOST_JOBS: usize = 100;
const MOST_DAYS: usize = 31;
const MOST_PROVIDERS: usize = 64;

/// What the providers of a home have written down, as whoever knows the home finds it.
#[derive(Clone, Debug, Default)]
pub struct Earned {
    /// What they have earned.
    pub earnings: api::Earnings,
    /// The nodes that they are.
    pub nodes: BTreeSet<NodeId>,
}

/// Looks up what the providers of this home have earned. It may wait for the disk; what it cannot read it says in words.
pub type Earner = Arc<dyn Fn() -> Result<Earned, String> + Send + Sync>;

/// What the page is made of.
pub struct View {
    /// What providers of the home have written down.
    pub earned: Earned,
    /// The jobs that the visitor may see.
    pub jobs: Vec<JobReport>,
    /// Who lends what.
    pub providers: Vec<ProviderReport>,
    /// Whether nobody pays in the network of the page.
    pub is_free: bool,
}

/// What was decided of some results.
#[derive(Clone, Copy, Default)]
struct Sum {
    results: u64,
    amount: Amount,
    unpaid_results: u64,
    unpaid: Amount,
}

impl Sum {
    fn add(&mut self, job: &api::EarningsOfJob) {
        self.results += job.paid_results;
        self.amount = self.amount.saturating_add(job.paid_wei);
        for unpaid in &job.unpaid {
            self.unpaid_results += unpaid.results;
            self.unpaid = self.unpaid.saturating_add(unpaid.amount_wei);
        }
    }
}

impl View {
    fn escrows(&self) -> impl Iterator<Item = &api::EarningsOfEscrow> {
        self.earned.earnings.providers.iter().flat_map(|provider| &provider.escrows)
    }

    fn of_jobs(&self) -> impl Iterator<Item = &api::EarningsOfJob> {
        self.escrows().flat_map(|escrow| &escrow.jobs)
    }

    /// The providers of this home that the network knows.
    fn own(&self) -> Vec<&ProviderReport> {
        let accounts: BTreeSet<&str> =
            self.escrows().filter_map(|escrow| escrow.account.as_deref()).collect();
        let is_own = |report: &&ProviderReport| {
            self.earned.nodes.contains(&report.node)
                || accounts.contains(report.operator.to_string().as_str())
        };
        self.providers.iter().filter(is_own).collect()
    }

    /// The page.
    pub fn content(&self) -> Markup {
        let is_empty = self.of_jobs().next().is_none();
        html! {
            div.head { div {
                h1 { "Earnings" }
                p { "What the providers of this home have earned, as they wrote it down. Amounts are before fees unless they say otherwise." }
            } }
            @if is_empty {
                section.card { (self.nothing()) }
            } @else {
                dl.stats { (self.stats()) }
                div.cols.even {
                    section.card.w8 { (self.by_day()) }
                    section.card.w4 { (self.unpaid()) }
                }
                section.card { (self.by_job()) }
            }
            section.card { (self.now()) }
        }
    }

    fn nothing(&self) -> Markup {
        if self.is_free {
            return empty(
                "Nobody is paid in this network",
                "It is free. A network that pays is what `tidemill up` and `tidemill serve` start without `--free`.",
                None,
            );
        }
        empty(
            "No provider of this home has worked for pay yet",
            "What they earn stands here, by day and by job.",
            Some("tidemill provide --join ticket.txt"),
        )
    }

    fn stats(&self) -> Markup {
        let sum = |of: fn(&api::EarningsOfEscrow) -> Amount| {
            self.escrows().map(of).fold(Amount::ZERO, Amount::saturating_add)
        };
        let earned = sum(|escrow| escrow.earned_wei);
        let received = sum(|escrow| escrow.received_net_wei);
        let promised = sum(|escrow| match (escrow.ended, escrow.voucher_wei) {
            (false, Some(voucher)) => voucher.saturating_sub(escrow.received_gross_wei),
            _ => Amount::ZERO,
        });
        let lost = sum(|escrow| escrow.lost.as_ref().map_or(Amount::ZERO, |lost| lost.amount_wei));
        let mut all = Sum::default();
        self.of_jobs().for_each(|job| all.add(job));
        let stat = |name: &str, amount: Amount, more: String| {
            html! { div { dt { (name) } dd { (tide(amount)) } dd.more { (more) } } }
        };
        html! {
            (stat("Earned", earned, plural(all.results, "result")))
            (stat("Received", received, "after fees".to_owned()))
            (stat("In vouchers", promised, "paid when jobs end".to_owned()))
            (stat("Not paid", all.unpaid, format!("{}, reasons below", plural(all.unpaid_results, "result"))))
            @if !lost.is_zero() { (stat("Lost", lost, "earned, and will not come".to_owned())) }
        }
    }

    /// By the day on which a job ended; what runs counts for the day on which it was submitted.
    fn by_day(&self) -> Markup {
        let known: HashMap<String, &JobReport> =
            self.jobs.iter().map(|job| (job.job.to_string(), job)).collect();
        let mut days: BTreeMap<Option<u64>, Sum> = BTreeMap::new();
        for job in self.of_jobs() {
            let at = known.get(&job.job_id).map(|report| report.ended_ms.unwrap_or(report.submitted_ms));
            days.entry(at.map(|at| at / 86_400_000)).or_default().add(job);
        }
        html! {
            header { h2 { "By day" } div.side { "the day on which the job ended" } }
            div.tbl tabindex="0" role="region" aria-label="Earnings by day" {
                table role="table" {
                    thead role="rowgroup" { tr role="row" {
                        th scope="col" role="columnheader" { "Day" }
                        @for head in ["Paid results", "Earned", "Not paid"] { th.n scope="col" role="columnheader" { (head) } }
                    } }
                    tbody role="rowgroup" {
                        // The newest first, and at last what no day is known of.
                        @for (at, sum) in days.iter().rev().take(MOST_DAYS) {
                            tr role="row" {
                                th scope="row" role="rowheader" {
                                    @match at { Some(at) => (day(at * 86_400_000)), None => "not known here" }
                                }
                                td.n role="cell" { (count(sum.results)) }
                                td.n role="cell" { (tide(sum.amount)) }
                                td.n role="cell" { @if sum.unpaid_results > 0 { (count(sum.unpaid_results)) } @else { span.faint { "none" } } }
                            }
                        }
                    }
                }
            }
            @if days.contains_key(&None) {
                footer { span { "The day of a job is known where this coordinator ran it and still keeps it." } }
            }
        }
    }

    fn unpaid(&self) -> Markup {
        let mut reasons: Vec<(api::Unpaid, &str, Sum)> = Vec::new();
        for unpaid in self.of_jobs().flat_map(|job| &job.unpaid) {
            let at =
                reasons.iter().position(|(reason, _, _)| *reason == unpaid.reason).unwrap_or_else(|| {
                    reasons.push((unpaid.reason, &unpaid.why, Sum::default()));
                    reasons.len() - 1
                });
            let sum = &mut reasons[at].2;
            sum.unpaid_results += unpaid.results;
            sum.unpaid = sum.unpaid.saturating_add(unpaid.amount_wei);
        }
        reasons.sort_by_key(|(_, _, sum)| std::cmp::Reverse(sum.unpaid));
        html! {
            header { h2 { "Not paid, and why" } }
            @if reasons.is_empty() {
                div.empty.small { p { "Every result was paid." } }
            } @else {
                ul.list {
                    @for (reason, why, sum) in reasons {
                        li {
                            div.between.row.top { h3 { (one_line(why, 120)) } span { (tide(sum.unpaid)) } }
                            p.faint { (plural(sum.unpaid_results, "result")) }
                            p.dim { (advice(reason)) }
                        }
                    }
                }
            }
        }
    }

    fn by_job(&self) -> Markup {
        let known: HashMap<String, &JobReport> =
            self.jobs.iter().map(|job| (job.job.to_string(), job)).collect();
        let mut jobs: BTreeMap<&str, Sum> = BTreeMap::new();
        self.of_jobs().for_each(|job| jobs.entry(&job.job_id).or_default().add(job));
        let all = jobs.len() as u64;
        let mut rows: Vec<(&str, Sum, Option<&&JobReport>)> =
            jobs.into_iter().map(|(id, sum)| (id, sum, known.get(id))).collect();
        rows.sort_by_key(|(_, _, report)| std::cmp::Reverse(report.map(|report| report.submitted_ms)));
        html! {
            header { h2 { "By job" } }
            div.tbl tabindex="0" role="region" aria-label="Earnings by job" {
                table.fold role="table" {
                    caption.sr { "Earnings by job" }
                    thead role="rowgroup" { tr role="row" {
                        th scope="col" role="columnheader" { "Job" }
                        th scope="col" role="columnheader" { "State" }
                        @for head in ["Paid results", "Earned", "Results not paid", "Not paid"] {
                            th.n scope="col" role="columnheader" { (head) }
                        }
                    } }
                    tbody role="rowgroup" {
                        @for (id, sum, report) in rows.iter().take(MOST_JOBS) {
                            tr role="row" {
                                th scope="row" role="rowheader" {
                                    @match report {
                                        Some(report) => a href={ "/jobs/" (report.job) } { (one_line(&report.name, 40)) },
                                        None => "of another coordinator, or removed",
                                    }
                                    " " (short(id))
                                }
                                td.lead role="cell" { (state(sum)) }
                                td.n role="cell" data-k="Paid results" { span { (count(sum.results)) } }
                                td.n role="cell" data-k="Earned" { span { (tide(sum.amount)) } }
                                td.n role="cell" data-k="Results not paid" { span { (count(sum.unpaid_results)) } }
                                td.n role="cell" data-k="Not paid" { span { (tide(sum.unpaid)) } }
                            }
                        }
                    }
                }
            }
            footer { span { (plural(all, "job")) @if all > MOST_JOBS as u64 { ", of which the last " (MOST_JOBS) " are shown" } } code { "tidemill earnings" } }
        }
    }

    /// What each provider of this home does, or why it does nothing.
    fn now(&self) -> Markup {
        let own = self.own();
        html! {
            header { h2 { "Now" } div.side { "providers of this home in this network" } }
            @if own.is_empty() {
                div.empty.small { p { "No provider of this home is in this network." } code.cmd tabindex="0" { "tidemill provide --join ticket.txt" } }
            } @else {
                ul.list {
                    @for report in own.iter().take(MOST_PROVIDERS) {
                        li {
                            div.between.row.top {
                                h3 { @if report.offer.name.is_empty() { "unnamed" } @else { (one_line(&report.offer.name, 40)) } " " (short(&report.node.to_string())) }
                                (doing(report))
                            }
                            @match (&report.idle, report.connected) {
                                (Some(idle), true) => p.dim { (one_line(idle, 300)) },
                                (None, true) => p.dim { (plural(report.leased, "lease")) " for " (plural(report.offer.slots().into(), "slot")) },
                                (_, false) => p.dim { "It is not connected: is `tidemill provide` running there?" },
                            }
                        }
                    }
                }
            }
        }
    }
}

fn doing(report: &ProviderReport) -> Markup {
    match (report.connected, report.leased) {
        (false, _) => tag(Shape::Away, "away"),
        (true, 0) => tag(Shape::Wait, "idle"),
        (true, _) => tag(Shape::Run, "working"),
    }
}

fn state(sum: &Sum) -> Markup {
    match (sum.results, sum.unpaid_results) {
        (_, 0) => tag(Shape::Done, "paid"),
        (0, _) => tag(Shape::Bad, "not paid"),
        (_, _) => tag(Shape::Check, "partly unpaid"),
    }
}

/// What to do about results that were not paid.
fn advice(reason: api::Unpaid) -> &'static str {
    match reason {
        api::Unpaid::Late => {
            "The machine was too slow for its leases. Offer fewer slots, so that each task has more of it."
        }
        api::Unpaid::Superseded => {
            "Nothing is wrong: near the end of a job the last tasks run at several providers."
        }
        api::Unpaid::JobEnded => "Nothing is wrong: its requester ended the job, or its deadline passed.",
        api::Unpaid::Circumstance => {
            "This machine failed the task: `tidemill doctor` looks for memory, disk and limits that are too small."
        }
        api::Unpaid::Unconfirmed => {
            "The program failed here alone. If that goes on, test the machine's memory and processor."
        }
        api::Unpaid::NoOutput => {
            "The coordinator could not fetch the output. Let the provider run on until it has handed everything over."
        }
        api::Unpaid::Contradicted => {
            "The result was wrong. Test the machine's memory and processor: a provider with wrong results loses its record."
        }
        api::Unpaid::Undecided => {
            "Others gave other answers, and nobody decided. If that goes on, test the machine."
        }
    }
}

/// `GET /earnings`
pub async fn show(
    State(desk): State<Arc<Desk>>,
    Asking(visitor): Asking,
    Extension(EarnerOf(earner)): Extension<EarnerOf>,
) -> Response {
    let view = async {
        let failed = |found: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, found);
        let earned = tokio::task::spawn_blocking(move || earner()).await;
        let earned = earned.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        let mut session = desk.open(visitor);
        let jobs = desk::jobs(&mut session).await?;
        let providers = desk::providers(&mut session).await?;
        Ok(View { earned, jobs, providers, is_free: desk.is_free() })
    };
    let page = Page { title: "Earnings", place: Place::Earnings, live: None };
    shown(visitor, &page, view.await.map(|view| view.content()))
}

/// The earner among a request's extensions.
#[derive(Clone)]
pub struct EarnerOf(pub Earner);

#[cfg(test)]
mod tests {
    use tidemill_net::wire::JobPhase;

    use super::*;
    use crate::job::tests::report;

    fn of_job(id: &str, paid: u64, unpaid: Vec<(api::Unpaid, u64)>) -> api::EarningsOfJob {
        let unpaid = unpaid.into_iter().map(|(reason, results)| api::UnpaidResults {
            reason,
            why: format!("because of {reason:?}"),
            results,
            amount_wei: Amount::tide(results),
        });
        api::EarningsOfJob {
            job_id: id.to_owned(),
            escrow: "0xe".to_owned(),
            paid_results: paid,
            paid_wei: Amount::tide(paid),
            short_wei: Amount::ZERO,
            unpaid: unpaid.collect(),
        }
    }

    fn view(jobs: Vec<api::EarningsOfJob>, reports: Vec<JobReport>) -> View {
        let escrow = api::EarningsOfEscrow {
            escrow: "0xe".to_owned(),
            coordinator: "0xc".to_owned(),
            account: None,
            earned_wei: Amount::tide(7),
            voucher_wei: Some(Amount::tide(5)),
            released_wei: None,
            received_gross_wei: Amount::tide(2),
            received_net_wei: Amount::tide(1),
            ended: false,
            lost: None,
            jobs,
        };
        let provider = api::EarningsOfProvider { directory: "one".to_owned(), escrows: vec![escrow] };
        let earned = Earned { earnings: api::Earnings { providers: vec![provider] }, nodes: BTreeSet::new() };
        View { earned, jobs: reports, providers: Vec::new(), is_free: false }
    }

    #[test]
    fn what_was_earned_is_told_by_day_and_job_and_reason() {
        let known = JobReport { ended_ms: Some(86_400_000), ..report(JobPhase::Done) };
        let id = known.job.to_string();
        let jobs = vec![
            of_job(&id, 4, vec![(api::Unpaid::Late, 1)]),
            of_job("abcdef", 2, vec![(api::Unpaid::Late, 2), (api::Unpaid::Superseded, 1)]),
        ];
        let page = view(jobs, vec![known]).content().into_string();
        for words in [
            "7<i>.0000</i>",
            "1<i>.0000</i>",
            "3<i>.0000</i>",
            "2 January 1970",
            "not known here",
            "of another coordinator",
            "because of Late",
            "because of Superseded",
            "Offer fewer slots",
            "partly unpaid",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let (late, superseded) = (page.find("because of Late"), page.find("because of Superseded"));
        assert!(late < superseded, "the dearest reason is first");
    }

    #[test]
    fn who_earned_nothing_hears_why() {
        let mut nothing = view(Vec::new(), Vec::new());
        assert!(nothing.content().into_string().contains("has worked for pay yet"));
        nothing.is_free = true;
        let page = nothing.content().into_string();
        assert!(page.contains("Nobody is paid") && page.contains("tidemill provide"), "{page}");
    }
}
