//! Unmasking and validating text in registers, with AVX2.
//!
//! The lookup algorithm of J. Keiser and D. Lemire, "Validating UTF-8 in less than one instruction per byte" (2020):
//! three tables, indexed by the high and the low half of an octet and the high half of the next, name the ways in which
//! the two cannot stand side by side; what they have in common is an error. Whether a third or fourth octet must be a
//! continuation is compared with where one was seen.
//!
//! What is short fits one register, filled up with zeros; what is longer ends with a register that overlaps the one
//! before. As in [`super::kernel`], what overlaps is loaded before any of it is stored.
#![expect(unsafe_code, reason = "vector registers are loaded and stored through raw pointers")]
#![expect(clippy::inline_always, reason = "what is generic must melt into a caller compiled for AVX2")]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm_set_epi64x, _mm_set1_epi32, _mm_setr_epi8, _mm_setzero_si128,
    _mm_shuffle_epi8, _mm_storeu_si128, _mm_xor_si128, _mm256_alignr_epi8, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set_m128i, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_setr_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_si256,
    _mm256_subs_epu8, _mm256_testz_si256, _mm256_xor_si256, _mm256_zextsi128_si256,
};

use super::dispatch::Text;
use super::kernel::turn;
use super::lanes::Lanes;

pub(super) const REGISTER: usize = size_of::<__m256i>();
const HALF: usize = size_of::<__m128i>();
/// What two registers hold.
pub(super) const PAIR: usize = 2 * REGISTER;
pub(super) const TWO_PAIRS: usize = 2 * PAIR;

/// A lead octet without its continuation.
const TOO_SHORT: u8 = 1 << 0;
/// A continuation octet behind ASCII.
const TOO_LONG: u8 = 1 << 1;
const OVERLONG_3: u8 = 1 << 2;
const TOO_LARGE: u8 = 1 << 3;
const SURROGATE: u8 = 1 << 4;
const OVERLONG_2: u8 = 1 << 5;
/// What is above U+10FFFF by its lead octet, and the overlong form of four octets.
const TOO_LARGE_1000: u8 = 1 << 6;
const OVERLONG_4: u8 = 1 << 6;
/// Two continuation octets in a row: an error unless the lead octet before them asks for it.
const TWO_CONTINUATIONS: u8 = 1 << 7;
/// What does not depend on the low half of the first octet.
const CARRY: u8 = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS;

const FIRST_HIGH: [u8; 16] = {
    let mut table = [TOO_LONG; 16];
    (table[0x8], table[0x9], table[0xa], table[0xb]) =
        (TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS);
    (table[0xc], table[0xd]) = (TOO_SHORT | OVERLONG_2, TOO_SHORT);
    table[0xe] = TOO_SHORT | OVERLONG_3 | SURROGATE;
    table[0xf] = TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4;
    table
};

const FIRST_LOW: [u8; 16] = {
    let mut table = [CARRY | TOO_LARGE | TOO_LARGE_1000; 16];
    table[0x0] = CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4;
    table[0x1] = CARRY | OVERLONG_2;
    (table[0x2], table[0x3]) = (CARRY, CARRY);
    table[0x4] = CARRY | TOO_LARGE;
    table[0xd] |= SURROGATE;
    table
};

const SECOND_HIGH: [u8; 16] = {
    let continuation = TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS;
    let mut table = [TOO_SHORT; 16];
    table[0x8] = continuation | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4;
    table[0x9] = continuation | OVERLONG_3 | TOO_LARGE;
    (table[0xa], table[0xb]) = (continuation | SURROGATE | TOO_LARGE, continuation | SURROGATE | TOO_LARGE);
    table
};

/// Indices that shuffle up to 16 octets to the front, and zeros behind them.
const SLIDE: [u8; 2 * HALF] = {
    let mut indices = [0x80; 2 * HALF];
    let mut at = 0;
    while at < HALF {
        indices[at] = at as u8;
        at += 1;
    }
    indices
};

/// Unmasks `payload`, which begins at a code point, and validates it.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn unmask_and_validate(payload: &mut [u8], key: u32) -> Text {
    if payload.len() <= REGISTER { unmask_short(payload, key) } else { unmask_long(payload, key) }
}

