//! Who may come in, by the address that they come from.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::Config;
use crate::proto::Millis;

/// What a second of connections may be ahead of an even flow, in microseconds.
const BURST_US: u64 = 1_000_000;
/// Addresses without a connection that are remembered before those with nothing to remember are forgotten.
const MAX_IDLE: usize = 1024;

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There are enough from this address.
    Crowded,
    /// They come too fast, from this address or from all.
    Hurried,
}

/// Lets so many pass in a second, evenly or all at its beginning (GCRA).
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    /// When the next one would come if they came evenly, in microseconds.
    next_us: u64,
}

impl Rate {
    /// Whether there is room for another one; `per_second` 0: always.
    fn admits(self, per_second: u32, now_us: u64) -> bool {
        per_second == 0 || self.next_us.max(now_us) + 1_000_000 / u64::from(per_second) <= now_us + BURST_US
    }

    fn take(&mut self, per_second: u32, now_us: u64) {
        if per_second > 0 {
            self.next_us = self.next_us.max(now_us) + 1_000_000 / u64::from(per_second);
        }
    }
}

/// What is known of one address, or of one /64 of IPv6, which is what one customer has.
#[derive(Debug, Default)]
struct Address {
    connections: usize,
    rate: Rate,
}

/// Counts connections by address. Without limits it remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Admission {
    addresses: BTreeMap<u64, Address>,
    idle: usize,
    rate: Rate,
}

impl Admission {
    /// A connection came. One that is let in is counted until [`Self::left`].
    pub(super) fn arrived(&mut self, config: &Config, peer: SocketAddr, now: Millis) -> Option<Refusal> {
        let now_us = now * 1000;
        if !self.rate.admits(config.max_new_per_second, now_us) {
            return Some(Refusal::Hurried);
        }
        if is_per_address(config) {
            let per_second = config.max_new_per_second_per_address;
            let address = self.addresses.entry(key(peer)).or_insert_with(|| {
                self.idle += 1;
                Address::default()
            });
            if config.max_connections_per_address > 0
                && address.connections >= config.max_connections_per_address
            {
                return Some(Refusal::Crowded);
            }
            if !address.rate.admits(per_second, now_us) {
                return Some(Refusal::Hurried);
            }
            self.idle -= usize::from(address.connections == 0);
            address.connections += 1;
            address.rate.take(per_second, now_us);
        }
        self.rate.take(config.max_new_per_second, now_us);
        None
    }

    /// A connection that was let in is gone.
    pub(super) fn left(&mut self, peer: SocketAddr, now: Millis) {
        if let Some(address) = self.addresses.get_mut(&key(peer)) {
            address.connections -= 1;
            self.idle += usize::from(address.connections == 0);
        }
        if self.idle > MAX_IDLE.max(self.addresses.len() / 2) {
            self.addresses.retain(|_, address| address.connections > 0 || address.rate.next_us > now * 1000);
            self.idle = self.addresses.values().filter(|address| address.connections == 0).count();
        }
    }
}

/// Whether anything is counted by address.
pub(super) fn is_per_address(config: &Config) -> bool {
    config.max_connections_per_address > 0 || config.max_new_per_second_per_address > 0
}

/// An IPv4 address, or the first half of an IPv6 address; `::ffff:a.b.c.d` is the former.
fn key(peer: SocketAddr) -> u64 {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64 | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 1000)
    }

    #[test]
    fn connections_of_an_address_are_counted_exactly() {
        let config = Config { max_connections_per_address: 3, ..Config::default() };
        let mut admission = Admission::default();
        let (one, other) = (from("10.0.0.1"), from("10.0.0.2"));
        for _ in 0..1000 {
            for _ in 0..3 {
                assert_eq!(admission.arrived(&config, one, 0), None);
            }
            assert_eq!(admission.arrived(&config, one, 0), Some(Refusal::Crowded));
            assert_eq!(admission.arrived(&config, other, 0), None);
            admission.left(other, 0);
            for _ in 0..3 {
                admission.left(one, 0);
            }
        }
    }

    #[test]
    fn a_second_brings_as_many_as_it_may_however_they_come() {
        let config = Config { max_new_per_second_per_address: 10, ..Config::default() };
        let mut admission = Admission::default();
        let mut admitted = 0;
        for ms in 0..10_000 {
            for _ in 0..5 {
                admitted += u64::from(admission.arrived(&config, from("10.0.0.1"), ms).is_none());
            }
        }
        assert!((100..=110).contains(&admitted), "{admitted} in 10 s");
        let config = Config { max_new_per_second: 10, ..Config::default() };
        let at_once =
            (0..100).filter(|at| admission.arrived(&config, from(&format!("10.1.0.{at}")), 20_000).is_none());
        assert_eq!(at_once.count(), 10);
    }

    #[test]
    fn neighbours_in_a_64_are_one_address() {
        let config = Config { max_connections_per_address: 1, ..Config::default() };
        let mut admission = Admission::default();
        assert_eq!(admission.arrived(&config, from("2001:db8:1:2::1"), 0), None);
        assert_eq!(admission.arrived(&config, from("2001:db8:1:2:3::9"), 0), Some(Refusal::Crowded));
        assert_eq!(admission.arrived(&config, from("2001:db8:1:3::1"), 0), None);
        assert_eq!(admission.arrived(&config, from("::ffff:10.0.0.1"), 0), None);
        assert_eq!(admission.arrived(&config, from("10.0.0.1"), 0), Some(Refusal::Crowded));
    }

    #[test]
    fn addresses_that_are_gone_are_forgotten() {
        let config = Config { max_new_per_second_per_address: 1000, ..Config::default() };
        let mut admission = Admission::default();
        for at in 0..100_000_u32 {
            let peer = SocketAddr::new(IpAddr::V4(at.into()), 1);
            assert_eq!(admission.arrived(&config, peer, u64::from(at)), None);
            admission.left(peer, u64::from(at));
            assert!(admission.addresses.len() <= 2 * MAX_IDLE + 2, "{}", admission.addresses.len());
        }
    }
}
