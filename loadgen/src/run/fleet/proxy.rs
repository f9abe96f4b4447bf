//! The header of the PROXY protocol, version 2, which tells a server behind a proxy whom it talks to. Pure.

use std::net::SocketAddr;

/// The first octets of every header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and the commands LOCAL and PROXY.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// TCP over IPv4 and over IPv6.
const TCP_4: u8 = 0x11;
const TCP_6: u8 = 0x21;

/// The header of a connection from `source` to `target`. Addresses of two families, or none: the command LOCAL, with which
/// the server takes the addresses of the socket.
pub(super) fn header(addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let ports = |source: u16, target: u16| [source.to_be_bytes(), target.to_be_bytes()].concat();
    let (command, family, body) = match addresses {
        Some((SocketAddr::V4(source), SocketAddr::V4(target))) => {
            let addresses = [source.ip().octets(), target.ip().octets()].concat();
            (PROXY, TCP_4, [addresses, ports(source.port(), target.port())].concat())
        }
        Some((SocketAddr::V6(source), SocketAddr::V6(target))) => {
            let addresses = [source.ip().octets(), target.ip().octets()].concat();
            (PROXY, TCP_6, [addresses, ports(source.port(), target.port())].concat())
        }
        _ => (LOCAL, 0, Vec::new()),
    };
    header.extend([command, family]);
    header.extend((body.len() as u16).to_be_bytes());
    header.extend(body);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_the_specification() {
        let pair = |a: &str, b: &str| Some((a.parse().unwrap(), b.parse().unwrap()));
        assert_eq!(
            header(pair("127.0.0.2:258", "127.0.0.1:772")),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x02\x7f\x00\x00\x01\x01\x02\x03\x04"
        );
        let six = header(pair("[::1]:1", "[::2]:2"));
        assert_eq!((&six[12..16], six.len()), (&b"\x21\x21\x00\x24"[..], 16 + 36));
        assert_eq!(header(None)[12..], *b"\x20\x00\x00\x00");
        assert_eq!(header(pair("[::1]:1", "127.0.0.1:2"))[12..], *b"\x20\x00\x00\x00");
    }
}
