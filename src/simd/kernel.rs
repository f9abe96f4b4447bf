//! The algorithm, written once: exclusive or with the masking-key, watching for octets outside ASCII on the way.
//!
//! Unmasking is not idempotent, so no octet may be transformed twice. Where two stores overlap, both are computed from
//! what was loaded before either of them was stored: then any length takes a fixed, small number of whole registers and
//! no loop over single octets.
//!
//! A caller that ignores the returned flag does not pay for it: the functions are inlined into a caller per
//! instruction set, and the compiler drops what is unused.
#![expect(unsafe_code, reason = "the generic algorithm calls vector instructions on raw pointers")]
#![expect(
    clippy::inline_always,
    reason = "the bodies must melt into a caller compiled for the instruction set"
)]

use super::lanes::{InstructionSet, Lanes, Pair};

/// Turns the masking-key, whose octet 0 is the lowest, so that it begins at octet `phase % 4`.
#[inline(always)]
pub(super) const fn turn(key: u32, phase: usize) -> u32 {
    key.rotate_right(8 * (phase % 4) as u32)
}

/// Masks a payload of any length; returns whether the result holds an octet outside ASCII.
///
/// # Safety
/// The processor has the instruction set `I`.
#[inline(always)]
pub(super) unsafe fn xor<I: InstructionSet>(payload: &mut [u8], key: u32) -> bool {
    let len = payload.len();
    // SAFETY: the caller vouches for the instruction set, the branches for the lengths.
    unsafe {
        if len <= 2 * I::Lanes16::BYTES {
            xor_short::<I, false>(payload, key)
        } else if len <= 2 * I::Lanes32::BYTES {
            xor_ends::<I::Lanes32, false>(payload, key)
        } else if len <= 2 * I::Lanes64::BYTES {
            xor_ends::<I::Lanes64, false>(payload, key)
        } else {
            xor_long::<I::Lanes64>(payload, key)
        }
    }
}

/// [`xor`] for a payload of at most 32 octets; with `ONLY_ASCII` it is left as it is where the result is not ASCII.
///
/// # Safety
/// The processor has the instruction set `I`, and `payload.len() <= 32`.
#[inline(always)]
pub(super) unsafe fn xor_short<I: InstructionSet, const ONLY_ASCII: bool>(
    payload: &mut [u8],
    key: u32,
) -> bool {
    let len = payload.len();
    // SAFETY: the caller vouches for the instruction set and the greatest length, the branches for the least.
    unsafe {
        if len >= 16 {
            xor_ends::<I::Lanes16, ONLY_ASCII>(payload, key)
        } else if len >= 8 {
            xor_ends::<u64, ONLY_ASCII>(payload, key)
        } else if len >= 4 {
            xor_ends::<u32, ONLY_ASCII>(payload, key)
        } else if len > 0 {
            xor_octets::<ONLY_ASCII>(payload, key)
        } else {
            false
        }
    }
}

/// One to three octets: first, middle and last, which coincide in part.
#[inline(always)]
fn xor_octets<const ONLY_ASCII: bool>(payload: &mut [u8], key: u32) -> bool {
    let (middle, last) = (payload.len() / 2, payload.len() - 1);
    let key = key.to_le_bytes();
    let octets = (payload[0] ^ key[0], payload[middle] ^ key[middle], payload[last] ^ key[last]);
    let seen = (octets.0 | octets.1 | octets.2) & 0x80 != 0;
    if !(ONLY_ASCII && seen) {
        (payload[0], payload[middle], payload[last]) = octets;
    }
    seen
}

/// A payload that one run from the front and one run to the back cover, overlapping where it is shorter than both.
/// `ONLY_ASCII` as in [`xor_short`].
///
/// # Safety
/// The processor has the instructions of `L`, and `L::BYTES <= payload.len() <= 2 * L::BYTES`.
#[inline(always)]
unsafe fn xor_ends<L: Lanes, const ONLY_ASCII: bool>(payload: &mut [u8], key: u32) -> bool {
    debug_assert!((L::BYTES..=2 * L::BYTES).contains(&payload.len()));
    let front = payload.as_mut_ptr();
    // SAFETY: the caller vouches for the instructions and that L::BYTES octets lie between either end and the other.
    unsafe {
        let back = front.add(payload.len() - L::BYTES);
        let first = L::load(front).xor(L::splat(key));
        let last = L::load(back).xor(L::splat(turn(key, payload.len())));
        let seen = first.or(last).has_high_bit();
        if !(ONLY_ASCII && seen) {
            first.store(front);
            last.store(back);
        }
        seen
    }
}

