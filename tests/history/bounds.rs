//! The store's limits, each met.

use std::sync::mpsc::channel;

use switchboard::history::sqlite::{Options, open};
use switchboard::history::{Event, History as _};

use crate::support::{Dir, History, batch, post, seqs, wait_until};

/// Hands everything over before the threads run, so that it all waits, and returns the tickets of the commits.
fn commits(dir: &Dir, batches: impl Iterator<Item = Vec<switchboard::history::Change>>) -> Vec<u64> {
    let (mut client, worker, _) = open(&dir.data(), Options::default()).unwrap();
    for (ticket, changes) in (1..).zip(batches) {
        client.propose(batch(ticket, changes)).unwrap();
    }
    let (sender, events) = channel();
    let running = worker.start(move |_, event| sender.send(event).is_ok()).unwrap();
    drop(client);
    running.finish().unwrap();
    let tickets = events.iter().map(|event| match event {
        Event::Settled { ticket, .. } => ticket,
        other => panic!("{other:?}"),
    });
    tickets.collect()
}

#[test]
fn so_many_batches_may_wait() {
    let dir = Dir::new("orders");
    let (mut client, worker, _) = open(&dir.data(), Options::default()).unwrap();
    let batch = |ticket| batch(ticket, vec![post("general", ticket, "")]);
    for ticket in 1..=4096 {
        client.propose(batch(ticket)).unwrap();
    }
    match client.propose(batch(4097)) {
        Err(back) => assert_eq!(back.ticket, 4097),
        other => panic!("{other:?}"),
    }
    drop((client, worker));
}

#[test]
fn a_commit_takes_so_many_changes_and_so_many_bytes() {
    let dir = Dir::new("commit-changes");
    let batches = (0..30).map(|n: u64| (1..=1000).map(|i| post("general", n * 1000 + i, "short")).collect());
    assert_eq!(commits(&dir, batches), [9, 18, 27, 30]);
    let dir = Dir::new("commit-bytes");
    let long = "x".repeat(1 << 20);
    let batches = (1..=40).map(|seq| vec![post("general", seq, &long)]);
    assert_eq!(commits(&dir, batches), [16, 32, 40]);
}

#[test]
fn rooms_that_are_forgotten_are_known_again() {
    let dir = Dir::new("rooms");
    let mut history = History::open(&dir.data());
    for round in 1..=2 {
        for chunk in 0..10 {
            history
                .commit((0..7000).map(|i| post(&format!("room {}", chunk * 7000 + i), round, "")).collect());
        }
    }
    assert_eq!(seqs(&history.room("room 0", 9).recent), [1, 2]);
    assert_eq!(seqs(&history.room("room 69999", 9).recent), [1, 2]);
    history.close();
}

#[test]
fn words_and_hits_of_a_search_are_bounded() {
    let dir = Dir::new("hits");
    let mut history = History::open(&dir.data());
    history.commit((1..=10_100).map(|seq| post("general", seq, "a very common word")).collect());
    let found = |history: &mut History, query: &str| history.search("general", query, 20_000).unwrap().len();
    wait_until("everything is indexed", || seqs(&history.search("general", "word", 1).unwrap()) == [10_100]);
    assert_eq!(found(&mut history, "word"), 10_000);
    let words = |n: usize| format!("{}nonsense", "word ".repeat(n));
    assert_eq!(found(&mut history, &words(31)), 0);
    assert_eq!(found(&mut history, &words(32)), 10_000, "the 33rd word is left out");
    history.close();
}

/// A log beyond its bound is brought into the database while commits go on, and begun again; commits that are faster than
/// that wait.
#[test]
fn the_log_does_not_grow_for_ever() {
    let dir = Dir::new("log");
    let mut history = History::open(&dir.data());
    let text = "x".repeat(4000);
    let mut largest = 0;
    for n in 0..300 {
        history.commit((1..=100).map(|i| post("general", n * 100 + i, &text)).collect());
        largest = largest.max(std::fs::metadata(dir.log()).unwrap().len());
    }
    assert!(std::fs::metadata(dir.database()).unwrap().len() > 64 << 20, "the posts are in the database");
    assert!(largest > 12 << 20, "the log was never near its bound: {largest}");
    assert!(largest < 64 << 20, "{largest} bytes of log");
    history.close();
    assert!(!dir.log().exists(), "a history that was closed is one file");
}
