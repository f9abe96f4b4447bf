//! Host and port, as they stand in a Host field, in a request-target or in an origin (RFC 3986 3.2).

use std::net::Ipv6Addr;

/// `host [":" port]` without userinfo, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None` when the text does not follow the grammar of RFC 3986 3.2.2 and 3.2.3, or the port is above 65535. The host may be
    /// empty, and so may the port behind a colon.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = if text.starts_with('[') {
            text.split_at_checked(text.find(']')? + 1)?
        } else {
            text.split_at(text.find(':').unwrap_or(text.len()))
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|octet| octet.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        is_host(host).then_some(Self { host, port })
    }

    pub(super) fn port(self) -> Option<u16> {
        self.port
    }

    /// The host in the one form in which hosts are compared: lower case, without the dot that ends an absolute name, an IPv6 address
    /// in brackets in its canonical form (RFC 5952).
    pub(super) fn canonical_host(self) -> String {
        match ipv6(self.host) {
            Some(address) => format!("[{address}]"),
            None => self.host.strip_suffix('.').unwrap_or(self.host).to_ascii_lowercase(),
        }
    }
}

/// RFC 3986 3.2.2: an IPv6 address in brackets, or a name (an IPv4 address is one by its octets).
fn is_host(host: &str) -> bool {
    if host.starts_with('[') {
        return ipv6(host).is_some();
    }
    let mut octets = host.bytes();
    while let Some(octet) = octets.next() {
        let is_valid = match octet {
            b'%' => {
                let digits = [octets.next(), octets.next()];
                digits.iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            }
            _ => octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&octet),
        };
        if !is_valid {
            return false;
        }
    }
    true
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_a_port_that_is_a_number() {
        for (text, host, port) in [
            ("a.example", "a.example", None),
            ("A.Example.:80", "a.example", Some(80)),
            ("a:", "a", None),
            ("127.0.0.1:65535", "127.0.0.1", Some(65_535)),
            ("[::1]", "[::1]", None),
            ("[0:0::1]:8080", "[::1]", Some(8080)),
            ("", "", None),
            (":8080", "", Some(8080)),
            ("a%2Db_c", "a%2db_c", None),
        ] {
            let authority = Authority::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((authority.canonical_host().as_str(), authority.port()), (host, port), "{text}");
        }
        for text in [
            "a:b",
            "a:80:81",
            "a:-1",
            "a:+1",
            "a:65536",
            "a: 80",
            "::1",
            "[::1",
            "::1]",
            "[::1]80",
            "[::g]",
            "[]",
            "a b",
            "a/b",
            "a@b",
            "a?b",
            "a#b",
            "a%2",
            "a%zz",
            "[v1.a]",
            "[fe80::1%25eth0]",
            "\u{e9}",
        ] {
            assert!(Authority::parse(text).is_none(), "{text}");
        }
    }
}
