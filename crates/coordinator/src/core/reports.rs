//! What requesters are told.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidemill_net::wire::{
    Answer, Attempt, Contribution, Explanation, JobCost, JobPhase, JobPlace, JobReport, MAX_CALLS_IN_FLIGHT,
    NetworkTerms, ProviderReport, RecordReport, Refusal, Reliability, Reply, ReputationReport, StageTerms,
};
use tidemill_sched::{Candidate, ClassId, Verdict};
use tidemill_store::{JobEnd, ReputationKey};
use tidemill_types::{
    Address, Assurance, BlobId, Engine, EngineId, EngineIndex, JobId, Millis, Needs, NodeId, RateCard, Stage,
    TaskId, TaskNumber, Usage, Weight,
};
use tidemill_verify::{Record, odds_of_agreement};

use super::{
    Core,
    jobs::{Follower, Job, able},
    past::Gone,
};
use crate::event::{Caller, Effect, Now, Question};

/// What is said of an output that is damaged.
const COMES_AGAIN: &str =
    "its output, damaged on the coordinator's disk, is fetched again from the provider that made it";

impl Job {
    /// What of it is damaged, and how that comes again.
    fn why_damaged(&self) -> Option<String> {
        if let Some(blob) = self.mending.lost_input() {
            let programs = [Stage::Map, Stage::Reduce].map(|stage| self.spec.program(stage));
            let is_program = programs.iter().flatten().any(|program| program.id == blob);
            let what = if is_program { "program" } else { "input" };
            return Some(format!(
                "the job waits for its {what} {blob}, which was damaged on the coordinator's disk: it comes again \
                 when the requester connects with it, by running the job or submitting it again"
            ));
        }
        let task = self.mending.lost_task()?;
        Some(format!("{}: {COMES_AGAIN}", self.label(task)))
    }
}

impl Core {
    pub(super) fn reply(&mut self, caller: Caller, reply: Result<Reply, Refusal>) {
        self.effect(Effect::Reply(caller.session, Box::new(Answer { id: caller.call, reply })));
    }

    pub(super) fn ask(&mut self, caller: Caller, question: Question, now: Now) {
        match question {
            Question::Cancel(id) => self.cancel(caller, id, now),
            Question::Providers => {
                let reports = self.provider_reports(now);
                self.reply(caller, Ok(Reply::Providers(reports)));
            }
            Question::Reputation(operator) => {
                let report = self.reputation(operator, now);
                self.reply(caller, Ok(Reply::Reputation(report)));
            }
            Question::Terms(stages) => {
                let terms = self.terms(&stages, now);
                self.reply(caller, Ok(Reply::Terms(terms)));
            }
            Question::Escrow(escrow) => match self.escrow_report(caller, escrow) {
                Some(report) => self.reply(caller, report.map(|report| Reply::Escrow(Box::new(report)))),
                None => self.effect(Effect::EscrowFromStore(caller, escrow)),
            },
            Question::CloseEscrow(escrow) => self.close_escrow(caller, escrow, now),
            Question::Jobs { all: true, .. } if !caller.is_operator => {
                self.reply(caller, Err(Refusal::NotOperator));
            }
            Question::Jobs { limit, after, all } => {
                let shown = self.jobs.iter().filter(|(_, job)| all || job.owner == caller.principal);
                let placed = shown.map(|(id, job)| JobPlace { submitted_ms: job.submitted_ms, job: *id });
                let mut places: Vec<JobPlace> =
                    placed.filter(|place| after.is_none_or(|after| *place < after)).collect();
                places.sort_unstable_by(|a, b| b.cmp(a));
                places.truncate(limit as usize);
                let report = |place: &JobPlace| self.job_report(place.job, &self.jobs[&place.job], now);
                let running = places.iter().map(report).collect();
                self.effect(Effect::JobsFromStore { caller, limit, after, all, running });
            }
            Question::Remove { job: id, past } => {
                self.past.looked(past);
                if self.jobs.contains_key(&id) {
                    return self.reply(caller, Err(Refusal::NotEnded));
                }
                // The session has looked into the store, but what it saw may have been removed since.
                match self.past.job(id) {
                    Some(Gone::Ended(owner)) if owner == caller.principal => {}
                    Some(_) => return self.reply(caller, Err(Refusal::NoSuchJob)),
                    None if self.past.covers(past) => {}
                    None => return self.effect(Effect::RemoveAgain(caller, id)),
                }
                self.remove(id);
                self.reply(caller, Ok(Reply::Removed));
            }
            Question::Job(id)
            | Question::Watch(id)
            | Question::Follow(TaskId { job: id, .. })
            | Question::Tasks { job: id, .. }
            | Question::Explain { job: id, .. } => match self.jobs.get(&id) {
                None => self.effect(Effect::FromStore(caller, question)),
                Some(job) if !caller.may_see(job.owner) => self.reply(caller, Err(Refusal::NoSuchJob)),
                Some(_) => self.ask_about(caller, id, question, now),
            },
        }
    }

