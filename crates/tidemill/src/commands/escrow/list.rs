//! `tidemill escrow list`: the escrows of an account.

use tidemill_api as api;
use tidemill_ledger::{EscrowView, escrow::Phase, ours};
use tidemill_types::{Amount, one_line};

use crate::{
    exit::{self, Code, WithCode},
    json,
    ledger::{AccountArgs, LedgerArgs, TREASURY, address_of, when},
    money::{PaidJob, as_of_now, escrows, jobs_by_escrow, tide},
    runtime,
    table::Table,
};

/// List the escrows that an account opened, the newest first, as the ledger shows them, with the jobs of this home that
/// they pay for.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// Those that are closed too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// How far an escrow is, for scripts.
pub fn phase(phase: Phase) -> api::EscrowPhase {
    match phase {
        Phase::Open => api::EscrowPhase::Open,
        Phase::Collecting => api::EscrowPhase::Collecting,
        Phase::Refundable => api::EscrowPhase::Refundable,
        Phase::Closed => api::EscrowPhase::Closed,
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let name = args.account.entry_or(TREASURY)?.name.to_string();
    let account = address_of(&name)?;
    let views = runtime::block_on(async {
        let ledger = args.ledger.connect().await?;
        let escrows = escrows(&ledger).await?;
        let mut views = Vec::new();
        for id in escrows.opened_by(ours(account)).await.code(Code::Host)?.into_iter().rev() {
            views.extend(escrows.view(id, 1).await.code(Code::Host)?.map(as_of_now));
        }
        anyhow::Ok(views)
    })?;
    let shown: Vec<&EscrowView> = views.iter().filter(|view| args.all || !view.closed).collect();
    let jobs = jobs_by_escrow().code(Code::Host)?;
    let jobs_of = |view: &EscrowView| jobs.get(&view.id).map(Vec::as_slice).unwrap_or_default();
    if args.json {
        let escrows = shown.iter().map(|view| summary(view, jobs_of(view))).collect();
        json::print(&api::Escrows { account: account.to_string(), escrows });
        return Ok(());
    }
    if shown.is_empty() {
        let closed = views.len();
        let more = match closed {
            0 => String::new(),
            1 => "; 1 is closed (`--all` lists it)".to_owned(),
            _ => format!("; {closed} are closed (`--all` lists them)"),
        };
        println!("{name} has no escrow that is open{more}");
        return Ok(());
    }
    let mut table = Table::new(&["escrow ", "job ", "state ", "locked", "paid", "left", "until "]);
    for view in &shown {
        let until = match view.phase() {
            Phase::Open => format!("ends in {}", when(view.ends_s, view.now_s)),
            Phase::Collecting => format!("vouchers for {}", when(view.collect_until_s, view.now_s)),
            Phase::Refundable => "`tidemill escrow refund` gets the rest".to_owned(),
            Phase::Closed => String::new(),
        };
        let job = match jobs_of(view) {
            [] => String::new(),
            [job] => job.id.short(),
            several => format!("{} jobs", several.len()),
        };
        table.row(vec![
            view.id.short(),
            job,
            phase(view.phase()).word().to_owned(),
            tide(view.deposited),
            tide(view.paid),
            tide(left(view)),
            until,
        ]);
    }
    table.print("");
    for view in shown {
        println!("{}  for the coordinator {}", view.id, view.coordinator);
        if let Some(words) = jobs_in_words(jobs_of(view)) {
            println!("  {words}");
        }
    }
    Ok(())
}

/// The jobs that an escrow pays for; nothing where this home knows none.
fn jobs_in_words(jobs: &[PaidJob]) -> Option<String> {
    let names: Vec<_> = jobs.iter().map(|job| format!("{} ({})", job.id.short(), job.name)).collect();
    match names.as_slice() {
        [] => None,
        [name] => Some(format!("pays for the job {name}")),
        names => Some(one_line(&format!("pays for the jobs {}", names.join(", ")), 2_000)),
    }
}

fn left(view: &EscrowView) -> Amount {
    match view.closed {
        true => Amount::ZERO,
        false => view.deposited.checked_sub(view.paid).unwrap_or(Amount::ZERO),
    }
}

fn summary(view: &EscrowView, jobs: &[PaidJob]) -> api::Escrow {
    api::Escrow {
        escrow: view.id.to_string(),
        state: phase(view.phase()),
        coordinator: view.coordinator.to_string(),
        deposited_wei: view.deposited,
        paid_wei: view.paid,
        left_wei: left(view),
        ends_at_unix_s: view.ends_s,
        collect_until_unix_s: view.collect_until_s,
        jobs: jobs.iter().map(PaidJob::summary).collect(),
    }
}

#[cfg(test)]
mod tests {
    use tidemill_job::JobName;
    use tidemill_types::JobId;

    use super::*;

    #[test]
    fn the_jobs_of_an_escrow_are_named_as_elsewhere() {
        let job = |number: u8, name: &str| PaidJob {
            id: JobId([number; 16]),
            name: JobName::new(name).expect("a name"),
        };
        assert_eq!(jobs_in_words(&[]), None);
        let one = jobs_in_words(&[job(1, "render")]);
        assert_eq!(one.as_deref(), Some("pays for the job 01010101 (render)"));
        let two = jobs_in_words(&[job(1, "render"), job(2, "kmer")]);
        assert_eq!(two.as_deref(), Some("pays for the jobs 01010101 (render), 02020202 (kmer)"));
    }
}
