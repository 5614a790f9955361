//! Making settlements: from what the core wants settled to transactions in blocks.

use std::collections::BTreeMap;

use tidemill_ledger::{
    B256, Bytes, EscrowView,
    escrow::Effects,
    sender::{Intent, Outcome, Receipt, Short},
    settlement::{Call, Closing, Conditions, Purpose, plan},
};
use tidemill_store::SettlementRecord;
use tidemill_types::{Address, Amount, Coin, EscrowId, causes};

use super::Teller;
use crate::core::Settled;

/// What came of one escrow.
type Result<T> = std::result::Result<T, String>;

/// An escrow that is to be settled, as the ledger has it.
struct Ready {
    closing: Closing,
    /// What the ledger paid and the core had not heard of: by transactions of an earlier life, or fetched by the
    /// providers.
    unheard: Vec<(Address, Amount)>,
}

impl Teller {
    /// Settles escrows as far as that is possible now, several of them in one transaction, and says what came of each.
    pub async fn settle(&self, closings: Vec<Closing>) -> Vec<(EscrowId, Result<Settled>)> {
        let mut results = Vec::new();
        let mut ready = Vec::new();
        for closing in closings {
            let id = closing.view.id;
            match self.refresh(closing).await {
                Ok(ready) if ready.closing.view.closed => {
                    results.push((id, self.closed_before(&ready.closing).await));
                }
                Ok(one) => ready.push(one),
                Err(reason) => results.push((id, Err(reason))),
            }
        }
        if !ready.is_empty() {
            results.extend(self.settle_ready(ready).await);
        }
        results
    }

    /// An escrow as the ledger has it now, with what its payees were paid.
    async fn refresh(&self, mut closing: Closing) -> Result<Ready> {
        let (id, escrows) = (closing.view.id, &self.config.escrows);
        let view = self.seen(id).await?;
        // Where blocks come only with transactions, the newest is an old one; the next will be of now.
        closing.view = EscrowView { now_s: view.now_s.max(closing.view.now_s), ..view };
        let mut unheard = Vec::new();
        if !view.paid.is_zero() && !view.closed {
            for payee in &mut closing.payees {
                let seen = escrows.payee(id, payee.provider).await.map_err(|error| causes(&error))?;
                if let Some(more) = seen.paid.checked_sub(payee.paid).filter(|more| !more.is_zero()) {
                    unheard.push((payee.provider, more));
                }
                payee.paid = seen.paid;
            }
        }
        Ok(Ready { closing, unheard })
    }

    /// It was closed by a transaction whose end was not heard of.
    async fn closed_before(&self, closing: &Closing) -> Result<Settled> {
        let (id, escrows) = (closing.view.id, &self.config.escrows);
        let made = async {
            let receipt = escrows.closing_of(id).await?;
            let settlements = match receipt {
                Some(receipt) => {
                    let effects = escrows.effects_of(receipt.hash).await?;
                    let settled = effects.refunds.len();
                    vec![record(&receipt, refund(&effects, id), settled)]
                }
                None => Vec::new(),
            };
            let payments = escrows.payments(id).await?;
            Ok::<_, tidemill_ledger::escrow::EscrowError>((settlements, payments))
        };
        let (settlements, payments) = made.await.map_err(|error| causes(&error))?;
        // What the core knows of already is not paid twice: it hears of the difference.
        let known: BTreeMap<Address, Amount> =
            closing.payees.iter().map(|payee| (payee.provider, payee.paid)).collect();
        let mut paid: BTreeMap<Address, Amount> = BTreeMap::new();
        for payment in payments {
            let sum = paid.entry(payment.provider).or_default();
            *sum = sum.checked_add(payment.gross).unwrap_or(*sum);
        }
        let more = paid.into_iter().filter_map(|(provider, gross)| {
            let before = known.get(&provider).copied().unwrap_or(Amount::ZERO);
            Some((provider, gross.checked_sub(before)?))
        });
        Ok(Settled { settlements, view: closing.view, payments: more.collect(), acknowledged: Vec::new() })
    }

