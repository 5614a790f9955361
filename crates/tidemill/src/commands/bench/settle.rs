//! `tidemill bench settle`: what it costs to pay the providers of a job.

use std::path::Path;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tidemill_ledger::{
    B256, PrivateKeySigner, SolCall,
    contracts::ProviderStaking,
    evm, ours,
    sender::Sender,
    settlement::{Closing, Conditions, Payee, plan},
};
use tidemill_scratch::Scratch;
use tidemill_types::{
    Amount, Billable, ByteSize, Coin, EscrowId, EscrowTerms, Fuel, Metered, RateCard, Release, ResultKey,
    Signable, Signed, Voucher,
};

use super::bank::{Bank, call, send};
use crate::{
    exit::{Code, WithCode},
    runtime::block_on,
};

/// Measure what it costs, in gas, to pay the providers of a job.
///
/// Makes a throw-away ledger in this process, registers providers there, opens an escrow, has every provider earn its
/// tasks by vouchers, which are signed and checked one for each batch of results, and settles as a coordinator does:
/// with the releases of all of them. The tasks themselves are not run. Providers earn in this escrow for the first time,
/// and have earned nothing before.
#[derive(clap::Args)]
pub struct Args {
    /// Tasks, all together
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    tasks: u32,
    /// Providers, which do as many tasks each
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    providers: u16,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Results {
    tasks: u32,
    providers: u16,
    /// Those of the settlement.
    transactions: usize,
    /// Of all of them, their own 21,000 included.
    gas: u64,
    gas_per_task: f64,
    gas_per_provider: f64,
    /// Of a provider that pays itself out.
    withdraw_gas: u64,
}

/// Results under one voucher.
const BATCH: u32 = 64;

/// What a task of the measurement burns and moves.
const TASK: Billable = Billable {
    work: Metered::Fuel(Fuel(5_000_000_000)),
    memory: ByteSize::mib(512),
    moved: ByteSize(1 << 20),
};

/// A plain payout of the token to somebody new, for comparison: docs/benchmarks.md.
const PLAIN_TRANSFER: f64 = 56_185.0;

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let directory = Scratch::temporary().context("cannot make a temporary directory").code(Code::Host)?;
    let results = block_on(measure(args, directory.path()))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
        return Ok(());
    }
    println!("{} tasks of {} providers, settled with their releases", results.tasks, results.providers);
    println!("  transactions       {:>12}", results.transactions);
    println!("  gas                {:>12}", results.gas);
    println!("  gas a provider     {:>12.0}", results.gas_per_provider);
    println!("  gas a task         {:>12.2}", results.gas_per_task);
    println!("  gas of a withdrawal{:>12}", results.withdraw_gas);
    println!("  a plain transfer of the token to each would have taken {PLAIN_TRANSFER:.0} a provider");
    Ok(())
}

async fn measure(args: &Args, directory: &Path) -> anyhow::Result<Results> {
    let bank = Bank::open(directory).await?;
    let bench = Bench { bank: &bank };
    let results = bench.run(args).await;
    bank.close().await;
    results
}

struct Bench<'a> {
    bank: &'a Bank,
}

