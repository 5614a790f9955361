//! The list of jobs.

use maud::{Markup, html};
use tidemill_net::wire::{JobPhase, JobReport};
use tidemill_types::one_line;

use crate::{
    job::ending::phase_pill,
    live::Part,
    shell::empty,
    words::{ago, count, meter, percent, share, short, tide},
};

/// Rows on one page.
const PAGE: usize = 50;

/// What the page is made of.
pub struct View {
    /// The jobs that the visitor may see, the newest first.
    pub jobs: Vec<JobReport>,
    /// Whether they are of several requesters.
    pub is_operator: bool,
    /// Whether nobody pays here.
    pub is_free: bool,
    /// Which of them are listed.
    pub filter: Filter,
    /// The time.
    pub now_ms: u64,
}

/// Which jobs are listed.
#[derive(Clone, Default, Debug, serde::Deserialize)]
pub struct Filter {
    /// `running`, `done` or `failed`; all else is any.
    #[serde(default)]
    pub state: String,
    /// The page, from 1.
    #[serde(default)]
    pub page: usize,
}

const STATES: [(&str, &str); 4] =
    [("", "All"), ("running", "Running"), ("done", "Done"), ("failed", "Not done")];

impl View {
    /// The part of the page that changes by itself.
    pub fn parts(&self) -> Vec<Part> {
        vec![Part::new("summary", self.summary()), Part::new("jobs", self.table())]
    }

    /// The page.
    pub fn content(&self) -> Markup {
        html! {
            div.head {
                div { h1 { "Jobs" } p #summary { (self.summary()) } }
                nav.tabs aria-label="Which jobs" {
                    @for (state, name) in STATES {
                        a href={ "/jobs?state=" (state) } aria-current=[(state == self.filter.state).then_some("true")] { (name) }
                    }
                }
            }
            section.card #jobs { (self.table()) }
        }
    }

    fn summary(&self) -> Markup {
        let running = self.jobs.iter().filter(|job| job.phase == JobPhase::Running).count();
        html! {
            (count(running as u64)) " running, " (count(self.jobs.len() as u64)) " in all"
            @if self.is_operator { ", of all requesters" }
            "."
        }
    }

    fn listed(&self) -> Vec<&JobReport> {
        let is_listed = |job: &&JobReport| match self.filter.state.as_str() {
            "running" => job.phase == JobPhase::Running,
            "done" => job.phase == JobPhase::Done,
            "failed" => job.phase.is_ended() && job.phase != JobPhase::Done,
            _ => true,
        };
        self.jobs.iter().filter(is_listed).collect()
    }

    fn table(&self) -> Markup {
        let listed = self.listed();
        if listed.is_empty() {
            let head = if self.jobs.is_empty() { "No jobs yet" } else { "No job is like that" };
            return empty(
                head,
                "A job has a row here as soon as it is submitted.",
                Some("tidemill submit examples/render/job.toml"),
            );
        }
        let pages = listed.len().div_ceil(PAGE).max(1);
        let page = self.filter.page.clamp(1, pages);
        let link = |page: usize| format!("/jobs?state={}&page={page}", known(&self.filter.state));
        html! {
            div.tbl tabindex="0" role="region" aria-label="Jobs" {
                table.fold role="table" {
                    caption.sr { "Jobs, the newest first" }
                    thead role="rowgroup" { tr role="row" {
                        th scope="col" role="columnheader" { "Job" }
                        th scope="col" role="columnheader" { "State" }
                        th scope="col" role="columnheader" { "Accepted" }
                        @for head in ["Tasks", "Results per task", "Lost"] { th.n scope="col" role="columnheader" { (head) } }
                        @if !self.is_free { th.n scope="col" role="columnheader" { "Earned" } }
                        @if self.is_operator { th scope="col" role="columnheader" { "Requester" } }
                        th.n scope="col" role="columnheader" { "Submitted" }
                    } }
                    tbody role="rowgroup" {
                        @for job in listed.iter().skip((page - 1) * PAGE).take(PAGE) { (self.row(job)) }
                    }
                }
            }
            footer {
                span { (count(listed.len() as u64)) " jobs, the newest first" }
                @if pages > 1 {
                    span.pages {
                        @if page > 1 { a href=(link(page - 1)) { "Previous" } } @else { span { "Previous" } }
                        @if page < pages { a href=(link(page + 1)) { "Next" } } @else { span { "Next" } }
                    }
                }
            }
        }
    }

    fn row(&self, job: &JobReport) -> Markup {
        let redundancy = job.reliability.redundancy(job.done);
        html! {
            tr role="row" {
                th scope="row" role="rowheader" {
                    a href={ "/jobs/" (job.job) } { (one_line(&job.name, 40)) } span.id title=(job.job) { (job.job.short()) }
                }
                td.lead role="cell" { (phase_pill(&job.phase)) }
                td.nowrap role="cell" data-k="Accepted" {
                    span { (meter("small", None, &[("f-done", percent(job.done, job.tasks)), ("f-run", percent(job.leased.min(job.tasks - job.done.min(job.tasks)), job.tasks))])) (share(job.done, job.tasks)) }
                }
                td.n role="cell" data-k="Tasks" { span { (count(job.tasks)) } }
                td.n.hide role="cell" { @match redundancy { Some(each) => (format!("{each:.2}")), None => span.faint { "none" } } }
                td.n.hide role="cell" { (count(job.lost_attempts)) }
                @if !self.is_free {
                    td.n role="cell" data-k="Earned" { span { @match &job.cost { Some(cost) => (tide(cost.earned)), None => span.faint { "free" } } } }
                }
                @if self.is_operator { td.nowrap.hide role="cell" { (short(&job.requester.to_string())) } }
                td.n role="cell" data-k="Submitted" { span { (ago(job.submitted_ms, self.now_ms)) } }
            }
        }
    }
}

/// A state that there is, so that nothing else gets into links.
pub fn known(state: &str) -> &'static str {
    STATES.iter().find(|(one, _)| *one == state).map_or("", |(one, _)| one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::report;

    fn view(jobs: Vec<JobReport>, state: &str) -> View {
        View {
            jobs,
            is_operator: true,
            is_free: true,
            filter: Filter { state: state.to_owned(), page: 0 },
            now_ms: 61_000,
        }
    }

    #[test]
    fn jobs_are_listed_by_state() {
        let jobs =
            vec![report(JobPhase::Running), JobReport { name: "over".to_owned(), ..report(JobPhase::Done) }];
        let all = view(jobs.clone(), "").content().into_string();
        assert!(
            all.contains("1 running, 2 in all") && all.contains("Running") && all.contains(">over<"),
            "{all}"
        );
        let done = view(jobs.clone(), "done").table().into_string();
        assert!(done.contains(">over<") && !done.contains(">poster<"), "{done}");
        let none = view(jobs, "failed").table().into_string();
        assert!(none.contains("No job is like that"), "{none}");
        assert!(
            view(Vec::new(), "").table().into_string().contains("tidemill submit"),
            "an empty list says what to do"
        );
    }

    #[test]
    fn names_of_strangers_are_text() {
        let job = JobReport { name: "<script>alert(1)</script>".to_owned(), ..report(JobPhase::Running) };
        let page = view(vec![job], "").content().into_string();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    }
}
