//! What a coordinator reports, as the types of `tidemill-api` that commands print and HTTP answers.

use std::time::Duration;

use tidemill_api as api;
use tidemill_job::{JobFile, Plan};
use tidemill_net::wire::{
    Attempt, Contribution, EscrowReport, EscrowStage, Explanation, JobPhase, JobReport, PayeeReport,
    ProviderReport, RecordReport, Reliability, ReputationReport, ResultReport, SettlementReport, StakeReport,
    Standing, TaskPhase, TaskReport, Unjudged,
};
use tidemill_types::{
    Acceptance, Address, Amount, Coin, Comparison, Engine, Failure, NodeId, TaskNumber, one_line,
};

/// A job.
pub fn job(report: &JobReport) -> api::Job {
    let failure = match &report.phase {
        JobPhase::Failed { label, failure, attempts, .. } => Some(task_failure(label, failure, *attempts)),
        _ => None,
    };
    let undecided = match &report.phase {
        JobPhase::Undecided { tasks, first, label } => {
            Some(api::Undecided { tasks: *tasks, first: first.0, label: label.clone() })
        }
        _ => None,
    };
    api::Job {
        job_id: report.job.to_string(),
        job: report.name.clone(),
        requester: report.requester.to_string(),
        escrow: report.cost.map(|cost| cost.escrow.to_string()),
        phase: phase(&report.phase),
        submitted_ms: report.submitted_ms,
        ended_ms: report.ended_ms,
        tasks: report.tasks,
        map_tasks: report.map_tasks,
        done: report.done,
        running: report.leased,
        lost_attempts: report.lost_attempts,
        usage: api::Usage::from(&report.usage),
        unjudged: unjudged(report.unjudged()),
        providers: report.contributions.iter().map(contribution).collect(),
        reliability: reliability(report),
        stuck: report.stuck.clone(),
        failure,
        undecided,
        task_list: None,
        output: None,
    }
}

/// How far a job is.
pub fn phase(phase: &JobPhase) -> api::JobPhase {
    match phase {
        JobPhase::Running => api::JobPhase::Running,
        JobPhase::Done => api::JobPhase::Done,
        JobPhase::Failed { .. } => api::JobPhase::Failed,
        JobPhase::Cancelled => api::JobPhase::Cancelled,
        JobPhase::Deadline => api::JobPhase::Deadline,
        JobPhase::EscrowEnded => api::JobPhase::EscrowEnded,
        JobPhase::Undecided { .. } => api::JobPhase::Undecided,
    }
}

/// The failure that ended a job.
pub fn task_failure(label: &str, failure: &Failure, attempts: u32) -> api::TaskFailure {
    api::TaskFailure { label: label.to_owned(), attempts, failure: api::Failure::from(failure) }
}

/// What one provider did for a job.
pub fn contribution(contribution: &Contribution) -> api::Contribution {
    api::Contribution {
        node: contribution.node.to_string(),
        name: contribution.name.clone(),
        tasks: contribution.tasks,
        busy_s: seconds(contribution.busy.duration()),
        fuel: contribution.fuel,
        unjudged: unjudged(contribution.unjudged),
        lost_attempts: contribution.lost_attempts,
        checks: contribution.checks,
        contradicted: contribution.contradicted,
    }
}

/// How a job's results came to be relied on.
pub fn reliability(report: &JobReport) -> api::Reliability {
    let Reliability { asked, compared, results, known, trusted, unchecked, agreed, unverified, undecided } =
        report.reliability;
    let redundancy = report.reliability.redundancy(report.done);
    let redundancy = redundancy.map(|redundancy| (redundancy * 1000.0).round() / 1000.0);
    api::Reliability {
        asked: asked.into(),
        compared: compared_in_words(&compared),
        results,
        known,
        redundancy,
        trusted,
        unchecked,
        agreed,
        unverified,
        undecided,
    }
}

/// When outputs count as the same, where that is not when their bytes are equal.
pub fn compared_in_words(compared: &Comparison) -> Option<String> {
    (*compared != Comparison::Exact).then(|| compared.to_string())
}

/// Results that have no verdict.
pub fn unjudged(unjudged: Unjudged) -> api::Unjudged {
    let Unjudged { results, busy, fuel } = unjudged;
    api::Unjudged { results, busy_s: seconds(busy.duration()), fuel }
}

