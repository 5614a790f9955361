//! The page to submit a job: its file, which is checked while it is written, the files that it names, and what would come
//! of it. It works as a plain form; a script checks earlier, and takes files that are dropped.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_api as api;
use tidemill_coordinator::Visitor;
use tidemill_job::JobFile;
use tidemill_types::{BlobRef, ByteSize, one_line};

use crate::{
    desk::{Asking, Desk},
    problem::Problem,
    routes::sorry,
    shell::{Page, Place},
    submission::{self, BLOBS, Brought, FILES, JOB_FILE, MOST_TEXT, of_mistakes},
    upload::{Inflow, Speed, form::is_form},
    words::{State as Shape, count, icon, plural, short, span, tide},
};

/// The field of the button that was pressed, and its words.
const DO: &str = "do";
const CHECK: &str = "check";

/// Providers that are listed one by one.
const MOST_LISTED: usize = 12;

/// Job files to begin with.
const EXAMPLES: [(&str, &str); 4] = [
    ("render", include_str!("../../../examples/render/job.toml")),
    ("kmer", include_str!("../../../examples/kmer/job.toml")),
    ("weather", include_str!("../../../examples/weather/job.toml")),
    ("montecarlo", include_str!("../../../examples/montecarlo/job.toml")),
];

/// What the page is made of.
#[derive(Default)]
pub struct View {
    /// The job file.
    pub text: String,
    /// What is wrong with it, or with the files.
    pub problem: Option<Problem>,
    /// Files that are here already, by path.
    pub kept: Vec<(BlobRef, String)>,
    /// What would come of it.
    pub outcome: Option<api::DryRun>,
    /// Whether nobody pays here.
    pub is_free: bool,
}

impl View {
    /// The page.
    pub fn content(&self) -> Markup {
        html! {
            div.head { div {
                h1 { "Submit a job" }
                p { "Nothing is sent to providers until you submit." }
            } }
            form.cols method="post" action="/submit" enctype="multipart/form-data" #submit {
                div.stack.w7 {
                    section.card {
                        header { h2 { "What to run" } div.side #checked {} }
                        div.in {
                            div.field {
                                label for="job-file" { "Job file" }
                                div.editor {
                                    ol aria-hidden="true" #lines { (self.lines()) }
                                    textarea #job-file name=(JOB_FILE) rows=(self.rows()) spellcheck="false" autocapitalize="off"
                                        aria-invalid=[self.has_mistakes().then_some("true")] aria-describedby="problems" { "\n" (self.text) }
                                }
                            }
                            div.stack.tight.gap #problems role="status" { (problems(self.problem.as_ref())) }
                        }
                        footer { span {
                            "Start from: "
                            @for (at, (name, _)) in EXAMPLES.iter().enumerate() {
                                @if at > 0 { ", " }
                                a href={ "/submit?from=" (name) } { (name) }
                            }
                        } }
                    }
                    section.card {
                        header { h2 { "Files" } div.side { "the program and the inputs that the job file names" } }
                        div.in {
                            div.drop #drop {
                                p { "Drop files here, or " label { "choose them" input type="file" name=(FILES) multiple #choose; } }
                                p.note { "Each stands beside the job file under its name." }
                            }
                            ul.files.gap #chosen {}
                            div #held { (self.held()) }
                        }
                    }
                }
                div.stack.w5 {
                    section.card {
                        header { h2 { "Before it is sent" } }
                        div.in {
                            div.row {
                                button.btn name=(DO) value=(CHECK) { "Check and quote" }
                                @if self.is_free {
                                    button.btn.main name=(DO) value="submit" { "Submit job" }
                                } @else {
                                    button.btn.main name=(DO) value="submit" aria-disabled="true" aria-describedby="why-not" { "Submit job" }
                                }
                            }
                            @if self.is_free {
                                p.note.gap1 { "This network is free: nobody is paid for the job." }
                            } @else {
                                p.note.gap1 #why-not {
                                    "Work is paid for here, and this page cannot open an escrow yet. A check works; to submit the job, use: "
                                }
                                code.cmd tabindex="0" { "tidemill submit job.toml" }
                            }
                        }
                    }
                    div.stack #outcome { (self.outcome()) }
                }
            }
        }
    }

