//! Texts of posts: author, number, planned instant, and a checksum.

use std::fmt::Write as _;

use crate::clock::Nanos;

/// Shortest text of a post in bytes: the length of its head.
pub(in crate::scenario) const SHORTEST_TEXT: usize = HEAD_LEN;

const MARK: &str = "lg ";
/// Length of a checksum and the space after it.
const SUM_LEN: usize = 9;
/// `lg CCCCCCCC RRRRRRRR LLLLLL SSSSSSSS TTTTTTTTTTTTTTTT` in hexadecimal: a checksum of the rest, run, lane, sequence
/// number and instant.
const HEAD_LEN: usize = 3 + SUM_LEN + 8 + 1 + 6 + 1 + 8 + 1 + 16;

/// The head of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) lane: u32,
    pub(super) seq: u64,
    /// The planned instant of the post; in a closed loop, the instant of the send.
    pub(super) since: Nanos,
}

/// Writes the text of a post. `run` distinguishes the posts of this run from others.
pub(super) fn write_text(run: u32, head: Head, size: usize, out: &mut String) {
    let Head { lane, seq, since } = head;
    let start = out.len();
    // Writing to a string does not fail.
    let _ = write!(out, "{MARK}{:08x} {run:08x} {lane:06x} {:08x} {since:016x}", 0, seq as u32);
    let fill = size.saturating_sub(out.len() - start);
    out.extend((0..fill).map(|i| char::from(b'a' + ((seq as usize).wrapping_add(i) % 26) as u8)));
    let sum = checksum(&out[start + MARK.len() + SUM_LEN..]);
    out.replace_range(start + MARK.len()..start + MARK.len() + SUM_LEN, &format!("{sum:08x} "));
}

/// The size of a post's text.
pub(super) fn size_of(sizes: crate::input::values::Sizes, lane: u32, seq: u64) -> usize {
    let hash = (seq ^ u64::from(lane) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    sizes.min + ((hash >> 32) % (sizes.max - sizes.min + 1) as u64) as usize
}

/// The origin of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A post of this run.
    Ours(Head),
    /// A post of another run or of a person.
    Foreign,
    /// A changed post of some run.
    Corrupted,
}

/// Reads a text and verifies its checksum.
pub(super) fn read_text(run: u32, text: &str) -> Origin {
    let Some(rest) = text.strip_prefix(MARK) else { return Origin::Foreign };
    read_rest(run, rest).unwrap_or(Origin::Corrupted)
}

fn read_rest(run: u32, rest: &str) -> Option<Origin> {
    let (sum, rest) = rest.split_once(' ')?;
    if sum.len() + 1 != SUM_LEN || u32::from_str_radix(sum, 16).ok()? != checksum(rest) {
        return None;
    }
    let mut words = rest.get(..HEAD_LEN - MARK.len() - SUM_LEN)?.split(' ');
    let mut number = || u64::from_str_radix(words.next()?, 16).ok();
    let its_run = number()?;
    let head = Head { lane: number()? as u32, seq: number()?, since: number()? };
    Some(if its_run == u64::from(run) { Origin::Ours(head) } else { Origin::Foreign })
}

/// FNV-1a, 32 bits.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |sum, octet| (sum ^ u32::from(octet)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_size_and_its_origin() {
        for size in [SHORTEST_TEXT, 60, 80, 4096] {
            let head = Head { lane: 99_999, seq: 12_345, since: 98_765_432_109_876 };
            let mut text = String::new();
            write_text(7, head, size, &mut text);
            assert_eq!((text.len(), read_text(7, &text)), (size, Origin::Ours(head)));
            assert_eq!(read_text(8, &text), Origin::Foreign);
            for at in MARK.len()..text.len().min(100) {
                let mut bent = text.clone().into_bytes();
                bent[at] ^= 1;
                assert_eq!(read_text(7, std::str::from_utf8(&bent).unwrap()), Origin::Corrupted, "{at}");
            }
            assert_eq!(read_text(7, &text[..size - 1]), Origin::Corrupted);
        }
        for foreign in ["", "hello", &"é".repeat(40)] {
            assert_eq!(read_text(7, foreign), Origin::Foreign, "{foreign}");
        }
        for corrupted in ["lg ", &"lg x".repeat(30)] {
            assert_eq!(read_text(7, corrupted), Origin::Corrupted, "{corrupted}");
        }
    }
}