#[inline(never)]
#[target_feature(enable = "avx2")]
fn unmask_short(payload: &mut [u8], key: u32) -> Text {
    // SAFETY: each arm has the lengths that its function asks for.
    unsafe {
        match payload.len() {
            4..=8 => unmask_words(payload, key),
            9..=HALF => unmask_double_words(payload, key),
            17..=REGISTER => unmask_halves(payload, key),
            _ => unmask_octets(payload, key),
        }
    }
}

/// # Panics
/// If `payload` is not longer than a register.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn unmask_long(payload: &mut [u8], key: u32) -> Text {
    assert!(payload.len() > REGISTER);
    // SAFETY: each arm has the lengths that its function asks for.
    unsafe {
        match payload.len() {
            PAIR => unmask_pair(payload, key),
            ..PAIR => unmask_two(payload, key),
            _ => unmask_many(payload, key),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn unmask_octets(payload: &mut [u8], key: u32) -> Text {
    let mut text = [0; 8];
    for (at, (octet, key)) in payload.iter_mut().zip(key.to_le_bytes()).enumerate() {
        *octet ^= key;
        text[at] = *octet;
    }
    whole_half(_mm_set_epi64x(0, i64::from_le_bytes(text)))
}

/// # Safety
/// `payload` has four to eight octets.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unmask_words(payload: &mut [u8], key: u32) -> Text {
    // SAFETY: the caller vouches for the length.
    let (head, tail) = unsafe { unmask_ends::<u32>(payload, key) };
    let text = u64::from(head) | u64::from(tail) >> (8 * (8 - payload.len())) << 32;
    whole_half(_mm_set_epi64x(0, text.cast_signed()))
}

/// # Safety
/// `payload` has nine to sixteen octets.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unmask_double_words(payload: &mut [u8], key: u32) -> Text {
    // SAFETY: the caller vouches for the length.
    let (head, tail) = unsafe { unmask_ends::<u64>(payload, key) };
    let tail = tail >> (8 * (16 - payload.len()));
    whole_half(_mm_set_epi64x(tail.cast_signed(), head.cast_signed()))
}

/// # Safety
/// `payload` has 17 to 32 octets.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unmask_halves(payload: &mut [u8], key: u32) -> Text {
    // SAFETY: the caller vouches for the length; of `SLIDE` 16 octets from at most its 16th on are loaded.
    let (head, tail) = unsafe {
        let (head, tail) = unmask_ends::<__m128i>(payload, key);
        let slide = _mm_loadu_si128(SLIDE.as_ptr().add(REGISTER - payload.len()).cast());
        (head, _mm_shuffle_epi8(tail, slide))
    };
    let text = _mm256_set_m128i(tail, head);
    // Behind 32 octets there is no zero to tell that a code point is cut.
    let errors = _mm256_or_si256(errors_behind(text, _mm256_setzero_si256()), unfinished_at_end(text));
    whole_unless(errors)
}

/// Unmasks a payload that one run from the front and one to the back cover, and returns the two.
///
/// # Safety
/// The processor has the instructions of `L`, and `L::BYTES <= payload.len() <= 2 * L::BYTES`.
#[inline(always)]
unsafe fn unmask_ends<L: Lanes>(payload: &mut [u8], key: u32) -> (L, L) {
    let (front, len) = (payload.as_mut_ptr(), payload.len());
    // SAFETY: the caller vouches for the instructions and that L::BYTES octets lie between either end and the other.
    unsafe {
        let back = front.add(len - L::BYTES);
        let head = L::load(front).xor(L::splat(key));
        let tail = L::load(back).xor(L::splat(turn(key, len)));
        head.store(front);
        tail.store(back);
        (head, tail)
    }
}

