//! UTF-8 validation that is fail-fast and incremental across fragments (RFC 6455 8.1).

use super::dispatch::{Kernel, Text, best, choose, xor_mask, xor_short_ascii};

/// How much is unmasked before it is validated: it must still be in the first-level cache (32 KiB and up) by then.
pub(super) const BLOCK: usize = 16 * 1024;

/// What simdutf8 validates at a time: it leaves a shorter text to the standard library, octet by octet.
const SIMD_RUN: usize = 64;

/// From this length on, a copy of the text padded to [`SIMD_RUN`] is validated sooner than octet by octet.
const WORTH_PADDING: usize = 32;

/// A text message holds octets that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUtf8;

impl std::fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text is not UTF-8")
    }
}

impl std::error::Error for InvalidUtf8 {}

/// Validates a text message that arrives in pieces cut anywhere.
///
/// Call [`validate`](Self::validate) or [`unmask_and_validate`](Self::unmask_and_validate) for each piece in order, then
/// [`finish`](Self::finish). It keeps no text but the at most three octets of a code point that the last piece cut. It
/// fails at the first piece that no continuation can make valid, and is of no use after that.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8Validator {
    /// The beginning of a code point that the pieces so far end in.
    pending: [u8; 3],
    pending_len: u8,
}

impl Utf8Validator {
    /// Validates the next piece.
    #[inline]
    pub fn validate(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        if self.pending_len == 0 && cut_len(piece) == 0 { is_utf8(piece) } else { self.validate_cut(piece) }
    }

    /// Unmasks `piece` in place (as [`xor_mask`](super::xor_mask)) and validates it, reading memory once.
    ///
    /// Where it fails, the rest of `piece` may be left masked.
    pub fn unmask_and_validate(
        &mut self,
        piece: &mut [u8],
        key: [u8; 4],
        phase: usize,
    ) -> Result<(), InvalidUtf8> {
        if self.pending_len == 0 && xor_short_ascii(piece, key, phase) {
            return Ok(());
        }
        match best() {
            Some(kernel) => self.unmask_and_validate_by(piece, key, phase, kernel),
            None => self.choose_then_unmask_and_validate(piece, key, phase),
        }
    }

    /// The first call. It is last in its caller and takes the same arguments, so that every other call saves no register.
    #[cold]
    #[inline(never)]
    fn choose_then_unmask_and_validate(
        &mut self,
        piece: &mut [u8],
        key: [u8; 4],
        phase: usize,
    ) -> Result<(), InvalidUtf8> {
        self.unmask_and_validate_by(piece, key, phase, choose())
    }

    /// [`unmask_and_validate`](Self::unmask_and_validate) with one kernel.
    #[inline]
    pub(super) fn unmask_and_validate_by(
        &mut self,
        piece: &mut [u8],
        key: [u8; 4],
        phase: usize,
        kernel: &Kernel,
    ) -> Result<(), InvalidUtf8> {
        if self.pending_len != 0 {
            return self.unmask_and_validate_pending(piece, key, phase, kernel);
        }
        match kernel.unmask_text(piece, key, phase) {
            Some(Text::Whole) => Ok(()),
            Some(Text::Cut) => self.keep_pending(&piece[piece.len() - cut_len(piece)..]),
            Some(Text::Unsure) => self.validate_cut(piece),
            None => self.unmask_then_validate(piece, key, phase, kernel),
        }
    }

    /// [`unmask_and_validate_by`](Self::unmask_and_validate_by) for a piece that begins inside a code point.
    #[cold]
    #[inline(never)]
    fn unmask_and_validate_pending(
        &mut self,
        piece: &mut [u8],
        key: [u8; 4],
        phase: usize,
        kernel: &Kernel,
    ) -> Result<(), InvalidUtf8> {
        let head_len = self.missing_len().min(piece.len());
        let (head, body) = piece.split_at_mut(head_len);
        xor_mask(head, key, phase);
        self.complete_pending(head)?;
        if body.is_empty() {
            Ok(())
        } else {
            self.unmask_and_validate_by(body, key, phase + head_len, kernel)
        }
    }