/// A task.
pub fn task(task: &TaskReport) -> api::Task {
    let attempt = |attempt: &Attempt| api::FailedAttempt {
        node: attempt.node.to_string(),
        at_ms: attempt.at_ms,
        message: attempt_failure(attempt),
    };
    let common = api::Task {
        task: task.task.0,
        label: task.label.clone(),
        phase: task_phase(&task.phase),
        failed_attempts: task.attempts.iter().map(attempt).collect(),
        nodes: None,
        node: None,
        operator: None,
        spec: None,
        output: None,
        usage: None,
        wall_us: None,
    };
    match &task.phase {
        TaskPhase::Waiting => common,
        TaskPhase::Leased(nodes) => {
            api::Task { nodes: Some(nodes.iter().map(ToString::to_string).collect()), ..common }
        }
        TaskPhase::Done { node, operator, spec, output, usage, wall_us } => api::Task {
            node: Some(node.to_string()),
            operator: Some(operator.to_string()),
            spec: Some(spec.to_string()),
            output: Some(api::OutputBlob { id: output.id.to_string(), bytes: output.len }),
            usage: Some(usage.into()),
            wall_us: Some(*wall_us),
            ..common
        },
    }
}

/// How an attempt failed, as far as that is told.
pub fn attempt_failure(attempt: &Attempt) -> String {
    match &attempt.failure {
        Some(failure) => failure.to_string(),
        None => {
            "by the program's doing; how is told once it is paid, at the end of the job or before".to_owned()
        }
    }
}

/// How far a task is.
pub fn task_phase(phase: &TaskPhase) -> api::TaskPhase {
    match phase {
        TaskPhase::Waiting => api::TaskPhase::Waiting,
        TaskPhase::Leased(_) => api::TaskPhase::Leased,
        TaskPhase::Done { .. } => api::TaskPhase::Done,
    }
}

/// A provider.
pub fn provider(provider: &ProviderReport) -> api::Provider {
    let offer = &provider.offer;
    let engine = |(engine, observed): (&Engine, &u64)| api::Engine {
        kind: engine.kind.to_string(),
        slots: engine.slots,
        memory_bytes: engine.memory.0,
        floats: engine.floats.iter().map(ToString::to_string).collect(),
        hardware_class: engine.hardware_class.clone(),
        exec_version: engine.exec_version,
        single_fuel_per_s: engine.capacity.single_fuel_per_s,
        all_fuel_per_s: engine.capacity.all_fuel_per_s,
        observed_fuel_per_s: *observed,
    };
    api::Provider {
        node: provider.node.to_string(),
        operator: provider.operator.to_string(),
        name: offer.name.clone(),
        connected: provider.connected,
        cpus: offer.slots(),
        memory_bytes: offer.memory().0,
        disk_bytes: offer.disk.0,
        engines: offer.engines.iter().zip(&provider.observed_fuel_per_s).map(engine).collect(),
        leased: provider.leased,
        accepted: provider.accepted,
        unjudged: provider.unjudged,
        lost_attempts: provider.lost_attempts,
        idle: provider.idle.clone(),
    }
}

/// What is known of an operator's results.
pub fn reputation(operator: Address, report: &ReputationReport) -> api::Reputation {
    let stake = |stake: &StakeReport| api::Stake {
        slashable_wei: stake.slashable,
        at_risk_wei: stake.at_risk,
        deterred_wei: stake.deterred,
    };
    let record = |record: &RecordReport| api::Record {
        kind: record.kind.to_string(),
        hardware_class: record.hardware_class.clone(),
        checked: record.checked,
        unchecked: record.unchecked,
        run: record.checked + record.unchecked,
        lies: record.lies,
        failed: record.failed,
        check_rate: record.check_rate,
        error_odds: record.error_odds,
    };
    api::Reputation {
        operator: operator.to_string(),
        trusted: report.is_trusted,
        stake: report.stake.as_ref().map(stake),
        records: report.records.iter().map(record).collect(),
    }
}

