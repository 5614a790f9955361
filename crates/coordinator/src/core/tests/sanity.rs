//! What always holds between events.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_net::wire::Reliability;
use tidemill_types::{Amount, LeaseId, Stage, TaskId};
use tidemill_verify::Course;

use super::simulation::ledger::check_escrow;
use crate::core::{
    Core,
    jobs::{Job, MOST_PREPARED},
    stakes::Stakes,
    verdicts::Given,
};

/// Checks every place where the same fact stands twice.
pub fn check(core: &Core) {
    leases(core);
    providers(core);
    money(core);
    for (id, job) in &core.jobs {
        assert!(job.tried.iter().all(|lease| core.leases[lease].task.job == *id));
        assert!(core.past.job(*id).is_none(), "job {id} runs and is over");
        tasks(core, job);
        for (task, open) in &job.open {
            for lease in &open.leases {
                assert_eq!(core.leases[lease].task, TaskId { job: *id, task: *task });
            }
        }
    }
}

fn money(core: &Core) {
    assert_eq!(*core.stakes.at_risk(), Stakes::of_leases(core.leases.values()));
    let Some(money) = &core.money else { return };
    for (id, escrow) in &money.escrows {
        let leased = core.leases.values().filter_map(|held| held.bill);
        let said = core.jobs.values().flat_map(said).filter_map(|given| given.bill);
        let bills = leased.chain(said).filter(|bill| bill.escrow == *id).map(|bill| bill.reserve);
        let paid = core.jobs.values().filter(|job| job.money.is_some_and(|money| money.record.escrow == *id));
        let failures = paid.map(held_for_failures);
        check_escrow(escrow, bills.chain(failures).fold(Amount::ZERO, Amount::saturating_add));
        let jobs =
            core.jobs.iter().filter(|(_, job)| job.money.is_some_and(|money| money.record.escrow == *id));
        assert!(
            jobs.map(|(job, _)| job).eq(&escrow.jobs),
            "escrow {id} has other jobs than those that it pays"
        );
    }
    for (id, job) in &core.jobs {
        let Some(pay) = &job.money else { continue };
        let leased = core.leases.values().filter(|held| held.task.job == *id).filter_map(|held| held.bill);
        let bills = leased.chain(said(job).filter_map(|given| given.bill)).map(|bill| bill.reserve);
        let failures = held_for_failures(job);
        assert_eq!(pay.reserved, bills.fold(failures, Amount::saturating_add));
        let most = pay.record.max_price.unwrap_or(Amount::from_wei(u128::MAX));
        assert!(pay.spent.saturating_add(pay.reserved) <= most, "a job costs more than it may");
    }
}

/// What is held back for failures of a job that are answers.
fn held_for_failures(job: &Job) -> Amount {
    for open in job.open.values() {
        let owed = open.evidence().map(|failed| failed.price).fold(Amount::ZERO, Amount::saturating_add);
        assert_eq!(open.held_for_failures, owed);
    }
    job.open.values().map(|open| open.held_for_failures).fold(Amount::ZERO, Amount::saturating_add)
}

/// The results of a job's tasks that are not decided.
fn said(job: &Job) -> impl Iterator<Item = &Given> {
    job.open.values().flat_map(|open| &open.opinions)
}

fn leases(core: &Core) {
    assert_eq!(core.sched.lease_count(), core.leases.len());
    for (id, held) in &core.leases {
        assert!(*id < core.next_lease);
        assert!(core.providers[&held.node].leases.contains(id), "lease {id} is not its provider's");
        let job = &core.jobs[&held.task.job];
        let of_task = job
            .open
            .get(&held.task.task)
            .map_or(0, |open| open.leases.iter().filter(|lease| *lease == id).count());
        match &held.known {
            Some(_) => {
                assert!(of_task == 0 && job.tried.contains(id), "lease {id} is not one to try somebody")
            }
            None => assert!(of_task == 1 && !job.tried.contains(id), "lease {id} is not its task's"),
        }
        if let Some(pending) = &held.fetching {
            let provider = &core.providers[&held.node];
            assert_eq!(
                provider.session,
                Some(pending.session),
                "an output comes from a session that is over"
            );
            assert!(provider.unsettled.contains_key(&pending.sequence));
        }
    }
}

