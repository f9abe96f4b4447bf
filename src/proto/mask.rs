//! Where a client's masking-keys come from (RFC 6455 5.3, 10.3).

/// A source of masking-keys.
#[derive(Debug, Clone)]
pub enum MaskingKeys {
    /// The same key for every frame: for load and tests only.
    Fixed([u8; 4]),
    /// A fast generator (`SplitMix64`) from a seed: for load and tests only, its keys can be predicted.
    Seeded(u64),
}

impl MaskingKeys {
    /// The next frame's key.
    pub fn next_key(&mut self) -> [u8; 4] {
        match self {
            Self::Fixed(key) => *key,
            Self::Seeded(state) => {
                // Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                ((z ^ (z >> 31)) as u32).to_le_bytes()
            }
        }
    }
}
