//! An account on a ledger: sends transactions, and says what came of them.

use std::time::Duration;

use indicatif::ProgressBar;
use tidemill_api::Transaction;
use tidemill_ledger::{
    Address, Bytes, Chain,
    keystore::Account,
    sender::{Event, Intent, Outcome, Phase, Receipt, Sender, SenderError, Settings, Short, Status},
};
use tidemill_types::Coin;
use tokio::time::{Instant, sleep};

use super::{Ledger, LedgerArgs, unreachable};
use crate::{
    exit::{Code, Exit, WithCode},
    home::data_directory,
    interrupt::Signals,
    progress::spinner,
};

/// An unlocked account on a ledger that answers. One process of this machine has it at a time, others wait for it.
pub struct Purse {
    /// The ledger.
    pub ledger: Ledger,
    /// The account.
    pub account: Account,
    sender: Sender,
}

/// How long a command waits for what earlier ones left: some blocks of a public chain.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a command waits for another one that sends for the same account, how often it looks, and after which time it
/// says so.
const TURN_PATIENCE: Duration = Duration::from_secs(180);
const TURN_LOOK: Duration = Duration::from_millis(50);
const NOTE_AFTER: Duration = Duration::from_secs(1);

/// A transaction that did what it should.
pub struct Sent {
    /// What it was for.
    pub label: String,
    /// Where it is.
    pub receipt: Receipt,
}

impl Purse {
    /// Connects, and takes up what an earlier command with this account left pending.
    ///
    /// # Errors
    /// With a code: as [`LedgerArgs::connect`], and with [`Code::Host`] when another process sends for this account.
    pub async fn open(ledger: &LedgerArgs, account: Account) -> anyhow::Result<Self> {
        Self::on(ledger.connect().await?, account).await
    }

    /// The same on a ledger that is connected.
    ///
    /// # Errors
    /// With [`Code::Host`] when another process sends for this account.
    pub async fn on(ledger: Ledger, account: Account) -> anyhow::Result<Self> {
        let purse = Self::unsettled(ledger, account).await?;
        purse.settle().await?;
        Ok(purse)
    }

    /// The same, whatever earlier commands left on its way.
    ///
    /// # Errors
    /// With [`Code::Host`] when another process sends for this account.
    pub async fn unsettled(ledger: Ledger, account: Account) -> anyhow::Result<Self> {
        let sender = open_sender(&ledger.chain, &account, ledger.settings.clone()).await?;
        Ok(Self { ledger, account, sender })
    }

    /// What is on its way, first come first.
    ///
    /// # Errors
    /// With [`Code::Host`] when the disk does not say.
    pub async fn pending(&self) -> anyhow::Result<Vec<Status>> {
        self.sender.pending().await.map_err(failed)
    }