/// Why a job's tasks, or one of them, are where they are.
pub fn explanation(
    report: &JobReport,
    task: Option<TaskNumber>,
    explanation: &Explanation,
) -> api::Explanation {
    let reason =
        |(node, why): &(NodeId, String)| api::NodeReason { node: node.to_string(), why: why.clone() };
    let result = |result: &ResultReport| api::TaskResult {
        node: result.node.to_string(),
        operator: result.operator.to_string(),
        at_ms: result.at_ms,
        output: result.output.map(|output| output.to_string()),
        answer: result.answer,
        fuel: result.fuel,
        error_odds: result.error_ppb.map(odds),
        agrees: result.agrees,
        is_trial: result.is_trial,
    };
    let verdict = |verdict: &Acceptance| api::Verdict {
        basis: verdict.basis.into(),
        results: verdict.results,
        agreeing: verdict.agreeing,
        error_odds: verdict.error_ppb.map(odds),
    };
    let standing = |standing: &Standing| api::Standing {
        results: standing.results,
        agreeing: standing.agreeing,
        error_odds: standing.error_ppb.map(odds),
    };
    api::Explanation {
        job_id: report.job.to_string(),
        task: task.map(|task| task.0),
        summary: explanation.summary.clone(),
        providers: explanation.providers.iter().map(reason).collect(),
        results: explanation.results.iter().map(result).collect(),
        verdict: explanation.verdict.as_ref().map(verdict),
        standing: explanation.standing.as_ref().map(standing),
        evidence: explanation.evidence,
        reliability: reliability(report),
    }
}

/// The odds of so many billionths.
pub fn odds(ppb: u32) -> f64 {
    f64::from(ppb) / 1e9
}

/// What became of an escrow.
pub fn payment(report: &EscrowReport) -> api::Payment {
    let mut payees: Vec<_> = report.payees.iter().collect();
    payees.sort_by(|a, b| b.earned.cmp(&a.earned).then(a.operator.cmp(&b.operator)));
    let fees = report.payees.iter().fold(Amount::ZERO, |sum, payee| {
        let fee = payee.paid.checked_sub(payee.net).unwrap_or(Amount::ZERO);
        sum.checked_add(fee).unwrap_or(sum)
    });
    let payee = |payee: &PayeeReport| api::Payee {
        operator: payee.operator.to_string(),
        node: payee.node.to_string(),
        earned_wei: payee.earned,
        paid_wei: payee.paid,
        received_wei: payee.net,
        released: payee.released,
    };
    let settlement = |settlement: &SettlementReport| api::Settlement {
        transaction: hex(&settlement.transaction),
        block: settlement.block,
        gas_used: settlement.gas_used,
        gas_price_wei: Coin::from_wei(settlement.gas_price_wei),
        escrows: settlement.escrows,
    };
    api::Payment {
        escrow: report.escrow.to_string(),
        stage: match report.stage {
            EscrowStage::Open => api::PaymentStage::Open,
            EscrowStage::Settling => api::PaymentStage::Settling,
            EscrowStage::Paid => api::PaymentStage::Paid,
            EscrowStage::Closed => api::PaymentStage::Closed,
        },
        deposited_wei: report.deposited,
        earned_wei: report.earned,
        refunded_wei: report.settlements.iter().find_map(|settlement| settlement.refunded),
        fees_wei: fees,
        payees: payees.into_iter().map(payee).collect(),
        transactions: report.settlements.iter().map(settlement).collect(),
        waits_for: report.waits_for.as_deref().map(|reason| one_line(reason, 300)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// What would run. `parallel`: how many tasks at a time, without a network; `network`: what would come of it in one.
pub fn dry_run(
    file: &JobFile,
    plan: &Plan,
    parallel: Option<u64>,
    network: Option<api::Prospects>,
) -> api::DryRun {
    let first = plan.map_task(0);
    api::DryRun {
        job: file.name.to_string(),
        outcome: api::DryRunOutcome::DryRun,
        tasks: plan.task_count(),
        map_tasks: plan.map_count(),
        input_bytes: plan.total_input_bytes(),
        policy: api::Policy {
            asked: file.reliance.into(),
            compared: file.compare.to_string(),
            max_price_wei: file.max_price,
            outside_gain_wei: file.outside_gain,
            trusted: file.trusted.iter().map(ToString::to_string).collect(),
        },
        first_task: api::FirstTask { label: first.label, args: first.args },
        parallel,
        network,
    }
}

/// Seconds to the millisecond, as JSON and people have them.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
