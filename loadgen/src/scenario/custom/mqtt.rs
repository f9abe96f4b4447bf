//! The packets of MQTT 3.1.1 that a publisher needs: CONNECT, PUBLISH with quality of service 1, and their answers.

/// Packet types (MQTT 3.1.1 2.2.1) with their flags.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;

/// What a packet of the server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet {
    /// The server accepted the connection, or refused it with this code.
    Connected(u8),
    /// A publish with this identifier is acknowledged.
    Acknowledged(u16),
    /// Another type.
    Other,
}

/// The identifier of a message. 0 is not one (2.3.1).
pub(super) fn identifier(seq: u64) -> u16 {
    (seq % 65_535) as u16 + 1
}

/// The first message from `oldest` on that has an identifier.
#[inline]
pub(super) fn seq_of(identifier_of: u16, oldest: u64) -> Option<u64> {
    let (wanted, first) = (identifier_of, identifier(oldest));
    let ahead = if wanted < first { 65_535 - (first - wanted) } else { wanted - first };
    (wanted > 0).then_some(oldest + u64::from(ahead))
}

/// Appends CONNECT with a clean session and without keep-alive (3.1).
pub(super) fn connect(client: &str, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    string("MQTT", &mut body);
    body.extend([4, 0x02, 0, 0]);
    string(client, &mut body);
    fixed_header(CONNECT, body.len(), out);
    out.extend_from_slice(&body);
}

/// What stands before the payload of a PUBLISH with quality of service 1 (3.3). Its last two octets are the identifier.
pub(super) fn publish_head(topic: &str, identifier: u16, payload_len: usize) -> Vec<u8> {
    let mut variable = Vec::with_capacity(topic.len() + 4);
    string(topic, &mut variable);
    variable.extend(identifier.to_be_bytes());
    let mut out = Vec::new();
    fixed_header(PUBLISH_QOS_1, variable.len() + payload_len, &mut out);
    out.extend_from_slice(&variable);
    out
}

fn string(text: &str, out: &mut Vec<u8>) {
    let text = &text.as_bytes()[..text.len().min(u16::MAX.into())];
    out.extend((text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

fn fixed_header(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    // Seven bits in each octet, the low ones first (2.2.3).
    let mut left = length;
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        out.push(left as u8 & 0x7F | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
}

/// Reads the packets that are complete, and returns their length. A packet may come in several messages (6: the server
/// treats frames as a stream). `None`: the octets are not MQTT.
#[inline]
pub(super) fn read_packets(octets: &[u8], mut each: impl FnMut(Packet)) -> Option<usize> {
    let mut at = 0;
    while let Some((kind, body, length)) = next_packet(&octets[at..])? {
        each(match (kind & 0xF0, body) {
            (CONNACK, [_, code]) => Packet::Connected(*code),
            (PUBACK, [high, low]) => Packet::Acknowledged(u16::from_be_bytes([*high, *low])),
            (CONNACK | PUBACK, _) => return None,
            _ => Packet::Other,
        });
        at += length;
    }
    Some(at)
}

/// The first packet: type, body and length; `Some(None)`: it is not complete, `None`: its length is not valid.
#[expect(clippy::option_option, reason = "the outer one is an error without a text")]
fn next_packet(octets: &[u8]) -> Option<Option<(u8, &[u8], usize)>> {
    let mut length = 0;
    for (i, octet) in octets.iter().skip(1).enumerate() {
        if i == 4 {
            return None;
        }
        length |= usize::from(octet & 0x7F) << (7 * i);
        if octet & 0x80 == 0 {
            let (start, end) = (i + 2, i + 2 + length);
            return Some(octets.get(start..end).map(|body| (octets[0], body, end)));
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(octets: &[u8]) -> Option<(Vec<Packet>, usize)> {
        let mut packets = Vec::new();
        let read = read_packets(octets, |packet| packets.push(packet))?;
        Some((packets, octets.len() - read))
    }

    #[test]
    fn the_packets_are_those_of_the_standard() {
        let mut out = Vec::new();
        connect("a", &mut out);
        assert_eq!(out, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a");
        assert_eq!(publish_head("t", 0x0102, 200), b"\x32\xcd\x01\x00\x01t\x01\x02");
        assert_eq!((identifier(0), identifier(65_534), identifier(65_535)), (1, 65_535, 1));
    }

    #[test]
    fn an_identifier_names_the_first_message_that_may_have_it() {
        for oldest in [0, 5, 65_533, 65_534, 65_535, 200_000] {
            for seq in oldest..oldest + 65_535 {
                assert_eq!(seq_of(identifier(seq), oldest), Some(seq));
            }
        }
        assert_eq!(seq_of(0, 5), None);
    }

    #[test]
    fn packets_are_found_wherever_messages_are_cut() {
        let octets = b"\x20\x02\x00\x00\x40\x02\x01\x02\xd0\x00\x40\x02\x00\x05";
        let expected =
            [Packet::Connected(0), Packet::Acknowledged(0x102), Packet::Other, Packet::Acknowledged(5)];
        assert_eq!(packets(octets), Some((expected.to_vec(), 0)));
        for cut in 0..octets.len() {
            let mut found = Vec::new();
            let read = read_packets(&octets[..cut], |packet| found.push(packet)).unwrap();
            assert_eq!(read_packets(&octets[read..], |packet| found.push(packet)), Some(octets.len() - read));
            assert_eq!(found, expected, "{cut}");
        }
        assert_eq!(packets(b"\x20\x03\x00\x00\x00"), None);
        assert_eq!(packets(b"\x20\xff\xff\xff\xff\x00"), None);
    }
}
