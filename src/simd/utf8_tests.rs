//! The validator against the standard library, and every masking kernel under it.

use proptest::prelude::*;

use super::{InvalidUtf8, Utf8Validator, mask_kernels, xor_mask};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const GUARD: u8 = 0xa5;

/// One, two, three and four octets per code point, the first and the last of each, and what lies around the surrogates.
const VALID: &str = "\0a\u{7f}\u{80}é\u{7ff}\u{800}€\u{d7ff}\u{e000}\u{ffff}\u{10000}🫖\u{10ffff} the end";

/// Octets that no text holds, each already hopeless at its last octet.
const INVALID: &[&[u8]] = &[
    // Continuation octets with nothing to continue.
    &[0x80],
    &[0xbf],
    &[b'a', 0x80],
    &[0xc3, 0xa9, 0xa9],
    &[0xf0, 0x9f, 0xab, 0x96, 0x80],
    // Overlong forms.
    &[0xc0],
    &[0xc1],
    &[0xe0, 0x80],
    &[0xe0, 0x9f],
    &[0xf0, 0x80],
    &[0xf0, 0x8f],
    // Surrogates.
    &[0xed, 0xa0],
    &[0xed, 0xbf],
    // Above U+10FFFF.
    &[0xf4, 0x90],
    &[0xf4, 0xbf],
    &[0xf5],
    &[0xf7],
    &[0xf8],
    &[0xfb],
    &[0xfc],
    &[0xfe],
    &[0xff],
    // Code points that stop short.
    &[0xc3, b'a'],
    &[0xc3, 0xc3],
    &[0xe2, b'a'],
    &[0xe2, 0x82, b'a'],
    &[0xe2, 0x82, 0xe2],
    &[0xf0, b'a'],
    &[0xf0, 0x9f, b'a'],
    &[0xf0, 0x9f, 0xab, b'a'],
    &[0xf0, 0x9f, 0xab, 0xf0],
];

/// Whether a continuation could still make `text` valid, and whether it already is.
fn oracle(text: &[u8]) -> Result<bool, InvalidUtf8> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(true),
        Err(error) if error.error_len().is_none() => Ok(false),
        Err(_) => Err(InvalidUtf8),
    }
}

/// Feeds `text` cut at `cuts` to the validator, plain and masked, and holds each step against the oracle.
fn check(text: &[u8], cuts: &[usize]) {
    check_steps(text, cuts, "validate", |validator, done, cut| validator.validate(&text[done..cut]));
    let mut masked = text.to_vec();
    xor_mask(&mut masked, KEY, 0);
    check_steps(text, cuts, "unmask_and_validate", |validator, done, cut| {
        let mut piece = masked[done..cut].to_vec();
        validator.unmask_and_validate(&mut piece, KEY, done)?;
        assert_eq!(piece, text[done..cut]);
        Ok(())
    });
    for kernel in mask_kernels() {
        check_steps(text, cuts, kernel.name(), |validator, done, cut| {
            // Somewhere in a cache line, between guard octets.
            let start = 64 + cut % 64;
            let mut memory = vec![GUARD; start + (cut - done) + 64];
            let (before, piece) = memory.split_at_mut(start);
            let (piece, behind) = piece.split_at_mut(cut - done);
            piece.copy_from_slice(&masked[done..cut]);
            let outcome = validator.unmask_and_validate_by(piece, KEY, done, kernel);
            assert!(
                before.iter().chain(&*behind).all(|octet| *octet == GUARD),
                "{kernel:?} around {piece:?}"
            );
            outcome?;
            assert_eq!(piece, &text[done..cut]);
            Ok(())
        });
    }
}

fn check_steps(
    text: &[u8],
    cuts: &[usize],
    name: &str,
    step: impl Fn(&mut Utf8Validator, usize, usize) -> Result<(), InvalidUtf8>,
) {
    let mut validator = Utf8Validator::default();
    let mut done = 0;
    for &cut in cuts.iter().chain(&[text.len()]) {
        let case =
            || format!("{name}: {done}..{cut} of {:02x?}, cut at {cuts:?}", &text[..text.len().min(300)]);
        let expected = oracle(&text[..cut]);
        assert_eq!(step(&mut validator, done, cut), expected.map(|_| ()), "{}", case());
        let Ok(is_whole) = expected else { return };
        assert_eq!(validator.finish().is_ok(), is_whole, "finish, {}", case());
        done = cut;
    }
}

#[test]
fn the_validator_is_small() {
    assert!(size_of::<Utf8Validator>() <= 8);
}