    fn rows(&self) -> usize {
        self.text.lines().count().clamp(18, 40)
    }

    fn has_mistakes(&self) -> bool {
        self.problem.as_ref().is_some_and(|problem| !problem.mistakes().is_empty())
    }

    /// The numbers of the lines, those with mistakes marked.
    fn lines(&self) -> Markup {
        let mistakes = self.problem.as_ref().map(Problem::mistakes).unwrap_or_default();
        let is_wrong = |line: usize| mistakes.iter().any(|mistake| mistake.line == line as u64);
        html! {
            @for line in 1..=self.text.lines().count().max(self.rows()) {
                li class=[is_wrong(line).then_some("bad")] { (line) }
            }
        }
    }

    /// The files that were brought before, which the form names by their hashes.
    fn held(&self) -> Markup {
        let lines: String = self.kept.iter().map(|(blob, path)| format!("{} {path}\n", blob.id)).collect();
        html! {
            @if !self.kept.is_empty() {
                ul.files {
                    @for (blob, path) in &self.kept {
                        li data-path=(path) {
                            svg.ic aria-hidden="true" { use href="#i-file" {} }
                            span { (one_line(path, 120)) }
                            span.faint { (ByteSize(blob.len)) ", here" }
                        }
                    }
                }
                textarea hidden name=(BLOBS) { (lines) }
            }
        }
    }

    fn outcome(&self) -> Markup {
        let Some(outcome) = &self.outcome else {
            return html! {
                section.card { div.empty.small {
                    p { "Who would take the job, when and at what price is shown here once it was checked." }
                } }
            };
        };
        let Some(network) = &outcome.network else { return html! {} };
        html! {
            section.card {
                header { h2 { "Quote" } div.side { (one_line(&outcome.job, 64)) } }
                div.in { (quote(outcome, network)) }
                @if let Some(quote) = &network.quote {
                    footer { span { "The coordinator keeps " (f64::from(quote.fee_ppm) / 10_000.0) " % of what providers earn" } }
                }
            }
            section.card {
                header { h2 { "Who would take it now" } }
                div.in { (takers(network)) }
                (listed(network))
            }
        }
    }
}

fn quote(outcome: &api::DryRun, network: &api::Prospects) -> Markup {
    let reduce = outcome.tasks.saturating_sub(outcome.map_tasks);
    html! {
        dl.kv {
            dt { "Tasks" }
            dd { (count(outcome.map_tasks)) @if reduce > 0 { " and a reduce of " (count(reduce)) } }
            dt { "Inputs" } dd { (ByteSize(outcome.input_bytes)) }
            @match &network.quote {
                Some(quote) => {
                    dt { "At most" } dd { (tide(quote.locked_wei)) }
                    @if let Some(likely) = quote.likely_wei { dt { "Likely, from earlier runs" } dd { (tide(likely)) } }
                    dt { "One task, at most" } dd { (tide(quote.each_wei)) }
                },
                None => { dt { "Price" } dd { "free" } },
            }
            @if let Some(likely) = network.likely_s {
                dt { "Time, likely" } dd { "about " (span(Duration::from_secs_f64(likely.clamp(0.0, 1e9)))) }
            }
            dt { "Results per task" }
            dd {
                @if network.least_results_each == network.most_results_each { (network.most_results_each) }
                @else { (network.least_results_each) " to " (network.most_results_each) }
            }
        }
        @if let Some(why) = &network.undecidable {
            div.problem.gap {
                (icon(Shape::Bad))
                div { b { "No result would be accepted." } " " (one_line(why, 400)) p { (crate::reliance::WAYS) } }
            }
        }
        @for note in &network.notes { p.note.gap1 { (one_line(note, 400)) } }
    }
}

