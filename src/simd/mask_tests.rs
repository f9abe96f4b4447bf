//! Every masking kernel against one naive line.

use proptest::prelude::*;

use super::{mask_kernels, xor_mask};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const GUARD: u8 = 0xa5;
/// Unmodified octets on either side of a payload.
const GUARD_LEN: usize = 64;

/// RFC 6455 5.3, octet by octet.
fn oracle(payload: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
    payload.iter().enumerate().map(|(i, octet)| octet ^ key[(i + phase) % 4]).collect()
}

/// A name, and a transformation that returns whether it found the result to be ASCII, if it looks.
type Implementation = (String, Box<dyn Fn(&mut [u8], [u8; 4], usize) -> Option<bool>>);

fn implementations() -> Vec<Implementation> {
    let mut all: Vec<Implementation> = vec![(
        "xor_mask".into(),
        Box::new(|payload, key, phase| {
            xor_mask(payload, key, phase);
            None
        }),
    )];
    for kernel in mask_kernels() {
        all.push((
            kernel.name().into(),
            Box::new(|payload, key, phase| {
                kernel.xor_mask(payload, key, phase);
                None
            }),
        ));
        all.push((
            format!("{}, watching", kernel.name()),
            Box::new(|payload, key, phase| Some(kernel.xor_mask_is_ascii(payload, key, phase))),
        ));
    }
    all
}

/// Runs all `implementations` on `payload` placed `alignment` octets behind a cache line, between guard octets.
fn check(implementations: &[Implementation], payload: &[u8], key: [u8; 4], phase: usize, alignment: usize) {
    let len = payload.len();
    let expected = oracle(payload, key, phase);
    let mut memory = vec![GUARD; GUARD_LEN + alignment + len + GUARD_LEN + 64];
    let start = memory[GUARD_LEN..].as_ptr().align_offset(64) + GUARD_LEN + alignment;
    for (name, transform) in implementations {
        let case = || format!("{name}: length {len}, phase {phase}, alignment {alignment}, key {key:02x?}");
        memory[start..start + len].copy_from_slice(payload);
        let is_ascii = transform(&mut memory[start..start + len], key, phase);

        assert!(memory[start..start + len] == expected, "{}", case());
        if let Some(is_ascii) = is_ascii {
            assert_eq!(is_ascii, expected.is_ascii(), "{}", case());
        }
        assert!(memory[start - GUARD_LEN..start] == [GUARD; GUARD_LEN], "before the payload: {}", case());
        let behind = &memory[start + len..start + len + GUARD_LEN];
        assert!(behind == [GUARD; GUARD_LEN], "behind the payload: {}", case());
    }
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 151 + 7) as u8).collect()
}

#[test]
fn every_kernel_at_every_length_phase_and_alignment() {
    let kernels: Vec<_> = mask_kernels().iter().map(super::Kernel::name).collect();
    println!("kernels run: {kernels:?}");
    assert_eq!(kernels.last(), Some(&"scalar"));
    let (implementations, step) = (implementations(), if cfg!(miri) { 13 } else { 1 });
    for len in (0..=257).step_by(step) {
        for phase in 0..4 {
            for alignment in (0..32).step_by(step) {
                check(&implementations, &sample(len), KEY, phase, alignment);
            }
        }
    }
}

/// FR-16: unmasking equals the RFC's formula at every length from 0 to 4096 and every phase, the key of zeros included.
#[test]
fn fr_16_unmasking_equals_the_formula_at_every_length() {
    let (implementations, step) = (implementations(), if cfg!(miri) { 511 } else { 1 });
    for len in (0..=4096).step_by(step) {
        for phase in 0..4 {
            check(&implementations, &sample(len), KEY, phase, (len + phase) % 64);
        }
        check(&implementations, &sample(len), [0; 4], len, len % 64);
    }
}

#[test]
fn one_octet_outside_ascii_is_seen_wherever_it_stands() {
    for kernel in mask_kernels() {
        for len in [1, 2, 3, 4, 7, 8, 15, 16, 31, 33, 63, 65, 127, 129, 200, 257, 450] {
            for at in 0..len {
                let mut payload = oracle(&vec![b'a'; len], KEY, 0);
                payload[at] ^= 0x80;
                assert!(!kernel.xor_mask_is_ascii(&mut payload, KEY, 0), "{kernel:?}: {at} of {len}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_payload_with_any_key(
        payload in prop::collection::vec(any::<u8>(), 0..2000),
        key in any::<[u8; 4]>(),
        phase in any::<usize>(),
        alignment in 0_usize..64,
    ) {
        // The oracle adds to the phase, which may overflow; only its rest counts.
        check(&implementations(), &payload, key, phase >> 1, alignment);
    }

    /// A frame that arrives in pieces is unmasked as one that arrives whole.
    #[test]
    fn pieces_continue_the_phase(
        payload in prop::collection::vec(any::<u8>(), 0..600),
        cuts in prop::collection::vec(0_usize..600, 0..6),
        key in any::<[u8; 4]>(),
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(payload.len())).collect();
        cuts.push(payload.len());
        cuts.sort_unstable();
        for (name, transform) in &implementations() {
            let mut pieces = payload.clone();
            let mut done = 0;
            for &cut in &cuts {
                transform(&mut pieces[done..cut], key, done);
                done = cut;
            }
            prop_assert_eq!(&pieces, &oracle(&payload, key, 0), "{}", name);
        }
    }
}