    /// A question about a running job that the caller may look at.
    fn ask_about(&mut self, caller: Caller, id: JobId, question: Question, now: Now) {
        let job = &self.jobs[&id];
        match question {
            Question::Watch(_) => {
                let calls = job.followers.iter().filter(|follower| follower.caller.session == caller.session);
                if calls.count() >= MAX_CALLS_IN_FLIGHT {
                    let reason = "too many calls wait for the end of this job".to_owned();
                    return self.reply(caller, Err(Refusal::Busy { reason }));
                }
                let report = self.job_report(id, job, now);
                let job = self.jobs.get_mut(&id).expect("it was there a moment ago");
                job.followers.push(Follower { caller, watches: true });
                self.reply(caller, Ok(Reply::Job(report)));
            }
            Question::Follow(task) => self.begin_follow(caller, task),
            Question::Tasks { from, limit, .. } => {
                let tasks = (from.0..job.spec.task_count()).take(limit as usize).map(TaskNumber);
                let tasks = tasks.map(|task| (task, self.nodes_with(job, task))).collect();
                self.effect(Effect::TasksFromStore { caller, job: id, spec: job.spec.clone(), tasks });
            }
            Question::Explain { task, .. } => match self.explanation(id, job, task, now) {
                Some(explanation) => self.effect(Effect::ExplainedFromStore(caller, id, task, explanation)),
                None => self.reply(caller, Err(Refusal::NoSuchTask)),
            },
            Question::Job(_)
            | Question::Jobs { .. }
            | Question::Cancel(_)
            | Question::Remove { .. }
            | Question::Terms(_)
            | Question::Escrow(_)
            | Question::CloseEscrow(_)
            | Question::Reputation(_)
            | Question::Providers => {
                let report = self.job_report(id, job, now);
                self.reply(caller, Ok(Reply::Job(report)));
            }
        }
    }

    /// The providers that have a task.
    fn nodes_with(&self, job: &Job, task: TaskNumber) -> Vec<NodeId> {
        let leases = job.open.get(&task).map(|open| open.leases.as_slice()).unwrap_or_default();
        leases.iter().filter_map(|lease| Some(self.leases.get(lease)?.node)).collect()
    }

