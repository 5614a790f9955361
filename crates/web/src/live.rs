//! Pages that stay current: the parts of a page that have changed, as server-sent events.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::{http::StatusCode, response::Response};
use maud::Markup;
use tidemill_coordinator::Visitor;
use tidemill_net::wire::{JobPhase, Reply, Request};
use tidemill_types::JobId;
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use crate::{
    desk::{self, Desk},
    events::{Gone, Writer, stream},
    job, jobs, network,
    problem::Problem,
    words::now_ms,
};

/// The least time between two updates of a job's page: four a second are as many as one sees.
const JOB_PAUSE: Duration = Duration::from_millis(250);

/// The time between two updates of a list.
const LIST_PAUSE: Duration = Duration::from_secs(2);

/// What does not change is told of after this, so that a lost connection is noticed.
const COMMENT: Duration = Duration::from_secs(20);

/// A part of a page, by the id of its element.
pub struct Part {
    id: &'static str,
    html: String,
}

impl Part {
    /// What is in the element of this id.
    pub fn new(id: &'static str, markup: Markup) -> Self {
        Self { id, html: markup.into_string() }
    }
}

/// What a reader has been told.
#[derive(Default)]
struct Told {
    parts: HashMap<&'static str, String>,
    cells: Vec<String>,
}

impl Told {
    /// The parts that differ from what was told.
    fn changed(&mut self, parts: Vec<Part>) -> BTreeMap<&'static str, String> {
        let mut changed = BTreeMap::new();
        for Part { id, html } in parts {
            if self.parts.get(id) != Some(&html) {
                self.parts.insert(id, html.clone());
                changed.insert(id, html);
            }
        }
        changed
    }

    /// The cells that differ, by their number; all of them the first time.
    fn changed_cells(&mut self, cells: Vec<String>) -> BTreeMap<usize, String> {
        let differ = |(at, class): &(usize, &String)| self.cells.get(*at) != Some(class);
        let changed =
            cells.iter().enumerate().filter(differ).map(|(at, class)| (at, class.clone())).collect();
        self.cells = cells;
        changed
    }
}

/// A place for one more stream.
pub fn place(desk: &Desk) -> Result<OwnedSemaphorePermit, Problem> {
    desk.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages are open: this one is current when it is loaded again",
        )
    })
}

/// Spawns a stream of events, which ends with its reader or the coordinator.
pub fn follow<F: Future<Output = Result<(), Gone>> + Send>(
    desk: Arc<Desk>,
    place: OwnedSemaphorePermit,
    told: impl FnOnce(Arc<Desk>, Arc<Writer>) -> F + Send + 'static,
) -> Response {
    let (writer, response) = stream();
    tokio::spawn(async move {
        let writer = Arc::new(writer);
        tokio::select! {
            _ = told(desk.clone(), writer.clone()) => {}
            () = writer.gone() => {}
            () = desk.over() => {}
        }
        drop(place);
    });
    response
}

/// Tells of changed parts, or that nothing has changed for long.
struct Teller {
    writer: Arc<Writer>,
    told: Told,
    silent: Duration,
}

impl Teller {
    fn new(writer: Arc<Writer>) -> Self {
        Self { writer, told: Told::default(), silent: Duration::ZERO }
    }

    async fn parts(&mut self, parts: Vec<Part>, pause: Duration) -> Result<(), Gone> {
        let changed = self.told.changed(parts);
        if !changed.is_empty() {
            self.silent = Duration::ZERO;
            return self.writer.event("parts", &changed).await;
        }
        self.silent += pause;
        if self.silent >= COMMENT {
            self.silent = Duration::ZERO;
            return self.writer.comment().await;
        }
        Ok(())
    }

    async fn cells(&mut self, cells: Vec<String>, label: &str) -> Result<(), Gone> {
        let changed = self.told.changed_cells(cells);
        if changed.is_empty() {
            return Ok(());
        }
        self.writer.event("cells", &serde_json::json!({ "cells": changed, "label": label })).await
    }
}

/// Follows the page of the network.
pub fn network(desk: Arc<Desk>, visitor: Visitor) -> Result<Response, Problem> {
    let place = place(&desk)?;
    Ok(follow(desk, place, async move |desk: Arc<Desk>, writer| {
        let mut teller = Teller::new(writer);
        loop {
            if let Ok(view) = network_view(&desk, visitor, network::Filter::default()).await {
                teller.parts(view.parts(), LIST_PAUSE).await?;
            }
            sleep(LIST_PAUSE).await;
        }
    }))
}

