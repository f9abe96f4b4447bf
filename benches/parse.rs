//! Frame headers and whole small frames in a stream; ours beside tungstenite and fastwebsockets.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "a bench")]

#[path = "support/memory.rs"]
mod memory;

use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use memory::Memory;
use switchboard::proto::{Connection, Event, FrameHeader, Input, Opcode, ProtoConfig, write_frame};

/// Frames in the buffer that stands for one read.
const FRAMES: usize = 512;
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn stream_of(opcode: Opcode, size: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..FRAMES {
        write_frame(&mut stream, true, opcode, &vec![b'a'; size], Some(KEY));
    }
    stream
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    for (name, size) in [("7 bits", 20), ("16 bits", 1000), ("64 bits", 100_000)] {
        let mut frame = Vec::new();
        write_frame(&mut frame, true, Opcode::Binary, &vec![0; size], Some(KEY));
        group.bench_function(format!("{name}/switchboard"), |bencher| {
            bencher.iter(|| FrameHeader::parse(black_box(&frame)));
        });
        group.bench_function(format!("{name}/tungstenite"), |bencher| {
            bencher.iter(|| {
                let mut cursor = io::Cursor::new(black_box(&frame));
                tungstenite::protocol::frame::FrameHeader::parse(&mut cursor)
            });
        });
    }
    group.finish();
}

/// One whole frame: header, unmasking, validation of text, event.
fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for (name, opcode, size) in [
        ("binary 20", Opcode::Binary, 20),
        ("text 125", Opcode::Text, 125),
        ("binary 1024", Opcode::Binary, 1024),
    ] {
        let stream = stream_of(opcode, size);
        group.throughput(Throughput::Elements(FRAMES as u64));
        group.bench_function(format!("{name}/switchboard"), |bencher| {
            let config = Arc::new(ProtoConfig::default());
            let mut connection = Connection::server(&config, 0);
            let (mut out, mut buffer) = (Vec::new(), stream.clone());
            bencher.iter(|| {
                // What the kernel does for a read; the others' streams copy as well.
                buffer.copy_from_slice(&stream);
                let mut input = Input::new(&mut buffer);
                while let Some(event) = connection.next_event(&mut input, &mut out).unwrap() {
                    let Event::Message(message) = event else { panic!("a message was sent") };
                    black_box(&*message.payload);
                }
            });
        });
        group.bench_function(format!("{name}/tungstenite"), |bencher| {
            let memory = Memory::new(stream.clone());
            let role = tungstenite::protocol::Role::Server;
            let mut socket = tungstenite::WebSocket::from_raw_socket(memory, role, None);
            bencher.iter(|| {
                (0..FRAMES).for_each(|_| {
                    black_box(socket.read().unwrap().into_data().as_ref());
                });
            });
        });
        group.bench_function(format!("{name}/fastwebsockets"), |bencher| {
            let memory = Memory::new(stream.clone());
            let mut socket = fastwebsockets::WebSocket::after_handshake(memory, fastwebsockets::Role::Server);
            socket.set_auto_close(false);
            let mut context = Context::from_waker(Waker::noop());
            bencher.iter(|| {
                for _ in 0..FRAMES {
                    let Poll::Ready(frame) = pin!(socket.read_frame()).poll(&mut context) else {
                        panic!("memory is always ready")
                    };
                    black_box(&*frame.unwrap().payload);
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = headers, frames
}
criterion_main!(benches);
