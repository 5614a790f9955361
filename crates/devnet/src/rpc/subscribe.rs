//! `eth_subscribe` over WebSocket.
//!
//! A subscription to heads or logs goes through the blocks one by one from where it began, so a slow client
//! misses nothing and nothing piles up for it. One to transactions leaves out what a slow client could not take.

use std::sync::Arc;

use alloy::rpc::types::Filter;
use alloy::rpc::types::pubsub::{Params as Kind, SubscriptionKind};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::{PendingSubscriptionSink, SubscriptionMessage, SubscriptionSink};
use jsonrpsee::types::Params;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;

use super::context::Context;
use super::error::{Answer, invalid};
use super::logs::matching;
use super::shapes;
use crate::chain::Block;

/// The client is gone.
struct Gone;

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_subscription(
        "eth_subscribe",
        "eth_subscription",
        "eth_unsubscribe",
        |params, pending, context, _| async move {
            let wish = match parse(&params) {
                Ok(wish) => wish,
                Err(error) => return pending.reject(error).await,
            };
            // Only ever ends by the client's going, which it has seen itself.
            let _: Result<(), Gone> = follow(wish, pending, context).await;
        },
    )?;
    Ok(())
}

enum Wish {
    Heads,
    Logs(Box<Filter>),
    Hashes,
    Transactions,
}

fn parse(params: &Params<'_>) -> Answer<Wish> {
    let mut params = params.sequence();
    let kind: SubscriptionKind = params.next()?;
    let detail: Option<Kind> = params.optional_next()?;
    match (kind, detail.unwrap_or_default()) {
        (SubscriptionKind::NewHeads, _) => Ok(Wish::Heads),
        (SubscriptionKind::Logs, Kind::Logs(filter)) => Ok(Wish::Logs(filter)),
        (SubscriptionKind::Logs, Kind::None) => Ok(Wish::Logs(Box::default())),
        (SubscriptionKind::NewPendingTransactions, Kind::Bool(true)) => Ok(Wish::Transactions),
        (SubscriptionKind::NewPendingTransactions, Kind::None | Kind::Bool(false)) => Ok(Wish::Hashes),
        _ => Err(invalid("subscriptions are newHeads, logs with a filter, and newPendingTransactions")),
    }
}

async fn follow(wish: Wish, pending: PendingSubscriptionSink, context: Arc<Context>) -> Result<(), Gone> {
    // What happens from before the client knows of its subscription on is told.
    let (mut heads, mut arrivals) = (context.shared.heads(), context.shared.announcements());
    let mut next = context.shared.head().number() + 1;
    let sink = pending.accept().await.map_err(|_| Gone)?;
    loop {
        let arrival = tokio::select! {
            () = sink.closed() => return Ok(()),
            changed = heads.changed(), if matches!(wish, Wish::Heads | Wish::Logs(_)) => {
                changed.map_err(|_| Gone)?;
                None
            }
            arrival = arrivals.recv(), if matches!(wish, Wish::Hashes | Wish::Transactions) => match arrival {
                Ok(hash) => Some(hash),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return Ok(()),
            },
        };
        if let Some(hash) = arrival {
            let tx = context.shared.pool().get(&hash).map(|tx| shapes::pending(tx));
            match (&wish, tx) {
                (Wish::Transactions, Some(tx)) => send(&sink, &tx).await?,
                (Wish::Transactions, None) => {}
                _ => send(&sink, &hash).await?,
            }
            continue;
        }
        let head = context.shared.head().number();
        while next <= head {
            if let Ok(Some(block)) = context.block(next) {
                tell(&sink, &wish, &block).await?;
            }
            next += 1;
        }
    }
}

async fn tell(sink: &SubscriptionSink, wish: &Wish, block: &Block) -> Result<(), Gone> {
    match wish {
        Wish::Heads => send(sink, &shapes::header(block)).await,
        Wish::Logs(filter) => {
            for log in matching(block, filter) {
                send(sink, &log).await?;
            }
            Ok(())
        }
        Wish::Hashes | Wish::Transactions => Ok(()),
    }
}

async fn send(sink: &SubscriptionSink, item: &impl Serialize) -> Result<(), Gone> {
    let json = serde_json::value::to_raw_value(item).map_err(|_| Gone)?;
    sink.send(SubscriptionMessage::from(json)).await.map_err(|_| Gone)
}
