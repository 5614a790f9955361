//! The liquid stake as its holders see it: what stTIDE is worth, how to come in, and the two ways out.
//!
//! Reads the contracts; sends nothing. Every call that takes or pays money is quoted by the contract itself first.

mod yields;

use alloy::{
    primitives::{Address, U256, aliases::U48},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use tidemill_types::Amount;

pub use self::yields::{Apy, annualised};
use crate::{
    AddressBook, BookError, Chain, ChainError,
    contracts::{ExitQueue, LiquidStake, StTide},
    permit::with_permit,
};

/// The contracts of the liquid stake on a ledger.
pub struct Liquid {
    chain: Chain,
    stake: Address,
    queue: Address,
    share: Address,
    tide: Address,
}

/// All of the liquid stake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pot {
    /// What all shares are worth together.
    pub assets: Amount,
    /// All shares, in wei of stTIDE.
    pub shares: Amount,
    /// What a whole share is worth.
    pub rate: Amount,
    /// Earnings that stream in.
    pub streaming: Amount,
    /// When the last of them will have, in seconds since 1970 by the chain's clock.
    pub stream_end: u64,
    /// What lies undelegated.
    pub buffer: Amount,
    /// What the buffer aims at.
    pub buffer_target: Amount,
    /// What an exit can take at once, after what the queue waits for.
    pub instant_room: Amount,
    /// Whether nobody leaves at once, since an open case could cost more than the fee.
    pub waits_for_a_case: bool,
    /// Losses that were not earned back.
    pub to_recover: Amount,
    /// Shares that wait in the queue.
    pub queued: Amount,
    /// What is held for claims.
    pub claimable: Amount,
    /// When providers' earnings were counted last, in seconds since 1970.
    pub counted_at: u64,
    /// The time of the newest block, in seconds since 1970.
    pub now: u64,
}

/// What an account has of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Its shares, in wei of stTIDE.
    pub shares: Amount,
    /// What they are worth, before any fee of leaving.
    pub worth: Amount,
    /// Its exits that are not claimed, the oldest first.
    pub exits: Vec<Exit>,
}

/// A request to leave through the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Its number, by which all are served.
    pub id: U256,
    /// The shares of it that are not claimed.
    pub shares: Amount,
    /// The most that it pays: what the shares were worth when it was made.
    pub assets: Amount,
    /// When it was made, in seconds since 1970.
    pub requested_at: u64,
    /// When it can be claimed at the latest.
    pub latest_claim_at: u64,
    /// How many requests are before it, itself counted: its place. Zero once it can be claimed.
    pub place: u64,
    /// What it pays, if it can be claimed.
    pub claimable: Option<Amount>,
}

/// What leaving costs and brings, by either way, for the same shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitQuote {
    /// The shares that leave.
    pub shares: Amount,
    /// What they are worth: the most that the queue pays.
    pub worth: Amount,
    /// When the queue pays at the latest, in seconds since 1970.
    pub latest_claim_at: u64,
    /// How many requests wait before it.
    pub before: u64,
    /// What leaving at once pays; none where that cannot be had now.
    pub at_once: Option<Amount>,
}

/// Why the liquid stake could not be read, or not be left.
#[derive(Debug, thiserror::Error)]
pub enum LiquidError {
    /// The address book does not name what is needed.
    #[error("the address book lacks a contract")]
    Book(#[source] BookError),
    /// The ledger did not answer, or not well.
    #[error("cannot read {what}")]
    Read {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        source: ChainError,
    },
    /// The contract answered with more than there can be.
    #[error("the contract says that {what} is {found}, more than there can be")]
    TooMuch {
        /// What was asked for.
        what: &'static str,
        /// The answer.
        found: U256,
    },
    /// The account has fewer shares.
    #[error("the account's stTIDE are worth {worth}, which is less than {wanted}")]
    TooLittle {
        /// What they are worth.
        worth: Amount,
        /// What was wanted.
        wanted: Amount,
    },
}

/// A step on the way into or out of the liquid stake: one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// What a person calls it.
    pub label: String,
    /// The contract.
    pub to: Address,
    /// What is called.
    pub data: Vec<u8>,
}