    async fn settle_ready(&self, ready: Vec<Ready>) -> Vec<(EscrowId, Result<Settled>)> {
        let conditions = match self.conditions().await {
            Ok(conditions) => conditions,
            Err(reason) => {
                let ids = ready.iter().map(|one| one.closing.view.id);
                return ids.map(|id| (id, Err(reason.clone()))).collect();
            }
        };
        let closings: Vec<_> = ready.iter().map(|one| one.closing.clone()).collect();
        let calls = plan(&closings, &conditions);
        let mut made: BTreeMap<EscrowId, Made> = BTreeMap::new();
        let mut alone: Vec<EscrowId> = Vec::new();
        for call in calls {
            // A call that depends on one that failed would fail too.
            if call.escrows.iter().any(|id| made.get(id).is_some_and(|made| made.failure.is_some())) {
                alone.extend(call.escrows.iter().filter(|_| call.escrows.len() > 1));
                continue;
            }
            match self.make(&call).await {
                Ok((receipt, effects)) => note(&mut made, &call, &receipt, &effects),
                Err(_) if call.escrows.len() > 1 => alone.extend(&call.escrows),
                Err(reason) => {
                    for id in &call.escrows {
                        made.entry(*id).or_default().failure = Some(reason.clone());
                    }
                }
            }
        }
        let mut results = Vec::new();
        for one in ready {
            let id = one.closing.view.id;
            let made = made.remove(&id);
            if alone.contains(&id) {
                // One of those that shared a transaction made it fail: each gets its own, after what was made before.
                let made = made.unwrap_or_default();
                if let Some((id, result)) = Box::pin(self.settle_ready(vec![one.after(&made)])).await.pop() {
                    results.push((id, self.together(id, made, result).await));
                }
            } else if let Some(without) = one.without_releases(made.as_ref()) {
                // A release whose key was unbound since stops the close: then everybody is paid, and the escrow ends.
                results.extend(Box::pin(self.settle_ready(vec![without])).await);
            } else {
                results.push((id, self.conclude(one, made, &conditions).await));
            }
        }
        results
    }

    /// What was made of an escrow in two goes, of which the second may have come to nothing.
    async fn together(&self, id: EscrowId, first: Made, second: Result<Settled>) -> Result<Settled> {
        if first.settlements.is_empty() {
            return second;
        }
        let mut settled = match second {
            Ok(settled) => settled,
            Err(_) => Settled {
                settlements: Vec::new(),
                view: self.seen(id).await?,
                payments: Vec::new(),
                acknowledged: Vec::new(),
            },
        };
        settled.acknowledged.extend(first.acknowledged());
        settled.settlements.splice(..0, first.settlements);
        settled.payments.splice(..0, first.payments);
        Ok(settled)
    }

    /// An escrow as the newest block has it.
    async fn seen(&self, id: EscrowId) -> Result<EscrowView> {
        let view = self.config.escrows.view(id, 1).await.map_err(|error| causes(&error))?;
        view.ok_or_else(|| "the ledger does not show the escrow any more".to_owned())
    }

    async fn conclude(&self, one: Ready, made: Option<Made>, conditions: &Conditions) -> Result<Settled> {
        let Ready { closing, unheard } = one;
        let made = match made {
            Some(made) => made,
            None if !unheard.is_empty() => Made::default(),
            None => return Err(why_nothing(&closing, conditions)),
        };
        let acknowledged = made.acknowledged().collect();
        let Made { settlements, payments, failure, .. } = made;
        if let (Some(reason), true) = (&failure, settlements.is_empty() && unheard.is_empty()) {
            return Err(reason.clone());
        }
        let id = closing.view.id;
        let view = self.seen(id).await?;
        let payments = [unheard, payments].concat();
        Ok(Settled { settlements, view, payments, acknowledged })
    }

    async fn conditions(&self) -> Result<Conditions> {
        let chain = self.config.escrows.chain();
        let asked =
            async { Ok::<_, tidemill_ledger::ChainError>((chain.gas_price().await?, chain.newest().await?)) };
        let (price, newest) = asked.await.map_err(|error| causes(&error))?;
        Ok(Conditions::new(price, self.config.comfortable_gas_price, newest.gas_limit))
    }

    /// Sends a call and waits until it is in a block.
    async fn make(&self, call: &Call) -> Result<(Receipt, Effects)> {
        let digest = *blake3::hash(&call.data).as_bytes();
        let attempt = self.lock().attempts.get(&digest).copied().unwrap_or(0);
        let intent = Intent {
            to: Some(self.config.escrows.address()),
            value: Coin::ZERO,
            data: Bytes::from(call.data.clone()),
            gas_limit: None,
            label: label(call),
            key: Some(format!("settle {} {attempt}", B256::from(digest))),
        };
        self.can_pay_gas(&intent).await?;
        let failed = |error: tidemill_ledger::sender::SenderError| causes(&error);
        let id = self.config.sender.submit(intent).await.map_err(failed)?;
        match self.config.sender.wait(id, self.config.confirmations).await.map_err(failed)? {
            Outcome::Succeeded(receipt) => {
                self.lock().attempts.remove(&digest);
                let effects = self.config.escrows.effects_of(receipt.hash).await;
                Ok((receipt, effects.map_err(|error| causes(&error))?))
            }
            Outcome::Reverted { reason, .. } => {
                *self.lock().attempts.entry(digest).or_default() += 1;
                Err(format!("the contract refused: {reason}"))
            }
            Outcome::Dropped(reason) => {
                *self.lock().attempts.entry(digest).or_default() += 1;
                Err(format!("the transaction was not made: {reason}"))
            }
        }
    }

