//! The kernels that touch every payload byte: unmasking and UTF-8 validation. The only room with `unsafe`.

mod mask;
mod utf8;

pub use mask::xor_mask;
pub use utf8::{InvalidUtf8, Utf8Validator};
