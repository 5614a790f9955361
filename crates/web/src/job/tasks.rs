//! The tasks of a job as a list, and one of them: why it is where it is.

use std::time::Duration;

use maud::{Markup, html};
use tidemill_net::wire::{Explanation, JobReport, MAX_PAGE, TaskPhase, TaskReport};
use tidemill_types::{Basis, TaskNumber, lines, one_line};

use crate::{
    told,
    words::{State, count, large, moment, odds, plural, short, span, tag},
};

/// Tasks from one on.
pub struct TasksView {
    /// Of this job.
    pub job: JobReport,
    /// The first.
    pub from: u64,
    /// How many were asked for.
    pub limit: u32,
    /// The tasks.
    pub tasks: Vec<TaskReport>,
}

/// Why a job, or one of its tasks, is where it is.
pub struct TaskView {
    /// The job.
    pub job: JobReport,
    /// Which task; the job as a whole otherwise.
    pub task: Option<TaskNumber>,
    /// Why.
    pub explanation: Explanation,
    /// What the task wrote to standard error, of one that has a result.
    pub log: Option<String>,
}

/// Tasks on a page where nothing else is asked for.
pub const PAGE: u32 = 64;

impl TasksView {
    /// How many may be asked for.
    pub fn limit(asked: Option<u32>) -> u32 {
        asked.unwrap_or(PAGE).clamp(1, MAX_PAGE)
    }

    /// The page.
    pub fn content(&self) -> Markup {
        let path = format!("/jobs/{}", self.job.job);
        let name = one_line(&self.job.name, 64);
        let last = self.tasks.last().map_or(self.from, |task| task.task.0);
        let limit = u64::from(self.limit);
        let link = |from: u64| format!("{path}/tasks?from={from}&limit={limit}");
        html! {
            div.head { div {
                p.crumb { a href="/jobs" { "Jobs" } " / " a href=(path) { (name) } " / tasks" }
                h1 { "Tasks " (count(self.from)) " to " (count(last)) }
                p { "of " (plural(self.job.tasks, "task")) ", those of the reduce last" }
            } }
            section.card {
                @if self.tasks.is_empty() { (crate::shell::empty("There are no such tasks", "The numbers begin at 0.", None)) }
                @else {
                    div.tbl tabindex="0" role="region" aria-label="Tasks" {
                        table.fold role="table" {
                            caption.sr { "Tasks" }
                            thead role="rowgroup" { tr role="row" {
                                @for head in ["Task", "State", "Provider"] { th scope="col" role="columnheader" { (head) } }
                                @for head in ["Time", "Fuel", "Failed attempts"] { th.n scope="col" role="columnheader" { (head) } }
                            } }
                            tbody role="rowgroup" { @for task in &self.tasks { (row(&path, task)) } }
                        }
                    }
                    footer {
                        span { (plural(self.tasks.len() as u64, "task")) }
                        span.pages {
                            @if self.from > 0 { a href=(link(self.from.saturating_sub(limit))) { "Previous" } } @else { span { "Previous" } }
                            @if last + 1 < self.job.tasks { a href=(link(last + 1)) { "Next" } } @else { span { "Next" } }
                        }
                    }
                }
            }
        }
    }
}

fn row(path: &str, task: &TaskReport) -> Markup {
    let (state, word) = match &task.phase {
        TaskPhase::Waiting => (State::Wait, "ready"),
        TaskPhase::Leased(_) => (State::Run, "running"),
        TaskPhase::Done { .. } => (State::Done, "accepted"),
    };
    html! {
        tr role="row" {
            th scope="row" role="rowheader" {
                a href={ (path) "/explain?task=" (task.task) } { (task.task) } span.id { (one_line(&task.label, 60)) }
            }
            td.lead role="cell" { (tag(state, word)) }
            @match &task.phase {
                TaskPhase::Waiting => {
                    td.hide role="cell" {} td.hide role="cell" {} td.hide role="cell" {}
                }
                TaskPhase::Leased(nodes) => {
                    td role="cell" data-k="Provider" { span { @for node in nodes { span.mono { (node.short()) } " " } } }
                    td.hide role="cell" {} td.hide role="cell" {}
                }
                TaskPhase::Done { node, usage, wall_us, .. } => {
                    td role="cell" data-k="Provider" { span.mono title=(node) { (node.short()) } }
                    td.n role="cell" data-k="Time" { span { (span(Duration::from_micros(*wall_us))) } }
                    td.n role="cell" data-k="Fuel" { span { (large(usage.fuel.0)) } }
                }
            }
            td.n role="cell" data-k="Failed attempts" { span { (count(task.attempts.len() as u64)) } }
        }
        @for attempt in &task.attempts {
            tr role="row" { td.why colspan="6" role="cell" {
                (tag(State::Away, "an attempt failed")) " on " span.mono { (attempt.node.short()) } ", " (moment(attempt.at_ms)) ": "
                (one_line(&told::attempt_failure(attempt), 300))
            } }
        }
    }
}

