//! What mail between two busy loops costs: processor time of a tick with mail less that of one without, both ends together.
//!
//! `cargo bench --bench mailbox`. Each loop polls without a pause and sends the other one mails in every tick. Machines with one
//! core measure switches between threads instead.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::sync::{Arc, Mutex};

use rustix::time::{ClockId, clock_gettime};
use switchboard::app::{Application, ConnId, Context, Message, Peers};
use switchboard::net::{Options, Server};

/// Ticks of a run, and rounds: where it is a bench, and where a test sees that it works.
const BENCH: (u64, usize) = (200_000, 5);
const TEST: (u64, usize) = (2_000, 1);

/// Sends the other loop so many mails in each tick, until it has had enough ticks.
struct Sender {
    own: usize,
    peers: Peers<u64>,
    mails: u64,
    enough: u64,
    ticks: u64,
    began_ns: u64,
    seen: u64,
    /// Nanoseconds for each tick, and mails seen.
    spent: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Application for Sender {
    type Mail = u64;

    fn on_message<C: Context>(&mut self, _: &mut C, _: ConnId, _: Message<'_>) {}

    fn on_mail<C: Context>(&mut self, _: &mut C, _: u64) {
        self.seen += 1;
    }

    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        self.ticks += 1;
        if self.ticks == 1 {
            self.began_ns = thread_ns();
        }
        if self.ticks == self.enough {
            let spent = (thread_ns() - self.began_ns) / self.enough;
            let mut all = self.spent.lock().unwrap();
            all.push((spent, self.seen));
            // The other one measures a busy loop, too.
            if all.len() == 2 {
                ctx.drain();
            }
        }
        for mail in 0..self.mails {
            for (_, mailbox) in self.peers.others(self.own) {
                // A full mailbox is a loop that does not run at the moment.
                let _ = mailbox.try_send(mail);
            }
        }
    }
}

fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Nanoseconds of a tick, of both loops together, and the mails that arrived.
fn run(mails: u64, enough: u64) -> (u64, u64) {
    let spent = Arc::new(Mutex::new(Vec::new()));
    let options = Options::listen(([127, 0, 0, 1], 0).into()).with(|it| it.busy_poll = true);
    let make = |own, peers: &Peers<u64>| {
        let (peers, spent) = (peers.clone(), Arc::clone(&spent));
        Sender { own, peers, mails, enough, ticks: 0, began_ns: 0, seen: 0, spent }
    };
    Server::bind_many(options, 2, make).unwrap().run().unwrap();
    let all = spent.lock().unwrap();
    (all.iter().map(|(ns, _)| ns).sum(), all.iter().map(|(_, seen)| seen).sum())
}

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (ticks, rounds) = if is_bench { BENCH } else { TEST };
    for mails in [1, 16] {
        let mut costs: Vec<(u64, u64)> = (0..rounds)
            .map(|_| {
                let ((without, _), (with, seen)) = (run(0, ticks), run(mails, ticks));
                // Both ends of a mail: half of what two loops spend in a tick in which each sends and receives.
                (with.saturating_sub(without) / 2, seen)
            })
            .collect();
        costs.sort_by_key(|(ns, _)| *ns);
        let (median, seen) = costs[rounds / 2];
        println!(
            "{mails:2} mails in a tick, {seen} of {} arrived: {median} ns at both ends together, {} to {} ns",
            2 * ticks * mails,
            costs[0].0,
            costs[rounds - 1].0
        );
    }
}
