//! The content of messages: sequence number, connection, and octets that follow from both.

use std::ops::{Range, RangeInclusive};

use switchboard::proto::{
    Connection, Encoding, MaskingKeys, MessageKind, Opcode, Outgoing, write_frame, write_masked_frames,
};

use crate::input::options::Mask;
use crate::input::plan::Plan;
use crate::input::values::Sizes;

/// Number of places in the pattern at which the fill of a message may start, so that two messages differ in most octets.
const TURNS: u64 = 64;
/// Length of a binary header: sequence number and connection.
const BINARY_HEADER: usize = 8;
/// Length of the same header as letters.
const TEXT_HEADER: usize = 16;

/// The masking-key of `--mask fixed`.
const FIXED_KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The masking-keys of a thread's frames.
pub(crate) fn masking_keys(plan: &Plan, thread: u32) -> MaskingKeys {
    match plan.mask {
        Mask::Fixed | Mask::None => MaskingKeys::Fixed(FIXED_KEY),
        Mask::Random => MaskingKeys::Seeded(plan.seed.wrapping_add(u64::from(thread) << 32)),
    }
}

/// Renders every message of a run, and recognises its answer.
///
/// A payload begins with the sequence number (32 bits) and the number of the connection (32 bits): as octets in
/// binary messages, as one letter per four bits in text. A shorter payload holds the low end of the sequence number.
/// The rest is a pattern from the seed.
#[derive(Debug)]
pub(crate) struct Payloads {
    pub(crate) kind: MessageKind,
    opcode: Opcode,
    sizes: Sizes,
    pattern: Vec<u8>,
    short: Option<Box<Short>>,
    is_masked: bool,
    /// A payload before it is copied into its frame.
    scratch: Vec<u8>,
}

