//! Looking at what providers have at stake.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tidemill_ledger::{
    evm,
    staking::{Reach, Slashers, StakingError},
};
use tidemill_types::{Address, Amount, causes};
use tokio::time::MissedTickBehavior;

use super::Teller;
use crate::{core::SeenStakes, event::Event, shared::Shared};

/// What was seen of a stake, and of who may slash, is looked at again after this time at the earliest. What leaves stays
/// slashable for much longer.
const STAKE_LASTS: Duration = Duration::from_secs(60);

/// So many stakes are looked at before something else is.
const MOST_AT_ONCE: usize = 64;

/// What the ledger showed of stakes.
#[derive(Debug, Default)]
struct Stakes {
    slashers: Slashers,
    looked: Option<Instant>,
    reach: Option<Reach>,
    /// What each operator would lose, and when that was seen.
    of: BTreeMap<Address, (Amount, Instant)>,
    /// Whether the ledger answered last time.
    is_lost: bool,
}

impl Stakes {
    /// The operators whose stake is to be looked at, those first that were not for longest.
    fn due(&self, operators: BTreeSet<Address>) -> Vec<Address> {
        let seen = |operator: &Address| self.of.get(operator).map(|(_, at)| *at);
        let is_due = |operator: &Address| seen(operator).is_none_or(|at| at.elapsed() >= STAKE_LASTS);
        let mut due: Vec<Address> = operators.into_iter().filter(is_due).collect();
        due.sort_by_key(seen);
        due.truncate(MOST_AT_ONCE);
        due
    }
}

/// While there is one, an operator's stake is looked at.
pub struct Connected {
    teller: Arc<Teller>,
    operator: Address,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut state = self.teller.lock();
        if let Some(sessions) = state.connected.get_mut(&self.operator) {
            *sessions -= 1;
            if *sessions == 0 {
                state.connected.remove(&self.operator);
            }
        }
    }
}

impl Teller {
    /// A provider of an operator has a session.
    pub fn connected(self: &Arc<Self>, operator: Address) -> Connected {
        *self.lock().connected.entry(operator).or_default() += 1;
        Connected { teller: self.clone(), operator }
    }

    /// Looks at stakes until the coordinator ends. Escrows do not wait for that.
    pub async fn watch_stakes(self: Arc<Self>, shared: Arc<Shared>) {
        let mut ticks = tokio::time::interval(self.config.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stakes = Stakes::default();
        let look = async {
            loop {
                ticks.tick().await;
                if let Some(seen) = self.look_at_stakes(&mut stakes).await {
                    shared.tell(Event::StakesSeen(seen)).await;
                }
            }
        };
        tokio::select! {
            () = look => {}
            () = shared.stop.cancelled() => {}
        }
    }

    /// What has changed of stakes since the last look, if something has.
    async fn look_at_stakes(&self, stakes: &mut Stakes) -> Option<SeenStakes> {
        let before = stakes.reach;
        let mut changed = BTreeMap::new();
        match self.read_stakes(stakes, &mut changed).await {
            Ok(()) => stakes.is_lost = false,
            Err(error) => {
                if !std::mem::replace(&mut stakes.is_lost, true) {
                    let error = causes(&error);
                    tracing::warn!(error, "stakes cannot be looked at: what was seen last counts");
                }
            }
        }
        match stakes.reach {
            None => before.map(|_| None),
            Some(_) if before.is_none() || !changed.is_empty() => Some(Some(changed)),
            Some(_) => None,
        }
    }

    async fn read_stakes(
        &self,
        stakes: &mut Stakes,
        changed: &mut BTreeMap<Address, Amount>,
    ) -> Result<(), StakingError> {
        let staking = &self.config.staking;
        if stakes.looked.is_none_or(|at| at.elapsed() >= STAKE_LASTS) {
            staking.look_for_slashers(&mut stakes.slashers).await?;
            let reach = stakes.slashers.reach();
            if reach != stakes.reach {
                stakes.of.clear();
            }
            (stakes.reach, stakes.looked) = (reach, Some(Instant::now()));
        }
        let Some(reach) = stakes.reach else { return Ok(()) };
        let operators: BTreeSet<Address> = self.lock().connected.keys().copied().collect();
        stakes.of.retain(|operator, _| operators.contains(operator));
        for operator in stakes.due(operators) {
            let lost = staking.own_loss(evm(operator), reach).await?;
            if stakes.of.insert(operator, (lost, Instant::now())).is_none_or(|(before, _)| before != lost) {
                changed.insert(operator, lost);
            }
        }
        Ok(())
    }
}