/// How many would take it, and why not the others, the most frequent reason first.
fn takers(network: &api::Prospects) -> Markup {
    let never = network.providers.iter().filter(|one| one.takes == api::Takes::Never);
    let mut reasons: Vec<(&str, u64)> = Vec::new();
    for why in never.filter_map(|one| one.why.as_deref()) {
        match reasons.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, count)) => *count += 1,
            None => reasons.push((why, 1)),
        }
    }
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    html! {
        @if network.now + network.later + network.never == 0 {
            p.dim { "No provider has joined yet: the job would wait for one." }
        } @else {
            dl.kv {
                dt { i.sw.done {} "take tasks now" } dd { (count(network.now)) }
                dt { i.sw.b1 {} "take tasks once a slot is free" } dd { (count(network.later)) }
                dt { i.sw {} "would take none" } dd { (count(network.never)) }
                @for (reason, number) in reasons.iter().take(MOST_LISTED) {
                    dt.sub { (one_line(reason, 160)) } dd.sub { (count(*number)) }
                }
            }
        }
    }
}

fn listed(network: &api::Prospects) -> Markup {
    let able = network.providers.iter().filter(|one| one.takes != api::Takes::Never);
    let able: Vec<&api::Candidate> = able.take(MOST_LISTED).collect();
    html! {
        @if !able.is_empty() {
            div.tbl tabindex="0" role="region" aria-label="Providers that would take tasks" {
                table role="table" {
                    thead role="rowgroup" { tr role="row" {
                        th scope="col" role="columnheader" { "Provider" }
                        th.n scope="col" role="columnheader" { "Slots" }
                        th.n scope="col" role="columnheader" { "A task takes" }
                        @if !network.free { th.n scope="col" role="columnheader" { "At most" } }
                    } }
                    tbody role="rowgroup" {
                        @for one in able { tr role="row" {
                            th scope="row" role="rowheader" {
                                @if one.name.is_empty() { "unnamed" } @else { (one_line(&one.name, 40)) }
                                " " (short(&one.node))
                            }
                            td.n role="cell" { (count(one.slots)) }
                            td.n role="cell" {
                                @match one.task_s {
                                    Some(seconds) => (span(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))),
                                    None => span.faint { "not known" },
                                }
                            }
                            @if !network.free { td.n role="cell" { @if let Some(most) = one.most_each_wei { (tide(most)) } } }
                        } }
                    }
                }
            }
        }
    }
}

/// What is wrong, by line where it is in the job file.
fn problems(problem: Option<&Problem>) -> Markup {
    let Some(problem) = problem else { return html! {} };
    let mistakes = problem.mistakes();
    html! {
        @if mistakes.is_empty() {
            @for line in problem.detail().lines().take(100) {
                div.problem { (icon(Shape::Bad)) div { (one_line(line, 600)) } }
            }
        }
        @for mistake in mistakes {
            div.problem {
                (icon(Shape::Bad))
                div {
                    b { "Line " (mistake.line) ":" } " " (one_line(&mistake.found, 400))
                    @if !mistake.allowed.is_empty() { p { (one_line(&mistake.allowed, 600)) } }
                }
            }
        }
    }
}

/// Which example the page begins with.
#[derive(Deserialize)]
pub struct Begin {
    #[serde(default)]
    from: String,
}

type Shared = State<Arc<Desk>>;

fn page(visitor: Visitor, status: StatusCode, view: &View) -> Response {
    let page = Page { title: "Submit a job", place: Place::Submit, live: None };
    let document = page.document(Some(visitor), &view.content()).into_string();
    (status, [(header::CACHE_CONTROL, "no-store")], Html(document)).into_response()
}

/// `GET /submit`
pub async fn show(State(desk): Shared, Asking(visitor): Asking, Query(begin): Query<Begin>) -> Response {
    let example = EXAMPLES.iter().find(|(name, _)| *name == begin.from);
    let text = example.map_or_else(String::new, |(_, text)| (*text).to_owned());
    page(visitor, StatusCode::OK, &View { text, is_free: desk.is_free(), ..View::default() })
}

