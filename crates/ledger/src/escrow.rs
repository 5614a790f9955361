//! Escrows as their parties see them: what the ledger knows of one, and the calls that move its money.
//!
//! Reads the contract; sends nothing. What is signed about an escrow is in `tidemill_types`.

use alloy::{
    primitives::{Address as EvmAddress, B256, Bytes, Signature, U256, aliases::U96},
    providers::Provider,
    rpc::types::{Filter, Log},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolEvent},
};
use serde::{Deserialize, Serialize};
use tidemill_types::{Address, Amount, EscrowContract, EscrowId, EscrowTerms, Release, Signed, Voucher};

use crate::{
    AddressBook, BookError, Chain, ChainError,
    chain::Block,
    contracts::{JobEscrow, ProviderStaking, evm, ours},
    permit::with_permit,
    sender::Receipt,
    staking::{Pool, Role},
};

/// The escrow contract of a ledger, and what it stands on.
#[derive(Clone, Debug)]
pub struct Escrows {
    chain: Chain,
    escrow: EvmAddress,
    staking: EvmAddress,
    tide: EvmAddress,
    deployed: u64,
    collect_window_s: u64,
}

/// How far an escrow is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Work goes on.
    Open,
    /// No new work; vouchers are paid.
    Collecting,
    /// The rest is the requester's, and anyone may send it there.
    Refundable,
    /// The rest has been sent.
    Closed,
}

/// An escrow as a block of the ledger knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EscrowView {
    /// Which one.
    pub id: EscrowId,
    /// Whose money it is.
    pub requester: Address,
    /// Whose bond answers for its vouchers, and whose the fees are.
    pub coordinator: Address,
    /// Who signs its vouchers.
    pub voucher_key: Address,
    /// All that was ever put in.
    pub deposited: Amount,
    /// All that was paid to providers, fees included.
    pub paid: Amount,
    /// The coordinator's part of payments, in parts per million.
    pub fee_ppm: u32,
    /// The protocol's part, as it was at the opening.
    pub protocol_fee_ppm: u32,
    /// When it ends or ended, in seconds of the chain's clock.
    pub ends_s: u64,
    /// Until when vouchers are paid.
    pub collect_until_s: u64,
    /// Whether the rest has been sent.
    pub closed: bool,
    /// The time of the chain's newest block.
    pub now_s: u64,
}

/// What an escrow paid one provider, from its events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payment {
    /// Which escrow.
    pub escrow: EscrowId,
    /// Whom.
    pub provider: Address,
    /// What left the escrow.
    pub gross: Amount,
    /// What went to the provider's record.
    pub net: Amount,
}

/// What a transaction did to escrows, from its events.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Effects {
    /// Who was paid.
    pub payments: Vec<Payment>,
    /// What went back to requesters, by escrow.
    pub refunds: Vec<(EscrowId, Amount)>,
}

/// What the ledger says of one who would be paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayeeView {
    /// Paid so far by this escrow, as far as it keeps that; see `IJobEscrow.close`.
    pub paid: Amount,
    /// Whether the escrow cannot close early without its release.
    pub enrolled: bool,
}

/// Why escrows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EscrowError {
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
}

impl EscrowError {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.is_retryable())
    }
}

impl Escrows {
    /// The contract that the address book names.
    ///
    /// # Errors
    /// [`EscrowError`] when it names none, or the ledger does not answer.
    pub async fn new(chain: Chain, book: &AddressBook) -> Result<Self, EscrowError> {
        let address = |name| book.address(name).map_err(EscrowError::Book);
        let escrow = address("JobEscrow")?;
        let window = chain.read(escrow, &JobEscrow::collectWindowCall {}).await;
        let window = window.map_err(|source| EscrowError::Read { what: "the collect window", source })?;
        Ok(Self {
            escrow,
            staking: address("ProviderStaking")?,
            tide: address("Tide")?,
            deployed: book.deployment_block,
            collect_window_s: window.into(),
            chain,
        })
    }

    /// The connection.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Where the contract is, for transactions.
    pub fn address(&self) -> EvmAddress {
        self.escrow
    }

    /// What signatures are for.
    pub fn contract(&self) -> EscrowContract {
        EscrowContract { chain_id: self.chain.chain_id(), address: ours(self.escrow) }
    }

    /// How long vouchers are paid after an escrow's end, in seconds.
    pub fn collect_window_s(&self) -> u64 {
        self.collect_window_s
    }

