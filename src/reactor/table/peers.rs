//! Who is at the other end of each connection, in few bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::reactor::slot::Slot;

/// Addresses by slot: 8 bytes for each connection, where a `SocketAddr` takes 32; IPv6 costs more.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Vec<Peer>,
    /// Addresses that do not fit.
    long: BTreeMap<Slot, Ipv6Addr>,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    /// Meaningless when the address is among the long ones.
    ip: Ipv4Addr,
    port: u16,
    is_long: bool,
    /// It is counted by the limits for each address.
    is_counted: bool,
}

impl Peers {
    /// Notes who is at the other end of the connection in a slot.
    pub(super) fn set(&mut self, slot: Slot, address: SocketAddr, is_counted: bool) {
        let (ip, is_long) = match address.ip().to_canonical() {
            IpAddr::V4(ip) => (ip, false),
            IpAddr::V6(ip) => {
                self.long.insert(slot, ip);
                (Ipv4Addr::UNSPECIFIED, true)
            }
        };
        let peer = Peer { ip, port: address.port(), is_long, is_counted };
        let at = slot.index();
        if at >= self.slots.len() {
            self.slots.resize(at + 1, peer);
        }
        self.slots[at] = peer;
    }

    /// It turns out who is at the other end of a connection that is not counted.
    pub(super) fn replace(&mut self, slot: Slot, address: SocketAddr) {
        debug_assert!(self.counted(slot).is_none(), "{slot:?} is counted by its address");
        self.long.remove(&slot);
        self.set(slot, address, false);
    }

    /// The connection is counted by its address from now on.
    pub(super) fn count(&mut self, slot: Slot) {
        self.slots[slot.index()].is_counted = true;
    }

    /// The address of the peer in a slot.
    pub(super) fn address(&self, slot: Slot) -> SocketAddr {
        let peer = &self.slots[slot.index()];
        let long = self.long.get(&slot).filter(|_| peer.is_long);
        SocketAddr::new(long.map_or(IpAddr::V4(peer.ip), |&ip| IpAddr::V6(ip)), peer.port)
    }

    /// The connection in a slot is gone. Returns its address if it was counted.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<SocketAddr> {
        let address = self.address(slot);
        self.long.remove(&slot);
        let peer = &mut self.slots[slot.index()];
        peer.is_long = false;
        std::mem::take(&mut peer.is_counted).then_some(address)
    }

    /// The address of the peer in a slot, if it is counted.
    pub(super) fn counted(&self, slot: Slot) -> Option<SocketAddr> {
        self.slots[slot.index()].is_counted.then(|| self.address(slot))
    }

    /// Whether there is nothing left of connections that are gone; `slots` are those in use.
    pub(super) fn check(&self, slots: impl Iterator<Item = Slot>) {
        let (mut long, mut counted) = (0, 0);
        for slot in slots {
            let peer = self.slots[slot.index()];
            assert_eq!(peer.is_long, self.long.contains_key(&slot), "the IPv6 address of {slot:?}");
            long += usize::from(peer.is_long);
            counted += usize::from(peer.is_counted);
        }
        assert_eq!(self.long.len(), long, "IPv6 addresses of connections that are gone");
        let all = self.slots.iter().filter(|peer| peer.is_counted).count();
        assert_eq!(all, counted, "a connection that is gone is counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_went_in_and_takes_eight_bytes() {
        assert_eq!(size_of::<Peer>(), 8);
        let mut peers = Peers::default();
        for (index, address) in [(3, "10.0.0.1:5"), (0, "[2001:db8::1]:6"), (3, "[::1]:7"), (0, "1.2.3.4:8")]
        {
            let address: SocketAddr = address.parse().unwrap();
            let slot = Slot::new(index);
            peers.set(slot, address, index == 3);
            assert_eq!(peers.address(slot), address);
            assert_eq!(peers.remove(slot), (index == 3).then_some(address));
            assert_eq!(peers.remove(slot), None, "once");
        }
        assert!(peers.long.is_empty());
    }

    #[test]
    fn an_address_may_be_replaced_by_one_of_the_other_family() {
        let mut peers = Peers::default();
        let slot = Slot::new(0);
        for address in ["10.0.0.1:5", "[2001:db8::1]:6", "[2001:db8::2]:6", "1.2.3.4:8"] {
            let address: SocketAddr = address.parse().unwrap();
            peers.set(slot, ([10, 0, 0, 1], 1).into(), false);
            peers.replace(slot, address);
            assert_eq!((peers.address(slot), peers.counted(slot)), (address, None));
            peers.check([slot].into_iter());
            peers.count(slot);
            assert_eq!(peers.counted(slot), Some(address));
            assert_eq!(peers.remove(slot), Some(address));
        }
        assert!(peers.long.is_empty());
    }
}
