//! Where a client's masking-keys come from (RFC 6455 5.3, 10.3).

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A source of masking-keys. [`MaskingKeys::secure`] is the one to take; the others are for load and tests.
#[derive(Debug, Clone)]
pub enum MaskingKeys {
    /// Keys that a page which chooses payloads cannot predict (RFC 6455 10.3). 320 bytes.
    Secure(Box<ChaCha12Rng>),
    /// A fast generator (linear congruential) from a seed: its keys can be predicted.
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
                // Knuth: The Art of Computer Programming 3.3.4 (MMIX). The high bits are the random ones.
                *state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((*state >> 32) as u32).to_le_bytes()
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
    fn seeded_keys_are_those_of_the_seed_and_do_not_repeat() {
        let keys = |seed: u64| {
            let mut keys = MaskingKeys::Seeded(seed);
            (0..1000).map(|_| keys.next_key()).collect::<Vec<_>>()
        };
        assert_eq!(keys(1), keys(1));
        // Neighbours have other keys, and every octet of a key takes many values.
        assert!(keys(1).iter().zip(keys(2)).filter(|(one, two)| **one == *two).count() < 3);
        assert!(keys(1).into_iter().collect::<HashSet<_>>().len() > 990);
        for place in 0..4 {
            assert!(
                keys(1).iter().map(|key| key[place]).collect::<HashSet<_>>().len() > 200,
                "octet {place}"
            );
        }
    }

    #[test]
    fn a_fixed_key_stays() {
        let mut keys = MaskingKeys::Fixed([1, 2, 3, 4]);
        assert_eq!((keys.next_key(), keys.next_key()), ([1, 2, 3, 4], [1, 2, 3, 4]));
    }
}
