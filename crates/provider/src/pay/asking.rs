//! Talks to the ledger: what it knows of escrows and bonds, and collections.

use std::sync::Arc;

use tidemill_ledger::{
    Bytes, Coin, Escrows,
    chain::Block,
    escrow::{self, EscrowError},
    sender::{Intent, Outcome, Sender, SenderError},
};
use tidemill_types::{Address, Amount, EscrowId};
use tokio::task::JoinSet;

use super::book::{Collected, Collection, Sight};

/// Questions about escrows that are asked at the same time.
const AT_ONCE: usize = 4;

/// Who asks, and how sure the answers have to be.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) escrows: Escrows,
    pub(crate) operator: Address,
    pub(crate) confirmations: u64,
}

/// Why a collection came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    #[error("the transaction could not be made")]
    Sender(#[from] SenderError),
    #[error("the transaction failed: {0}")]
    Reverted(String),
    #[error("the transaction was not made: {0}")]
    Dropped(String),
    #[error("the transaction was made, and the ledger does not say what it paid")]
    Effects(#[source] EscrowError),
}

impl Asker {
    /// What the ledger knows of these escrows; none where it knows nothing.
    pub(crate) async fn look(
        self: Arc<Self>,
        escrows: Vec<EscrowId>,
    ) -> Result<Vec<(EscrowId, Option<Sight>)>, EscrowError> {
        let read = |source| EscrowError::Read { what: "the newest block", source };
        let head = self.escrows.chain().newest().await.map_err(read)?;
        let mut ids = escrows.into_iter();
        let mut asked = JoinSet::new();
        let mut sights = Vec::new();
        loop {
            while asked.len() < AT_ONCE
                && let Some(id) = ids.next()
            {
                let asker = self.clone();
                asked.spawn(async move { asker.sight(id, head).await.map(|sight| (id, sight)) });
            }
            match asked.join_next().await {
                Some(Ok(answer)) => sights.push(answer?),
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => return Ok(sights),
            }
        }
    }

    async fn sight(&self, id: EscrowId, head: Block) -> Result<Option<Sight>, EscrowError> {
        let Some(view) = self.escrows.view_at(id, head, self.confirmations).await? else { return Ok(None) };
        let deposited = match self.confirmations {
            0 | 1 => view.deposited,
            _ => self.escrows.view_at(id, head, 1).await?.map_or(view.deposited, |newest| newest.deposited),
        };
        let payee = self.escrows.payee(id, self.operator).await?;
        let (gross, net) = if view.closed {
            // An early close keeps no record of whom it paid.
            self.paid_by(id).await?
        } else {
            (payee.paid, view.net(payee.paid))
        };
        Ok(Some(Sight { view, deposited, gross, net, is_enrolled: payee.enrolled }))
    }

    async fn paid_by(&self, id: EscrowId) -> Result<(Amount, Amount), EscrowError> {
        let payments = self.escrows.payments(id).await?;
        let ours = payments.iter().filter(|payment| payment.provider == self.operator);
        Ok(ours.fold((Amount::ZERO, Amount::ZERO), |(gross, net), payment| {
            (gross.saturating_add(payment.gross), net.saturating_add(payment.net))
        }))
    }

    /// How much a coordinator has bonded.
    pub(crate) async fn bond(self: Arc<Self>, coordinator: Address) -> Result<Amount, EscrowError> {
        self.escrows.coordinator_bond(coordinator).await
    }

    /// Collects a voucher, and waits until that is in a block that stays.
    pub(crate) async fn collect(
        self: Arc<Self>,
        sender: Sender,
        collection: Collection,
    ) -> Result<Collected, CollectError> {
        let Collection { voucher, attempt } = collection;
        let body = voucher.body;
        let intent = Intent {
            to: Some(self.escrows.address()),
            value: Coin::ZERO,
            data: Bytes::from(escrow::collect(&[voucher])),
            gas_limit: None,
            label: format!("collect up to {} from escrow {}", body.amount, body.escrow.short()),
            // Submitted again after a crash, it is the same transaction.
            key: Some(format!("collect {} {} {attempt}", body.escrow, body.sequence)),
        };
        let id = sender.submit(intent).await?;
        let receipt = match sender.wait(id, self.confirmations).await? {
            Outcome::Succeeded(receipt) => receipt,
            Outcome::Reverted { reason, .. } => return Err(CollectError::Reverted(reason)),
            Outcome::Dropped(reason) => return Err(CollectError::Dropped(reason.to_string())),
        };
        let effects = self.escrows.effects_of(receipt.hash).await.map_err(CollectError::Effects)?;
        let ours = effects
            .payments
            .iter()
            .filter(|payment| payment.escrow == body.escrow && payment.provider == self.operator);
        let (gross, net) = ours.fold((Amount::ZERO, Amount::ZERO), |(gross, net), payment| {
            (gross.saturating_add(payment.gross), net.saturating_add(payment.net))
        });
        Ok(Collected { transaction: receipt.hash, gross, net })
    }
}
