//! Paying for a job: the quote, the escrow, and what says that this node may spend it.
//!
//! What an escrow is opened under is written down before it is opened: a command that is killed opens it once.

use std::{fs, io::Write, path::Path, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidemill_job::JobSpec;
use tidemill_ledger::{
    Escrows,
    escrow::{EscrowView, Phase},
    evm,
    keystore::Account,
    ours,
    staking::Staking,
};
use tidemill_net::wire::{JobPay, Money, NetworkTerms, Reply, Request};
use tidemill_scratch::Scratch;
use tidemill_types::{
    Amount, BlobId, EscrowId, EscrowTerms, Mandate, Millis, Needs, NodeId, RateCard, ResultKey, Signable,
    Stage,
};
use tidemill_web::quote::usual_ceiling;
use tokio::time::{Instant, sleep};

use super::{Quote, as_of_now, escrows, same_ledger, shown, unix_s};
use crate::{
    exit::{Code, Exit, WithCode},
    ledger::{Ledger, Purse, Sent, unreachable},
    requester::{Requester, off_the_protocol},
};

/// Somebody who pays for jobs.
pub struct Payer {
    ledger: Ledger,
    account: Account,
    /// The escrows of the ledger.
    pub escrows: Escrows,
}

/// An escrow that pays for a job.
pub struct Opened {
    /// What the job is submitted with.
    pub pay: JobPay,
    /// The transaction that opened it, if that was now.
    pub sent: Option<Sent>,
}

/// What an escrow is opened under, in a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Draft {
    escrow: EscrowId,
    chain_id: u64,
    terms: EscrowTerms,
    salt: [u8; 32],
    ceiling: RateCard,
    /// What it is for: a file of another job is none of this one's.
    spec: [u8; 32],
    node: NodeId,
}

/// The file of it in a work directory.
const FILE: &str = "escrow.json";

/// How long an escrow stays open for a job without a deadline of its own.
const OPEN_S: u64 = 7 * 86_400;

/// One that a person opens stays open so long at least: no task is done in less.
const SHORTEST: Millis = Millis(60_000);

/// How much longer than the job it stays open.
const SLACK_S: u64 = 86_400;

/// A margin below the longest that an escrow may be open: time passes until its block.
const MARGIN_S: u64 = 3_600;

/// How long a network may take until a provider can be asked for its rates.
const PROVIDER_PATIENCE: Duration = Duration::from_secs(20);

/// After this time it is said that it is waited for one.
const NOTE_AFTER: Duration = Duration::from_secs(1);

impl Payer {
    /// An account that pays on a ledger.
    ///
    /// # Errors
    /// With [`Code::Host`] when the ledger does not answer.
    pub async fn new(ledger: Ledger, account: Account) -> anyhow::Result<Self> {
        let escrows = escrows(&ledger).await?;
        Ok(Self { ledger, account, escrows })
    }

    /// What a job would cost in a network, which says how it pays.
    ///
    /// # Errors
    /// With [`Code::Usage`] when it pays on another ledger, or `max_price` is too little for any task.
    pub async fn quote(
        &self,
        requester: &mut Requester,
        spec: &JobSpec,
        money: &Money,
        max_price: Option<Amount>,
    ) -> anyhow::Result<Quote> {
        same_ledger(money, &self.escrows)?;
        let terms = terms_with_providers(requester, spec).await?;
        let protocol = self.escrows.protocol_fee_ppm().await.code(Code::Host)?;
        let bond = self.escrows.coordinator_bond(money.account).await.code(Code::Host)?;
        Quote::of(spec, money, &terms, protocol, bond, max_price).map_err(|error| {
            Exit::new(Code::Usage, error.to_string())
                .hint("lower `fuel`, `memory` and `output` under [limits] to what a task needs, or raise `max_price`")
                .into()
        })
    }

