//! A command of the chat, read in place into buffers that are reused; beside `serde_json`.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a bench")]

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use switchboard::chat::Limits;
use switchboard::chat::command::Parser;

/// What `serde_json` makes of a post: borrowed where it can be.
#[derive(Deserialize)]
#[expect(dead_code, reason = "reading the fields is what is measured")]
struct Post<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    id: Option<u64>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
}

fn commands() -> [(&'static str, String); 4] {
    let post = |text: &str| format!(r#"{{"type":"post","id":1234567,"room":"general","text":"{text}"}}"#);
    let fill = |len: usize| "x".repeat(len - post("").len());
    let keyed = r#"{"type":"post","id":17,"room":"general","text":"See you there \u2013 at nine","key":"k-81f0c2d4"}"#;
    [
        ("post 100", post(&fill(100))),
        ("post with a key and an escape", keyed.to_owned()),
        ("typing", r#"{"type":"typing","room":"general"}"#.to_owned()),
        ("post 4096", post(&fill(4096))),
    ]
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    let limits = Limits::default();
    for (name, command) in commands() {
        group.throughput(Throughput::Bytes(command.len() as u64));
        // Both get a fresh copy each time, as from the unmasking; making it is not counted.
        group.bench_function(format!("{name}/switchboard"), |bencher| {
            let mut parser = Parser::default();
            bencher.iter_batched_ref(
                || command.clone().into_bytes(),
                |payload| black_box(parser.parse(black_box(payload), &limits).is_ok()),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(format!("{name}/serde_json"), |bencher| {
            bencher.iter_batched_ref(
                || command.clone().into_bytes(),
                |payload| black_box(serde_json::from_slice::<Post<'_>>(black_box(payload)).is_ok()),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