    /// Where no kernel validates what it unmasks: block by block, while the octets are still in the cache.
    #[inline(never)]
    fn unmask_then_validate(
        &mut self,
        piece: &mut [u8],
        key: [u8; 4],
        phase: usize,
        kernel: &Kernel,
    ) -> Result<(), InvalidUtf8> {
        // A block is a multiple of four octets long, so each begins at the same octet of the masking-key.
        for block in piece.chunks_mut(BLOCK) {
            if !kernel.xor_mask_is_ascii(block, key, phase) || self.pending_len != 0 {
                self.validate(block)?;
            }
        }
        Ok(())
    }

    /// Ends the message: fails when it stopped inside a code point.
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.pending_len == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// [`validate`](Self::validate) for a piece that begins or ends inside a code point.
    #[cold]
    #[inline(never)]
    fn validate_cut(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let (head, body) = piece.split_at(self.missing_len().min(piece.len()));
        self.complete_pending(head)?;
        let (whole, cut) = body.split_at(body.len() - cut_len(body));
        is_utf8(whole)?;
        self.keep_pending(cut)
    }

    /// How many octets the pending code point still lacks.
    fn missing_len(self) -> usize {
        if self.pending_len == 0 {
            0
        } else {
            code_point_len(self.pending[0]) - usize::from(self.pending_len)
        }
    }

    /// Adds `octets`, at most [`missing_len`](Self::missing_len) of them, to the pending code point.
    fn complete_pending(&mut self, octets: &[u8]) -> Result<(), InvalidUtf8> {
        if octets.is_empty() {
            return Ok(());
        }
        let pending_len = usize::from(self.pending_len);
        let mut joined = [0; 4];
        joined[..pending_len].copy_from_slice(&self.pending[..pending_len]);
        let joined_len = pending_len + octets.len();
        joined[pending_len..joined_len].copy_from_slice(octets);
        if joined_len < code_point_len(joined[0]) {
            return self.keep_pending(&joined[..joined_len]);
        }
        self.pending_len = 0;
        std::str::from_utf8(&joined[..joined_len]).map(|_| ()).map_err(|_| InvalidUtf8)
    }

    /// Keeps a code point that the piece cuts, unless no continuation can make it valid.
    #[inline(never)]
    fn keep_pending(&mut self, cut: &[u8]) -> Result<(), InvalidUtf8> {
        if cut.is_empty() {
            return Ok(());
        }
        if let Err(error) = std::str::from_utf8(cut)
            && error.error_len().is_some()
        {
            return Err(InvalidUtf8);
        }
        self.pending[..cut.len()].copy_from_slice(cut);
        self.pending_len = cut.len() as u8;
        Ok(())
    }
}

/// How many octets the code point that begins with `lead` has; what is no lead octet counts as one, or is caught later.
const fn code_point_len(lead: u8) -> usize {
    match lead {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

/// How many octets at the end of `text`, at most three, begin a code point that goes on behind it.
#[inline]
fn cut_len(text: &[u8]) -> usize {
    for (back, octet) in (1..=3).zip(text.iter().rev()) {
        let is_continuation = octet & 0xc0 == 0x80;
        if !is_continuation {
            return if code_point_len(*octet) > back { back } else { 0 };
        }
    }
    0
}

#[inline]
fn is_utf8(text: &[u8]) -> Result<(), InvalidUtf8> {
    let is_valid = if cfg!(simd_off) {
        std::str::from_utf8(text).is_ok()
    } else if (WORTH_PADDING..SIMD_RUN).contains(&text.len()) {
        // NUL is valid, and the text before it is whole.
        let mut padded = [0; SIMD_RUN];
        padded[..text.len()].copy_from_slice(text);
        simdutf8::basic::from_utf8(&padded).is_ok()
    } else {
        simdutf8::basic::from_utf8(text).is_ok()
    };
    if is_valid { Ok(()) } else { Err(InvalidUtf8) }
}
