//! Frame headers, whole small frames in a stream, handshake heads; ours beside tungstenite and fastwebsockets.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a bench")]

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use switchboard::proto::handshake::{accept_key, check_upgrade, write_accept};
use switchboard::proto::head::{HeadScanner, with_request};
use switchboard::proto::{Connection, Event, FrameHeader, Input, Limits, Opcode, ProtoConfig, write_frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames in the buffer that stands for one read.
const FRAMES: usize = 512;
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// What a current browser sends.
const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/130.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\nOrigin: http://localhost:8080\r\n\
Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: json\r\n\r\n";

fn stream_of(opcode: Opcode, size: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..FRAMES {
        write_frame(&mut stream, true, opcode, &vec![b'a'; size], Some(KEY));
    }
    stream
}

/// Gives the same octets over and over; swallows what is written.
struct Memory {
    bytes: Vec<u8>,
    at: usize,
}

impl Memory {
    fn take(&mut self, room: usize) -> &[u8] {
        if self.at == self.bytes.len() {
            self.at = 0;
        }
        let start = self.at;
        self.at = self.bytes.len().min(start + room);
        &self.bytes[start..self.at]
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.take(buffer.len());
        buffer[..taken.len()].copy_from_slice(taken);
        Ok(taken.len())
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        buffer.put_slice(self.get_mut().take(room));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
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
            let memory = Memory { bytes: stream.clone(), at: 0 };
            let role = tungstenite::protocol::Role::Server;
            let mut socket = tungstenite::WebSocket::from_raw_socket(memory, role, None);
            bencher.iter(|| {
                (0..FRAMES).for_each(|_| {
                    black_box(socket.read().unwrap().into_data().as_ref());
                });
            });
        });
        group.bench_function(format!("{name}/fastwebsockets"), |bencher| {
            let memory = Memory { bytes: stream.clone(), at: 0 };
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
            let memory = Memory { bytes: REQUEST.to_vec(), at: 0 };
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
    targets = headers, frames, handshakes
}
criterion_main!(benches);
