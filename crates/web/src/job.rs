//! The page of a job: how far it is, what it costs, how its results are relied on, and how it ended.

pub mod ending;
mod tasks;
#[cfg(test)]
pub mod tests;

use std::{sync::Arc, time::Duration};

use maud::{Markup, html};
use tidemill_net::wire::{Contribution, JobPhase, JobReport};
use tidemill_types::{Comparison, one_line};

use self::ending::{ending, phase_pill};
pub use self::tasks::{TaskView, TasksView};
use crate::{
    files::{self, Listing},
    grid::Grid,
    live::Part,
    words::{State, count, large, meter, moment, percent, plural, share, short, span, tag, tide},
};

/// Providers that are listed.
const MOST_PROVIDERS: usize = 20;

/// What the page is made of.
pub struct View {
    /// The job.
    pub job: JobReport,
    /// Its cells.
    pub grid: Arc<Grid>,
    /// The files of its output, once it is done.
    pub output: Option<Listing>,
    /// The time.
    pub now_ms: u64,
}

impl View {
    /// The parts of the page that change by themselves. The cells are told apart.
    pub fn parts(&self) -> Vec<Part> {
        vec![
            Part::new("state", self.state()),
            Part::new("actions", self.actions()),
            Part::new("progress", self.progress()),
            Part::new("ending", self.ending()),
            Part::new("providers", self.providers()),
            Part::new("cost", self.cost()),
            Part::new("verification", self.verification()),
            Part::new("output", self.output()),
        ]
    }