impl TaskView {
    /// The page.
    pub fn content(&self) -> Markup {
        let path = format!("/jobs/{}", self.job.job);
        let name = one_line(&self.job.name, 64);
        let Explanation { summary, providers, results, verdict, standing, evidence } = &self.explanation;
        let head = match self.task {
            Some(task) => format!("Task {task}"),
            None => "Why it is where it is".to_owned(),
        };
        html! {
            div.head { div {
                p.crumb { a href="/jobs" { "Jobs" } " / " a href=(path) { (name) } " / explain" }
                h1 { (head) }
                p { (lines(summary)) }
            } }
            @if let Some(verdict) = verdict {
                section.card { header { h2 { "Verdict" } } div.in { p { (tag(State::Done, "accepted")) " "
                    @match verdict.basis {
                        Basis::Unverified => "as it came: the job asked for no verification",
                        Basis::Trusted => "from a machine that is trusted",
                        Basis::Unchecked => "unchecked, on its provider's record",
                        Basis::Agreed => { "because " (count(verdict.agreeing.into())) " of " (plural(verdict.results.into(), "result")) " agree" }
                    }
                    @if let Some(ppb) = verdict.error_ppb { "; wrong with odds " (odds(f64::from(ppb) / 1e9)) }
                } } }
            }
            @if let Some(standing) = standing {
                section.card { header { h2 { "No verdict yet" } } div.in { p { (tag(State::Unsure, "undecided so far")) " "
                    (count(standing.agreeing.into())) " of " (plural(standing.results.into(), "result")) " agree; asked for: " (self.job.reliability.asked)
                } } }
            }
            @if !results.is_empty() {
                section.card {
                    header { h2 { "Results" } div.side { "who said what" } }
                    div.tbl tabindex="0" role="region" aria-label="Results" { table.fold role="table" {
                        caption.sr { "Results of this task" }
                        thead role="rowgroup" { tr role="row" {
                            @for head in ["Provider", "Operator", "Output", "Verdict"] { th scope="col" role="columnheader" { (head) } }
                            @for head in ["Fuel", "Wrong alone", "Came"] { th.n scope="col" role="columnheader" { (head) } }
                        } }
                        tbody role="rowgroup" { @for result in results { tr role="row" {
                            th scope="row" role="rowheader" { span.mono title=(result.node) { (result.node.short()) } }
                            td.hide role="cell" { (short(&result.operator.to_string())) }
                            td role="cell" data-k="Output" { span { @match result.output {
                                Some(output) => (short(&output.to_string())),
                                None => { "number " (result.answer + 1) span.faint { " (named once it is paid)" } }
                            } } }
                            td.lead role="cell" {
                                @match result.agrees {
                                    Some(true) => (tag(State::Done, "agrees")),
                                    Some(false) => (tag(State::Bad, "wrong")),
                                    None => (tag(State::Check, "open")),
                                }
                                @if result.is_trial { " " span.faint { "known answer" } }
                            }
                            td.n role="cell" data-k="Fuel" { span { (large(result.fuel)) } }
                            td.n role="cell" data-k="Wrong alone" { span { @match result.error_ppb { Some(ppb) => (odds(f64::from(ppb) / 1e9)), None => span.faint { "not weighed" } } } }
                            td.n role="cell" data-k="Came" { span { (moment(result.at_ms)) } }
                        } } }
                    } }
                    @if *evidence > 0 { footer { span { "Evidence is kept against " (plural((*evidence).into(), "result")) ": " code { "tidemill evidence" } " writes it to files" } } }
                }
            }
            @if let Some(log) = &self.log {
                section.card {
                    header { h2 { "Log" } div.side { "what the program wrote to standard error" } }
                    div.in { @if log.is_empty() { p.faint { "It wrote nothing." } } @else { pre.cmd tabindex="0" { (lines(log)) } } }
                }
            }
            section.card {
                header { h2 { "Providers" } div.side { "why each was or was not chosen" } }
                @if providers.is_empty() { div.empty.small { p { "There is nothing to say of providers: nothing waits for one." } } }
                @else { ul.list { @for (node, why) in providers { li { span.mono.faint title=(node) { (node.short()) } " " (lines(why)) } } } }
            }
        }
    }
}