#[test]
fn valid_text_cut_at_every_octet() {
    for filler in [0, 1, 30, 61, 62, 63, 64, 125, 200] {
        let text = format!("{}{VALID}{}", "x".repeat(filler), "é".repeat(filler));
        for cut in 0..=text.len() {
            check(text.as_bytes(), &[cut]);
            check(text.as_bytes(), &[cut, cut, (cut + 1).min(text.len())]);
        }
    }
    let each: Vec<_> = (0..=VALID.len()).collect();
    check(VALID.as_bytes(), &each);
}

#[test]
fn every_invalid_class_fails_at_its_last_octet() {
    for octets in INVALID {
        let hopeful = &octets[..octets.len() - 1];
        for before in ["", "a", "é", "🫖", &"a".repeat(40), &"a".repeat(70), &"é".repeat(70)] {
            let text = [before.as_bytes(), octets].concat();
            let end = text.len() - 1;
            assert!(oracle(&text[..end]).is_ok(), "{hopeful:02x?} is hopeful");
            assert!(oracle(&text).is_err(), "{octets:02x?} is hopeless");
            for cut in end.saturating_sub(4)..=end {
                check(&text, &[cut]);
                check(&text, &[cut, end]);
                check(&[&text, VALID.as_bytes()].concat(), &[cut, end, end + 1]);
            }
        }
    }
}

/// Each kernel takes a text by its length in a way of its own, and looks for ASCII first.
#[test]
fn one_code_point_at_every_place_of_every_length() {
    let step = if cfg!(miri) { 29 } else { 1 };
    for len in (1..=136).chain([160, 191, 192, 193, 255, 256, 300, 385]).step_by(step) {
        for code_point in ["é", "€", "🫖"].map(str::as_bytes).into_iter().filter(|octets| octets.len() <= len)
        {
            for at in 0..=len - code_point.len() {
                let mut text = vec![b'a'; len];
                text[at..at + code_point.len()].copy_from_slice(code_point);
                check(&text, &[]);
                check(&text[..len - 1], &[]);
                text[at + code_point.len() - 1] = b'b';
                check(&text, &[]);
            }
        }
    }
}

/// The same among other code points, where nothing is skipped.
#[test]
fn one_wrong_octet_at_every_place_of_every_length() {
    let step = if cfg!(miri) { 29 } else { 1 };
    let sample = "ещё€🫖ÿ".repeat(30).into_bytes();
    for len in (1..=136).chain([160, 192, 256, 300]).step_by(step) {
        check(&sample[..len], &[]);
        for at in 0..len {
            for wrong in [b'a', 0x80, 0xc3, 0xe2, 0xf0, 0xff] {
                let mut text = sample[..len].to_vec();
                text[at] = wrong;
                check(&text, &[]);
            }
        }
    }
}

/// Every first octet with every second, then with the least and the greatest third.
#[test]
fn every_pair_of_octets() {
    let step = if cfg!(miri) { 7 } else { 1 };
    for first in (0..=0xff_u8).step_by(step) {
        for second in (0..=0xff).step_by(step) {
            for third in [0x7f, 0x80, 0xbf, 0xc0] {
                check(&[first, second, third, 0x80], &[1, 2, 3]);
            }
        }
    }
}

/// A piece longer than a block, with a code point across the border between two of them or broken off there.
#[test]
fn code_points_across_blocks() {
    let block = super::utf8::BLOCK;
    let sizes = if cfg!(miri) { block - 4..block } else { block - 4..block + 1 };
    for ascii_len in sizes {
        let text = format!("{}🫖{}é", "a".repeat(ascii_len), "b".repeat(block));
        check(text.as_bytes(), &[]);
        let mut broken = text.into_bytes();
        broken[ascii_len + 2] = b'c';
        check(&broken, &[]);
        check(&broken[..ascii_len + 2], &[]);
    }
}

/// A block of ASCII inside a code point, which only looks whole when that block is left out.
#[test]
fn ascii_block_inside_a_code_point() {
    let block = super::utf8::BLOCK;
    let mut text = vec![b'a'; 2 * block];
    let teapot = "🫖".as_bytes();
    text[block - 1] = teapot[0];
    text.extend(&teapot[1..]);
    check(&text, &[]);
}

fn pieces_of_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-z ]{0,80}".prop_map(String::into_bytes),
        4 => "\\PC{0,20}".prop_map(String::into_bytes),
        1 => prop::sample::select(INVALID).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_cut_anywhere(text in pieces_of_text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        check(&text, &cuts);
    }

    #[test]
    fn valid_text_cut_anywhere(text in "(\\PC|[a-z]{20}){0,60}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        check(text.as_bytes(), &cuts);
    }
}
