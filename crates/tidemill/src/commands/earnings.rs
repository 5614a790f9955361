//! `tidemill earnings`: what this home's providers have earned, and why they have not earned more.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tidemill_api as api;
use tidemill_net::{endpoint::node_id, key::KeyKind, wire::Unpaid};
use tidemill_provider::pay::{EscrowHistory, History, JobHistory, Loss};
use tidemill_types::{Address, Amount, EscrowId, JobId, one_line};
use tidemill_web::Earned;

use crate::{
    embedded::PLACES,
    exit::{self, Code, Exit, WithCode},
    home::{NODE_KEY, RESULT_KEY, data_directory, key},
    json,
    money::{shown, tide},
    table::Table,
};

/// Show what the providers of this home have earned, by job and escrow, with the reason for every result that was not paid.
///
/// It reads what providers have written down, and asks nobody. `tidemill wallet balance` shows what is on the ledger,
/// `tidemill withdraw` pays it out, `tidemill collect` cashes vouchers of coordinators that are gone.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// The state of one provider [default: all of this home]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// The directories of the providers whose states these are.
///
/// # Errors
/// When the environment names no home.
pub fn directories(directory: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(directory) = directory {
        if !directory.is_dir() {
            let message = format!("{} is no directory", directory.display());
            return Err(Exit::new(Code::Usage, message)
                .hint("give what `tidemill provide --directory` was given")
                .into());
        }
        return Ok(vec![directory.to_owned()]);
    }
    let home = data_directory().code(Code::Host)?;
    let mut found = vec![home.join("provider")];
    let mut places: Vec<_> = entries(&home.join(PLACES));
    places.sort();
    for place in places {
        let mut providers = entries(&place);
        providers.retain(|path| path.join(FILE).is_file());
        providers.sort();
        found.extend(providers);
    }
    Ok(found)
}

/// What providers write their payments into.
const FILE: &str = "payments.log";

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Why a result was not paid, for people.
fn why(reason: Unpaid) -> &'static str {
    match reason {
        Unpaid::Late => "came after its lease had ended",
        Unpaid::Superseded => "somebody else was first",
        Unpaid::JobEnded => "the job had ended",
        Unpaid::Circumstance => "failed by this machine's doing",
        Unpaid::Unconfirmed => "failed, and nobody else saw it fail so",
        Unpaid::NoOutput => "its output could not be fetched",
        Unpaid::Contradicted => "contradicted the accepted result",
        Unpaid::Undecided => "others said otherwise, and the job ended undecided",
    }
}

/// Why a result was not paid, for scripts.
pub fn unpaid(reason: Unpaid) -> api::Unpaid {
    match reason {
        Unpaid::Late => api::Unpaid::Late,
        Unpaid::Superseded => api::Unpaid::Superseded,
        Unpaid::JobEnded => api::Unpaid::JobEnded,
        Unpaid::Circumstance => api::Unpaid::Circumstance,
        Unpaid::Unconfirmed => api::Unpaid::Unconfirmed,
        Unpaid::NoOutput => api::Unpaid::NoOutput,
        Unpaid::Contradicted => api::Unpaid::Contradicted,
        Unpaid::Undecided => api::Unpaid::Undecided,
    }
}

/// What providers have written down, of those that have worked for pay.
fn histories(directories: Vec<PathBuf>) -> anyhow::Result<Vec<(PathBuf, History)>> {
    let mut all = Vec::new();
    for directory in directories {
        let history = History::read(&directory).code(Code::Host)?;
        if !history.escrows.is_empty() {
            all.push((directory, history));
        }
    }
    Ok(all)
}

fn summary(all: &[(PathBuf, History)]) -> api::Earnings {
    let providers = all.iter().map(|(directory, history)| provider_summary(directory, history));
    api::Earnings { providers: providers.collect() }
}

/// What all providers of this home have earned, and which nodes they are.
///
/// # Errors
/// With [`Code::Host`] where something of it cannot be read.
pub fn earned() -> anyhow::Result<Earned> {
    let directories = directories(None)?;
    // One that has never run has no key yet, and none is made for it.
    let keys = directories.iter().map(|directory| directory.join(NODE_KEY)).filter(|path| path.is_file());
    let nodes = keys.map(|path| Ok(node_id(&key(&path, KeyKind::Node)?)));
    let nodes = nodes.collect::<anyhow::Result<_>>()?;
    Ok(Earned { earnings: summary(&histories(directories)?), nodes })
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let all = histories(directories(args.directory.as_deref())?)?;
    if args.json {
        json::print(&summary(&all));
        return Ok(());
    }
    if all.is_empty() {
        println!(
            "no provider of this home has worked for pay yet; `tidemill provide` lends this machine, and `--directory \
             DIR` shows a provider that has its own directory"
        );
    }
    for (directory, history) in &all {
        print(directory, history);
    }
    let mut sharing: BTreeMap<(EscrowId, Address), usize> = BTreeMap::new();
    for (id, escrow) in all.iter().flat_map(|(_, history)| &history.escrows) {
        if let Some(account) = account(escrow) {
            *sharing.entry((*id, account)).or_default() += 1;
        }
    }
    for ((id, account), count) in sharing.into_iter().filter(|(_, count)| *count > 1) {
        println!(
            "the escrow {} pays the account {account} for {count} of these together: what stands beside it there is for all",
            id.short()
        );
    }
    Ok(())
}

