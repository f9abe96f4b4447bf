//! Copies a short header and a payload behind one another into a growing buffer.
#![expect(unsafe_code, reason = "writes into capacity that was reserved a line before")]
#![expect(clippy::inline_always, reason = "a call would cost more than the copy")]

/// From this length on a call of `memcpy` is cheaper than deciding here.
const INLINE_LEN: usize = 32;

/// Appends `header` and `payload` with a single check of the capacity.
#[inline(always)]
pub fn append<const N: usize>(out: &mut Vec<u8>, header: [u8; N], payload: &[u8]) {
    let (start, len) = (out.len(), payload.len());
    out.reserve(N + len);
    // SAFETY: `reserve` made room for N + len octets behind `start`, all of which are written before the length says so;
    // a payload that is borrowed while `out` is borrowed mutably does not overlap it.
    unsafe {
        let to = out.as_mut_ptr().add(start);
        to.cast::<[u8; N]>().write_unaligned(header);
        copy(payload.as_ptr(), to.add(N), len);
        out.set_len(start + N + len);
    }
}

/// # Safety
/// `from` is valid for reading and `to` for writing `len` octets, and they do not overlap.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: two runs, the one from the front and the other to the back, stay within `len` octets that are at least one
    // run long; all of them were loaded before any is stored.
    unsafe {
        if (16..=INLINE_LEN).contains(&len) {
            let first = from.cast::<u128>().read_unaligned();
            let last = from.add(len - 16).cast::<u128>().read_unaligned();
            to.cast::<u128>().write_unaligned(first);
            to.add(len - 16).cast::<u128>().write_unaligned(last);
        } else {
            to.copy_from_nonoverlapping(from, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_what_two_extensions_would_for_every_length() {
        let payload: Vec<u8> = (0..=255).collect();
        for len in 0..=payload.len() {
            let mut out = b"before".to_vec();
            append(&mut out, [1, 2], &payload[..len]);
            let mut expected = b"before\x01\x02".to_vec();
            expected.extend_from_slice(&payload[..len]);
            assert_eq!(out, expected, "{len}");
        }
    }
}
