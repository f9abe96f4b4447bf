//! Who is at the other end of each connection, in few bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Addresses by slot: 8 bytes for each connection, where a `SocketAddr` takes 32; IPv6 costs more.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Vec<Peer>,
    /// Addresses that do not fit.
    long: BTreeMap<u32, Ipv6Addr>,
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
    pub(super) fn set(&mut self, index: u32, address: SocketAddr, is_counted: bool) {
        let (ip, is_long) = match address.ip().to_canonical() {
            IpAddr::V4(ip) => (ip, false),
            IpAddr::V6(ip) => {
                self.long.insert(index, ip);
                (Ipv4Addr::UNSPECIFIED, true)
            }
        };
        let peer = Peer { ip, port: address.port(), is_long, is_counted };
        let at = index as usize;
        if at >= self.slots.len() {
            self.slots.resize(at + 1, peer);
        }
        self.slots[at] = peer;
    }

    /// Who was noted.
    pub(super) fn address(&self, index: u32) -> SocketAddr {
        let peer = &self.slots[index as usize];
        let long = self.long.get(&index).filter(|_| peer.is_long);
        SocketAddr::new(long.map_or(IpAddr::V4(peer.ip), |&ip| IpAddr::V6(ip)), peer.port)
    }

    /// The connection in a slot is gone. Gives its address if it was counted.
    pub(super) fn remove(&mut self, index: u32) -> Option<SocketAddr> {
        let address = self.address(index);
        self.long.remove(&index);
        let peer = &mut self.slots[index as usize];
        peer.is_long = false;
        std::mem::take(&mut peer.is_counted).then_some(address)
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
            peers.set(index, address, index == 3);
            assert_eq!(peers.address(index), address);
            assert_eq!(peers.remove(index), (index == 3).then_some(address));
            assert_eq!(peers.remove(index), None, "once");
        }
        assert!(peers.long.is_empty());
    }
}
