//! Octets on their way into records.

use std::borrow::Cow;
use std::io::IoSlice;

/// Octets of one record at most before encryption (RFC 8446 5.1).
const MAX_PLAIN: usize = 16 * 1024;

/// What is left to be written.
pub(super) struct Rest<'s> {
    slices: &'s [IoSlice<'s>],
    /// Octets of the first slice that are done.
    at: usize,
}

impl<'s> Rest<'s> {
    pub(super) fn new(slices: &'s [IoSlice<'s>]) -> Self {
        Self { slices, at: 0 }
    }

    /// Passes over an octet that is written already; returns how many there were.
    pub(super) fn skip_first(&mut self) -> usize {
        let has_one = !self.is_empty();
        self.at += usize::from(has_one);
        usize::from(has_one)
    }

    /// Whether nothing is left; passes over empty slices.
    pub(super) fn is_empty(&mut self) -> bool {
        while self.slices.first().is_some_and(|first| first.len() <= self.at) {
            self.slices = &self.slices[1..];
            self.at = 0;
        }
        self.slices.is_empty()
    }

    /// The next piece of at most `most` octets. A slice that is shorter than a record is put together with what follows, to a
    /// record; a longer one is taken as it is.
    pub(super) fn next(&mut self, most: usize) -> Option<Cow<'s, [u8]>> {
        if self.is_empty() {
            return None;
        }
        let first = self.take(most);
        if first.len() >= MAX_PLAIN.min(most) || self.is_empty() {
            return Some(first.into());
        }
        let mut gathered = Vec::with_capacity(MAX_PLAIN);
        gathered.extend_from_slice(first);
        while gathered.len() < MAX_PLAIN.min(most) && !self.is_empty() {
            gathered.extend_from_slice(self.take(MAX_PLAIN.min(most) - gathered.len()));
        }
        Some(gathered.into())
    }

    /// At most `most` octets of the first slice.
    fn take(&mut self, most: usize) -> &'s [u8] {
        let left = &self.slices[0][self.at..];
        let piece = &left[..left.len().min(most)];
        self.at += piece.len();
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the pieces, each of at most `most` octets, after it was checked that nothing is lost.
    fn pieces(lens: &[usize], skipped: bool, most: usize) -> Vec<usize> {
        let octets: Vec<u8> = (0..lens.iter().sum::<usize>()).map(|at| at as u8).collect();
        let mut left = octets.as_slice();
        let slices: Vec<IoSlice<'_>> =
            lens.iter().map(|len| IoSlice::new(left.split_off(..*len).unwrap())).collect();
        let mut rest = Rest::new(&slices);
        let skipped = if skipped { rest.skip_first() } else { 0 };
        let (mut all, mut found) = (octets[..skipped].to_vec(), Vec::new());
        while let Some(piece) = rest.next(most) {
            assert!((1..=most).contains(&piece.len()));
            all.extend_from_slice(&piece);
            found.push(piece.len());
        }
        assert!(rest.is_empty());
        assert_eq!(all, octets);
        found
    }

    #[test]
    fn short_slices_become_records_and_long_ones_are_not_copied() {
        const K: usize = 1024;
        let most = 65 * K;
        for (lens, expected) in [
            (&[][..], &[][..]),
            (&[0, 0], &[]),
            (&[20], &[20]),
            (&[20, 30, 0, 40], &[90]),
            (&[10, 64 * K], &[16 * K, 48 * K + 10]),
            (&[10, 16 * K - 10, 5], &[16 * K, 5]),
            (&[16 * K, 1], &[16 * K, 1]),
            (&[200 * K], &[65 * K, 65 * K, 65 * K, 5 * K]),
            (&[1, 200 * K, 1], &[16 * K, 65 * K, 65 * K, 54 * K + 1, 1]),
        ] {
            assert_eq!(pieces(lens, false, most), expected, "{lens:?}");
            pieces(lens, true, most);
        }
        assert_eq!(pieces(&[100, 100], false, 7).len(), 29);
        assert_eq!(pieces(&[1, 1, 100], true, 7), [7; 14].into_iter().chain([3]).collect::<Vec<_>>());
    }
}