impl Bench<'_> {
    async fn run(&self, args: &Args) -> anyhow::Result<Results> {
        let bar = ProgressBar::new(u64::from(args.providers) + 3);
        bar.set_style(ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}")?);
        bar.set_message("registering");
        let (rich, coordinator) = &self.bank.keys;
        let treasury = self.bank.sender(rich).await?;
        let mut providers = Vec::new();
        for number in 0..args.providers {
            providers.push(self.register(&treasury, number).await?);
            bar.inc(1);
        }
        bar.set_message("paying");
        let work = RateCard::default().price(&TASK);
        let budget = work.checked_mul(args.tasks.into()).context("the tasks cost more than there is")?;
        let terms = EscrowTerms {
            coordinator: ours(coordinator.address()),
            voucher_key: ours(coordinator.address()),
            budget,
            deadline_s: self.bank.chain.now().await.code(Code::Host)? + 86_400,
            fee_ppm: 50_000,
            spec_hash: [7; 32],
        };
        let id = EscrowId::of(ours(rich.address()), &terms, [0; 32]);
        let open = self.bank.escrows.open(rich, &terms, [0; 32]).await.code(Code::Host)?;
        call(&treasury, self.bank.escrows.address(), open).await?;
        bar.inc(1);
        let payees = self.earn(args.tasks, id, work, coordinator, &providers)?;
        let view = self.bank.escrows.view(id, 1).await.code(Code::Host)?.context("the escrow is not open")?;
        let newest = self.bank.chain.newest().await.code(Code::Host)?;
        let conditions = Conditions::new(Coin::gwei(1), Coin::gwei(100), newest.gas_limit);
        let closing = Closing { view, payees, impatient: false };
        let sender = self.bank.sender(coordinator).await?;
        let (calls, mut gas) = (plan(&[closing], &conditions), 0);
        let transactions = calls.len();
        for planned in calls {
            gas += call(&sender, self.bank.escrows.address(), planned.data).await?.gas_used;
        }
        bar.inc(1);
        let view = self.bank.escrows.view(id, 1).await.code(Code::Host)?.context("the escrow is gone")?;
        anyhow::ensure!(view.closed && view.paid == budget, "the escrow is not settled: {view:?}");
        let (_, first) = providers.first().context("there are no providers")?;
        let withdraw = ProviderStaking::withdrawEarningsCall {}.abi_encode();
        let withdrawal = call(&self.bank.sender(first).await?, self.bank.staking.address(), withdraw).await?;
        bar.finish_and_clear();
        Ok(Results {
            tasks: args.tasks,
            providers: args.providers,
            transactions,
            gas,
            gas_per_task: gas as f64 / f64::from(args.tasks),
            gas_per_provider: gas as f64 / f64::from(args.providers),
            withdraw_gas: withdrawal.gas_used,
        })
    }

    /// Every task's price goes to a provider, batch by batch, as vouchers have it; in the end all release.
    fn earn(
        &self,
        tasks: u32,
        escrow: EscrowId,
        price: Amount,
        coordinator: &PrivateKeySigner,
        providers: &[(ResultKey, PrivateKeySigner)],
    ) -> anyhow::Result<Vec<Payee>> {
        let contract = self.bank.escrows.contract();
        let signer = ResultKey::from_bytes(&coordinator.to_bytes().0).code(Code::Host)?;
        let mut best: Vec<Option<Signed<Voucher>>> = vec![None; providers.len()];
        let (mut done, mut sequence, mut total) = (0, 0, Amount::ZERO);
        for at in (0..providers.len()).cycle() {
            if done == tasks {
                break;
            }
            let share = tasks.div_ceil(u32::try_from(providers.len())?);
            let batch = BATCH.min(share).min(tasks - done);
            done += batch;
            let earned = price.checked_mul(batch.into()).context("too much")?;
            let before = best[at].map_or(Amount::ZERO, |signed| signed.body.amount);
            let amount = before.checked_add(earned).context("too much")?;
            total = total.checked_add(earned).context("too much")?;
            sequence += 1;
            let provider = providers[at].0.address();
            let voucher = Voucher { escrow, provider, amount, sequence, total };
            let signed = voucher.sign(&contract, &signer).code(Code::Host)?;
            signed.verify(&contract, signer.address()).code(Code::Host)?;
            best[at] = Some(signed);
        }
        let payee = |(key, signed): (&(ResultKey, PrivateKeySigner), Signed<Voucher>)| {
            let provider = key.0.address();
            let release = Release { escrow, provider, amount: signed.body.amount };
            Ok(Payee {
                provider,
                amount: signed.body.amount,
                release: Some(release.sign(&contract, &key.0).code(Code::Host)?),
                paid: Amount::ZERO,
                acknowledged: false,
            })
        };
        let earned = providers.iter().zip(best).filter_map(|(key, signed)| Some((key, signed?)));
        earned.map(payee).collect()
    }

    /// A provider with coins for gas whose result key is its account.
    async fn register(
        &self,
        treasury: &Sender,
        number: u16,
    ) -> anyhow::Result<(ResultKey, PrivateKeySigner)> {
        let mut secret = [0; 32];
        secret[0] = 1;
        secret[30..].copy_from_slice(&number.to_be_bytes());
        let key = ResultKey::from_bytes(&secret).code(Code::Host)?;
        let signer = PrivateKeySigner::from_bytes(&B256::from(secret)).code(Code::Host)?;
        let coins = Coin::from_wei(1_000_000_000_000_000_000);
        send(treasury, evm(key.address()), coins, Vec::new()).await?;
        let sender = self.bank.sender(&signer).await?;
        let node = B256::with_last_byte(1);
        let data = self.bank.staking.register_provider(signer.address(), B256::ZERO, 100_000, node, &signer);
        call(&sender, self.bank.staking.address(), data).await?;
        sender.close().await;
        Ok((key, signer))
    }
}