impl Payloads {
    /// The messages of a plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self::new(plan.message_kind, plan.sizes, plan.seed, plan.mask)
    }

    fn new(kind: MessageKind, sizes: Sizes, seed: u64, mask: Mask) -> Self {
        let mut state = seed;
        let octets = (0..sizes.max + TURNS as usize).map(|_| {
            // A 64-bit linear congruential generator (Knuth, MMIX). Its high bits differ enough for a pattern.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let octet = (state >> 56) as u8;
            if kind == MessageKind::Text { b'A' + octet % 26 } else { octet }
        });
        let opcode = if kind == MessageKind::Text { Opcode::Text } else { Opcode::Binary };
        let pattern: Vec<u8> = octets.collect();
        let is_short =
            kind == MessageKind::Binary && sizes.min == sizes.max && Short::SIZES.contains(&sizes.min);
        Self {
            kind,
            opcode,
            sizes,
            short: is_short.then(|| Box::new(Short::new(sizes.min, &pattern))),
            pattern,
            is_masked: mask != Mask::None,
            scratch: Vec::new(),
        }
    }

    /// The size of message `seq` of connection `lane`.
    #[inline]
    fn size(&self, lane: u32, seq: u64) -> usize {
        let Sizes { min, max } = self.sizes;
        if min == max {
            return min;
        }
        // Fibonacci hashing: the high bits of the product are spread evenly.
        let hash = (seq ^ u64::from(lane) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        min + ((hash >> 32) % (max - min + 1) as u64) as usize
    }

    /// Appends frames with the messages `seqs` of connection `lane`.
    #[inline]
    pub(crate) fn write_frames(
        &mut self,
        lane: u32,
        seqs: Range<u64>,
        keys: &mut MaskingKeys,
        out: &mut Vec<u8>,
    ) {
        if !self.is_masked {
            return self.write_unmasked(lane, seqs, out);
        }
        let (seq, count) = (seqs.start, seqs.end - seqs.start);
        if self.sizes.min == self.sizes.max {
            write_masked_frames(out, self.opcode, (count as usize, self.sizes.min), keys, |i, payload| {
                self.fill_in(lane, seq + i as u64, payload);
            });
            return;
        }
        for seq in seqs {
            let size = self.size(lane, seq);
            write_masked_frames(out, self.opcode, (1, size), keys, |_, payload| {
                self.fill_in(lane, seq, payload);
            });
        }
    }

    /// [`Self::write_frames`], compressed if the server agreed.
    #[inline]
    pub(crate) fn encode(
        &mut self,
        lane: u32,
        seqs: Range<u64>,
        connection: &mut Connection,
        (keys, out): (&mut MaskingKeys, &mut Vec<u8>),
    ) {
        if connection.encoding() == Encoding::Plain {
            return self.write_frames(lane, seqs, keys, out);
        }
        let mut payload = std::mem::take(&mut self.scratch);
        for seq in seqs {
            payload.clear();
            self.render(lane, seq, &mut payload);
            let message = match self.kind {
                // Text payloads are ASCII letters.
                MessageKind::Text => Outgoing::text(std::str::from_utf8(&payload).unwrap_or_default()),
                MessageKind::Binary => Outgoing::binary(&payload),
            };
            // Cannot fail: the loop composes on open connections only.
            let _ = connection.encode(message, out);
        }
        self.scratch = payload;
    }

    #[inline(never)]
    fn write_unmasked(&mut self, lane: u32, seqs: Range<u64>, out: &mut Vec<u8>) {
        let mut payload = std::mem::take(&mut self.scratch);
        for seq in seqs {
            payload.clear();
            self.render(lane, seq, &mut payload);
            write_frame(out, true, self.opcode, &payload, None);
        }
        self.scratch = payload;
    }

    /// Appends the payload of message `seq` of connection `lane`.
    pub(crate) fn render(&self, lane: u32, seq: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.size(lane, seq), 0);
        self.fill_in(lane, seq, &mut out[start..]);
    }

    /// Writes message `seq` of connection `lane` into its frame.
    #[inline]
    fn fill_in(&self, lane: u32, seq: u64, payload: &mut [u8]) {
        match &self.short {
            Some(short) => short.write(lane, seq, payload),
            None => self.fill_in_any(lane, seq, payload),
        }
    }

    /// Writes the fill and, as far as the payload has room for it, the header.
    fn fill_in_any(&self, lane: u32, seq: u64, payload: &mut [u8]) {
        payload.copy_from_slice(self.fill(lane, seq, payload.len()));
        let (header, len) = self.header(lane, seq);
        let len = len.min(payload.len());
        payload[..len].copy_from_slice(&header[..len]);
    }

    /// Whether `payload` is exactly message `seq` of connection `lane`.
    #[expect(clippy::inline_always, reason = "it is most of what an answer costs")]
    #[inline(always)]
    pub(crate) fn matches(&self, lane: u32, seq: u64, payload: &[u8]) -> bool {
        match &self.short {
            Some(short) => short.matches(lane, seq, payload),
            None => self.matches_any(lane, seq, payload),
        }
    }

    fn matches_any(&self, lane: u32, seq: u64, payload: &[u8]) -> bool {
        let size = self.size(lane, seq);
        if payload.len() != size {
            return false;
        }
        let fill = self.fill(lane, seq, size);
        let (header, len) = self.header(lane, seq);
        let len = len.min(payload.len());
        payload[..len] == header[..len] && payload[len..] == fill[len..]
    }

    /// The sequence number that `payload` claims. A short payload has only the low bits of it: the result is the number
    /// with these bits that is nearest to `expected`.
    pub(crate) fn claimed(&self, payload: &[u8], expected: u64) -> u64 {
        let (value, bits) = self.number_at(payload, 0);
        let modulus = 1_u64 << bits;
        let ahead = value.wrapping_sub(expected) % modulus;
        if ahead < modulus.div_ceil(2) || expected < modulus - ahead {
            expected + ahead
        } else {
            expected - (modulus - ahead)
        }
    }

    /// The number of the connection that `payload` claims; `None` if the payload is too short for one.
    #[inline]
    pub(crate) fn claimed_lane(&self, payload: &[u8]) -> Option<u32> {
        if self.kind == MessageKind::Binary {
            return payload.get(4..8)?.try_into().ok().map(u32::from_le_bytes);
        }
        let (value, bits) = self.number_at(payload, 8);
        (bits == 32).then_some(value as u32)
    }

    /// The number at `at`, and how many of its 32 bits the payload holds.
    fn number_at(&self, payload: &[u8], at: usize) -> (u64, u32) {
        let is_text = self.kind == MessageKind::Text;
        let units = payload.iter().skip(at).take(if is_text { 8 } else { 4 });
        units.fold((0, 0), |(value, bits), &unit| {
            let (digit, width) = if is_text { (unit.wrapping_sub(b'a') & 15, 4) } else { (unit, 8) };
            (value | u64::from(digit) << bits, bits + width)
        })
    }

    fn header(&self, lane: u32, seq: u64) -> ([u8; TEXT_HEADER], usize) {
        let mut header = [0; TEXT_HEADER];
        let (low, high) = header.split_at_mut(BINARY_HEADER);
        match self.kind {
            MessageKind::Binary => {
                low.copy_from_slice(&binary_header(lane, seq));
                (header, BINARY_HEADER)
            }
            MessageKind::Text => {
                low.copy_from_slice(&letters(seq as u32));
                high.copy_from_slice(&letters(lane));
                (header, TEXT_HEADER)
            }
        }
    }

    fn fill(&self, lane: u32, seq: u64, size: usize) -> &[u8] {
        &self.pattern[turn(lane, seq)..][..size]
    }
}

/// The place in the pattern at which the fill of a message begins.
#[inline]
fn turn(lane: u32, seq: u64) -> usize {
    (seq.wrapping_add(u64::from(lane)) % TURNS) as usize
}

