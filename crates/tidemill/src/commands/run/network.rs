//! A run in a network: one that is given or configured, or one of this machine's own for as long as it takes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tidemill_api as api;
use tidemill_job::{JobFile, Plan};
use tidemill_ledger::keystore::Account;
use tidemill_net::{
    ticket::Ticket,
    wire::{JobPay, JobPhase, JobReport, Reply, Request},
};
use tidemill_types::{JobId, Reliance};
use tidemill_web::{
    prospects,
    told::{self, seconds},
};
use tokio::{sync::watch, time::timeout};

use super::{Args, print_usage, print_written, tasks_in_words};
use crate::{
    contributions,
    embedded::{Embedded, Shape},
    exit::{Code, Exit, WithCode, code_of},
    follow::{OnInterrupt, cancel, follow, unless_stopped},
    interrupt::Signals,
    jobfile::{check_programs, program_memory},
    json,
    ledger::Ledger,
    models,
    money::{Payer, forget_escrow, has_escrow, is_closed, print_payment, settlement},
    network::{self, private_directory},
    outdir::{OutDir, remove_tree},
    reliance,
    requester::{Requester, Sealed, Standing, Submission},
    runtime,
    summary::{not_done, plural, reliability_in_words, task_failure},
    unfinished::Unfinished,
};

/// The directory within the work directory that a network of this command's own keeps its state in.
const NETWORK: &str = "network";

/// How long a run waits for the providers that it starts: what is said of them beforehand is said of all.
const GATHERING: Duration = Duration::from_secs(10);

/// A network that is a command's own.
struct Own {
    /// Its ledger, and the account that pays there; nothing where it is free.
    payer: Option<(Ledger, Account)>,
    /// How many providers were started.
    providers: usize,
    /// How many have joined.
    joined: watch::Receiver<usize>,
}

impl Own {
    /// Waits until all of its providers have joined, but not for long: a slow one joins later.
    async fn gather(&self) {
        let mut joined = self.joined.clone();
        let all = joined.wait_for(|joined| *joined >= self.providers);
        // Whether it waited too long or the coordinator is gone, what comes next will say.
        let _ = timeout(GATHERING, all).await;
    }
}

/// What a run is about.
struct Run<'a> {
    args: &'a Args,
    file: Arc<JobFile>,
    plan: Arc<Plan>,
    out: OutDir,
    unfinished: Unfinished,
    logs: Option<PathBuf>,
    begun: Instant,
}

/// What came of it.
struct Ended {
    report: JobReport,
    /// Whether the person stopped it.
    stopped: bool,
    output: Option<api::Output>,
    /// Tasks that an earlier run had done.
    reused: u64,
    slots: u64,
    network: api::Network,
    /// What was paid, where work is paid for.
    payment: Option<api::Payment>,
    /// How long it took until the output had its place: settling the account takes as long as the ledger does.
    wall: Duration,
}

/// Runs a job in a network.
pub fn run(args: &Args, file: JobFile, plan: Plan, begun: Instant) -> anyhow::Result<()> {
    if args.strangers && file.reliance == Reliance::Trusted && file.trusted.is_empty() {
        let message = "only trusted machines get tasks of this job, and with `--strangers` none is";
        return Err(Exit::new(Code::Usage, message)
            .hint("leave `--strangers` out, or set another `assurance` under [policy]")
            .into());
    }
    let ticket = if args.wants_own_network()? { None } else { network::ticket(args.join.join.as_deref())? };
    check_programs(&file, &plan)?;
    if args.dry_run {
        // Only one that is named is asked: a dry run needs no network.
        let asked = ticket.filter(|_| args.join.join.is_some());
        return dry_run(args, file, plan, asked);
    }
    let mut out = args.claim_out(&file)?;
    check_work(&out, ticket.is_some(), args.free)?;
    let logs = args.logs_directory()?;
    let place = match &ticket {
        Some(ticket) => ticket.node().to_string(),
        None if args.free => "this machine's own, free".to_owned(),
        None => "this machine's own".to_owned(),
    };
    let unfinished = Unfinished::of(&args.job, place)?;
    if unfinished.take_up(&mut out) && !args.json {
        eprintln!("going on with what an earlier run of this job left in {}", out.work().display());
    }
    let run = Run { args, file: Arc::new(file), plan: Arc::new(plan), out, unfinished, logs, begun };
    runtime::block_on(run.run(ticket))
}

