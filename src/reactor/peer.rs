//! Who is at the other end of a connection, in few bytes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An address and a port: 20 bytes for each connection, where a `SocketAddr` takes 32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// IPv4 as `::ffff:a.b.c.d`.
    ip: [u8; 16],
    port: u16,
    /// It is counted by the limits for each address.
    is_counted: bool,
}

impl Peer {
    pub(super) fn new(address: SocketAddr, is_counted: bool) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self { ip: ip.octets(), port: address.port(), is_counted }
    }

    pub(super) fn address(self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }

    /// Whether it was counted; it is not from now on.
    pub(super) fn take_counted(&mut self) -> bool {
        std::mem::take(&mut self.is_counted)
    }
}
