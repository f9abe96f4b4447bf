//! SC-05 with the policies that drop: what is left out is counted, and the subscriber is told.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use switchboard::app::{
    Application, ConnId, Context, Deliveries, Message, SlowPolicy, TopicId, TopicOptions,
};
use switchboard::proto::Outgoing;

use crate::inside::Inside;
use crate::slow::tiny_window;
use crate::support::{CLOSE, Client, FIN, PING, PONG, SOON, TEXT, frame, secs, text};

/// Bytes that may wait for a subscriber.
const QUEUE: usize = 128 * 1024;
/// Messages, more than the buffers of the kernel and the queue together hold.
const PUBLISHED: usize = 1500;
const KEYS: usize = 4;

/// Publishes what it hears, and tells a subscriber of its gaps.
struct Room {
    policy: SlowPolicy,
    topic: Option<TopicId>,
    totals: Sender<Deliveries>,
}

impl Application for Room {
    type Mail = ();

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.topic = Some(ctx.create_topic(TopicOptions::default().with(|it| {
            it.slow_policy = self.policy;
            it.max_queue = Some(QUEUE);
        })));
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        ctx.subscribe(conn, self.topic.unwrap()).unwrap();
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, _: ConnId, message: Message<'_>) {
        let number: usize = message.text().unwrap()[..8].parse().unwrap();
        let key = (number % KEYS) as u64;
        let published = ctx.publish_keyed(self.topic.unwrap(), key, message.as_outgoing(), None);
        // The test may have seen enough.
        let _ = self.totals.send(published.totals);
    }

    fn on_lag<C: Context>(&mut self, ctx: &mut C, conn: ConnId, _: TopicId, dropped: u64) {
        ctx.send(conn, Outgoing::text(&format!("lag {dropped}"))).unwrap();
    }
}

fn numbered(number: usize) -> String {
    format!("{number:08} {}", "x".repeat(16_000))
}

/// What a sleeper finds when it wakes up.
#[derive(Debug, Default)]
struct Seen {
    numbers: Vec<usize>,
    dropped: usize,
    pongs: usize,
}

/// A busy room in which one subscriber sleeps; gives what it sees afterwards, and the topic's last counts.
fn sleep_through(policy: SlowPolicy) -> (Seen, Deliveries) {
    let (sender, totals): (_, Receiver<Deliveries>) = channel();
    let room = Room { policy, topic: None, totals: sender };
    let server = Inside::serve(room, |_| {});
    let mut speaker = Client::open(server.addr);
    let mut sleeper = tiny_window(server.addr);
    for number in 0..PUBLISHED {
        speaker.send(&text(&numbered(number)));
        // Who reads misses nothing, whatever the policy.
        speaker.expect_text(&numbered(number));
        if number == PUBLISHED / 2 {
            sleeper.send(&frame(FIN | PING, b"in the middle"));
        }
    }
    let mut seen = Seen::default();
    let deadline = Instant::now() + secs(20);
    let mut last = PUBLISHED;
    loop {
        assert!(Instant::now() < deadline, "the end never came: {seen:?}");
        match sleeper.try_frame(Duration::from_millis(300)) {
            Ok(got) if got.opcode == PONG => seen.pongs += 1,
            Ok(got) => {
                assert_ne!(got.opcode, CLOSE, "{got:?}");
                assert_eq!(got.opcode, TEXT);
                let said = String::from_utf8(got.payload).unwrap();
                match said.strip_prefix("lag ") {
                    Some(dropped) => seen.dropped += dropped.parse::<usize>().unwrap(),
                    None => seen.numbers.push(said[..8].parse().unwrap()),
                }
                if seen.numbers.last() == Some(&last) {
                    break;
                }
            }
            // All that waited has come: one more, which both get.
            Err(_) if last == PUBLISHED => {
                speaker.send(&text(&numbered(PUBLISHED + 1)));
                speaker.expect_text(&numbered(PUBLISHED + 1));
                last = PUBLISHED + 1;
            }
            Err(_) => {}
        }
    }
    seen.numbers.pop();
    let mut counts = Deliveries::default();
    while let Ok(more) = totals.recv_timeout(Duration::from_millis(50)) {
        counts = more;
    }
    (seen, counts)
}

/// What every policy that drops owes: order, and an account of each message.
#[track_caller]
fn expect_an_account(seen: &Seen, counts: Deliveries) {
    assert!(seen.numbers.is_sorted_by(|a, b| a < b), "out of order: {:?}", seen.numbers);
    assert!(seen.dropped > 0, "all of it was kept: the test did not fill the queue");
    assert_eq!(seen.numbers.len() + seen.dropped, PUBLISHED, "received and reported");
    assert_eq!(seen.pongs, 1, "control frames are never dropped");
    assert_eq!(counts.dropped as usize, seen.dropped, "the topic's own count");
}

#[test]
fn sc_05_drop_oldest_keeps_the_newest_and_tells_of_the_rest() {
    let (seen, counts) = sleep_through(SlowPolicy::DropOldest);
    expect_an_account(&seen, counts);
    assert_eq!(seen.numbers.last(), Some(&(PUBLISHED - 1)));
    assert_eq!(seen.numbers[0], 0, "what the socket took at once");
}

#[test]
fn sc_05_drop_newest_keeps_the_oldest_and_tells_of_the_rest() {
    let (seen, counts) = sleep_through(SlowPolicy::DropNewest);
    expect_an_account(&seen, counts);
    let kept: Vec<usize> = (0..seen.numbers.len()).collect();
    assert_eq!(seen.numbers, kept);
}

#[test]
fn sc_05_conflate_keeps_the_newest_of_each_key() {
    let (seen, counts) = sleep_through(SlowPolicy::Conflate);
    expect_an_account(&seen, counts);
    let newest: BTreeMap<usize, usize> = seen.numbers.iter().map(|number| (number % KEYS, *number)).collect();
    let expected = (PUBLISHED - KEYS..PUBLISHED).map(|number| (number % KEYS, number)).collect();
    assert_eq!(newest, expected);
}

#[test]
fn sc_05_close_is_what_happens_without_a_word() {
    assert_eq!(TopicOptions::default().slow_policy, SlowPolicy::Close);
    let (sender, _totals) = channel();
    let room = Room { policy: SlowPolicy::Close, topic: None, totals: sender };
    let server = Inside::serve(room, |config| config.max_backlog = QUEUE);
    let mut speaker = Client::open(server.addr);
    let mut sleeper = tiny_window(server.addr);
    for number in 0..PUBLISHED {
        speaker.send(&text(&numbered(number)));
        speaker.expect_text(&numbered(number));
    }
    for next in 0.. {
        let got = sleeper.try_frame(SOON).expect("a message or a Close");
        if got.opcode == CLOSE {
            assert_eq!(got.close_code(), Some(1008));
            break;
        }
        assert_eq!(String::from_utf8(got.payload).unwrap(), numbered(next));
    }
}
