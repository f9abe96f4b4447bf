//! The opening handshake of a server: head, checks, accept key, response; ours beside tungstenite.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a bench")]

#[path = "support/memory.rs"]
mod memory;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use memory::Memory;
use switchboard::proto::Limits;
use switchboard::proto::handshake::{accept_key, check_upgrade, write_accept};
use switchboard::proto::head::{HeadScanner, with_request};

/// What a current browser sends.
const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/130.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\nOrigin: http://localhost:8080\r\n\
Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: json\r\n\r\n";

fn handshakes(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("handshake");
    group.bench_function("accept key", |bencher| {
        bencher.iter(|| accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ==")));
    });
    group.bench_function("head", |bencher| {
        bencher.iter(|| {
            let end = HeadScanner::default().find_end(black_box(REQUEST), &limits).unwrap().unwrap();
            with_request(&REQUEST[..end], &limits, |head| head.unwrap().fields.first("host").map(<[u8]>::len))
        });
    });
    group.bench_function("head, checks, accept key, response", |bencher| {
        let mut out = Vec::new();
        bencher.iter(|| {
            out.clear();
            let end = HeadScanner::default().find_end(black_box(REQUEST), &limits).unwrap().unwrap();
            with_request(&REQUEST[..end], &limits, |head| {
                let head = head.unwrap();
                let upgrade = check_upgrade(&head).unwrap();
                write_accept(upgrade.key, upgrade.choose_subprotocol(&["json"]), &[], &mut out);
            });
            black_box(&out);
        });
    });
    group.bench_function("head, checks, response/tungstenite", |bencher| {
        bencher.iter(|| {
            let memory = Memory::new(REQUEST.to_vec());
            black_box(tungstenite::accept(memory).unwrap());
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = handshakes
}
criterion_main!(benches);
