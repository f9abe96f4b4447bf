//! The header of the PROXY protocol, versions 1 and 2: a proxy says first for whom it connects. Sections are those of
//! `proxy-protocol.txt` of `HAProxy`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};

/// Octets of a header of version 1 (section 2.1), its line end included.
const MAX_V1_HEADER: usize = 107;
/// Octets of a header of version 2. The addresses take 232; the rest is for extensions such as the fields of a client's
/// certificate, which are passed over.
const MAX_V2_HEADER: usize = 4096;
/// Octets that every header of version 2 has (section 2.2).
const V2_FIXED: usize = 16;
const V1_PREFIX: &[u8] = b"PROXY ";
/// Where version and command stand in a header of version 2, and how those of a LOCAL one look.
const V2_COMMAND: usize = 12;
const V2_LOCAL: u8 = 0x20;

/// Reads one header out of octets that arrive in any pieces. It holds no more than a header, and takes no octet behind it.
///
/// ```
/// use switchboard::proto::ProxyHeader;
///
/// let mut header = ProxyHeader::default();
/// assert_eq!(header.receive(b"PROXY TCP4 192.0.2.7 ")?, None);
/// let (taken, introduction) = header.receive(b"198.51.100.1 50000 443\r\nGET /")?.unwrap();
/// assert_eq!((taken, introduction.peer), (24, Some(([192, 0, 2, 7], 50_000).into())));
/// # Ok::<(), switchboard::proto::ProxyHeaderError>(())
/// ```
#[derive(Debug, Default)]
pub struct ProxyHeader {
    octets: Vec<u8>,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Introduction {
    /// For whom the proxy connects. `None`: for itself, as for a health check, or for somebody without an address.
    pub peer: Option<SocketAddr>,
}

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// The connection begins with something else, such as HTTP or TLS.
    Missing,
    /// It is longer than a header may be.
    TooLong,
    /// It is not well-formed.
    Malformed,
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "this port is for proxies: a header of the PROXY protocol must come first",
            Self::TooLong => "the header of the PROXY protocol is too long",
            Self::Malformed => "the header of the PROXY protocol is malformed",
        })
    }
}

impl std::error::Error for ProxyHeaderError {}

impl ProxyHeader {
    /// Takes the next octets of a connection. `None`: all were taken, and more must come. Otherwise the number of octets of `bytes`
    /// that belong to the header, and what it says; this is the last call then.
    ///
    /// # Errors
    /// As soon as the octets cannot become a header.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<(usize, Introduction)>, ProxyHeaderError> {
        let earlier = self.octets.len();
        self.octets.extend_from_slice(&bytes[..bytes.len().min(MAX_V2_HEADER + 1 - earlier)]);
        let Some(len) = self.header_len()? else { return Ok(None) };
        let introduction = understand(&self.octets[..len])?;
        self.octets = Vec::new();
        Ok(Some((len - earlier, introduction)))
    }

    /// How long the header is, once it is whole.
    fn header_len(&self) -> Result<Option<usize>, ProxyHeaderError> {
        let octets = self.octets.as_slice();
        let begins = |prefix: &[u8]| {
            let common = octets.len().min(prefix.len());
            octets[..common] == prefix[..common]
        };
        if begins(V1_PREFIX) {
            let line = &octets[..octets.len().min(MAX_V1_HEADER)];
            return match line.windows(2).position(|pair| pair == b"\r\n") {
                Some(at) => Ok(Some(at + 2)),
                None if octets.len() >= MAX_V1_HEADER => Err(ProxyHeaderError::TooLong),
                None => Ok(None),
            };
        }
        if !begins(v2::PROTOCOL_PREFIX) {
            return Err(ProxyHeaderError::Missing);
        }
        let Some(fixed) = octets.get(..V2_FIXED) else { return Ok(None) };
        let len = V2_FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if len > MAX_V2_HEADER {
            return Err(ProxyHeaderError::TooLong);
        }
        Ok((octets.len() >= len).then_some(len))
    }
}

/// Reads a header that is whole.
fn understand(header: &[u8]) -> Result<Introduction, ProxyHeaderError> {
    let peer = if header.starts_with(V1_PREFIX) { peer_v1(header)? } else { peer_v2(header)? };
    Ok(Introduction { peer: peer.map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port)) })
}

