//! Octets as what a client sends in the fields that proxies add to: whatever it is, what a trusted proxy adds behind it counts.

use std::net::SocketAddr;

use switchboard::proto::head::with_request;
use switchboard::proto::{Forwarded, ForwardedConflict, Limits, TrustedProxies};

use super::source::Source;

const NAMES: [&str; 4] = ["X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto"];

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choices = source.octet();
    let Ok(text) = std::str::from_utf8(source.take_rest()) else { return };
    let fields: Vec<(&str, &str)> = text
        .split('\n')
        .enumerate()
        .map(|(at, value)| (NAMES[(usize::from(choices) + at) % NAMES.len()], value))
        .collect();
    let near = SocketAddr::from(([10, 0, 0, 1], 1));
    if let Some(Ok(peer)) = read(&fields, near) {
        assert_eq!(peer.ip(), peer.ip().to_canonical());
    }
    // The proxy adds the client behind what the client sent, on the same line or on one of its own.
    let client = SocketAddr::from(([192, 0, 2, 7], 0));
    for (name, element) in [("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.7;proto=https")] {
        let sent: Vec<(&str, &str)> = fields.iter().copied().filter(|(sent, _)| *sent == name).collect();
        let mut lines = sent.clone();
        lines.push((name, element));
        assert!(read(&lines, near).is_none_or(|peer| peer == Ok(client)), "{lines:?}");
        let Some(((_, last), earlier)) = sent.split_last() else { continue };
        let joined = format!("{last}, {element}");
        let lines = [earlier, &[(name, joined.as_str())]].concat();
        assert!(read(&lines, near).is_none_or(|peer| peer == Ok(client)), "{lines:?}");
    }
}

/// `None`: this is no head.
fn read(fields: &[(&str, &str)], near: SocketAddr) -> Option<Result<SocketAddr, ForwardedConflict>> {
    let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let lines = lines.concat();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let mut trusted = TrustedProxies::default();
    trusted.trust("10.0.0.0/8").expect("a network");
    with_request(head.as_bytes(), &Limits::default(), |head| {
        Some(Forwarded::read(head.ok()?.fields, near, &trusted).map(|forwarded| {
            assert!(forwarded.host.is_none_or(|host| !host.is_empty() && !host.contains(['/', ' ', '@'])));
            forwarded.peer
        }))
    })
}