impl Liquid {
    /// The contracts that the address book names.
    ///
    /// # Errors
    /// [`LiquidError::Book`] when it names none.
    pub fn new(chain: Chain, book: &AddressBook) -> Result<Self, LiquidError> {
        let address = |name| book.address(name).map_err(LiquidError::Book);
        Ok(Self {
            stake: address("LiquidStake")?,
            queue: address("ExitQueue")?,
            share: address("StTide")?,
            tide: address("Tide")?,
            chain,
        })
    }

    /// All of it.
    ///
    /// # Errors
    /// [`LiquidError::Read`] when the ledger does not answer.
    pub async fn pot(&self) -> Result<Pot, LiquidError> {
        let state = self.read("the liquid stake", self.stake, LiquidStake::stateCall {}).await?;
        let supply = self.read("the shares", self.share, StTide::totalSupplyCall {}).await?;
        let rate = self.read("the rate", self.stake, LiquidStake::rateCall {}).await?;
        let room = self.read("the buffer", self.stake, LiquidStake::instantRoomCall {}).await?;
        let is_calm = self.read("the open cases", self.stake, LiquidStake::isCalmCall {}).await?;
        let queued = self.read("the queue", self.queue, ExitQueue::pendingSharesCall {}).await?;
        let locked = self.read("the claims", self.queue, ExitQueue::lockedAssetsCall {}).await?;
        Ok(Pot {
            assets: amount("the liquid stake", state.assets)?,
            shares: amount("the shares", supply)?,
            rate: amount("the rate", rate)?,
            streaming: amount("the stream", state.streaming)?,
            stream_end: state.streamEnd.to(),
            buffer: amount("the buffer", state.buffer)?,
            buffer_target: amount("the buffer", state.bufferTarget)?,
            instant_room: amount("the buffer", room)?,
            waits_for_a_case: !is_calm,
            to_recover: amount("the losses", state.toRecover)?,
            queued: amount("the queue", queued)?,
            claimable: amount("the claims", locked)?,
            counted_at: state.reportedAt.to(),
            now: self.now().await?,
        })
    }

    /// What an account has.
    ///
    /// # Errors
    /// [`LiquidError::Read`] when the ledger does not answer.
    pub async fn holding(&self, account: Address) -> Result<Holding, LiquidError> {
        let shares = self.shares(account).await?;
        let worth = self.worth(shares).await?;
        Ok(Holding { shares, worth, exits: self.exits(account).await? })
    }

    /// An account's exits that are not claimed, the oldest first.
    ///
    /// # Errors
    /// [`LiquidError::Read`] when the ledger does not answer.
    pub async fn exits(&self, account: Address) -> Result<Vec<Exit>, LiquidError> {
        let call = ExitQueue::requestsOfCall { controller: account };
        let mut ids = self.read("the exits", self.queue, call).await?;
        ids.sort();
        let (_, finalised) = self.counts().await?;
        let mut exits = Vec::with_capacity(ids.len());
        for id in ids {
            let call = ExitQueue::requestOfCall { requestId: id };
            let request = self.read("an exit", self.queue, call).await?;
            let place = id.saturating_sub(finalised);
            exits.push(Exit {
                id,
                shares: amount("an exit", request.sharesLeft)?,
                assets: amount("an exit", request.assets)?,
                requested_at: request.requestedAt.to(),
                latest_claim_at: request.latestClaimAt.to(),
                place: place.try_into().unwrap_or(u64::MAX),
                claimable: match request.claimable {
                    true => Some(amount("an exit", request.assetsLeft)?),
                    false => None,
                },
            });
        }
        Ok(exits)
    }

    /// The shares that a deposit gives now.
    ///
    /// # Errors
    /// [`LiquidError::Read`] when the ledger does not answer.
    pub async fn quote_entry(&self, assets: Amount) -> Result<Amount, LiquidError> {
        let call = LiquidStake::previewDepositCall { assets: wide(assets) };
        amount("the shares", self.read("what a deposit gives", self.stake, call).await?)
    }

    /// The most that can come in now.
    ///
    /// # Errors
    /// [`LiquidError::Read`] when the ledger does not answer.
    pub async fn entry_room(&self, account: Address) -> Result<Amount, LiquidError> {
        let call = LiquidStake::maxDepositCall(account);
        let most = self.read("the room", self.stake, call).await?;
        Ok(u128::try_from(most).map_or(Amount::CAP, Amount::from_wei))
    }

