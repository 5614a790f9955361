//! Transactions: what is taken, and from whom.

use alloy::consensus::transaction::SignerRecoverable;
use alloy::consensus::{Transaction, TxEnvelope, Typed2718};
use alloy::eips::eip2718::{Decodable2718, Encodable2718};
use alloy::primitives::{Address, B256, Bytes, U256};
use revm::context::TxEnv;
use revm::context_interface::cfg::gas::calculate_initial_tx_gas_for_tx;
use revm::context_interface::either::Either;
use revm::primitives::eip3860::MAX_INITCODE_SIZE;
use revm::primitives::hardfork::SpecId;

/// As geth: what is longer is refused before anything is computed from it.
pub(crate) const MAX_TX_BYTES: usize = 128 * 1024;

/// A signed transaction with its sender, which was computed from the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tx {
    envelope: TxEnvelope,
    sender: Address,
    raw: Bytes,
}

/// Why a transaction is refused whatever the state is. The words are geth's where geth has words for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// Not the bytes of a transaction.
    #[error("failed to decode signed transaction")]
    Undecodable,
    /// More than 128 KiB.
    #[error("oversized data: transaction size {size}, limit {MAX_TX_BYTES}")]
    Oversized {
        /// In bytes.
        size: usize,
    },
    /// The signature is no one's.
    #[error("invalid sender")]
    InvalidSignature,
    /// A legacy transaction that any chain would take.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {have} want {want}")]
    WrongChain {
        /// In the transaction.
        have: u64,
        /// Of this ledger.
        want: u64,
    },
    /// Blobs need a network that carries them.
    #[error("transaction type not supported: this ledger takes no blob transactions")]
    Blobs,
    /// EIP-1559: the tip is part of the fee.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveCap,
    /// It could never be in a block.
    #[error("exceeds block gas limit")]
    ExceedsBlockGas,
    /// It could not even begin.
    #[error("intrinsic gas too low: gas {have}, minimum needed {want}")]
    IntrinsicGas {
        /// The transaction's limit.
        have: u64,
        /// What its bytes alone cost.
        want: u64,
    },
    /// EIP-3860.
    #[error("max initcode size exceeded: code size {size}, limit {MAX_INITCODE_SIZE}")]
    InitCode {
        /// In bytes.
        size: usize,
    },
    /// EIP-7702 without anything to set.
    #[error("EIP-7702 transaction with empty auth list")]
    EmptyAuthorizations,
    /// EIP-2681.
    #[error("nonce has max value")]
    NonceMax,
}

impl Tx {
    /// Decodes what `eth_sendRawTransaction` takes. Computing the sender costs most, so it comes last.
    pub(crate) fn decode(raw: Bytes, chain_id: u64, block_gas_limit: u64) -> Result<Tx, TxError> {
        if raw.len() > MAX_TX_BYTES {
            return Err(TxError::Oversized { size: raw.len() });
        }
        if raw.first() == Some(&3) {
            return Err(TxError::Blobs);
        }
        let envelope = decode_exactly(&raw)?;
        check(&envelope, chain_id, block_gas_limit)?;
        let sender = envelope.recover_signer().map_err(|_| TxError::InvalidSignature)?;
        Ok(Tx { envelope, sender, raw })
    }

    /// Takes the sender from whoever computed it before: the log, whose records are authenticated.
    pub(crate) fn from_log(raw: Bytes, sender: Address) -> Result<Tx, TxError> {
        let envelope = decode_exactly(&raw)?;
        Ok(Tx { envelope, sender, raw })
    }

    /// Makes the checks of [`Tx::decode`], except that it does not recover the sender: the caller knows it.
    pub(crate) fn checked(self, chain_id: u64, block_gas_limit: u64) -> Result<Tx, TxError> {
        if self.raw.len() > MAX_TX_BYTES {
            return Err(TxError::Oversized { size: self.raw.len() });
        }
        check(&self.envelope, chain_id, block_gas_limit)?;
        Ok(self)
    }

    /// A transaction that was signed here, or whose sender is taken at its word.
    pub(crate) fn signed(envelope: TxEnvelope, sender: Address) -> Tx {
        let raw = Bytes::from(envelope.encoded_2718());
        Tx { envelope, sender, raw }
    }

