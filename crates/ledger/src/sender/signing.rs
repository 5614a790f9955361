//! Signed transactions.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy},
    eips::eip2718::Encodable2718,
    network::TxSignerSync,
    primitives::{Address, B256, Bytes, TxKind, U256},
    signers::local::PrivateKeySigner,
};

use super::{
    Fees,
    plan::{Sign, Unsigned},
};

/// Signs for one account on one chain.
pub(crate) struct Signer {
    pub(crate) key: PrivateKeySigner,
    pub(crate) chain_id: u64,
}

impl Sign for Signer {
    fn account(&self) -> Address {
        self.key.address()
    }

    fn sign(&self, unsigned: &Unsigned) -> (B256, Bytes) {
        let Unsigned { nonce, to, value, data, gas_limit, fees } = unsigned.clone();
        let (chain_id, to, value) =
            (self.chain_id, to.map_or(TxKind::Create, TxKind::Call), U256::from(value.wei()));
        let envelope = match fees {
            Fees::Dynamic { tip, cap } => self.envelope(TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: cap,
                max_priority_fee_per_gas: tip,
                to,
                value,
                access_list: Default::default(),
                input: data,
            }),
            Fees::Legacy { price } => self.envelope(TxLegacy {
                chain_id: Some(chain_id),
                nonce,
                gas_price: price,
                gas_limit,
                to,
                value,
                input: data,
            }),
        };
        (*envelope.tx_hash(), envelope.encoded_2718().into())
    }
}

impl Signer {
    fn envelope<T>(&self, mut tx: T) -> TxEnvelope
    where
        T: SignableTransaction<alloy::primitives::Signature>,
        TxEnvelope: From<alloy::consensus::Signed<T>>,
    {
        // Nonces of signatures come from the message (RFC 6979): the same transaction has the same bytes.
        let signature =
            self.key.sign_transaction_sync(&mut tx).expect("a key in memory signs every transaction");
        tx.into_signed(signature).into()
    }
}
