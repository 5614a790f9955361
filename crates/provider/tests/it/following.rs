//! What attempts write while they run, for who follows them.

use std::num::NonZeroU64;

use tidemill_net::wire::{Chunk, FollowedChunk, FromProvider, ToProvider};
use tidemill_types::{LeaseId, Outcome};

use crate::support::{Coordinator, Joined, NOOP, lease, lend};

/// Prints a line and runs until it is cancelled.
pub const TALK: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "line\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 5))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
    (loop $again (br $again))))"#;

/// Says that somebody follows a lease, by this number.
pub async fn follow(joined: &mut Joined, lease: u64, number: u64) {
    let follow = NonZeroU64::new(number).expect("it is not zero");
    joined.say(ToProvider::Follow { lease: LeaseId(lease), follow }).await;
}

/// What the provider says of [`TALK`] in the follow of this number.
pub fn line(follow: u64) -> FromProvider {
    let follow = NonZeroU64::new(follow).expect("it is not zero");
    let chunk = Chunk { number: 0, offset: 0, bytes: b"line\n".to_vec() };
    FromProvider::Chunks(vec![FollowedChunk { follow, chunk }])
}

#[tokio::test]
async fn a_followed_attempt_is_seen_while_it_runs_and_from_its_start_each_time() {
    let coordinator = Coordinator::new().await;
    let talk = coordinator.program(TALK).await;
    let _lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    joined.lease(vec![lease(1, talk, &[])]).await;
    follow(&mut joined, 1, 7).await;
    assert_eq!(joined.next().await, Some(line(7)));
    joined.say(ToProvider::Unfollow { lease: LeaseId(1) }).await;
    follow(&mut joined, 1, 8).await;
    assert_eq!(joined.next().await, Some(line(8)));

    joined.say(ToProvider::Cancel(vec![LeaseId(1)])).await;
    // The slot is free again, and nothing of the first lease is said any more.
    let noop = coordinator.program(NOOP).await;
    joined.lease(vec![lease(2, noop, &[])]).await;
    assert_eq!(joined.settle(1).await[0].claim.outcome, Outcome::Done);
}

/// A lease may end while the word that somebody follows it is on its way.
#[tokio::test]
async fn following_what_is_not_held_is_no_breach_and_means_nothing() {
    let coordinator = Coordinator::new().await;
    let noop = coordinator.program(NOOP).await;
    let _lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    follow(&mut joined, 1, 1).await;
    joined.say(ToProvider::Unfollow { lease: LeaseId(2) }).await;
    joined.lease(vec![lease(1, noop, &[])]).await;
    assert_eq!(joined.settle(1).await[0].claim.outcome, Outcome::Done);
}

/// Nobody asked, so nothing is said; a session that begins anew has no follows.
#[tokio::test]
async fn an_attempt_that_is_not_followed_says_nothing() {
    let coordinator = Coordinator::new().await;
    let talk = coordinator.program(TALK).await;
    let _lender = lend(coordinator.ticket().await, 2).await;
    let mut first = coordinator.join().await;
    first.lease(vec![lease(1, talk, &[]), lease(2, talk, &[])]).await;
    follow(&mut first, 1, 1).await;
    assert_eq!(first.next().await, Some(line(1)));
    first.session.connection.close(0u32.into(), b"a test wants it so");

    let mut second = coordinator.join().await;
    second.recall(&first);
    assert_eq!(second.held(), [1, 2]);
    follow(&mut second, 2, 1).await;
    assert_eq!(second.next().await, Some(line(1)));
}
