//! Texts of posts: who wrote them, which one it is, and since when it was due.

use std::fmt::Write as _;

use crate::clock::Nanos;

/// Shortest text of a post in bytes: all of its head.
pub(crate) const SHORTEST_TEXT: usize = HEAD_LEN;

const MARK: &str = "lg ";
/// `lg RRRRRRRR LLLLLL SSSSSSSS TTTTTTTTTTTTTTTT`, all in hexadecimal.
const HEAD_LEN: usize = 3 + 8 + 1 + 6 + 1 + 8 + 1 + 16;

/// What the head of a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) lane: u32,
    pub(super) seq: u64,
    /// The instant the post was planned for or, in a closed loop, sent at.
    pub(super) since: Nanos,
}

/// Writes the text of a post; `run` tells the posts of this run from all others.
pub(super) fn write_text(run: u32, head: Head, size: usize, out: &mut String) {
    let Head { lane, seq, since } = head;
    let start = out.len();
    // Writing to a string does not fail.
    let _ = write!(out, "{MARK}{run:08x} {lane:06x} {:08x} {since:016x}", seq as u32);
    let fill = size.saturating_sub(out.len() - start);
    out.extend((0..fill).map(|i| char::from(b'a' + ((seq as usize).wrapping_add(i) % 26) as u8)));
}

/// The size of a post's text.
pub(super) fn size_of(sizes: crate::cli::values::Sizes, lane: u32, seq: u64) -> usize {
    let hash = (seq ^ u64::from(lane) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    sizes.min + ((hash >> 32) % (sizes.max - sizes.min + 1) as u64) as usize
}

/// Reads the head of a text of this run; `None`: somebody else's.
pub(super) fn read_head(run: u32, text: &str) -> Option<Head> {
    let mut words = text.get(..HEAD_LEN)?.strip_prefix(MARK)?.split(' ');
    let mut number = || u64::from_str_radix(words.next()?, 16).ok();
    if number()? != u64::from(run) {
        return None;
    }
    Some(Head { lane: number()? as u32, seq: number()?, since: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_long_as_it_should_be_and_says_whose_it_is() {
        for size in [SHORTEST_TEXT, 60, 80, 4096] {
            let head = Head { lane: 99_999, seq: 12_345, since: 98_765_432_109_876 };
            let mut text = String::new();
            write_text(7, head, size, &mut text);
            assert_eq!((text.len(), read_head(7, &text)), (size, Some(head)));
            assert_eq!(read_head(8, &text), None);
        }
        for foreign in ["", "hello", "lg ", &"lg x".repeat(30), &"é".repeat(40)] {
            assert_eq!(read_head(7, foreign), None, "{foreign}");
        }
    }
}
