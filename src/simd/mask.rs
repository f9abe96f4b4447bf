//! Masking (RFC 6455 5.3).

/// XORs `payload` with the masking-key, beginning at octet `phase % 4` of the key.
///
/// `phase` is the number of payload octets of the same frame that were already transformed.
pub fn xor_mask(payload: &mut [u8], key: [u8; 4], phase: usize) {
    for (i, octet) in payload.iter_mut().enumerate() {
        *octet ^= key[(i + phase) % 4];
    }
}