    /// Opens the escrow of a job, or takes up the one that an earlier run into this work directory opened for it.
    ///
    /// # Errors
    /// With a code when the account has too little, or the ledger refuses or does not answer.
    pub async fn open(
        &self,
        node: NodeId,
        quote: &Quote,
        money: &Money,
        spec: ([u8; 32], Option<Millis>),
        work: &Path,
    ) -> anyhow::Result<Opened> {
        let (spec, deadline) = spec;
        let chain_id = self.ledger.chain.chain_id();
        let earlier = Draft::read(work).filter(|draft| {
            (draft.spec, draft.chain_id, draft.node) == (spec, chain_id, node)
                && draft.escrow == self.name(&draft.terms, draft.salt)
                && draft.terms.voucher_key == money.account
                && draft.terms.fee_ppm == money.fee_ppm
        });
        if let Some(draft) = earlier {
            let now_s = self.ledger.chain.now().await.map_err(unreachable)?;
            match self.escrows.view(draft.escrow, 1).await.code(Code::Host)? {
                Some(view) if view.phase() == Phase::Open => {
                    return Ok(Opened { pay: self.pay(&draft)?, sent: None });
                }
                // It may be on its way; opened under the same terms, it is the same one.
                None if draft.terms.deadline_s > now_s + MARGIN_S => {
                    let sent = self.send(&draft).await?;
                    return Ok(Opened { pay: self.pay(&draft)?, sent });
                }
                _ => {}
            }
        }
        let draft = self.draft(node, quote, money, spec, deadline).await?;
        draft.write(work).with_context(|| format!("cannot write in {}", work.display())).code(Code::Host)?;
        let sent = self.send(&draft).await?;
        Ok(Opened { pay: self.pay(&draft)?, sent })
    }

    /// Opens an escrow for any jobs of this node's.
    ///
    /// # Errors
    /// As those of [`Self::open`].
    pub async fn open_for_any(
        &self,
        node: NodeId,
        money: &Money,
        budget: Amount,
        open_for: Option<Millis>,
    ) -> anyhow::Result<(EscrowId, Sent)> {
        let opened = self.open_noted(node, money, budget, open_for, |_| Ok(())).await?;
        Ok((opened.0.escrow, opened.1))
    }

    /// The same. `note` is told what jobs are to be submitted with before the escrow is opened, so that a command that is
    /// killed leaves no money behind that nobody knows of.
    ///
    /// # Errors
    /// As those of [`Self::open`], and of `note`.
    pub async fn open_noted(
        &self,
        node: NodeId,
        money: &Money,
        budget: Amount,
        open_for: Option<Millis>,
        note: impl FnOnce(&JobPay) -> anyhow::Result<()>,
    ) -> anyhow::Result<(JobPay, Sent)> {
        same_ledger(money, &self.escrows)?;
        if budget.is_zero() {
            return Err(Exit::new(Code::Usage, "an escrow over nothing pays for nothing").into());
        }
        let longest = Millis((self.longest_s().await?).saturating_mul(1000));
        if let Some(open_for) = open_for.filter(|open_for| *open_for < SHORTEST || *open_for > longest) {
            let message = format!("an escrow stays open for {SHORTEST} to {longest}, not for {open_for}");
            return Err(Exit::new(Code::Usage, message).into());
        }
        let draft = self.draft_of(node, budget, usual_ceiling(), money, [0; 32], open_for).await?;
        let pay = JobPay { close: false, ..self.pay(&draft)? };
        note(&pay)?;
        let sent = self.send(&draft).await?.context("it is open already").code(Code::Host)?;
        Ok((pay, sent))
    }

    /// What a job is submitted with that an escrow pays which is open already.
    ///
    /// # Errors
    /// With [`Code::Usage`] when it is another's, for another coordinator, or not open.
    pub async fn spend(
        &self,
        node: NodeId,
        escrow: EscrowId,
        money: &Money,
        quote: &Quote,
        max_price: Option<Amount>,
    ) -> anyhow::Result<JobPay> {
        same_ledger(money, &self.escrows)?;
        let view = self.view(escrow).await?;
        let wrong = |what: String| Err(Exit::new(Code::Usage, format!("the escrow {escrow} {what}")).into());
        if evm(view.requester) != self.account.address() {
            return wrong(format!("is that of {}", view.requester));
        }
        if view.voucher_key != money.account {
            return wrong(format!(
                "is for the coordinator that signs as {}, and this one signs as {}",
                view.voucher_key, money.account
            ));
        }
        if view.phase() != Phase::Open {
            return wrong("is not open any more".to_owned());
        }
        let mandate = self.mandate(escrow, node)?;
        Ok(JobPay { escrow, mandate, ceiling: quote.ceiling, max_price, close: false })
    }

