//! What limits for each address count by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, or the /64 of an IPv6 address, which is what one customer has. `::ffff:a.b.c.d` is IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressPrefix(u64);

impl From<IpAddr> for AddressPrefix {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(address.to_bits())),
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64 | 1 << 63),
        }
    }
}

/// `192.0.2.7`, or `2001:db8:1:2::/64`.
impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(address) = u32::try_from(self.0) {
            return Ipv4Addr::from_bits(address).fmt(f);
        }
        // The first bit says that it is IPv6. It is part of the address in e000::/3 alone, which has fe80::/10 and fc00::/7;
        // nothing else behind a first bit of 1 is assigned.
        let bits = if self.0 >> 61 == 0b111 { self.0 } else { self.0 & !(1 << 63) };
        write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_an_ipv4_address_or_a_64_of_ipv6() {
        let of = |address: &str| AddressPrefix::from(address.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:3::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_ne!(of("0.0.0.1"), of("::1"));
        assert_eq!(of("::ffff:10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(of("fe80::1").to_string(), "fe80::/64");
        assert_eq!(of("2001:db8:1:2:3::9").to_string(), "2001:db8:1:2::/64");
        assert_eq!(of("::1").to_string(), "::/64");
    }
}
