//! Who asks when proxies stand between: `X-Forwarded-For` and its kin, and `Forwarded` (RFC 7239).
//!
//! Each proxy adds whom it speaks for behind what was there already, and anybody can send such fields. So they are read from their end,
//! and no further than the proxies that add to them are trusted: the address that counts is the rightmost one that is no trusted
//! proxy's.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::authority::Authority;
use super::head::{Fields, list_elements};

/// The proxies whose word counts.
///
/// ```
/// use switchboard::proto::TrustedProxies;
///
/// let mut proxies = TrustedProxies::default();
/// proxies.trust("10.0.0.0/8")?;
/// proxies.trust("2001:db8::7")?;
/// assert!(proxies.contains([10, 1, 2, 3].into()) && !proxies.contains([11, 0, 0, 1].into()));
/// # Ok::<(), switchboard::proto::InvalidProxy>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

/// Text that names no addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidProxy(pub String);

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is neither an address nor a network; write an address such as 192.0.2.1 or 2001:db8::1, or a network such as \
             10.0.0.0/8 or fd00::/8",
            self.0
        )
    }
}

impl std::error::Error for InvalidProxy {}

impl TrustedProxies {
    /// Adds an address, or a network in CIDR notation.
    ///
    /// # Errors
    /// [`InvalidProxy`] when the text is neither.
    pub fn trust(&mut self, text: &str) -> Result<(), InvalidProxy> {
        let text = text.trim();
        let network = match text.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address)),
            Err(_) => text.parse().ok(),
        };
        self.networks.push(canonical(network.ok_or_else(|| InvalidProxy(text.to_owned()))?));
        Ok(())
    }

    /// Whether an address is one of theirs. `::ffff:a.b.c.d` is IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        !self.networks.is_empty() && {
            let address = address.to_canonical();
            self.networks.iter().any(|network| network.contains(&address))
        }
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }
}

/// A network of IPv4 addresses that is written in IPv6.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, prefix_len)| Ipv4Net::new(address, prefix_len).ok()).map_or(network, IpNet::V4)
}

/// What trusted proxies say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forwarded<'h> {
    /// Who asks; port 0 where it is not said. The nearest proxy itself where it says nothing.
    pub peer: SocketAddr,
    /// Host and port that the client asked for, where that is said.
    pub host: Option<&'h str>,
    /// Whether the client spoke TLS, where that is said.
    pub is_secure: Option<bool>,
}

/// `X-Forwarded-For` and `Forwarded` name different clients. A proxy sets one of them and passes the other as it came, so one of
/// them is forged, and nobody can know which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardedConflict;

impl fmt::Display for ForwardedConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("X-Forwarded-For and Forwarded name different clients; the proxy must remove the one that it does not set")
    }
}

impl std::error::Error for ForwardedConflict {}

/// What a walk from proxy to proxy has found.
#[derive(Debug, Clone, Copy)]
struct Walk {
    peer: SocketAddr,
    /// Elements of the list that were believed.
    hops: usize,
}

impl Walk {
    /// Goes from `near`, which is trusted, through the elements from the last to the first. It ends at the first address that is no
    /// trusted proxy's. An element that names no address ends it too, at the proxy that added the element: what stands before it is
    /// hearsay, and the proxy at least is real.
    fn new(
        near: SocketAddr,
        nodes: impl Iterator<Item = Option<SocketAddr>>,
        trusted: &TrustedProxies,
    ) -> Self {
        let mut walk = Self { peer: near, hops: 0 };
        for node in nodes {
            let Some(node) = node else { break };
            walk = Self { peer: node, hops: walk.hops + 1 };
            if !trusted.contains(node.ip()) {
                break;
            }
        }
        walk
    }
}