    /// The page.
    pub fn content(&self) -> Markup {
        let name = one_line(&self.job.name, 64);
        let per_cell = self.grid.per_cell();
        html! {
            div.head {
                div {
                    p.crumb { a href="/jobs" { "Jobs" } " / " (name) }
                    h1 { (name) }
                    p.row #state { (self.state()) }
                }
                div.row #actions { (self.actions()) }
            }
            section.card aria-label="Progress" { div.in.pad #progress { (self.progress()) } }
            div #ending { (self.ending()) }
            div.cols {
                div.stack.w8 {
                    section.card {
                        header {
                            h2 { "Tasks" }
                            div.side {
                                @if per_cell == 1 { "one cell each" }
                                @else { "each cell is " (count(per_cell)) " tasks, and fills as they are accepted" }
                            }
                        }
                        div.in {
                            div.tasks {
                                div.axis aria-hidden="true" { @for first in self.grid.rows() { span { (count(first)) } } }
                                div.grid #grid role="img" tabindex="0" aria-label=(self.grid.label())
                                    data-per=(per_cell) data-tasks=(self.job.tasks) data-list={ "/jobs/" (self.job.job) "/tasks" } {
                                    @for class in self.grid.classes() { i class=[(!class.is_empty()).then_some(class)] {} }
                                }
                            }
                            p.at-cell role="status" #at-cell { span.faint { a href={ "/jobs/" (self.job.job) "/tasks" } { "List all tasks" } } }
                        }
                        footer {
                            div.legend {
                                span { i.sw.done {} "accepted" }
                                span { i.sw.run {} "running" }
                                span { i.sw {} "ready" }
                                span { i.sw.bad {} "an attempt came to nothing" }
                            }
                        }
                    }
                    section.card #providers { (self.providers()) }
                }
                div.stack.w4 {
                    div #cost { (self.cost()) }
                    section.card #verification { (self.verification()) }
                    section.card #output { (self.output()) }
                }
            }
        }
    }

    fn state(&self) -> Markup {
        let job = &self.job;
        let reduce = job.tasks - job.map_tasks.min(job.tasks);
        html! {
            (phase_pill(&job.phase))
            span.mono.faint title=(job.job) { "job " (job.job.short()) }
            span.faint {
                (plural(job.map_tasks, "task"))
                @if reduce > 0 { " and a reduce of " (count(reduce)) }
            }
        }
    }

    fn actions(&self) -> Markup {
        let path = format!("/jobs/{}", self.job.job);
        html! {
            a.btn href={ (path) "/explain" } { "Explain" }
            @if self.job.phase == JobPhase::Running {
                form method="post" action={ (path) "/cancel" } { button.btn.risk { "Cancel job" } }
            }
        }
    }

    /// How long it has run, or ran.
    fn running_for(&self) -> Duration {
        let until = self.job.ended_ms.unwrap_or(self.now_ms);
        Duration::from_millis(until.saturating_sub(self.job.submitted_ms))
    }

    fn progress(&self) -> Markup {
        let job = &self.job;
        let running = job.leased.min(job.tasks.saturating_sub(job.done));
        let ready = job.tasks.saturating_sub(job.done).saturating_sub(running);
        let undecided = job.reliability.undecided;
        let label = format!(
            "{} accepted, {} running, {} ready",
            share(job.done, job.tasks),
            share(running, job.tasks),
            share(ready, job.tasks)
        );
        let bar = [("f-done", percent(job.done, job.tasks)), ("f-run", percent(running, job.tasks))];
        let part =
            |state, word: &str, number: u64| html! { span { (tag(state, word)) " " b { (count(number)) } } };
        html! {
            div.progress {
                p.big { (share(job.done, job.tasks)) }
                p.dim {
                    (count(job.done)) " of " (plural(job.tasks, "task")) " accepted" br;
                    @if let Some(stuck) = &job.stuck { span.faint { "nothing runs: " (one_line(stuck, 200)) } }
                    @else { span.faint { (plural(job.lost_attempts, "attempt")) " came to nothing" } }
                }
                dl.facts { (self.facts()) }
            }
            (meter("thick", Some(&label), &bar))
            div.legend.gap {
                (part(State::Done, "accepted", job.done))
                (part(State::Run, "running", running))
                (part(State::Wait, "ready", ready))
                @if undecided > 0 { (part(State::Unsure, "undecided so far", undecided)) }
            }
        }
    }

    fn facts(&self) -> Markup {
        let job = &self.job;
        let took = self.running_for();
        let per_second = if took.is_zero() { 0.0 } else { f64_of(job.done) / took.as_secs_f64() };
        let left = job.tasks.saturating_sub(job.done);
        let is_running = job.phase == JobPhase::Running;
        let busy = job.contributions.iter().filter(|one| one.tasks > 0).count() as u64;
        html! {
            @if is_running && job.done > 0 && left > 0 {
                div { dt { "Time left" } dd { "about " (span(Duration::from_secs_f64((f64_of(left) / per_second).min(1e9)))) } }
            }
            div { dt { @if is_running { "Running for" } @else { "Took" } } dd { (span(took)) } }
            @if per_second > 0.0 { div { dt { "Pace" } dd { (pace(per_second)) } } }
            div { dt { "Used" } dd { (large(job.usage.fuel.0)) " fuel" } }
            div { dt { "Providers" } dd { (count(busy)) } }
            div { dt { "Submitted" } dd { (moment(job.submitted_ms)) } }
        }
    }

    fn ending(&self) -> Markup {
        match ending(&self.job) {
            Some(ending) => ending.card(self.job.ended_ms),
            None => html! {},
        }
    }

    fn providers(&self) -> Markup {
        let mut contributions: Vec<&Contribution> = self.job.contributions.iter().collect();
        contributions.sort_by_key(|one| std::cmp::Reverse((one.tasks, one.fuel)));
        let most = contributions.first().map_or(1, |one| one.tasks.max(1));
        let is_paid = self.job.cost.is_some();
        html! {
            header { h2 { "Who did what" } div.side { "by tasks accepted" } }
            @if contributions.is_empty() {
                div.empty.small { p { "Providers have a row here as soon as they have a task of this job." } }
            } @else {
                div.tbl tabindex="0" role="region" aria-label="Providers of this job" {
                    table.fold.line role="table" {
                        caption.sr { "What each provider did for this job" }
                        thead role="rowgroup" { tr role="row" {
                            th scope="col" role="columnheader" { "Provider" }
                            th.wide scope="col" role="columnheader" { "Share" }
                            @for head in ["Accepted", "Busy", "Checks"] { th.n scope="col" role="columnheader" { (head) } }
                            th scope="col" role="columnheader" { "Lost or wrong" }
                            @if is_paid { th.n scope="col" role="columnheader" { "Earned" } }
                        } }
                        tbody role="rowgroup" {
                            @for one in contributions.iter().take(MOST_PROVIDERS) { (contribution(one, most, is_paid)) }
                        }
                    }
                }
                footer { span {
                    (count(contributions.len().min(MOST_PROVIDERS) as u64)) " of " (plural(contributions.len() as u64, "provider"))
                } }
            }
        }
    }

    fn cost(&self) -> Markup {
        let Some(cost) = &self.job.cost else {
            return html! {
                section.card { header { h2 { "Cost" } } div.in { p.dim { "This network is free: nobody is paid for this job." } } }
            };
        };
        let total = [cost.earned, cost.reserved, cost.left]
            .into_iter()
            .fold(tidemill_types::Amount::ZERO, |sum, one| sum.checked_add(one).unwrap_or(sum));
        let of = |amount: tidemill_types::Amount| {
            if total.is_zero() { 0.0 } else { f64_of_wei(amount.wei()) * 100.0 / f64_of_wei(total.wei()) }
        };
        let bar = [("f-done", of(cost.earned)), ("f-b1", of(cost.reserved))];
        let label =
            format!("{:.0} % earned, {:.0} % held back for leases", of(cost.earned), of(cost.reserved));
        html! {
            section.card {
                header { h2 { "Cost so far" } }
                div.in {
                    p.big2 { (tide(cost.earned)) }
                    p.dim { "before fees; what is left in the escrow comes back at its end" }
                    div.gap { (meter("", Some(&label), &bar)) }
                    dl.kv.gap {
                        dt { "Earned by providers" } dd { (tide(cost.earned)) }
                        dt { "Held back for leases" } dd { (tide(cost.reserved)) }
                        dt { "Left in the escrow" } dd { (tide(cost.left)) }
                    }
                }
                footer { span { "escrow " (short(&cost.escrow.to_string())) } }
            }
        }
    }

    fn verification(&self) -> Markup {
        let job = &self.job;
        let of = &job.reliability;
        let sum = |part: fn(&Contribution) -> u64| job.contributions.iter().map(part).sum::<u64>();
        let (checks, wrong) = (sum(|one| one.checks), sum(|one| one.contradicted));
        let unjudged = job.unjudged().results;
        let liars: Vec<_> = job.contributions.iter().filter(|one| one.contradicted > 0).collect();
        html! {
            header { h2 { "Verification" } }
            div.in {
                dl.kv {
                    dt { "Asked for" } dd { (of.asked) }
                    @if of.compared != Comparison::Exact { dt { "The same" } dd { (of.compared) } }
                    @if let Some(each) = of.redundancy(job.done) { dt { "Results per task" } dd { (format!("{each:.2}")) } }
                    @for (number, how) in [(of.unchecked, "Accepted on one result"), (of.agreed, "Accepted by votes"),
                        (of.trusted, "Accepted of trusted machines"), (of.unverified, "Not verified")] {
                        @if number > 0 { dt { (how) } dd { (count(number)) } }
                    }
                }
                hr.rule;
                dl.kv {
                    dt { (tag(State::Done, "checks that agreed")) } dd { (count(checks)) }
                    dt { (tag(State::Bad, "results found wrong")) } dd { (count(wrong)) }
                    dt { (tag(State::Check, "results without a verdict")) } dd { (count(unjudged)) }
                    dt { (tag(State::Unsure, "undecided so far")) } dd { (count(of.undecided)) }
                    @if of.known > 0 { dt { (tag(State::Done, "known-answer tasks")) } dd { (count(of.known)) } }
                }
            }
            @for liar in liars {
                div.in { div.end.bad {
                    (crate::words::icon(State::Bad))
                    div {
                        h3 { (one_line(&liar.name, 40)) " contradicts the accepted answer" }
                        p { (plural(liar.contradicted, "result")) " of it " @if liar.contradicted == 1 { "was" } @else { "were" } " found wrong and unpaid." }
                        p.gap1 { a href={ "/jobs/" (job.job) "/explain" } { "Who said what" } }
                    }
                } }
            }
        }
    }

    fn output(&self) -> Markup {
        html! {
            header { h2 { "Output" } }
            @match &self.output {
                Some(listing) => (files::shown(self.job.job, listing)),
                None => div.empty.small { p {
                    @if self.job.phase == JobPhase::Running { "It appears here when the last task is accepted." }
                    @else { "There is none: the job was not done." }
                } },
            }
        }
    }
}

fn contribution(one: &Contribution, most: u64, is_paid: bool) -> Markup {
    let name = if one.name.is_empty() { "unnamed".to_owned() } else { one_line(&one.name, 40) };
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { (name) span.id title=(one.node) { (one.node.short()) } }
            td.wide.all role="cell" { (meter("", None, &[("f-b3", percent(one.tasks, most))])) }
            td.n.lead role="cell" data-l="accepted" { (count(one.tasks)) }
            td.n role="cell" data-k="Busy" { span { (span(one.busy.duration())) } }
            td.n.hide role="cell" { (count(one.checks)) }
            @if one.contradicted > 0 {
                td role="cell" data-k="Lost or wrong" { span { (tag(State::Bad, &format!("{} wrong", count(one.contradicted)))) } }
            } @else if one.lost_attempts > 0 {
                td role="cell" data-k="Lost or wrong" { span { (tag(State::Away, &format!("{} lost", count(one.lost_attempts)))) } }
            } @else {
                td.hide role="cell" { span.faint { "none" } }
            }
            @if is_paid { td.n role="cell" data-k="Earned" { span { (tide(one.earned)) } } }
        }
    }
}

/// `6.1 tasks/s`, `4 tasks/min`.
fn pace(per_second: f64) -> String {
    match per_second {
        0.95.. => format!("{per_second:.1} tasks/s"),
        0.0159.. => format!("{:.1} tasks/min", per_second * 60.0),
        _ => format!("{:.1} tasks/h", per_second * 3600.0),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn f64_of(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn f64_of_wei(wei: u128) -> f64 {
    wei as f64
}