    fn explanation(&self, id: JobId, job: &Job, task: Option<TaskNumber>, now: Now) -> Option<Explanation> {
        let stage = match task {
            Some(task) => job.spec.node(task)?.stage(),
            None if job.frontier.is_map_done() => Stage::Reduce,
            None => Stage::Map,
        };
        let is_done = task.is_some_and(|task| job.frontier.is_node_done(job.node(task)));
        // What is done is nobody's to have.
        let candidates = match is_done {
            true => Vec::new(),
            false => self.sched.explain(ClassId { job: id, stage }, task, now.mono),
        };
        let open = task.and_then(|task| job.open.get(&task));
        let opinions = open.map(|open| open.opinions.as_slice()).unwrap_or_default();
        let said: BTreeSet<Address> = opinions.iter().map(|given| given.result.operator).collect();
        let of_candidate = |candidate: &Candidate| {
            let operator = self.providers.get(&candidate.node).map(|provider| provider.operator);
            let has_said = operator.is_some_and(|operator| said.contains(&operator));
            let words = match has_said && candidate.verdict != Verdict::Holds {
                true => {
                    format!("node {}: its operator has given a result of the task", candidate.node.short())
                }
                false => candidate.to_string(),
            };
            (candidate.node, words)
        };
        let providers = candidates.iter().map(of_candidate).collect();
        let summary = match task {
            None => {
                let (done, total) = (job.frontier.done_count(), job.frontier.total());
                format!(
                    "{done} of {total} tasks are done, {} wait for a provider",
                    job.frontier.ready_count()
                )
            }
            Some(task) => {
                let label = job.label(task);
                let results = match opinions.len() {
                    1 => "1 result".to_owned(),
                    count => format!("{count} results"),
                };
                let failures = open.map_or(0, |open| open.failures.len());
                let state = match open {
                    _ if is_done && job.mending.is_lost(task) => {
                        format!("it is done, and {COMES_AGAIN}")
                    }
                    _ if is_done => "it is done".to_owned(),
                    Some(open) if !open.leases.is_empty() => {
                        let nodes: Vec<_> = open
                            .leases
                            .iter()
                            .filter_map(|lease| Some(self.leases.get(lease)?.node.short()))
                            .collect();
                        let has = format!("provider {} has it", nodes.join(" and provider "));
                        if opinions.is_empty() {
                            has
                        } else {
                            format!("{has}, beside {results} without a verdict")
                        }
                    }
                    Some(open) if open.comparing.is_some() => format!("its {results} are being compared"),
                    Some(open) if open.is_held() => {
                        "it has 1 result, which waits for a check of an earlier one of its operator"
                            .to_owned()
                    }
                    Some(open) if !open.opinions.is_empty() => {
                        format!("it has {results} and no verdict: it waits for another operator's")
                    }
                    Some(open) if open.waiting.is_some() => "it waits for a provider".to_owned(),
                    Some(_) => "its inputs are being put together".to_owned(),
                    None if stage == Stage::Reduce => "it waits for its parts".to_owned(),
                    None => "it waits for a provider".to_owned(),
                };
                match failures {
                    0 => format!("{label}: {state}"),
                    1 => format!("{label}: {state}; one attempt failed"),
                    more => format!("{label}: {state}; {more} attempts failed"),
                }
            }
        };
        Some(Explanation { summary, providers, ..Explanation::default() })
    }

    pub(super) fn job_report(&self, id: JobId, job: &Job, now: Now) -> JobReport {
        let leased: u64 = job.open.values().map(|open| open.leases.len() as u64).sum();
        let is_done = job.frontier.is_done() && job.mending.lost_task().is_none();
        let stuck = (leased == 0 && !is_done).then(|| self.why_stuck(id, job, now)).flatten();
        JobReport {
            job: id,
            requester: job.owner,
            name: job.spec.name().to_string(),
            phase: JobPhase::Running,
            submitted_ms: job.submitted_ms,
            ended_ms: None,
            tasks: job.spec.task_count(),
            map_tasks: job.spec.map_count(),
            done: job.frontier.done_count(),
            leased,
            lost_attempts: job.lost_attempts(),
            usage: job.usage,
            contributions: self.contributions(job),
            stuck,
            cost: job.money.as_ref().map(|money| self.job_cost(money)),
            reliability: Reliability {
                undecided: job.undecided.max(job.reliability.undecided),
                ..job.reliability.clone()
            },
        }
    }

    /// What tasks of these sorts would cost here now.
    fn terms(&self, stages: &[(Needs, BlobId)], now: Now) -> NetworkTerms {
        let stages = stages.iter().map(|(needs, program)| {
            let present = self.providers.values().filter(|provider| provider.session.is_some());
            let able: Vec<(Address, Vec<&Engine>)> = present
                .map(|provider| (provider.operator, able(&provider.offer, needs, None).collect()))
                .filter(|(_, engines): &(Address, Vec<&Engine>)| !engines.is_empty())
                .collect();
            let engines = || {
                able.iter()
                    .flat_map(|(operator, engines)| engines.iter().map(move |engine| (*operator, *engine)))
            };
            let operators: BTreeSet<Address> = able.iter().map(|(operator, _)| *operator).collect();
            let trusted = operators.iter().filter(|operator| self.config.trust.covers(operator)).count();
            let agreed = self.odds_of_agreement(needs, engines(), now);
            let rates: Vec<RateCard> = engines().map(|(_, engine)| engine.rates).collect();
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let (staked, least_stake) = self.staked(operators.iter().copied());
            StageTerms {
                providers: count(able.len()),
                operators: count(operators.len()),
                trusted: count(trusted),
                // Odds of nothing make it the largest number.
                agreed_one_in: (1.0 / agreed) as u64,
                staked,
                least_stake,
                highest: rates.iter().copied().reduce(RateCard::highest),
                lowest: rates.iter().copied().reduce(RateCard::lowest),
                typical_fuel: self.sched.typical_fuel(*program),
            }
        });
        NetworkTerms {
            money: self.money.as_ref().map(|money| money.config.terms),
            slash_odds_ppm: self.slash_odds_ppm(),
            trusts_everybody: self.config.trust.everybody,
            stages: stages.collect(),
        }
    }