impl<'h> Forwarded<'h> {
    /// Reads the fields of a request that came from `near`, a proxy that is trusted. `trusted` are those beyond it.
    ///
    /// # Errors
    /// [`ForwardedConflict`].
    pub fn read(
        fields: Fields<'h>,
        near: SocketAddr,
        trusted: &TrustedProxies,
    ) -> Result<Self, ForwardedConflict> {
        let elements: Vec<&[u8]> = fields.all("x-forwarded-for").flat_map(list_elements).collect();
        let nodes = elements.iter().rev().map(|element| node(std::str::from_utf8(element).ok()?));
        let listed = (!elements.is_empty()).then(|| Walk::new(near, nodes, trusted));

        let lines: Vec<&[u8]> = fields.all("forwarded").collect();
        let pairs: Vec<Option<Element<'h>>> = lines
            .iter()
            .rev()
            .flat_map(|line| elements_from_the_end(line))
            .filter(|element| !element.trim_ascii().is_empty())
            .map(Element::parse)
            .collect();
        let nodes = pairs.iter().map(|element| node(element.as_ref()?.node?));
        let standard = (!pairs.is_empty()).then(|| Walk::new(near, nodes, trusted));

        let walk = match (listed, standard) {
            (Some(one), Some(other)) if one.peer.ip() != other.peer.ip() => return Err(ForwardedConflict),
            (Some(walk), _) | (None, Some(walk)) => walk,
            (None, None) => Walk { peer: near, hops: 0 },
        };
        let said = standard.and_then(|walk| pairs.get(walk.hops.max(1) - 1).copied().flatten());
        let host = from_the_end(fields, "x-forwarded-host", walk.hops).or(said.and_then(|said| said.host));
        let proto = from_the_end(fields, "x-forwarded-proto", walk.hops).or(said.and_then(|said| said.proto));
        Ok(Self {
            peer: walk.peer,
            host: host.filter(|host| !host.is_empty() && Authority::parse(host).is_some()),
            is_secure: proto.and_then(is_secure),
        })
    }
}

/// What the proxy says that the client came to: as far from the end of its list as the client is. A shorter list was set by a proxy
/// further out.
fn from_the_end<'h>(fields: Fields<'h>, name: &str, hops: usize) -> Option<&'h str> {
    let list: Vec<&[u8]> = fields.all(name).flat_map(list_elements).collect();
    let at = list.len().saturating_sub(hops.max(1));
    std::str::from_utf8(list.get(at)?).ok()
}

fn is_secure(proto: &str) -> Option<bool> {
    match proto.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

/// An address with or without a port: `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:80`. A port that is
/// hidden (RFC 7239 6.3: `_gazonk`) is 0. `None`: it is no address, but `unknown` or a name (RFC 7239 6.2, 6.3), or nothing at all.
fn node(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let (address, port) = if let Ok(address) = text.parse::<IpAddr>() {
        (address, 0)
    } else if let Ok(address) = text.parse::<SocketAddr>() {
        (address.ip(), address.port())
    } else {
        let bare = match text.rsplit_once(':') {
            Some((bare, port)) if port.starts_with('_') => bare,
            _ => text,
        };
        let address = match bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')) {
            Some(v6) => IpAddr::V6(v6.parse::<Ipv6Addr>().ok()?),
            None => IpAddr::V4(bare.parse().ok()?),
        };
        (address, 0)
    };
    Some(SocketAddr::new(address.to_canonical(), port))
}

/// One element of `Forwarded`: what one proxy says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Element<'h> {
    node: Option<&'h str>,
    host: Option<&'h str>,
    proto: Option<&'h str>,
}

impl<'h> Element<'h> {
    /// `None` when it is malformed, which says nothing of its neighbours.
    fn parse(element: &'h [u8]) -> Option<Self> {
        let text = std::str::from_utf8(element).ok()?;
        let mut parsed = Self::default();
        // RFC 7239 4: no value that is of use here has a `;` in it, quoted or not.
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            let value = unquoted(value)?;
            let known = match name.to_ascii_lowercase().as_str() {
                "for" => &mut parsed.node,
                "host" => &mut parsed.host,
                "proto" => &mut parsed.proto,
                _ => continue,
            };
            if known.replace(value).is_some() {
                return None;
            }
        }
        Some(parsed)
    }
}

/// A value without its quotes. An escape within would hide what the value is: no address, host or scheme needs one.
fn unquoted(value: &str) -> Option<&str> {
    let bare = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!bare.contains(['"', '\\'])).then_some(bare)
}