/// A long payload: unaligned ends as in [`xor_ends`], and between them stores that never cross a cache line, because a
/// store that does so costs two.
///
/// # Safety
/// The processor has the instructions of `L`, `L::BYTES` is a power of two, and `payload.len() >= 2 * L::BYTES`.
#[inline(always)]
unsafe fn xor_long<L: Lanes>(payload: &mut [u8], key: u32) -> bool {
    debug_assert!(payload.len() >= 2 * L::BYTES);
    let (front, len) = (payload.as_mut_ptr(), payload.len());
    let mut at = front.addr().wrapping_neg() % L::BYTES;
    // SAFETY: the caller vouches for the instructions; `at < L::BYTES` to begin with, and every access is behind a check
    // that its octets end before `len`, or begins `L::BYTES` before the end.
    unsafe {
        let back = front.add(len - L::BYTES);
        let first = L::load(front).xor(L::splat(key));
        let last = L::load(back).xor(L::splat(turn(key, len)));
        let mut seen = Pair(first, last);
        let mask = Pair::<L>::splat(turn(key, at));
        while at + 2 * L::BYTES <= len {
            let run = Pair::<L>::load(front.add(at)).xor(mask);
            run.store(front.add(at));
            seen = seen.or(run);
            at += 2 * L::BYTES;
        }
        if at + L::BYTES <= len {
            let run = L::load(front.add(at)).xor(mask.0);
            run.store(front.add(at));
            seen = seen.or(Pair(run, run));
        }
        // Only now: until here these octets had to stay as they came for the loop to load.
        first.store(front);
        last.store(back);
        seen.has_high_bit()
    }
}

/// Masks the ASCII that the result begins with and returns how many octets that is: all, or some number at which a code
/// point begins; the octets from there on are left masked. Of at most 32 octets none is looked at.
///
/// # Safety
/// The processor has the instruction set `I`.
#[cfg(all(target_arch = "x86_64", not(simd_off)))]
#[inline(always)]
pub(super) unsafe fn xor_ascii<I: InstructionSet>(payload: &mut [u8], key: u32) -> usize {
    let len = payload.len();
    // SAFETY: the caller vouches for the instruction set, the branches for the lengths.
    let seen = unsafe {
        if len <= 2 * I::Lanes16::BYTES {
            true
        } else if len <= 2 * I::Lanes32::BYTES {
            xor_ends::<I::Lanes32, true>(payload, key)
        } else if len <= 2 * I::Lanes64::BYTES {
            xor_ends::<I::Lanes64, true>(payload, key)
        } else {
            return xor_ascii_long::<I::Lanes64>(payload, key);
        }
    };
    if seen { 0 } else { len }
}

/// # Safety
/// As [`xor_long`].
#[cfg(all(target_arch = "x86_64", not(simd_off)))]
#[inline(always)]
unsafe fn xor_ascii_long<L: Lanes>(payload: &mut [u8], key: u32) -> usize {
    debug_assert!(payload.len() >= 2 * L::BYTES);
    let (front, len) = (payload.as_mut_ptr(), payload.len());
    let start = front.addr().wrapping_neg() % L::BYTES;
    let mut at = start;
    // SAFETY: as in `xor_long`.
    unsafe {
        let first = L::load(front).xor(L::splat(key));
        if first.has_high_bit() {
            return 0;
        }
        let back = front.add(len - L::BYTES);
        let last = L::load(back).xor(L::splat(turn(key, len)));
        let mask = Pair::<Pair<L>>::splat(turn(key, at));
        while at + 4 * L::BYTES <= len {
            let run = Pair::<Pair<L>>::load(front.add(at)).xor(mask);
            if run.has_high_bit() {
                break;
            }
            run.store(front.add(at));
            at += 4 * L::BYTES;
        }
        while at + L::BYTES <= len {
            let run = L::load(front.add(at)).xor(mask.0.0);
            if run.has_high_bit() {
                break;
            }
            run.store(front.add(at));
            at += L::BYTES;
        }
        if at == start {
            return 0;
        }
        // Only now: until here these octets had to stay as they came for the loops to load.
        first.store(front);
        if at + L::BYTES > len && !last.has_high_bit() {
            last.store(back);
            return len;
        }
    }
    at
}
