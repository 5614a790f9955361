//! A block with what its transactions came to, as it lies in the log.

use std::sync::Arc;

use alloy::consensus::{BlockBody, Header, Receipt, ReceiptEnvelope};
use alloy::primitives::{Address, B256, Log};
use alloy::rlp::{Decodable, Encodable};

use super::changes::{Changes, commitment};
use super::codec::{CodecError, Put, Reader};
use super::tx::Tx;

/// A block of the chain. Immutable and shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub header: Header,
    pub hash: B256,
    pub txs: Vec<Arc<Tx>>,
    /// One for each transaction, in its order.
    pub outcomes: Vec<TxOutcome>,
}

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TxOutcome {
    pub success: bool,
    /// Of this and all transactions before it in the block.
    pub cumulative_gas: u64,
    pub logs: Vec<Log>,
}

impl Block {
    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }

    pub(crate) fn gas_used(&self, index: usize) -> u64 {
        let before = index.checked_sub(1).and_then(|before| self.outcomes.get(before));
        let until = self.outcomes.get(index).map_or(0, |outcome| outcome.cumulative_gas);
        until.saturating_sub(before.map_or(0, |outcome| outcome.cumulative_gas))
    }

    /// The index, within the block, of the first log of a transaction.
    pub(crate) fn first_log(&self, index: usize) -> u64 {
        self.outcomes.iter().take(index).map(|outcome| outcome.logs.len() as u64).sum()
    }

    pub(crate) fn contract(&self, index: usize) -> Option<Address> {
        use alloy::consensus::Transaction;
        let tx = self.txs.get(index)?;
        tx.envelope().is_create().then(|| tx.sender().create(tx.nonce()))
    }

    /// In bytes, as `size` in JSON-RPC counts.
    pub(crate) fn size(&self) -> usize {
        let transactions = self.txs.iter().map(|tx| tx.envelope().clone()).collect();
        let body = BlockBody { transactions, ommers: Vec::new(), withdrawals: Some(Default::default()) };
        alloy::consensus::Block::rlp_length_for(&self.header, &body)
    }

    /// The payload of the block's record in the log, with the block's changes of state.
    pub(crate) fn encode(&self, changes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024 + self.txs.len() * 512 + changes.len());
        let mut header = Vec::with_capacity(700);
        self.header.encode(&mut header);
        out.bytes(&header);
        out.u32(
            u32::try_from(self.txs.len()).expect("the gas of one block pays for under 3,000 transactions"),
        );
        for tx in &self.txs {
            out.fixed(tx.sender().as_slice());
            out.bytes(tx.raw());
        }
        let mut log = Vec::new();
        for outcome in &self.outcomes {
            out.u8(u8::from(outcome.success));
            out.u64(outcome.cumulative_gas);
            out.u32(
                u32::try_from(outcome.logs.len()).expect("the gas of one block pays for under 2^32 logs"),
            );
            for one in &outcome.logs {
                log.clear();
                one.encode(&mut log);
                out.bytes(&log);
            }
        }
        out.bytes(changes);
        out
    }

    /// The reverse of [`Block::encode`].
    pub(crate) fn decode(payload: &[u8]) -> Result<Block, CodecError> {
        let mut reader = Reader::new(payload);
        let header = reader.bytes()?;
        let mut block = Block {
            header: decode_header(header)?,
            hash: alloy::primitives::keccak256(header),
            txs: Vec::new(),
            outcomes: Vec::new(),
        };
        let count = reader.count(24)?;
        for _ in 0..count {
            let sender = reader.address()?;
            let tx = Tx::from_log(reader.owned()?, sender).map_err(|_| CodecError)?;
            block.txs.push(Arc::new(tx));
        }
        for _ in 0..count {
            let success = reader.flag()?;
            let cumulative_gas = reader.u64()?;
            let logs = (0..reader.count(4)?)
                .map(|_| Log::decode(&mut reader.bytes()?).map_err(|_| CodecError))
                .collect::<Result<Vec<_>, CodecError>>()?;
            block.outcomes.push(TxOutcome { success, cumulative_gas, logs });
        }
        reader.bytes()?;
        reader.end()?;
        Ok(block)
    }
}

/// What opening a ledger needs of a record: cheaper than the whole block.
#[derive(Clone, Debug)]
pub(crate) struct Summary<'a> {
    pub header: Header,
    pub hash: B256,
    pub tx_hashes: Vec<B256>,
    pub changes: &'a [u8],
}

impl<'a> Summary<'a> {
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Summary<'a>, CodecError> {
        let mut reader = Reader::new(payload);
        let header = reader.bytes()?;
        let count = reader.count(24)?;
        let mut tx_hashes = Vec::with_capacity(count);
        for _ in 0..count {
            reader.address()?;
            tx_hashes.push(alloy::primitives::keccak256(reader.bytes()?));
        }
        for _ in 0..count {
            reader.flag()?;
            reader.u64()?;
            for _ in 0..reader.count(4)? {
                reader.bytes()?;
            }
        }
        let changes = reader.bytes()?;
        reader.end()?;
        let hash = alloy::primitives::keccak256(header);
        Ok(Summary { header: decode_header(header)?, hash, tx_hashes, changes })
    }

    /// Whether the block's commitment is that of its changes on top of `parent`.
    pub(crate) fn commits_to(&self, parent: B256) -> bool {
        self.header.state_root == commitment(parent, self.changes)
    }

    pub(crate) fn changes(&self) -> Result<Changes, CodecError> {
        Changes::decode(self.changes)
    }
}

/// The receipt of a transaction as the receipts' root counts it.
pub(crate) fn receipt(tx: &Tx, outcome: &TxOutcome) -> ReceiptEnvelope {
    let receipt = Receipt {
        status: outcome.success.into(),
        cumulative_gas_used: outcome.cumulative_gas,
        logs: outcome.logs.clone(),
    };
    ReceiptEnvelope::from_typed(tx.envelope().tx_type(), receipt)
}

fn decode_header(mut bytes: &[u8]) -> Result<Header, CodecError> {
    let header = Header::decode(&mut bytes).map_err(|_| CodecError)?;
    if bytes.is_empty() { Ok(header) } else { Err(CodecError) }
}
