//! What a provider loses by a fault: how far contracts may reach into its stake, and how much of its own there is.

use std::collections::BTreeSet;

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::{Filter, Log},
    sol_types::SolEvent,
};
use tidemill_types::Amount;

use super::{Role, Staking, StakingError, amount};
use crate::contracts::ProviderStaking;

/// One whole, in parts per million.
const WHOLE_PPM: u64 = 1_000_000;

/// How much of a provider's own stake a contract may take for one fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reach {
    ppm: u32,
}

impl Reach {
    /// In parts per million.
    pub fn ppm(self) -> u32 {
        self.ppm
    }
}

/// The contracts that may take providers' stake, as far as the ledger was read.
#[derive(Clone, Default, Debug)]
pub struct Slashers {
    /// In which block it was said of whom that it may take how much; oldest first.
    said: Vec<(u64, Address)>,
    /// The most that any of them may take of an own bond for one case now, in parts per million.
    most: u32,
    /// The block to read on from; none before anything was read.
    next: Option<u64>,
    /// Whether all of the ledger was read once.
    is_whole: bool,
}

/// So many of the newest blocks are read again the next time: they may have been replaced.
const MAY_BE_REPLACED: u64 = 64;

/// So many blocks are read before what was read of them is kept.
const AT_ONCE: u64 = 100_000;

impl Slashers {
    /// How far the one reaches that may take the most; none where none may take any, or where not all of the ledger was read
    /// yet.
    pub fn reach(&self) -> Option<Reach> {
        (self.is_whole && self.most > 0).then_some(Reach { ppm: self.most })
    }
}

impl Staking {
    /// Reads on who may take providers' stake, and how much of it for one case. What was read before an error is kept.
    ///
    /// # Errors
    /// [`StakingError::Read`] when the ledger does not answer.
    pub async fn look_for_slashers(&self, slashers: &mut Slashers) -> Result<(), StakingError> {
        let read = |source| StakingError::Read { what: "who may slash", source };
        let head = self.chain.head().await.map_err(read)?;
        let filter = Filter::new()
            .address(self.staking)
            .event_signature(ProviderStaking::SlasherSet::SIGNATURE_HASH)
            .topic2(B256::from(U256::from(Role::Provider as u8)));
        let mut from = slashers.next.unwrap_or(self.deployed);
        slashers.said.retain(|(block, _)| *block < from);
        while from <= head {
            let to = head.min(from + (AT_ONCE - 1));
            let mut found = Vec::new();
            let take = |log: &Log| {
                if let Ok(event) = ProviderStaking::SlasherSet::decode_log(&log.inner) {
                    found.push((log.block_number.unwrap_or(to), event.slasher));
                }
            };
            self.chain.for_each_log_to(&filter, from, to, take).await.map_err(read)?;
            slashers.said.extend(found);
            from = to + 1;
            slashers.next = Some(from);
        }
        // What was announced takes effect later: so what counts now is asked of the contract.
        let known: BTreeSet<Address> = slashers.said.iter().map(|(_, slasher)| *slasher).collect();
        let mut most = 0;
        for slasher in known {
            let call = ProviderStaking::slasherReachCall { slasher, role: Role::Provider as u8 };
            most = most.max(self.read("who may slash", self.staking, call).await?.own);
        }
        slashers.most = most;
        slashers.is_whole = true;
        slashers.next = Some(self.deployed.max(from.saturating_sub(MAY_BE_REPLACED)));
        Ok(())
    }

    /// What a provider itself loses at most by one fault: of its own bond, as far as the slasher reaches. What is thawing
    /// is not counted, since it may be gone before a slash takes effect, and what others have delegated deters those
    /// others.
    ///
    /// # Errors
    /// [`StakingError::Read`] when the ledger does not answer.
    pub async fn own_loss(&self, provider: Address, reach: Reach) -> Result<Amount, StakingError> {
        let call = ProviderStaking::stakeOfCall { role: Role::Provider as u8, operator: provider };
        let stake = self.read("a stake", self.staking, call).await?;
        let taken = stake.bonded.saturating_mul(U256::from(reach.ppm)) / U256::from(WHOLE_PPM);
        amount("a stake", taken)
    }
}
