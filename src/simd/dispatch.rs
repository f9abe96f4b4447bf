//! Which kernel runs: chosen once, from what the processor is found to have.
#![expect(unsafe_code, reason = "kernels are compiled for instruction sets that the processor may lack")]

use std::fmt;
use std::sync::OnceLock;

use super::kernel::{turn, xor, xor_short};
use super::lanes::Scalar;

cfg_select! {
    all(target_arch = "x86_64", not(simd_off)) => {
        use super::x86::{Sse2 as Baseline, detected};
    }
    all(target_arch = "aarch64", target_endian = "little", not(simd_off)) => {
        use super::neon::{Neon as Baseline, detected};
    }
    _ => {
        use super::lanes::Scalar as Baseline;

        fn detected() -> Vec<Kernel> {
            Vec::new()
        }
    }
}

/// The masking algorithm compiled for one instruction set, which this processor has.
///
/// [`xor_mask`] takes the best one by itself; single kernels are for tests and measurements.
#[derive(Clone, Copy)]
pub struct Kernel {
    name: &'static str,
    xor: unsafe fn(&mut [u8], u32),
    watch: unsafe fn(&mut [u8], u32) -> bool,
    text: Option<TextKernel>,
}

/// Unmasks text that begins at a code point and validates it on the way.
type TextKernel = unsafe fn(&mut [u8], u32) -> Text;

/// What a kernel found text to be.
#[cfg_attr(
    not(all(target_arch = "x86_64", not(simd_off))),
    expect(dead_code, reason = "only AVX2 validates what it unmasks")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// UTF-8 that ends with a code point.
    Whole,
    /// UTF-8, if the octets that its end cuts off a code point are the beginning of one.
    Cut,
    /// Not whole, or not UTF-8.
    Unsure,
}

impl Kernel {
    /// # Safety
    /// The processor has the instruction set that the two functions are compiled for.
    pub(super) const unsafe fn new(
        name: &'static str,
        xor: unsafe fn(&mut [u8], u32),
        watch: unsafe fn(&mut [u8], u32) -> bool,
    ) -> Self {
        Self { name, xor, watch, text: None }
    }

    /// # Safety
    /// The processor has the instruction set that `text` is compiled for.
    #[cfg(all(target_arch = "x86_64", not(simd_off)))]
    pub(super) const unsafe fn with_text(mut self, text: TextKernel) -> Self {
        self.text = Some(text);
        self
    }

    /// The instruction set: `avx512`, `avx2`, `sse2`, `neon` or `scalar`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// [`xor_mask`] with this kernel.
    pub fn xor_mask(&self, payload: &mut [u8], key: [u8; 4], phase: usize) {
        // SAFETY: a kernel exists only where the processor has its instruction set (contract of `new`).
        unsafe { (self.xor)(payload, turn(u32::from_le_bytes(key), phase)) }
    }

    /// [`xor_mask`] with this kernel; returns whether the result is ASCII.
    pub fn xor_mask_is_ascii(&self, payload: &mut [u8], key: [u8; 4], phase: usize) -> bool {
        // SAFETY: a kernel exists only where the processor has its instruction set (contract of `new`).
        unsafe { !(self.watch)(payload, turn(u32::from_le_bytes(key), phase)) }
    }

    /// Unmasks `text`, which begins at a code point, and validates it; `None`, with nothing done, where this kernel
    /// cannot.
    #[inline]
    pub(super) fn unmask_text(&self, text: &mut [u8], key: [u8; 4], phase: usize) -> Option<Text> {
        // SAFETY: a kernel exists only where the processor has its instruction set (contract of `with_text`).
        self.text.map(|unmask| unsafe { unmask(text, turn(u32::from_le_bytes(key), phase)) })
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernel").field(&self.name).finish()
    }
}

/// The longest payload for which the baseline instruction set is the best one: no need to ask which is.
const SHORT: usize = 32;

static KERNELS: OnceLock<Vec<Kernel>> = OnceLock::new();

/// The first of [`KERNELS`], where one load finds it.
static BEST: OnceLock<Kernel> = OnceLock::new();

/// The kernels that this processor can run, the one that [`xor_mask`] takes first.
#[must_use]
pub fn mask_kernels() -> &'static [Kernel] {
    KERNELS.get_or_init(|| {
        let mut kernels = detected();
        // SAFETY: the scalar kernel needs nothing beyond the target it is compiled for.
        kernels.push(unsafe { Kernel::new("scalar", xor_scalar, watch_scalar) });
        kernels
    })
}

/// XORs `payload` with the masking-key, beginning at octet `phase % 4` of the key (RFC 6455 5.3).
///
/// `phase` is the number of payload octets of the same frame that were already transformed.
#[inline]
pub fn xor_mask(payload: &mut [u8], key: [u8; 4], phase: usize) {
    if payload.len() <= SHORT {
        // SAFETY: the baseline instruction set is part of the target, and the length was checked.
        unsafe { xor_short::<Baseline, false>(payload, turn(u32::from_le_bytes(key), phase)) };
        return;
    }
    xor_mask_long(payload, key, phase);
}

fn xor_mask_long(payload: &mut [u8], key: [u8; 4], phase: usize) {
    match BEST.get() {
        Some(best) => best.xor_mask(payload, key, phase),
        None => choose_then_xor_mask(payload, key, phase),
    }
}

/// Masks a payload of at most [`SHORT`] octets if the result is ASCII, and returns whether it did.
#[inline]
pub(super) fn xor_short_ascii(payload: &mut [u8], key: [u8; 4], phase: usize) -> bool {
    // SAFETY: the baseline instruction set is part of the target, and the length is checked.
    payload.len() <= SHORT
        && unsafe { !xor_short::<Baseline, true>(payload, turn(u32::from_le_bytes(key), phase)) }
}

/// The kernel that [`xor_mask`] takes, if it was asked for before.
#[inline]
pub(super) fn best() -> Option<&'static Kernel> {
    BEST.get()
}

/// [`best`] where it was not asked for before.
#[cold]
#[inline(never)]
pub(super) fn choose() -> &'static Kernel {
    BEST.get_or_init(|| mask_kernels()[0])
}

/// The first call. It is last in its caller and takes the same arguments, so that every other call saves no register.
#[cold]
#[inline(never)]
fn choose_then_xor_mask(payload: &mut [u8], key: [u8; 4], phase: usize) {
    choose().xor_mask(payload, key, phase);
}

fn xor_scalar(payload: &mut [u8], key: u32) {
    // SAFETY: plain integers need no particular instruction set.
    unsafe { xor::<Scalar>(payload, key) };
}

fn watch_scalar(payload: &mut [u8], key: u32) -> bool {
    // SAFETY: plain integers need no particular instruction set.
    unsafe { xor::<Scalar>(payload, key) }
}
