//! Where connections come from.

use std::net::IpAddr;

/// An IPv4 address, or an IPv6 /64: what one person is likely to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::chat) struct Address(u64);

impl Address {
    pub(in crate::chat) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(address.to_bits())),
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64 | 1 << 63),
        }
    }
}
