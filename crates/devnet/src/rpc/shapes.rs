//! The chain's structures in the shapes of JSON-RPC.

use alloy::consensus::transaction::{Recovered, TransactionInfo};
use alloy::consensus::{ReceiptEnvelope, Sealed, TxEnvelope};
use alloy::primitives::U256;
use alloy::rpc::types::{Block as RpcBlock, BlockTransactions, Header, Log, Transaction, TransactionReceipt};

use crate::chain::{Block, Tx, receipt};

pub(super) fn header(block: &Block) -> Header {
    let sealed = Sealed::new_unchecked(block.header.clone(), block.hash);
    Header::from_sealed(sealed)
}

pub(super) fn block(block: &Block, full: bool) -> RpcBlock {
    let transactions = if full {
        BlockTransactions::Full((0..block.txs.len()).filter_map(|index| transaction(block, index)).collect())
    } else {
        BlockTransactions::Hashes(block.txs.iter().map(|tx| tx.hash()).collect())
    };
    let mut header = header(block);
    header.size = Some(U256::from(block.size()));
    RpcBlock::new(header, transactions).with_withdrawals(Some(Default::default()))
}

pub(super) fn transaction(block: &Block, index: usize) -> Option<Transaction> {
    let tx = block.txs.get(index)?;
    let info = TransactionInfo {
        hash: Some(tx.hash()),
        index: Some(index as u64),
        block_hash: Some(block.hash),
        block_number: Some(block.number()),
        base_fee: Some(block.base_fee()),
        block_timestamp: Some(block.header.timestamp),
    };
    Some(Transaction::from_transaction(recovered(tx), info))
}

pub(super) fn pending(tx: &Tx) -> Transaction {
    Transaction::from_transaction(recovered(tx), TransactionInfo::default())
}

pub(super) fn transaction_receipt(block: &Block, index: usize) -> Option<TransactionReceipt> {
    let (tx, outcome) = (block.txs.get(index)?, block.outcomes.get(index)?);
    let mut log_index = block.first_log(index);
    let inner: ReceiptEnvelope<Log> = receipt(tx, outcome).map_logs(|log| {
        log_index += 1;
        rpc_log(block, index, log_index - 1, log)
    });
    Some(TransactionReceipt {
        inner,
        transaction_hash: tx.hash(),
        transaction_index: Some(index as u64),
        block_hash: Some(block.hash),
        block_number: Some(block.number()),
        gas_used: block.gas_used(index),
        effective_gas_price: tx.price(block.base_fee()),
        blob_gas_used: None,
        blob_gas_price: None,
        from: tx.sender(),
        to: alloy::consensus::Transaction::to(tx.envelope()),
        contract_address: block.contract(index),
    })
}

/// All logs of a block, in their order.
pub(super) fn logs(block: &Block) -> impl Iterator<Item = Log> {
    let all = block.outcomes.iter().enumerate();
    let all = all.flat_map(|(index, outcome)| outcome.logs.iter().map(move |log| (index, log)));
    all.zip(0..).map(|((index, log), log_index)| rpc_log(block, index, log_index, log.clone()))
}

fn rpc_log(block: &Block, index: usize, log_index: u64, inner: alloy::primitives::Log) -> Log {
    Log {
        inner,
        block_hash: Some(block.hash),
        block_number: Some(block.number()),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash: block.txs.get(index).map(|tx| tx.hash()),
        transaction_index: Some(index as u64),
        log_index: Some(log_index),
        removed: false,
    }
}

fn recovered(tx: &Tx) -> Recovered<TxEnvelope> {
    Recovered::new_unchecked(tx.envelope().clone(), tx.sender())
}