    /// The odds that an answer is wrong on which the operators of all these engines agree, at the best that is known of
    /// each.
    fn odds_of_agreement<'a>(
        &self,
        needs: &Needs,
        engines: impl Iterator<Item = (Address, &'a Engine)>,
        now: Now,
    ) -> f64 {
        let model = self.reputations.model();
        let mut of_each = BTreeMap::new();
        for (operator, engine) in engines {
            for hardware_class in [None, engine.hardware_class.clone()] {
                let key = ReputationKey { operator, kind: needs.kind, hardware_class };
                let odds = model.error_odds(&self.reputations.record(&key, now), 1.0);
                let best: &mut f64 = of_each.entry(operator).or_insert(1.0);
                *best = best.min(odds);
            }
        }
        odds_of_agreement(model, &of_each.into_values().collect::<Vec<_>>())
    }

    /// Why no provider has any of a job's tasks.
    fn why_stuck(&self, id: JobId, job: &Job, now: Now) -> Option<String> {
        if let Some(reason) = job.why_damaged() {
            return Some(reason);
        }
        if self.providers.values().all(|provider| provider.session.is_none()) {
            return Some("no provider is connected".to_owned());
        }
        let stage = if job.frontier.is_map_done() { Stage::Reduce } else { Stage::Map };
        if let Some(reason) = self.why_unfunded(id, now) {
            return Some(reason);
        }
        if job.frontier.ready_count() == 0
            && let Some(reason) = self.why_undecided(id, job, now)
        {
            return Some(reason);
        }
        let candidates = self.sched.explain(ClassId { job: id, stage }, None, now.mono);
        candidates.first().map(ToString::to_string)
    }

    /// Who did what, the most first.
    pub(super) fn contributions(&self, job: &Job) -> Vec<Contribution> {
        let unjudged = job.unjudged();
        let nodes: BTreeSet<NodeId> = job.tallies.keys().chain(unjudged.keys()).copied().collect();
        let contribution = |node: NodeId| {
            let tally = job.tallies.get(&node).copied().unwrap_or_default();
            let provider = self.providers.get(&node);
            Contribution {
                node,
                name: provider.map(|provider| provider.offer.name.clone()).unwrap_or_default(),
                tasks: tally.tasks,
                busy: Millis(tally.busy_us / 1000),
                fuel: tally.fuel,
                unjudged: unjudged.get(&node).copied().unwrap_or_default().told(),
                lost_attempts: tally.lost_attempts,
                checks: tally.checks,
                contradicted: tally.contradicted,
                earned: tally.earned,
            }
        };
        let mut list: Vec<Contribution> = nodes.into_iter().map(contribution).collect();
        list.sort_by_key(|one| std::cmp::Reverse((one.tasks, one.unjudged.results)));
        list
    }

    pub(super) fn ended_report(&self, id: JobId, job: &Job, end: &JobEnd, now: Now) -> JobReport {
        JobReport {
            phase: phase(end, |task| job.label(task)),
            ended_ms: Some(now.unix_ms),
            leased: 0,
            stuck: None,
            ..self.job_report(id, job, now)
        }
    }