    /// An escrow as of the block that has so many on top of it, itself included; none where it does not know it.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn view(&self, id: EscrowId, confirmations: u64) -> Result<Option<EscrowView>, EscrowError> {
        let read = |source| EscrowError::Read { what: "an escrow", source };
        let head = self.chain.newest().await.map_err(read)?;
        self.view_at(id, head, confirmations).await
    }

    /// The same, where the newest block is known already.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn view_at(
        &self,
        id: EscrowId,
        head: Block,
        confirmations: u64,
    ) -> Result<Option<EscrowView>, EscrowError> {
        let read = |source| EscrowError::Read { what: "an escrow", source };
        let block = head.number.saturating_sub(confirmations.saturating_sub(1));
        if block < self.deployed {
            // There was no contract that could have known it.
            return Ok(None);
        }
        let call = JobEscrow::escrowCall { id: id.0.into() };
        let found = self.chain.read_at(self.escrow, &call, block).await.map_err(read)?;
        if found.requester == EvmAddress::ZERO {
            return Ok(None);
        }
        let collect_until_s: u64 = found.collectUntil.to();
        Ok(Some(EscrowView {
            id,
            requester: ours(found.requester),
            coordinator: ours(found.coordinator),
            voucher_key: ours(found.voucherKey),
            deposited: amount(found.deposited),
            paid: amount(found.paid),
            fee_ppm: found.fee,
            protocol_fee_ppm: found.protocolFee,
            ends_s: collect_until_s.saturating_sub(self.collect_window_s),
            collect_until_s,
            closed: found.closed,
            now_s: head.time_s,
        }))
    }

    /// What the ledger says of a payee of an escrow.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn payee(&self, id: EscrowId, provider: Address) -> Result<PayeeView, EscrowError> {
        let call = JobEscrow::holderCall { id: id.0.into(), provider: evm(provider) };
        let holder = self.read("a payee", self.escrow, call).await?;
        Ok(PayeeView { paid: amount(holder.paid), enrolled: holder.enrolled })
    }

    /// The part of payments that the protocol takes in escrows that are opened now, in parts per million.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn protocol_fee_ppm(&self) -> Result<u32, EscrowError> {
        self.read("the protocol's fee", self.escrow, JobEscrow::protocolFeeCall {}).await
    }

    /// The longest that an escrow may be open, in seconds.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn longest_s(&self) -> Result<u64, EscrowError> {
        Ok(self.read("the longest escrow", self.escrow, JobEscrow::maxDurationCall {}).await?.into())
    }

    /// The coordinator that a key signs vouchers for: the one that has bound it now, or else the key's own account.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn coordinator_of(&self, voucher_key: Address) -> Result<Address, EscrowError> {
        let call = ProviderStaking::voucherKeyRecordCall { voucherKey: evm(voucher_key) };
        let record = self.read("a voucher key", self.staking, call).await?;
        let is_bound = record.coordinator != EvmAddress::ZERO && record.unboundAt.is_zero();
        Ok(if is_bound { ours(record.coordinator) } else { voucher_key })
    }

    /// The active bond that answers for what a key signs in escrows that are opened now. What is thawing is not counted.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn coordinator_bond(&self, voucher_key: Address) -> Result<Amount, EscrowError> {
        let coordinator = self.coordinator_of(voucher_key).await?;
        let pool = Pool::Bond(Role::Coordinator, evm(coordinator)).id();
        let state = self.read("a bond", self.staking, ProviderStaking::poolOfCall { pool }).await?;
        Ok(wide(state.active))
    }

    /// The provider's account that a result key is bound to now, if it is.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn operator_of(&self, result_key: Address) -> Result<Option<Address>, EscrowError> {
        let key = evm(result_key);
        let record =
            self.read("a result key", self.staking, ProviderStaking::resultKeyRecordCall { resultKey: key });
        let record = record.await?;
        let is_bound = record.operator != EvmAddress::ZERO && record.unboundAt.is_zero();
        Ok(is_bound.then(|| ours(record.operator)))
    }

    /// The escrows that an account opened, oldest first.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn opened_by(&self, requester: Address) -> Result<Vec<EscrowId>, EscrowError> {
        let filter = Filter::new()
            .address(self.escrow)
            .event_signature(JobEscrow::Opened::SIGNATURE_HASH)
            .topic2(evm(requester).into_word());
        let mut ids = Vec::new();
        self.chain
            .for_each_log(&filter, self.deployed, |log| {
                if let Ok(event) = JobEscrow::Opened::decode_log(&log.inner) {
                    ids.push(EscrowId(event.id.0));
                }
            })
            .await
            .map_err(|source| EscrowError::Read { what: "the escrows of the past", source })?;
        Ok(ids)
    }

    /// All payments of an escrow, from its events: also those of an early close, which keeps no record of whom it paid.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn payments(&self, id: EscrowId) -> Result<Vec<Payment>, EscrowError> {
        let filter = Filter::new()
            .address(self.escrow)
            .event_signature(JobEscrow::Paid::SIGNATURE_HASH)
            .topic1(B256::from(id.0));
        let mut payments = Vec::new();
        self.chain
            .for_each_log(&filter, self.deployed, |log| payments.extend(payment(log)))
            .await
            .map_err(|source| EscrowError::Read { what: "the payments of an escrow", source })?;
        Ok(payments)
    }

    /// The transaction that closed an escrow; none where it is not closed.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn closing_of(&self, id: EscrowId) -> Result<Option<Receipt>, EscrowError> {
        let read = |source| EscrowError::Read { what: "the end of an escrow", source };
        let filter = Filter::new()
            .address(self.escrow)
            .event_signature(JobEscrow::Closed::SIGNATURE_HASH)
            .topic1(B256::from(id.0));
        let mut found = None;
        self.chain
            .for_each_log(&filter, self.deployed, |log| found = log.transaction_hash)
            .await
            .map_err(read)?;
        let Some(hash) = found else { return Ok(None) };
        self.chain.receipt(hash).await.map_err(read)
    }

    /// What a transaction did to escrows.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer or does not know it.
    pub async fn effects_of(&self, transaction: B256) -> Result<Effects, EscrowError> {
        let method = "eth_getTransactionReceipt";
        let read = |source| EscrowError::Read { what: "a settlement", source };
        let receipt = self.chain.provider().get_transaction_receipt(transaction).await;
        let receipt = receipt.map_err(|error| read(self.chain.error(method, error)))?;
        let receipt = receipt.ok_or_else(|| read(self.chain.nonsense(method, "the receipt is gone")))?;
        let mut effects = Effects::default();
        for log in receipt.inner.logs().iter().filter(|log| log.address() == self.escrow) {
            effects.payments.extend(payment(log));
            if let Ok(event) = JobEscrow::Closed::decode_log(&log.inner) {
                effects.refunds.push((EscrowId(event.id.0), amount(event.refunded)));
            }
        }
        Ok(effects)
    }

    /// The call that opens an escrow, with its permit.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn open(
        &self,
        owner: &PrivateKeySigner,
        terms: &EscrowTerms,
        salt: [u8; 32],
    ) -> Result<Vec<u8>, EscrowError> {
        let entry = JobEscrow::openCall { terms: on_chain(terms), salt: salt.into() }.abi_encode();
        self.entry(owner, terms.budget, entry).await
    }

    /// The call that adds to an open escrow, with its permit.
    ///
    /// # Errors
    /// [`EscrowError::Read`] when the ledger does not answer.
    pub async fn deposit(
        &self,
        owner: &PrivateKeySigner,
        id: EscrowId,
        amount: Amount,
    ) -> Result<Vec<u8>, EscrowError> {
        let entry = JobEscrow::depositCall { id: id.0.into(), amount: narrow(amount) }.abi_encode();
        self.entry(owner, amount, entry).await
    }

    async fn entry(
        &self,
        owner: &PrivateKeySigner,
        amount: Amount,
        entry: Vec<u8>,
    ) -> Result<Vec<u8>, EscrowError> {
        with_permit(&self.chain, self.tide, self.escrow, owner, amount, entry)
            .await
            .map_err(|source| EscrowError::Read { what: "what a permit needs", source })
    }

    async fn read<C: SolCall>(
        &self,
        what: &'static str,
        at: EvmAddress,
        call: C,
    ) -> Result<C::Return, EscrowError> {
        self.chain.read(at, &call).await.map_err(|source| EscrowError::Read { what, source })
    }
}