/// # Safety
/// `payload` has 33 to 64 octets.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unmask_two(payload: &mut [u8], key: u32) -> Text {
    let (front, len) = (payload.as_mut_ptr(), payload.len());
    // SAFETY: the caller vouches for the payload: three octets are before its last 16, and before its last 32 where it
    // has more than 48.
    unsafe {
        let first = _mm256_xor_si256(load(front), splat(key));
        let (tail, back1, back2, back3);
        if len <= REGISTER + HALF {
            // In the high half, behind zeros.
            let at = |back: usize| {
                let mask = _mm_set1_epi32(turn(key, len - back).cast_signed());
                let octets = _mm_loadu_si128(front.add(len - HALF - back).cast());
                _mm256_set_m128i(_mm_xor_si128(octets, mask), _mm_setzero_si128())
            };
            (tail, back1, back2, back3) = (at(0), at(1), at(2), at(3));
            _mm_storeu_si128(front.add(len - HALF).cast(), _mm256_extracti128_si256::<1>(tail));
        } else {
            let at = |back: usize| {
                _mm256_xor_si256(load(front.add(len - REGISTER - back)), splat(turn(key, len - back)))
            };
            (tail, back1, back2, back3) = (at(0), at(1), at(2), at(3));
            _mm256_storeu_si256(front.add(len - REGISTER).cast(), tail);
        }
        _mm256_storeu_si256(front.cast(), first);
        let in_tail = _mm256_or_si256(errors(tail, back1, back2, back3), unfinished_at_end(tail));
        whole_unless(_mm256_or_si256(errors_behind(first, _mm256_setzero_si256()), in_tail))
    }
}

/// # Safety
/// `payload` has 64 octets.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unmask_pair(payload: &mut [u8], key: u32) -> Text {
    let (front, mask) = (payload.as_mut_ptr(), splat(key));
    // SAFETY: the caller vouches for the payload.
    let (one, two) = unsafe {
        let one = _mm256_xor_si256(load(front), mask);
        let two = _mm256_xor_si256(load(front.add(REGISTER)), mask);
        _mm256_storeu_si256(front.cast(), one);
        _mm256_storeu_si256(front.add(REGISTER).cast(), two);
        (one, two)
    };
    let in_two = _mm256_or_si256(errors_behind(two, one), unfinished_at_end(two));
    whole_unless(_mm256_or_si256(errors_behind(one, _mm256_setzero_si256()), in_two))
}

/// # Safety
/// `payload` has more than 64 octets.
#[target_feature(enable = "avx2")]
unsafe fn unmask_many(payload: &mut [u8], key: u32) -> Text {
    let len = payload.len();
    if len.is_multiple_of(PAIR) {
        let (error, last) = unmask_pairs(payload, key);
        return verdict(error, last);
    }
    let (back, mask) = (len - REGISTER, splat(turn(key, len)));
    // SAFETY: the caller vouches for two registers at the end.
    let (before_last, last) = unsafe {
        let front = payload.as_ptr();
        (load(front.add(back - REGISTER)), load(front.add(back)))
    };
    let (mut error, previous) = unmask_pairs(payload, key);
    let front = payload.as_mut_ptr();
    // SAFETY: `at` is at least 32 octets before the end where that is checked, and so is `back`.
    unsafe {
        let at = len - len % PAIR;
        if at < back {
            let one = _mm256_xor_si256(load(front.add(at)), splat(key));
            _mm256_storeu_si256(front.add(at).cast(), one);
            error = _mm256_or_si256(error, errors_behind(one, previous));
        }
        // Of the octets that it has in common with the register before it, an error is found twice.
        let (before_last, last) = (_mm256_xor_si256(before_last, mask), _mm256_xor_si256(last, mask));
        _mm256_storeu_si256(front.add(back).cast(), last);
        verdict(_mm256_or_si256(error, errors_behind(last, before_last)), last)
    }
}

/// Unmasks and validates as many whole pairs of registers as there are; returns the errors, and the last register of them.
#[inline]
#[target_feature(enable = "avx2")]
fn unmask_pairs(payload: &mut [u8], key: u32) -> (__m256i, __m256i) {
    let (mut error, mut previous, mask) = (_mm256_setzero_si256(), _mm256_setzero_si256(), splat(key));
    for pair in payload.chunks_exact_mut(PAIR) {
        let front = pair.as_mut_ptr();
        // SAFETY: the pair has 64 octets.
        let (one, two) = unsafe {
            let one = _mm256_xor_si256(load(front), mask);
            let two = _mm256_xor_si256(load(front.add(REGISTER)), mask);
            _mm256_storeu_si256(front.cast(), one);
            _mm256_storeu_si256(front.add(REGISTER).cast(), two);
            (one, two)
        };
        if _mm256_movemask_epi8(_mm256_or_si256(one, two)) == 0 {
            error = _mm256_or_si256(error, unfinished_at_end(previous));
        } else {
            error = _mm256_or_si256(error, errors_behind(one, previous));
            error = _mm256_or_si256(error, errors_behind(two, one));
        }
        previous = two;
    }
    (error, previous)
}

