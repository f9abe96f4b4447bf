//! Durable posts per second: 1,000 rooms, posts of 100 bytes, 1,024 of them in a commit. Beside it the fsync of the same
//! disk, before and after.
//!
//! ```text
//! cargo bench --bench store -- [DIR] [--seconds N] [--posts N] [--rooms N] [--bytes N] [--rate N]
//! ```
//!
//! With `--rate` this many posts per second come at planned instants, a batch each millisecond, and the time from the
//! instant to the commit is what counts.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::panic,
    reason = "a bench"
)]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use switchboard::history::sqlite;
use switchboard::history::sqlite::Options;
use switchboard::history::{Act, Batch, Draft, DraftKey, Event, History as _, Proposal};

fn main() {
    // `cargo test --benches` only wants to see that it works.
    let seconds = if std::env::args().any(|arg| arg == "--bench") { 10 } else { 1 };
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|arg| arg == name);
        at.map_or(default, |at| args[at + 1].parse().expect("a number"))
    };
    let base = args.first().filter(|arg| !arg.starts_with('-'));
    let base = base.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let dir = base.join(format!("store-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory");
    let plan = Plan {
        seconds: number("--seconds", seconds),
        posts: number("--posts", 1024),
        rooms: number("--rooms", 1000),
        bytes: number("--bytes", 100),
    };
    fsyncs("before", &dir);
    match number("--rate", 0) {
        0 => flood(&dir.join("data"), &plan),
        rate => keep_pace(&dir.join("data"), Plan { posts: rate.div_ceil(1000), ..plan }),
    }
    fsyncs("after", &dir);
    fs::remove_dir_all(&dir).expect("the directory");
}

#[derive(Clone, Copy)]
struct Plan {
    seconds: u64,
    posts: u64,
    rooms: u64,
    bytes: u64,
}

/// What an fsync takes here: 4 KiB appended, and as much as a commit appends.
fn fsyncs(when: &str, dir: &Path) {
    for len in [4096, 256 * 1024] {
        let path = dir.join("fsync");
        let mut file = File::create(&path).expect("a file");
        let block = vec![1; len];
        let mut times = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            file.write_all(&block).expect("room on the disk");
            let begin = Instant::now();
            file.sync_data().expect("an fsync");
            times.push(begin.elapsed());
            if times.len() % 64 == 0 {
                file.seek(SeekFrom::Start(0)).expect("the start");
            }
        }
        println!("fsync {when}, {len} bytes: {}", percentiles(&mut times));
        fs::remove_file(path).expect("the file");
    }
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms, {} of them", at(0.5), at(0.99), at(1.0), times.len())
}

fn flood(dir: &Path, plan: &Plan) {
    let (mut client, worker, _) = sqlite::open(dir, Options::default()).expect("a new history");
    let (events, inbox) = channel();
    let running = worker.start(move |_, event| events.send(event).is_ok()).expect("threads");
    let mut feed = Feed::new(plan);
    let mut times = Vec::new();
    let start = Instant::now();
    let end = start + Duration::from_secs(plan.seconds);
    let mut ticket = 1;
    let mut batch = feed.batch(ticket, plan);
    // One batch at a time, so that no two come into one commit; the next is made ready meanwhile.
    while Instant::now() < end {
        let begin = Instant::now();
        client.propose(batch).expect("room for a batch");
        ticket += 1;
        batch = feed.batch(ticket, plan);
        wait_for(ticket - 1, &inbox);
        times.push(begin.elapsed());
    }
    let commits = times.len() as f64;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{:.0} posts/s, {:.1} commits/s of {} posts each, {seconds:.1} s, {} MiB",
        commits * plan.posts as f64 / seconds,
        commits / seconds,
        plan.posts,
        size(dir) >> 20
    );
    println!("from handing over to committed: {}", percentiles(&mut times));
    let begin = Instant::now();
    running.finish().expect("closed in order");
    println!("closing: {:.2} s", begin.elapsed().as_secs_f64());
}

/// An open loop.
fn keep_pace(dir: &Path, plan: Plan) {
    let (mut client, worker, _) = sqlite::open(dir, Options::default()).expect("a new history");
    let (events, inbox) = channel();
    let running =
        worker.start(move |_, event| events.send((event, Instant::now())).is_ok()).expect("threads");
    let mut feed = Feed::new(&plan);
    let start = Instant::now();
    let mut instants = Vec::new();
    for ticket in 1..=plan.seconds * 1000 {
        let instant = start + Duration::from_millis(ticket);
        let batch = feed.batch(ticket, &plan);
        std::thread::sleep(instant.saturating_duration_since(Instant::now()));
        client.propose(batch).expect("room for a batch");
        instants.push(instant);
    }
    drop(client);
    running.finish().expect("closed in order");
    let mut times = Vec::new();
    let mut commits = 0;
    for (event, at) in inbox {
        let Event::Settled { ticket, .. } = event else { panic!("{event:?}") };
        commits += 1;
        times.extend(instants[times.len()..ticket as usize].iter().map(|instant| at - *instant));
    }
    println!(
        "{} posts/s in {commits} commits; from the instant to committed: {}",
        plan.posts * 1000,
        percentiles(&mut times)
    );
}

fn wait_for(ticket: u64, inbox: &Receiver<Event>) {
    match inbox.recv().expect("the store lives") {
        Event::Settled { ticket: committed, .. } => assert_eq!(committed, ticket),
        other => panic!("{other:?}"),
    }
}

fn size(dir: &Path) -> u64 {
    fs::read_dir(dir)
        .expect("the directory")
        .map(|file| file.and_then(|file| file.metadata()).map_or(0, |file| file.len()))
        .sum()
}

/// Posts of everybody everywhere.
struct Feed {
    rooms: Vec<Arc<str>>,
    users: Vec<Arc<str>>,
    next: usize,
}

impl Feed {
    fn new(plan: &Plan) -> Self {
        let rooms = (0..plan.rooms).map(|i| format!("room-{i}").into()).collect();
        let users = (0..5000).map(|i| format!("user {i}").into()).collect();
        Self { rooms, users, next: 0 }
    }

    fn batch(&mut self, ticket: u64, plan: &Plan) -> Batch {
        let proposals = (0..plan.posts).map(|_| self.post(plan.bytes)).collect();
        Batch { ticket, term: 0, proposals, bans: Vec::new() }
    }

    fn post(&mut self, bytes: u64) -> Proposal {
        self.next += 1;
        // Every room in turn, in another order than by their names.
        let at = self.next * 7919 % self.rooms.len();
        let room = Arc::clone(&self.rooms[at]);
        let mut text = format!("post {} of room {at} with some words in it; ", self.next);
        while text.len() < bytes as usize {
            text.push_str("lorem ipsum dolor sit amet ");
        }
        text.truncate(bytes as usize);
        let user = Arc::clone(&self.users[self.next % self.users.len()]);
        let key = DraftKey { person: Arc::clone(&user), key: format!("k{}", self.next).into() };
        let (client, text) = ("c1234".into(), text.into());
        let draft = Draft { user, client, text, key: Some(key), ..Draft::default() };
        Proposal { room, time: sqlite::now_ms(), act: Act::Post(draft) }
    }
}
