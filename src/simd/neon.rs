//! `AArch64`: NEON, which every such processor has.
#![expect(unsafe_code, reason = "vector instructions")]
#![expect(
    clippy::inline_always,
    reason = "the bodies must melt into a caller compiled for the instruction set"
)]

use std::arch::aarch64::{
    uint8x16_t, vdupq_n_u32, veorq_u8, vld1q_u8, vmaxvq_u8, vorrq_u8, vreinterpretq_u8_u32, vst1q_u8,
};

use super::dispatch::Kernel;
use super::kernel::xor;
use super::lanes::{InstructionSet, Lanes, Pair};

pub(super) enum Neon {}

impl InstructionSet for Neon {
    type Lanes16 = uint8x16_t;
    type Lanes32 = Pair<uint8x16_t>;
    type Lanes64 = Pair<Pair<uint8x16_t>>;
}

/// The kernels that this processor can run, best first.
pub(super) fn detected() -> Vec<Kernel> {
    // SAFETY: NEON is part of AArch64 as Rust compiles for it.
    vec![unsafe { Kernel::new("neon", xor_neon, watch_neon) }]
}

#[target_feature(enable = "neon")]
fn xor_neon(payload: &mut [u8], key: u32) {
    // SAFETY: the function is compiled for the instruction set and so called only where it exists.
    unsafe { xor::<Neon>(payload, key) };
}

#[target_feature(enable = "neon")]
fn watch_neon(payload: &mut [u8], key: u32) -> bool {
    // SAFETY: the function is compiled for the instruction set and so called only where it exists.
    unsafe { xor::<Neon>(payload, key) }
}

impl Lanes for uint8x16_t {
    const BYTES: usize = size_of::<Self>();

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for the octets and the instruction set; the load needs no alignment.
        unsafe { vld1q_u8(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller vouches for the octets and the instruction set; the store needs no alignment.
        unsafe { vst1q_u8(to, self) }
    }

    #[inline(always)]
    unsafe fn splat(key: u32) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { vreinterpretq_u8_u32(vdupq_n_u32(key)) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { veorq_u8(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { vorrq_u8(self, other) }
    }

    #[inline(always)]
    unsafe fn has_high_bit(self) -> bool {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { vmaxvq_u8(self) >= 0x80 }
    }
}