/// What the page of the network is made of.
pub async fn network_view(
    desk: &Desk,
    visitor: Visitor,
    filter: network::Filter,
) -> Result<network::View, Problem> {
    let mut session = desk.open(visitor);
    let providers = desk::providers(&mut session).await?;
    let jobs = desk::jobs(&mut session).await?;
    let records = desk::records(&mut session, &providers).await?;
    Ok(network::View { providers, jobs, records, is_free: desk.is_free(), filter })
}

/// Follows the list of jobs.
pub fn jobs(desk: Arc<Desk>, visitor: Visitor, filter: jobs::Filter) -> Result<Response, Problem> {
    let place = place(&desk)?;
    Ok(follow(desk, place, async move |desk: Arc<Desk>, writer| {
        let mut teller = Teller::new(writer);
        loop {
            if let Ok(view) = jobs_view(&desk, visitor, filter.clone()).await {
                teller.parts(view.parts(), LIST_PAUSE).await?;
            }
            sleep(LIST_PAUSE).await;
        }
    }))
}

/// What the list of jobs is made of.
pub async fn jobs_view(desk: &Desk, visitor: Visitor, filter: jobs::Filter) -> Result<jobs::View, Problem> {
    let mut session = desk.open(visitor);
    let jobs = desk::jobs(&mut session).await?;
    let (is_operator, is_free) = (visitor.is_operator, desk.is_free());
    Ok(jobs::View { jobs, is_operator, is_free, filter, now_ms: now_ms() })
}

/// Follows the page of a job, to its end.
pub async fn job(desk: Arc<Desk>, visitor: Visitor, id: JobId) -> Result<Response, Problem> {
    let place = place(&desk)?;
    let mut session = desk.open(visitor);
    // Whoever may not see it hears so in the status.
    let mut report = desk::job(&mut session, id).await?;
    session.send(Request::Watch { job: id }).await?;
    Ok(follow(desk, place, async move |desk: Arc<Desk>, writer| {
        let mut teller = Teller::new(writer);
        // A second one: the first has what is watched.
        let mut asking = desk.open(visitor);
        loop {
            let is_over = report.phase != JobPhase::Running;
            if let Ok(view) = job_view(&desk, &mut asking, report.clone()).await {
                teller.cells(view.grid.classes(), &view.grid.label()).await?;
                teller.parts(view.parts(), JOB_PAUSE).await?;
            }
            if is_over {
                return teller.writer.event("over", &()).await;
            }
            sleep(JOB_PAUSE).await;
            // Of what changed meanwhile only the last is there. While nothing changes, times still go on.
            tokio::select! {
                answer = session.next() => match answer.map(|answer| answer.reply) {
                    Ok(Ok(Reply::Job(next) | Reply::Ended(next))) => report = next,
                    _ => return Ok(()),
                },
                () = sleep(Duration::from_secs(1)) => {}
            }
        }
    }))
}

/// What the page of a job is made of.
pub async fn job_view(
    desk: &Desk,
    session: &mut tidemill_coordinator::LocalSession,
    job: tidemill_net::wire::JobReport,
) -> Result<job::View, Problem> {
    let grid = desk.grid(session, &job).await?;
    let output = match job.phase {
        // What cannot be shown is no reason to show nothing.
        JobPhase::Done => crate::files::listing(session, job.job).await.ok(),
        _ => None,
    };
    Ok(job::View { job, grid, output, now_ms: now_ms() })
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let mut told = Told::default();
        let parts = |number: u64| vec![Part::new("a", html! { (number) }), Part::new("b", html! { "same" })];
        assert_eq!(told.changed(parts(1)).len(), 2);
        assert_eq!(told.changed(parts(1)).len(), 0);
        assert_eq!(told.changed(parts(2)), BTreeMap::from([("a", "2".to_owned())]));
        let cells = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(told.changed_cells(cells("a1,,r1")).len(), 3);
        assert_eq!(told.changed_cells(cells("a1,,a8")), BTreeMap::from([(2, "a8".to_owned())]));
    }
}