impl EscrowView {
    /// How far it is, by the time that was seen with it.
    pub fn phase(&self) -> Phase {
        self.phase_at(self.now_s)
    }

    /// How far it is at some time.
    pub fn phase_at(&self, now_s: u64) -> Phase {
        if self.closed {
            Phase::Closed
        } else if now_s < self.ends_s {
            Phase::Open
        } else if now_s < self.collect_until_s {
            Phase::Collecting
        } else {
            Phase::Refundable
        }
    }

    /// What a provider gets of `gross`: the same by whatever steps it is paid.
    pub fn net(&self, gross: Amount) -> Amount {
        net(gross, self.fee_ppm, self.protocol_fee_ppm)
    }
}

/// What a provider gets of `gross` where coordinator and protocol take these parts of it: `gross − ⌊gross × (a + b) ÷
/// 10^6⌋`, as `EscrowAccounts._pay` has it.
pub fn net(gross: Amount, fee_ppm: u32, protocol_fee_ppm: u32) -> Amount {
    let rate = u64::from(fee_ppm).saturating_add(protocol_fee_ppm.into()).min(WHOLE_PPM);
    let fees = gross.mul_div_floor(rate, WHOLE_PPM).unwrap_or(gross);
    gross.checked_sub(fees).unwrap_or(Amount::ZERO)
}

const WHOLE_PPM: u64 = 1_000_000;

/// The call that ends an open escrow.
pub fn end(id: EscrowId) -> Vec<u8> {
    JobEscrow::endCall { id: id.0.into() }.abi_encode()
}

