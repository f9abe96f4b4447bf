//! The kernels that touch every payload byte: unmasking, UTF-8 validation, copying. The only room with `unsafe`.
//!
//! `kernel` holds the algorithm, generic over the registers in `lanes`; `x86` and `neon` compile it for an instruction
//! set, and `dispatch` picks the best one that the processor has. With `--cfg simd_off` only plain integers and the
//! standard library's validation are left.

mod append;
mod dispatch;
mod kernel;
mod lanes;
#[cfg(test)]
mod mask_tests;
#[cfg(all(target_arch = "aarch64", target_endian = "little", not(simd_off)))]
mod neon;
mod utf8;
#[cfg(all(target_arch = "x86_64", not(simd_off)))]
mod utf8_avx2;
#[cfg(test)]
mod utf8_tests;
#[cfg(all(target_arch = "x86_64", not(simd_off)))]
mod x86;

pub use append::append;
pub use dispatch::{Kernel, mask_kernels, xor_mask};
pub use utf8::{InvalidUtf8, Utf8Validator};