    /// What leaving with stTIDE of this worth comes to, by both ways: all of the account's, or as many as are worth it.
    ///
    /// # Errors
    /// [`LiquidError::TooLittle`] where it has less, [`LiquidError::Read`] when the ledger does not answer.
    pub async fn quote_exit(
        &self,
        account: Address,
        wanted: Option<Amount>,
    ) -> Result<ExitQuote, LiquidError> {
        let held = self.shares(account).await?;
        let worth = self.worth(held).await?;
        let shares = match wanted {
            None => held,
            Some(wanted) if wanted > worth => return Err(LiquidError::TooLittle { worth, wanted }),
            Some(wanted) => {
                let call = LiquidStake::convertToSharesCall { assets: wide(wanted) };
                let shares = amount("the shares", self.read("the rate", self.stake, call).await?)?;
                // The quotient was rounded down, and what it is worth should be no less than what was wanted.
                Amount::from_wei(shares.wei() + 1).min(held)
            }
        };
        let call = ExitQueue::latestClaimIfRequestedNowCall {};
        let latest_claim_at = self.read("the queue", self.queue, call).await?.to();
        let (last, finalised) = self.counts().await?;
        let call = LiquidStake::maxRedeemCall { owner: account };
        let most = self.read("what can leave at once", self.stake, call).await?;
        let at_once = match wide(shares) <= most && shares > Amount::ZERO {
            true => {
                let call = LiquidStake::previewRedeemCall { shares: wide(shares) };
                Some(amount("an exit", self.read("what an exit pays", self.stake, call).await?)?)
            }
            false => None,
        };
        Ok(ExitQuote {
            shares,
            worth: self.worth(shares).await?,
            latest_claim_at,
            before: last.saturating_sub(finalised).try_into().unwrap_or(u64::MAX),
            at_once,
        })
    }

    /// The transaction of coming in, with its permit.
    ///
    /// # Errors
    /// [`LiquidError::Read`] when the ledger does not answer.
    pub async fn enter(&self, owner: &PrivateKeySigner, assets: Amount) -> Result<Call, LiquidError> {
        let deposit = LiquidStake::depositCall { assets: wide(assets), receiver: owner.address() };
        let data = with_permit(&self.chain, self.tide, self.stake, owner, assets, deposit.abi_encode()).await;
        let data = data.map_err(|source| LiquidError::Read { what: "what a permit needs", source })?;
        Ok(Call { label: format!("stake {assets}"), to: self.stake, data })
    }

    /// The transaction of leaving through the queue.
    pub fn ask_to_leave(&self, account: Address, shares: Amount) -> Call {
        let call = ExitQueue::requestRedeemCall { shares: wide(shares), controller: account, owner: account };
        Call {
            label: format!("ask to leave with {}", sttide(shares)),
            to: self.queue,
            data: call.abi_encode(),
        }
    }

    /// The transaction of leaving at once. It takes `assets` and burns what that costs by then, so that nobody who is
    /// quicker makes it pay less than was quoted.
    pub fn leave_at_once(&self, account: Address, assets: Amount) -> Call {
        let call = LiquidStake::withdrawCall { assets: wide(assets), receiver: account, owner: account };
        Call { label: format!("leave with {assets} at once"), to: self.stake, data: call.abi_encode() }
    }

    /// The transaction that pays out exits that can be claimed.
    pub fn claim(&self, account: Address, exits: &[Exit]) -> Option<Call> {
        let ready: Vec<U256> =
            exits.iter().filter(|exit| exit.claimable.is_some()).map(|exit| exit.id).collect();
        if ready.is_empty() {
            return None;
        }
        let label = format!("claim {} exits", ready.len());
        let call = ExitQueue::claimCall { requestIds: ready, receiver: account };
        Some(Call { label, to: self.queue, data: call.abi_encode() })
    }

    /// The transaction that anybody may send: counts what providers earned, takes back what has thawed, spreads what is over
    /// and lets thaw what the queue waits for.
    pub fn tend(&self) -> Call {
        let data = LiquidStake::tendCall {}.abi_encode();
        Call { label: "tend the liquid stake".to_owned(), to: self.stake, data }
    }

