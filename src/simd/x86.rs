//! x86-64: SSE2 (which every such processor has), AVX2 and AVX-512.
#![expect(unsafe_code, reason = "vector instructions, behind detection")]

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi32,
    _mm_storeu_si128, _mm_xor_si128, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi32, _mm256_storeu_si256, _mm256_xor_si256, _mm512_loadu_si512, _mm512_or_si512,
    _mm512_set1_epi32, _mm512_storeu_si512, _mm512_test_epi32_mask, _mm512_xor_si512,
};

use super::dispatch::{Kernel, Text};
use super::kernel::{turn, xor, xor_ascii};
use super::lanes::{InstructionSet, Lanes, Pair};
use super::utf8_avx2;

pub(super) enum Sse2 {}

impl InstructionSet for Sse2 {
    type Lanes16 = __m128i;
    type Lanes32 = Pair<__m128i>;
    type Lanes64 = Pair<Pair<__m128i>>;
}

enum Avx2 {}

impl InstructionSet for Avx2 {
    type Lanes16 = __m128i;
    type Lanes32 = __m256i;
    type Lanes64 = Pair<__m256i>;
}

enum Avx512 {}

impl InstructionSet for Avx512 {
    type Lanes16 = __m128i;
    type Lanes32 = __m256i;
    type Lanes64 = __m512i;
}

/// The kernels that this processor can run, best first.
pub(super) fn detected() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: detected in the line above; AVX-512F implies AVX2.
        kernels.push(unsafe { Kernel::new("avx512", xor_avx512, watch_avx512).with_text(text_avx512) });
    }
    if is_x86_feature_detected!("avx2") {
        // SAFETY: detected in the line above.
        kernels.push(unsafe { Kernel::new("avx2", xor_avx2, watch_avx2).with_text(text_avx2) });
    }
    // SAFETY: SSE2 is part of x86-64.
    kernels.push(unsafe { Kernel::new("sse2", xor_sse2, watch_sse2) });
    kernels
}

/// Compiles the algorithm for one instruction set: once for masking alone, once watching for octets outside ASCII.
macro_rules! compile {
    ($set:ty, $features:literal, $xor:ident, $watch:ident) => {
        #[target_feature(enable = $features)]
        fn $xor(payload: &mut [u8], key: u32) {
            // SAFETY: the function is compiled for the instruction set and so called only where it exists.
            unsafe { xor::<$set>(payload, key) };
        }

        #[target_feature(enable = $features)]
        fn $watch(payload: &mut [u8], key: u32) -> bool {
            // SAFETY: the function is compiled for the instruction set and so called only where it exists.
            unsafe { xor::<$set>(payload, key) }
        }
    };
}

compile!(Sse2, "sse2", xor_sse2, watch_sse2);
compile!(Avx2, "avx2", xor_avx2, watch_avx2);
compile!(Avx512, "avx512f", xor_avx512, watch_avx512);

/// Compiles text for one instruction set, AVX2 or more: from the first octet outside ASCII on, AVX2 validates it.
macro_rules! compile_text {
    ($set:ty, $features:literal, $text:ident) => {
        #[target_feature(enable = $features)]
        fn $text(payload: &mut [u8], key: u32) -> Text {
            // These it validates sooner than it would look through them for ASCII.
            if matches!(payload.len(), 0..=utf8_avx2::REGISTER | utf8_avx2::PAIR | utf8_avx2::TWO_PAIRS) {
                return utf8_avx2::unmask_and_validate(payload, key);
            }
            // SAFETY: the function is compiled for the instruction set and so called only where it exists.
            match unsafe { xor_ascii::<$set>(payload, key) } {
                0 => utf8_avx2::unmask_and_validate(payload, key),
                all if all == payload.len() => Text::Whole,
                some => utf8_avx2::unmask_and_validate(&mut payload[some..], turn(key, some)),
            }
        }
    };
}

compile_text!(Avx2, "avx2", text_avx2);
compile_text!(Avx512, "avx512f", text_avx512);

/// Implements [`Lanes`] with one intrinsic per operation.
macro_rules! register_lanes {
    ($register:ty, $load:ident, $store:ident, $splat:ident, $xor:ident, $or:ident, $has_high_bit:expr) => {
        impl Lanes for $register {
            const BYTES: usize = size_of::<Self>();

            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller vouches for the octets and the instruction set; the load needs no alignment.
                unsafe { $load(from.cast()) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: the caller vouches for the octets and the instruction set; the store needs no alignment.
                unsafe { $store(to.cast(), self) }
            }

            #[inline(always)]
            unsafe fn splat(key: u32) -> Self {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $splat(key.cast_signed()) }
            }

            #[inline(always)]
            unsafe fn xor(self, other: Self) -> Self {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $xor(self, other) }
            }

            #[inline(always)]
            unsafe fn or(self, other: Self) -> Self {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $or(self, other) }
            }

            #[inline(always)]
            unsafe fn has_high_bit(self) -> bool {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $has_high_bit(self) }
            }
        }
    };
}

register_lanes!(
    __m128i,
    _mm_loadu_si128,
    _mm_storeu_si128,
    _mm_set1_epi32,
    _mm_xor_si128,
    _mm_or_si128,
    |register| _mm_movemask_epi8(register) != 0
);
register_lanes!(
    __m256i,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm256_set1_epi32,
    _mm256_xor_si256,
    _mm256_or_si256,
    |register| _mm256_movemask_epi8(register) != 0
);
register_lanes!(
    __m512i,
    _mm512_loadu_si512,
    _mm512_storeu_si512,
    _mm512_set1_epi32,
    _mm512_xor_si512,
    _mm512_or_si512,
    |register| _mm512_test_epi32_mask(register, _mm512_set1_epi32(0x8080_8080_u32.cast_signed())) != 0
);