fn providers(core: &Core) {
    let mut sessions = 0;
    for (node, provider) in &core.providers {
        assert!(provider.leases.iter().all(|lease| core.leases[lease].node == *node));
        assert!(provider.leases.iter().all(|lease| core.leases[lease].operator == provider.operator));
        assert_eq!(core.sched.leases_of(*node), provider.leases.len());
        if let Some(session) = provider.session {
            assert_eq!(core.sessions.get(&session), Some(node));
            sessions += 1;
        }
        let mut fetching: BTreeMap<u64, usize> = BTreeMap::new();
        for pending in provider.leases.iter().filter_map(|lease| core.leases[lease].fetching.as_ref()) {
            *fetching.entry(pending.sequence).or_default() += 1;
        }
        let unsettled = provider.unsettled.iter().map(|(sequence, unsettled)| (*sequence, unsettled.results));
        assert_eq!(unsettled.collect::<BTreeMap<_, _>>(), fetching, "batches wait for what is fetched");
    }
    assert_eq!(sessions, core.sessions.len());
    assert_eq!(core.presence, core.presence_anew());
}

/// The results of tasks that were done and are doubted: they still count for who gave them.
fn doubted(job: &Job) -> u64 {
    said(job).filter(|given| given.paid.is_some()).count() as u64
}

/// What waits for checks is in an open task.
fn watched(job: &Job) {
    let mut counted = 0;
    for (operator, turns) in &job.watched {
        for task in turns.drawn().chain(turns.held()) {
            let opinions = &job.open[&task].opinions;
            assert!(opinions.iter().any(|given| given.result.operator == *operator));
        }
        for task in turns.held() {
            assert!(job.open[&task].is_held());
            counted += 1;
        }
    }
    assert_eq!(job.open.values().filter(|open| open.is_held()).count(), counted);
}

/// A task waits untouched, is open, or is done.
fn tasks(core: &Core, job: &Job) {
    let numbers = (0..job.spec.task_count()).map(tidemill_types::TaskNumber);
    let (mut done, mut untouched) = (0, 0);
    for task in numbers {
        let node = job.node(task);
        let is_done = job.frontier.is_node_done(node);
        let open = job.open.get(&task);
        assert!(!(is_done && open.is_some()), "a task is done and open");
        done += u64::from(is_done);
        untouched += u64::from(!is_done && open.is_none() && node.stage() == Stage::Map);
        let Some(open) = open else { continue };
        let most = match job.course {
            Course::Replicated { most, .. } => most.max(core.config.policy.most_attempts),
            _ => core.config.policy.most_attempts,
        };
        assert!(open.leases.len() <= most as usize);
        let compared = open.opinions.iter().find(|given| given.answer.is_none());
        assert_eq!(open.comparing.is_some(), compared.is_some(), "a result is not compared");
        let said: BTreeSet<LeaseId> = open.opinions.iter().map(|given| given.result.lease).collect();
        assert_eq!(said.len(), open.opinions.len(), "a result counts twice");
        if !open.leases.is_empty() {
            assert_eq!(open.waiting, None, "a task that is leased waits");
        } else if (node.stage() == Stage::Map || open.assembled.is_some())
            && !open.is_comparing()
            && !open.is_held()
        {
            assert!(open.waiting.is_some(), "nobody has an open task, and it does not wait");
        }
    }
    watched(job);
    assert_eq!(job.prepared, job.open.values().filter(|open| open.prepared).count());
    assert!(job.unmade.iter().all(|task| job.open[task].assembled.is_none() && !job.open[task].prepared));
    assert!(
        job.unmade.is_empty() || job.prepared == MOST_PREPARED,
        "reduce tasks are not made for no reason"
    );
    assert_eq!(job.frontier.done_count(), done);
    let Reliability { trusted, unchecked, agreed, unverified, .. } = job.reliability;
    assert_eq!(
        trusted + unchecked + agreed + unverified,
        done,
        "tasks are done on no grounds, or on several"
    );
    assert_eq!(job.unchecked.values().map(|of_it| of_it.results).sum::<u64>(), unchecked);
    assert_eq!(job.undecided, job.open.values().filter(|open| !open.opinions.is_empty()).count() as u64);
    assert_eq!(job.tallies.values().map(|tally| tally.tasks).sum::<u64>(), done + doubted(job));
    assert_eq!(job.frontier.running_count(), job.open.len() as u64);
    assert_eq!(job.frontier.ready_count(), untouched);
    let is_unmade = |task| job.open[&task].assembled.is_none() && !job.unmade.contains(&task);
    assert!(job.mending.halted().all(is_unmade));
    for task in job.mending.lost_tasks() {
        assert!(job.spec.node(task).is_some(), "an output of no task is lost");
    }
    let waits = !job.looking.is_empty() || !job.mending.has_all_outputs();
    assert!(!job.frontier.is_done() || waits, "a job is done and runs");
}
