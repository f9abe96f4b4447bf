//! What stands in the messages: connection, sequence number, and octets that follow from both.

use switchboard::proto::MessageKind;

/// The fill of a message starts at one of so many places of the pattern, so that parts of two messages differ.
const TURNS: u64 = 64;
/// Longest header: eight letters of sequence number and eight of connection.
const MAX_HEADER: usize = 16;
/// The same as octets.
const BINARY_HEADER: usize = 8;

/// Renders every message of a run, and recognises it when it comes back.
///
/// A payload begins with the sequence number (32 bits) and the number of the connection (32 bits): as octets in
/// binary messages, as one letter per four bits in text. A payload that is shorter holds the low end of the sequence
/// number. The rest is a pattern from the seed.
#[derive(Debug)]
pub(crate) struct Payloads {
    kind: MessageKind,
    size: usize,
    header_len: usize,
    pattern: Vec<u8>,
    scratch: Vec<u8>,
}

impl Payloads {
    pub(crate) fn new(kind: MessageKind, size: usize, seed: u64) -> Self {
        let mut state = seed;
        let octets = (0..size + TURNS as usize).map(|_| {
            // A 64-bit linear congruential generator (Knuth, MMIX); its high bits are good enough to tell apart.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let octet = (state >> 56) as u8;
            if kind == MessageKind::Text { b'A' + octet % 26 } else { octet }
        });
        let header_len = if kind == MessageKind::Text { MAX_HEADER } else { BINARY_HEADER };
        Self {
            kind,
            size,
            header_len: header_len.min(size),
            pattern: octets.collect(),
            scratch: vec![0; size],
        }
    }

    /// Message `seq` of connection `lane`.
    #[inline]
    pub(crate) fn render(&mut self, lane: u32, seq: u64) -> &[u8] {
        let header = self.header(lane, seq);
        let fill = fill(&self.pattern, self.size, lane, seq);
        // Lengths that the compiler knows save the calls: most payloads hold a whole header.
        match self.scratch.split_first_chunk_mut::<BINARY_HEADER>() {
            Some((head, tail)) if self.header_len == BINARY_HEADER => {
                head.copy_from_slice(&header[..BINARY_HEADER]);
                tail.copy_from_slice(&fill[BINARY_HEADER..]);
            }
            _ => {
                let (head, tail) = self.scratch.split_at_mut(self.header_len);
                head.copy_from_slice(&header[..self.header_len]);
                tail.copy_from_slice(&fill[self.header_len..]);
            }
        }
        &self.scratch
    }

    /// Whether `payload` is message `seq` of connection `lane`, bit for bit.
    #[inline]
    pub(crate) fn matches(&self, lane: u32, seq: u64, payload: &[u8]) -> bool {
        if payload.len() != self.size {
            return false;
        }
        let header = self.header(lane, seq);
        let fill = fill(&self.pattern, self.size, lane, seq);
        match payload.split_first_chunk::<BINARY_HEADER>() {
            Some((head, tail)) if self.header_len == BINARY_HEADER => {
                head == &header[..BINARY_HEADER] && tail == &fill[BINARY_HEADER..]
            }
            _ => {
                let (head, tail) = payload.split_at(self.header_len);
                head == &header[..self.header_len] && tail == &fill[self.header_len..]
            }
        }
    }

    /// The sequence number that `payload` claims, of all that it can mean the one nearest to `expected`.
    pub(crate) fn claimed(&self, payload: &[u8], expected: u64) -> u64 {
        let units = payload.iter().take(if self.kind == MessageKind::Text { 8 } else { 4 });
        let (value, bits) = match self.kind {
            MessageKind::Binary => {
                units.fold((0, 0), |(v, bits), octet| (v | u64::from(*octet) << bits, bits + 8))
            }
            MessageKind::Text => units.fold((0, 0), |(v, bits), letter| {
                (v | u64::from(letter.wrapping_sub(b'a') & 15) << bits, bits + 4)
            }),
        };
        let modulus = 1_u64 << bits;
        let ahead = value.wrapping_sub(expected) % modulus;
        if ahead < modulus.div_ceil(2) || expected < modulus - ahead {
            expected + ahead
        } else {
            expected - (modulus - ahead)
        }
    }

    #[inline]
    fn header(&self, lane: u32, seq: u64) -> [u8; MAX_HEADER] {
        let mut header = [0; MAX_HEADER];
        let (low, high) = header.split_at_mut(8);
        match self.kind {
            MessageKind::Binary => {
                low.copy_from_slice(&(u64::from(seq as u32) | u64::from(lane) << 32).to_le_bytes());
            }
            MessageKind::Text => {
                low.copy_from_slice(&letters(seq as u32));
                high.copy_from_slice(&letters(lane));
            }
        }
        header
    }
}

#[inline]
fn fill(pattern: &[u8], size: usize, lane: u32, seq: u64) -> &[u8] {
    let turn = (seq.wrapping_add(u64::from(lane)) % TURNS) as usize;
    &pattern[turn..turn + size]
}

/// One letter from `a` to `p` for every four bits, the low ones first.
#[inline]
fn letters(value: u32) -> [u8; 8] {
    let mut spread = u64::from(value);
    spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF;
    spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
    spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    (spread + u64::from_le_bytes([b'a'; 8])).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_recognised_and_no_other_one() {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            for size in [0, 1, 3, 4, 7, 8, 15, 16, 17, 20, 125, 1000] {
                let mut payloads = Payloads::new(kind, size, 42);
                for (lane, seq) in [(0, 0), (1, 0), (0, 1), (99, 12_345), (u32::MAX, 0xFFFF_FFFF)] {
                    let message = payloads.render(lane, seq).to_vec();
                    assert_eq!(message.len(), size);
                    assert!(payloads.matches(lane, seq, &message));
                    assert_eq!(payloads.claimed(&message, seq), seq);
                    for at in 0..size {
                        let mut bad = message.clone();
                        bad[at] ^= 1;
                        assert!(!payloads.matches(lane, seq, &bad), "{size} at {at}");
                    }
                    if size > 0 {
                        assert!(!payloads.matches(lane, seq + 1, &message));
                        assert!(!payloads.matches(lane, seq, &message[1..]));
                    }
                    if size >= 16 {
                        assert!(!payloads.matches(lane ^ 1, seq, &message));
                    }
                }
            }
        }
    }

    #[test]
    fn text_is_letters() {
        let mut payloads = Payloads::new(MessageKind::Text, 40, 1);
        assert_eq!(&payloads.render(0x0123_4567, 0x89AB_CDEF)[..16], b"ponmlkjihgfedcba");
        assert!(payloads.render(7, 7).iter().all(u8::is_ascii_alphabetic));
    }

    #[test]
    fn a_short_payload_means_the_nearest_sequence_number() {
        let mut payloads = Payloads::new(MessageKind::Binary, 1, 1);
        for seq in [0, 5, 255, 256, 1000] {
            let message = payloads.render(0, seq).to_vec();
            for expected in seq.saturating_sub(100)..seq + 100 {
                assert_eq!(payloads.claimed(&message, expected), seq, "expected {expected}");
            }
        }
        assert_eq!(Payloads::new(MessageKind::Binary, 0, 1).claimed(&[], 9), 9);
    }
}
