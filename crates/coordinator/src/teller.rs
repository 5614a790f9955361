//! The coordinator's dealings with the ledger: looking at escrows and stakes, signing vouchers, settling.
//!
//! The core never waits for the ledger. What it shows comes to the core as events; what is to be settled is handed over
//! and reported back. While the ledger does not answer, work goes on with what was seen last.

mod settle;
mod stakes;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidemill_ledger::{EscrowView, Escrows, escrow::Phase, sender::Sender, staking::Staking};
use tidemill_net::wire::{JobPay, Money, Refusal};
use tidemill_types::{
    Address, Coin, EscrowId, Mandate, NodeId, ResultKey, Signable, Signature65, Signed, Voucher, causes,
};
use tidemill_verify::SlashOdds;
use tokio::time::MissedTickBehavior;

use crate::{
    core::{self, Funding},
    event::Event,
    shared::Shared,
};

/// How a coordinator pays.
pub struct MoneyConfig {
    /// The escrow contract.
    pub escrows: Escrows,
    /// The contract of stakes.
    pub staking: Staking,
    /// How likely it is that a provider whose result is found to be wrong is slashed, where a contract may.
    pub slash_odds: SlashOdds,
    /// What sends transactions of the coordinator's account.
    pub sender: Sender,
    /// The key of that account, which signs vouchers.
    pub key: ResultKey,
    /// The coordinator's part of payments, in parts per million.
    pub fee_ppm: u32,
    /// A deposit counts once so many blocks hold it, its own included.
    pub confirmations: u64,
    /// How often escrows are looked at.
    pub poll: Duration,
    /// Above this price of a unit of gas a settlement waits, unless a window is about to close.
    pub comfortable_gas_price: Coin,
    /// How long releases are waited for before everybody is paid without them.
    pub release_patience: tidemill_types::Millis,
}

/// One for each coordinator that pays.
pub struct Teller {
    config: MoneyConfig,
    account: Address,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The escrows that the core knows, with what was seen of them last.
    watched: BTreeMap<EscrowId, Option<EscrowView>>,
    /// Mandates that were checked.
    mandates: HashMap<(EscrowId, NodeId), Signature65>,
    /// Which account a result key was bound to, and when that was seen.
    operators: HashMap<Address, (Address, Instant)>,
    /// The operators that have sessions as providers, with how many.
    connected: BTreeMap<Address, usize>,
    /// Whether the ledger answered last time.
    is_lost: bool,
    /// How often calls were reverted: each attempt is a transaction of its own.
    attempts: HashMap<[u8; 32], u32>,
}

/// A binding of a key is looked up again after this time.
const BINDING_LASTS: Duration = Duration::from_secs(300);

/// What is remembered of mandates and keys; beyond that it begins anew.
const MOST_REMEMBERED: usize = 4096;

impl Teller {
    /// Nothing is watched yet.
    pub fn new(config: MoneyConfig) -> Self {
        let account = config.key.address();
        Self { config, account, state: Mutex::default() }
    }

    /// How this network pays, as the core has to know it.
    pub fn core_config(&self) -> core::MoneyConfig {
        core::MoneyConfig {
            terms: self.terms(),
            release_patience: self.config.release_patience,
            slash_odds: self.config.slash_odds,
        }
    }

    /// What peers are told of how this network pays.
    fn terms(&self) -> Money {
        Money {
            contract: self.config.escrows.contract(),
            account: self.account,
            fee_ppm: self.config.fee_ppm,
        }
    }

    /// What pays for a job, where the ledger need not be asked.
    pub fn known(&self, node: NodeId, pay: &JobPay) -> Option<Funding> {
        let state = self.lock();
        let mandate = state.mandates.get(&(pay.escrow, node))?;
        let view = state.watched.get(&pay.escrow).copied().flatten()?;
        (*mandate == pay.mandate && view.phase() == Phase::Open).then_some(Funding { pay: *pay, view })
    }

    /// What pays for a job, once it is certain that it does.
    ///
    /// # Errors
    /// [`Refusal::NotSeen`] when the ledger does not show it yet, [`Refusal::Unpaid`] when it never will.
    pub async fn funding(&self, node: NodeId, pay: &JobPay) -> Result<Funding, Refusal> {
        if let Some(funding) = self.known(node, pay) {
            return Ok(funding);
        }
        let unpaid = |reason: String| Err(Refusal::Unpaid { reason });
        let seen = self.config.escrows.view(pay.escrow, self.config.confirmations).await;
        let view = match seen {
            Ok(Some(view)) => view,
            Ok(None) => {
                let reason = format!("the ledger does not show the escrow {}", pay.escrow);
                return Err(Refusal::NotSeen { reason });
            }
            Err(error) => return Err(Refusal::NotSeen { reason: causes(&error) }),
        };
        if view.voucher_key != self.account {
            return unpaid(format!(
                "the vouchers of the escrow are signed by {}, this is {}",
                view.voucher_key, self.account
            ));
        }
        if view.fee_ppm != self.config.fee_ppm {
            let (theirs, ours) = (view.fee_ppm, self.config.fee_ppm);
            return unpaid(format!(
                "the escrow gives a fee of {theirs} ppm, this coordinator takes {ours} ppm"
            ));
        }
        if view.phase() != Phase::Open {
            return unpaid("the escrow is not open any more".to_owned());
        }
        let mandate = Mandate { escrow: pay.escrow, node };
        let signed = Signed { body: mandate, signature: pay.mandate };
        if let Err(error) = signed.verify(&self.config.escrows.contract(), view.requester) {
            return unpaid(format!(
                "the escrow's requester {} did not let this node spend it: {error}",
                view.requester
            ));
        }
        let mut state = self.lock();
        if state.mandates.len() >= MOST_REMEMBERED {
            state.mandates.clear();
        }
        state.mandates.insert((pay.escrow, node), pay.mandate);
        drop(state);
        Ok(Funding { pay: *pay, view })
    }