    /// Says what is missing before a transaction is written down that would wait for it.
    async fn can_pay_gas(&self, intent: &Intent) -> Result<()> {
        let short = self
            .config
            .sender
            .short_of(std::slice::from_ref(intent))
            .await
            .map_err(|error| causes(&error))?;
        let Some(Short { has, may_take }) = short else { return Ok(()) };
        let account = self.config.sender.place().account;
        let lacks = match may_take {
            None => "has no coins for gas".to_owned(),
            Some(cost) => format!("has {has}, and the gas of this may take {cost}"),
        };
        Err(format!(
            "the coordinator's account {account} {lacks}: `tidemill wallet send \"0.1 ETH\" {account}` sends it some"
        ))
    }
}

impl Ready {
    /// What is left to be made once this is.
    fn after(mut self, made: &Made) -> Self {
        for payee in &mut self.closing.payees {
            let payments = made.payments.iter().filter(|(provider, _)| *provider == payee.provider);
            payee.paid = payments.fold(payee.paid, |paid, (_, gross)| paid.saturating_add(*gross));
            payee.acknowledged |= made.acknowledged().any(|provider| provider == payee.provider);
        }
        self
    }

    /// The same without its releases, if the contract refused them and there is nothing to be waited for.
    fn without_releases(&self, made: Option<&Made>) -> Option<Self> {
        let refused = made.is_some_and(|made| made.failure.is_some() && made.settlements.is_empty());
        let has_releases = self.closing.payees.iter().any(|payee| payee.release.is_some());
        let unpaid = self.closing.payees.iter().any(|payee| payee.paid < payee.amount);
        if !(refused && has_releases && unpaid && self.closing.impatient) {
            return None;
        }
        let mut closing = self.closing.clone();
        closing.payees.iter_mut().for_each(|payee| payee.release = None);
        Some(Self { closing, unheard: self.unheard.clone() })
    }
}

/// Why nothing is to be made of an escrow now.
fn why_nothing(closing: &Closing, conditions: &Conditions) -> String {
    let (price, most) = (conditions.gas_price, conditions.comfortable_gas_price);
    if price > most {
        return format!("gas costs {price}, which is above {most}: it waits until that has passed");
    }
    match closing.payees.iter().filter(|payee| payee.release.is_none()).count() {
        0 => "the ledger does not take it yet".to_owned(),
        silent => format!(
            "everybody is paid; the rest goes back once {silent} more have released, or after the collect window"
        ),
    }
}

/// What was made of one escrow so far.
#[derive(Default)]
struct Made {
    settlements: Vec<SettlementRecord>,
    payments: Vec<(Address, Amount)>,
    acknowledges: bool,
    failure: Option<String>,
}

impl Made {
    /// Whose releases stand in the ledger by now: acknowledging pays them too.
    fn acknowledged(&self) -> impl Iterator<Item = Address> {
        self.payments.iter().filter(|_| self.acknowledges).map(|(provider, _)| *provider)
    }
}

fn note(made: &mut BTreeMap<EscrowId, Made>, call: &Call, receipt: &Receipt, effects: &Effects) {
    for id in &call.escrows {
        let made = made.entry(*id).or_default();
        made.settlements.push(record(receipt, refund(effects, *id), call.escrows.len()));
        made.acknowledges |= call.purpose == Purpose::Acknowledge;
        let paid = effects.payments.iter().filter(|payment| payment.escrow == *id);
        made.payments.extend(paid.map(|payment| (payment.provider, payment.gross)));
    }
}

fn refund(effects: &Effects, id: EscrowId) -> Option<Amount> {
    effects.refunds.iter().find(|(escrow, _)| *escrow == id).map(|(_, amount)| *amount)
}

fn record(receipt: &Receipt, refunded: Option<Amount>, escrows: usize) -> SettlementRecord {
    SettlementRecord {
        transaction: receipt.hash.0,
        block: receipt.block_number,
        gas_used: receipt.gas_used,
        gas_price_wei: receipt.gas_price,
        escrows: u32::try_from(escrows).unwrap_or(u32::MAX),
        refunded,
    }
}

fn label(call: &Call) -> String {
    let what = match call.purpose {
        Purpose::Close => "close",
        Purpose::Acknowledge => "acknowledge releases of",
        Purpose::Pay => "pay the providers of",
        Purpose::End => "end",
        Purpose::Refund => "refund what is left of",
    };
    match call.escrows.as_slice() {
        [one] => format!("{what} the escrow {}", one.short()),
        several => format!("{what} {} escrows", several.len()),
    }
}
