//! permessage-deflate: whole frames through a connection, beside flate2 on the bare payload.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a bench")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use switchboard::proto::{
    Connection, DeflateAgreement, DeflateConfig, DeflatePool, Encoding, Event, Input, MaskingKeys, Outgoing,
    ProtoConfig,
};

const LEVEL: u8 = 3;

/// Posts of a chat, as JSON.
fn json(len: usize) -> String {
    let mut text = String::from("[");
    let mut seed = 1_u32;
    while text.len() < len {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let words = ["hello", "there", "is", "anyone", "in", "the", "room", "tonight"];
        let word = |shift: u32| words[(seed >> shift) as usize % words.len()];
        let _ = write!(
            text,
            "{{\"type\":\"message\",\"id\":{},\"user\":\"user-{}\",\"text\":\"{} {} {} {}\",\"at\":{}}},",
            seed,
            seed >> 24,
            word(3),
            word(7),
            word(11),
            word(15),
            1_700_000_000_000_u64 + u64::from(seed >> 8)
        );
    }
    text.truncate(len);
    text
}

fn agreement(takeover: bool) -> DeflateAgreement {
    DeflateAgreement {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    }
}

fn config() -> Arc<ProtoConfig> {
    let deflate = DeflateConfig::default().with(|it| {
        it.level = LEVEL;
        it.min_len = 0;
    });
    Arc::new(ProtoConfig::default().with(|it| it.deflate = Some(deflate)))
}

fn deflate(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, text: &str) {
    let config = config();
    for (kind, takeover) in [("no takeover", false), ("takeover", true)] {
        group.bench_function(format!("deflate {name}, {kind}/switchboard"), |bencher| {
            let pool = DeflatePool::new(&config);
            let mut server = Connection::server(&config, 0).with_deflate(agreement(takeover), &pool);
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                server.encode(Outgoing::text(black_box(text)), &mut out).unwrap();
            });
        });
        group.bench_function(format!("deflate {name}, {kind}/flate2"), |bencher| {
            let mut compress = Compress::new_with_window_bits(Compression::new(u32::from(LEVEL)), false, 15);
            let mut out = Vec::with_capacity(text.len() + 100);
            bencher.iter(|| {
                out.clear();
                if !takeover {
                    compress.reset();
                }
                compress.compress_vec(black_box(text).as_bytes(), &mut out, FlushCompress::Sync).unwrap();
            });
        });
    }
}

fn inflate(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, text: &str) {
    let config = config();
    let pool = DeflatePool::new(&config);
    let mut client =
        Connection::client(&config, MaskingKeys::Seeded(1), 0).with_deflate(agreement(false), &pool);
    let mut frame = Vec::new();
    client.encode(Outgoing::text(text), &mut frame).unwrap();
    for (kind, takeover) in [("no takeover", false), ("takeover", true)] {
        group.bench_function(format!("inflate {name}, {kind}/switchboard"), |bencher| {
            let mut server = Connection::server(&config, 0).with_deflate(agreement(takeover), &pool);
            let (mut out, mut buffer) = (Vec::new(), frame.clone());
            bencher.iter(|| {
                buffer.copy_from_slice(&frame);
                let mut input = Input::new(&mut buffer);
                let Ok(Some(Event::Message(message))) = server.next_event(&mut input, &mut out) else {
                    panic!("a message was sent")
                };
                black_box(message);
            });
        });
    }
    let mut compress = Compress::new_with_window_bits(Compression::new(u32::from(LEVEL)), false, 15);
    let mut payload = Vec::with_capacity(text.len() + 100);
    compress.compress_vec(text.as_bytes(), &mut payload, FlushCompress::Sync).unwrap();
    group.bench_function(format!("inflate {name}/flate2"), |bencher| {
        let mut decompress = Decompress::new_with_window_bits(false, 15);
        bencher.iter(|| {
            decompress.reset(false);
            let mut out = Vec::with_capacity(text.len() + 1);
            decompress.decompress_vec(black_box(&payload), &mut out, FlushDecompress::Sync).unwrap();
            assert_eq!(out.len(), text.len());
            black_box(out)
        });
    });
}

/// One message for a thousand receivers.
fn broadcast(group: &mut BenchmarkGroup<'_, WallTime>, text: &str) {
    let config = config();
    let pool = DeflatePool::new(&config);
    let connect = |takeover| Connection::server(&config, 0).with_deflate(agreement(takeover), &pool);
    let Encoding::Shared(window_bits) = connect(false).encoding() else { panic!("no takeover") };
    let mut out = Vec::new();
    group.bench_function("broadcast to 1,000, no takeover", |bencher| {
        bencher.iter(|| {
            out.clear();
            pool.write_message(window_bits, Outgoing::text(black_box(text)), &mut out);
        });
    });
    let mut receivers: Vec<_> = (0..1000).map(|_| connect(true)).collect();
    group.bench_function("broadcast to 1,000, takeover", |bencher| {
        bencher.iter(|| {
            out.clear();
            for receiver in &mut receivers {
                receiver.encode(Outgoing::text(black_box(text)), &mut out).unwrap();
            }
        });
    });
}

fn messages(criterion: &mut Criterion) {
    for (name, len) in [("150 B", 150), ("16 KiB", 16 * 1024)] {
        let text = json(len);
        let mut group = criterion.benchmark_group("permessage-deflate");
        group.throughput(Throughput::Bytes(len as u64));
        deflate(&mut group, name, &text);
        inflate(&mut group, name, &text);
        group.finish();
    }
    let mut group = criterion.benchmark_group("permessage-deflate");
    broadcast(&mut group, &json(150));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = messages
}
criterion_main!(benches);
