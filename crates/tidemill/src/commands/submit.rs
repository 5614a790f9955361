//! `tidemill submit`: a job into a network, without waiting for it.

use std::{path::PathBuf, sync::Arc};

use tidemill_api as api;
use tidemill_job::JobFile;
use tidemill_net::wire::JobPay;
use tidemill_scratch::Scratch;
use tidemill_types::EscrowId;

use crate::{
    exit::{self, Code, WithCode},
    follow::unless_stopped,
    interrupt::Signals,
    jobfile, json,
    money::{PayArgs, Payer},
    network::{self, Join},
    reliance,
    requester::{Requester, Sealed, draw},
    runtime,
};

/// Submit a job to a network, and print its id.
///
/// Work is paid for in TIDE: at most what the quote says is locked in an escrow, which is settled when the job has ended.
///
/// On return the network has the job with its programs and inputs, and needs this machine no more until the
/// output is fetched.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job file; docs/job-file.md says what it may hold
    #[arg(value_name = "JOB.TOML")]
    job: PathBuf,
    #[command(flatten)]
    join: Join,
    /// Submit it although those who are there cannot come to a verdict on any result: others may join
    #[arg(long)]
    anyway: bool,
    /// Pay with an escrow that is open already, and leave it open
    #[arg(long, value_name = "ESCROW")]
    escrow: Option<EscrowId>,
    #[command(flatten)]
    pay: PayArgs,
    /// Print one JSON object instead of the id
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Examples:
  tidemill submit job.toml --join ticket.txt
  job=$(tidemill submit job.toml) && tidemill fetch $job --wait --out result

{}",
        exit::HELP
    )
}

/// What pays for the job, in a network that pays.
async fn pay(
    args: &Args,
    file: &JobFile,
    requester: &mut Requester,
    sealed: &Sealed,
) -> anyhow::Result<Option<JobPay>> {
    let terms = requester.terms(&sealed.spec).await?;
    if !args.json {
        reliance::lines(&sealed.spec, &terms).iter().for_each(|line| eprintln!("{line}"));
    }
    reliance::check(&sealed.spec, &terms, args.anyway)?;
    let Some(money) = terms.money else {
        if !args.json {
            eprintln!("this network is free: nobody is paid for this job");
        }
        return Ok(None);
    };
    let payer = Payer::new(args.pay.ledger.connect().await?, args.pay.payer()?).await?;
    let quote = payer.quote(requester, &sealed.spec, &money, file.max_price).await?;
    if !args.json {
        quote.lines(false, args.escrow).iter().for_each(|line| eprintln!("{line}"));
    }
    let node = requester.node();
    if let Some(escrow) = args.escrow {
        return Ok(Some(payer.spend(node, escrow, &money, &quote, file.max_price).await?));
    }
    // Nothing goes on with a submission that was killed: its escrow comes back at its deadline.
    let work = Scratch::temporary().code(Code::Host)?;
    let spec = (sealed.hash, file.deadline);
    let opened = payer.open(node, &quote, &money, spec, work.path()).await?;
    if let Some(sent) = opened.sent.filter(|_| !args.json) {
        eprintln!("{}: transaction {}", sent.label, sent.receipt.hash);
    }
    Ok(Some(opened.pay))
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (file, plan) = jobfile::read(&args.job)?;
    jobfile::check_programs(&file, &plan)?;
    let ticket = network::required(args.join.join.as_deref())?;
    let (file, plan) = (Arc::new(file), Arc::new(plan));
    let (job, escrow) = runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let submitting = async {
            let mut requester = Requester::connect(ticket).await?;
            let sealed = requester.seal(&file, &plan).await?;
            let pay = pay(args, &file, &mut requester, &sealed).await?;
            let job = draw()?;
            requester.submit(job, &sealed, pay).await?;
            requester.close().await;
            Ok((job, pay.map(|pay| pay.escrow)))
        };
        unless_stopped(&mut signals, submitting).await
    })?;
    if args.json {
        json::print(&api::Submitted {
            job_id: job.to_string(),
            job: file.name.to_string(),
            tasks: plan.task_count(),
            map_tasks: plan.map_count(),
            escrow: escrow.map(|escrow| escrow.to_string()),
        });
    } else {
        println!("{job}");
        eprintln!(
            "submitted {}; `tidemill status {1} --watch` follows it, `tidemill fetch {1} --wait` gets its output",
            file.name,
            job.short()
        );
    }
    Ok(())
}
