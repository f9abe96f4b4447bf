//! Replays the committed corpus of the fuzz targets (`fuzz/corpus/TARGET/`), and some damage done to it.
//!
//! `cargo fuzz run TARGET` looks for more; what it finds to break becomes a test with a name where the fault was.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "tests say what is wrong by panicking"
)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Runs a target on each file of its corpus, on every beginning of it, and with each octet changed.
fn replay(name: &str, target: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let data = fs::read(entry.unwrap().path()).unwrap();
        assert!(data.len() < 4096, "the corpus stays small");
        target(&data);
        for at in (0..data.len()).step_by(data.len() / 64 + 1) {
            target(&data[..at]);
            let mut damaged = data.clone();
            damaged[at] ^= 1 << (at % 8);
            target(&damaged);
        }
        count += 1;
    }
    assert!(count > 3, "{} is empty", directory.display());
}

#[test]
fn corpus_of_body() {
    replay("body", targets::body::run);
}

#[cfg(feature = "chat")]
#[test]
fn corpus_of_chat_commands() {
    replay("chat_commands", targets::chat_commands::run);
}

#[test]
fn corpus_of_head() {
    replay("head", targets::head::run);
}

#[test]
fn corpus_of_deflate() {
    replay("deflate", targets::deflate::run);
}

#[cfg(feature = "proxy")]
#[test]
fn corpus_of_forwarded() {
    replay("forwarded", targets::forwarded::run);
}

#[test]
fn corpus_of_frames() {
    replay("frames", targets::frames::run);
}

#[cfg(feature = "proxy")]
#[test]
fn corpus_of_proxy_header() {
    replay("proxy_header", targets::proxy_header::run);
}

#[test]
fn corpus_of_session() {
    replay("session", targets::session::run);
}

#[test]
fn corpus_of_text() {
    replay("text", targets::text::run);
}
