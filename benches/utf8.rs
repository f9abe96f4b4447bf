//! Unmasking and validating text: in two passes over the payload (unmask, then simdutf8), and in one
//! (`unmask_and_validate`).
//!
//! The two take turns in short rounds on the same octets, so that what disturbs one disturbs the other; the median of
//! the rounds is shown, and the median of the ratio within a round. An argument selects samples by their names.

#![allow(missing_docs, clippy::disallowed_methods, clippy::cast_precision_loss, reason = "a bench")]

use std::hint::black_box;
use std::time::Instant;

use switchboard::simd::{Utf8Validator, xor_mask};

/// Of zeros, so that the payload is the same text after any number of rounds.
const KEY: [u8; 4] = [0; 4];
/// A text frame's payload starts six octets or so behind whatever came before it.
const OFFSET: usize = 6;
const RING: usize = 16 * 1024;
const ROUNDS: usize = 201;
/// What each way validates in a round.
const ROUND_OCTETS: usize = 256 * 1024;

const SAMPLES: [(&str, &str); 7] = [
    ("ascii", "the quick brown fox jumps over the lazy dog; "),
    ("mostly ascii", "the quick brown fox jumps over the lazy dog, café and all the rest of it in the sun; "),
    ("2 octets", "съешьещёэтихмягкихфранцузскихбулокдавыпейжечаю"),
    ("2 octets, spaces", "съешь ещё этих мягких французских булок, да выпей же чаю; "),
    ("3 octets", "我能吞下玻璃而不傷身體。私はガラスを食べられます。"),
    ("json, 3 octets", "{\"type\":\"post\",\"text\":\"それは私を傷つけません。\"} "),
    ("emoji", "🫖☕🍵🎉👩‍🚀🚀🌍🔥"),
];
const LENGTHS: [usize; 18] =
    [8, 16, 20, 31, 32, 33, 60, 64, 65, 100, 125, 128, 129, 192, 256, 1024, 16 * 1024, 1024 * 1024];

fn text(sample: &str, len: usize) -> Vec<u8> {
    let mut text: String = sample
        .chars()
        .cycle()
        .scan(0, |used, c| {
            *used += c.len_utf8();
            (*used <= len).then_some(c)
        })
        .collect();
    text.extend(std::iter::repeat_n('.', len - text.len()));
    text.into_bytes()
}

fn two_passes(payload: &mut [u8], key: [u8; 4]) -> bool {
    xor_mask(payload, key, 0);
    simdutf8::basic::from_utf8(payload).is_ok()
}

fn fused(payload: &mut [u8], key: [u8; 4]) -> bool {
    let mut validator = Utf8Validator::default();
    validator.unmask_and_validate(payload, key, 0).and_then(|()| validator.finish()).is_ok()
}

/// Nanoseconds for each of `count` payloads, which lie `stride` octets apart.
#[inline(never)]
fn time(way: impl Fn(&mut [u8], [u8; 4]) -> bool, memory: &mut [u8], len: usize, count: usize) -> f64 {
    let (key, stride) = (black_box(KEY), (OFFSET + len).next_multiple_of(64));
    let mut at = OFFSET;
    let start = Instant::now();
    for _ in 0..count {
        assert!(way(black_box(&mut memory[at..at + len]), key));
        at = if at + 2 * stride <= memory.len() { at + stride } else { OFFSET };
    }
    start.elapsed().as_secs_f64() * 1e9 / count as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    // `cargo test --benches` only wants to see that it works.
    let turns = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 1 };
    println!("{:20} {:>8} {:>13} {:>10} {:>6}", "", "octets", "two passes ns", "fused ns", "ratio");
    for (name, sample) in SAMPLES {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.contains(wanted)) {
            continue;
        }
        for len in LENGTHS {
            let stride = (OFFSET + len).next_multiple_of(64);
            let mut memory = vec![0; OFFSET];
            for _ in 0..(RING / stride).max(1) {
                memory.extend(text(sample, len));
                memory.resize(memory.len() + stride - len, 0);
            }
            let count = (ROUND_OCTETS / stride).max(1);
            let rounds: Vec<_> = (0..turns)
                .map(|_| (time(two_passes, &mut memory, len, count), time(fused, &mut memory, len, count)))
                .collect();
            println!(
                "{name:20} {len:8} {:13.1} {:10.1} {:6.2}",
                median(rounds.iter().map(|(two, _)| *two).collect()),
                median(rounds.iter().map(|(_, one)| *one).collect()),
                median(rounds.iter().map(|(two, one)| one / two).collect())
            );
        }
    }
}