/// The call that sends the rest to the requester once the collect window is over.
pub fn refund(id: EscrowId) -> Vec<u8> {
    JobEscrow::refundCall { id: id.0.into() }.abi_encode()
}

/// The call that pays providers up to their vouchers, of any escrows.
pub fn collect(vouchers: &[Signed<Voucher>]) -> Vec<u8> {
    let one = |signed: &Signed<Voucher>| JobEscrow::collectCall { signed: voucher(signed) }.abi_encode();
    match vouchers {
        [only] => one(only),
        several => multicall(several.iter().map(one)),
    }
}

/// The call that shows vouchers of one escrow as evidence of over-issue. `released`: whom an early close paid, in its
/// order; empty where there was none.
pub fn accuse(id: EscrowId, vouchers: &[Signed<Voucher>], released: &[Address]) -> Vec<u8> {
    let vouchers = vouchers.iter().map(voucher).collect();
    let released = released.iter().map(|provider| evm(*provider)).collect();
    JobEscrow::accuseCall { id: id.0.into(), vouchers, released }.abi_encode()
}

/// Several calls in one transaction.
pub(crate) fn multicall(calls: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    JobEscrow::multicallCall { data: calls.map(Bytes::from).collect() }.abi_encode()
}

/// The terms as the contract has them.
fn on_chain(terms: &EscrowTerms) -> JobEscrow::Terms {
    JobEscrow::Terms {
        coordinator: evm(terms.coordinator),
        voucherKey: evm(terms.voucher_key),
        budget: narrow(terms.budget),
        deadline: terms.deadline_s.try_into().unwrap_or(alloy::primitives::aliases::U48::MAX),
        fee: terms.fee_ppm,
        specHash: terms.spec_hash.into(),
    }
}

fn voucher(signed: &Signed<Voucher>) -> JobEscrow::SignedVoucher {
    let Voucher { escrow, provider, amount, sequence, total } = signed.body;
    JobEscrow::SignedVoucher {
        voucher: JobEscrow::Voucher {
            escrow: escrow.0.into(),
            provider: evm(provider),
            amount: narrow(amount),
            sequence,
            total: narrow(total),
        },
        signature: Bytes::from(signed.signature.0.to_vec()),
    }
}

/// A release with its signature in the 64 bytes of EIP-2098.
pub(crate) fn release(signed: &Signed<Release>) -> Option<JobEscrow::SignedRelease> {
    let signature = Signature::from_raw_array(&signed.signature.0).ok()?;
    let mut vs = signature.s();
    vs.set_bit(255, signature.v());
    Some(JobEscrow::SignedRelease {
        provider: evm(signed.body.provider),
        amount: narrow(signed.body.amount),
        r: signature.r().into(),
        vs: vs.into(),
    })
}

fn payment(log: &Log) -> Option<Payment> {
    let event = JobEscrow::Paid::decode_log(&log.inner).ok()?;
    Some(Payment {
        escrow: EscrowId(event.id.0),
        provider: ours(event.provider),
        gross: amount(event.gross),
        net: amount(event.net),
    })
}

pub(crate) fn narrow(amount: Amount) -> U96 {
    // What does not fit is more than exists: the contract refuses it for want of money.
    U96::try_from(amount.wei()).unwrap_or(U96::MAX)
}

fn amount(wei: U96) -> Amount {
    Amount::from_wei(wei.to())
}

fn wide(wei: U256) -> Amount {
    u128::try_from(wei).map_or(Amount::CAP, Amount::from_wei)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> EscrowView {
        EscrowView {
            id: EscrowId([1; 32]),
            requester: Address([2; 20]),
            coordinator: Address([3; 20]),
            voucher_key: Address([3; 20]),
            deposited: Amount::tide(10),
            paid: Amount::ZERO,
            fee_ppm: 50_000,
            protocol_fee_ppm: 20_000,
            ends_s: 1_000,
            collect_until_s: 1_500,
            closed: false,
            now_s: 0,
        }
    }

    #[test]
    fn time_alone_leads_from_open_to_refundable() {
        let phases = [999, 1_000, 1_499, 1_500].map(|now| view().phase_at(now));
        assert_eq!(phases, [Phase::Open, Phase::Collecting, Phase::Collecting, Phase::Refundable]);
        assert_eq!(EscrowView { closed: true, ..view() }.phase_at(0), Phase::Closed);
    }

    #[test]
    fn fees_round_down_once() {
        assert_eq!(view().net(Amount::from_wei(100)), Amount::from_wei(93));
        assert_eq!(view().net(Amount::from_wei(14)), Amount::from_wei(14), "0.98 wei of fees are none");
        assert_eq!(net(Amount::from_wei(7), 900_000, 900_000), Amount::ZERO);
    }
}
