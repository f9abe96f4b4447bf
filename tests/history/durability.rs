//! What was acked survives whatever happens to the process and to its disk.

use crate::child::{Keeper, Ledger, as_words, faults};
use crate::support::{Dice, Dir, History};

/// ST-02, ST-10: SIGKILL at any time, while commits, checkpoints, the index and retention are at work.
fn kill_loop(name: &str, rounds: u64, env: &[(&str, &str)]) {
    let dir = Dir::new(name);
    let mut ledger = Ledger::default();
    let mut dice = Dice::new(rounds + 7);
    for round in 0..rounds {
        let keeper = Keeper::start(&dir.data(), round + 1, &[], env);
        keeper.wait_for("open", 1);
        std::thread::sleep(std::time::Duration::from_micros(dice.below(150_000) as u64));
        ledger.enter(&keeper.kill());
        if env.is_empty() && (round % 20 == 19 || round + 1 == rounds) {
            ledger.check_dir(&dir.data(), false);
        }
    }
    assert!(ledger.acked > rounds as usize * 5, "only {} messages were acked", ledger.acked);
}

#[test]
fn st_02_kill_9_loses_nothing_that_was_acked() {
    kill_loop("kill", 120, &[]);
}

#[test]
fn st_02_kill_9_amid_retention_leaves_whole_rooms() {
    let keep = 150;
    let dir = Dir::new("kill-retention");
    let mut dice = Dice::new(5);
    let mut seqs = [0; 6];
    for round in 0..40 {
        let keeper = Keeper::start(&dir.data(), round + 1, &[], &[("STORE_KEEP", &keep.to_string())]);
        keeper.wait_for("open", 1);
        std::thread::sleep(std::time::Duration::from_micros(dice.below(200_000) as u64));
        let lines = keeper.kill();
        for line in lines.iter().filter_map(|line| line.strip_prefix("acked ")) {
            let words: Vec<&str> = line.split(' ').collect();
            let (room, seq): (usize, u64) = (words[0].parse().unwrap(), words[1].parse().unwrap());
            assert!(seq > seqs[room], "number {seq} of room {room} was given twice");
            seqs[room] = seq;
        }
    }
    let options = switchboard::history::sqlite::Options::default().with(|it| it.keep_posts = keep);
    let mut history = History::open_with(&dir.data(), options);
    for (room, acked) in seqs.iter().enumerate() {
        let name = crate::child::name(room);
        let state = history.room(&name, 1000);
        assert!(state.seq >= *acked, "room {room}");
        assert_eq!(state.oldest, (state.seq + 1).saturating_sub(keep).max(1));
        let found = crate::support::seqs(&state.recent);
        assert_eq!(found, (state.oldest..=state.seq).collect::<Vec<_>>());
    }
    history.close();
}

/// ST-10: SIGKILL at a certain system call, so that each step of writing, syncing and bringing the log in is met.
#[test]
fn st_10_every_step_may_be_the_last() {
    let dir = Dir::new("steps");
    let mut ledger = Ledger::default();
    for round in 0..30_u64 {
        let call = ["pwrite64", "fsync,fdatasync", "ftruncate,unlink"][round as usize % 3];
        let fault = format!("{call}:signal=SIGKILL:when={}", 1 + round * 3);
        let wrapper = faults(&[&fault]);
        let mut keeper = Keeper::start(&dir.data(), round + 1, &as_words(&wrapper), &[]);
        let started = std::time::Instant::now();
        while !keeper.has_ended() && started.elapsed() < std::time::Duration::from_millis(1500) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        ledger.enter(&keeper.kill());
        ledger.check_dir(&dir.data(), false);
    }
    assert!(ledger.acked > 100, "only {} messages were acked", ledger.acked);
}