/// The account that an escrow pays for this provider, as far as its vouchers say.
fn account(escrow: &EscrowHistory) -> Option<Address> {
    escrow.voucher.map(|signed| signed.body.provider)
}

fn print(directory: &Path, history: &History) {
    println!("{}", directory.display());
    let mut table = Table::new(&["job ", "escrow ", "paid", "earned", "unpaid", "why not "]);
    for (job, escrow, of_job) in rows(history) {
        let unpaid: u64 = of_job.unpaid.values().map(|tally| tally.results).sum();
        let reasons: Vec<String> = of_job
            .unpaid
            .iter()
            .map(|(reason, tally)| format!("{} {}", tally.results, why(*reason)))
            .collect();
        table.row(vec![
            job.short(),
            escrow.short(),
            of_job.paid.results.to_string(),
            tide(of_job.paid.amount),
            unpaid.to_string(),
            reasons.join(", "),
        ]);
    }
    table.print("  ");
    for (id, escrow) in &history.escrows {
        println!("  escrow {}{}: {}", id.short(), for_jobs(escrow), standing(escrow));
    }
    // A provider of a network that `run` or `up` brings along; others have the key of this home's node.
    let key = directory.join(RESULT_KEY);
    if key.is_file() {
        println!("  its key, for `tidemill wallet import NAME --key-file`: {}", key.display());
    }
}

/// A row for each job and each escrow that pays for it, by job.
fn rows(history: &History) -> Vec<(JobId, EscrowId, &JobHistory)> {
    let mut rows = Vec::new();
    for (id, escrow) in &history.escrows {
        rows.extend(escrow.jobs.iter().map(|(job, of_job)| (*job, *id, of_job)));
    }
    rows.sort_by_key(|(job, escrow, _)| (*job, *escrow));
    rows
}

/// Which jobs an escrow pays for, behind its name.
fn for_jobs(escrow: &EscrowHistory) -> String {
    let jobs: Vec<_> = escrow.jobs.keys().map(JobId::short).collect();
    match jobs.as_slice() {
        [] => String::new(),
        [job] => format!(" for the job {job}"),
        jobs => one_line(&format!(" for the jobs {}", jobs.join(", ")), 400),
    }
}

/// How an escrow stands for its provider.
fn standing(escrow: &EscrowHistory) -> String {
    let earned = shown(escrow.earned());
    if let Some(loss) = &escrow.loss {
        return format!("earned {earned}; {} will not come: {}", shown(loss.amount), loss.reason);
    }
    if escrow.ended {
        return format!("earned {earned}, received {}", shown(escrow.net));
    }
    let by_voucher = escrow.voucher.map_or(Amount::ZERO, |signed| signed.body.amount);
    let released = if escrow.released.is_some() { ", released" } else { "" };
    format!(
        "earned {earned}, {} of it by voucher{released}; received {} so far",
        shown(by_voucher),
        shown(escrow.net)
    )
}

fn provider_summary(directory: &Path, history: &History) -> api::EarningsOfProvider {
    api::EarningsOfProvider {
        directory: directory.to_string_lossy().into_owned(),
        escrows: history.escrows.iter().map(|(id, escrow)| escrow_summary(*id, escrow)).collect(),
    }
}

fn escrow_summary(id: EscrowId, escrow: &EscrowHistory) -> api::EarningsOfEscrow {
    let lost = |loss: &Loss| api::Lost { amount_wei: loss.amount, reason: loss.reason.to_string() };
    api::EarningsOfEscrow {
        escrow: id.to_string(),
        coordinator: escrow.coordinator.to_string(),
        account: account(escrow).map(|account| account.to_string()),
        earned_wei: escrow.earned(),
        voucher_wei: escrow.voucher.map(|signed| signed.body.amount),
        released_wei: escrow.released,
        received_gross_wei: escrow.gross,
        received_net_wei: escrow.net,
        ended: escrow.ended,
        lost: escrow.loss.as_ref().map(lost),
        jobs: escrow.jobs.iter().map(|(job, of_job)| job_summary(*job, id, of_job)).collect(),
    }
}

fn job_summary(job: JobId, escrow: EscrowId, of_job: &JobHistory) -> api::EarningsOfJob {
    let unpaid = of_job.unpaid.iter().map(|(reason, tally)| api::UnpaidResults {
        reason: unpaid(*reason),
        why: why(*reason).to_owned(),
        results: tally.results,
        amount_wei: tally.amount,
    });
    api::EarningsOfJob {
        job_id: job.to_string(),
        escrow: escrow.to_string(),
        paid_results: of_job.paid.results,
        paid_wei: of_job.paid.amount,
        short_wei: of_job.short,
        unpaid: unpaid.collect(),
    }
}
