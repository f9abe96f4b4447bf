//! Unmasking and validating text: in two passes over the payload, and in one (`unmask_and_validate`).

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use switchboard::simd::{Utf8Validator, xor_mask};

/// Of zeros, so that the payload is the same text after any number of rounds.
const KEY: [u8; 4] = [0; 4];
/// A text frame's payload starts six octets or so behind whatever came before it.
const OFFSET: usize = 6;
const RING: usize = 16 * 1024;

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

fn utf8(criterion: &mut Criterion) {
    let samples = [
        ("ascii", "the quick brown fox jumps over the lazy dog; "),
        (
            "mostly ascii",
            "the quick brown fox jumps over the lazy dog, café and all the rest of it in the sun; ",
        ),
        ("multi-byte", "съешь ещё этих мягких французских булок, да выпей же чаю 🫖 "),
    ];
    for (name, sample) in samples {
        for len in [20, 60, 125, 1024, 16 * 1024, 1024 * 1024] {
            let mut group = criterion.benchmark_group(format!("utf8/{name}/{len}"));
            group.throughput(Throughput::Bytes(len as u64));
            let stride = (OFFSET + len).next_multiple_of(64);
            let mut memory = vec![0; OFFSET];
            for _ in 0..(RING / stride).max(1) {
                memory.extend(text(sample, len));
                memory.resize(memory.len() + stride - len, 0);
            }
            let (key, last) = (black_box(KEY), memory.len() - OFFSET - stride);
            let mut at = 0;
            let mut next = || {
                at = if at < last { at + stride } else { 0 };
                OFFSET + at..OFFSET + at + len
            };
            group.bench_function("two passes", |b| {
                b.iter(|| {
                    let payload = black_box(&mut memory[next()]);
                    xor_mask(payload, key, 0);
                    simdutf8::basic::from_utf8(payload).is_ok()
                });
            });
            group.bench_function("fused", |b| {
                b.iter(|| {
                    let payload = black_box(&mut memory[next()]);
                    let mut validator = Utf8Validator::default();
                    validator.unmask_and_validate(payload, key, 0).and_then(|()| validator.finish())
                });
            });
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(30)
        .without_plots();
    targets = utf8
}
criterion_main!(benches);