/// Says what would run, and what would come of it in the network that is asked.
fn dry_run(args: &Args, file: JobFile, plan: Plan, ticket: Option<Ticket>) -> anyhow::Result<()> {
    let (file, plan) = (Arc::new(file), Arc::new(plan));
    let asked = match ticket {
        None => None,
        Some(ticket) => Some(runtime::block_on(async {
            let mut signals = Signals::listen()?;
            unless_stopped(&mut signals, prospects_in(ticket, &file, &plan)).await
        })?),
    };
    super::describe(&file, &plan, None, asked, args.json);
    Ok(())
}

/// What would come of a job in a network.
async fn prospects_in(
    ticket: Ticket,
    file: &Arc<JobFile>,
    plan: &Arc<Plan>,
) -> anyhow::Result<api::Prospects> {
    let mut requester = Requester::connect(ticket).await?;
    let sealed = requester.seal(file, plan).await?;
    let terms = requester.terms(&sealed.spec).await?;
    let providers = requester.providers().await?;
    let mut trusted = BTreeSet::new();
    if file.reliance == Reliance::Trusted {
        for operator in providers.iter().map(|report| report.operator).collect::<BTreeSet<_>>() {
            let reply = requester.call(Request::Reputation { operator }).await?;
            if matches!(reply, Reply::Reputation(report) if report.is_trusted) {
                trusted.insert(operator);
            }
        }
    }
    let coordinator = requester.coordinator();
    let network = prospects::Network { coordinator, terms: &terms, providers: &providers, trusted: &trusted };
    let told = prospects::prospects(&sealed.spec, network, file.max_price).code(Code::Usage);
    requester.close().await;
    told
}

/// Refuses a run that would do away with a job that an earlier one left unfinished, and with the way to its money.
fn check_work(out: &OutDir, joins: bool, free: bool) -> anyhow::Result<()> {
    let work = out.work();
    let (is_own, is_paid) = (work.join(NETWORK).is_dir(), has_escrow(work));
    let how = match (joins, free) {
        (true, _) if is_own => {
            "without `--join`, in a network of its own (after `tidemill join --forget`, if need be)"
        }
        (false, true) if is_own && is_paid => "without `--free`",
        _ => return Ok(()),
    };
    let message = format!("an earlier run into this output is unfinished: its job is in {}", work.display());
    Err(Exit::new(Code::Usage, message)
        .hint(format!("run it {how} to finish it, or give another `--out`"))
        .into())
}

