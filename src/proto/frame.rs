//! Frames (RFC 6455 5.2): the header in both directions.

use super::{MaskingKeys, ProtocolError};
use crate::simd;

/// Longest frame header in bytes: 2, 8 of extended payload length, 4 of masking-key.
pub const MAX_FRAME_HEADER_LEN: usize = 14;

/// Longest payload of a control frame in bytes (RFC 6455 5.5).
pub(super) const MAX_CONTROL_PAYLOAD: u64 = 125;

/// RFC 6455 5.2: the second octet of a header: the MASK bit, and a 7-bit payload length that announces 16 or 64 bits of length.
pub(super) const MASK_BIT: u8 = 0x80;
pub(super) const LEN_16: u8 = 0x7E;
const LEN_64: u8 = 0x7F;

/// RFC 6455 5.2: the bit that permessage-deflate defines (RFC 7692 6).
pub(super) const RSV1: u8 = 0x40;

/// The opcodes that RFC 6455 11.8 defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Continues a fragmented message.
    Continuation = 0,
    /// Begins a text message.
    Text = 1,
    /// Begins a binary message.
    Binary = 2,
    /// Begins or answers the closing handshake.
    Close = 8,
    /// Asks for a Pong.
    Ping = 9,
    /// Answers a Ping, or is a sign of life.
    Pong = 10,
}

impl Opcode {
    #[inline]
    fn from_bits(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            reserved => return Err(ProtocolError::ReservedOpcode(reserved)),
        })
    }

    /// Whether the frame is a control frame (its most significant bit is set).
    #[must_use]
    #[inline]
    pub fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// A frame header, checked as far as it can be without knowing role and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Last frame of its message.
    pub fin: bool,
    /// The message is compressed (RFC 7692 6); only ever set where the extension is agreed.
    pub rsv1: bool,
    /// What the payload is.
    pub opcode: Opcode,
    /// The masking-key, when the MASK bit is set.
    pub masking_key: Option<[u8; 4]>,
    /// Length of the payload in bytes.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Reads a header from the front of `bytes`; with it comes its own length. `None`: more octets are needed.
    ///
    /// # Errors
    /// A rule of RFC 6455 5.2 or 5.5 that the octets present already break.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::parse_extended(bytes, 0)
    }

    /// As [`Self::parse`], where an extension defines the bits in `extended`.
    #[inline]
    pub(super) fn parse_extended(bytes: &[u8], extended: u8) -> Result<Option<(Self, usize)>, ProtocolError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        // RFC 6455 5.2: RSV bits MUST be 0 unless an extension is negotiated that defines meanings.
        if first & 0x70 & !extended != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let fin = first & 0x80 != 0;
        let rsv1 = first & RSV1 != 0;
        let opcode = Opcode::from_bits(first & 0x0F)?;
        // RFC 7692 6.1: only the first frame of a data message may be marked as compressed.
        if rsv1 && (opcode.is_control() || opcode == Opcode::Continuation) {
            return Err(ProtocolError::ReservedBits);
        }
        let masked = second & 0x80 != 0;
        let short_len = second & 0x7F;
        if opcode.is_control() {
            // RFC 6455 5.5: control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented.
            if !fin {
                return Err(ProtocolError::FragmentedControlFrame);
            }
            if u64::from(short_len) > MAX_CONTROL_PAYLOAD {
                return Err(ProtocolError::LongControlFrame);
            }
        }
        let Some((payload_len, rest)) = parse_payload_len(short_len, rest)? else { return Ok(None) };
        let masking_key = match (masked, rest) {
            (false, _) => None,
            (true, [a, b, c, d, ..]) => Some([*a, *b, *c, *d]),
            (true, _) => return Ok(None),
        };
        let header_len = bytes.len() - rest.len() + if masked { 4 } else { 0 };
        Ok(Some((Self { fin, rsv1, opcode, masking_key, payload_len }, header_len)))
    }
}