/// What text is that has these errors, and ends with this register.
#[inline]
#[target_feature(enable = "avx2")]
fn verdict(error: __m256i, last: __m256i) -> Text {
    if is_zero(_mm256_or_si256(error, unfinished_at_end(last))) {
        Text::Whole
    } else if is_zero(error) {
        Text::Cut
    } else {
        Text::Unsure
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn is_zero(register: __m256i) -> bool {
    _mm256_testz_si256(register, register) != 0
}

/// What a text of at most 16 octets is, filled up with zeros, which are an error behind a code point that is cut.
#[inline]
#[target_feature(enable = "avx2")]
fn whole_half(text: __m128i) -> Text {
    whole_unless(errors_behind(_mm256_zextsi128_si256(text), _mm256_setzero_si256()))
}

#[inline]
#[target_feature(enable = "avx2")]
fn whole_unless(errors: __m256i) -> Text {
    if is_zero(errors) { Text::Whole } else { Text::Unsure }
}

/// # Safety
/// `from` is valid for reading 32 octets.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(from: *const u8) -> __m256i {
    // SAFETY: the caller vouches for the octets; the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(key: u32) -> __m256i {
    _mm256_set1_epi32(key.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat_octet(octet: u8) -> __m256i {
    _mm256_set1_epi8(octet.cast_signed())
}

/// Nothing but zeros unless the last three octets begin a code point that goes on behind them.
#[inline]
#[target_feature(enable = "avx2")]
fn unfinished_at_end(text: __m256i) -> __m256i {
    // The greatest octets that may stand there, the last one highest.
    let greatest = 0xbf_df_ef_ff_ff_ff_ff_ff_u64.cast_signed();
    _mm256_subs_epu8(text, _mm256_setr_epi64x(-1, -1, -1, greatest))
}

/// [`errors`] in `text`, which follows `previous`.
#[inline]
#[target_feature(enable = "avx2")]
fn errors_behind(text: __m256i, previous: __m256i) -> __m256i {
    let middle = _mm256_permute2x128_si256::<0x21>(previous, text);
    errors(
        text,
        _mm256_alignr_epi8::<15>(text, middle),
        _mm256_alignr_epi8::<14>(text, middle),
        _mm256_alignr_epi8::<13>(text, middle),
    )
}

/// Nothing but zeros unless an octet of `text` cannot stand behind the octets one, two and three places before it.
#[inline]
#[target_feature(enable = "avx2")]
fn errors(text: __m256i, back1: __m256i, back2: __m256i, back3: __m256i) -> __m256i {
    let low = splat_octet(0x0f);
    let high_half = |octets| _mm256_and_si256(_mm256_srli_epi16::<4>(octets), low);
    let first_high = look_up(&FIRST_HIGH, high_half(back1));
    let first_low = look_up(&FIRST_LOW, _mm256_and_si256(back1, low));
    let second_high = look_up(&SECOND_HIGH, high_half(text));
    let pair = _mm256_and_si256(_mm256_and_si256(first_high, first_low), second_high);
    // The high bit where the octet is the third of a code point of three or four, or the fourth of four.
    let third = _mm256_subs_epu8(back2, splat_octet(0xe0 - 0x80));
    let fourth = _mm256_subs_epu8(back3, splat_octet(0xf0 - 0x80));
    let continues = _mm256_and_si256(_mm256_or_si256(third, fourth), splat_octet(0x80));
    _mm256_xor_si256(continues, pair)
}

#[inline]
#[target_feature(enable = "avx2")]
fn look_up(table: &[u8; 16], index: __m256i) -> __m256i {
    let t = table.map(u8::cast_signed);
    let table = _mm_setr_epi8(
        t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12], t[13], t[14], t[15],
    );
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), index)
}
