//! Runs of octets held in registers: the one thing that differs from one instruction set to the next.
//!
//! The algorithm in [`super::kernel`] is generic over [`Lanes`]; an instruction set only says how to load, combine and
//! store. What the processor has no register for is a [`Pair`] of halves.
#![expect(unsafe_code, reason = "vector registers are loaded and stored through raw pointers")]
#![expect(
    clippy::inline_always,
    reason = "the bodies must melt into a caller compiled for the instruction set"
)]

/// A fixed number of octets that are loaded, transformed and stored together.
///
/// # Safety
/// Every method may use the instruction set of the implementing type: call them only where the processor has it.
pub(super) trait Lanes: Copy {
    /// How many octets one value holds; a multiple of four, so the masking-key keeps its phase from one to the next.
    const BYTES: usize;

    /// Loads `BYTES` octets from any alignment.
    ///
    /// # Safety
    /// `from` is valid for reading `BYTES` octets.
    unsafe fn load(from: *const u8) -> Self;

    /// Stores `BYTES` octets at any alignment.
    ///
    /// # Safety
    /// `to` is valid for writing `BYTES` octets.
    unsafe fn store(self, to: *mut u8);

    /// Repeats the masking-key, whose octet 0 is the lowest of `key`, over all octets.
    unsafe fn splat(key: u32) -> Self;

    /// Octet-wise exclusive or.
    unsafe fn xor(self, other: Self) -> Self;

    /// Octet-wise or.
    unsafe fn or(self, other: Self) -> Self;

    /// Whether any octet is above 0x7f, that is, outside ASCII.
    unsafe fn has_high_bit(self) -> bool;
}

/// Two runs side by side.
#[derive(Clone, Copy)]
pub(super) struct Pair<L>(pub(super) L, pub(super) L);

impl<L: Lanes> Lanes for Pair<L> {
    const BYTES: usize = 2 * L::BYTES;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for 2 * L::BYTES octets.
        unsafe { Self(L::load(from), L::load(from.add(L::BYTES))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller vouches for 2 * L::BYTES octets.
        unsafe {
            self.0.store(to);
            self.1.store(to.add(L::BYTES));
        }
    }

    #[inline(always)]
    unsafe fn splat(key: u32) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        let half = unsafe { L::splat(key) };
        Self(half, half)
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(self.0.xor(other.0), self.1.xor(other.1)) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(self.0.or(other.0), self.1.or(other.1)) }
    }

    #[inline(always)]
    unsafe fn has_high_bit(self) -> bool {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { self.0.or(self.1).has_high_bit() }
    }
}

/// Implements [`Lanes`] for an unsigned integer; `$splat` makes one from the masking-key in wire order.
macro_rules! integer_lanes {
    ($integer:ty, $splat:expr) => {
        impl Lanes for $integer {
            const BYTES: usize = size_of::<Self>();

            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller vouches for the octets; any bit pattern is an integer.
                unsafe { from.cast::<Self>().read_unaligned() }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: the caller vouches for the octets.
                unsafe { to.cast::<Self>().write_unaligned(self) }
            }

            #[inline(always)]
            unsafe fn splat(key: u32) -> Self {
                $splat(key).to_le()
            }

            #[inline(always)]
            unsafe fn xor(self, other: Self) -> Self {
                self ^ other
            }

            #[inline(always)]
            unsafe fn or(self, other: Self) -> Self {
                self | other
            }

            #[inline(always)]
            unsafe fn has_high_bit(self) -> bool {
                self & (Self::MAX / 0xff * 0x80) != 0
            }
        }
    };
}

integer_lanes!(u32, |key: u32| key);
integer_lanes!(u64, |key: u32| u64::from(key) << 32 | u64::from(key));

/// An instruction set, as the widths that the algorithm asks for.
pub(super) trait InstructionSet {
    /// 16 octets.
    type Lanes16: Lanes;
    /// 32 octets.
    type Lanes32: Lanes;
    /// 64 octets: a cache line.
    type Lanes64: Lanes;
}

/// Plain 64-bit words: what every processor has.
pub(super) enum Scalar {}

impl InstructionSet for Scalar {
    type Lanes16 = Pair<u64>;
    type Lanes32 = Pair<Pair<u64>>;
    type Lanes64 = Pair<Pair<Pair<u64>>>;
}
