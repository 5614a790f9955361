//! `eth_subscribe` over WebSocket.
//!
//! A subscription to heads or logs goes through the blocks one by one from where it began, so a slow client
//! misses nothing and nothing piles up for it. One to transactions leaves out what a slow client could not take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::B256;
use alloy::rpc::types::Filter;
use alloy::rpc::types::pubsub::{Params as Kind, SubscriptionKind};
use jsonrpsee::types::Params;
use jsonrpsee::types::error::reject_too_many_subscriptions;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::context::Context;
use super::envelope::news;
use super::error::{Answer, invalid};
use super::logs::matching;
use super::shapes;
use crate::chain::Block;
use crate::shared::Cursor;

/// The subscriptions of one connection. They end with this.
#[derive(Debug)]
pub(super) struct Subscriptions {
    /// To the client.
    out: mpsc::Sender<String>,
    most: u32,
    places: Arc<Semaphore>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    tasks: JoinSet<()>,
    /// By their ids; each keeps its place until it is ended.
    subscriptions: HashMap<String, (AbortHandle, OwnedSemaphorePermit)>,
}

impl Subscriptions {
    /// None yet, and never more than `most`.
    pub(super) fn new(out: mpsc::Sender<String>, most: u32) -> Subscriptions {
        let places = Arc::new(Semaphore::new(most as usize));
        Subscriptions { out, most, places, running: Mutex::default() }
    }

    /// Takes a subscription in. What happens from now on will be told, as soon as it is begun.
    pub(super) fn prepare(&self, params: &Params<'_>, context: &Arc<Context>) -> Answer<Follower> {
        let wish = parse(params)?;
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| reject_too_many_subscriptions(self.most))?;
        Ok(Follower {
            id: draw_id(),
            wish,
            heads: context.shared.heads(),
            arrivals: context.shared.announcements(),
            cursor: context.shared.cursor(),
            context: context.clone(),
            place,
        })
    }

    /// Begins to tell: the client knows the id.
    pub(super) fn begin(&self, follower: Follower) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.tasks.try_join_next().is_some() {}
        let Follower { id, wish, heads, arrivals, cursor, context, place } = follower;
        let feed = Feed { id: id.clone(), out: self.out.clone() };
        let task = running.tasks.spawn(async move {
            // Only ever ends by the client's going, which its connection sees itself.
            let _: Result<(), Gone> = follow(wish, heads, arrivals, cursor, &context, &feed).await;
        });
        running.subscriptions.insert(id, (task, place));
    }

    /// Ends a subscription; says whether there was one of this name.
    pub(super) fn end(&self, id: &str) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((task, _place)) = running.subscriptions.remove(id) else { return false };
        task.abort();
        true
    }
}

/// A subscription that has not begun yet.
#[derive(Debug)]
pub(super) struct Follower {
    id: String,
    wish: Wish,
    heads: watch::Receiver<Arc<Block>>,
    arrivals: broadcast::Receiver<B256>,
    /// The first block to tell of.
    cursor: Cursor,
    context: Arc<Context>,
    place: OwnedSemaphorePermit,
}

impl Follower {
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// An id as clients expect it: a hex string, not to be guessed.
fn draw_id() -> String {
    let mut id = [0u8; 16];
    getrandom::fill(&mut id).expect("the operating system gives randomness");
    format!("{:#x}", u128::from_be_bytes(id))
}

#[derive(Debug)]
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

/// The client is gone.
struct Gone;

/// One subscription's way to its client.
struct Feed {
    id: String,
    out: mpsc::Sender<String>,
}

impl Feed {
    async fn send(&self, item: &impl Serialize) -> Result<(), Gone> {
        let text = news(&self.id, item).map_err(|_| Gone)?;
        self.out.send(text).await.map_err(|_| Gone)
    }
}

async fn follow(
    wish: Wish,
    mut heads: watch::Receiver<Arc<Block>>,
    mut arrivals: broadcast::Receiver<B256>,
    mut cursor: Cursor,
    context: &Context,
    feed: &Feed,
) -> Result<(), Gone> {
    loop {
        let arrival = tokio::select! {
            () = feed.out.closed() => return Ok(()),
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
                (Wish::Transactions, Some(tx)) => feed.send(&tx).await?,
                (Wish::Transactions, None) => {}
                _ => feed.send(&hash).await?,
            }
            continue;
        }
        let head = context.shared.catch_up(&mut cursor);
        while cursor.next <= head {
            if let Ok(Some(block)) = context.block(cursor.next) {
                tell(feed, &wish, &block).await?;
            }
            cursor.next += 1;
        }
    }
}

async fn tell(feed: &Feed, wish: &Wish, block: &Block) -> Result<(), Gone> {
    match wish {
        Wish::Heads => feed.send(&shapes::header(block)).await,
        Wish::Logs(filter) => {
            for log in matching(block, filter) {
                feed.send(&log).await?;
            }
            Ok(())
        }
        Wish::Hashes | Wish::Transactions => Ok(()),
    }
}
