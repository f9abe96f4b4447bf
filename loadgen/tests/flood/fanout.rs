//! The scenario `fanout`, against the real server and against servers that lie.

use std::collections::BTreeSet;

use switchboard::apps::Fanout;
use switchboard::proto::MessageKind;

use crate::hub::{Club, Letters, hub};
use crate::support::{Honest, Run, flood};

#[test]
fn everyone_gets_every_message_of_the_real_server() {
    let server = Honest::start(Fanout::default());
    for options in ["--pipeline 4", "--pipeline 3 --threads 3", "--text --size 16-200 --threads 2"] {
        let run = flood(
            "fanout",
            server.address,
            &format!("--connections 12 --publishers 5 --messages 20 --size 8 {options}")
                .replace("--size 8 --text", "--text"),
        );
        assert_eq!(
            (run.status, run.count("sent"), run.count("answered")),
            (0, 100, 1200),
            "{options} {run:?}"
        );
        assert_eq!((run.count("completed"), run.faults(), run.count("closed")), (100, [0; 4], 12), "{run:?}");
        assert_eq!(run.json["latency_to_last_ns"]["count"], 100);
        assert_eq!(run.json["latency_from_send_ns"]["count"], 1200);
    }
}

#[test]
fn an_open_loop_publishes_what_was_planned() {
    let server = Honest::start(Fanout::default());
    let options = "--connections 9 --publishers 4 --rate 1000 --warmup 100ms --duration 300ms --threads 2";
    let run = flood("fanout", server.address, options);
    assert_eq!((run.status, run.count("sent"), run.count("answered")), (0, 400, 3600), "{run:?}");
    assert_eq!((run.count("planned_in_window"), run.count("sent_in_window")), (300, 300));
    assert_eq!(run.json["latency_from_plan_ns"]["count"], 2700);
    assert_eq!(run.json["latency_to_last_ns"]["count"], 300);
}

/// Sends each message to every connection, except for its fault: a function of receiver, message number and message.
pub(crate) struct Relay<F> {
    members: BTreeSet<usize>,
    told: usize,
    skips_sender: bool,
    lie: F,
}

impl<F> Relay<F> {
    pub(crate) fn new(skips_sender: bool, lie: F) -> Self {
        Self { members: BTreeSet::new(), told: 0, skips_sender, lie }
    }
}

impl<F: FnMut(usize, usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static> Club for Relay<F> {
    fn joined(&mut self, member: usize, _: usize) {
        self.members.insert(member);
    }

    fn said(&mut self, sender: usize, message: &[u8]) -> Letters {
        let told = self.told;
        self.told += 1;
        let mut letters = Vec::new();
        for &member in self.members.iter().filter(|member| !self.skips_sender || **member != sender) {
            let what = (self.lie)(member, told, message);
            letters.extend(what.into_iter().map(|payload| (member, MessageKind::Binary, payload)));
        }
        letters
    }

    fn left(&mut self, member: usize) {
        self.members.remove(&member);
    }
}

fn relayed(
    skips_sender: bool,
    options: &str,
    lie: impl FnMut(usize, usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> Run {
    let address = hub(Relay::new(skips_sender, lie));
    flood("fanout", address, &format!("--connections 4 --duration 5s {options}"))
}

#[test]
fn an_honest_relay_is_not_convicted() {
    let run = relayed(false, "--messages 10 --pipeline 2", |_, _, message| vec![message.to_vec()]);
    assert_eq!((run.status, run.count("answered")), (0, 40), "{run:?}");
    let run = relayed(true, "--messages 10 --pipeline 2 --publishers 2 --exclude-self", |_, _, message| {
        vec![message.to_vec()]
    });
    assert_eq!((run.status, run.count("sent"), run.count("answered")), (0, 20, 60), "{run:?}");
}

#[test]
fn a_publisher_that_hears_itself_where_it_should_not_is_named() {
    let run = relayed(false, "--messages 5 --exclude-self", |_, _, message| vec![message.to_vec()]);
    assert_eq!((run.status, run.faults()), (1, [0, 0, 0, 5]), "{run:?}");
}

#[test]
fn lg_01_each_lie_of_a_relay_is_named() {
    let options = "--messages 10 --pipeline 4";
    let dropped =
        relayed(
            false,
            options,
            |receiver, told, message| {
                if receiver == 2 && told == 3 { vec![] } else { vec![message.to_vec()] }
            },
        );
    assert_eq!((dropped.status, dropped.faults()), (1, [1, 0, 0, 0]), "{dropped:?}");

    let doubled = relayed(false, options, |receiver, told, message| {
        vec![message.to_vec(); if receiver == 1 && told >= 8 { 2 } else { 1 }]
    });
    assert_eq!((doubled.status, doubled.faults()), (1, [0, 2, 0, 0]), "{doubled:?}");

    let mut held = Vec::new();
    let swapped = relayed(false, options, move |receiver, told, message| match (receiver, told) {
        (3, 1) => {
            held = message.to_vec();
            vec![]
        }
        (3, 2) => vec![message.to_vec(), held.clone()],
        _ => vec![message.to_vec()],
    });
    assert_eq!((swapped.status, swapped.faults()), (1, [0, 0, 1, 0]), "{swapped:?}");

    let bent = relayed(false, options, |receiver, told, message| {
        let mut message = message.to_vec();
        message[15] ^= u8::from(receiver == 0 && told == 5);
        vec![message]
    });
    // The changed message was never sent, and the sent one never arrived.
    assert_eq!((bent.status, bent.count("corrupted"), bent.count("lost")), (1, 1, 1), "{bent:?}");
}
