//! What the limits of a process count, over all of its loops.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::admission::{self, Admission, Refusal};
use crate::proto::Millis;
use crate::reactor::Config;

/// Counts what limits of a process bound, for all of its loops: upgraded connections, requests whose answer comes later, and
/// who comes from which address. Clones are one. A loop touches it when a connection comes, is upgraded or goes, and only
/// where the limit is set.
#[derive(Debug, Clone, Default)]
pub struct SharedLimits(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    upgraded: AtomicUsize,
    late: AtomicUsize,
    admission: Mutex<Admission>,
}

impl SharedLimits {
    /// Takes a place for an upgraded connection, of `most`. `false`: all are taken.
    pub(super) fn take_place(&self, most: usize) -> bool {
        let take = |taken: usize| (taken < most).then_some(taken + 1);
        self.0.upgraded.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Gives a place back.
    pub(super) fn free_place(&self) {
        let before = self.0.upgraded.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a place that nobody took");
    }

    /// One more answer comes later. Returns how many there are now.
    pub(in crate::reactor) fn add_late(&self) -> usize {
        self.0.late.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// An answer that was to come later has come, or is not to come any more.
    pub(in crate::reactor) fn remove_late(&self) {
        let before = self.0.late.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "an answer that nobody waited for");
    }

    /// As [`Admission::arrived`].
    pub(super) fn arrived(
        &self,
        config: &Config,
        peer: Option<SocketAddr>,
        now: Millis,
    ) -> Result<(), Refusal> {
        if config.max_new_per_second == 0 && !admission::is_per_address(config) {
            return Ok(());
        }
        self.admission().arrived(config, peer, now)
    }

    /// As [`Admission::admit`].
    pub(super) fn admit(&self, config: &Config, peer: SocketAddr, now: Millis) -> Result<(), Refusal> {
        self.admission().admit(config, peer, now)
    }

    /// As [`Admission::left`].
    pub(super) fn left(&self, peer: SocketAddr, now: Millis) {
        self.admission().left(peer, now);
    }

    /// Whether what is counted is what a loop has: `upgraded` connections, where they are counted, and `counted` addresses. Other
    /// loops have their share, so this can be told of a loop that is alone.
    pub(super) fn check(&self, upgraded: Option<usize>, counted: impl Iterator<Item = SocketAddr>) {
        if Arc::strong_count(&self.0) > 1 {
            return;
        }
        self.admission().check(counted);
        assert_eq!(self.0.upgraded.load(Ordering::Relaxed), upgraded.unwrap_or_default(), "places");
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.0.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_all_loops_and_never_more() {
        let shared = SharedLimits::default();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let shared = shared.clone();
                    scope.spawn(move || (0..1000).filter(|_| shared.take_place(1000)).count())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
        shared.free_place();
        assert!(shared.take_place(1000) && !shared.take_place(1000));
    }

    #[test]
    fn an_address_is_counted_over_all_loops() {
        let config = Config { max_connections_per_address: 2, max_new_per_second: 3, ..Config::default() };
        let one = SharedLimits::default();
        let two = one.clone();
        let peer: SocketAddr = "10.0.0.1:1".parse().unwrap();
        assert_eq!(one.arrived(&config, Some(peer), 0), Ok(()));
        assert_eq!(two.arrived(&config, Some(peer), 0), Ok(()));
        assert_eq!(one.arrived(&config, Some(peer), 0), Err(Refusal::Crowded));
        two.left(peer, 0);
        assert_eq!(one.arrived(&config, Some(peer), 0), Ok(()));
        assert_eq!(two.arrived(&config, Some("10.0.0.2:1".parse().unwrap()), 0), Err(Refusal::Hurried));
    }
}
