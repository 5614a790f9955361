//! A deployment that survives what interrupts it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use alloy::providers::Provider;
use serde::{Deserialize, Serialize};
use tidemill_types::Coin;

use super::{Params, Plan, plan};
use crate::{
    address_book::{AddressBook, BookError},
    chain::{Chain, ChainError},
    sender::{DropReason, Intent, Outcome, Phase, Sender, SenderError},
};

/// A deployment on a chain: begun by an earlier process, or not yet.
#[derive(Debug)]
pub struct Deployment {
    plan: Plan,
    params: Params,
    file: PathBuf,
    begun: bool,
}

/// Why the contracts are not there.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// What was begun is with other parameters.
    #[error("a deployment with other parameters was begun and is not finished; remove {} to forget it", .0.display())]
    OtherParams(PathBuf),
    /// The account sends something else.
    #[error("the account has {0} other transactions on their way; wait for them")]
    Busy(usize),
    /// A step failed.
    #[error("{label}: {reason}")]
    Step {
        /// Which.
        label: String,
        /// Why.
        reason: String,
    },
    /// Another program used the account meanwhile.
    #[error(
        "another program used the account's nonces, so the contracts are not where they should be; remove {} and begin \
         again, with an account of its own",
        file.display()
    )]
    NonceTaken {
        /// What remembers the deployment.
        file: PathBuf,
        /// What is missing.
        #[source]
        source: Box<BookError>,
    },
    /// What remembers the deployment could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A transaction could not be sent.
    #[error("the transactions could not be sent")]
    Sender(#[source] SenderError),
    /// The chain could not be asked.
    #[error("the chain could not be asked")]
    Chain(#[source] ChainError),
}

/// What a deployment rests on, as its file has it.
#[derive(Serialize, Deserialize)]
struct Begun {
    params: Params,
    first_nonce: u64,
}

impl Deployment {
    /// The deployment that `file` remembers, or a new one by the sender's account.
    ///
    /// # Errors
    /// [`DeployError::OtherParams`] where another one was begun, [`DeployError::Busy`] where the account has
    /// transactions on their way that would come between.
    pub async fn prepare(params: &Params, sender: &Sender, file: &Path) -> Result<Self, DeployError> {
        let deployer = sender.place().account;
        if let Some(begun) = read(file)? {
            if begun.params != *params {
                return Err(DeployError::OtherParams(file.to_owned()));
            }
            let plan = plan(params, deployer, begun.first_nonce);
            return Ok(Self { plan, params: *params, file: file.to_owned(), begun: true });
        }
        let mut pending = sender.pending().await.map_err(DeployError::Sender)?;
        // Those that are in a block have their nonces, and come before.
        pending.retain(|status| matches!(status.phase, Phase::Queued | Phase::Sent { .. }));
        if !pending.is_empty() {
            return Err(DeployError::Busy(pending.len()));
        }
        let chain = sender.chain();
        let nonce = chain.provider().get_transaction_count(deployer).pending().await;
        let nonce =
            nonce.map_err(|error| DeployError::Chain(chain.error("eth_getTransactionCount", error)))?;
        Ok(Self { plan: plan(params, deployer, nonce), params: *params, file: file.to_owned(), begun: false })
    }

    /// What is sent.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether an earlier process began it.
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// What all of it costs at most, at the fees of now.
    ///
    /// # Errors
    /// Where the chain cannot be asked.
    pub async fn most_cost(&self, chain: &Chain) -> Result<Coin, ChainError> {
        let price =
            chain.provider().get_gas_price().await.map_err(|error| chain.error("eth_gasPrice", error))?;
        // The sender pays up to twice the base fee, so that a few full blocks do not stop it.
        let wei = price.saturating_mul(2).saturating_mul(u128::from(self.plan.most_gas()));
        Ok(Coin::from_wei(wei))
    }

    /// Sends what is not there yet and waits for all of it. `step` is told the label of each step that is done.
    ///
    /// # Errors
    /// [`DeployError`]. After any of them it can be prepared again and goes on.
    pub async fn execute(
        &self,
        sender: &Sender,
        mut step: impl FnMut(&str),
    ) -> Result<AddressBook, DeployError> {
        if !self.begun {
            self.begin()?;
        }
        let intents = self.plan.steps().iter().enumerate().map(|(at, step)| Intent {
            to: step.to,
            value: Coin::ZERO,
            data: step.data.clone(),
            gas_limit: Some(step.gas_limit),
            label: step.label.clone(),
            key: Some(format!("deploy {} {at}", self.plan.fingerprint())),
        });
        let ids = sender.submit_all(intents.collect()).await.map_err(DeployError::Sender)?;
        let mut first_block = None;
        for (id, planned) in ids.into_iter().zip(self.plan.steps()) {
            let failed = |reason| DeployError::Step { label: planned.label.clone(), reason };
            match sender.wait(id, 1).await.map_err(DeployError::Sender)? {
                Outcome::Succeeded(receipt) => first_block = first_block.or(Some(receipt.block_number)),
                Outcome::Reverted { reason, .. } => return Err(failed(reason)),
                Outcome::Dropped(DropReason::Refused { reason }) => return Err(failed(reason)),
                Outcome::Dropped(reason) => return Err(failed(format!("it was not sent ({reason:?})"))),
            }
            step(&planned.label);
        }
        let book = self.plan.address_book(sender.chain(), first_block.unwrap_or(0)).await;
        book.map_err(|error| match error {
            BookError::Chain(error) => DeployError::Chain(error),
            source => DeployError::NonceTaken { file: self.file.clone(), source: Box::new(source) },
        })
    }

    /// Forgets it, once its address book is in safety.
    ///
    /// # Errors
    /// [`DeployError::Disk`]
    pub fn finish(self) -> Result<(), DeployError> {
        let disk = |source| DeployError::Disk { action: "remove", path: self.file.clone(), source };
        fs::remove_file(&self.file).map_err(disk)
    }

    fn begin(&self) -> Result<(), DeployError> {
        let begun = Begun { params: self.params, first_nonce: self.plan.first_nonce() };
        let write = || {
            if let Some(directory) = self.file.parent() {
                fs::create_dir_all(directory)?;
            }
            let draft = self.file.with_extension("part");
            let mut file = fs::File::create(&draft)?;
            serde_json::to_writer_pretty(&mut file, &begun)?;
            tidemill_disk::sync_all(&file)?;
            fs::rename(&draft, &self.file)
        };
        write().map_err(|source| DeployError::Disk { action: "write", path: self.file.clone(), source })
    }
}

fn read(file: &Path) -> Result<Option<Begun>, DeployError> {
    let disk = |source| DeployError::Disk { action: "read", path: file.to_owned(), source };
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| disk(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk(error)),
    }
}
