//! Whole lives of coordinators: jobs, providers of every character, and crashes at any point, by simulated time.

pub mod ledger;
mod lives;
mod provider;
mod results;
mod rng;
mod scenario;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidemill_net::wire::{Decision, JobPay, ToProvider};
use tidemill_store::{Change, JobEnd};
use tidemill_types::{
    Address, Amount, Basis, Comparison, EscrowId, Failure, JobId, LeaseId, Limits, ProgramKind, RateCard,
    Signature65, TaskId, Weight,
};

use self::{
    ledger::Ledger,
    provider::Provider,
    results::Results,
    rng::Rng,
    scenario::{ASSURANCES, Fate, Submitted, among_strangers_with, credible, job},
};
use super::world::{World, caller, config, unmade};
use crate::{
    core::{Funding, Step},
    effects,
    event::{Effect, Event, FetchProblem, Question},
};

/// After so many milliseconds nothing goes wrong any more, and all has to come to its end.
const TROUBLE_MS: u64 = 60_000;

/// By then it must have, in milliseconds.
const END_MS: u64 = 1_800_000;

struct Simulation {
    world: World,
    rng: Rng,
    providers: Vec<Provider>,
    jobs: Vec<Submitted>,
    /// What the core will be told, in order, each when its time has come.
    events: VecDeque<(u64, Event)>,
    /// What the core did and is not durable.
    steps: VecDeque<Step>,
    at_ms: u64,
    /// What happened, and how often.
    seen: BTreeMap<&'static str, u64>,
    /// One operator lies, so that a job may fail by its word alone.
    has_liar: bool,
    /// Where the coordinator pays: the ledger, and whose escrow was ended under the coordinator's hands.
    ledger: Option<Ledger>,
    ended: BTreeSet<EscrowId>,
    /// The leases whose results were accepted, and those that failed, once that was durable.
    accepted: BTreeSet<LeaseId>,
    failed: BTreeSet<LeaseId>,
    /// Whose results are to be checked, and all results that there were.
    among_strangers: bool,
    results: Results,
    /// The leases whose results did not decide their task alone.
    said: BTreeSet<LeaseId>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let has_liar = rng.one_in(5);
        let count = 2 + rng.below(4) as u8;
        let mut providers: Vec<Provider> =
            (1..=count).map(|number| Provider::new(number, &mut rng)).collect();
        if has_liar {
            providers[0].lies = true;
        }
        let among_strangers = rng.one_in(2);
        if among_strangers {
            providers.extend((count + 1..count + 4).map(|number| Provider::new(number, &mut rng)));
            let colludes = rng.one_in(2);
            // The second operator's are the coordinator's own machines.
            let own = providers[1].peer.operator();
            for provider in providers.iter_mut().filter(|provider| provider.peer.operator() != own) {
                provider.wrong = rng.one_in(3).then(|| 1 + rng.below(6));
                provider.overbills = rng.one_in(4).then(|| 1 + rng.below(6));
                provider.colludes = colludes;
            }
        }
        // More of one hand than the model allows for: what they agree on may pass.
        let colludes = providers.iter().any(|provider| provider.wrong.is_some() && provider.colludes);
        let assurances: &[&str] = if among_strangers { &ASSURANCES } else { &[""] };
        let jobs: Vec<Submitted> =
            (1..=1 + rng.below(3) as u8).map(|number| job(number, assurances, colludes, &mut rng)).collect();
        let ledger = rng.one_in(2).then(|| {
            let mut ledger = Ledger::default();
            for job in &jobs {
                // Some have enough for all of it, some for a task or two.
                let each = RateCard::default().most(ProgramKind::Wasm, &Limits::default(), 0).wei();
                let tasks = if rng.one_in(2) { 2 } else { 200 };
                ledger.open(job.escrow, Amount::from_wei(each * tasks), 1_000_000);
            }
            ledger
        });
        Self {
            world: if among_strangers {
                let config = among_strangers_with(ledger.is_some(), &providers);
                World::with(config, &credible(&providers))
            } else {
                World::with(config(ledger.is_some()), &[])
            },
            among_strangers,
            results: Results::of(
                ledger.is_some(),
                jobs.iter().filter(|job| *job.spec.comparison() == Comparison::Exact).map(|job| job.id),
            ),
            said: BTreeSet::new(),
            ledger,
            ended: BTreeSet::new(),
            accepted: BTreeSet::new(),
            failed: BTreeSet::new(),
            rng,
            providers,
            jobs,
            events: VecDeque::new(),
            steps: VecDeque::new(),
            at_ms: 0,
            seen: BTreeMap::new(),
            has_liar,
        }
    }

    fn run(&mut self) {
        while !self.is_over() {
            assert!(self.at_ms < END_MS, "jobs do not end: {:?}", self.why_unfinished());
            self.turn();
        }
        // What is on its way arrives.
        for _ in 0..200 {
            self.turn();
        }
        self.world.check_store();
        let left = self.world.store.recover().expect("the store can be read");
        assert!(
            left.leases.is_empty() && left.open_batches.is_empty(),
            "something is open for ever: {left:?}"
        );
        let came = self.jobs.iter().filter(|job| !self.never_comes(job));
        let ends: Vec<(&Submitted, JobEnd)> = came
            .map(|job| (job, self.world.record(job.id).ended.expect("every job has ended").end))
            .collect();
        let mut undecided = 0;
        for (job, end) in &ends {
            match (end, job.fate) {
                (JobEnd::Done, Fate::Done | Fate::Cancelled) => self.check_outputs(job),
                (JobEnd::Undecided { .. }, _) if self.among_strangers => undecided += 1,
                (JobEnd::Cancelled, Fate::Cancelled) => {}
                (JobEnd::EscrowEnded, _) if self.ended.contains(&job.escrow) => {}
                (JobEnd::Failed { failure, .. }, Fate::Fails) if *failure == provider::poison() => {}
                (JobEnd::Failed { failure, .. }, _) if self.has_liar => assert_eq!(*failure, provider::lie()),
                // A liar's word that a failing task is done, where little was asked for.
                (JobEnd::Done, Fate::Fails) if job.is_loose => {}
                _ => panic!("a job that should have been {:?} was {end:?}", job.fate),
            }
        }
        self.seen.insert("undecided job", undecided);
        for provider in &self.providers {
            assert!(provider.peer.sent.is_empty(), "a batch is never settled");
        }
        if let Some(ledger) = &self.ledger {
            assert_eq!(left.escrows, [], "an escrow is open for ever");
            let used = self.jobs.iter().filter(|job| !self.never_comes(job)).map(|job| job.escrow).collect();
            let is_early = |job: &&Submitted| {
                !self.never_comes(job)
                    && self.world.record(job.id).ended.is_some_and(|ended| ended.end != JobEnd::Done)
            };
            let early = self.jobs.iter().filter(is_early).map(|job| job.escrow).collect();
            ledger.check(&self.earned(), &used, &early);
        }
    }

    /// Whatever was asked for, a result that several agreed on or that was trusted is right; and what was made from others
    /// was made from what they are now.
    fn check_outputs(&self, job: &Submitted) {
        self.world.check_outputs_but(job.id, &job.spec, |verdict| {
            job.is_loose && matches!(verdict.basis, Basis::Unchecked | Basis::Unverified | Basis::Agreed)
        });
    }

    /// What everybody has earned, by the results that are on disk.
    fn earned(&self) -> BTreeMap<(EscrowId, Address), Amount> {
        let mut earned: BTreeMap<(EscrowId, Address), Amount> = BTreeMap::new();
        let mut add = |escrow, operator, price: Amount| {
            let sum = earned.entry((escrow, operator)).or_default();
            *sum = sum.checked_add(price).expect("it is little");
        };
        for job in self.jobs.iter().filter(|job| !self.never_comes(job)) {
            let store = &self.world.store;
            let end = self.world.record(job.id).ended.expect("every job has ended").end;
            for (operator, price) in self.results.owed(job.id) {
                add(job.escrow, operator, price);
            }
            if let JobEnd::Failed { task, failure, .. } = end {
                let attempts = store.attempts(TaskId { job: job.id, task }).expect("the store can be read");
                let same = attempts.iter().filter(|attempt| attempt.failure == failure);
                same.filter(|attempt| attempt.failure.weight() == Weight::Evidence)
                    .for_each(|attempt| add(job.escrow, attempt.operator, attempt.price));
            }
        }
        earned.retain(|_, amount| !amount.is_zero());
        earned
    }

    fn is_over(&self) -> bool {
        let settled = self.ledger.is_none()
            || self.world.core.money.as_ref().is_none_or(|money| money.escrows.is_empty());
        self.at_ms > TROUBLE_MS && self.unfinished().is_empty() && settled
    }

    /// What the ledger shows of stakes now and then.
    fn look_at_stakes(&mut self) {
        if self.ledger.is_none() || !self.rng.one_in(200) {
            return;
        }
        let stakes = self.providers.iter().map(|provider| {
            let stake = [0, 1, 1_000_000_000][self.rng.below(3) as usize];
            (provider.peer.operator(), Amount::tide(stake))
        });
        let stakes: BTreeMap<_, _> = stakes.collect();
        let seen = (!self.rng.one_in(4)).then_some(stakes);
        self.events.push_back((self.at_ms, Event::StakesSeen(seen)));
    }

    /// What requesters do with their money.
    fn pay(&mut self) {
        let (calm, now_s) = (self.at_ms > TROUBLE_MS, self.world.now.unix_ms / 1000);
        let Some(ledger) = &mut self.ledger else { return };
        for job in &self.jobs {
            let escrow = job.escrow;
            if (calm && self.rng.one_in(20)) || self.rng.one_in(400) {
                ledger.deposit(
                    escrow,
                    RateCard::default().most(ProgramKind::Wasm, &Limits::default(), 0),
                    now_s,
                );
            } else if !calm && self.rng.one_in(4_000) && job.from_ms == 0 {
                ledger.end(escrow, now_s);
                self.ended.insert(escrow);
                *self.seen.entry("escrow ended by its requester").or_default() += 1;
            } else if !self.rng.one_in(10) {
                continue;
            }
            let view = Some(ledger.view(escrow, now_s));
            self.events.push_back((self.at_ms, Event::EscrowSeen { escrow, view }));
        }
    }

    /// The jobs that do not end, with the tasks that are open.
    fn why_unfinished(&self) -> Vec<String> {
        let open = |id: &JobId| {
            let job = self.world.core.jobs.get(id)?;
            let tasks = job.open.iter().map(|(task, open)| {
                format!(
                    "{task}: {} leases, {} results, waits {:?}",
                    open.leases.len(),
                    open.opinions.len(),
                    open.waiting
                )
            });
            let report = self.world.core.job_report(*id, job, self.world.now);
            Some(format!(
                "{id}: {} ready, {:?}, {:?}: {}",
                job.frontier.ready_count(),
                job.spec.reliance(),
                report.stuck,
                tasks.collect::<Vec<_>>().join("; ")
            ))
        };
        self.unfinished().iter().map(|id| open(id).unwrap_or_else(|| format!("{id} does not run"))).collect()
    }

    fn unfinished(&self) -> Vec<JobId> {
        let ended = |id| self.world.store.job(id).ok().flatten().is_some_and(|record| record.ended.is_some());
        let jobs = self.jobs.iter().filter(|job| !self.never_comes(job));
        jobs.map(|job| job.id).filter(|id| !ended(*id)).collect()
    }

    /// Whether a job is refused: its escrow was ended or settled for other jobs before it came.
    fn never_comes(&self, job: &Submitted) -> bool {
        let is_closed = |ledger: &Ledger| ledger.view(job.escrow, 0).closed;
        let is_over = self.ended.contains(&job.escrow) || self.ledger.as_ref().is_some_and(is_closed);
        is_over && self.world.store.job(job.id).is_ok_and(|record| record.is_none())
    }

    /// Whether something goes wrong that does so once in so many times.
    fn trouble(&mut self, times: u64) -> bool {
        self.at_ms < TROUBLE_MS && self.rng.one_in(times)
    }

    /// A little time passes; then everybody does something.
    fn turn(&mut self) {
        let passed = 5 + self.rng.below(if self.at_ms > TROUBLE_MS { 200 } else { 60 });
        self.at_ms += passed;
        self.request();
        self.pay();
        self.look_at_stakes();
        for place in 0..self.providers.len() {
            self.provide(place);
        }
        while let Some((at, _)) = self.events.front()
            && *at <= self.at_ms
        {
            let (_, event) = self.events.pop_front().expect("there is a first");
            self.world.tell(event);
        }
        self.world.wait(passed);
        if self.trouble(700) {
            // In the midst of events: what they came to is not even a step yet.
            return self.crash();
        }
        let step = self.world.take_step();
        self.steps.push_back(step);
        self.commit();
    }

    /// Several steps become durable together, or none yet.
    fn commit(&mut self) {
        if self.trouble(3) && self.steps.len() < 8 {
            return;
        }
        if self.trouble(300) {
            return self.crash();
        }
        let mut all = Step::default();
        for step in self.steps.drain(..) {
            all.changes.extend(step.changes);
            all.effects.extend(step.effects);
        }
        self.note_changes(&all.changes);
        for change in &all.changes {
            self.results.apply(change);
            match change {
                Change::Opinion { record, .. } => drop(self.said.insert(record.result.lease)),
                Change::Finished { record, .. } => drop(self.accepted.insert(record.result.lease)),
                Change::AttemptFailed { record, .. } => drop(self.failed.insert(record.lease)),
                _ => {}
            }
        }
        let effects = self.world.commit(all);
        let dies_after = self.trouble(200).then(|| self.rng.below(effects.len() as u64 + 1));
        for (place, effect) in effects.into_iter().enumerate() {
            if dies_after == Some(place as u64) {
                return self.crash();
            }
            self.carry_out(effect);
        }
        if dies_after.is_some() {
            self.crash();
        }
    }

    fn crash(&mut self) {
        self.note("crash");
        self.events.clear();
        self.steps.clear();
        self.world.crash();
        for provider in &mut self.providers {
            provider.lose_session(self.at_ms, &mut self.rng);
        }
        // Requesters do not know what of their last calls was heard.
        for job in &mut self.jobs {
            job.from_ms = job.from_ms.max(self.at_ms + 1);
        }
    }

    fn request(&mut self) {
        for place in 0..self.jobs.len() {
            let Submitted { id, ref spec, fate, from_ms, .. } = self.jobs[place];
            let spec = spec.clone();
            if from_ms > 0 && from_ms <= self.at_ms {
                self.jobs[place].from_ms = 0;
                let encoded = spec.encode();
                let funding = self.funding(place);
                let escrow = funding.map(|funding| funding.pay.escrow);
                match self.world.look(id, escrow) {
                    Some(look) => {
                        let (caller, job, follow) = (caller(0), id, true);
                        let submit = Event::Submit { caller, job, spec, encoded, follow, funding, look };
                        self.events.push_back((self.at_ms, submit));
                    }
                    None => self.note("submission of an ended job"),
                }
            }
            if fate == Fate::Cancelled && (self.trouble(200) || self.at_ms > TROUBLE_MS) {
                self.ask(Question::Cancel(id));
            }
        }
        if self.trouble(20) {
            let job = self.jobs[self.rng.below(self.jobs.len() as u64) as usize].id;
            let question = match self.rng.below(7) {
                0 => Question::Job(job),
                1 => Question::Watch(job),
                2 => Question::Jobs { limit: 100, after: None, all: false },
                3 => Question::Tasks { job, from: tidemill_types::TaskNumber(0), limit: 10 },
                4 => Question::Explain { job, task: Some(tidemill_types::TaskNumber(0)) },
                5 => Question::Follow(tidemill_types::TaskId { job, task: tidemill_types::TaskNumber(0) }),
                _ => Question::Providers,
            };
            self.ask(question);
        }
    }

    /// What pays for a job, where it is paid for.
    fn funding(&self, place: usize) -> Option<Funding> {
        let job = &self.jobs[place];
        let view = self.ledger.as_ref()?.view(job.escrow, self.world.now.unix_ms / 1000);
        let mandate = Signature65([0; 65]);
        let ceiling = RateCard::default();
        let pay = JobPay { escrow: job.escrow, mandate, ceiling, max_price: job.max_price, close: true };
        Some(Funding { pay, view })
    }

    fn ask(&mut self, question: Question) {
        self.events.push_back((self.at_ms, Event::Ask { caller: caller(1), question }));
    }

    fn provide(&mut self, place: usize) {
        let calm = self.at_ms >= TROUBLE_MS;
        let provider = &mut self.providers[place];
        provider.turn(self.at_ms, calm, &mut self.rng, &mut self.world);
        // What is said in one session arrives in order, and later.
        let at = self.at_ms + self.rng.below(20);
        let at = self.events.back().map_or(at, |(last, _)| at.max(*last));
        self.events.extend(provider.said.drain(..).map(|event| (at, event)));
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn note_changes(&mut self, changes: &[Change]) {
        changes.iter().filter_map(results::word).for_each(|what| self.note(what));
    }

    fn carry_out(&mut self, effect: Effect) {
        match &effect {
            Effect::Supersede(_) => self.note("superseded session"),
            Effect::SubmitAgain { .. } => self.note("submission of an ended job"),
            Effect::Assemble { .. } => self.note("reduce task made"),
            Effect::ToProvider(_, ToProvider::Cancel(_)) => self.note("cancelled leases"),
            _ => {}
        }
        match effect {
            Effect::ToProvider(session, message) => {
                let provider =
                    self.providers.iter_mut().find(|provider| provider.peer.session == Some(session));
                if let Some(provider) = provider {
                    provider.inbox.push_back(message);
                }
            }
            Effect::FetchOutput { session, lease, output, .. } => {
                let provider = self.providers.iter().find(|provider| provider.peer.session == Some(session));
                let bytes = provider.and_then(|provider| provider.peer.output(output.id));
                let result = match bytes {
                    None => Err(FetchProblem::Provider("it is gone".to_owned())),
                    Some(_) if self.trouble(15) => {
                        Err(FetchProblem::Provider("a test wants it so".to_owned()))
                    }
                    Some(_) if self.trouble(30) => Err(FetchProblem::Here("a test wants it so".to_owned())),
                    Some(bytes) => {
                        self.world.keep_blob(&bytes);
                        Ok(())
                    }
                };
                self.later(Event::OutputFetched { session, lease, result });
            }
            Effect::Assemble { spec, task, number } => {
                let result = self.world.assemble(&spec, task).map_err(unmade);
                self.later(Event::Assembled { task, number, result });
            }
            Effect::Compare { spec, task, lease, output, with, .. } => {
                let same = self.world.compare(&spec, task, output, &with);
                self.later(Event::Compared { task, lease, same });
            }
            Effect::FindUnchecked { job, operator, from, undone } => {
                self.note("look for what was believed");
                let found = effects::unchecked(&self.world.store, job, operator, from, undone);
                self.later(Event::UncheckedFound(found.expect("the store can be read")));
            }
            Effect::CutOff { node, reason, .. } => panic!("{} is cut off: {reason}", node.short()),
            Effect::Pay { session, decisions, vouchers } => {
                let provider = self.providers.iter().find(|provider| provider.peer.session == Some(session));
                let operator = provider.map(|provider| provider.peer.operator());
                for voucher in vouchers {
                    assert!(operator.is_none_or(|operator| operator == voucher.provider));
                    self.ledger.as_mut().expect("who pays has a ledger").promise(voucher);
                    self.note("voucher");
                }
                for (lease, decision) in decisions {
                    let is_accepted = self.accepted.contains(&lease);
                    self.note(match decision {
                        Decision::Paid(_) => {
                            assert!(
                                is_accepted
                                    || self.failed.contains(&lease)
                                    || self.said.contains(&lease)
                                    || (self.world.was_given(lease) && !self.world.is_live(lease)),
                                "{lease} is paid for nothing"
                            );
                            "paid result"
                        }
                        Decision::Unpaid(reason) => {
                            assert!(!is_accepted, "{lease} was accepted, and is not paid: {reason:?}");
                            "unpaid result"
                        }
                    });
                }
            }
            Effect::Settle(closings) => {
                for closing in closings {
                    self.note("settlement");
                    let (escrow, now_s) = (closing.view.id, self.world.now.unix_ms / 1000);
                    let ledger = self.ledger.as_mut().expect("who pays has a ledger");
                    let result = match self.at_ms < TROUBLE_MS && self.rng.one_in(4) {
                        true => Err("a test wants it so".to_owned()),
                        false => ledger.settle(closing, now_s),
                    };
                    self.later(Event::EscrowSettled { escrow, result });
                }
            }
            Effect::Supersede(_)
            | Effect::Reply(..)
            | Effect::Progress(..)
            | Effect::Follow { .. }
            | Effect::Unfollow { .. }
            | Effect::FromStore(..)
            | Effect::JobsFromStore { .. }
            | Effect::ExplainedFromStore(..)
            | Effect::TasksFromStore { .. }
            | Effect::CountKept(_)
            | Effect::SubmitAgain { .. }
            | Effect::RemoveAgain(..)
            | Effect::Past(_)
            | Effect::Reconcile { .. }
            | Effect::WatchEscrow(_)
            | Effect::UnwatchEscrow(_)
            | Effect::EscrowFromStore(..)
            | Effect::FetchInput { .. }
            | Effect::FindLost { .. }
            | Effect::FetchAgain { .. }
            | Effect::MendEnded { .. }
            | Effect::ReleaseInputs(_)
            | Effect::ReleaseOutputs(_) => {}
        }
    }

    /// What takes time ends at a time of its own, in no order.
    fn later(&mut self, event: Event) {
        let at = self.at_ms + self.rng.below(200);
        let place = self.events.partition_point(|(other, _)| *other <= at);
        self.events.insert(place, (at, event));
    }
}

/// The failure of a task that fails everywhere.
fn exit(code: u32) -> Failure {
    Failure::Exit { code, stderr: String::new() }
}