/// `POST /submit`: checks, or submits and goes on to the job.
pub async fn take(State(desk): Shared, Asking(visitor): Asking, headers: HeaderMap, body: Body) -> Response {
    let is_free = desk.is_free();
    let fail = |view: View, problem: Problem| {
        let status = problem.status();
        page(visitor, status, &View { problem: Some(problem), is_free, ..view })
    };
    if !is_form(&headers) {
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this is for the form of the page");
        return sorry(Some(visitor), &problem);
    }
    let mut brought = match Brought::from_form(&desk, visitor, &headers, body, &[DO]).await {
        Ok(brought) => brought,
        Err(problem) => return fail(View::default(), problem),
    };
    // Forms end lines as the Internet does.
    brought.text = brought.text.replace("\r\n", "\n");
    let text = brought.text.clone();
    let is_check = brought.fields.iter().any(|(name, value)| name == DO && value == CHECK);
    let wrong = match JobFile::parse(&text) {
        Err(mistakes) => Some(of_mistakes(&mistakes)),
        Ok(_) if is_check => None,
        Ok(_) => submission::pay(&desk, None).err(),
    };
    if !is_check && wrong.is_none() {
        return match submission::submit(desk, visitor, brought, None, None).await {
            Ok(submitted) => Redirect::to(&format!("/jobs/{}", submitted.job_id)).into_response(),
            Err(problem) => fail(View { text, ..View::default() }, problem),
        };
    }
    // What was chosen is not to be chosen again.
    let kept = match brought.keep(&desk, visitor).await {
        Ok(kept) => kept,
        Err(problem) => return fail(View { text, ..View::default() }, problem),
    };
    let view = View { text, kept, ..View::default() };
    if let Some(problem) = wrong {
        return fail(view, problem);
    }
    match submission::dry_run(desk, visitor, brought).await {
        Ok(outcome) => page(visitor, StatusCode::OK, &View { outcome: Some(outcome), is_free, ..view }),
        Err(problem) => fail(view, problem),
    }
}

/// `POST /submit/check`: what is wrong with the text of a job file, and which files it names.
pub async fn check(Asking(_): Asking, body: Body) -> Result<Json<Value>, Problem> {
    let bytes = Inflow::new(body, MOST_TEXT as u64, Speed::default())?.all().await?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(Json(match JobFile::parse(&text) {
        Ok(file) => json!({
            "problems": "",
            "lines": [],
            "words": format!("no mistakes; it names {}", plural(submission::named(&file).len() as u64, "file")),
            "named": submission::named(&file),
        }),
        Err(mistakes) => {
            let problem = of_mistakes(&mistakes);
            let lines: Vec<u64> = problem.mistakes().iter().map(|mistake| mistake.line).collect();
            json!({
                "problems": problems(Some(&problem)).into_string(),
                "lines": lines,
                "words": problem.detail(),
                "named": null,
            })
        }
    }))
}

#[cfg(test)]
mod tests {
    use tidemill_types::BlobId;

    use super::*;

    #[test]
    fn mistakes_stand_at_their_lines() {
        let text = "name = \"a\"\ndeadline = \"2 hours\"\n[program]\npath = \"a.wasm\"\n";
        let problem = of_mistakes(&JobFile::parse(text).expect_err("a mistake"));
        let view = View { text: text.to_owned(), problem: Some(problem), is_free: true, ..View::default() };
        let page = view.content().into_string();
        assert!(page.contains("<b>Line 2:</b>") && page.contains("<li class=\"bad\">2</li>"), "{page}");
        assert!(page.contains("aria-invalid=\"true\""), "{page}");
    }

    #[test]
    fn what_strangers_write_is_text() {
        let script = "</textarea><script>alert(1)</script>";
        let blob = BlobRef { id: BlobId::of(b"a"), len: 1 };
        let view = View {
            text: script.to_owned(),
            problem: Some(Problem::new(StatusCode::BAD_REQUEST, script)),
            kept: vec![(blob, script.to_owned())],
            ..View::default()
        };
        let page = view.content().into_string();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("tidemill submit job.toml"), "where work is paid for, it says what to do");
    }

    #[test]
    fn every_example_is_a_job_file() {
        for (name, text) in EXAMPLES {
            assert!(JobFile::parse(text).is_ok(), "{name}");
        }
    }
}