/// RFC 6455 5.2: the minimal number of bytes MUST be used to encode the length, and the MSB of 64 bits MUST be 0.
#[inline]
fn parse_payload_len(short_len: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    match short_len {
        LEN_16 => {
            let Some((len, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            let len = u16::from_be_bytes(*len);
            if len < 126 {
                return Err(ProtocolError::NonMinimalLength);
            }
            Ok(Some((u64::from(len), rest)))
        }
        LEN_64 => {
            let Some((len, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            let len = u64::from_be_bytes(*len);
            if len >> 63 != 0 {
                return Err(ProtocolError::LengthOverflow);
            }
            if u16::try_from(len).is_ok() {
                return Err(ProtocolError::NonMinimalLength);
            }
            Ok(Some((len, rest)))
        }
        short => Ok(Some((u64::from(short), rest))),
    }
}

/// Appends the header of a whole frame that is not masked.
pub(super) fn write_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    write_header_of(out, 0x80 | opcode as u8, 0, payload_len);
}

fn write_header_of(out: &mut Vec<u8>, first: u8, mask_bit: u8, payload_len: usize) {
    match payload_len {
        len @ 0..=125 => out.extend_from_slice(&[first, mask_bit | len as u8]),
        len @ 126..=0xFFFF => {
            let [high, low] = (len as u16).to_be_bytes();
            out.extend_from_slice(&[first, mask_bit | LEN_16, high, low]);
        }
        len => {
            out.extend_from_slice(&[first, mask_bit | LEN_64]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// [`write_frame`] for a whole frame that is not masked: what a server sends, as a rule.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a dozen instructions for a short payload")]
pub(super) fn write_plain_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let first = 0x80 | opcode as u8;
    match payload.len() {
        len @ 0..=125 => simd::append(out, [first, len as u8], payload),
        len @ 126..=0xFFFF => {
            let [high, low] = (len as u16).to_be_bytes();
            simd::append(out, [first, LEN_16, high, low], payload);
        }
        _ => write_frame(out, true, opcode, payload, None),
    }
}

/// Appends one frame to `out`; with a masking-key its payload is masked.
pub fn write_frame(
    out: &mut Vec<u8>,
    fin: bool,
    opcode: Opcode,
    payload: &[u8],
    masking_key: Option<[u8; 4]>,
) {
    let first = u8::from(fin) << 7 | opcode as u8;
    let mask_bit = if masking_key.is_some() { MASK_BIT } else { 0 };
    out.reserve(MAX_FRAME_HEADER_LEN + payload.len());
    write_header_of(out, first, mask_bit, payload.len());
    if let Some(key) = masking_key {
        out.extend_from_slice(&key);
        let start = out.len();
        out.extend_from_slice(payload);
        simd::xor_mask(&mut out[start..], key, 0);
    } else {
        out.extend_from_slice(payload);
    }
}

/// Appends `count` whole frames of a client, each with a payload of `len` bytes that `fill` makes in its place: it gets
/// the frame's number and `len` zeros.
#[inline]
pub fn write_masked_frames(
    out: &mut Vec<u8>,
    opcode: Opcode,
    (count, len): (usize, usize),
    keys: &mut MaskingKeys,
    fill: impl FnMut(usize, &mut [u8]),
) {
    let first = 0x80 | opcode as u8;
    match len {
        0..=125 => frames_alike(out, [first, MASK_BIT | len as u8], (count, len), keys, fill),
        126..=0xFFFF => {
            let [high, low] = (len as u16).to_be_bytes();
            frames_alike(out, [first, MASK_BIT | LEN_16, high, low], (count, len), keys, fill);
        }
        _ => {
            let mut head = [first, MASK_BIT | LEN_64, 0, 0, 0, 0, 0, 0, 0, 0];
            head[2..].copy_from_slice(&(len as u64).to_be_bytes());
            frames_alike(out, head, (count, len), keys, fill);
        }
    }
}

/// Frames that differ in their masking-keys and payloads alone. Their room is made at once.
#[inline]
fn frames_alike<const HEAD: usize>(
    out: &mut Vec<u8>,
    head: [u8; HEAD],
    (count, len): (usize, usize),
    keys: &mut MaskingKeys,
    mut fill: impl FnMut(usize, &mut [u8]),
) {
    let start = out.len();
    let frame_len = HEAD + 4 + len;
    out.resize(start + count * frame_len, 0);
    for (number, frame) in out[start..].chunks_exact_mut(frame_len).enumerate() {
        let Some((place, rest)) = frame.split_first_chunk_mut::<HEAD>() else { return };
        let Some((key_place, payload)) = rest.split_first_chunk_mut::<4>() else { return };
        let key = keys.next_key();
        (*place, *key_place) = (head, key);
        fill(number, payload);
        simd::xor_mask(payload, key, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        FrameHeader::parse(bytes)
    }

    #[test]
    fn frames_made_at_once_are_those_that_are_written_one_by_one() {
        for len in [0, 1, 20, 33, 125, 126, 70_000] {
            let payload = |number: usize| (0..len).map(|i| (i + number) as u8).collect::<Vec<_>>();
            let (mut singly, mut at_once) = (vec![1, 2, 3], vec![1, 2, 3]);
            let mut keys = MaskingKeys::Seeded(5);
            for number in 0..3 {
                write_frame(&mut singly, true, Opcode::Text, &payload(number), Some(keys.next_key()));
            }
            let mut keys = MaskingKeys::Seeded(5);
            write_masked_frames(&mut at_once, Opcode::Text, (3, len), &mut keys, |number, place| {
                place.copy_from_slice(&payload(number));
            });
            assert_eq!(at_once, singly, "{len}");
        }
    }

    #[test]
    fn lengths_are_written_and_read_in_their_shortest_form() {
        for (len, header_len) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (1 << 20, 10)] {
            for key in [None, Some([1, 2, 3, 4])] {
                let mut out = Vec::new();
                write_frame(&mut out, true, Opcode::Binary, &vec![7; len], key);
                let (header, parsed_len) = parse(&out).unwrap().unwrap();
                assert_eq!(parsed_len, header_len + if key.is_some() { 4 } else { 0 });
                assert_eq!((header.payload_len, header.masking_key), (len as u64, key));
                for cut in 0..parsed_len {
                    assert_eq!(parse(&out[..cut]), Ok(None), "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn fr_04_lengths_that_are_not_minimal_are_refused() {
        for header in [
            &[0x82, 0xFE, 0, 0][..],
            &[0x82, 0xFE, 0, 125],
            &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
        ] {
            assert_eq!(parse(header), Err(ProtocolError::NonMinimalLength));
        }
        assert_eq!(parse(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0]), Err(ProtocolError::LengthOverflow));
    }

    #[test]
    fn fr_06_07_08_each_reserved_or_broken_first_octet_is_refused_by_two_octets() {
        for first in 0..=255u8 {
            for second in [0x80, 0xFD, 0xFE, 0xFF] {
                let (fin, rsv, bits) = (first & 0x80 != 0, first & 0x70, first & 0x0F);
                let expected = if rsv != 0 {
                    Err(ProtocolError::ReservedBits)
                } else if matches!(bits, 3..=7 | 11..=15) {
                    Err(ProtocolError::ReservedOpcode(bits))
                } else if bits >= 8 && !fin {
                    Err(ProtocolError::FragmentedControlFrame)
                } else if bits >= 8 && second & 0x7F > 125 {
                    Err(ProtocolError::LongControlFrame)
                } else {
                    Ok(None)
                };
                assert_eq!(parse(&[first, second]), expected, "{first:#x} {second:#x}");
            }
        }
    }
}