impl Run<'_> {
    async fn run(&self, ticket: Option<Ticket>) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        let work = self.out.work();
        make_work(work)?;
        self.unfinished.note(&self.out);
        let ended = match ticket {
            Some(ticket) => self.run_in(ticket, None, &mut signals).await,
            None => {
                let network = work.join(NETWORK);
                let providers = self.args.own_providers();
                let memory = program_memory(&self.file, &self.plan);
                let models = models::of_job(&self.file, &self.plan);
                let shape = Shape { providers, task_memory: memory, models, strangers: self.args.strangers };
                let starting = Embedded::start_for(&network, shape, self.args.money(), self.args.json);
                let embedded = unless_stopped(&mut signals, starting).await?;
                let (ticket, payer) = (embedded.ticket.clone(), embedded.payer());
                let joined = embedded.coordinator.providers();
                let own = Own { payer, providers: embedded.providers.into(), joined };
                let ended = tokio::select! {
                    ended = self.run_in(ticket, Some(own), &mut signals) => ended,
                    why = embedded.failed() => Err(Exit::new(Code::Host, format!("the network failed: {why}"))
                        .hint("see to this machine's disk and memory, then run it again to go on")
                        .into()),
                };
                embedded.stop().await;
                ended
            }
        };
        // What is needed to go on is kept only while there is something to go on with.
        if let Ok(ended) = &ended {
            // An escrow that is not closed is still the business of the coordinator whose state is there.
            let is_settled = ended.payment.as_ref().is_none_or(is_closed);
            clean_up(work, ended.output.is_some(), is_settled);
            self.unfinished.forget(&self.out);
        }
        self.finish(&ended?)
    }

    /// `own`: what the network is, where it is this command's own.
    async fn run_in(&self, ticket: Ticket, own: Option<Own>, signals: &mut Signals) -> anyhow::Result<Ended> {
        let mut requester = unless_stopped(signals, Requester::connect(ticket)).await?;
        let ended = self.run_with(&mut requester, own, signals).await;
        requester.close().await;
        ended
    }

    async fn run_with(
        &self,
        requester: &mut Requester,
        own: Option<Own>,
        signals: &mut Signals,
    ) -> anyhow::Result<Ended> {
        let embedded = own.is_some();
        let sealed = unless_stopped(signals, requester.seal(&self.file, &self.plan)).await?;
        if let Some(own) = &own {
            unless_stopped(signals, async {
                own.gather().await;
                Ok(())
            })
            .await?;
        }
        let payer = own.and_then(|own| own.payer);
        let (job, attached) = self.submit(requester, &sealed, (embedded, payer), signals).await?;
        let reused = if attached { requester.job(job).await?.done } else { 0 };
        if attached && !self.args.json {
            let are = if reused == 1 { "is" } else { "are" };
            eprintln!("taking up job {}: {} of it {are} done", job.short(), plural(reused, "task"));
        }
        let network = api::Network { coordinator: requester.coordinator().to_string(), embedded };
        let (report, stopped) = match follow(requester, job, signals, OnInterrupt::Ask).await? {
            Some(report) => (report, false),
            None => (cancel(requester, job).await?, true),
        };
        // It may have been done in the very moment.
        let stopped = stopped && report.phase != JobPhase::Done;
        let slots = requester.slots().await.unwrap_or(0);
        if let Some(logs) = &self.logs {
            requester.write_logs(&report, logs, |task| sealed.spec.node(task)).await?;
        }
        let output = match report.phase {
            JobPhase::Done => {
                let placing = requester.place_output(&report, &self.out);
                Some(unless_stopped(signals, placing).await.map_err(|error| kept(&error, job, embedded))?)
            }
            _ => None,
        };
        let wall = self.begun.elapsed();
        let payment = match report.cost {
            Some(cost) if self.args.escrow.is_none() => {
                let settling = settlement(requester, cost.escrow, self.args.json);
                Some(unless_stopped(signals, settling).await?)
            }
            _ => None,
        };
        if let Some(escrow) = self.args.escrow.filter(|_| !self.args.json) {
            eprintln!("paid out of the escrow {}: `tidemill escrow end {escrow}` settles it", escrow.short());
        }
        Ok(Ended { report, stopped, output, reused, slots, network, payment, wall })
    }

    /// What pays for the job, in a network that pays: an escrow that is opened for it, or the one that is named.
    async fn pay(
        &self,
        requester: &mut Requester,
        sealed: &Sealed,
        (embedded, payer): (bool, Option<(Ledger, Account)>),
    ) -> anyhow::Result<Option<JobPay>> {
        let args = &self.args.pay;
        let terms = requester.terms(&sealed.spec).await?;
        if !self.args.json {
            reliance::lines(&sealed.spec, &terms).iter().for_each(|line| eprintln!("{line}"));
        }
        reliance::check(&sealed.spec, &terms, self.args.anyway)?;
        let Some(money) = terms.money else {
            if self.args.escrow.is_some() {
                return Err(
                    Exit::new(Code::Usage, "this network is free: no escrow pays for anything").into()
                );
            }
            if !self.args.json {
                eprintln!("this network is free: nobody is paid for this job");
            }
            return Ok(None);
        };
        let (ledger, account) = match payer {
            Some(payer) => payer,
            None => (args.ledger.connect().await?, args.payer()?),
        };
        let payer = Payer::new(ledger, account).await?;
        let quote = payer.quote(requester, &sealed.spec, &money, self.file.max_price).await?;
        if !self.args.json {
            quote.lines(embedded, self.args.escrow).iter().for_each(|line| eprintln!("{line}"));
        }
        let node = requester.node();
        if let Some(escrow) = self.args.escrow {
            return Ok(Some(payer.spend(node, escrow, &money, &quote, self.file.max_price).await?));
        }
        let spec = (sealed.hash, self.file.deadline);
        let opened = payer.open(node, &quote, &money, spec, self.out.work()).await?;
        if let Some(sent) = opened.sent.filter(|_| !self.args.json) {
            eprintln!("{}: transaction {}", sent.label, sent.receipt.hash);
        }
        Ok(Some(opened.pay))
    }

    /// Submits the job. Stopped meanwhile, it is cancelled, should it have arrived.
    async fn submit(
        &self,
        requester: &mut Requester,
        sealed: &Sealed,
        of: (bool, Option<(Ledger, Account)>),
        signals: &mut Signals,
    ) -> anyhow::Result<(JobId, bool)> {
        let work = self.out.work();
        let submitting = async {
            let standing = requester.standing(sealed, work).await?;
            if let Standing::Attached(job) = standing {
                return Ok((job, true));
            }
            self.give_up_changed(requester, sealed, of.0).await?;
            let pay = self.pay(requester, sealed, of).await?;
            Ok((requester.submit_into(standing, sealed, work, pay).await?, false))
        };
        let submitted = unless_stopped(signals, submitting).await;
        if let Err(error) = &submitted
            && code_of(error) == Code::Interrupted
            && let Some(job) = Submission::read(work).and_then(|submission| submission.id())
        {
            // It may never have arrived.
            let _ = cancel(requester, job).await;
            Submission::forget(work);
        }
        submitted
    }

    /// An earlier run of this job file was killed, and the file says something else now: the job of that run is of no use
    /// any more. In a network of this command's own nobody else would cancel it, and its providers would be paid for all
    /// of it.
    async fn give_up_changed(
        &self,
        requester: &mut Requester,
        sealed: &Sealed,
        embedded: bool,
    ) -> anyhow::Result<()> {
        let Some(job) = requester.changed_since(sealed, self.out.work()).await? else { return Ok(()) };
        if embedded {
            eprintln!(
                "the job or its inputs have changed since the run that was ended early: its job {} is cancelled, and what \
                 it used is paid",
                job.short()
            );
            let report = cancel(requester, job).await?;
            if let Some(cost) = report.cost {
                settlement(requester, cost.escrow, self.args.json).await?;
            }
        } else {
            eprintln!(
                "note: the job or its inputs have changed since the run that was ended early, and its job {0} goes on: \
                 `tidemill cancel {0}` ends it",
                job.short()
            );
        }
        Ok(())
    }

    fn finish(&self, ended: &Ended) -> anyhow::Result<()> {
        let Ended { report, stopped, output, reused, slots, network, payment, wall } = ended;
        let busy = report.contributions.iter().map(|contribution| contribution.busy.duration()).sum();
        if self.args.json {
            let failure = match &report.phase {
                JobPhase::Failed { label, failure, attempts, .. } => {
                    Some(task_failure(label, failure, *attempts).0)
                }
                _ => None,
            };
            let phase = api::Outcome::from(told::phase(&report.phase));
            let contributions = report.contributions.iter();
            json::print(&api::Run {
                job: self.file.name.to_string(),
                outcome: if *stopped { api::Outcome::Interrupted } else { phase },
                tasks: report.tasks,
                done: report.done,
                reused: *reused,
                retries: report.lost_attempts,
                parallel: *slots,
                wall_s: seconds(*wall),
                busy_s: seconds(busy),
                usage: api::Usage::from(&report.usage),
                output: output.clone(),
                failure,
                reliability: Some(told::reliability(report)),
                job_id: Some(report.job.to_string()),
                network: Some(network.clone()),
                providers: Some(contributions.map(told::contribution).collect()),
                payment: payment.clone(),
            });
        } else if let Some(output) = output {
            let tasks = tasks_in_words(report.map_tasks, report.tasks - report.map_tasks);
            println!("{}: {tasks} in {:.1} s", self.file.name, wall.as_secs_f64());
            print_usage(&report.usage, busy);
            if *reused > 0 {
                println!("  {} taken over from an earlier run", plural(*reused, "task"));
            }
            if report.lost_attempts > 0 {
                println!("  {} made again", plural(report.lost_attempts, "attempt"));
            }
            if let Some(words) = reliability_in_words(report) {
                println!("  {words}");
            }
            contributions::print(&report.contributions, "  ");
            if !network.embedded {
                println!("  job {} stays at the coordinator until `tidemill remove {0}`", report.job.short());
            }
            print_written(output);
        }
        if let Some(payment) = payment.as_ref().filter(|_| !self.args.json) {
            print_payment(payment);
            if !is_closed(payment) && network.embedded {
                let state = self.out.work().join(NETWORK);
                println!("  its coordinator goes on with `tidemill up --directory {}`", state.display());
            }
        }
        if *stopped {
            let message = format!("cancelled; {} of {} tasks were done", report.done, report.tasks);
            return Err(Exit::new(Code::Interrupted, message).into());
        }
        not_done(report).map_or(Ok(()), |exit| Err(exit.into()))
    }
}

