//! Octets as a header of the PROXY protocol: where they are cut does not matter, and nothing behind the header is taken.

use std::net::SocketAddr;

use switchboard::proto::{ProxyHeader, ProxyHeaderError};

use super::source::{Source, pieces};

type Outcome = Result<Option<(usize, Option<SocketAddr>)>, ProxyHeaderError>;

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let cuts = source.cuts();
    let bytes = source.take_rest();
    let whole = receive(bytes, &[]);
    assert_eq!(receive(bytes, &cuts), whole, "cut at {cuts:?}");
    let each: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(receive(bytes, &each), whole, "cut everywhere");
    match whole {
        Ok(Some((len, peer))) => check_naively(&bytes[..len], peer),
        Ok(None) => assert!(bytes.len() < 4096, "{} octets are waited for", bytes.len()),
        Err(_) => {}
    }
}

/// How many octets are the header's, and whom it introduces.
fn receive(bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut header = ProxyHeader::default();
    for piece in pieces(bytes.len(), cuts) {
        let start = piece.start;
        if let Some((taken, introduction)) = header.receive(&bytes[piece.clone()])? {
            assert!(taken <= piece.len() && start + taken > 0);
            return Ok(Some((start + taken, introduction.peer)));
        }
    }
    Ok(None)
}

fn check_naively(header: &[u8], peer: Option<SocketAddr>) {
    if let Some(line) = header.strip_prefix(b"PROXY ") {
        let line = line.strip_suffix(b"\r\n").expect("a line");
        assert!(header.len() <= 107 && !line.windows(2).any(|pair| pair == b"\r\n"));
        let words: Vec<&[u8]> = line.split(|octet| *octet == b' ').collect();
        let Some(peer) = peer else { return assert_eq!(words[0], b"UNKNOWN") };
        let word = |at: usize| std::str::from_utf8(words[at]).expect("text");
        let address: std::net::IpAddr = word(1).parse().expect("an address");
        assert_eq!(address.is_ipv4(), word(0) == "TCP4");
        assert_eq!(peer, SocketAddr::new(address.to_canonical(), word(3).parse().expect("a port")));
        return;
    }
    let len = usize::from(u16::from_be_bytes([header[14], header[15]]));
    assert_eq!(header.len(), 16 + len);
    let source: Option<(std::net::IpAddr, usize)> = match (header[12], header[13] >> 4) {
        (0x21, 1) => Some((<[u8; 4]>::try_from(&header[16..20]).expect("four octets").into(), 24)),
        (0x21, 2) => Some((<[u8; 16]>::try_from(&header[16..32]).expect("sixteen octets").into(), 48)),
        _ => None,
    };
    let expected = source.map(|(address, port)| {
        SocketAddr::new(address.to_canonical(), u16::from_be_bytes([header[port], header[port + 1]]))
    });
    assert_eq!(peer, expected);
}