    /// An escrow as the ledger shows it.
    ///
    /// # Errors
    /// With [`Code::Usage`] when there is none.
    pub async fn view(&self, escrow: EscrowId) -> anyhow::Result<EscrowView> {
        let view = self.escrows.view(escrow, 1).await.code(Code::Host)?;
        view.map(as_of_now).ok_or_else(|| {
            Exit::new(Code::Usage, format!("the ledger knows no escrow {escrow}"))
                .hint("`tidemill escrow list` lists those that you opened")
                .into()
        })
    }

    async fn draft(
        &self,
        node: NodeId,
        quote: &Quote,
        money: &Money,
        spec: [u8; 32],
        deadline: Option<Millis>,
    ) -> anyhow::Result<Draft> {
        let open_for = deadline.map(|deadline| Millis(deadline.0.saturating_add(SLACK_S * 1000)));
        self.draft_of(node, quote.budget, quote.ceiling, money, spec, open_for).await
    }

    async fn draft_of(
        &self,
        node: NodeId,
        budget: Amount,
        ceiling: RateCard,
        money: &Money,
        spec: [u8; 32],
        open_for: Option<Millis>,
    ) -> anyhow::Result<Draft> {
        let longest = self.longest_s().await?;
        let open_s = open_for.map_or(OPEN_S, |open_for| open_for.0 / 1000).clamp(1, longest.max(1));
        let now_s = self.ledger.chain.now().await.map_err(unreachable)?;
        let coordinator = self.escrows.coordinator_of(money.account).await.code(Code::Host)?;
        let terms = EscrowTerms {
            coordinator,
            voucher_key: money.account,
            budget,
            // Where blocks come only with transactions, the newest may be an old one.
            deadline_s: now_s.max(unix_s()).saturating_add(open_s),
            fee_ppm: money.fee_ppm,
            spec_hash: spec,
        };
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).context("the system has no randomness to give").code(Code::Host)?;
        let escrow = self.name(&terms, salt);
        Ok(Draft { escrow, chain_id: self.ledger.chain.chain_id(), terms, salt, ceiling, spec, node })
    }

    /// The TIDE that the account can lock.
    ///
    /// # Errors
    /// With [`Code::Host`] when the ledger does not answer.
    pub async fn free(&self) -> anyhow::Result<Amount> {
        let staking = Staking::new(self.ledger.chain.clone(), &self.ledger.book).code(Code::Usage)?;
        staking.free(self.account.address()).await.code(Code::Host)
    }

    /// How long an escrow may stay open that is opened now, in seconds.
    async fn longest_s(&self) -> anyhow::Result<u64> {
        Ok(self.escrows.longest_s().await.code(Code::Host)?.saturating_sub(MARGIN_S))
    }

    /// The name of an escrow that this account opens.
    fn name(&self, terms: &EscrowTerms, salt: [u8; 32]) -> EscrowId {
        EscrowId::of(ours(self.account.address()), terms, salt)
    }

    /// Opens the escrow of a draft, unless what was on its way has done so.
    async fn send(&self, draft: &Draft) -> anyhow::Result<Option<Sent>> {
        let purse = Purse::on(self.ledger.clone(), self.account.clone()).await?;
        let sent = match self.escrows.view(draft.escrow, 1).await.code(Code::Host) {
            Ok(Some(_)) => Ok(None),
            Ok(None) => self.send_from(&purse, draft).await.map(Some),
            Err(error) => Err(error),
        };
        purse.close().await;
        sent
    }

    async fn send_from(&self, purse: &Purse, draft: &Draft) -> anyhow::Result<Sent> {
        let budget = draft.terms.budget;
        let has = self.free().await?;
        if has < budget {
            let message = format!(
                "the account {} has {}, and {budget} are to be locked",
                self.account.address(),
                shown(has)
            );
            return Err(Exit::new(Code::Failed, message)
                .hint("set `max_price` under [policy], lower [limits] to what tasks need, or send the account TIDE")
                .into());
        }
        let call =
            self.escrows.open(self.account.signer(), &draft.terms, draft.salt).await.code(Code::Host)?;
        let label = format!("lock {budget} in the escrow {}", draft.escrow.short());
        // Without a key: of one name the contract opens one.
        purse.call(&label, self.escrows.address(), call).await
    }

    fn pay(&self, draft: &Draft) -> anyhow::Result<JobPay> {
        let mandate = self.mandate(draft.escrow, draft.node)?;
        Ok(JobPay { escrow: draft.escrow, mandate, ceiling: draft.ceiling, max_price: None, close: true })
    }

    fn mandate(&self, escrow: EscrowId, node: NodeId) -> anyhow::Result<tidemill_types::Signature65> {
        let key = ResultKey::from_bytes(&self.account.signer().to_bytes().0).code(Code::Host)?;
        let signed = Mandate { escrow, node }.sign(&self.escrows.contract(), &key).code(Code::Host)?;
        Ok(signed.signature)
    }
}