    /// Takes back what is not in a block yet, and waits for the end of each.
    ///
    /// # Errors
    /// With [`Code::Host`] when the ledger does not answer in time.
    pub async fn drop_all(&self, pending: &[Status]) -> anyhow::Result<Vec<(String, Outcome)>> {
        let open = pending.iter().filter(|status| matches!(status.phase, Phase::Queued | Phase::Sent { .. }));
        let open: Vec<_> = open.collect();
        for status in &open {
            match self.sender.cancel(status.id).await {
                // It got into a block meanwhile, which its end will say.
                Ok(()) | Err(SenderError::HasEnded(_)) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let mut ended = Vec::new();
        for status in open {
            let outcome = tokio::time::timeout(PATIENCE, self.sender.wait(status.id, 1)).await;
            let Ok(outcome) = outcome else {
                let message = format!("{}: the ledger has not taken its replacement yet", status.label);
                return Err(Exit::new(Code::Host, message)
                    .hint("does the account have coins for the fees of a transfer? What was begun goes on with the next command")
                    .into());
            };
            ended.push((status.label.clone(), outcome.map_err(failed)?));
        }
        Ok(ended)
    }

    /// Brings what earlier commands left on its way to its end, or to where it waits for something; what comes next
    /// then knows what they did.
    async fn settle(&self) -> anyhow::Result<()> {
        let pending = self.sender.pending().await.map_err(failed)?;
        let left = pending.iter().filter(|status| matches!(status.phase, Phase::Queued | Phase::Sent { .. }));
        for status in left {
            eprintln!("going on with an earlier transaction: {}", status.label);
            let waiting = Waiting::begin(&status.label);
            let mut events = self.sender.events();
            let outcome = self.sender.wait(status.id, 1);
            tokio::pin!(outcome);
            let end = tokio::time::Instant::now() + PATIENCE;
            loop {
                tokio::select! {
                    outcome = &mut outcome => {
                        outcome.map_err(failed)?;
                        break;
                    }
                    event = events.recv() => if let Ok(event) = event { waiting.tell(&event) },
                    () = tokio::time::sleep_until(end) => {
                        let message = format!(
                            "an earlier transaction of this account is still on its way: {}",
                            status.label
                        );
                        return Err(Exit::new(Code::Host, message)
                            .hint("it goes on by itself, for which the account may need coins; `tidemill wallet pending --cancel` takes it back")
                            .into());
                    }
                }
            }
        }
        Ok(())
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        self.account.address()
    }

    /// Sends a call of a contract, and waits until it is in a block.
    ///
    /// # Errors
    /// With [`Code::Failed`] when the contract refuses it, with [`Code::Host`] when the ledger does not answer.
    pub async fn call(&self, label: &str, to: Address, data: Vec<u8>) -> anyhow::Result<Sent> {
        self.send(label, to, Coin::ZERO, data).await
    }

    /// Sends a transaction, and waits until it is in a block.
    ///
    /// # Errors
    /// As those of [`Purse::call`].
    pub async fn send(&self, label: &str, to: Address, value: Coin, data: Vec<u8>) -> anyhow::Result<Sent> {
        let intent = Intent {
            to: Some(to),
            value,
            data: Bytes::from(data),
            gas_limit: None,
            label: label.to_owned(),
            key: None,
        };
        self.can_pay(std::slice::from_ref(&intent)).await?;
        let mut signals = Signals::listen()?;
        let waiting = Waiting::begin(label);
        let mut events = self.sender.events();
        let id = self.sender.submit(intent).await.map_err(failed)?;
        let outcome = self.sender.wait(id, 1);
        tokio::pin!(outcome);
        let outcome = loop {
            tokio::select! {
                outcome = &mut outcome => break outcome.map_err(failed)?,
                event = events.recv() => if let Ok(event) = event { waiting.tell(&event) },
                () = signals.next() => {
                    let message = format!("{label}: it is written down and stays on its way");
                    return Err(Exit::new(Code::Interrupted, message)
                        .hint("the next command with this account goes on with it; look at the balance before you send again")
                        .into());
                }
            }
        };
        match outcome {
            Outcome::Succeeded(receipt) => Ok(Sent { label: label.to_owned(), receipt }),
            Outcome::Reverted { receipt, reason } => {
                let message =
                    format!("{label}: the contract refused: {reason} (transaction {})", receipt.hash);
                Err(Exit::new(Code::Failed, message).into())
            }
            Outcome::Dropped(reason) => {
                Err(Exit::new(Code::Failed, format!("{label}: not sent: {reason}")).into())
            }
        }
    }

    /// Sends coins to several accounts at once, each with its label, and waits until all are in blocks.
    ///
    /// # Errors
    /// As those of [`Purse::call`].
    pub async fn send_coins(&self, transfers: Vec<(String, Address, Coin)>) -> anyhow::Result<()> {
        let intent = |(label, to, value)| Intent {
            to: Some(to),
            value,
            data: Bytes::new(),
            gas_limit: None,
            label,
            key: None,
        };
        let intents: Vec<Intent> = transfers.into_iter().map(intent).collect();
        self.can_pay(&intents).await?;
        let labels: Vec<String> = intents.iter().map(|intent| intent.label.clone()).collect();
        let ids = self.sender.submit_all(intents).await.map_err(failed)?;
        for (id, label) in ids.into_iter().zip(labels) {
            let waiting = Waiting::begin(&label);
            let outcome = self.sender.wait(id, 1).await.map_err(failed)?;
            drop(waiting);
            match outcome {
                Outcome::Succeeded(_) => {}
                Outcome::Reverted { reason, .. } => {
                    let message = format!("{label}: the account refused: {reason}");
                    return Err(Exit::new(Code::Failed, message).into());
                }
                Outcome::Dropped(reason) => {
                    return Err(Exit::new(Code::Failed, format!("{label}: not sent: {reason}")).into());
                }
            }
        }
        Ok(())
    }

    /// Says at once what would otherwise wait until somebody sends coins, before it is written down.
    async fn can_pay(&self, intents: &[Intent]) -> anyhow::Result<()> {
        let [first, more @ ..] = intents else { return Ok(()) };
        let short = self.sender.short_of(intents).await.map_err(unreachable)?;
        let Some(Short { has, may_take }) = short else { return Ok(()) };
        let lacks = match may_take {
            None => "fees come on top".to_owned(),
            Some(cost) => format!("with its fees this may take {cost}"),
        };
        let label = match more.len() {
            0 => first.label.clone(),
            count => format!("{}, and {count} more", first.label),
        };
        let message = format!("{label}: the account {} has {has}, and {lacks}", self.address());
        Err(Exit::new(Code::Failed, message)
            .hint(
                "send it some of the chain's own coin; on an embedded ledger the account `treasury` has them",
            )
            .into())
    }

    /// Lets the account go, for other processes. What is pending is on disk.
    pub async fn close(self) {
        self.sender.close().await;
    }
}

impl Sent {
    /// For a person.
    pub fn print(&self) {
        println!(
            "{}\n  transaction {} in block {}, {} gas",
            self.label, self.receipt.hash, self.receipt.block_number, self.receipt.gas_used
        );
    }

    /// For a script.
    pub fn summary(&self) -> Transaction {
        Transaction {
            label: self.label.clone(),
            transaction: self.receipt.hash.to_string(),
            block: self.receipt.block_number,
            gas_used: self.receipt.gas_used,
        }
    }
}

/// The line that a person looks at while a transaction is on its way.
struct Waiting {
    bar: ProgressBar,
    label: String,
}

impl Waiting {
    fn begin(label: &str) -> Self {
        let bar = spinner();
        bar.set_message(label.to_owned());
        Self { bar, label: label.to_owned() }
    }

    fn tell(&self, event: &Event) {
        let words = match event {
            Event::Signed { hash, .. } => format!("sent as {hash}"),
            Event::Replaced { hash, .. } => format!("sent again with higher fees, as {hash}"),
            Event::AtCeiling { .. } => {
                "waits until the chain is cheaper: the fees are at their ceiling".to_owned()
            }
            Event::Stalled { reason, .. } => format!("waits: {reason}"),
            Event::Reorged { .. } => "its block is gone; sent again".to_owned(),
            Event::ForeignNonce { .. } => "another program used its nonce; it gets another one".to_owned(),
            _ => return,
        };
        if self.bar.is_hidden() && !matches!(event, Event::Signed { .. }) {
            eprintln!("{}: {words}", self.label);
        }
        self.bar.set_message(format!("{}: {words}", self.label));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// What sends for an account on a chain. It takes up what an earlier command left pending, and waits while another
/// command of this home sends for the account.
///
/// # Errors
/// With [`Code::Host`] when another process sends for this account and does not end.
pub async fn open_sender(chain: &Chain, account: &Account, settings: Settings) -> anyhow::Result<Sender> {
    let home = data_directory().code(Code::Host)?.join("transactions");
    let address = account.address();
    let directory = Sender::directory(&home, chain, address);
    let begun = Instant::now();
    let mut is_said = false;
    loop {
        match Sender::open(&directory, account.signer().clone(), chain.clone(), settings.clone()).await {
            Err(SenderError::InUse { .. }) if begun.elapsed() < TURN_PATIENCE => {
                if begun.elapsed() >= NOTE_AFTER && !std::mem::replace(&mut is_said, true) {
                    eprintln!(
                        "waiting: another command of this home sends transactions of the account {address}"
                    );
                }
                sleep(TURN_LOOK).await;
            }
            opened => return opened.map_err(failed),
        }
    }
}

/// An error of the sender, with its code.
fn failed(error: SenderError) -> anyhow::Error {
    let code = if error.is_retryable() { Code::Host } else { Code::Failed };
    Exit::new(code, tidemill_types::causes(&error)).into()
}