    /// The account that a provider's result key is bound to, if it is. A binding that was seen lately counts while the
    /// ledger does not answer.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn operator_of(&self, result_key: Address) -> Result<Option<Address>, String> {
        let known = self.lock().operators.get(&result_key).copied();
        if let Some((operator, at)) = known
            && at.elapsed() < BINDING_LASTS
        {
            return Ok(Some(operator));
        }
        match self.config.escrows.operator_of(result_key).await {
            Ok(Some(operator)) => {
                let mut state = self.lock();
                if state.operators.len() >= MOST_REMEMBERED {
                    state.operators.clear();
                }
                state.operators.insert(result_key, (operator, Instant::now()));
                Ok(Some(operator))
            }
            Ok(None) => {
                self.lock().operators.remove(&result_key);
                Ok(None)
            }
            Err(error) => match known {
                Some((operator, _)) => Ok(Some(operator)),
                None => Err(causes(&error)),
            },
        }
    }

    /// Signs vouchers. Their numbers are on disk.
    pub fn sign(&self, vouchers: Vec<Voucher>) -> Vec<Signed<Voucher>> {
        let contract = self.config.escrows.contract();
        let sign = |voucher: Voucher| match voucher.sign(&contract, &self.config.key) {
            Ok(signed) => Some(signed),
            Err(error) => {
                tracing::error!(escrow = %voucher.escrow, %error, "a voucher cannot be signed");
                None
            }
        };
        vouchers.into_iter().filter_map(sign).collect()
    }

    /// Looks at an escrow from now on.
    pub fn watch(&self, escrow: EscrowId) {
        self.lock().watched.entry(escrow).or_default();
    }

    /// An escrow needs no looking at any more.
    pub fn unwatch(&self, escrow: EscrowId) {
        let mut state = self.lock();
        state.watched.remove(&escrow);
        state.mandates.retain(|(of, _), _| *of != escrow);
    }

    /// Looks at the ledger until the coordinator ends.
    pub async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        let mut ticks = tokio::time::interval(self.config.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shared.stop.cancelled() => return,
            }
            let seen = tokio::select! {
                seen = self.look() => seen,
                () = shared.stop.cancelled() => return,
            };
            for (escrow, view) in seen {
                shared.tell(Event::EscrowSeen { escrow, view }).await;
            }
        }
    }

    /// What has changed of escrows since the last look.
    async fn look(&self) -> Vec<(EscrowId, Option<EscrowView>)> {
        let watched: Vec<_> = self.lock().watched.keys().copied().collect();
        if watched.is_empty() {
            return Vec::new();
        }
        let looked = async {
            let mut seen = Vec::new();
            let read =
                |source| tidemill_ledger::escrow::EscrowError::Read { what: "the newest block", source };
            let head = self.config.escrows.chain().newest().await.map_err(read)?;
            for escrow in watched {
                let view = self.config.escrows.view_at(escrow, head, self.config.confirmations).await;
                match view {
                    Ok(view) => seen.push((escrow, view)),
                    // What was read counts all the same.
                    Err(error) if seen.is_empty() => return Err(error),
                    Err(_) => break,
                }
            }
            Ok::<_, tidemill_ledger::escrow::EscrowError>(seen)
        };
        let looked = looked.await;
        let mut state = self.lock();
        match looked {
            Ok(seen) => {
                if std::mem::take(&mut state.is_lost) {
                    tracing::info!("the ledger answers again");
                }
                let mut changed = Vec::new();
                for (escrow, view) in seen {
                    let Some(known) = state.watched.get_mut(&escrow) else { continue };
                    if differs(known.as_ref(), view.as_ref()) {
                        changed.push((escrow, view));
                    }
                    *known = view;
                }
                changed
            }
            Err(error) => {
                if !std::mem::replace(&mut state.is_lost, true) {
                    let error = causes(&error);
                    tracing::warn!(error, "the ledger does not answer: work goes on with what was seen last");
                }
                Vec::new()
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the core should hear of it.
fn differs(known: Option<&EscrowView>, seen: Option<&EscrowView>) -> bool {
    let told = |view: &EscrowView| {
        (view.deposited, view.paid, view.ends_s, view.collect_until_s, view.phase(), view.now_s / 60)
    };
    known.map(told) != seen.map(told)
}