/// What a network says of a job's stages, once it has a provider: one that was started a moment ago has none yet.
async fn terms_with_providers(requester: &mut Requester, spec: &JobSpec) -> anyhow::Result<NetworkTerms> {
    let begun = Instant::now();
    let mut is_said = false;
    loop {
        let terms = requester.terms(spec).await?;
        let waited = begun.elapsed();
        if terms.stages.iter().all(|stage| stage.providers > 0) {
            return Ok(terms);
        }
        if waited >= PROVIDER_PATIENCE {
            eprintln!(
                "no provider has joined that could run this: the rates that providers usually ask are assumed"
            );
            return Ok(terms);
        }
        if waited >= NOTE_AFTER && !std::mem::replace(&mut is_said, true) {
            eprintln!(
                "no provider has joined yet that could run this: waiting up to {} s to be told its rates",
                PROVIDER_PATIENCE.as_secs()
            );
        }
        sleep(Duration::from_millis(100)).await;
    }
}

impl Requester {
    /// What running a job would cost here, and how this network pays.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn terms(&mut self, spec: &JobSpec) -> anyhow::Result<NetworkTerms> {
        let stages = [Stage::Map, Stage::Reduce].into_iter();
        let stages = stages.filter_map(|stage| Some((spec.needs(stage)?, spec.program(stage)?.id))).collect();
        self.terms_of(stages).await
    }

    /// The same of tasks that need this and run these programs.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn terms_of(&mut self, stages: Vec<(Needs, BlobId)>) -> anyhow::Result<NetworkTerms> {
        match self.call(Request::Terms { stages }).await? {
            Reply::Terms(terms) => Ok(terms),
            _ => Err(off_the_protocol()),
        }
    }
}

/// Whether an escrow was opened for the job that is run into a work directory.
pub fn has_escrow(work: &Path) -> bool {
    Draft::read(work).is_some()
}

/// Forgets what the escrow of a job was opened under: the job has ended, and with it the escrow.
pub fn forget_escrow(work: &Path) {
    if let Err(error) = fs::remove_file(work.join(FILE))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("warning: cannot remove {}: {error}", work.join(FILE).display());
    }
}

impl Draft {
    fn read(work: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(work.join(FILE)).ok()?).ok()
    }

    fn write(&self, work: &Path) -> anyhow::Result<()> {
        let scratch = Scratch::within(work)?;
        let mut draft = tempfile::NamedTempFile::new_in(scratch.path())?;
        draft.write_all(&serde_json::to_vec_pretty(self)?)?;
        tidemill_disk::sync_all(draft.as_file())?;
        draft.persist(work.join(FILE))?;
        Ok(())
    }
}