    /// Tells those who watch what has changed.
    pub(super) fn report_to_watchers(&mut self, now: Now) {
        let news: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.news && job.followers.iter().any(|follower| follower.watches))
            .map(|(id, _)| *id)
            .collect();
        for id in news {
            let report = self.job_report(id, &self.jobs[&id], now);
            let job = self.jobs.get_mut(&id).expect("it was there a moment ago");
            job.news = false;
            let watchers: Vec<Caller> = job
                .followers
                .iter()
                .filter(|follower| follower.watches)
                .map(|follower| follower.caller)
                .collect();
            for caller in watchers {
                self.effect(Effect::Progress(caller, Box::new(report.clone())));
            }
        }
    }

    /// What is known of an operator's results, and what follows from it.
    fn reputation(&self, operator: Address, now: Now) -> ReputationReport {
        let model = self.reputations.model();
        let stake = self.stake_now(operator);
        let report = |(key, record): &(&ReputationKey, Record)| {
            let check_rate = model.check_rate(record, Assurance::DEFAULT, stake.as_ref());
            RecordReport {
                kind: key.kind,
                hardware_class: key.hardware_class.clone(),
                checked: record.checked(),
                unchecked: record.unchecked(),
                lies: record.lies(),
                failed: record.failed(),
                check_rate,
                error_odds: model.error_odds(record, check_rate),
            }
        };
        ReputationReport {
            is_trusted: self.config.trust.covers(&operator),
            stake: self.stake_report(operator),
            records: self.reputations.of(operator, now).iter().map(report).collect(),
        }
    }

    fn provider_reports(&self, now: Now) -> Vec<ProviderReport> {
        let unjudged = self.results_unjudged();
        let reasons = self.sched.idle_reasons(now.mono);
        let observed = |node: NodeId, (engine, _): (EngineIndex, &Engine)| {
            self.sched.observed_rate(EngineId { node, engine }).unwrap_or(0)
        };
        let report = |(node, provider): (&NodeId, &super::Provider)| ProviderReport {
            node: *node,
            operator: provider.operator,
            offer: provider.offer.clone(),
            connected: provider.session.is_some(),
            leased: provider.leases.len() as u64,
            accepted: provider.accepted,
            unjudged: unjudged.get(node).copied().unwrap_or_default(),
            lost_attempts: provider.lost_attempts,
            observed_fuel_per_s: provider.offer.numbered().map(|engine| observed(*node, engine)).collect(),
            idle: (provider.session.is_some() && provider.leases.is_empty())
                .then(|| provider.idle_reason(*node, &reasons)),
        };
        self.providers.iter().map(report).collect()
    }
}

/// How a job ended, in the words of the protocol.
pub(crate) fn phase(end: &JobEnd, label: impl Fn(TaskNumber) -> String) -> JobPhase {
    match end {
        JobEnd::Done => JobPhase::Done,
        JobEnd::Failed { task, failure, attempts } => JobPhase::Failed {
            task: *task,
            label: label(*task),
            failure: failure.clone(),
            attempts: *attempts,
        },
        JobEnd::Cancelled => JobPhase::Cancelled,
        JobEnd::Deadline => JobPhase::Deadline,
        JobEnd::EscrowEnded => JobPhase::EscrowEnded,
        JobEnd::Undecided { tasks, first } => {
            JobPhase::Undecided { tasks: *tasks, first: *first, label: label(*first) }
        }
    }
}

/// A failed attempt, in the words of the protocol. `is_withheld`: how it failed is not told where that is an answer, since
/// nobody has paid for it yet.
pub(crate) fn attempt(record: &tidemill_store::AttemptRecord, is_withheld: bool) -> Attempt {
    let is_told = !is_withheld || record.failure.weight() == Weight::Circumstance;
    let failure = is_told.then(|| record.failure.clone());
    Attempt { node: record.provider, at_ms: record.at.0, failure }
}

/// What is kept of a job after its end, beside its tasks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// What the accepted attempts used.
    pub(crate) usage: Usage,
    /// Who did what.
    pub(crate) contributions: Vec<Contribution>,
    /// What it cost.
    pub(crate) cost: Option<JobCost>,
    /// How its results came to be relied on.
    pub(crate) reliability: Reliability,
    /// What people call the task that decided its end; empty where none did. The specification need not be read for it.
    pub(crate) label: String,
}

impl Summary {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data always has a postcard encoding")
    }

    /// The summary that these bytes are; nothing when they are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}
