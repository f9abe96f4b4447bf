//! The reactor over simulated sockets, with an oracle: whatever the network does, each client sees exactly what the
//! application meant for it, in order, and nothing is leaked.
//!
//! 256 seeds run; `SIMULATION_SEED=n cargo test --test simulation` replays one, with its story on stderr.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, reason = "a test")]
#![allow(missing_debug_implementations, reason = "a test")]

mod amplification;
mod application;
mod client;
mod doors;
mod few;
mod idle;
mod inflating;
mod late_upgrades;
mod later;
mod network;
mod pauses;
mod proxies;
mod tls;
mod turns;
mod world;

use world::{Coverage, World};

const SEEDS: u64 = 256;

#[test]
fn every_client_sees_exactly_what_was_meant_for_it() {
    let mut coverage = Coverage::default();
    if let Ok(seed) = std::env::var("SIMULATION_SEED") {
        World::new(seed.parse().expect("SIMULATION_SEED is a number"), true).run(&mut coverage);
        eprintln!("{coverage:#?}");
        return;
    }
    // Two at a time, each with every other seed.
    let halves = std::thread::scope(|scope| {
        let runs = [0, 1].map(|first| scope.spawn(move || run_seeds((first..SEEDS).step_by(2))));
        runs.map(std::thread::ScopedJoinHandle::join)
    });
    for half in halves {
        coverage.add(&half.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    }
    coverage.assert_complete();
}

fn run_seeds(seeds: impl Iterator<Item = u64>) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut coverage = Coverage::default();
            World::new(seed, false).run(&mut coverage);
            coverage
        });
        let seen =
            outcome.unwrap_or_else(|_| panic!("seed {seed} failed; replay it: SIMULATION_SEED={seed}"));
        coverage.add(&seen);
    }
    coverage
}

#[test]
fn a_seed_replays_the_same_run() {
    let run = |seed| {
        let mut coverage = Coverage::default();
        World::new(seed, false).run(&mut coverage);
        coverage
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}