/// The elements of a line from the last to the first, cut at commas outside of quotes. From the end: a quote that a client opens and
/// never closes cannot swallow what a proxy adds behind it.
fn elements_from_the_end(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    line.rsplit(move |&octet| {
        is_quoted ^= octet == b'"';
        octet == b',' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Limits;
    use crate::proto::head::with_request;

    fn trusted(list: &[&str]) -> TrustedProxies {
        let mut proxies = TrustedProxies::default();
        for text in list {
            proxies.trust(text).unwrap();
        }
        proxies
    }

    /// What the fields mean that come from 10.0.0.1 where 10.0.0.0/8 and 2001:db8:1::/48 are trusted: peer, host, whether TLS.
    fn read(fields: &[&str]) -> Result<(String, Option<String>, Option<bool>), ForwardedConflict> {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            fields.iter().map(|f| format!("{f}\r\n")).collect::<String>()
        );
        with_request(head.as_bytes(), &Limits::default(), |head| {
            let proxies = trusted(&["10.0.0.0/8", "2001:db8:1::/48"]);
            let forwarded = Forwarded::read(head.unwrap().fields, ([10, 0, 0, 1], 99).into(), &proxies)?;
            Ok((forwarded.peer.to_string(), forwarded.host.map(str::to_owned), forwarded.is_secure))
        })
    }

    fn peer(fields: &[&str]) -> String {
        read(fields).unwrap().0
    }

    #[test]
    fn a_network_is_trusted_in_every_way_of_writing_it() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.9.9.9/8", "10.0.0.1", "9.255.255.255"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1/32", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("::ffff:192.0.2.0/120", "192.0.2.77", "192.0.3.1"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "127.0.0.1"),
            ("0.0.0.0/0", "255.1.1.1", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
        ] {
            let proxies = trusted(&[text]);
            assert!(proxies.contains(inside.parse().unwrap()), "{text}: {inside}");
            assert!(!proxies.contains(outside.parse().unwrap()), "{text}: {outside}");
        }
        assert!(!TrustedProxies::default().contains([127, 0, 0, 1].into()));
        for bad in ["", "10.0.0.0/33", "10.0.0", "proxy.example", "10.0.0.1:80", "::/129", "10.0.0.0/-1", "*"]
        {
            assert_eq!(TrustedProxies::default().trust(bad), Err(InvalidProxy(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn px_03_the_rightmost_address_that_is_not_trusted_counts() {
        for (fields, expected) in [
            (&["X-Forwarded-For: 192.0.2.7"][..], "192.0.2.7:0"),
            (&["X-Forwarded-For: 203.0.113.9, 192.0.2.7"], "192.0.2.7:0"),
            (&["X-Forwarded-For: 203.0.113.9, 192.0.2.7, 10.0.0.2,10.0.0.3"], "192.0.2.7:0"),
            (
                &[
                    "X-Forwarded-For: 203.0.113.9",
                    "x-forwarded-for: 192.0.2.7 , 10.0.0.2",
                    "X-Forwarded-For: 10.0.0.3",
                ],
                "192.0.2.7:0",
            ),
            (&["X-Forwarded-For: 10.0.0.9, 10.0.0.8"], "10.0.0.9:0"),
            (&["X-Forwarded-For: 2001:db8::7, 2001:db8:1::1"], "[2001:db8::7]:0"),
            (&["X-Forwarded-For: 192.0.2.7:5000"], "192.0.2.7:5000"),
            (&["X-Forwarded-For: [2001:db8::7]:5000"], "[2001:db8::7]:5000"),
            (&["X-Forwarded-For: [2001:db8::7]"], "[2001:db8::7]:0"),
            (&["X-Forwarded-For: ::ffff:192.0.2.7"], "192.0.2.7:0"),
            (&["X-Forwarded-For: 192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7:0"),
            (&["X-Forwarded-For: 192.0.2.7:5000, 10.0.0.2:9999"], "192.0.2.7:5000"),
            (&["Connection: close, X-Forwarded-For", "X-Forwarded-For: 192.0.2.7"], "192.0.2.7:0"),
            (&["X-Forwarded-For: 203.0.113.9,,192.0.2.7,,"], "192.0.2.7:0"),
            (&["X-Real-IP: 192.0.2.7"], "10.0.0.1:99"),
            (&["X-Forwarded-For:"], "10.0.0.1:99"),
            (&[], "10.0.0.1:99"),
        ] {
            assert_eq!(peer(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn px_10_what_is_no_address_ends_the_walk_at_the_proxy_that_wrote_it() {
        for (fields, expected) in [
            ("X-Forwarded-For: 203.0.113.9, unknown", "10.0.0.1:99"),
            ("X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.2", "10.0.0.2:0"),
            ("X-Forwarded-For: unknown, 192.0.2.7", "192.0.2.7:0"),
            ("X-Forwarded-For: 192.0.2", "10.0.0.1:99"),
            ("X-Forwarded-For: 192.0.2.7:65536", "10.0.0.1:99"),
            ("X-Forwarded-For: 192.0.2.7:", "10.0.0.1:99"),
            ("X-Forwarded-For: 2001:db8::7%eth0", "10.0.0.1:99"),
            ("X-Forwarded-For: 192.0.2.7 10.0.0.2", "10.0.0.1:99"),
            ("X-Forwarded-For: 127.1", "10.0.0.1:99"),
            ("X-Forwarded-For: 0300.0.2.7", "10.0.0.1:99"),
            ("Forwarded: for=203.0.113.9, for=_hidden", "10.0.0.1:99"),
            ("Forwarded: for=203.0.113.9, proto=https", "10.0.0.1:99"),
            ("Forwarded: for=203.0.113.9, for=unknown, for=10.0.0.2", "10.0.0.2:0"),
            ("Forwarded: for=203.0.113.9, for=192.0.2.7;for=10.0.0.2", "10.0.0.1:99"),
            ("Forwarded: for=\"192.0.2.7", "10.0.0.1:99"),
            ("Forwarded: for=\"192.0.2.\\7\"", "10.0.0.1:99"),
            ("Forwarded: 192.0.2.7", "10.0.0.1:99"),
        ] {
            assert_eq!(peer(&[fields]), expected, "{fields:?}");
        }
    }

    #[test]
    fn px_10_the_standard_field_is_read_in_every_form() {
        for (fields, expected) in [
            (&["Forwarded: for=192.0.2.7"][..], "192.0.2.7:0"),
            (&["Forwarded: For=\"[2001:db8::7]:4711\""], "[2001:db8::7]:4711"),
            (&["Forwarded: for=\"[2001:db8::7]:_port\""], "[2001:db8::7]:0"),
            (&["Forwarded: for=\"192.0.2.7:4711\";proto=http;by=203.0.113.43"], "192.0.2.7:4711"),
            (&["Forwarded: for=192.0.2.7:4711 ; proto=http"], "192.0.2.7:4711"),
            (&["Forwarded: for=203.0.113.9, for=192.0.2.7, for=10.0.0.2"], "192.0.2.7:0"),
            (&["Forwarded: for=192.0.2.7", "Forwarded: for=10.0.0.2"], "192.0.2.7:0"),
            (&["Forwarded: for=192.0.2.7;x=\"a, b\", for=10.0.0.2"], "192.0.2.7:0"),
            // A quote that the client has left open.
            (&["Forwarded: for=\"x, for=192.0.2.7"], "192.0.2.7:0"),
            (&["Forwarded: x=\"\\", "Forwarded: for=192.0.2.7"], "192.0.2.7:0"),
        ] {
            assert_eq!(peer(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn px_04_two_fields_that_name_two_clients_are_refused() {
        assert_eq!(peer(&["X-Forwarded-For: 192.0.2.7:1", "Forwarded: for=\"192.0.2.7:2\""]), "192.0.2.7:1");
        for forged in [
            "Forwarded: for=203.0.113.9",
            "Forwarded: for=_x",
            "Forwarded: nonsense",
            "Forwarded: proto=https",
        ] {
            assert_eq!(read(&["X-Forwarded-For: 192.0.2.7", forged]), Err(ForwardedConflict), "{forged}");
        }
        assert_eq!(
            read(&["Forwarded: for=192.0.2.7", "X-Forwarded-For: 203.0.113.9"]),
            Err(ForwardedConflict)
        );
    }

    #[test]
    fn px_07_host_and_scheme_are_those_that_the_client_came_to() {
        for (fields, host, is_secure) in [
            (
                &["X-Forwarded-Host: chat.example:8443", "X-Forwarded-Proto: https"][..],
                Some("chat.example:8443"),
                Some(true),
            ),
            (
                &["X-Forwarded-For: 192.0.2.7", "X-Forwarded-Host: evil, chat.example"],
                Some("chat.example"),
                None,
            ),
            (
                &[
                    "X-Forwarded-For: 192.0.2.7, 10.0.0.2",
                    "X-Forwarded-Host: evil, chat.example, inner",
                    "X-Forwarded-Proto: https, http",
                ],
                Some("chat.example"),
                Some(true),
            ),
            (
                &["X-Forwarded-For: 192.0.2.7, 10.0.0.2", "X-Forwarded-Host: chat.example"],
                Some("chat.example"),
                None,
            ),
            (
                &["Forwarded: for=192.0.2.7;host=chat.example;proto=https, for=10.0.0.2;host=inner"],
                Some("chat.example"),
                Some(true),
            ),
            (&["Forwarded: host=\"chat.example:80\";proto=WS"], Some("chat.example:80"), Some(false)),
            (&["X-Forwarded-Host: chat.example/x", "X-Forwarded-Proto: ftp"], None, None),
            (&["X-Forwarded-Host: "], None, None),
        ] {
            let (_, said_host, said_secure) = read(fields).unwrap();
            assert_eq!((said_host.as_deref(), said_secure), (host, is_secure), "{fields:?}");
        }
    }
}
