//! Where a client's masking-keys come from (RFC 6455 5.3, 10.3).

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A source of masking-keys. [`MaskingKeys::secure`] is the one to take; the others are for load and tests.
#[derive(Debug, Clone)]
pub enum MaskingKeys {
    /// Keys that a page which chooses payloads cannot predict (RFC 6455 10.3). 320 bytes.
    Secure(Box<ChaCha12Rng>),
    /// A fast generator (`SplitMix64`) from a seed: its keys can be predicted.
    Seeded(u64),
    /// The same key for every frame.
    Fixed([u8; 4]),
}

impl MaskingKeys {
    /// Keys from a cryptographically secure generator. `entropy`: 32 octets from the operating system, new for each
    /// connection.
    #[must_use]
    pub fn secure(entropy: [u8; 32]) -> Self {
        Self::Secure(Box::new(ChaCha12Rng::from_seed(entropy)))
    }

    /// The next frame's key.
    #[expect(clippy::inline_always, reason = "a call costs as much as a key")]
    #[inline(always)]
    pub fn next_key(&mut self) -> [u8; 4] {
        match self {
            Self::Secure(generator) => generator.next_u32().to_le_bytes(),
            Self::Seeded(state) => {
                // Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                ((z ^ (z >> 31)) as u32).to_le_bytes()
            }
            Self::Fixed(key) => *key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn secure_keys_depend_on_the_entropy_and_do_not_repeat() {
        let keys = |seed: u8| {
            let mut keys = MaskingKeys::secure([seed; 32]);
            (0..1000).map(|_| keys.next_key()).collect::<Vec<_>>()
        };
        assert_eq!(keys(1), keys(1));
        assert!(keys(1).iter().zip(keys(2)).all(|(one, two)| *one != two));
        assert!(keys(1).into_iter().collect::<HashSet<_>>().len() > 990);
    }

    #[test]
    fn a_fixed_key_stays() {
        let mut keys = MaskingKeys::Fixed([1, 2, 3, 4]);
        assert_eq!((keys.next_key(), keys.next_key()), ([1, 2, 3, 4], [1, 2, 3, 4]));
    }
}