    /// The transaction that anybody may send to make exits claimable, up to the last one that would succeed; none where no
    /// exit could be made so now.
    ///
    /// # Errors
    /// [`LiquidError::Read`] when the ledger does not answer.
    pub async fn finalise(&self) -> Result<Option<Call>, LiquidError> {
        let (last, finalised) = self.counts().await?;
        // Exits are finalised in their order, so those that can be are a prefix: the halves of what is open tell its end.
        let (mut least, mut most) = (finalised, last);
        while least < most {
            let middle = least + (most - least).div_ceil(U256::from(2));
            let call = ExitQueue::finaliseCall { last: middle };
            match self.chain.read(self.queue, &call).await {
                Ok(_) => least = middle,
                Err(ChainError::Refused { .. }) => most = middle - U256::ONE,
                Err(source) => return Err(LiquidError::Read { what: "the queue", source }),
            }
        }
        let call = ExitQueue::finaliseCall { last: least };
        Ok((least > finalised).then(|| Call {
            label: format!("make {} exits claimable", least - finalised),
            to: self.queue,
            data: call.abi_encode(),
        }))
    }

    /// What a share gained between two times, as if it went on so for a year. The window ends now and begins `window_s`
    /// earlier, or when the rate was known first.
    ///
    /// # Errors
    /// [`LiquidError::Read`] when the ledger does not answer.
    pub async fn apy(&self, window_s: u64) -> Result<Option<Apy>, LiquidError> {
        let now = self.now().await?;
        let rate = self.read("the rate", self.stake, LiquidStake::rateCall {}).await?;
        let then = |time: u64| async move {
            let call = LiquidStake::rateAtCall { time: U48::from(time) };
            self.read("the rate of the past", self.stake, call).await
        };
        let mut since = now.saturating_sub(window_s).min(now.saturating_sub(1));
        let mut before = then(since).await?;
        if before.is_zero() {
            // It is younger than the window: halves find the first second at which it was known.
            let (mut unknown, mut known) = (since, now.saturating_sub(1));
            if then(known).await?.is_zero() {
                return Ok(None);
            }
            while known - unknown > 1 {
                let middle = unknown + (known - unknown) / 2;
                if then(middle).await?.is_zero() { unknown = middle } else { known = middle }
            }
            since = known;
            before = then(since).await?;
        }
        Ok(annualised(amount("the rate", before)?, amount("the rate", rate)?, since, now))
    }

    /// The time of the newest block, in seconds since 1970.
    ///
    /// # Errors
    /// [`LiquidError::Read`] when the ledger does not answer.
    pub async fn now(&self) -> Result<u64, LiquidError> {
        self.chain.now().await.map_err(|source| LiquidError::Read { what: "the time", source })
    }

    async fn counts(&self) -> Result<(U256, U256), LiquidError> {
        let counts = self.read("the queue", self.queue, ExitQueue::countsCall {}).await?;
        Ok((counts.last, counts.finalised))
    }

    async fn shares(&self, account: Address) -> Result<Amount, LiquidError> {
        amount("the shares", self.read("the shares", self.share, StTide::balanceOfCall { account }).await?)
    }

    async fn worth(&self, shares: Amount) -> Result<Amount, LiquidError> {
        let call = LiquidStake::convertToAssetsCall { shares: wide(shares) };
        amount("the worth of shares", self.read("the rate", self.stake, call).await?)
    }

    async fn read<C: SolCall>(
        &self,
        what: &'static str,
        at: Address,
        call: C,
    ) -> Result<C::Return, LiquidError> {
        self.chain.read(at, &call).await.map_err(|source| LiquidError::Read { what, source })
    }
}

/// Shares as people write them.
pub fn sttide(shares: Amount) -> String {
    shares.to_string().replace("TIDE", "stTIDE")
}

fn wide(amount: Amount) -> U256 {
    U256::from(amount.wei())
}

fn amount(what: &'static str, found: U256) -> Result<Amount, LiquidError> {
    u128::try_from(found).map(Amount::from_wei).map_err(|_| LiquidError::TooMuch { what, found })
}
