//! The kernels: unmasking and UTF-8 validation against the plainest code that does the same.

use switchboard::simd::{Utf8Validator, mask_kernels, xor_mask};

use super::source::{Source, pieces};

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let key = [source.octet(), source.octet(), source.octet(), source.octet()];
    let choices = source.octet();
    let (phase, repeat) = (usize::from(choices % 4), usize::from(choices >> 4));
    let cuts = source.cuts();
    // Repeated, so that few octets cross the boundary of the blocks that are validated at once (16 KiB) too.
    let unit = source.take_rest();
    let text = unit.repeat((1 << repeat).min(20_000 / (unit.len() + 1) + 1));
    unmask(&text, key, phase, usize::from(choices % 64));
    validate(&text, key, &cuts);
}

fn unmask(text: &[u8], key: [u8; 4], phase: usize, start: usize) {
    let start = start.min(text.len());
    let expected: Vec<u8> =
        text[start..].iter().enumerate().map(|(at, octet)| octet ^ key[(at + phase) % 4]).collect();
    let mut copy = text.to_vec();
    xor_mask(&mut copy[start..], key, phase);
    assert_eq!(copy[start..], expected);
    for kernel in mask_kernels() {
        let mut copy = text.to_vec();
        kernel.xor_mask(&mut copy[start..], key, phase);
        assert_eq!(copy[start..], expected, "{}", kernel.name());
        assert_eq!(copy[..start], text[..start], "{}", kernel.name());
        copy.copy_from_slice(text);
        let is_ascii = kernel.xor_mask_is_ascii(&mut copy[start..], key, phase);
        assert_eq!(copy[start..], expected, "{}, watching", kernel.name());
        assert_eq!(is_ascii, expected.is_ascii(), "{}", kernel.name());
    }
}

/// Both ways to validate fail at the piece behind which no continuation can make the text valid.
fn validate(text: &[u8], key: [u8; 4], cuts: &[usize]) {
    let mut masked = text.to_vec();
    xor_mask(&mut masked, key, 0);
    let (mut plain, mut unmasking) = (Utf8Validator::default(), Utf8Validator::default());
    for piece in pieces(text.len(), cuts) {
        let (can_be_valid, is_whole) = match std::str::from_utf8(&text[..piece.end]) {
            Ok(_) => (true, true),
            Err(error) => (error.error_len().is_none(), false),
        };
        assert_eq!(plain.validate(&text[piece.clone()]).is_ok(), can_be_valid, "{piece:?}");
        let phase = piece.start;
        let unmasked = unmasking.unmask_and_validate(&mut masked[piece.clone()], key, phase);
        assert_eq!(unmasked.is_ok(), can_be_valid, "{piece:?}, unmasking");
        if !can_be_valid {
            return;
        }
        assert_eq!(masked[piece.clone()], text[piece]);
        assert_eq!((plain.finish().is_ok(), unmasking.finish().is_ok()), (is_whole, is_whole));
    }
}
