//! How many connections each address has open, and whether anything is heard of one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The addresses that have connections open.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<HashMap<IpAddr, u32>>);

/// A connection's place among those of its address.
#[derive(Debug)]
pub(super) struct Caller {
    callers: Arc<Callers>,
    address: IpAddr,
}

impl Callers {
    /// A place for one more connection of an address, unless it has as many as it may.
    pub(super) fn come(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<Caller> {
        let address = of_one_hand(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Caller { callers: self.clone(), address })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut open = self.callers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// Whoever has an address of version 6 has 64 bits of them.
fn of_one_hand(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        other => other,
    }
}

/// Whether a connection is in use.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Requests that are being answered, and a WebSocket, which looks after itself.
    running: AtomicUsize,
    /// When the last one ended, in milliseconds since `began`.
    ended_ms: std::sync::atomic::AtomicU64,
}

/// Something that uses a connection.
#[derive(Debug)]
pub(super) struct Use(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), running: AtomicUsize::new(0), ended_ms: 0.into() })
    }

    pub(super) fn begin(self: &Arc<Self>) -> Use {
        self.running.fetch_add(1, Ordering::AcqRel);
        Use(self.clone())
    }

    /// Waits until nothing has used the connection for so long.
    pub(super) async fn idle(&self, timeout: Duration) {
        loop {
            let ended = Duration::from_millis(self.ended_ms.load(Ordering::Acquire));
            let rest = (ended + timeout).saturating_sub(self.began.elapsed());
            if rest.is_zero() {
                if self.running.load(Ordering::Acquire) == 0 {
                    return;
                }
                tokio::time::sleep(timeout).await;
            } else {
                tokio::time::sleep(rest).await;
            }
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended_ms.store(now, Ordering::Release);
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let callers = Arc::new(Callers::default());
        let [one, alike, other] =
            ["2001:db8::1", "2001:db8::ffff:1", "192.0.2.1"].map(|ip| ip.parse().unwrap());
        let first = callers.come(one, 2).unwrap();
        let _second = callers.come(alike, 2).unwrap();
        assert!(callers.come(one, 2).is_none());
        assert!(callers.come(other, 2).is_some());
        drop(first);
        assert!(callers.come(one, 2).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_in_use_is_not_idle() {
        let activity = Activity::new();
        let using = activity.begin();
        let timeout = Duration::from_millis(20);
        assert!(tokio::time::timeout(10 * timeout, activity.idle(timeout)).await.is_err());
        drop(using);
    }
}