#[inline]
fn header_number(lane: u32, seq: u64) -> u64 {
    u64::from(seq as u32) | u64::from(lane) << 32
}

fn binary_header(lane: u32, seq: u64) -> [u8; BINARY_HEADER] {
    header_number(lane, seq).to_le_bytes()
}

/// Binary messages of one short size: what they hold behind their header, as two chunks of eight octets, which may
/// overlap. Most runs have such messages, and this makes and recognises them without a call or a loop.
#[derive(Debug)]
struct Short {
    size: usize,
    /// The chunks for each place in the pattern.
    tails: [[u64; 2]; TURNS as usize],
}

impl Short {
    /// A header, and a tail that two chunks cover.
    const SIZES: RangeInclusive<usize> = BINARY_HEADER + 8..=BINARY_HEADER + 16;

    fn new(size: usize, pattern: &[u8]) -> Self {
        let chunk =
            |at: usize| pattern[at..].first_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        let tails = std::array::from_fn(|turn| [chunk(turn + BINARY_HEADER), chunk(turn + size - 8)]);
        Self { size, tails }
    }

    #[inline]
    fn write(&self, lane: u32, seq: u64, payload: &mut [u8]) {
        let [first, last] = self.tails[turn(lane, seq)];
        if let Some(head) = payload.first_chunk_mut::<16>() {
            *head = (u128::from(header_number(lane, seq)) | u128::from(first) << 64).to_le_bytes();
        }
        if let Some(tail) = payload.last_chunk_mut::<8>() {
            *tail = last.to_le_bytes();
        }
    }

    #[inline]
    fn matches(&self, lane: u32, seq: u64, payload: &[u8]) -> bool {
        let [first, last] = self.tails[turn(lane, seq)];
        let (Some(head), Some(tail)) = (payload.first_chunk::<16>(), payload.last_chunk::<8>()) else {
            return false;
        };
        let expected = u128::from(header_number(lane, seq)) | u128::from(first) << 64;
        payload.len() == self.size
            && u128::from_le_bytes(*head) == expected
            && u64::from_le_bytes(*tail) == last
    }
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

    fn fixed(kind: MessageKind, size: usize, seed: u64) -> Payloads {
        Payloads::new(kind, Sizes { min: size, max: size }, seed, Mask::Random)
    }

    fn render(payloads: &Payloads, lane: u32, seq: u64) -> Vec<u8> {
        let mut out = Vec::new();
        payloads.render(lane, seq, &mut out);
        out
    }

    #[test]
    fn a_message_is_recognised_and_no_other_one() {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            for size in [0, 1, 3, 4, 7, 8, 15, 16, 17, 20, 23, 24, 25, 125, 1000] {
                let payloads = fixed(kind, size, 42);
                for (lane, seq) in [(0, 0), (1, 0), (0, 1), (99, 12_345), (u32::MAX, 0xFFFF_FFFF)] {
                    let message = render(&payloads, lane, seq);
                    assert_eq!(message.len(), size);
                    assert!(payloads.matches(lane, seq, &message));
                    assert_eq!(payloads.claimed(&message, seq), seq);
                    assert_eq!(
                        payloads.claimed_lane(&message),
                        (size >= if kind == MessageKind::Text { 16 } else { 8 }).then_some(lane)
                    );
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
        let payloads = fixed(MessageKind::Text, 40, 1);
        assert_eq!(&render(&payloads, 0x0123_4567, 0x89AB_CDEF)[..16], b"ponmlkjihgfedcba");
        assert!(render(&payloads, 7, 7).iter().all(u8::is_ascii_alphabetic));
    }

    #[test]
    fn sizes_come_from_the_whole_range() {
        let payloads = Payloads::new(MessageKind::Binary, Sizes { min: 5, max: 14 }, 1, Mask::Random);
        let mut seen = [0_u32; 20];
        for seq in 0..10_000 {
            let message = render(&payloads, 3, seq);
            assert!(payloads.matches(3, seq, &message));
            seen[message.len()] += 1;
        }
        let (outside, within): (Vec<_>, Vec<_>) =
            seen.iter().enumerate().partition(|(size, _)| !(5..=14).contains(size));
        assert!(outside.iter().all(|(_, count)| **count == 0));
        assert!(within.iter().all(|(_, count)| (800..1200).contains(*count)), "{seen:?}");
    }

    #[test]
    fn a_short_payload_means_the_nearest_sequence_number() {
        let payloads = fixed(MessageKind::Binary, 1, 1);
        for seq in [0, 5, 255, 256, 1000] {
            let message = render(&payloads, 0, seq);
            for expected in seq.saturating_sub(100)..seq + 100 {
                assert_eq!(payloads.claimed(&message, expected), seq, "expected {expected}");
            }
        }
        assert_eq!(fixed(MessageKind::Binary, 0, 1).claimed(&[], 9), 9);
    }
}
