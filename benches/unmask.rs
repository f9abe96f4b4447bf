//! Unmasking: every kernel beside the naive loop, beside memcpy (what reading and writing the octets costs at the least)
//! and beside fastwebsockets, whose `unmask` is the same code as tungstenite's private `apply_mask`.
//!
//! `xor_mask` is what a caller gets. Payloads start on a cache line ("aligned") or six octets behind one ("unaligned"),
//! as behind the header of a short frame. Short payloads rotate over a ring of slots: one that was written a nanosecond
//! ago would still sit in the store buffer, which is not where the kernel's copy leaves it.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use switchboard::simd;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const CACHE_LINE: usize = 64;
const RING: usize = 16 * 1024;

/// Payloads of one length, each at the same distance behind a cache line.
struct Slots {
    memory: Vec<u8>,
    first: usize,
    stride: usize,
    len: usize,
    count: usize,
    next: usize,
}

impl Slots {
    fn new(len: usize, offset: usize) -> Self {
        let stride = (len + offset).next_multiple_of(CACHE_LINE);
        let count = (RING / stride).max(1);
        let memory = vec![0x61; count * stride + CACHE_LINE];
        let first = memory.as_ptr().align_offset(CACHE_LINE) + offset;
        Self { memory, first, stride, len, count, next: 0 }
    }

    fn next(&mut self) -> &mut [u8] {
        self.next = if self.next + 1 < self.count { self.next + 1 } else { 0 };
        let start = self.first + self.next * self.stride;
        black_box(&mut self.memory[start..start + self.len])
    }
}

fn naive(payload: &mut [u8], key: [u8; 4]) {
    for (i, octet) in payload.iter_mut().enumerate() {
        *octet ^= key[i % 4];
    }
}

fn unmask(criterion: &mut Criterion) {
    for len in [16, 20, 60, 125, 1024, 16 * 1024, 64 * 1024, 1024 * 1024] {
        for (place, offset) in [("aligned", 0), ("unaligned", 6)] {
            let mut group = criterion.benchmark_group(format!("unmask/{len}/{place}"));
            group.throughput(Throughput::Bytes(len as u64));
            let mut slots = Slots::new(len, offset);
            contenders(&mut group, &mut slots);
            group.finish();
        }
    }
}

fn contenders(group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>, slots: &mut Slots) {
    let key = black_box(KEY);
    group.bench_function("xor_mask", |b| b.iter(|| simd::xor_mask(slots.next(), key, 0)));
    group.bench_function("fastwebsockets", |b| b.iter(|| fastwebsockets::unmask(slots.next(), key)));
    group.bench_function("naive", |b| b.iter(|| naive(slots.next(), key)));
    let mut copy = vec![0; slots.len];
    group.bench_function("memcpy", |b| b.iter(|| black_box(&mut copy).copy_from_slice(slots.next())));
    for kernel in simd::mask_kernels() {
        group.bench_function(kernel.name(), |b| b.iter(|| kernel.xor_mask(slots.next(), key, 0)));
    }
}

/// Short lengths and phases in no order that a branch predictor could learn.
fn unmask_mixed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask/1-125 mixed/unaligned");
    let mut slots = Slots::new(125, 6);
    let mut state = 1_u64;
    let mut next_len = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) as usize % 125
    };
    group.bench_function("xor_mask", |b| {
        b.iter(|| {
            let len = next_len();
            simd::xor_mask(&mut slots.next()[..len], KEY, len);
        });
    });
    group.bench_function("fastwebsockets", |b| {
        b.iter(|| {
            let len = next_len();
            fastwebsockets::unmask(&mut slots.next()[..len], KEY);
        });
    });
    group.bench_function("nothing", |b| {
        b.iter(|| {
            let len = next_len();
            black_box(&mut slots.next()[..len]);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(30)
        .without_plots();
    targets = unmask, unmask_mixed
}
criterion_main!(benches);