/// Makes the work directory.
fn make_work(work: &Path) -> anyhow::Result<()> {
    // A link in its place would have it all written elsewhere.
    let is_link = fs::symlink_metadata(work).is_ok_and(|metadata| metadata.is_symlink());
    let made = if is_link {
        Err(anyhow::anyhow!("{} is a link; remove it", work.display()))
    } else {
        private_directory(work).with_context(|| format!("cannot make {}", work.display()))
    };
    made.code(Code::Host)
}

/// Removes what a job that has ended leaves: all of it when its output has its place, but not the coordinator that has
/// to settle its escrow yet. The next run goes on with that.
fn clean_up(work: &Path, all: bool, is_settled: bool) {
    Submission::forget(work);
    forget_escrow(work);
    if !is_settled {
        return;
    }
    let removed = if all { remove_tree(work) } else { remove_tree(&work.join(NETWORK)) };
    if let Err(error) = removed {
        eprintln!("warning: cannot remove {}: {error}", work.display());
    }
    if !all {
        // Only if nothing is in it: a run with `--here` keeps finished tasks there.
        let _ = fs::remove_dir(work);
    }
}

/// The error of an output that could not be placed: the job is done all the same.
fn kept(error: &anyhow::Error, job: JobId, embedded: bool) -> anyhow::Error {
    let Some(exit) = error.downcast_ref::<Exit>() else { return anyhow::anyhow!("{error:#}") };
    let hint = if embedded {
        "the tasks are done and kept; run it again to get the output, with another `--out` if need be"
            .to_owned()
    } else {
        format!("the job is done and kept: `tidemill fetch {}` gets its output", job.short())
    };
    exit.clone().hint(hint).into()
}