    pub(crate) fn hash(&self) -> B256 {
        *self.envelope.tx_hash()
    }

    pub(crate) fn sender(&self) -> Address {
        self.sender
    }

    pub(crate) fn raw(&self) -> &Bytes {
        &self.raw
    }

    pub(crate) fn envelope(&self) -> &TxEnvelope {
        &self.envelope
    }

    pub(crate) fn nonce(&self) -> u64 {
        self.envelope.nonce()
    }

    pub(crate) fn gas_limit(&self) -> u64 {
        self.envelope.gas_limit()
    }

    /// The most that it may cost its sender.
    pub(crate) fn cost(&self) -> U256 {
        let gas = U256::from(self.gas_limit()).saturating_mul(U256::from(self.fee_cap()));
        gas.saturating_add(self.envelope.value())
    }

    pub(crate) fn fee_cap(&self) -> u128 {
        self.envelope.max_fee_per_gas()
    }

    /// The most that it pays on top of the base fee; a transaction without one offers all its price.
    pub(crate) fn tip_cap(&self) -> u128 {
        self.envelope.max_priority_fee_per_gas().unwrap_or_else(|| self.fee_cap())
    }

    /// What it pays on top of `base_fee`; nothing if it does not pay even that.
    pub(crate) fn tip(&self, base_fee: u64) -> Option<u128> {
        self.envelope.effective_tip_per_gas(base_fee)
    }

    /// What it pays per gas in a block.
    pub(crate) fn price(&self, base_fee: u64) -> u128 {
        self.envelope.effective_gas_price(Some(base_fee))
    }

    pub(crate) fn env(&self) -> TxEnv {
        env(&self.envelope, self.sender)
    }
}

fn decode_exactly(raw: &Bytes) -> Result<TxEnvelope, TxError> {
    let mut rest = raw.as_ref();
    let envelope = TxEnvelope::decode_2718(&mut rest).map_err(|_| TxError::Undecodable)?;
    if rest.is_empty() { Ok(envelope) } else { Err(TxError::Undecodable) }
}

fn check(tx: &TxEnvelope, chain_id: u64, block_gas_limit: u64) -> Result<(), TxError> {
    if tx.is_eip4844() {
        return Err(TxError::Blobs);
    }
    match tx.chain_id() {
        None => return Err(TxError::Unprotected),
        Some(have) if have != chain_id => return Err(TxError::WrongChain { have, want: chain_id }),
        Some(_) => {}
    }
    if tx.max_priority_fee_per_gas().is_some_and(|tip| tip > tx.max_fee_per_gas()) {
        return Err(TxError::TipAboveCap);
    }
    if tx.gas_limit() > block_gas_limit {
        return Err(TxError::ExceedsBlockGas);
    }
    if tx.nonce() == u64::MAX {
        return Err(TxError::NonceMax);
    }
    if tx.is_create() && tx.input().len() > MAX_INITCODE_SIZE {
        return Err(TxError::InitCode { size: tx.input().len() });
    }
    if tx.is_eip7702() && tx.authorization_list().is_none_or(<[_]>::is_empty) {
        return Err(TxError::EmptyAuthorizations);
    }
    let gas = calculate_initial_tx_gas_for_tx(env(tx, Address::ZERO), SpecId::PRAGUE, None);
    let want = gas.initial_total_gas().max(gas.floor_gas());
    if tx.gas_limit() < want {
        return Err(TxError::IntrinsicGas { have: tx.gas_limit(), want });
    }
    Ok(())
}

fn env(tx: &TxEnvelope, caller: Address) -> TxEnv {
    let authorizations = tx.authorization_list().unwrap_or_default();
    TxEnv {
        tx_type: tx.ty(),
        caller,
        gas_limit: tx.gas_limit(),
        gas_price: tx.max_fee_per_gas(),
        kind: tx.kind(),
        value: tx.value(),
        data: tx.input().clone(),
        nonce: tx.nonce(),
        chain_id: tx.chain_id(),
        access_list: tx.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: tx.max_priority_fee_per_gas(),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: authorizations.iter().cloned().map(Either::Left).collect(),
    }
}
