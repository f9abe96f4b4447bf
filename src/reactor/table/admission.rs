//! Who may come in, by the address that they come from.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::app::{AddressPrefix, Bucket, Rate};
use crate::proto::Millis;
use crate::reactor::Config;

/// Addresses without a connection that are remembered before those with nothing to remember are forgotten.
const MAX_IDLE: usize = 1024;

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are enough from this address.
    Crowded,
    /// They come too fast, from this address or from all.
    Hurried,
}

/// What is known of one address.
#[derive(Debug, Default)]
struct Address {
    connections: usize,
    rate: Bucket,
}

/// Counts connections by address. Without limits it remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Admission {
    addresses: BTreeMap<AddressPrefix, Address>,
    idle: usize,
    rate: Bucket,
}

impl Admission {
    /// A connection came. One that is let in is counted until [`Self::left`]. `peer` is `None` where it is not known yet who it is: that
    /// is the business of [`Self::admit`] later.
    ///
    /// # Errors
    /// Why the connection must be turned away.
    pub(super) fn arrived(
        &mut self,
        config: &Config,
        peer: Option<SocketAddr>,
        now: Millis,
    ) -> Result<(), Refusal> {
        let from_all = per_second(config.max_new_per_second);
        if self.rate.wait_ms(from_all, now) > 0 {
            return Err(Refusal::Hurried);
        }
        if let Some(peer) = peer {
            self.admit(config, peer, now)?;
        }
        self.rate.take(from_all, now);
        Ok(())
    }

    /// An address has another connection, if it may.
    ///
    /// # Errors
    /// Why the connection must be turned away.
    pub(super) fn admit(&mut self, config: &Config, peer: SocketAddr, now: Millis) -> Result<(), Refusal> {
        if is_per_address(config) {
            let from_one = per_second(config.max_new_per_second_per_address);
            let address = self.addresses.entry(peer.ip().into()).or_insert_with(|| {
                self.idle += 1;
                Address::default()
            });
            if config.max_connections_per_address > 0
                && address.connections >= config.max_connections_per_address
            {
                return Err(Refusal::Crowded);
            }
            if address.rate.try_take(from_one, now).is_err() {
                return Err(Refusal::Hurried);
            }
            self.idle -= usize::from(address.connections == 0);
            address.connections += 1;
        }
        Ok(())
    }

    /// A connection that was let in is gone.
    pub(super) fn left(&mut self, peer: SocketAddr, now: Millis) {
        if let Some(address) = self.addresses.get_mut(&peer.ip().into()) {
            address.connections -= 1;
            self.idle += usize::from(address.connections == 0);
        }
        if self.idle > MAX_IDLE.max(self.addresses.len() / 2) {
            self.addresses.retain(|_, address| address.connections > 0 || !address.rate.is_full(now));
            self.idle = self.addresses.values().filter(|address| address.connections == 0).count();
        }
    }

    /// Whether connections are counted as they are; `counted` are the addresses of all that were let in.
    pub(super) fn check(&self, counted: impl Iterator<Item = SocketAddr>) {
        let mut connections: BTreeMap<AddressPrefix, usize> = BTreeMap::new();
        for peer in counted {
            *connections.entry(peer.ip().into()).or_default() += 1;
        }
        for (prefix, address) in &self.addresses {
            let count = connections.remove(prefix).unwrap_or_default();
            assert_eq!(address.connections, count, "connections of {prefix:?}");
        }
        assert!(connections.is_empty(), "connections of addresses that are forgotten: {connections:?}");
        let idle = self.addresses.values().filter(|address| address.connections == 0).count();
        assert_eq!(self.idle, idle, "addresses without a connection");
    }
}

/// Whether anything is counted by address.
pub(super) fn is_per_address(config: &Config) -> bool {
    config.max_connections_per_address > 0 || config.max_new_per_second_per_address > 0
}

/// This many in a second, evenly or all at once.
fn per_second(per_second: u32) -> Rate {
    Rate { per_second, burst: per_second }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

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
                assert_eq!(admission.arrived(&config, Some(one), 0), Ok(()));
            }
            assert_eq!(admission.arrived(&config, Some(one), 0), Err(Refusal::Crowded));
            assert_eq!(admission.arrived(&config, Some(other), 0), Ok(()));
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
                admitted += u64::from(admission.arrived(&config, Some(from("10.0.0.1")), ms).is_ok());
            }
        }
        assert!((100..=110).contains(&admitted), "{admitted} in 10 s");
        let config = Config { max_new_per_second: 10, ..Config::default() };
        let at_once = (0..100)
            .filter(|at| admission.arrived(&config, Some(from(&format!("10.1.0.{at}"))), 20_000).is_ok());
        assert_eq!(at_once.count(), 10);
    }

    #[test]
    fn neighbours_in_a_64_are_one_address() {
        let config = Config { max_connections_per_address: 1, ..Config::default() };
        let mut admission = Admission::default();
        assert_eq!(admission.arrived(&config, Some(from("2001:db8:1:2::1")), 0), Ok(()));
        assert_eq!(admission.arrived(&config, Some(from("2001:db8:1:2:3::9")), 0), Err(Refusal::Crowded));
        assert_eq!(admission.arrived(&config, Some(from("2001:db8:1:3::1")), 0), Ok(()));
        assert_eq!(admission.arrived(&config, Some(from("::ffff:10.0.0.1")), 0), Ok(()));
        assert_eq!(admission.arrived(&config, Some(from("10.0.0.1")), 0), Err(Refusal::Crowded));
    }

    #[test]
    fn addresses_that_are_gone_are_forgotten() {
        let config = Config { max_new_per_second_per_address: 1000, ..Config::default() };
        let mut admission = Admission::default();
        for at in 0..100_000_u32 {
            let peer = SocketAddr::new(IpAddr::V4(at.into()), 1);
            assert_eq!(admission.arrived(&config, Some(peer), u64::from(at)), Ok(()));
            admission.left(peer, u64::from(at));
            assert!(admission.addresses.len() <= 2 * MAX_IDLE + 2, "{}", admission.addresses.len());
        }
    }
}