/// The source of a connection that is not the proxy's own, where it has an address.
type Source = Option<(IpAddr, u16)>;

fn peer_v1(header: &[u8]) -> Result<Source, ProxyHeaderError> {
    // 2.1: behind UNKNOWN everything up to the end of the line is ignored.
    let behind = header.strip_prefix(b"PROXY UNKNOWN");
    if behind.is_some_and(|behind| behind.starts_with(b" ") || behind == b"\r\n") {
        return Ok(None);
    }
    let header = v1::Header::try_from(header).map_err(|_| ProxyHeaderError::Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(pair) => Some((pair.source_address.into(), pair.source_port)),
        v1::Addresses::Tcp6(pair) => Some((pair.source_address.into(), pair.source_port)),
    })
}

fn peer_v2(header: &[u8]) -> Result<Source, ProxyHeaderError> {
    // 2.2: LOCAL is the proxy itself, such as a health check; the rest, the family included, is ignored.
    if header.get(V2_COMMAND) == Some(&V2_LOCAL) {
        return Ok(None);
    }
    let header = v2::Header::try_from(header).map_err(|_| ProxyHeaderError::Malformed)?;
    if header.protocol == v2::Protocol::Datagram {
        return Err(ProxyHeaderError::Malformed);
    }
    Ok(match header.addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        v2::Addresses::IPv4(pair) => Some((pair.source_address.into(), pair.source_port)),
        v2::Addresses::IPv6(pair) => Some((pair.source_address.into(), pair.source_port)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2 with `command` and `family` as they stand in its octets.
    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([command, family]);
        header.extend((payload.len() as u16).to_be_bytes());
        header.extend_from_slice(payload);
        header
    }

    fn v4_payload(extensions: &[u8]) -> Vec<u8> {
        [&[192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0x50, 1, 187][..], extensions].concat()
    }

    fn v6_payload(source: &str) -> Vec<u8> {
        let source: std::net::Ipv6Addr = source.parse().unwrap();
        let destination: std::net::Ipv6Addr = "2001:db8::2".parse().unwrap();
        [&source.octets()[..], &destination.octets(), &[0xc3, 0x50], &[1, 187]].concat()
    }

    /// Headers that are right, each with whom it introduces.
    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        let unix = [0x2f; 216];
        let extensions = [&[0x20, 0, 200][..], &[7; 200]].concat();
        let most = vec![0; MAX_V2_HEADER - V2_FIXED - 12];
        vec![
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n".to_vec(), Some("192.0.2.7:50000")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::2 50000 443\r\n".to_vec(), Some("[2001:db8::7]:50000")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(), Some("192.0.2.7:1")),
            (longest.into(), Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 what it says here is ignored\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4_payload(b"")), Some("192.0.2.7:50000")),
            (v2(0x21, 0x11, &v4_payload(&extensions)), Some("192.0.2.7:50000")),
            (v2(0x21, 0x11, &v4_payload(&most)), Some("192.0.2.7:50000")),
            (v2(0x21, 0x21, &v6_payload("2001:db8::7")), Some("[2001:db8::7]:50000")),
            (v2(0x21, 0x21, &v6_payload("::ffff:192.0.2.7")), Some("192.0.2.7:50000")),
            (v2(0x20, 0x11, &v4_payload(b"")), None),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, b""), None),
            (v2(0x20, 0xff, b"what it says here is ignored"), None),
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x00, b"what it says here is ignored"), None),
            (v2(0x21, 0x31, &unix), None),
        ]
    }

    /// Receives `octets` in two pieces; returns how many of them are the header's.
    fn receive(octets: &[u8], cut: usize) -> Result<Option<(usize, Introduction)>, ProxyHeaderError> {
        let mut header = ProxyHeader::default();
        let (first, second) = octets.split_at(cut);
        if let Some(whole) = header.receive(first)? {
            return Ok(Some(whole));
        }
        Ok(header.receive(second)?.map(|(taken, introduction)| (cut + taken, introduction)))
    }

    #[test]
    fn px_09_a_header_is_read_in_any_cut_and_nothing_behind_it() {
        for (header, peer) in good() {
            let peer = peer.map(|peer| peer.parse().unwrap());
            for behind in [&b""[..], b"GET / HTTP/1.1\r\n", b"\r\n\r\n", b"\x16\x03\x01"] {
                let octets = [&header[..], behind].concat();
                for cut in 0..=octets.len() {
                    let whole = Some((header.len(), Introduction { peer }));
                    assert_eq!(receive(&octets, cut), Ok(whole), "{header:?} cut at {cut}");
                }
            }
            let mut each = ProxyHeader::default();
            for (at, octet) in header.iter().enumerate() {
                let received = each.receive(&[*octet]).unwrap();
                assert_eq!(received, (at + 1 == header.len()).then_some((1, Introduction { peer })));
            }
        }
    }

    #[test]
    fn px_09_a_header_that_is_not_whole_is_waited_for() {
        for (header, _) in good() {
            for len in 0..header.len() {
                assert_eq!(receive(&header[..len], len / 2), Ok(None), "{len} of {header:?}");
            }
        }
    }

    #[test]
    fn px_09_what_is_no_header_is_refused_with_its_first_wrong_octet() {
        let starts: [&[u8]; 8] = [
            b"GET / HTTP/1.1",
            b"\x16\x03\x01",
            b"PROXZ",
            b"PROXY\t",
            b"proxy ",
            b"\0",
            b"\r\n\r\n\0\r\nQUIX",
            b" ",
        ];
        for start in starts {
            let mut header = ProxyHeader::default();
            let ends: Vec<_> = start.iter().map(|octet| header.receive(&[*octet])).collect();
            let wrong = ends.iter().position(Result::is_err).unwrap_or_else(|| panic!("{start:?}"));
            assert_eq!(ends[wrong], Err(ProxyHeaderError::Missing), "{start:?}");
            let is_prefix =
                |whole: &[u8]| start[..wrong].len() <= whole.len() && whole.starts_with(&start[..wrong]);
            assert!(is_prefix(V1_PREFIX) || is_prefix(v2::PROTOCOL_PREFIX), "{start:?}");
        }
    }

    #[test]
    fn px_09_malformed_and_lying_headers_are_refused() {
        let lying = |family: u8, len: usize| v2(0x21, family, &vec![1; len]);
        let mut bad: Vec<Vec<u8>> = [
            "PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443 1\r\n",
            "PROXY TCP4 192.0.2.7  198.51.100.1 50000 443\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.1 50000 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 050 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::2 50000 443\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 50000 443\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 50000 443\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\rX\r\n",
        ]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
        // Every length that is too short for the addresses; another version, command, family and protocol.
        bad.extend((0..12).map(|len| lying(0x11, len)));
        bad.extend((0..36).map(|len| lying(0x21, len)));
        bad.extend([0, 100, 215].map(|len| lying(0x31, len)));
        bad.extend([0x01, 0x11, 0x31, 0x22, 0x2f].map(|command| v2(command, 0x11, &v4_payload(b""))));
        bad.extend([0x41, 0xf1, 0x13, 0x1f].map(|family| v2(0x21, family, &v4_payload(b""))));
        bad.push(v2(0x21, 0x12, &v4_payload(b"")));
        for header in bad {
            for cut in 0..=header.len() {
                let shown = String::from_utf8_lossy(&header);
                assert_eq!(receive(&header, cut), Err(ProxyHeaderError::Malformed), "{shown}");
            }
        }
    }

    #[test]
    fn px_09_an_endless_header_is_refused_at_its_limit() {
        let mut v1 = ProxyHeader::default();
        assert_eq!(v1.receive(b"PROXY UNKNOWN "), Ok(None));
        assert_eq!(v1.receive(&[b'x'; MAX_V1_HEADER - 14 - 1]), Ok(None));
        assert_eq!(v1.receive(b"x"), Err(ProxyHeaderError::TooLong));
        // A line end that comes one octet too late.
        let late = [b"PROXY UNKNOWN ", &[b'x'; MAX_V1_HEADER - 14 - 1][..], b"\r\n"].concat();
        assert_eq!(receive(&late, 20), Err(ProxyHeaderError::TooLong));
        for len in [MAX_V2_HEADER - V2_FIXED + 1, usize::from(u16::MAX)] {
            let long = v2(0x21, 0x11, &v4_payload(&vec![0; len - 12]));
            assert_eq!(receive(&long, V2_FIXED), Err(ProxyHeaderError::TooLong), "before it has come");
        }
    }
}
